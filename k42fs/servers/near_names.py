"""The names of a directory that one processor has looked up: its copies of what the buckets say.

A fixed table in the processor's own memory, in which a name has one place, by its hash: a name that comes takes
the place of the one that is there. A copy is entered under the lock of the name's bucket, which takes down who
has copies, and taken away under it too, by whoever changes the name, by one store from afar. So a copy that is
found is right, and finding it takes no lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple
from zlib import crc32

from k42fs.ids import VP, Addr
from k42fs.machine.layout import Kind

if TYPE_CHECKING:
    from k42fs.machine.memory import Memory
    from k42fs.servers.fs_file import FSFile
    from k42fs.servers.name_holder import NameHolder

PLACES: Final = 128
PLACE_BYTES: Final = 64
"""Modelled: hash, length and text (32), inode (8), name holder (8)."""


class Copy(NamedTuple):
    """What a name means: *file* is None if it is known not to exist, and then so is *holder*."""

    name: bytes
    file: FSFile | None
    holder: NameHolder | None


class NearNames:
    """One processor's copies. Nothing here blocks."""

    __slots__ = ("_addr", "_places")

    def __init__(self, memory: Memory, vp: VP, owner: object) -> None:
        self._addr = memory.alloc(vp, PLACES * PLACE_BYTES, Kind.LOCAL_STRICT, owner=owner)
        self._places: list[Copy | None] = [None] * PLACES

    def place(self, name: bytes) -> Addr:
        """Return the modelled address of a name's place."""
        return Addr(self._addr + crc32(name) % PLACES * PLACE_BYTES)

    def find(self, name: bytes) -> Copy | None:
        """Return the copy of *name*, if there is one."""
        copy = self._places[crc32(name) % PLACES]
        return copy if copy is not None and copy.name == name else None

    def keep(self, copy: Copy) -> None:
        """Enter a copy. The caller holds the lock of the name's bucket."""
        self._places[crc32(copy.name) % PLACES] = copy

    def forget(self, name: bytes) -> None:
        """Take the copy of *name* away, if there is one. The caller holds the lock of the name's bucket."""
        if self.find(name) is not None:
            self._places[crc32(name) % PLACES] = None

    def free(self, memory: Memory, vp: VP) -> None:
        """Give the modelled memory back."""
        memory.free(vp, self._addr)
