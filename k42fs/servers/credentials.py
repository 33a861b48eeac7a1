"""Who asks, and what they may do.

In the FUSE face the kernel checks permissions (`default_permissions`) and the trees are made with
check=False; in the native face a NameTree made with check=True calls the functions below, under the locks
of the operation they guard.

K42: `ServerFile::permission` evaluates owner, group and other bits but every call of it is compiled out;
only EROFS was enforced. Differs: search permission in the walk, the sticky bit, ownership rules and ACLs
are all here and called.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from typing import Final

from k42fs.errors import NotPermittedError, PermissionDeniedError
from k42fs.servers import posix_acl
from k42fs.servers.attr_changes import AttrChanges
from k42fs.servers.fs_file import FSFile

READ: Final = 4
WRITE: Final = 2
SEARCH: Final = 1
"""Execute, for a file."""


@dataclass(frozen=True, slots=True)
class Creds:
    """A caller: fsuid, fsgid, process id, umask, and the supplementary groups where the front end knows
    them.
    """

    uid: int
    gid: int
    pid: int = 0
    umask: int = 0
    groups: frozenset[int] = frozenset()

    def in_group(self, gid: int) -> bool:
        """Whether *gid* is one of the caller's groups."""
        return gid == self.gid or gid in self.groups


ROOT: Final = Creds(0, 0)
"""Used where a thread carries no credentials: daemons, and the system itself."""


def may(creds: Creds, file: FSFile, mask: int, *, by_acl: bool = True) -> bool:
    """Whether *creds* may do all of *mask* (READ, WRITE, SEARCH bits) to *file*, its ACL heeded if *by_acl*. Pure."""
    mode = file.mode
    if creds.uid == 0:  # CAP_DAC_OVERRIDE; executing still needs one x bit somewhere, directories excepted
        return not mask & SEARCH or file.is_dir or mode & 0o111 != 0
    acl = file.xattrs.get(posix_acl.ACCESS) if file.xattrs and by_acl else None
    if acl is not None:
        return posix_acl.allows(posix_acl.parse(acl), file.uid, file.gid, creds.uid, creds.in_group, mask)
    if creds.uid == file.uid:
        mode >>= 6
    elif creds.in_group(file.gid):
        mode >>= 3
    return mask & ~mode & 7 == 0


def check_may(creds: Creds, file: FSFile, mask: int, *, by_acl: bool = True) -> None:
    """Raise PermissionDeniedError unless `may`."""
    if not may(creds, file, mask, by_acl=by_acl):
        raise PermissionDeniedError(f"uid {creds.uid} lacks rights {mask:o} on inode {file.ino}")


def check_owner(creds: Creds, file: FSFile) -> None:
    """Raise NotPermittedError unless the caller owns *file* or is root."""
    if creds.uid not in (0, file.uid):
        raise NotPermittedError(f"uid {creds.uid} does not own inode {file.ino}")


def check_remove(creds: Creds, directory: FSFile, file: FSFile) -> None:
    """Raise unless the caller may take *file*'s name out of *directory*: write, search, and the sticky
    bit's rule.
    """
    check_may(creds, directory, WRITE | SEARCH)
    if directory.mode & stat.S_ISVTX and creds.uid not in (0, file.uid, directory.uid):
        raise NotPermittedError(f"inode {directory.ino} is sticky and inode {file.ino} is another's")


def check_changes(creds: Creds, file: FSFile, changes: AttrChanges, *, by_open_file: bool) -> None:
    """Raise unless the caller may make *changes*.

    Truncating through an open file was checked when it was opened.
    """
    if changes.mode is not None:
        check_owner(creds, file)
    if creds.uid != 0:
        if changes.uid is not None and (changes.uid != file.uid or creds.uid != file.uid):
            raise NotPermittedError(f"uid {creds.uid} may not give inode {file.ino} to uid {changes.uid}")
        if changes.gid is not None:
            check_owner(creds, file)
            if changes.gid != file.gid and not creds.in_group(changes.gid):
                raise NotPermittedError(f"uid {creds.uid} is not in group {changes.gid}")
    if changes.size is not None and not by_open_file:
        check_may(creds, file, WRITE)
    if changes.atime_ns is not None or changes.mtime_ns is not None:
        check_owner(creds, file)


def creation_owner(creds: Creds, directory: FSFile, mode: int) -> tuple[int, int]:
    """The (mode, gid) of what the caller makes in *directory*: a set-group-ID directory hands down its group.

    A subdirectory inherits the bit too. umask and default ACLs are the file system's to apply.
    """
    if not directory.mode & stat.S_ISGID:
        return mode, creds.gid
    if stat.S_ISDIR(mode):
        return mode | stat.S_ISGID, directory.gid
    if mode & stat.S_ISGID and mode & stat.S_IXGRP and creds.uid != 0 and not creds.in_group(directory.gid):
        mode &= ~stat.S_ISGID  # else anyone could make a program that runs as the directory's group
    return mode, directory.gid
