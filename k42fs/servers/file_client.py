"""The client's side of an open file that it may have to itself: its lock, its length and offset.

K42's client library keeps an exclusive file's length and offset itself.

Shape: one record per open, on a line of its own, made with the open.
Locks: `stream` (rank 42) is held by each operation of the open while the client owns the file.

K42: lib/libc/io/FileLinuxFile.*.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from k42fs.ids import Addr
from k42fs.machine.layout import Kind, Layout
from k42fs.machine.locks import FairBLock

if TYPE_CHECKING:
    from k42fs.machine.driver import Machine

RECORD: Final = Layout(
    "FileClient", Kind.GLOBAL_PADDED, flags=8, creds=8, position=8, length=8, stream=16, use=8, links=8
)
"""An open's client data (`open_file.CLIENT`), and what an owner needs besides."""

OWN_READ: Final = RECORD.script("own_read", "r:use r:length", work=60)
OWN_WRITE: Final = RECORD.script("own_write", "r:use w:length", work=60)
MOVE: Final = RECORD.script("move", "w:position", work=10)
ASK: Final = RECORD.script("ask", "r:use r:length", work=30)
TELL: Final = RECORD.script("switch", "w:use r:length r:position", work=80)


class UseType(Enum):
    """Who owns length and offset of an open file. LAZY_INIT: it has done no I/O, and nobody asked who does."""

    LAZY_INIT = auto()
    NON_SHARED = auto()  # the client
    SHARED = auto()  # the server


class FileClient:
    """One client. *addr* is its record's."""

    __slots__ = ("addr", "stream", "use")

    def __init__(self, machine: Machine, addr: Addr, owner: object) -> None:
        self.addr = addr
        lock = Addr(addr + RECORD.offset("stream"))
        self.stream = FairBLock(machine, lock, 42, "stream", owner, spans_calls=True)
        self.use = UseType.LAZY_INIT
