"""What one setattr asks for, and what an attribute change clears on the way."""

from __future__ import annotations

import stat
from dataclasses import dataclass


@dataclass(slots=True)
class AttrChanges:
    """The attributes to set; None leaves one alone. Times in ns since the epoch, size in bytes.

    An instance with nothing set is legal and changes nothing.
    """

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    size: int | None = None
    atime_ns: int | None = None
    mtime_ns: int | None = None

    def is_size_only(self) -> bool:
        """Whether this is a plain truncate."""
        return (
            self.size is not None
            and self.mode is None
            and self.uid is None
            and self.gid is None
            and self.atime_ns is None
            and self.mtime_ns is None
        )

    def touches_rights(self) -> bool:
        """Whether who may do what can differ afterwards."""
        return self.mode is not None or self.uid is not None or self.gid is not None


def without_suid(mode: int) -> int:
    """*mode* as chown, write and truncate leave it: no set-user-ID, no set-group-ID on what the group may
    execute.

    A set-group-ID bit without group execute marks mandatory locking, and stays (as Linux has it).
    """
    mode &= ~stat.S_ISUID
    return mode & ~stat.S_ISGID if mode & stat.S_IXGRP else mode
