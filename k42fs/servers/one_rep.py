"""Making objects of files and directories that have one representative: afresh, or in another's place."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from k42fs.objects.root import SingleRepRoot

if TYPE_CHECKING:
    from k42fs.ids import VP
    from k42fs.machine.thread import Thread
    from k42fs.objects.cosmgr import COSMgr
    from k42fs.servers.fs_file import FSFile
    from k42fs.servers.fs_global import FileSystemGlobal

R = TypeVar("R")


def maker(
    rep_class: Callable[[FileSystemGlobal, FSFile, VP], R],
) -> Callable[[FileSystemGlobal, FSFile, VP], R]:
    """Return what makes the object of an inode that has none: see `object_policy.MakeObject`."""

    def make(tree: FileSystemGlobal, file: FSFile, vp: VP) -> R:
        rep = rep_class(tree, file, vp)
        SingleRepRoot(tree.cos, rep, vp)
        return rep

    return make


def replacer(
    rep_class: Callable[[FileSystemGlobal, FSFile, VP], object],
) -> Callable[[COSMgr, Thread, Any], SingleRepRoot]:
    """Return what makes an empty object in the place of another: see `implementations.Make`."""

    def make(cos: COSMgr, th: Thread, old_root: Any) -> SingleRepRoot:  # noqa: ANN401
        old = old_root.speaker
        return SingleRepRoot(cos, rep_class(old.tree, old.file, th.vp), th.vp, ref=old_root.ref)

    return make
