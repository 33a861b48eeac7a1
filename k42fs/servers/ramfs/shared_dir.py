"""What a ramfs directory keeps apart per processor and per bucket while its names are made on many at once.

Usually a directory has one table, one count of links and one time, in its inode's record: who makes a name
writes that record. A directory whose names the library does not order (`FileSystem.share_names`) keeps

* per processor a *part*: times of the last change there, what was added to the link count and to the number of
  names, the names made there in order of age, and a block of cookies for them;
* per bucket of names, by the same hash as the library's (`dir_layout.bucket_number`), a table of slots of its own,
  which only who holds that bucket's lock touches.

So who makes a name writes its processor's part and a slot, and reads the record. Who wants to know the whole
(status, readdir, is it empty?) reads all the parts: the newest time, and the sums. What POSIX promises about a
directory's link count and times holds whenever they are read.

The values themselves are kept once, in the inode: what is modelled here is where they would lie. Cookies come in
blocks, so the order of age is that of the blocks across processors, and exact on each.

K42: os/servers/k42Ramfs keeps one list per directory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from k42fs.ids import VP, Addr
from k42fs.machine.layout import Kind, Layout
from k42fs.servers.dir_layout import BUCKETS, bucket_number

if TYPE_CHECKING:
    from k42fs.machine.memory import Memory
    from k42fs.machine.thread import Thread
    from k42fs.servers.ramfs.entries import DirEntries

SLOT: Final = 32
"""Modelled bytes of one entry in a directory's table."""

COOKIES: Final = 64
"""Cookies that a processor takes at once."""

FIRST_SLOTS: Final = 4
"""Slots of a bucket's first table."""

PART: Final = Layout("RamDirPart", Kind.GLOBAL_PADDED, times=16, nlink=8, names=8, cookies=16, tail=8)
ADD_NAME: Final = PART.script("add_name", "w:times w:names w:cookies w:tail w2:0", work=90)
REMOVE_NAME: Final = PART.script("remove_name", "w:times w:names w2:0", work=70)
GATHER: Final = PART.script("gather", "r:times r:nlink r:names r:tail", work=20)
SET_TIMES: Final = PART.script("set_times", "w:times", work=10)

HEAD: Final = Layout("RamDirShared", Kind.GLOBAL_PADDED, next_cookie=8)
TAKE_COOKIES: Final = HEAD.script("take_cookies", "x:next_cookie", work=20)


class Part:
    """One processor's part: its address, and the block of cookies it is using up."""

    __slots__ = ("addr", "end", "next")

    def __init__(self, addr: Addr) -> None:
        self.addr = addr
        self.next = self.end = 0


class SharedDir:
    """The parts and tables of one directory.

    Shape: `_tables`, `_masks` and `_counts` have an item for each bucket; `_first` is the block that the first
    tables lie in.
    """

    __slots__ = ("_addr", "_counts", "_first", "_masks", "_memory", "_parts", "_spacing", "_tables")

    def __init__(self, memory: Memory, vp: VP, entries: DirEntries, line_bytes: int) -> None:
        self._memory = memory
        self._spacing = max(FIRST_SLOTS * SLOT, line_bytes)
        self._addr = memory.alloc(vp, HEAD, owner=self)
        self._first = memory.alloc(vp, BUCKETS * self._spacing, Kind.GLOBAL_PADDED, owner=self)
        self._tables = [Addr(self._first + number * self._spacing) for number in range(BUCKETS)]
        self._masks = [FIRST_SLOTS - 1] * BUCKETS
        self._counts = [0] * BUCKETS
        self._parts: dict[VP, Part] = {}
        for name in entries.by_name:
            self.count(vp, name, 1)

    def label(self) -> str:
        """What statistics and traces call it."""
        return "shared ramfs directory"

    def free(self, vp: VP) -> None:
        """Give all modelled memory back."""
        for number, table in enumerate(self._tables):
            if table != self._first + number * self._spacing:
                self._memory.free(vp, table)
        for part in self._parts.values():
            self._memory.free(vp, part.addr)
        self._memory.free(vp, self._first)
        self._memory.free(vp, self._addr)

    def slot(self, name: bytes) -> Addr:
        """Return the modelled address of a name's slot."""
        number, rest = bucket_number(name)
        return Addr(self._tables[number] + (rest & self._masks[number]) * SLOT)

    def count(self, vp: VP, name: bytes, change: int) -> int:
        """Note that the bucket of *name* has *change* names more; the names that had to be moved."""
        number, _ = bucket_number(name)
        self._counts[number] += change
        count, slots = self._counts[number], self._masks[number] + 1
        if change < 0 or count <= 2 * slots:
            return 0
        if slots > FIRST_SLOTS:
            self._memory.free(vp, self._tables[number])
        self._masks[number] = 2 * slots - 1
        self._tables[number] = self._memory.alloc(vp, 2 * slots * SLOT, Kind.GLOBAL_PADDED, owner=self)
        return count

    async def add(self, th: Thread, entries: DirEntries, name: bytes) -> None:
        """Charge what entering *name* touches, and see to it that there is a cookie for it."""
        part = self._part(th.vp)
        if part.next == part.end:
            await th.touch(TAKE_COOKIES, self._addr)
            self._refill(part, entries)
        await th.touch(ADD_NAME, part.addr, self.slot(name))

    async def remove(self, th: Thread, name: bytes) -> None:
        """Charge what taking *name* away touches."""
        await th.touch(REMOVE_NAME, self._part(th.vp).addr, self.slot(name))

    async def gather(self, th: Thread) -> None:
        """Charge reading the parts of all processors."""
        for part in list(self._parts.values()):
            await th.touch(GATHER, part.addr)

    async def set_times(self, th: Thread) -> None:
        """Charge replacing the times in the parts of all processors."""
        for part in list(self._parts.values()):
            await th.touch(SET_TIMES, part.addr)

    def cookie(self, vp: VP, entries: DirEntries) -> int:
        """Return the next cookie of a processor."""
        part = self._part(vp)
        self._refill(part, entries)  # another thread of the processor may have used the last one
        part.next += 1
        return part.next - 1

    def _refill(self, part: Part, entries: DirEntries) -> None:
        if part.next == part.end:
            part.next = entries.take_cookies(COOKIES)
            part.end = part.next + COOKIES

    def _part(self, vp: VP) -> Part:
        part = self._parts.get(vp)
        if part is None:
            part = self._parts[vp] = Part(self._memory.alloc(vp, PART, owner=self))
        return part
