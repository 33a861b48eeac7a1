"""k42fs."""

from k42fs.servers.mount_client import MountPointMgrClient
from k42fs.servers.mount_point_mgr import MountPointMgr
from k42fs.servers.mount_table import MountEntry, MountTable
from k42fs.servers.name_space import NameSpace
from k42fs.servers.pathname import DotDot, PathName

__all__ = [
    "DotDot",
    "MountEntry",
    "MountPointMgr",
    "MountPointMgrClient",
    "MountTable",
    "NameSpace",
    "PathName",
]
