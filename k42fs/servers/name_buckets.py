"""The names that a directory object knows, in buckets: each has its own lock and shares no line with another.

A bucket is a small `NameCache` of the names that hash to it. It also takes down which processors have copies of a
name (`near_names.py`), so that who is about to change the name can take them away. That record may name a
processor whose copy was pushed out since; it never lacks one that has a copy.

Locks: a bucket's (rank 20), for all that is in it. All buckets of a directory lie in one block, so ascending
addresses are ascending numbers, and whoever takes several, or all, takes them in that order.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from k42fs.ids import VP, Addr
from k42fs.machine.layout import Kind, Layout
from k42fs.machine.locks import RWLock
from k42fs.machine.thread import DONE, Thread
from k42fs.objects.root import processors
from k42fs.servers.dir_layout import BUCKETS, bucket_number
from k42fs.servers.name_cache import CHILDREN_MAX, NEGATIVES_MAX, NameCache
from k42fs.servers.name_holder import HOLDER
from k42fs.servers.near_names import Copy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Collection, Iterable, Mapping

    from k42fs.servers.fs_file import FSFile
    from k42fs.servers.fs_global import FileSystemGlobal
    from k42fs.servers.name_holder import NameHolder

BUCKET_BYTES: Final = 128
"""K42 pads to lines of 128 bytes; where lines are longer a bucket takes one."""

BUCKET: Final = Layout("DirBucket", Kind.GLOBAL_PADDED, lock=24, chain=8, count=8, copies=8)
MISS: Final = BUCKET.script("lookup_miss", "r:count r2:0", work=60)
NEGATIVE: Final = BUCKET.script("negative", "w:count w2:0", work=30)
SHARE_NEGATIVE: Final = BUCKET.script("share_negative", "x:copies", work=20)
SHARE: Final = HOLDER.script("share", "x:link", work=20)

DIR_REP: Final = Layout("DirObjectRep", Kind.LOCAL_STRICT, state=8, file=8, used=8, handles=8)
"""One processor's part of the directory's object: `state` says whether it is closing."""

TAKE_COPY: Final = DIR_REP.script("take_copy", "r:file w2:0 w2:8 w2:32 w2:40", work=40)
FORGET_COPY: Final = DIR_REP.script("forget_copy", "w2:0", work=20)

_CHAIN: Final = BUCKET.offset("chain")


class Bucket(NameCache):
    """The names of one bucket. `lock` (rank 20) is over all of it; `copies` has a processor set for each name."""

    __slots__ = ("_reps", "copies", "lock")

    children_max = CHILDREN_MAX // BUCKETS
    negatives_max = NEGATIVES_MAX // BUCKETS
    miss = MISS
    negative = NEGATIVE

    def __init__(
        self, tree: FileSystemGlobal, file: FSFile, addr: Addr, reps: Mapping[VP, Any], owner: object
    ) -> None:
        super().__init__(tree, file, addr)
        self._reps = reps
        self.lock = RWLock(tree.machine, addr, 20, "bucket", owner, spans_calls=True)
        self.copies: dict[bytes, int] = {}

    def bucket(self, name: bytes) -> Addr:
        """Return the modelled address of the chain."""
        return Addr(self._addr + _CHAIN)

    def recall(self, th: Thread, name: bytes) -> Awaitable[None]:
        """Take all copies of *name* away."""
        return self._recall(th, name) if name in self.copies else DONE

    async def share(self, th: Thread, name: bytes) -> Copy:
        """Find *name* and give th's processor a copy to keep; what it is."""
        file = await self.find(th, name)
        holder = self.children.get(name)
        if holder is None:
            await th.touch(SHARE_NEGATIVE, self._addr)
        else:
            await th.touch(SHARE, holder.addr)
        rep = self._reps[th.vp]
        await th.touch(TAKE_COPY, rep.addr, rep.near.place(name))
        copy = Copy(name, file, holder)
        self.copies[name] = self.copies.get(name, 0) | 1 << th.vp
        rep.near.keep(copy)
        return copy

    def clear(self, vp: VP) -> None:
        """Forget everything. Nobody looks at copies any more."""
        super().clear(vp)
        self.copies.clear()

    def hand_over(self) -> None:
        """Forget everything without giving any memory back: it is somebody else's now."""
        super().hand_over()
        self.copies = {}

    async def _recall(self, th: Thread, name: bytes) -> None:
        reps = [self._reps[vp] for vp in processors(self.copies[name]) if vp in self._reps]
        for rep in reps:
            await th.touch(FORGET_COPY, rep.addr, rep.near.place(name))
        for rep in reps:
            rep.near.forget(name)
        del self.copies[name]

    async def _forget_negatives(self, th: Thread) -> None:
        for name in list(self.negatives):
            await self.recall(th, name)
        self.negatives.clear()


