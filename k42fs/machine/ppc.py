"""Protected procedure calls: a client calls a server on its own processor, all lines local.

A call disables, enters the kernel, finds the target in the processor's own table, pushes it on the borrower
stack of the running domain, changes the address space, and runs the server on a thread from the top of a
free list, on the caller's time. No lock, no line that other processors write: a warm call costs the same on
any number of processors.

Charge: 190 cycles of instructions (twice 40 + 25 for the kernel and the switch, 60 for the stubs) and 14
lines: of the client's side the processor's registers page, client dispatcher, target table bucket, client's
process annex, borrower stack; of the server's its annex, dispatcher, thread (2), stack top (2), object table
entry, rep header; and the entry of the handle that is called, which all processors read. A payload is
written and read on one page of the processor.

Remote calls (`remote`) go to another processor: a pinned buffer, one outstanding per target, an interrupt
each way.

K42: os/kernel/exception/arch/powerpc/ExceptionLocalAsm.S, IPCTargetTable, doc/white-papers/Scheduling.sgml.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from k42fs.ids import Addr
from k42fs.machine.contexts import FIRST_SERVER, commid, context_of
from k42fs.machine.interrupts import SoftIntr
from k42fs.machine.layout import Kind, Layout, Script
from k42fs.machine.memory import PAGE_BYTES

if TYPE_CHECKING:
    from k42fs.machine.driver import Machine
    from k42fs.machine.thread import Thread

T = TypeVar("T")

BORROWERS_MAX: Final = 8
HEADER_BYTES: Final = 64
PAYLOAD_MAX: Final = PAGE_BYTES - HEADER_BYTES
REMOTE_BYTES: Final = 128
RETRY_CYCLES_PER_MHZ: Final = 10_000  # 10 ms
APART: Final = 128
"""Bytes from one item to the next: each is on a line of its own."""

CALL_WORK: Final = 40 + 25 + 30
RETURN_WORK: Final = 40 + 25 + 30
BIND_WORK: Final = 200
SLOW_RETURN_WORK: Final = 120
"""A return through the scheduler, the borrower stack having been cleared."""


def _apart(name: str, *items: str) -> Layout:
    fields: dict[str, int] = {}
    for item in items:
        fields |= {item: 8, f"{item}_rest": APART - 8}
    return Layout(name, Kind.LOCAL_STRICT, **fields)


CLIENT: Final = _apart("PPC client", "registers", "dispatcher", "bucket", "annex", "borrowers")
SERVER: Final = _apart(
    "PPC server", "annex", "dispatcher", "thread", "thread_more", "stack", "stack_more", "object", "rep"
)


def _script(name: str, work: int, client: str, server: str) -> Script:
    """Make a script over the client's lines at the first address, the server's at the second."""
    second = (f"{token[0]}2:{SERVER.offset(token[2:])}" for token in server.split())
    return CLIENT.script(name, " ".join([client, *second]), work)


CALL: Final = _script(
    "call",
    CALL_WORK,
    "w:registers r:dispatcher w:dispatcher r:bucket w:annex w:borrowers",
    "w:annex w:dispatcher w:thread w:thread_more w:stack w:stack_more r:object r:rep",
)
RETURN: Final = _script(
    "return", RETURN_WORK, "w:borrowers w:registers w:dispatcher", "w:thread w:dispatcher"
)


class BorrowerStackError(RuntimeError):
    """Servers called servers more than eight deep."""


class Ppc:
    """What calls need of each processor. *borrowers_max*: how deep calls may nest."""

    def __init__(self, machine: Machine, borrowers_max: int = BORROWERS_MAX) -> None:
        self.machine = machine
        self.borrowers_max = borrowers_max
        self._clients: dict[int, Addr] = {}
        self._pages: dict[int, Addr] = {}
        self._depths: dict[int, int] = {}  # number of a thread -> servers it is in
        self.servers: dict[int, str] = {}  # process numbers and names, for the trace
        self._scheduler_service: PpcServer | None = None

    def client_lines(self, vp: int) -> Addr:
        """Return the address of processor *vp*'s part of the client's side."""
        if vp not in self._clients:
            self._clients[vp] = self.machine.memory.alloc(vp, CLIENT)
        return self._clients[vp]

    def page(self, vp: int) -> Addr:
        """Return the address of processor *vp*'s page for payloads."""
        if vp not in self._pages:
            self._pages[vp] = self.machine.memory.alloc(vp, PAGE_BYTES, Kind.LOCAL_STRICT)
        return self._pages[vp]

    def enter(self, th: Thread) -> None:
        """Push a server on the borrower stack. Raises BorrowerStackError: it is full."""
        depth = self._depths.get(th.number, 0)
        if depth >= self.borrowers_max:
            raise BorrowerStackError(f"{th!r} is in {depth} servers already")
        self._depths[th.number] = depth + 1

    def leave(self, th: Thread) -> None:
        """Pop it again."""
        depth = self._depths.pop(th.number) - 1
        if depth:
            self._depths[th.number] = depth

    def new_pid(self, name: str) -> int:
        """Return the process number of a new server."""
        pid = FIRST_SERVER + len(self.servers)
        self.servers[pid] = name
        if self.machine.processors[0].on.user:
            self.machine.trace.served(pid, name)
        return pid

    def trace_call(self, th: Thread, pid: int) -> int:
        """*th* enters server *pid*: say so if that is recorded, and return the call's number, else 0."""
        th.server = pid
        if not th.proc.on.exception:
            return 0
        call, emit = next(self.machine.trace.calls), th.proc.emit
        context = context_of(th)
        emit.exception_ppc_call(context[0], call)
        emit.exception_context(*context)
        return call

    def trace_return(self, th: Thread, outer: int, call: int) -> None:
        """*th* returns to server *outer* or, if that is 0, to what is its own."""
        th.server = outer
        if th.proc.on.exception:
            context = context_of(th)
            th.proc.emit.exception_ppc_return(context[0], call)
            th.proc.emit.exception_context(*context)

    def charge_call(self, th: Thread) -> None:
        """Charge a whole null call of the scheduler's service, which wakes threads of other domains."""
        service = self._scheduler_service
        if service is None:
            service = self._scheduler_service = PpcServer(self, "SchedulerService")
        outer = th.server
        call = self.trace_call(th, service.pid)
        client, server = self.client_lines(th.vp), service.lines(th.vp)
        access, proc = self.machine.core.access, th.proc
        for script in (CALL, RETURN):
            for code, second, offset, nbytes in self.machine.cut(script):
                base = server if second else client
                proc.clock = access(th.vp, code, base + offset, nbytes, proc.clock)
            th.work(script.work)
        self.trace_return(th, outer, call)


