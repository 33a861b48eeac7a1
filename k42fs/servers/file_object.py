"""What ServerFile and DirObject share: the lock of one inode in use, and the end of an object's life.

An object is *closing* from the step in which its inode forgets it (`FSFile.obj_ref` becomes 0). Calls that
come later, through a ref read before, answer DeletedObjectError; the NameTree then asks the inode again and
finds a token or the next object. `cleanup` runs when no call can be inside any more.

K42: lib/libc/fslib/ServerFile.H; DirLinuxFS derives from it too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, ClassVar, Concatenate, ParamSpec, TypeVar

from k42fs.errors import DeletedObjectError
from k42fs.ids import VP, Ref
from k42fs.machine.layout import Layout, Script
from k42fs.machine.lock_choice import DEFAULT, make_lock
from k42fs.servers.fs_file import NO_REF, FSFile

if TYPE_CHECKING:
    from k42fs.machine.thread import Thread
    from k42fs.servers.fs_global import FileSystemGlobal

P = ParamSpec("P")
T = TypeVar("T")


class FileObject:
    """An inode in use. `lock` (rank 40) gives an operation the inode's attributes and contents to itself."""

    __slots__ = ("addr", "closing", "file", "lock", "ref", "root", "tree")

    ref: Ref
    root: Any
    status_script: ClassVar[Script]
    """What `get_status` touches."""

    holder_blocks: ClassVar[bool] = False
    """Who has the lock may have to block. Then it is K42's, which does so too, whatever others the machine has."""

    def __init__(self, tree: FileSystemGlobal, file: FSFile, layout: Layout, lock: int, vp: VP) -> None:
        """*lock* is where the lock lies in *layout*."""
        self.tree = tree
        self.file = file
        self.addr = addr = tree.memory.alloc(vp, layout, layout.kind, self)
        self.closing = False
        kind = DEFAULT if self.holder_blocks else tree.machine.lock_kind
        self.lock = make_lock(kind, tree.machine, addr + lock, 40, "lock", self, True)

    def label(self) -> str:
        """What statistics and traces call it."""
        return f"{type(self).__name__} {self.file.ino}"

    def trace_name(self) -> str:
        """What recordings call it: by its path, where that is known."""
        return self.tree.known.describe(self.file)

    async def get_status(self, th: Thread) -> FSFile:
        """The inode, whose attributes agree with each other at this moment."""
        await self.lock.acquire(th)
        try:
            if self.closing:
                raise self.gone()
            await th.touch(self.status_script, self.addr)
        finally:
            self.lock.release(th)
        return self.file

    async def exclusively(
        self,
        th: Thread,
        script: Script,
        op: Callable[Concatenate[Thread, FSFile, P], Awaitable[T]],
        *args: P.args,
        **kw: P.kwargs,
    ) -> T:
        """Run *op* on the inode under the lock, charging *script* for what it touches of this object."""
        await self.lock.acquire(th)
        try:
            if self.closing:
                raise self.gone()
            await th.touch(script, self.addr)
            return await op(th, self.file, *args, **kw)
        finally:
            self.lock.release(th)

    looking = exclusively
    """The same for an *op* that only looks. An implementation may do without its lock."""

    async def cleanup(self, th: Thread) -> None:
        """Give back the modelled memory: no call is inside any more."""
        self.tree.memory.free(th.vp, self.addr)
        del self.lock  # it names this object as its owner: without the cycle both go at once

    def unmake(self) -> None:
        """Let the inode forget this object, in the step in which it becomes unusable."""
        assert self.file.obj_ref == self.ref, f"{self.label()} is not its inode's object"
        self.file.obj_ref = NO_REF
        self.closing = True

    def gone(self) -> DeletedObjectError:
        """The answer to calls that come too late."""
        return DeletedObjectError(f"{self.label()} is closing")
