from collections.abc import Callable
from types import FrameType, ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it looks these up at the first event: they import it
    from k42fs.machine import lock_trace
    from k42fs.machine.fast_core import FastCore
    from k42fs.machine.lock_base import LockBase
    from k42fs.machine.thread import Thread

def follow(plain: ModuleType) -> None: ...

class Caller:
    def __init__(self, passed_by: frozenset[str], site_of: Callable[[FrameType], int]) -> None: ...
    def site(self) -> int: ...

class Taken(lock_trace.Taken): ...
class LockTrace(lock_trace.LockTrace): ...

def granted(
    lock: LockBase,
    th: Thread,
    kind: int,
    waited: int,
    from_vp: int,
    hand_off: int = 0,
    holder: int | None = None,
    is_blocked: bool | None = None,
) -> None: ...
def released(lock: LockBase, th: Thread, held: int) -> None: ...

class FastSitedCore:
    def __init__(self, core: FastCore, place: Callable[[int], None]) -> None: ...
