"""Name and file servers.

```text
name server    pathname.py, mount_table.py, mount_point_mgr.py, mount_client.py, name_space.py
               the mount table as a replicated object, and how a path meets it; trail.py: step by step

file library   name_tree.py     NameTree, the face of a file server: names; tree_files.py: inodes, open files
               fs_file.py       FSFile and FileSystem, the seam to what is below
               directory.py     what makes and removes names; dir_object.py: DirObject, one directory in use;
                                name_cache.py, name_holder.py: its names; dir_distributed.py: the other one,
                                with name_buckets.py, near_names.py; dir_state.py: what they hand each other
               server_file.py   ServerFile: one file in use; regular_file.py: its opens, names and end;
                                file_object.py: what it shares with DirObject
               cached_file.py   FileCache: a file's pages; the kinds: file_cache, partitioned_cache, replicated_cache
               open_file.py     what clients hold
               fs_global.py     one instance: tokens and objects  free_list.py, multi_link.py: its lists
               rename.py        rename, rmdir; name_locks.py: several dirlocks at once
               walk.py          paths inside one tree
               file_ops.py, attr_changes.py, credentials.py, posix_acl.py: attributes and rights
               fs_trace.py, mem_trace.py: what recordings are told of files and of file caches

file systems   ramfs/

choices        object_policy.py, makers.py: which implementation a new object gets; policy_set.py: of everything;
               supplies.py, one_free_list.py, call_counts.py: what is kept per processor or once
               object_control.py: objects by hand; adapt_rules.py: rules that every mount has

system.py      all of it put together
```

Lock order of the file library, by rank: rename mutex 5, dirlocks 20 (several: ascending address), objects
and tokens 40, file cache 50, multi-link list 60, its holders 61, a file system's own 70 to 80. Name
holders' locks have none (directory.py, "Order").
"""

from k42fs.servers.attr_changes import AttrChanges
from k42fs.servers.credentials import Creds
from k42fs.servers.fs_file import FileSystem, FSFile
from k42fs.servers.mount_client import MountPointMgrClient
from k42fs.servers.mount_point_mgr import MountPointMgr
from k42fs.servers.mount_table import MountEntry, MountTable
from k42fs.servers.name_space import NameSpace
from k42fs.servers.name_tree import NameTree
from k42fs.servers.open_file import DirHandle, OpenFile
from k42fs.servers.pathname import DotDot, PathName

__all__ = [
    "AttrChanges",
    "Creds",
    "DirHandle",
    "DotDot",
    "FSFile",
    "FileSystem",
    "MountEntry",
    "MountPointMgr",
    "MountPointMgrClient",
    "MountTable",
    "NameSpace",
    "NameTree",
    "OpenFile",
    "PathName",
]
