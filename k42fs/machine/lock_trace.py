"""What a lock tells the tracer: its name before its first event, who took it where, how long it was waited for.

Locks call this only behind their guard, `if proc.on.lock:`. What is told is what statistics count: `waited` is what
an acquisition added to `waited_cycles` and `held` what its release added to `held_cycles`, so a report on a recording
of a whole run says the same as the machine. Nothing here touches a clock, a cache or a count.

A call site is the method that asked for the lock: the nearest frame outside the locks' own files. A coroutine that
waited has its awaiter above it, so that is found at the end of a wait as well as at the start. Sites of a contention
are three, as in K42: whoever waited, its caller, and the caller's.

A reader's holding is told with the time that reservations have for it: a live reader that was woken is inside from
its grant on, which is before its Acquire.

K42: lib/libc/sync/FairBLock.C, SLock.C, RWLock.H, Sem.H, RequestCount.H (the events of class Lock).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from k42fs.machine.lock_base import LockBase
    from k42fs.machine.thread import Thread
    from k42fs.machine.tracing.tracer import Tracer

SPIN, BLOCK, READ, WRITE = range(4)
NO_VP: Final = -1
NO_OBJECT: Final = 1 << 63
"""Added to a lock's address: the name of its owner, where that is no clustered object and has no ref."""

DEPTH: Final = 3

_HERE: Final = __file__.rpartition("/")[0] + "/"
OWN: Final = frozenset(
    f"{_HERE}{name}.py"
    for name in (
        "bit_locks", "exclusive_lock", "lock_base", "lock_trace", "locks", "rec_lock", "rwlock", "spin_lock",
        "spin_locks", "unfair_locks",
    )
)  # fmt: skip
_DRIVERS: Final = tuple(f"{_HERE}{name}.py" for name in ("driver", "live", "scheduler"))
_WRAPPERS: Final = ("/k42fs/objects/traced_table.py", "/k42fs/servers/fs_trace.py")


class Taken:
    """Who was the last to take something: from `site`, on processor `vp`. And who was the last before on another."""

    __slots__ = ("other_site", "other_vp", "site", "vp")

    def __init__(self) -> None:
        self.site = self.other_site = 0
        self.vp = self.other_vp = NO_VP

    def by(self, vp: int, site: int) -> None:
        """It was taken once more."""
        if vp != self.vp:
            self.other_vp, self.other_site = self.vp, self.site
            self.vp = vp
        self.site = site

    def before(self, vp: int) -> tuple[int, int]:
        """Return processor and site of who may be in *vp*'s way: its own takings are not, as they are over."""
        is_own = vp == self.vp and self.other_vp != NO_VP
        return (self.other_vp, self.other_site) if is_own else (self.vp, self.site)


class LockTrace:
    """A lock's part in a recording: its takings, of them those that were no reader's, and when the last was.

    `readers`: where those took it who read it now, the first first.
    """

    __slots__ = ("readers", "since", "taken", "tracer", "written")

    def __init__(self, tracer: Tracer) -> None:
        self.tracer = tracer
        self.taken = Taken()
        self.written = Taken()
        self.since = 0
        self.readers: dict[Thread, int] = {}

    @property
    def holder(self) -> int:
        """Where it was taken by who has it; of several readers, by the first."""
        return next(iter(self.readers.values()), self.taken.site)


class Wait:
    """An acquisition on its way. `is_real`: the lock was held in fact, not only by the clock.

    `holder`: where it had been taken by who had it then; `switches`: by which one can tell whether it blocked.
    """

    __slots__ = ("arrival", "holder", "is_real", "switches")

    def __init__(self, lock: LockBase, th: Thread) -> None:
        self.arrival = th.proc.clock
        self.switches = th.proc.switches
        self.holder = holder_of(lock)
        self.is_real = False


def granted_plainly(
    lock: LockBase,
    th: Thread,
    kind: int,
    waited: int,
    from_vp: int,
    hand_off: int = 0,
    holder: int | None = None,
    is_blocked: bool | None = None,
) -> None:
    """*th* has *lock* now, after *waited* cycles: Acquire, and one of K42's contention events if it waited.

    *from_vp*: who had it last as far as the lock knows; what the recording knows goes before. *hand_off*: how much
    of the wait came after the last holder let go. *holder*: where that had taken it, when the wait began; without
    it, *th* has waited in virtual time only, for who had it last. *is_blocked*: whether *th* blocked; without it,
    as one would that waits so long.
    """
    frame = sys._getframe(2)  # 1 is the lock's own
    _granted(frame, lock, th, kind, waited, from_vp, hand_off, holder, is_blocked)


