"""Messages between processors: stacks, one interrupt for many, replies.

A sender fills a message, pushes it on the target's stack by compare-and-swap, and raises the target's
interrupt only if the stack was empty. The receiver takes the whole stack with one fetch-and-clear and runs
each message, the last pushed first. Replies go the same way back, on a second stack. A synchronous message
lies on its sender's stack and blocks it until the reply; others come from a pool of chunks that the replies
fill again.

Two levels: a DISABLED handler is a plain function that runs in the dispatcher and must not wait; an ENABLED
one is a coroutine function that gets a thread.

Charge, per message: a write of each of its lines, a read-modify-write of the target's stack, for the first
also one of its interrupt word and the interrupt; at the receiver two for all, and a read of each line.

K42: lib/libc/sync/MPMsgMgr.H and its variants.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from k42fs.ids import Addr
from k42fs.machine.contexts import commid, context_of
from k42fs.machine.interrupts import Dispatcher, Interrupts, SoftIntr
from k42fs.machine.layout import READ, RMW, WORD_BYTES, WRITE, Kind

if TYPE_CHECKING:
    from k42fs.machine.driver import Machine
    from k42fs.machine.thread import Thread

CHUNK_BYTES: Final = 128
POOL: Final = 32


class Level(Enum):
    """How a message is handled: its bits for sending and replying, and its stacks' place on the page."""

    DISABLED = (SoftIntr.MP_DISABLED_SEND, SoftIntr.MP_DISABLED_REPLY, 0)
    ENABLED = (SoftIntr.MP_ENABLED_SEND, SoftIntr.MP_ENABLED_REPLY, 2 * WORD_BYTES)


class Message:
    """One message. `answer`: what its handler returned, once `is_done`."""

    __slots__ = (
        "addr",
        "answer",
        "error",
        "handle",
        "has_reply",
        "is_done",
        "level",
        "number",
        "sender",
        "source",
    )

    def __init__(
        self, addr: Addr, handle: Callable[..., Any], level: Level, source: Dispatcher, sender: Thread | None
    ) -> None:
        self.addr = addr
        self.handle = handle
        self.level = level
        self.source = source
        self.sender = sender  # who waits for the reply; nobody if it is asynchronous
        self.number = 0  # in the trace
        self.has_reply = True
        self.is_done = False
        self.answer: Any = None
        self.error: Exception | None = None


