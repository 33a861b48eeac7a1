"""DirObject: the object of one directory in use, in its implementation ``locked``: one lock, one table, one rep.

`dirlock` (rank 20) protects the directory's names: held for reading by whoever looks one up, for writing by
whoever makes, removes or moves one. `directory.py` says what is done under it.

Names are kept in a `NameCache`, whose holders lead to inodes, not to objects. A directory nobody used for a
while loses its DirObject (`try_destroy`); it is a cold token again.

K42: lib/libc/fslib/{DirLinuxFS,DentryList}.* ("DirObject" in K42's papers).
Differs: open creates and opens under the dirlock as K42's did, but an existing file is opened after it was
let go; rmdir and replaced directories are locked like any pair, not child after parent; negative names;
pruning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from k42fs.errors import NameNotFoundError
from k42fs.ids import VP
from k42fs.machine.locks import RWLock
from k42fs.objects.implementations import Implementation, register
from k42fs.objects.root import SingleRepRoot
from k42fs.objects.transfer import TransferType, TransferTypes
from k42fs.servers.credentials import READ, ROOT, SEARCH, check_may
from k42fs.servers.dir_layout import (
    CREATE,
    DIR_OBJECT,
    FREE_CHECK,
    HANDLES,
    LINK,
    LOOKUP,
    READ_DIR,
    STATUS,
    UNLINK,
    UNMAKE,
)
from k42fs.servers.dir_state import DIR_FORMS, DirState
from k42fs.servers.directory import KIND, Directory, NameScripts
from k42fs.servers.free_list import Verdict
from k42fs.servers.fs_file import FSFile
from k42fs.servers.name_cache import NameCache
from k42fs.servers.name_holder import READ_HOLDER
from k42fs.servers.open_file import DirHandle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k42fs.machine.thread import Thread
    from k42fs.objects.cosmgr import COSMgr
    from k42fs.objects.root import CObjRoot
    from k42fs.servers.fs_global import FileSystemGlobal
    from k42fs.servers.name_locks import NameLocks

_LOCK: Final = DIR_OBJECT.offset("lock")
_DIRLOCK: Final = DIR_OBJECT.offset("dirlock")


class DirObject(Directory):
    """The object of one directory.

    `names` is under the dirlock. `handles` counts open handles.
    """

    __slots__ = ("_incoming", "dirlock", "handles")

    implementation: ClassVar[str] = "locked"
    exports: ClassVar[TransferTypes] = DIR_FORMS
    imports: ClassVar[TransferTypes] = DIR_FORMS
    status_script = STATUS
    scripts = NameScripts(CREATE, LINK, UNLINK)

    names: NameCache

    def __init__(self, tree: FileSystemGlobal, file: FSFile, vp: VP) -> None:
        super().__init__(tree, file, DIR_OBJECT, _LOCK, vp)
        self.dirlock = RWLock(tree.machine, self.addr + _DIRLOCK, 20, "dirlock", self, spans_calls=True)
        self.names = NameCache(tree, file, self.addr)
        self.handles = 0
        self.used = True
        self._incoming: DirState | None = None

    def lock_of(self, name: bytes) -> RWLock:
        """Return the dirlock."""
        return self.dirlock

    # Looking names up

    async def lookup(self, th: Thread, name: bytes) -> FSFile:
        """The inode called *name*.

        Raises:
            NameNotFoundError: there is none.
        """
        await self.dirlock.acquire_r(th)
        try:
            if self.closing:
                raise self.gone()
            self.used = True
            if self.tree.check:
                check_may(th.creds or ROOT, self.file, SEARCH)
            await th.touch(LOOKUP, self.addr, self.names.bucket(name))
            holder = self.names.children.get(name)
            if holder is not None:
                await th.touch(READ_HOLDER, holder.addr)
                return holder.file
            if name in self.names.negatives:
                raise NameNotFoundError(name)
        finally:
            self.dirlock.release_r(th)
        await self.dirlock.acquire_w(th)
        try:
            if self.closing:
                raise self.gone()
            file = await self.names.find(th, name)
        finally:
            self.dirlock.release_w(th)
        if file is None:
            raise NameNotFoundError(name)
        return file

    async def step(self, th: Thread, name: bytes) -> tuple[FSFile, RWLock | None]:
        """A walk's step: the inode called *name*; and if it is a directory the name's lock, held for
        reading.
        """
        while True:
            file = await self.lookup(th, name)
            if not file.is_dir:
                return file, None
            # Nothing was awaited since `lookup` let the dirlock go: whoever has it next finds us on the name.
            lock = self.names.children[name].walk_lock(self.tree.machine)
            if lock.try_acquire_r(th):
                return file, lock
            await lock.acquire_r(th)  # somebody renames or removes it; see then what it is
            lock.release_r(th)

    async def read_dir(self, th: Thread, cookie: int, limit: int) -> Sequence[tuple[bytes, FSFile, int]]:
        """Up to *limit* (name, inode, cookie) after *cookie*; nothing once the directory was removed."""
        await self.dirlock.acquire_r(th)
        try:
            if self.closing:
                raise self.gone()
            self.used = True
            await th.touch(READ_DIR, self.addr)
            found = await self.tree.fs.get_dents(th, self.file, cookie, limit)
        finally:
            self.dirlock.release_r(th)
        await self.tree.ops.accessed(th, self.file)
        return found

    # For operations on several directories

    @property
    def place(self) -> int:
        """Where the dirlock comes in the order of locks."""
        return self.dirlock.addr

    async def lock_order(self, th: Thread) -> int:
        """Where this directory's locks of names come among those of others."""
        await th.touch(STATUS, self.addr)
        return self.place

    async def with_names_locked(self, th: Thread, chain: NameLocks, place: int | None) -> None:
        """Take the dirlock for writing and let *chain* go on, which calls the next directory or does its
        work. Does nothing if it relies on another *place*.
        """
        if place not in (None, self.place):
            return
        await self.dirlock.acquire_w(th)
        try:
            if self.closing:
                raise self.gone()
            self.used = True
            await th.touch(LOOKUP, self.addr, self.addr)
            chain.reps[self.file] = self
            await chain.proceed(th)
        finally:
            self.dirlock.release_w(th)

    # Handles

    async def open_dir(self, th: Thread) -> DirHandle:
        """Open the directory for reading."""
        await self.lock.acquire(th)
        try:
            if self.closing:
                raise self.gone()
            if self.tree.check:
                check_may(th.creds or ROOT, self.file, READ)
            await th.touch(HANDLES, self.addr)
            self.handles += 1
            self.used = True
        finally:
            self.lock.release(th)
        return DirHandle(self.file, self.ref, th.creds or ROOT, th.vp)

    async def release_dir(self, th: Thread) -> None:
        """Close a handle. The caller then asks whether the inode is to die."""
        await self.lock.acquire(th)
        try:
            await th.touch(HANDLES, self.addr)
            assert self.handles > 0, f"{self.label()}: more handles closed than opened"
            self.handles -= 1
        finally:
            self.lock.release(th)

    # The end

    async def unmake_if(self, th: Thread, *, dead: bool) -> Verdict:
        """Unmake this object if the inode is dead, or (not *dead*) if nobody uses it."""
        await self.dirlock.acquire_w(th)
        try:
            await self.lock.acquire(th)
            try:
                await th.touch(FREE_CHECK, self.addr)
                if self.closing:
                    return Verdict.BUSY
                if self.handles:
                    return Verdict.KEEP
                if dead:
                    if self.file.nlink or self.file.holds:
                        return Verdict.KEEP
                elif self.used or self.names.has_walkers():
                    self.used = False
                    return Verdict.KEEP
                await th.touch(UNMAKE, self.addr)
                self.unmake()
                return Verdict.FREED
            finally:
                self.lock.release(th)
        finally:
            self.dirlock.release_w(th)

    async def cleanup(self, th: Thread) -> None:
        """Give back the modelled memory: no call is inside any more."""
        self.names.clear(th.vp)
        await super().cleanup(th)
        del self.dirlock

    # Taking over from another implementation, or handing over to one. Nobody else is inside.

    async def export_state(self, th: Thread, kind: TransferType) -> DirState:
        """Return what the directory knows: the containers themselves, as nobody uses them meanwhile."""
        await th.touch(FREE_CHECK, self.addr)
        return DirState(self.names.children, self.names.negatives, self.handles, self.used, self.closing)

    async def import_state(self, th: Thread, state: DirState, kind: TransferType) -> None:
        """Take note of *state*; it is ours when `committed` says so."""
        th.work(state.cycles)
        self._incoming = state

    def committed(self, th: Thread) -> None:
        """Begin with what was imported, or let go of what was handed over."""
        state, self._incoming = self._incoming, None
        if state is None:
            self.names.hand_over()
        else:
            self.names.children = dict(state.children)
            self.names.negatives = dict(state.negatives)
            self.handles, self.used, self.closing = state.handles, state.used, state.closing


def _replace(cos: COSMgr, th: Thread, old_root: CObjRoot) -> CObjRoot:
    """Make an empty one for the inode of *old_root*'s directory."""
    old = old_root.speaker
    return SingleRepRoot(cos, DirObject(old.tree, old.file, th.vp), th.vp, ref=old_root.ref)


register(Implementation(KIND, DirObject.implementation, _replace, "one reader-writer lock, one table"))