def granted_after_wait(lock: LockBase, th: Thread, *said: Any) -> None:  # noqa: ANN401
    """Do what `granted` does, for its compiled form, which has no frame of its own."""
    _granted(sys._getframe(2), lock, th, *said)


def _granted(
    frame: FrameType,
    lock: LockBase,
    th: Thread,
    kind: int,
    waited: int,
    from_vp: int,
    hand_off: int,
    holder: int | None,
    is_blocked: bool | None,
) -> None:
    trace = lock.trace
    if trace is None or lock.addr not in trace.tracer.named:
        trace = named(lock, th)
    emit = th.proc.emit
    while frame.f_code.co_filename in OWN and frame.f_back is not None:
        frame = frame.f_back
    site = trace.tracer.numbers.site_of(frame)
    taken = trace.taken
    if taken.vp != NO_VP:
        from_vp = taken.vp
    if not waited:
        holder = 0
    else:
        if holder is None:
            before, holder = (trace.written if kind == READ else taken).before(th.vp)
            from_vp = from_vp if before == NO_VP else before
        patience = lock.machine.config.patience_cycles
        if is_blocked is None:
            is_blocked = lock.blocks and waited > patience
        spins = lock.machine.watchers.polls(min(waited, patience) if is_blocked else waited)
        callers = _callers(trace.tracer, frame, site)
        if is_blocked:
            emit.lock_contend_block(lock.addr, spins, waited, *callers, hand_off, from_vp)
        else:
            emit.lock_contend_spin(lock.addr, spins, waited, *callers)
    emit.lock_acquire(lock.addr, kind, site, waited, from_vp, holder)
    trace.since = th.proc.clock
    taken.by(th.vp, site)
    if kind == READ:
        trace.readers[th] = site
    elif kind == WRITE:
        trace.written.by(th.vp, site)


def released_plainly(lock: LockBase, th: Thread, held: int) -> None:
    """*th* gave *lock* up after *held* cycles. Where locks keep no times, the recording's are taken."""
    trace = lock.trace
    if trace is None or lock.addr not in trace.tracer.named:
        trace = named(lock, th)
    if not trace.readers.pop(th, 0) and th.level < 2:
        held = th.proc.clock - trace.since if trace.since else 0
    th.proc.emit.lock_release(lock.addr, held)


def holder_of(lock: LockBase) -> int:
    """Return where *lock* was taken that is waited for; 0 if that was not recorded."""
    return 0 if lock.trace is None else lock.trace.holder


def named(lock: LockBase, th: Thread) -> LockTrace:
    """Give *lock*, at its first event in a recording, its name and its part there; return the part."""
    tracer = lock.machine.tracer
    trace = lock.trace = _part(tracer)
    tracer.named.add(lock.addr)
    emit, numbers, owner = th.proc.emit, tracer.numbers, lock.owner
    number = 0
    if owner is not None:
        is_object = hasattr(owner, "root") or hasattr(owner, "type_name")  # a rep, or a root
        number = getattr(owner, "ref", 0) if is_object else 0
        if not number:
            number = NO_OBJECT | lock.addr
            type_name = type(owner).__name__
            label = lock.label().removeprefix(type_name).lstrip()
            emit.clust_obj_object_name(number, numbers.constant(type_name), numbers.string(label))
    emit.lock_lock_name(lock.addr, number, numbers.constant(lock.name), numbers.constant(lock.kind))
    return trace


def _callers(tracer: Tracer, frame: FrameType | None, site: int) -> tuple[int, int, int]:
    """Return *site*, where *frame* is, and the sites of its callers up to the driver."""
    sites = [site]
    while len(sites) < DEPTH:
        frame = frame.f_back if frame is not None else None
        if frame is None or frame.f_code.co_filename.startswith(_DRIVERS):
            break
        if not frame.f_code.co_filename.endswith(_WRAPPERS):
            sites.append(tracer.numbers.site_of(frame))
    sites += [0] * (DEPTH - len(sites))
    return sites[0], sites[1], sites[2]


# What is told most often is compiled where that was built: fast_trace.pyx.
granted: Callable[..., None]
released: Callable[[LockBase, Thread, int], None]
_part: Callable[[Tracer], LockTrace]
try:
    from k42fs.machine import fast_trace
except ImportError:
    granted, released, _part = granted_plainly, released_plainly, LockTrace
else:
    fast_trace.follow(sys.modules[__name__])
    granted, released, _part = fast_trace.granted, fast_trace.released, fast_trace.LockTrace
