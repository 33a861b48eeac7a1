"""rename and rmdir: the operations that need the names of several directories at once.

An attempt looks everything up under the dirlocks it has, and either does the whole job there, in one step
for every observer, or says what it lacks and changes nothing:

* the dirlock of the directory that is to be removed or replaced (it must stay empty);
* the tree's rename mutex, for moving a directory from one parent to another. Under the mutex nobody else
  changes who is whose ancestor, so "is the new place inside what moves?" has one answer, and no cycle can
  arise;
* a walk to leave the name (see `directory.py`, "Order").

K42: lib/libc/fslib/DirLinuxFS.C, rename and rmdir.
Differs: K42 compares the text of the new path with the old one, looks only in the cache for what is
replaced, answers EINVAL to renaming a name to itself, and knows no flags.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from k42fs.errors import (
    DeletedObjectError,
    DirectoryNotEmptyError,
    InvalidArgumentError,
    NameExistsError,
    NameNotFoundError,
    NotDirectoryError,
    TargetIsDirectoryError,
)
from k42fs.machine.locks import RWLock
from k42fs.servers.credentials import ROOT, SEARCH, WRITE, Creds, check_may, check_remove
from k42fs.servers.fs_file import FSFile
from k42fs.servers.fs_global import MOVE, FileSystemGlobal
from k42fs.servers.name_holder import wait_for_walkers
from k42fs.servers.name_locks import NameLocks

if TYPE_CHECKING:
    from k42fs.machine.thread import Thread
    from k42fs.servers.directory import Directory

NOREPLACE: Final = 1
EXCHANGE: Final = 2


class _Attempt:
    """What both operations keep between attempts: what the next one must have."""

    __slots__ = ("_done", "_needs_mutex", "_tree", "_victim", "_walkers")

    def __init__(self, tree: FileSystemGlobal) -> None:
        self._tree = tree
        self._done = False
        self._needs_mutex = False
        self._victim: FSFile | None = None
        self._walkers: RWLock | None = None

    async def _until_done(self, th: Thread, directories: list[FSFile]) -> None:
        """Attempt it until it is done or fails."""
        tree = self._tree
        while not self._done:
            if self._walkers is not None:
                lock, self._walkers = self._walkers, None
                await wait_for_walkers(th, lock)
            has_mutex = self._needs_mutex
            if has_mutex:
                await tree.rename_mutex.acquire(th)
            try:
                await self._attempt(th, directories)
            finally:
                if has_mutex:
                    tree.rename_mutex.release(th)

    async def _attempt(self, th: Thread, directories: list[FSFile]) -> None:
        wanted = [*directories, self._victim] if self._victim is not None else directories
        refs = {file: await self._tree.object_ref(th, file) for file in wanted}
        try:
            await NameLocks(self._work, self._names()).run(th, set(refs.values()))
        except DeletedObjectError:
            if all(file.obj_ref == ref for file, ref in refs.items()):
                raise

    def _names(self) -> dict[FSFile, set[bytes]]:
        """Which names of which directories the operation changes or reads."""
        raise NotImplementedError

    async def _work(self, th: Thread, locks: NameLocks) -> None:
        raise NotImplementedError

    async def _lacks_victim(self, th: Thread, victim: FSFile, locks: NameLocks) -> bool:
        """Whether the directory *victim* is not locked. It is locked now and the work done inside if the
        order allows, else by the next attempt.
        """
        if victim in locks.reps:
            return False
        self._victim = victim
        ref = await self._tree.object_ref(th, victim)
        try:
            await locks.extend(th, ref)
        except DeletedObjectError:
            if victim.obj_ref == ref:
                raise
        return True

    async def _lacks_walkers(self, th: Thread, directory: Directory, name: bytes) -> bool:
        """Whether somebody walks through *name*; the next attempt waits first. If not, nobody will until it is
        unlocked.
        """
        await directory.names.recall(th, name)
        self._walkers = directory.names.walkers(name)
        return self._walkers is not None


class Rmdir(_Attempt):
    """One rmdir."""

    __slots__ = ("_directory", "_name", "removed")

    def __init__(self, tree: FileSystemGlobal, directory: FSFile, name: bytes) -> None:
        super().__init__(tree)
        self._directory = directory
        self._name = name
        self.removed: FSFile | None = None

    async def run(self, th: Thread) -> FSFile:
        """Remove the directory; its inode."""
        await self._until_done(th, [self._directory])
        assert self.removed is not None
        return self.removed

    def _names(self) -> dict[FSFile, set[bytes]]:
        return {self._directory: {self._name}}

    async def _work(self, th: Thread, locks: NameLocks) -> None:
        directory = locks.reps[self._directory]
        name = self._name
        directory.check_alive()
        file = await directory.names.find(th, name)
        if file is None:
            raise NameNotFoundError(name)
        if not file.is_dir:
            raise NotDirectoryError(name)
        self._tree.ops.writable()
        if self._tree.check:
            check_remove(th.creds or ROOT, self._directory, file)
        if await self._lacks_victim(th, file, locks) or await self._lacks_walkers(th, directory, name):
            return
        await self._tree.fs.rmdir(th, self._directory, name, file)
        await directory.names.unbind(th, name)
        self.removed = file
        self._done = True


class Rename(_Attempt):
    """One rename. *flags*: NOREPLACE, EXCHANGE."""

    __slots__ = ("_flags", "_new", "_new_dir", "_old", "_old_dir", "moved", "replaced")

    def __init__(
        self, tree: FileSystemGlobal, old_dir: FSFile, old: bytes, new_dir: FSFile, new: bytes, flags: int
    ) -> None:
        if flags & ~(NOREPLACE | EXCHANGE) or flags == NOREPLACE | EXCHANGE:
            raise InvalidArgumentError(f"rename flags {flags:#x}")
        super().__init__(tree)
        self._old_dir, self._old = old_dir, old
        self._new_dir, self._new = new_dir, new
        self._flags = flags
        self._needs_mutex = tree.serial_renames and old_dir is not new_dir
        self.moved: FSFile | None = None
        self.replaced: FSFile | None = None

    async def run(self, th: Thread) -> tuple[FSFile, FSFile | None]:
        """Rename; what moved, and what lost its name to it (in an exchange: and has the other now)."""
        directories = [self._old_dir] if self._old_dir is self._new_dir else [self._old_dir, self._new_dir]
        await self._until_done(th, directories)
        assert self.moved is not None
        return self.moved, self.replaced

    def _names(self) -> dict[FSFile, set[bytes]]:
        names = {self._old_dir: {self._old}}
        names.setdefault(self._new_dir, set()).add(self._new)
        return names

    async def _work(self, th: Thread, locks: NameLocks) -> None:
        tree = self._tree
        old_dir, new_dir = locks.reps[self._old_dir], locks.reps[self._new_dir]
        old_dir.check_alive()
        new_dir.check_alive()
        file = await old_dir.names.find(th, self._old)
        if file is None:
            raise NameNotFoundError(self._old)
        other = await new_dir.names.find(th, self._new, is_to_be_made=True)
        if other is not None and self._flags & NOREPLACE:
            raise NameExistsError(self._new)
        if other is None and self._flags & EXCHANGE:
            raise NameNotFoundError(self._new)
        tree.ops.writable()
        self.moved = file
        if file is other:  # two names of one inode, or one name: POSIX wants both kept
            self._done = True
            return
        if not await self._locked_check_loop(th, file, other):
            return
        if tree.check:
            self._check_rights(th.creds or ROOT, file, other)
        if other is not None and not self._flags & EXCHANGE:
            _check_types(file, other)
            if other.is_dir and await self._lacks_victim(th, other, locks):
                return
        if await self._lacks_walkers(th, old_dir, self._old):
            return
        if await self._lacks_walkers(th, new_dir, self._new):
            return
        if other is not None and self._flags & EXCHANGE:
            await self._exchange(th, old_dir, new_dir, file, other)
        else:
            await self._move(th, old_dir, new_dir, file, other)
        self.replaced = other
        self._done = True

    async def _locked_check_loop(self, th: Thread, file: FSFile, other: FSFile | None) -> bool:
        """Refuse to make a cycle. False: that can only be told under the rename mutex."""
        if self._old_dir is self._new_dir:
            return True
        exchange = self._flags & EXCHANGE != 0
        if not file.is_dir and not (exchange and other is not None and other.is_dir):
            return True
        if self._tree.rename_mutex not in th.held:
            self._needs_mutex = True
            return False
        await th.touch(MOVE, self._tree.addr)
        if file.is_dir and await _is_within(th, self._new_dir, file):
            raise InvalidArgumentError(f"{self._new!r} would be inside itself")
        if other is not None and other.is_dir and await _is_within(th, self._old_dir, other):
            if exchange:
                raise InvalidArgumentError(f"{self._old!r} would be inside itself")
            raise DirectoryNotEmptyError(f"{self._new!r} contains {self._old!r}")
        return True

    def _check_rights(self, creds: Creds, file: FSFile, other: FSFile | None) -> None:
        check_remove(creds, self._old_dir, file)
        check_may(creds, self._new_dir, WRITE | SEARCH)
        if other is not None:
            check_remove(creds, self._new_dir, other)
        if self._old_dir is not self._new_dir:  # ".." changes
            if file.is_dir:
                check_may(creds, file, WRITE)
            if other is not None and other.is_dir and self._flags & EXCHANGE:
                check_may(creds, other, WRITE)

    async def _move(
        self, th: Thread, old_dir: Directory, new_dir: Directory, file: FSFile, other: FSFile | None
    ) -> None:
        if other is None or other.is_dir:
            await self._fs_rename(th, file, other)
        else:
            await new_dir.locked_take(th, other, self._fs_replace, file)
        await old_dir.names.unbind(th, self._old)
        await new_dir.names.bind(th, self._new, file)

    async def _fs_rename(self, th: Thread, file: FSFile, other: FSFile | None) -> None:
        await self._tree.fs.rename(th, self._old_dir, self._old, file, self._new_dir, self._new, other)

    async def _fs_replace(self, th: Thread, other: FSFile, file: FSFile) -> None:
        """The same, said of the file that loses its name."""
        await self._fs_rename(th, file, other)

    async def _exchange(
        self, th: Thread, old_dir: Directory, new_dir: Directory, file: FSFile, other: FSFile
    ) -> None:
        await self._tree.fs.exchange(th, self._old_dir, self._old, file, self._new_dir, self._new, other)
        await old_dir.names.bind(th, self._old, other)
        await new_dir.names.bind(th, self._new, file)


def _check_types(file: FSFile, other: FSFile) -> None:
    """A directory replaces a directory only, and anything else anything else."""
    if file.is_dir and not other.is_dir:
        raise NotDirectoryError("a directory cannot replace a file")
    if other.is_dir and not file.is_dir:
        raise TargetIsDirectoryError("a file cannot replace a directory")


async def _is_within(th: Thread, directory: FSFile | None, above: FSFile) -> bool:
    """Whether *directory* is *above* or lies below it. The rename mutex is held."""
    while directory is not None:
        if directory is above:
            return True
        await th.load(directory.addr)
        if directory.parent is directory:
            return False
        directory = directory.parent
    raise NameNotFoundError("the directory was removed")
