"""The kernel's requests in the trace: OpEnter, OpArgs, OpExit, and who the callers are.

Every request that the daemon counts has its enter, and each enter its exit, whatever becomes of the request: with
the errno that the kernel is told (ENOENT too where it is told by an entry without a node), and the bytes that an
answer carries. Requests on `.k42` are not there, as they are not in any figure.

Nothing here runs unless Fuse events are recorded.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from errno import EACCES, ENOENT
from typing import TYPE_CHECKING, Any, Final

from k42fs.machine import Thread, contexts
from k42fs.personality.handles import Handle
from k42fs.personality.nodes import ROOT_ID

if TYPE_CHECKING:
    from k42fs.machine.driver import Machine
    from k42fs.machine.processor import Processor
    from k42fs.machine.tracing.tracer import Tracer

OPCODES: Final[Mapping[str, int]] = {
    "lookup": 1,
    "forget": 2,
    "getattr": 3,
    "setattr": 4,
    "readlink": 5,
    "symlink": 6,
    "mknod": 8,
    "mkdir": 9,
    "unlink": 10,
    "rmdir": 11,
    "rename": 12,
    "link": 13,
    "open": 14,
    "read": 15,
    "write": 16,
    "statfs": 17,
    "release": 18,
    "fsync": 20,
    "setxattr": 21,
    "getxattr": 22,
    "listxattr": 23,
    "removexattr": 24,
    "opendir": 27,
    "readdir": 44,
    "releasedir": 29,
    "fsyncdir": 30,
    "access": 34,
    "create": 35,
}
"""FUSE's numbers of the requests that have handlers; directories are read with READDIRPLUS."""

NAME_AT: Final[Mapping[str, tuple[int, ...]]] = {
    "lookup": (1,),
    "create": (1,),
    "mknod": (1,),
    "mkdir": (1,),
    "symlink": (1, 2),
    "link": (2,),
    "unlink": (1,),
    "rmdir": (1,),
    "rename": (1, 3),
    "getxattr": (1,),
    "setxattr": (1,),
    "removexattr": (1,),
}
"""Which arguments of a request are names, or as good as one."""

HAS_NUMBERS: Final = frozenset({"read", "write", "readdir", "setattr"})
"""Requests that ask for so many bytes, or from some place on."""

NAMES_ITS_CALLER: Final = frozenset({"open", "opendir", "create"})
"""Requests at which a caller's name is looked at again: few among many, and the first of a program just executed."""

LOOK_AGAIN_NS: Final = 1_000_000
COMM_BYTES: Final = 64
FILES_KEPT: Final = 32


@dataclass(slots=True)
class Span:
    """A request from its enter on: its processor, its thread if it has one, and the host's clock when it came."""

    proc: Processor
    th: Thread | None
    unique: int
    request: str
    began_ns: int
    is_open: bool = True


