"""What all objects of one file system instance share: its FileSystem, its lists, and how tokens become
objects.

A *token* is an inode without an object (`FSFile.obj_ref` 0). Operations on it take its token lock, one of a
fixed set chosen by inode number, which stands in for the lock of the object it does not have; an object is
made under the same lock. So a token operation, the making of the object, and the object's own operations
never overlap on one inode.

Locks: rename mutex (rank 5), taken before any dirlock; token locks (40).

K42: lib/libc/fslib/FileSystemGlobal.H.
Differs: K42 holds the name holder's lock for writing instead of a token lock; but the FUSE face and links
reach an inode without a name.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, TypeVar

from k42fs.errors import DeletedObjectError
from k42fs.ids import VP, Addr, Ref
from k42fs.machine.layout import Kind, Layout, Script
from k42fs.machine.lock_choice import make_lock
from k42fs.machine.locks import FairBLock, RWLock
from k42fs.servers import fs_trace
from k42fs.servers.file_ops import FileOps
from k42fs.servers.free_list import FreeLists
from k42fs.servers.fs_file import FileSystem, FSFile
from k42fs.servers.multi_link import MultiLinkManager
from k42fs.servers.one_free_list import OneFreeList
from k42fs.servers.supplies import PER_PROCESSOR, Supplies

if TYPE_CHECKING:
    from k42fs.machine.thread import Thread
    from k42fs.objects.cosmgr import COSMgr
    from k42fs.servers.object_policy import ObjectPolicy

P = ParamSpec("P")
T = TypeVar("T")

TOKEN_LOCKS: Final = 64
TOKEN_LOCK: Final = Layout("TokenLock", Kind.GLOBAL_PADDED, lock=16)
CONVERT: Final = TOKEN_LOCK.script("convert", "r:lock", work=60)

TREE: Final = Layout("FileSystemGlobal", Kind.GLOBAL_PADDED, rename_mutex=16, moves=8, root_walk=24)
MOVE: Final = TREE.script("move", "w:moves", work=20)


class FileSystemGlobal:
    """The shared part of one file system instance.

    Args:
        policy: which implementation each new object gets.
        check: rights are checked here (the native face), not by the kernel.
        supplies: what is kept for each processor, and what once.
    """

    def __init__(
        self,
        cos: COSMgr,
        fs: FileSystem,
        policy: ObjectPolicy,
        *,
        check: bool = False,
        free_list_max: int | None = None,
        supplies: Supplies = PER_PROCESSOR,
    ) -> None:
        machine = cos.machine
        self.cos = cos
        self.machine = machine
        self.memory = machine.memory
        self.modelled = machine.model == "full"
        self.fs = fs
        self.policy = policy
        self.known = fs_trace.KnownNames()
        self.check = check
        self.ops = FileOps(fs, check)
        self.multi_links = MultiLinkManager(machine)
        lists = OneFreeList if supplies.free_lists == "single" else FreeLists
        self.free_lists = lists(machine) if free_list_max is None else lists(machine, free_list_max)
        self.serial_renames = False
        self.addr = self.memory.alloc(VP(0), TREE, TREE.kind, owner=self)
        self.rename_mutex = FairBLock(
            machine, self.addr, rank=5, name="rename_mutex", owner=self, spans_calls=True
        )
        # Held from the start of a walk until it stands on a name; K42 had one such lock for the roots of
        # all trees.
        self.root_walk = RWLock(
            machine, Addr(self.addr + TREE.offset("root_walk")), name="nh", owner=self, spans_calls=True
        )
        self._token_addrs = [
            self.memory.alloc(VP(0), TOKEN_LOCK, TOKEN_LOCK.kind) for _ in range(TOKEN_LOCKS)
        ]
        self._token_locks = [
            make_lock(machine.lock_kind, machine, addr, rank=40, name="token", spans_calls=True)
            for addr in self._token_addrs
        ]

    def label(self) -> str:
        """What statistics and traces call it."""
        return f"{self.fs.name} instance"

    def make_object(self, th: Thread, file: FSFile) -> Any:  # noqa: ANN401
        """The object for *file*, which has none, published under the ref that the inode now holds.

        What it is, the policy says; see `object_policy.MakeObject` for what may be done with it. The caller
        has the inode to itself: it holds its token lock, or made it just now.
        """
        assert not file.obj_ref, f"{file!r} has an object"
        policy = self.policy
        made = (policy.directory if file.is_dir else policy.file)(file)(self, file, th.vp)
        file.obj_ref = made.ref
        if th.proc.on.fs:
            fs_trace.made(th, self, file)
        return made

    async def object_ref(self, th: Thread, file: FSFile) -> Ref:
        """The ref of *file*'s object, made if need be.

        Raises:
            DeletedObjectError: the file was deleted.
        """
        if file.obj_ref:
            return file.obj_ref
        stripe = file.ino % TOKEN_LOCKS
        lock = self._token_locks[stripe]
        await lock.acquire(th)
        try:
            await th.touch(CONVERT, self._token_addrs[stripe])
            ref = file.obj_ref
            if not ref:
                if file.holds < 0:
                    raise DeletedObjectError(f"{file!r} was deleted")
                ref = await self._convert(th, file)
        finally:
            lock.release(th)
        if file.is_dir:
            await self.free_lists.add(th, ref, file)
        return ref

    async def call(self, th: Thread, file: FSFile, method: str, *args: object) -> Any:  # noqa: ANN401
        """Call *method* of *file*'s object, made if need be, and again if it was unmade meanwhile."""
        while True:
            ref = await self.object_ref(th, file)
            try:
                return await getattr(th.deref(ref), method)(th, *args)
            except DeletedObjectError:
                if file.obj_ref == ref:
                    raise

    async def with_token(
        self,
        th: Thread,
        file: FSFile,
        op: Callable[Concatenate[Thread, FSFile, P], Awaitable[T]],
        *args: P.args,
        **kw: P.kwargs,
    ) -> T:
        """Run *op* on a cold inode, exclusively.

        Raises:
            DeletedObjectError: it has an object by now, or was deleted. Nothing has happened.
        """
        lock = self._token_locks[file.ino % TOKEN_LOCKS]
        await lock.acquire(th)
        try:
            if file.obj_ref or file.holds < 0:
                raise DeletedObjectError(f"{file!r} is no token")
            return await op(th, file, *args, **kw)
        finally:
            lock.release(th)

    def exclusively(
        self,
        th: Thread,
        script: Script,
        file: FSFile,
        op: Callable[Concatenate[Thread, FSFile, P], Awaitable[T]],
        *args: P.args,
        **kw: P.kwargs,
    ) -> Awaitable[T]:
        """Run *op* on an inode under its object's lock, or its token lock if it has no object."""
        return self._on_inode("exclusively", th, script, file, op, *args, **kw)

    def looking(
        self,
        th: Thread,
        script: Script,
        file: FSFile,
        op: Callable[Concatenate[Thread, FSFile, P], Awaitable[T]],
        *args: P.args,
        **kw: P.kwargs,
    ) -> Awaitable[T]:
        """As `exclusively`, for an *op* that only looks, so that an object may do without its lock."""
        return self._on_inode("looking", th, script, file, op, *args, **kw)

    async def _on_inode(
        self,
        how: str,
        th: Thread,
        script: Script,
        file: FSFile,
        op: Callable[Concatenate[Thread, FSFile, P], Awaitable[T]],
        *args: P.args,
        **kw: P.kwargs,
    ) -> T:
        while True:
            ref = file.obj_ref
            try:
                if ref:
                    return await getattr(th.deref(ref), how)(th, script, op, *args, **kw)  # type: ignore[no-any-return]
                return await self.with_token(th, file, op, *args, **kw)
            except DeletedObjectError:
                if file.obj_ref == ref:
                    raise

    async def reap(self, th: Thread, file: FSFile) -> None:
        """Delete *file* if its last name, last open and last hold are gone. The caller holds no lock."""
        while file.nlink == 0 and file.holds == 0:
            ref = file.obj_ref
            if not ref:
                await self.fs.delete_file(
                    th, file
                )  # marks the inode in its first step: nobody else gets here
                return
            try:
                await th.deref(ref).delete_if_unused(th)
                return
            except DeletedObjectError:
                if file.obj_ref == ref:
                    raise

    async def _convert(self, th: Thread, file: FSFile) -> Ref:
        """Make the object of a token. The caller holds its token lock."""
        if file.nlink > 1 and not file.is_dir:
            return await self.multi_links.find_or_make(th, file, lambda: self._made(th, file))
        await self.make_object(th, file).root.charge_create(th)
        return file.obj_ref

    def _made(self, th: Thread, file: FSFile) -> Ref:
        self.make_object(th, file)
        return file.obj_ref
