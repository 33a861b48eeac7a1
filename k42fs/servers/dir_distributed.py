"""The object of a directory that many processors use at once: the implementation ``distributed`` of a DirObject.

```text
root     buckets of names, a lock each (name_buckets.py); the inode's lock
rep      on each processor: copies of the names looked up there (near_names.py), handles opened there
```

A look-up that finds a copy touches its own processor's lines and no other. One that does not takes the lock of
the name's bucket, and leaves a copy. Who makes or removes a name takes that bucket's lock only and then recalls
the copies; so processors that make different names rarely meet. The file system under it is told to keep what it
knows of the directory apart in the same way (`FileSystem.share_names`), and to take `get_dents` at any time: a
batch of entries is read in one step, and what is made or removed between two batches may or may not be seen, as
POSIX has it.

Operations on the whole directory (its removal, its end as an object) take the locks of all buckets, in ascending
order; a rename those of its two names. So they are slower here than in `dir_object.py`, and so is making the
object, which wants some 20 KiB and 8 more on every processor that uses it: this is for directories that are
contended, not for all.

Attributes are changed under the inode's lock, which readers of attributes take only while one is being changed:
otherwise they read the record, the word `changing` beside the lock, and the file system's parts.

Open handles and "used lately" are counted per processor; who asks for them adds them up. `closing` stands in
every rep.

K42: the pattern of DHashTable (lib/libc/cobj/DTable.H), which K42 used for file caches; its directories had one
lock each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Concatenate, Final, ParamSpec, TypeVar

from k42fs.errors import NameNotFoundError, NotSwappableError
from k42fs.ids import VP, Addr, Ref
from k42fs.machine.layout import Kind, Layout, Script
from k42fs.machine.locks import FairBLock, RWLock
from k42fs.objects.implementations import Implementation, register
from k42fs.objects.root import MultiRepRoot
from k42fs.objects.transfer import TransferType, TransferTypes, is_first
from k42fs.servers.credentials import READ, ROOT, SEARCH, check_may
from k42fs.servers.dir_state import DIR_FORMS, NAME_CYCLES, DirState
from k42fs.servers.directory import KIND, Directory, NameScripts
from k42fs.servers.free_list import Verdict
from k42fs.servers.fs_file import FSFile
from k42fs.servers.name_buckets import DIR_REP, NameBuckets
from k42fs.servers.near_names import Copy, NearNames
from k42fs.servers.open_file import DirHandle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from k42fs.machine.thread import Thread
    from k42fs.objects.cosmgr import COSMgr
    from k42fs.objects.root import CObjRoot
    from k42fs.servers.fs_global import FileSystemGlobal
    from k42fs.servers.name_locks import NameLocks

P = ParamSpec("P")
T = TypeVar("T")

SHARED: Final = Layout("DirObjectShared", Kind.GLOBAL_PADDED, lock=16, changing=8)
SET_CHANGING: Final = SHARED.script("change", "w:changing", work=10)
READ_CHANGING: Final = SHARED.script("read", "r:changing", work=10)

LOOKUP: Final = DIR_REP.script("lookup", "r:state w:used r2:0 r2:32", work=80)
CREATE: Final = DIR_REP.script("create", "r:state r:file w:used r2:0", work=120)
UNLINK: Final = DIR_REP.script("unlink", "r:state r:file w:used r2:0", work=100)
LINK: Final = DIR_REP.script("link", "r:state r:file w:used r2:0", work=100)
READ_DIR: Final = DIR_REP.script("read_dir", "r:state r:file w:used", work=60)
HANDLES: Final = DIR_REP.script("handles", "x:state w:handles", work=40)
STATUS: Final = DIR_REP.script("get_status", "r:file r:state", work=50)
CLOSE: Final = DIR_REP.script("unmake", "x:state r:handles r:used", work=30)


class DistributedDirRoot(MultiRepRoot):
    """The shared part of one directory's object.

    With *ref*, that of an object it is to replace, it is empty until it has imported that one's state.
    """

    kind: ClassVar[str] = KIND
    implementation: ClassVar[str] = "distributed"
    exports: ClassVar[TransferTypes] = DIR_FORMS
    imports: ClassVar[TransferTypes] = DIR_FORMS

    def __init__(self, tree: FileSystemGlobal, file: FSFile, vp: VP, ref: Ref | None = None) -> None:
        self.tree, self.file = tree, file
        self.closing = False
        self.changing = False  # somebody with the inode's lock is changing attributes
        self.handles = 0  # opened while another implementation had the directory
        self._incoming: DirState | None = None
        super().__init__(tree.cos, vp=vp, ref=ref)
        self.names = NameBuckets(tree, file, vp, self._reps, self)
        self.shared: Addr = tree.memory.alloc(vp, SHARED, owner=self)
        self.inode_lock = FairBLock(tree.machine, self.shared, 40, "lock", self, True)

    @property
    def root(self) -> DistributedDirRoot:
        """What its maker is told of as the root."""
        return self

    def label(self) -> str:
        """What statistics and traces call it."""
        return f"{KIND} {self.file.ino}"

    def trace_name(self) -> str:
        """What recordings call it: by its path, where that is known."""
        return self.tree.known.describe(self.file)

    def teach_names(self) -> None:
        """Tell a recording that begins the names that are known here."""
        self.tree.known.learn_all(self.file, self.names.children)

    def create_rep(self, vp: VP) -> DistributedDir:
        return DistributedDir(self, vp)

    def every_rep(self) -> list[DistributedDir]:
        """Return the reps there are now."""
        return list(self._reps.values())

    def release_memory(self, th: Thread) -> None:
        self.names.free(th.vp)
        self.tree.memory.free(th.vp, self.shared)
        super().release_memory(th)
        # They name this object as their owner: without the cycle all go at once.
        del self.inode_lock, self.lock

    # Taking over from another implementation, or handing over to one. Nobody else is inside.

    async def export_state(self, th: Thread, kind: TransferType, vps: int) -> DirState | None:
        if not is_first(th, vps):
            return None
        reps = self.every_rep()
        for rep in reps:
            await th.touch(CLOSE, rep.addr)
        handles = self.handles + sum(rep.handles for rep in reps)
        used = any(rep.used for rep in reps)
        return DirState(self.names.children, self.names.negatives, handles, used, self.closing)

    async def import_state(self, th: Thread, state: object | None, kind: TransferType, vps: int) -> None:
        if state is not None:
            assert isinstance(state, DirState), f"{self.label()} cannot import {state!r}"
            th.work(state.cycles + NAME_CYCLES * self.file.blocks)
            self._incoming = state

    def committed(self, th: Thread) -> None:
        state, self._incoming = self._incoming, None
        if state is None:
            self.names.hand_over()
        else:
            self.names.take_in(state.children, state.negatives)
            self.handles, self.closing = state.handles, state.closing
        if not self.closing:  # else the names are the next object's
            self.tree.fs.share_names(th.vp, self.file, is_shared=state is not None)


class DistributedDir(Directory):
    """One processor's rep of a directory's object."""

    __slots__ = ("handles", "near", "vp")

    status_script = STATUS
    scripts = NameScripts(CREATE, LINK, UNLINK)

    root: DistributedDirRoot
    names: NameBuckets

    def __init__(self, root: DistributedDirRoot, vp: VP) -> None:
        # Not by way of FileObject: the inode's lock is the root's, and all else lies near this processor.
        tree = self.tree = root.tree
        self.file, self.lock, self.names = root.file, root.inode_lock, root.names
        self.closing = root.closing
        self.vp = vp
        self.addr = tree.memory.alloc(vp, DIR_REP, owner=self)
        self.near = NearNames(tree.memory, vp, self)
        self.handles = 0  # opened here; less than 0 if more were closed here
        self.used = True

    def label(self) -> str:
        """What statistics and traces call it."""
        return f"{KIND} {self.file.ino} rep {self.vp}"

    def lock_of(self, name: bytes) -> RWLock:
        """Return the lock of the name's bucket."""
        return self.names.of(name).lock

    async def cleanup(self, th: Thread) -> None:
        """Give back the modelled memory: no call is inside any more."""
        self.near.free(self.tree.memory, th.vp)
        self.tree.memory.free(th.vp, self.addr)

    async def get_status(self, th: Thread) -> FSFile:
        """The inode, whose attributes agree with each other at this moment."""
        await self.tree.fs.gather_status(th, self.file)
        await th.touch(STATUS, self.addr)
        await th.touch(READ_CHANGING, self.root.shared)
        if self.closing:
            raise self.gone()
        return await super().get_status(th) if self.root.changing else self.file

    async def exclusively(
        self,
        th: Thread,
        script: Script,
        op: Callable[Concatenate[Thread, FSFile, P], Awaitable[T]],
        *args: P.args,
        **kw: P.kwargs,
    ) -> T:
        """Run *op* on the inode under the lock, charging *script* for what it touches of this object."""

        async def change(th: Thread, file: FSFile) -> T:
            await th.touch(SET_CHANGING, self.root.shared)
            self.root.changing = True
            try:
                return await op(th, file, *args, **kw)
            finally:
                self.root.changing = False

        return await super().exclusively(th, script, change)

    # Looking names up

    async def lookup(self, th: Thread, name: bytes) -> FSFile:
        """The inode called *name*.

        Raises:
            NameNotFoundError: there is none.
        """
        return _file_of(await self._find(th, name))

    async def step(self, th: Thread, name: bytes) -> tuple[FSFile, RWLock | None]:
        """A walk's step: the inode called *name*; and if it is a directory the name's lock, held for
        reading.
        """
        while True:
            copy = await self._find(th, name)
            file = _file_of(copy)
            if not file.is_dir:
                return file, None
            # Nothing was awaited since the copy was there: who takes the name away recalls it first, and then
            # finds us on the name.
            assert copy.holder is not None
            lock = copy.holder.walk_lock(self.tree.machine)
            if lock.try_acquire_r(th):
                return file, lock
            await lock.acquire_r(th)  # somebody renames or removes it; see then what it is
            lock.release_r(th)

    async def read_dir(self, th: Thread, cookie: int, limit: int) -> Sequence[tuple[bytes, FSFile, int]]:
        """Up to *limit* (name, inode, cookie) after *cookie*; nothing once the directory was removed."""
        await th.touch(READ_DIR, self.addr)
        if self.closing:
            raise self.gone()
        self.used = True
        found = await self.tree.fs.get_dents(th, self.file, cookie, limit)
        await self.tree.ops.accessed(th, self.file)
        return found

    async def _find(self, th: Thread, name: bytes) -> Copy:
        """Find this processor's copy of *name*, or get one. It is right when this returns."""
        await th.touch(LOOKUP, self.addr, self.near.place(name))
        if self.closing:
            raise self.gone()
        self.used = True
        if self.tree.check:
            check_may(th.creds or ROOT, self.file, SEARCH)
        copy = self.near.find(name)
        if copy is not None:
            return copy
        bucket = self.names.of(name)
        await bucket.lock.acquire_w(th)
        try:
            if self.closing:
                raise self.gone()
            return await bucket.share(th, name)
        finally:
            bucket.lock.release_w(th)

    # For operations on several directories

    @property
    def place(self) -> int:
        """Where the buckets' locks come in the order of locks."""
        return self.names.addr

    async def lock_order(self, th: Thread) -> int:
        """Where this directory's locks of names come among those of others."""
        await th.touch(STATUS, self.addr)
        return self.place

    async def with_names_locked(self, th: Thread, chain: NameLocks, place: int | None) -> None:
        """Take the locks of the names that *chain* is about, or of all, and let it go on, which calls the next
        directory or does its work. Does nothing if it relies on another *place*.
        """
        if place not in (None, self.place):
            return
        taken: list[RWLock] = []
        try:
            await self._take(th, self.names.locks_of(chain.names.get(self.file)), taken)
            if self.closing:
                raise self.gone()
            self.used = True
            await th.touch(STATUS, self.addr)
            chain.reps[self.file] = self
            await chain.proceed(th)
        finally:
            _give_back(th, taken)

    # Handles

    async def open_dir(self, th: Thread) -> DirHandle:
        """Open the directory for reading."""
        if self.tree.check:
            check_may(th.creds or ROOT, self.file, READ)
        await th.touch(HANDLES, self.addr)
        if self.closing:
            raise self.gone()
        self.handles += 1
        self.used = True
        return DirHandle(self.file, self.ref, th.creds or ROOT, th.vp)

    async def release_dir(self, th: Thread) -> None:
        """Close a handle, wherever it was opened. The caller then asks whether the inode is to die."""
        await th.touch(HANDLES, self.addr)
        self.handles -= 1

    # The end

    async def unmake_if(self, th: Thread, *, dead: bool) -> Verdict:
        """Unmake this object if the inode is dead, or (not *dead*) if nobody uses it."""
        taken: list[RWLock] = []
        try:
            await self._take(th, self.names.locks_of(None), taken)
            await self.lock.acquire(th)
            try:
                for rep in self.root.every_rep():
                    await th.touch(CLOSE, rep.addr)
                return self._locked_unmake_if(th, dead)
            finally:
                self.lock.release(th)
        finally:
            _give_back(th, taken)

    def unmake(self) -> None:
        """Let the inode forget this object, in the step in which it becomes unusable."""
        super().unmake()
        self.root.closing = True
        for rep in self.root.every_rep():
            rep.closing = True

    # Inside

    def _locked_unmake_if(self, th: Thread, dead: bool) -> Verdict:
        """Decide and do it, in one step: handles are counted without a lock."""
        reps = self.root.every_rep()
        handles = self.root.handles + sum(rep.handles for rep in reps)
        assert handles >= 0, f"{self.label()}: more handles closed than opened"
        if self.closing:
            return Verdict.BUSY
        if handles:
            return Verdict.KEEP
        if dead:
            if self.file.nlink or self.file.holds:
                return Verdict.KEEP
        elif any(rep.used for rep in reps) or self.names.has_walkers():
            for rep in reps:
                rep.used = False
            return Verdict.KEEP
        self.unmake()
        self.tree.fs.share_names(th.vp, self.file, is_shared=False)
        return Verdict.FREED

    async def _take(self, th: Thread, locks: Sequence[RWLock], taken: list[RWLock]) -> None:
        """Take *locks* for writing one after the other; *taken* are those that must be given back."""
        for lock in locks:
            await lock.acquire_w(th)
            taken.append(lock)


def _give_back(th: Thread, locks: list[RWLock]) -> None:
    while locks:
        locks.pop().release_w(th)


def _file_of(copy: Copy) -> FSFile:
    if copy.file is None:
        raise NameNotFoundError(copy.name)
    return copy.file


def _replace(cos: COSMgr, th: Thread, old_root: CObjRoot) -> CObjRoot:
    """Make an empty one for the inode of *old_root*'s directory."""
    old = old_root.speaker
    if not old.tree.fs.can_share_names:
        raise NotSwappableError(f"{old.tree.fs.name} cannot change several names of a directory at once")
    return DistributedDirRoot(old.tree, old.file, th.vp, old_root.ref)


register(
    Implementation(
        KIND, DistributedDirRoot.implementation, _replace, "a lock per bucket of names, copies per processor"
    )
)
