"""Dispatchers and their soft interrupts: how one processor gets another's attention.

A dispatcher is one resource domain of a process on one processor. Its page has a word of interrupt bits and
the heads of the stacks of messages that wait for it. Raising an interrupt is an atomic OR of one bit. Only
who finds the word empty sends a hardware interrupt on; all that is raised before that is taken comes along.

A thread that blocks is woken from another processor by such a message too, but a short one: it is taken when
the woken thread starts, and the interrupts of all that arrive before then are one (`notify`, `receive`).

K42: os/kernel/sys/SoftIntr.H, Dispatcher.H; lib/libc/sync/MPMsgMgr.C.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import suppress
from enum import IntEnum
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from k42fs.ids import VP, Addr
from k42fs.machine import contexts
from k42fs.machine.contexts import BASE_SERVER
from k42fs.machine.layout import READ, RMW, WORD_BYTES, WRITE, Kind, Layout
from k42fs.machine.live import OperationSuspended

if TYPE_CHECKING:
    from k42fs.machine.driver import Machine
    from k42fs.machine.processor import Processor
    from k42fs.machine.thread import Thread

DISPATCHER: Final = Layout("Dispatcher", Kind.GLOBAL_PADDED, messages=64, pad=64, interrupts=8)
RD_MAX: Final = 4
"""Resource domains of one process on one processor. K42: RDLimit."""

Handler = Callable[["Thread"], None]


class SoftIntr(IntEnum):
    """Bits of the interrupt word that are modelled; the numbers are K42's."""

    PREEMPT = 2
    MP_DISABLED_SEND = 4
    MP_DISABLED_REPLY = 5
    MP_ENABLED_SEND = 6
    MP_ENABLED_REPLY = 7


class Dispatcher:
    """One dispatcher. `raised`: how often an interrupt had to be sent to its processor.

    `th` is the context in which its handlers run: disabled, so that they must not wait.
    """

    __slots__ = ("_actions", "addr", "proc", "raised", "rd", "th")

    def __init__(self, proc: Processor, rd: int, addr: Addr, th: Thread) -> None:
        self.proc = proc
        self.rd = rd
        self.addr = addr
        self.th = th
        self.raised = 0
        self._actions: list[tuple[SoftIntr, Handler]] = []  # since the bits were last cleared

    @property
    def bits(self) -> int:
        """The interrupt word."""
        return sum({1 << bit for bit, _ in self._actions})

    def set_bit(self, bit: SoftIntr, handle: Handler) -> bool:
        """Set *bit*, to be handled by *handle* too; say whether no bit had been set before."""
        was_empty = not self._actions
        self._actions.append((bit, handle))
        return was_empty

    def take(self) -> list[Handler]:
        """Clear all bits; return what is to be done for them."""
        handlers = [handle for _, handle in self._actions]
        self._actions.clear()
        return handlers


