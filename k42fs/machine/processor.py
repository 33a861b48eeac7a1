"""Processor: one virtual processor's clock, accounts, ready queue and processor-specific memory.

Accounts: clock = start + memory + work + spin + idle. `memory` is kept by the coherence core, the others
here.
K42: KernelInfo.H (processor-specific page), Dispatcher.H (ready queue), DispatcherDefault (LIFO thread free
list).
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

from k42fs.ids import VP, Addr
from k42fs.machine.contexts import idle, tell
from k42fs.machine.tracing.switches import ALL_OFF, SILENT

if TYPE_CHECKING:
    from k42fs.machine.thread import Thread
    from k42fs.machine.trace import Ring
    from k42fs.machine.tracing.emitters import Emitters
    from k42fs.machine.tracing.switches import Switches


class Processor:
    """One virtual processor. At most one of its threads runs; the others wait in `ready` or elsewhere.

    Tracing: `if proc.on.lock: proc.emit.lock_release(...)`. Neither may be kept: the tracer, when it is made, puts
    its own here.
    """

    __slots__ = (
        "calls",
        "clock",
        "current",
        "emit",
        "free_threads",
        "idle",
        "interrupt_at",
        "ltt",
        "ltt_base",
        "mailbox",
        "node",
        "on",
        "operations",
        "posted_at",
        "ready",
        "ring",
        "serial",
        "spin",
        "spin_seen",
        "switches",
        "vp",
        "work",
    )

    def __init__(self, vp: VP, node: int, ltt_base: Addr, ring: Ring) -> None:
        self.vp = vp
        self.node = node
        self.clock = 0
        self.work = 0
        self.spin = 0
        self.spin_seen = 0  # `spin` when an operation last ended
        self.idle = 0
        self.calls = 0
        self.operations = 0
        self.ltt: MutableMapping[Any, Any] = {}  # the objects floor puts its local table here
        self.ltt_base = ltt_base
        self.ring = ring
        self.on: Switches = ALL_OFF
        self.emit: Emitters = SILENT
        self.free_threads: list[Thread] = []  # LIFO: the hottest stack first
        self.current: Thread | None = (
            None  # who is on it, and not parked; live, only while something is recorded
        )
        # Of the deterministic driver:
        self.ready: list[tuple[int, int, Thread]] = []  # heap of (ready at, serial, thread): FIFO by time
        self.posted_at = -1  # when the driver's heap wakes it; -1: not at all
        self.switches = 0  # how often a thread was put on it
        self.serial = 0  # which heap entry counts, older ones are void
        # Of short messages (`interrupts.py`): where they arrive, and until when a pending interrupt will take
        # further ones along.
        self.mailbox: Addr | None = None
        self.interrupt_at = -1

    def idle_until(self, at: int) -> None:
        """Let the clock stand at *at* if it is not there yet: nothing was done meanwhile."""
        if at > self.clock:
            is_told = self.on.exception and self.current is not None
            if is_told:
                self.emit.exception_context(*idle(self.vp))
            self.idle += at - self.clock
            self.clock = at
            if is_told:
                tell(self)

    def spin_until(self, at: int) -> None:
        """Let the clock stand at *at*: the processor polled meanwhile."""
        if at > self.clock:
            self.spin += at - self.clock
            self.clock = at
