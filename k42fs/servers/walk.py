"""Path resolution inside one tree: hand over hand, with POSIX ".." and symbolic links.

A walk stands on one name: it holds that name holder's lock for reading while it looks the next name up in
the directory, and lets go once it stands on that one. So a name under the walk's foot is not taken away.
".." goes up without a foothold, for a lock on a parent may not be waited for with one on its child held.

Other front ends have their own ways to the same end: the kernel walks by itself and asks `NameTree.lookup`
per name.

K42: lib/libc/fslib/DirLinuxFS.C, lookup and externalLookupDirectory.
Differs: K42's servers never saw "..", which had been resolved in the text of the path, and never followed a
link.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Final

from k42fs.errors import (
    InvalidArgumentError,
    NameNotFoundError,
    NameTooLongError,
    NotDirectoryError,
    SymlinkLoopError,
)
from k42fs.servers.fs_file import NAME_MAX, FSFile

if TYPE_CHECKING:
    from k42fs.machine.rwlock import RWLock
    from k42fs.machine.thread import Thread
    from k42fs.servers.fs_global import FileSystemGlobal

PATH_MAX: Final = 4096
LINKS_MAX: Final = 40


class Walk:
    """One resolution. Used once."""

    __slots__ = ("_at", "_foothold", "_links", "_rest", "_tree")

    def __init__(self, tree: FileSystemGlobal, start: FSFile) -> None:
        self._tree = tree
        self._at = start
        self._rest: list[bytes] = []  # components still to go, last first
        self._links = 0
        self._foothold: RWLock | None = None

    async def run(self, th: Thread, path: bytes, follow: bool) -> FSFile:
        """The inode that *path* names; of a link as last component the link itself unless *follow*.

        Raises:
            NameNotFoundError, NotDirectoryError, NameTooLongError: as path_resolution(7) has them.
            SymlinkLoopError: more than 40 links.
        """
        self._push(path)
        if path.startswith(b"/"):
            self._at = self._tree.fs.root
        wants_directory = path.rstrip(b"/") != path
        await self._stand_on(th, self._tree.root_walk)
        try:
            while self._rest:
                name = self._rest.pop()
                if not self._at.is_dir:
                    raise NotDirectoryError(f"before {name!r}")
                if name == b"..":
                    self._go_up(th)
                elif name != b".":
                    await self._go_down(th, name, follow or wants_directory)
        finally:
            self._let_go(th)
        if wants_directory and not self._at.is_dir:
            raise NotDirectoryError(path)
        return self._at

    def _push(self, path: bytes) -> None:
        if not path:
            raise NameNotFoundError("empty path name")
        if len(path) >= PATH_MAX:
            raise NameTooLongError(f"path of {len(path)} bytes: less than {PATH_MAX}")
        if b"\0" in path:
            raise InvalidArgumentError("path with a NUL")
        names = [name for name in path.split(b"/") if name]
        if any(len(name) > NAME_MAX for name in names):
            raise NameTooLongError(f"path component over {NAME_MAX} bytes")
        self._rest.extend(reversed(names))

    def _go_up(self, th: Thread) -> None:
        parent = self._at.parent
        if parent is None:
            raise NameNotFoundError(f"directory {self._at.ino} was removed")
        self._let_go(th)
        self._at = parent

    async def _go_down(self, th: Thread, name: bytes, follow: bool) -> None:
        file, lock = await self._tree.call(th, self._at, "step", name)
        if th.proc.on.control:
            self._tree.known.learn(self._at, name, file)
        if stat.S_ISLNK(file.mode) and (follow or self._rest):
            await self._follow(th, file)
            return
        self._let_go(th)
        self._foothold = lock
        self._at = file

    async def _follow(self, th: Thread, link: FSFile) -> None:
        self._links += 1
        if self._links > LINKS_MAX:
            raise SymlinkLoopError(f"more than {LINKS_MAX} links")
        target = await self._tree.fs.read_link(th, link)
        await self._tree.ops.accessed(th, link)
        self._push(target)
        if target.startswith(b"/"):
            self._let_go(th)
            self._at = self._tree.fs.root

    async def _stand_on(self, th: Thread, lock: RWLock) -> None:
        await lock.acquire_r(th)
        self._foothold = lock

    def _let_go(self, th: Thread) -> None:
        if self._foothold is not None:
            self._foothold.release_r(th)
            self._foothold = None