class NameBuckets:
    """All names that a directory knows.

    Args:
        reps: the object's rep of each processor, as far as there is one; each has `addr` and `near`.
        owner: the object, for the names of locks.
    """

    __slots__ = ("_buckets", "_file", "_owner", "_reps", "_spacing", "_tree", "addr")

    def __init__(
        self, tree: FileSystemGlobal, file: FSFile, vp: VP, reps: Mapping[VP, Any], owner: object
    ) -> None:
        self._tree, self._file, self._reps, self._owner = tree, file, reps, owner
        self._spacing = max(BUCKET_BYTES, tree.machine.config.line_bytes)
        self.addr = tree.memory.alloc(vp, _block(self._spacing), owner=owner)
        self._buckets: list[Bucket | None] = [None] * BUCKETS

    def of(self, name: bytes) -> Bucket:
        """Return the bucket of *name*."""
        number, _ = bucket_number(name)
        return self._buckets[number] or self._made(number)

    def locks_of(self, names: Collection[bytes] | None) -> list[RWLock]:
        """Return the locks of *names*, or (None) of all there may be, in the order in which to take them."""
        if names is None:
            numbers: Iterable[int] = range(BUCKETS)
        else:
            numbers = sorted({bucket_number(name)[0] for name in names})
        return [(self._buckets[number] or self._made(number)).lock for number in numbers]

    # The same as a NameCache's, for whoever holds the name's lock

    def bucket(self, name: bytes) -> Addr:
        """Return the modelled address of the chain *name* is in."""
        return self.of(name).bucket(name)

    def find(self, th: Thread, name: bytes, *, is_to_be_made: bool = False) -> Awaitable[FSFile | None]:
        """Find the inode called *name*; see `NameCache.find`."""
        return self.of(name).find(th, name, is_to_be_made=is_to_be_made)

    def recall(self, th: Thread, name: bytes) -> Awaitable[None]:
        """Take all copies of *name* away."""
        return self.of(name).recall(th, name)

    def bind(self, th: Thread, name: bytes, file: FSFile) -> Awaitable[None]:
        """Let *name* mean *file*."""
        return self.of(name).bind(th, name, file)

    def unbind(self, th: Thread, name: bytes) -> Awaitable[None]:
        """Forget *name*."""
        return self.of(name).unbind(th, name)

    def walkers(self, name: bytes) -> RWLock | None:
        """Return the lock of *name* if somebody walks through it just now, else None."""
        return self.of(name).walkers(name)

    # All of them

    def has_walkers(self) -> bool:
        """Say whether somebody walks through any of the names."""
        return any(bucket.has_walkers() for bucket in self._made_ones())

    @property
    def children(self) -> dict[bytes, NameHolder]:
        """All holders, bucket by bucket, in a dictionary of its own."""
        return {name: holder for bucket in self._made_ones() for name, holder in bucket.children.items()}

    @property
    def negatives(self) -> dict[bytes, None]:
        """All names known not to exist, in a dictionary of its own."""
        return {name: None for bucket in self._made_ones() for name in bucket.negatives}

    def take_in(self, children: Mapping[bytes, NameHolder], negatives: Iterable[bytes]) -> None:
        """Begin with these, which nobody has copies of."""
        for name, holder in children.items():
            self.of(name).children[name] = holder
        for name in negatives:
            self.of(name).negatives[name] = None

    def hand_over(self) -> None:
        """Forget everything without giving the holders' memory back: it is somebody else's now."""
        for bucket in self._made_ones():
            bucket.hand_over()

    def free(self, vp: VP) -> None:
        """Forget everything and give the modelled memory back."""
        for bucket in self._made_ones():
            bucket.clear(vp)
            del bucket.lock  # it names the object as its owner: without the cycle all go at once
        self._buckets = [None] * BUCKETS
        self._owner = None
        self._tree.memory.free(vp, self.addr)

    def _made_ones(self) -> list[Bucket]:
        return [bucket for bucket in self._buckets if bucket is not None]

    def _made(self, number: int) -> Bucket:
        """Make a bucket's lock and tables, at its first use."""
        addr = Addr(self.addr + number * self._spacing)
        bucket = Bucket(self._tree, self._file, addr, self._reps, self._owner)
        self._buckets[number] = bucket
        return bucket


@lru_cache(maxsize=4)
def _block(spacing: int) -> Layout:
    """Return the layout of all buckets of a directory, a field each."""
    fields = {f"bucket{number}": spacing for number in range(BUCKETS)}
    return Layout("DirBuckets", Kind.GLOBAL_PADDED, **fields)