class PpcServer:
    """A server that can be called on every processor. *home*: the processor that published its handle."""

    def __init__(self, ppc: Ppc, name: str, home: int = 0) -> None:
        self._ppc = ppc
        self._machine = ppc.machine
        self.name = name
        self.pid = ppc.new_pid(name)
        self.calls = 0
        self.slow_returns = 0
        self._handle = ppc.machine.memory.alloc(home, 16, Kind.GLOBAL_PADDED)
        self._lines: dict[int, Addr] = {}
        self._words: dict[int, Addr] = {}  # by target: is a remote call outstanding?
        self._busy: set[int] = set()

    def __repr__(self) -> str:
        return f"<server {self.name}>"

    def lines(self, vp: int) -> Addr:
        """Return the address of this server's lines on processor *vp*."""
        if vp not in self._lines:
            self._lines[vp] = self._machine.memory.alloc(vp, SERVER)
        return self._lines[vp]

    async def call(
        self,
        th: Thread,
        method: Callable[..., Awaitable[T]],
        *args: Any,  # noqa: ANN401
        payload: int = 0,
    ) -> T:
        """Call ``method(th, *args)`` in this server, with so many bytes of *payload*; return its answer.

        Raises: BorrowerStackError: calls are nested too deep. ValueError: the payload exceeds a page.
        """
        if not 0 <= payload <= PAYLOAD_MAX:
            raise ValueError(f"payload={payload}: must be from 0 to {PAYLOAD_MAX} bytes")
        ppc, proc, outer = self._ppc, th.proc, th.server
        ppc.enter(th)
        try:
            call = ppc.trace_call(th, self.pid)
            client = ppc.client_lines(th.vp)
            if th.vp not in self._lines:  # not in this processor's table of targets yet
                await th.store(client + CLIENT.offset("bucket"))
                th.work(BIND_WORK)
            server = self.lines(th.vp)
            await th.touch(CALL, client, server)
            await th.load(self._handle)
            if payload:
                await th.store(ppc.page(th.vp) + HEADER_BYTES, payload)
                await th.load(ppc.page(th.vp) + HEADER_BYTES, payload)
            self.calls += 1
            switches = proc.switches
            try:
                answer = await method(th, *args)
            except Exception:
                await self._return(th, client, server, switches)
                raise
            await self._return(th, client, server, switches)
            return answer
        finally:
            ppc.leave(th)
            ppc.trace_return(th, outer, call)

    async def remote(self, th: Thread, vp: int, method: Callable[..., Awaitable[T]], *args: Any) -> T:  # noqa: ANN401
        """Call ``method(server thread, *args)`` on processor *vp*; return its answer.

        One call to each processor is outstanding at a time; another one tries again after 10 ms.
        """
        machine = self._machine
        word = self._words.get(vp)
        if word is None:
            word = self._words[vp] = machine.memory.alloc(vp, 16, Kind.GLOBAL_PADDED)
        await th.rmw(word)
        while vp in self._busy:
            await th.sleep(RETRY_CYCLES_PER_MHZ * machine.config.mhz)
            await th.rmw(word)
        self._busy.add(vp)
        outcome: list[Any] = []
        buffer = machine.memory.alloc(th.vp, REMOTE_BYTES, Kind.GLOBAL_PADDED)
        caller = context_of(th)[0]
        if th.proc.on.exception:
            th.proc.emit.exception_ipc_remote(th.number, 0, commid(self.pid, vp))
        interrupts = machine.interrupts

        def wake(dispatcher: Thread) -> None:
            dispatcher.unblock(th)

        async def serve(server: Thread) -> None:
            server.chain = th.chain
            if server.proc.on.exception:
                server.proc.emit.exception_accept_remote_ipc(0, caller)
            await server.load(buffer, REMOTE_BYTES)
            try:
                outcome.append((await self.call(server, method, *args), None))
            except Exception as exc:
                outcome.append((None, exc))
            await server.store(buffer, REMOTE_BYTES)
            await interrupts.raise_bit(server, interrupts.dispatcher(th.vp), SoftIntr.PREEMPT, wake)

        def receive(dispatcher: Thread) -> None:
            interrupts.start(vp, serve, f"{self.name}, called from {th.vp}", th.pid)

        await th.store(buffer, REMOTE_BYTES)
        await interrupts.raise_bit(th, interrupts.dispatcher(vp), SoftIntr.PREEMPT, receive)
        while not outcome:
            await th.block()
        if th.proc.on.exception:
            th.proc.emit.exception_ipc_remote_done(caller)
            th.proc.emit.exception_context(*context_of(th))
        await th.load(buffer, REMOTE_BYTES)
        machine.memory.free(th.vp, buffer)
        await th.store(word)
        self._busy.remove(vp)
        answer, error = outcome[0]
        if error is not None:
            raise error
        return answer  # type: ignore[no-any-return]

    async def _return(self, th: Thread, client: Addr, server: Addr, switches: int) -> None:
        await th.touch(RETURN, client, server)
        if th.proc.switches != switches:  # the server blocked, and the scheduler cleared the borrower stack
            self.slow_returns += 1
            th.work(SLOW_RETURN_WORK)
