"""From a server's view of an inode to pyfuse3's entry attributes."""

from __future__ import annotations

from typing import Final

import pyfuse3

from k42fs.servers.fs_file import FSFile

CACHE_SECONDS: Final = 3600.0
"""How long the kernel may keep names and attributes. Every change made behind its back is announced (notifier.py)."""


def entry_attributes(node_id: int, file: FSFile) -> pyfuse3.EntryAttributes:
    """Return what the kernel keeps of *file*, under the number *node_id*."""
    entry = blank_entry()
    fill_entry(entry, node_id, file)
    return entry


def blank_entry() -> pyfuse3.EntryAttributes:
    """Return attributes for `fill_entry`, which many entries may be written into one after the other."""
    entry = pyfuse3.EntryAttributes()
    entry.entry_timeout = CACHE_SECONDS
    entry.attr_timeout = CACHE_SECONDS
    return entry


def fill_entry(entry: pyfuse3.EntryAttributes, node_id: int, file: FSFile) -> None:
    """Write into *entry* what the kernel keeps of *file*, under the number *node_id*."""
    entry.st_ino = node_id
    entry.generation = file.generation
    entry.st_mode = file.mode
    entry.st_nlink = file.nlink
    entry.st_uid = file.uid
    entry.st_gid = file.gid
    entry.st_size = file.size
    entry.st_blocks = file.blocks
    entry.st_rdev = file.rdev
    entry.st_atime_ns = file.atime_ns
    entry.st_mtime_ns = file.mtime_ns
    entry.st_ctime_ns = file.ctime_ns


def negative_entry() -> pyfuse3.EntryAttributes:
    """Return the answer that lets the kernel remember that a name does not exist."""
    entry = pyfuse3.EntryAttributes()
    entry.st_ino = 0
    entry.entry_timeout = CACHE_SECONDS
    return entry
