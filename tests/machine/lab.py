"""What the tests of this floor share: small machines and objects."""

from collections.abc import Callable, Coroutine
from typing import Any

from k42fs.ids import VP
from k42fs.machine import FairBLock, Kind, Layout, Machine, Thread, preset

BOX = Layout("Box", Kind.GLOBAL_PADDED, lock=16, count=8, pad=40, data=64)
ADD = BOX.script("add", "r:data w:count", work=20)
Body = Callable[..., Coroutine[Any, Any, Any]]


def machine(processors: int = 8, **how: Any) -> Machine:  # noqa: ANN401
    """Make a deterministic machine that charges everything; keyword arguments say otherwise."""
    config = preset("dir-1024", processors=processors, seed=how.pop("seed", 0), **how.pop("config", {}))
    return Machine(config, **how)


def a_lock(m: Machine, kind: type[FairBLock] = FairBLock, vp: int = 0, **how: Any) -> FairBLock:  # noqa: ANN401
    """Make a lock alone on its line, homed at *vp*."""
    return kind(m, m.memory.alloc(vp, 16, Kind.GLOBAL_PADDED), **how)


def run(m: Machine, *bodies: tuple[int, Body]) -> list[Thread]:
    """Run each body on its processor, all to their ends, and check the machine."""
    threads = [m.spawn(VP(vp), body) for vp, body in bodies]
    m.run()
    m.check()
    return threads
