"""What recordings are told of files: by which names they are known, who has them open, who uses them how.

Everything here is called under a guard: ``if th.proc.on.fs: fs_trace.opened(...)``. Nothing is charged, and no
answer depends on it.

A *type* is that of the inode's mode (8 regular, 4 directory), a *pid* that of the process a request came from:
for an open file's requests the one that opened it, where the front end knows no better.

K42: the FS class of lib/libc/trace; fslib's INSTRUMENTING_FILE_SHARING.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Any, Final

from k42fs.errors import NameNotFoundError
from k42fs.ids import Ino, Ref
from k42fs.servers.credentials import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from k42fs.machine.thread import Thread
    from k42fs.objects.cosmgr import COSMgr
    from k42fs.servers.attr_changes import AttrChanges
    from k42fs.servers.fs_file import FSFile
    from k42fs.servers.fs_global import FileSystemGlobal
    from k42fs.servers.name_holder import NameHolder
    from k42fs.servers.open_file import DirHandle, OpenFile

NAMES_MAX: Final = 1 << 16
"""Names remembered of one file system while something is traced; then it forgets them all and learns anew."""

DEPTH_MAX: Final = 64


def text(th: Thread, name: str | bytes) -> int:
    """Return the number that stands for *name* in events, a file's name, say."""
    return th.machine.trace.string(name)


def word(th: Thread, name: str) -> int:
    """Return the number of a word of which there are few: an operation, a method."""
    return th.machine.trace.tracer.numbers.constant(name)


def kind(file: FSFile) -> int:
    """Return the type of *file* as events have it."""
    return stat.S_IFMT(file.mode) >> 12


class KnownNames:
    """Where the files of one file system were last found, as far as a recording saw it."""

    __slots__ = ("_at",)

    def __init__(self) -> None:
        self._at: dict[Ino, tuple[FSFile, bytes]] = {}

    def learn(self, directory: FSFile, name: bytes, file: FSFile) -> None:
        """*file* is called *name* in *directory*."""
        if len(self._at) >= NAMES_MAX:
            self._at.clear()
        self._at[file.ino] = directory, name

    def learn_all(self, directory: FSFile, holders: Mapping[bytes, NameHolder]) -> None:
        """*directory* has these names."""
        for name, holder in holders.items():
            self.learn(directory, name, holder.file)

    def forget(self) -> None:
        """Know nothing any more."""
        self._at.clear()

    def last(self, file: FSFile) -> tuple[FSFile | None, bytes]:
        """Return the directory in which *file* was last found, and its name there."""
        return self._at.get(file.ino, (None, b""))

    def path(self, file: FSFile) -> bytes:
        """Return the path of *file* in its server; empty where nobody has come by all of it."""
        path, known, depth = b"", self._at, 0
        here = file
        while here.parent is not here:
            place = known.get(here.ino)
            if place is None or depth > DEPTH_MAX:
                return b""
            here, name = place
            path = b"/" + name + path
            depth += 1
        return path or b"/"

    def describe(self, file: FSFile) -> str:
        """Return the path of *file*, or its number."""
        return self.path(file).decode("utf-8", "surrogateescape") or f"inode {file.ino}"


# Names


async def looked_up(
    th: Thread,
    tree: FileSystemGlobal,
    directory: FSFile,
    ref: Ref,
    name: bytes,
    rep: Any,  # noqa: ANN401  (whatever implements it)
) -> FSFile:
    """Ask *rep* of *directory*'s object *ref* for the inode called *name*: `NameTree.lookup` while it is traced."""
    is_on, emit = th.proc.on.fs, th.proc.emit
    if not is_on:
        file: FSFile = await rep.lookup(th, name)
        tree.known.learn(directory, name, file)
        return file
    number = text(th, name)
    emit.fs_get_status_started(ref, number)
    try:
        file = await rep.lookup(th, name)
    except NameNotFoundError:
        emit.fs_get_status_fi_nf(ref, 0, 0, 0, number)
        raise
    finally:
        emit.fs_get_status_finished(ref, number)
    tree.known.learn(directory, name, file)
    return file


# Open files


def opened(th: Thread, tree: FileSystemGlobal, handle: OpenFile | DirHandle, flags: int = 0) -> None:
    """A client has opened a file."""
    emit, file, ref = th.proc.emit, handle.file, handle.ref
    emit.fs_get_obj_ret(ref, kind(file), flags)
    emit.fs_full_file_name(ref, text(th, tree.known.path(file)))
    emit.fs_stub_acquire(ref, handle.creds.pid, kind(file))