class Interrupts:
    """The dispatchers of one machine, and the interrupts on their ways."""

    def __init__(
        self, machine: Machine, at_time: Callable[[Processor, int, Callable[[], None]], None]
    ) -> None:
        """*at_time(proc, at, handle)* makes a processor do something at a given time, in a deterministic run."""
        self._machine = machine
        self._at_time = at_time
        self._dispatchers: dict[tuple[int, int], Dispatcher] = {}
        self._domains: dict[int, int] = {}  # number of a thread -> its domain, if that is not 0

    def dispatcher(self, vp: int, rd: int = 0) -> Dispatcher:
        """Return the dispatcher of domain *rd* on processor *vp*."""
        found = self._dispatchers.get((vp, rd))
        if found is None:
            assert 0 <= rd < RD_MAX, f"there are {RD_MAX} resource domains, no {rd}"
            machine = self._machine
            addr = machine.memory.alloc(vp, DISPATCHER)
            th = machine.new_thread(VP(vp), f"dispatcher {rd} of vp {vp}")
            found = self._dispatchers[vp, rd] = Dispatcher(machine.processors[vp], rd, addr, th)
        return found

    def place(self, th: Thread, rd: int) -> None:
        """Let *th* belong to domain *rd* of its processor. All threads begin in domain 0."""
        assert 0 <= rd < RD_MAX, f"there are {RD_MAX} resource domains, no {rd}"
        self._domains[th.number] = rd

    def domain(self, th: Thread) -> int:
        """Return the domain that *th* belongs to."""
        return self._domains.get(th.number, 0) if self._domains else 0

    async def raise_bit(self, by: Thread, to: Dispatcher, bit: SoftIntr, handle: Handler) -> None:
        """Set a bit of *to*'s interrupt word; if it was the first, interrupt the processor."""
        await by.rmw(to.addr + DISPATCHER.offset("interrupts"))
        self._set_bit(by, to, bit, handle)

    def raise_bit_disabled(self, by: Thread, to: Dispatcher, bit: SoftIntr, handle: Handler) -> None:
        """Do the same from a handler, which must not wait for its turn."""
        self._machine.charge(by, RMW, to.addr + DISPATCHER.offset("interrupts"))
        self._set_bit(by, to, bit, handle)

    def start(
        self, vp: int, body: Callable[[Thread], Coroutine[Any, Any, Any]], name: str, pid: int = BASE_SERVER
    ) -> None:
        """Make a thread on *vp* that runs *body* for process *pid*: enabled, it may wait."""
        machine = self._machine
        if machine.live:
            with suppress(OperationSuspended):  # then it goes on by itself when it is woken
                machine.drive(body(machine.new_thread(VP(vp), name)))
        else:
            machine.spawn(VP(vp), body, name=name, pid=pid)

    def notify(self, by: Thread, target: Processor) -> int:
        """Send the short message that wakes a thread of *target*; return when it is looked at."""
        machine, proc = self._machine, by.proc
        mailbox = self.mailbox(target)
        machine.charge(by, WRITE, by.stack)  # the message itself
        machine.charge(by, RMW, mailbox)
        if proc.clock > target.interrupt_at:
            machine.charge(by, RMW, mailbox + DISPATCHER.offset("interrupts"))
            target.interrupt_at = proc.clock + self._way(proc, target)
        return target.interrupt_at

    def receive(self, proc: Processor) -> None:
        """Charge the receipt of such a message."""
        core, mailbox = self._machine.core, self.mailbox(proc)
        for code in (RMW, READ):
            proc.clock = core.access(proc.vp, code, mailbox, WORD_BYTES, proc.clock)

    def _set_bit(self, by: Thread, to: Dispatcher, bit: SoftIntr, handle: Handler) -> None:
        if not to.set_bit(bit, handle):
            return
        to.raised += 1
        at = by.proc.clock
        if by.level > 1:
            at += self._way(by.proc, to.proc)
        serve = partial(self._serve, to)
        if self._machine.live:
            interrupt(to.proc, at, serve, is_spinning=False)
        else:
            self._at_time(to.proc, at, serve)

    def _serve(self, dispatcher: Dispatcher) -> None:
        """Take all interrupts of *dispatcher*, on its processor."""
        self._machine.charge(dispatcher.th, RMW, dispatcher.addr + DISPATCHER.offset("interrupts"))
        for handle in dispatcher.take():
            handle(dispatcher.th)

    def _way(self, source: Processor, target: Processor) -> int:
        """Return how long an interrupt is on its way."""
        if source is target:
            return 0
        config = self._machine.config
        return config.ipi_cycles + 2 * config.hop_cycles * config.hops(source.node, target.node)

    def mailbox(self, proc: Processor) -> Addr:
        """Return where the short messages to *proc* arrive."""
        if proc.mailbox is None:
            proc.mailbox = self._machine.memory.alloc(proc.vp, DISPATCHER)
        return proc.mailbox


def interrupt(proc: Processor, at: int, handle: Callable[[], None], is_spinning: bool) -> int:
    """Let *proc* do *handle* at time *at*, though its clock may be ahead of that; return how much it is.

    It was ahead on memory of its own, which the handler does not touch: what it did then, it did so much
    later.
    """
    if is_spinning:
        proc.spin_until(at)
    else:
        proc.idle_until(at)
    ahead = proc.clock - at
    proc.clock = at
    if proc.on.exception:
        proc.emit.exception_ip_interrupt()
    handle()
    proc.clock += ahead
    contexts.handled(proc, at + ahead, proc.clock)
    return ahead
