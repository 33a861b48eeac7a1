"""What is compiled of telling records the same as what is written in Python, to the byte, in every model."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from k42fs.machine import Kind, RWLock, line_trace, lock_trace, locks, rwlock, spin_lock, unfair_locks
from k42fs.machine.callers import PlainCaller
from k42fs.machine.lock_kinds import LOCK_KINDS
from k42fs.machine.lock_trace import granted_plainly, released_plainly
from k42fs.machine.tracing import definitions
from k42fs.machine.tracing.mask import CACHE, LOCK
from tests.machine.lab import BOX, machine, run
from tests.machine.tracing.test_lock_totals import live_run, locks_of, shared_storm, storm

fast_trace: Any = pytest.importorskip("k42fs.machine.fast_trace", exc_type=ImportError)

MODULES: list[Any] = [locks, rwlock, spin_lock, unfair_locks, lock_trace]


def written_in_python(patch: pytest.MonkeyPatch) -> None:
    """Let machines made from now on be told of by Python alone."""
    for module in MODULES:
        patch.setattr(module, "granted", granted_plainly)
        patch.setattr(module, "released", released_plainly)
    patch.setattr(lock_trace, "_part", lock_trace.LockTrace)
    patch.setattr(definitions, "new_caller", PlainCaller)
    patch.setattr(line_trace, "FastCore", None)


def go(directory: Path, kind: str, how: dict[str, Any]) -> dict[str, bytes]:
    """Record storms on locks of *kind* and on a shared one, in both drivers; return the files."""
    live = how.get("live", False)
    m = machine(4, **how)
    m.wall_clock_ns = lambda: 0
    m.tracer.start(directory, LOCK | CACHE)
    shared = RWLock(m, m.memory.alloc(0, 64, Kind.GLOBAL_PADDED), name="rw", owner=BOX)
    bodies = [storm(m, locks_of(m, kind), 1), shared_storm(m, shared, 1)]
    if live:
        for body in bodies:
            live_run(m, body, 1)
    else:
        run(m, *((vp, body) for vp in range(4) for body in bodies))
    m.close()
    return {each.name: each.read_bytes() for each in sorted(directory.iterdir())}


@pytest.mark.parametrize("how", [{}, {"live": True}, {"model": "calls"}, {"model": "off"}], ids=str)
@pytest.mark.parametrize("kind", sorted(LOCK_KINDS))
def test_both_record_the_same(
    kind: str, how: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = go(tmp_path / "compiled", kind, how)
    with monkeypatch.context() as patch:
        written_in_python(patch)
        plain = go(tmp_path / "plain", kind, how)
    assert compiled == plain
    assert sum(map(len, plain.values())) > 1 << 16


def nearest(caller: Any) -> int:  # noqa: ANN401
    """Ask from a frame of this file."""
    number: int = caller.site()
    return number


def test_callers_are_told_apart_and_known_again() -> None:
    def through(depth: int, ask: Callable[[], int]) -> int:
        return ask() if not depth else through(depth - 1, ask)

    for make in (PlainCaller, fast_trace.Caller):
        places: list[tuple[str, int]] = []

        def site_of(frame: Any, places: list[tuple[str, int]] = places) -> int:  # noqa: ANN401
            place = (frame.f_code.co_name, frame.f_lineno)
            if place not in places:
                places.append(place)
            return places.index(place) + 1

        here = make(frozenset(), site_of)
        assert [nearest(here) for _ in range(3)] == [1, 1, 1]
        assert here.site() == 2
        assert here.site() == 3
        assert [here.site() for _ in range(2)] == [4, 4]
        beyond = make(frozenset({__file__}), site_of)
        number = through(5, partial(nearest, beyond))
        assert places[number - 1][0] == "pytest_pyfunc_call"


def test_any_number_of_places_and_codes_that_go_are_told_apart() -> None:
    caller = fast_trace.Caller(frozenset(), lambda frame: frame.f_code.co_firstlineno)
    for line in range(1, 5000):
        names: dict[str, Any] = {"caller": caller}
        exec(compile("\n" * line + "def asks():\n    return caller.site()\n", "made", "exec"), names)
        assert [names["asks"]() for _ in range(2)] == [line + 1] * 2


def test_who_cannot_say_its_number_is_asked_again() -> None:
    def fails(frame: Any) -> int:  # noqa: ANN401
        raise KeyError(frame.f_code.co_name)

    caller = fast_trace.Caller(frozenset(), fails)
    for _ in range(2):
        with pytest.raises(KeyError, match="test_who_cannot"):
            caller.site()