def used(th: Thread, handle: OpenFile | DirHandle, op: str) -> None:
    """A client does *op* to a file that it has open."""
    pid = (th.creds or handle.creds).pid
    th.proc.emit.fs_stub_access(handle.ref, pid, kind(handle.file), word(th, op))


def closed(th: Thread, handle: OpenFile | DirHandle) -> None:
    """A client has closed a file: the one that opened it, whoever sent the request."""
    th.proc.emit.fs_stub_release(handle.ref, handle.creds.pid, kind(handle.file))


def named(th: Thread, cos: COSMgr, file: FSFile, op: str) -> None:
    """Somebody does *op* to a file by its name or number. A file that is a cold token nobody has open."""
    if ref := file.obj_ref:
        others = _others(cos, ref, (th.creds or ROOT).pid)
        th.proc.emit.fs_name_tree_access(ref, kind(file), others, word(th, op))


def _others(cos: COSMgr, ref: Ref, pid: int) -> int:
    """Return how many opens of a file are those of other processes than *pid*."""
    root: Any = cos.root_at(ref)
    clients = getattr(getattr(root, "speaker", None), "clients", ())
    return sum(each.creds.pid != pid for each in clients)


# Objects of files


def made(th: Thread, tree: FileSystemGlobal, file: FSFile) -> None:
    """*file* got an object."""
    emit, ref = th.proc.emit, file.obj_ref
    directory, name = tree.known.last(file)
    if file.is_dir:
        emit.fs_dir_created(ref, file.ino, text(th, name))
    else:
        token = 0 if directory is None else directory.ino
        emit.fs_server_file_created(ref, file.ino, token, kind(file), text(th, name))


def unmade(th: Thread, tree: FileSystemGlobal, file: FSFile, ref: Ref, method: str) -> None:
    """*file* lost its object *ref*, and is a token again or gone."""
    emit = th.proc.emit
    if file.is_dir:
        emit.fs_dir_linux_fs_volatile_destroy(ref)
        return
    emit.fs_file_purge(file.ino)
    emit.fs_server_file_block_destroy(ref)
    _, name = tree.known.last(file)
    emit.fs_sf_destroy(ref, text(th, name), word(th, tree.fs.name), word(th, method))


# A ramfs; its tokens are numbers of inodes


def ram_lookup(th: Thread, directory: FSFile, name: bytes) -> None:
    """*name* is looked up."""
    emit = th.proc.emit
    emit.fs_ramfs_lookup(directory.ino, text(th, name))
    emit.fs_ramfs_get_file_token_or_server_file(directory.ino)


def ram_found(th: Thread, directory: FSFile, name: bytes, file: FSFile | None) -> None:
    """*name* was looked up: it is *file*, or nothing."""
    token = 0 if file is None else file.ino
    th.proc.emit.fs_ramfs_lookup_ret(directory.ino, token, text(th, name))


def ram_make(th: Thread, directory: FSFile, name: bytes, file: FSFile) -> None:
    """*file* is made."""
    if file.is_dir:
        th.proc.emit.fs_ramfs_mkdir(directory.ino, text(th, name))
    else:
        th.proc.emit.fs_ramfs_create_file(directory.ino, file.ino, text(th, name))


def ram_rename(th: Thread, old_dir: FSFile, old: bytes, file: FSFile, new_dir: FSFile, new: bytes) -> None:
    """*file* moves."""
    numbers = text(th, old), text(th, new)
    th.proc.emit.fs_ramfs_rename(old_dir.ino, new_dir.ino, file.ino, *numbers)


def ram_set_attributes(th: Thread, file: FSFile, changes: AttrChanges) -> None:
    """Attributes of *file* are set."""
    emit, token = th.proc.emit, file.ino
    if changes.mode is not None:
        emit.fs_ramfs_f_chmod(token, changes.mode)
    if changes.uid is not None or changes.gid is not None:
        uid, gid = changes.uid, changes.gid
        emit.fs_ramfs_f_chown(token, file.uid if uid is None else uid, file.gid if gid is None else gid)
    if changes.atime_ns is not None or changes.mtime_ns is not None:
        emit.fs_ramfs_utime(token)
