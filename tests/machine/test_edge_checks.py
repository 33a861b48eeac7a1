"""What users of the Python interface get wrong is refused where they say it: field, value, rule."""

from typing import Any

import pytest

from k42fs import machine as package
from k42fs.errors import ConfigError
from k42fs.ids import VP
from k42fs.machine import Kind, Layout, Machine, Thread, preset

PAIR = Layout("Pair", Kind.GLOBAL, first=8, second=8)


async def work(th: Thread) -> None:
    th.work(5)


def plain(th: Thread) -> None:
    th.work(5)


def new_machine() -> Machine:
    return Machine(preset("dir-1024", processors=4))


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (("dir-1024",), "config='dir-1024': must be a MachineConfig, such as preset"),
        ((preset("dir-1024"), "none"), "model='none': must be one of full, calls, off"),
    ],
)
def test_a_machine_is_made_of_a_config(wrong: tuple[Any, ...], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        Machine(*wrong)


@pytest.mark.parametrize("vp", [-1, 4, True, "0", None])
def test_a_thread_is_on_one_of_the_processors(vp: Any) -> None:  # noqa: ANN401
    with pytest.raises(ConfigError, match=f"vp={vp!r}: must be from 0 to 3"):
        new_machine().spawn(vp, work)


@pytest.mark.parametrize("fn", [plain, 7, None])
def test_a_thread_is_a_coroutine(fn: Any) -> None:  # noqa: ANN401
    machine = new_machine()
    with pytest.raises(ConfigError, match=r"fn=.*: must be a coroutine function"):
        machine.spawn(VP(1), fn)
    machine.spawn(VP(0), lambda th: work(th))
    machine.run()
    assert machine.processors[0].clock == 5


@pytest.mark.parametrize("vp", [-1, 4, 9])
@pytest.mark.parametrize("layout", [8, PAIR])
def test_memory_is_near_one_of_the_processors(vp: int, layout: Layout | int) -> None:
    with pytest.raises(ConfigError, match=f"vp={vp}: must be from 0 to 3"):
        new_machine().memory.alloc(vp, layout)


@pytest.mark.parametrize("nbytes", [0, -1])
def test_a_block_has_bytes(nbytes: int) -> None:
    memory = new_machine().memory
    with pytest.raises(ConfigError, match=f"bytes={nbytes}: must be at least 1"):
        memory.alloc(0, nbytes)
    assert memory.live_blocks == 0


def test_all_that_the_package_offers_is_listed() -> None:
    assert set(package.__all__) <= set(dir(package))
    assert all(getattr(package, name) is not None for name in package.__all__)
