"""The implementations there are of each kind of object, the default first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from k42fs.servers.dir_distributed import DistributedDirRoot
from k42fs.servers.dir_object import DirObject
from k42fs.servers.directory import Directory
from k42fs.servers.exclusive_file import ExclusiveServerFile
from k42fs.servers.file_cache import FileCache
from k42fs.servers.object_policy import Makers, ObjectPolicy
from k42fs.servers.one_rep import maker
from k42fs.servers.partitioned_cache import PartitionedFileCache
from k42fs.servers.ranged_file import RangedServerFile
from k42fs.servers.replicated_cache import ReplicatedCacheRoot
from k42fs.servers.server_file import ServerFile

if TYPE_CHECKING:
    from k42fs.ids import VP
    from k42fs.servers.fs_file import FSFile
    from k42fs.servers.fs_global import FileSystemGlobal


make_locked_directory = maker(DirObject)


def make_distributed_directory(
    tree: FileSystemGlobal, file: FSFile, vp: VP
) -> Directory | DistributedDirRoot:
    """A lock per bucket of names, a rep per processor; one lock for all where the file system needs that."""
    if not tree.fs.can_share_names:
        return make_locked_directory(tree, file, vp)
    root = DistributedDirRoot(tree, file, vp)
    tree.fs.share_names(vp, file, is_shared=True)
    return root


MAKERS: Final[Makers] = {
    "DirObject": {"locked": make_locked_directory, "distributed": make_distributed_directory},
    "ServerFile": {
        "shared": maker(ServerFile),
        "ranged": maker(RangedServerFile),
        "exclusive": maker(ExclusiveServerFile),
    },
    "FileCache": {
        "single": maker(FileCache),
        "partitioned": maker(PartitionedFileCache),
        "replicated": ReplicatedCacheRoot,
    },
}


def default_policy() -> ObjectPolicy:
    """Return a policy of its own that makes the default of everything."""
    return ObjectPolicy(MAKERS)