class RequestTrace:
    """Emits what Fuse events say. One for a mount; `describe` goes to the machine's describers."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._named: dict[int, tuple[bytes, int]] = {}  # what it was called, when it was looked at
        self._files: dict[int, int] = {}
        machine.trace.describers.append(self.describe)
        machine.trace.on_mask.append(self._mask_changed)

    def describe(self, tracer: Tracer) -> None:
        """Name the operations; callers are named when they call."""
        self._named.clear()
        constant = tracer.numbers.constant
        for name, opcode in OPCODES.items():
            tracer.emit[0].fuse_op_name(opcode, constant(name))

    def _mask_changed(self, mask: int) -> None:
        if not mask:
            close_all(self._files)

    def enter(self, th: Thread, unique: int, request: str, args: tuple[Any, ...], held_ns: int = 0) -> Span:
        """Record that *request*, the *unique*th of the mount, begins on *th* with its operation's *args*.

        To the host it came *held_ns* ago.
        """
        proc, creds = th.proc, th.creds
        emit = proc.emit
        began_ns = time.perf_counter_ns() - held_ns
        if proc.on.user:
            known = self._named.get(creds.pid)
            if known is None or (request in NAMES_ITS_CALLER and began_ns - known[1] > LOOK_AGAIN_NS):
                self._name(th, creds.pid, began_ns)
        now = self._machine.wall_clock_ns() - held_ns
        node = _node(args)
        emit.fuse_op_enter(unique, OPCODES[request], node, creds.pid, th.vp, creds.uid, creds.gid, now)
        if places := NAME_AT.get(request):
            string = self._machine.trace.string
            for place in places:
                emit.fuse_op_args(unique, string(args[place]), 0, 0)
        elif request in HAS_NUMBERS and (numbers := _size_and_offset(request, args)) is not None:
            emit.fuse_op_args(unique, 0, *numbers)
        return Span(proc, th, unique, request, began_ns)

    def enter_forget(self, proc: Processor, th: Thread | None, unique: int, node: int) -> Span:
        """Record that the kernel forgets nodes, of which *node* is the first. It does not say who.

        Only counts may change, and then there is no thread.
        """
        now = self._machine.wall_clock_ns()
        proc.emit.fuse_op_enter(unique, OPCODES["forget"], node, 0, proc.vp, 0, 0, now)
        return Span(proc, th, unique, "forget", time.perf_counter_ns())

    def leave(self, span: Span, answer: object = None) -> None:
        """Record that the request was answered, with *answer*. Before its thread ends; the second time nothing."""
        errno, nbytes = _outcome(span.request, answer)
        self._exit(span, errno, nbytes)

    def fail(self, span: Span, errno: int) -> None:
        """Record that the request was refused, or given up, if its end is not recorded yet."""
        self._exit(span, errno, 0)

    @staticmethod
    def _exit(span: Span, errno: int, nbytes: int) -> None:
        if not span.is_open:
            return
        span.is_open = False
        proc = span.proc
        proc.emit.fuse_op_exit(span.unique, errno, nbytes, time.perf_counter_ns() - span.began_ns)
        if proc.current is not span.th and proc.on.exception:
            contexts.tell(proc)  # it waited; to readers its end would mean what was before it began

    def _name(self, th: Thread, pid: int, now_ns: int) -> None:
        """Record what the caller is called, if that is news."""
        name = name_of(pid, self._files)
        if name and self._named.get(pid, (b"", 0))[0] != name:
            th.proc.emit.user_start_exec(pid, self._machine.trace.string(name))
        self._named[pid] = name, now_ns


def name_of(pid: int, kept: dict[int, int]) -> bytes:
    """Return what process *pid* is called, nothing if it has gone.

    *kept*: open files by pid. To read one again takes a seventh of the time; of a process that has gone it fails.
    """
    for _ in range(2):
        fd = kept.get(pid)
        try:
            if fd is None:
                if len(kept) >= FILES_KEPT:
                    close_all(kept)
                fd = kept[pid] = os.open(f"/proc/{pid}/comm", os.O_RDONLY | os.O_CLOEXEC)
            return os.pread(fd, COMM_BYTES, 0).rstrip(b"\n")
        except OSError:
            if fd is None:
                return b""
            os.close(kept.pop(pid))  # perhaps there is another process of this number now
    return b""


def close_all(kept: dict[int, int]) -> None:
    while kept:
        os.close(kept.popitem()[1])


def _node(args: tuple[Any, ...]) -> int:
    """Return the number of the node that a request is about: its first argument, or its handle's."""
    first = args[0]
    if isinstance(first, Handle):
        return 0 if first.node is None else first.node.node_id
    return first if first.__class__ is int else ROOT_ID


def _size_and_offset(request: str, args: tuple[Any, ...]) -> tuple[int, int] | None:
    """Return how much is asked for and where, of a request in HAS_NUMBERS."""
    if request == "read":
        return args[2], args[1]
    if request == "write":
        return len(args[2]), args[1]
    if request == "readdir":
        return 0, args[1]
    return (args[1].st_size, 0) if args[2].update_size else None


def _outcome(request: str, answer: Any) -> tuple[int, int]:  # noqa: ANN401
    """Return (errno, bytes) of an answer that is no failure to pyfuse3, but may be one to the caller."""
    if request == "lookup":
        return (0 if answer.st_ino else ENOENT), 0
    if request == "access":
        return (0 if answer else EACCES), 0
    if request == "write":
        return 0, answer
    return 0, len(answer) if isinstance(answer, bytes) else 0
