"""The implementations there are of each kind of object, the default first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from k42fs.objects.root import SingleRepRoot
from k42fs.servers.dir_distributed import DistributedDirRoot
from k42fs.servers.dir_object import DirObject
from k42fs.servers.directory import Directory
from k42fs.servers.exclusive_file import ExclusiveServerFile
from k42fs.servers.file_cache import FileCache
from k42fs.servers.object_policy import Makers, ObjectPolicy
from k42fs.servers.partitioned_cache import PartitionedFileCache
from k42fs.servers.ranged_file import RangedServerFile
from k42fs.servers.replicated_cache import ReplicatedCacheRoot
from k42fs.servers.server_file import ServerFile

if TYPE_CHECKING:
    from k42fs.ids import VP
    from k42fs.servers.fs_file import FSFile
    from k42fs.servers.fs_global import FileSystemGlobal


def make_locked_directory(tree: FileSystemGlobal, file: FSFile, vp: VP) -> DirObject:
    """One lock, one table, one rep."""
    rep = DirObject(tree, file, vp)
    SingleRepRoot(tree.cos, rep, vp)
    return rep


def make_distributed_directory(
    tree: FileSystemGlobal, file: FSFile, vp: VP
) -> Directory | DistributedDirRoot:
    """A lock per bucket of names, a rep per processor; one lock for all where the file system needs that."""
    if not tree.fs.can_share_names:
        return make_locked_directory(tree, file, vp)
    root = DistributedDirRoot(tree, file, vp)
    tree.fs.share_names(vp, file, is_shared=True)
    return root


def make_shared_file(tree: FileSystemGlobal, file: FSFile, vp: VP) -> ServerFile:
    """One lock, one length, one rep."""
    rep = ServerFile(tree, file, vp)
    SingleRepRoot(tree.cos, rep, vp)
    return rep


def make_exclusive_file(tree: FileSystemGlobal, file: FSFile, vp: VP) -> ExclusiveServerFile:
    """One client at a time owns it, one rep."""
    rep = ExclusiveServerFile(tree, file, vp)
    SingleRepRoot(tree.cos, rep, vp)
    return rep


def make_ranged_file(tree: FileSystemGlobal, file: FSFile, vp: VP) -> RangedServerFile:
    """Range locks, a gate per processor, one rep."""
    rep = RangedServerFile(tree, file, vp)
    SingleRepRoot(tree.cos, rep, vp)
    return rep


def make_single_cache(tree: FileSystemGlobal, file: FSFile, vp: VP) -> FileCache:
    """One lock around one page hash, one rep."""
    rep = FileCache(tree, file, vp)
    SingleRepRoot(tree.cos, rep, vp)
    return rep


def make_partitioned_cache(tree: FileSystemGlobal, file: FSFile, vp: VP) -> PartitionedFileCache:
    """A lock and a page hash for each of many parts of the file, one rep."""
    rep = PartitionedFileCache(tree, file, vp)
    SingleRepRoot(tree.cos, rep, vp)
    return rep


def make_replicated_cache(tree: FileSystemGlobal, file: FSFile, vp: VP) -> ReplicatedCacheRoot:
    """A replica of the page hash on each processor."""
    return ReplicatedCacheRoot(tree, file, vp)


MAKERS: Final[Makers] = {
    "DirObject": {"locked": make_locked_directory, "distributed": make_distributed_directory},
    "ServerFile": {
        "shared": make_shared_file,
        "ranged": make_ranged_file,
        "exclusive": make_exclusive_file,
    },
    "FileCache": {
        "single": make_single_cache,
        "partitioned": make_partitioned_cache,
        "replicated": make_replicated_cache,
    },
}


def default_policy() -> ObjectPolicy:
    """Return a policy of its own that makes the default of everything."""
    return ObjectPolicy(MAKERS)