class Messages:
    """The message managers of all dispatchers of a machine."""

    def __init__(self, machine: Machine, interrupts: Interrupts) -> None:
        self._machine = machine
        self._interrupts = interrupts
        self._stacks: dict[tuple[Dispatcher, SoftIntr], list[Message]] = {}
        self._pools: dict[Dispatcher, list[Addr]] = {}
        self._numbers = count(1)

    async def send(
        self, by: Thread, vp: int, handle: Callable[..., Any], level: Level = Level.DISABLED, rd: int = 0
    ) -> Message:
        """Send a message to domain *rd* on *vp* and go on. Waits only if all chunks are on their ways."""
        source = self._source(by)
        pool = self._pools.get(source)
        if pool is None:
            alloc = self._machine.memory.alloc
            pool = [alloc(by.vp, CHUNK_BYTES, Kind.GLOBAL_PADDED) for _ in range(POOL)]
            self._pools[source] = pool
        while not pool:
            await by.sleep(self._machine.config.yield_cycles)
        message = Message(pool.pop(), handle, level, source, None)
        await self._push(by, self._interrupts.dispatcher(vp, rd), message)
        return message

    async def call(
        self, by: Thread, vp: int, handle: Callable[..., Any], level: Level = Level.DISABLED, rd: int = 0
    ) -> Any:  # noqa: ANN401  (whatever the handler returns)
        """Send a message and wait for its answer. Raises what the handler raises."""
        memory = self._machine.memory
        addr = memory.alloc(by.vp, CHUNK_BYTES, Kind.GLOBAL_PADDED)  # on the sender's stack, aligned
        message = Message(addr, handle, level, self._source(by), by)
        await self._push(by, self._interrupts.dispatcher(vp, rd), message)
        while not message.is_done:  # stray unblocks are legal
            await by.block()
        memory.free(by.vp, addr)
        if message.error is not None:
            raise message.error
        return message.answer

    async def post(self, by: Thread, vp: int, handle: Callable[..., Any], addr: Addr, rd: int = 0) -> None:
        """Send a message of the sender's own, at *addr*, that nobody replies to. The handler is disabled.

        For senders that learn in another way when the message is done with, and keep it that long.
        """
        message = Message(addr, handle, Level.DISABLED, self._source(by), None)
        message.has_reply = False
        if by.proc.on.exception:
            by.proc.emit.exception_ppc_async_remote(by.number, commid(by.pid, vp))
        await self._push(by, self._interrupts.dispatcher(vp, rd), message)
        if by.proc.on.exception:
            context = context_of(by)
            by.proc.emit.exception_ppc_async_remote_done(context[0])
            by.proc.emit.exception_context(*context)

    def _source(self, by: Thread) -> Dispatcher:
        return self._interrupts.dispatcher(by.vp, self._interrupts.domain(by))

    async def _push(self, by: Thread, to: Dispatcher, message: Message) -> None:
        send, _, offset = message.level.value
        if by.proc.on.scheduler:
            message.number = next(self._numbers)
            fn = self._machine.tracer.numbers.site_of_function(message.handle)
            by.proc.emit.scheduler_mp_msg_send(to.proc.vp, message.number, fn)
        await by.store(message.addr, CHUNK_BYTES)
        await by.rmw(to.addr + offset)
        stack = self._stack(to, send)
        stack.append(message)
        if len(stack) == 1:
            await self._interrupts.raise_bit(by, to, send, partial(self._take_messages, to, message.level))

    def _stack(self, dispatcher: Dispatcher, bit: SoftIntr) -> list[Message]:
        return self._stacks.setdefault((dispatcher, bit), [])

    def _take(self, to: Dispatcher, bit: SoftIntr, addr: int, th: Thread) -> list[Message]:
        """Fetch and clear a stack: return its messages, last pushed first."""
        self._machine.charge(th, RMW, addr)
        stack = self._stack(to, bit)
        messages = stack[::-1]
        stack.clear()
        return messages

    def _take_messages(self, to: Dispatcher, level: Level, th: Thread) -> None:
        send, _, offset = level.value
        for message in self._take(to, send, to.addr + offset, th):
            if th.proc.on.scheduler:
                fn = self._machine.tracer.numbers.site_of_function(message.handle)
                th.proc.emit.scheduler_mp_msg_receive(message.source.proc.vp, message.number, fn)
            if level is Level.ENABLED:
                self._interrupts.start(to.proc.vp, partial(self._run_enabled, message), "message")
            else:
                self._read(th, message)
                try:
                    message.answer = message.handle(th)
                except Exception as exc:
                    self._fail(message, exc)
                if message.has_reply:
                    self._reply(th, message)

    async def _run_enabled(self, message: Message, th: Thread) -> None:
        if message.sender is not None:  # who waits for the answer
            th.chain = message.sender.chain
        self._read(th, message)
        try:
            message.answer = await message.handle(th)
        except Exception as exc:
            self._fail(message, exc)
        self._reply(th, message)

    def _fail(self, message: Message, exc: Exception) -> None:
        if message.sender is None:
            raise exc
        message.error = exc

    def _read(self, th: Thread, message: Message) -> None:
        for at in range(message.addr, message.addr + CHUNK_BYTES, self._machine.config.line_bytes):
            self._machine.charge(th, READ, at)

    def _reply(self, th: Thread, message: Message) -> None:
        """Push *message* on the stack of replies of who sent it."""
        _, reply, offset = message.level.value
        source = message.source
        self._machine.charge(th, WRITE, message.addr)
        self._machine.charge(th, RMW, source.addr + offset + WORD_BYTES)
        stack = self._stack(source, reply)
        stack.append(message)
        if len(stack) == 1:
            handle = partial(self._take_replies, source, message.level)
            self._interrupts.raise_bit_disabled(th, source, reply, handle)

    def _take_replies(self, source: Dispatcher, level: Level, th: Thread) -> None:
        _, reply, offset = level.value
        for message in self._take(source, reply, source.addr + offset + WORD_BYTES, th):
            self._machine.charge(th, READ, message.addr)
            message.is_done = True
            if message.sender is not None:
                th.unblock(message.sender)
            else:
                self._pools[source].append(message.addr)
