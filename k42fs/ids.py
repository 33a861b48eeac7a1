"""Names for the small integers that must not be mixed up. Imported from any floor."""

from __future__ import annotations

from typing import NewType

VP = NewType("VP", int)
"""A virtual processor's number, 0 <= vp < processors."""

Ref = NewType("Ref", int)
"""A clustered object's stable name: the index of its translation entries. 0 is never a live object."""

Addr = NewType("Addr", int)
"""A modelled address in bytes: node (12 bits) | kind (4) | offset (48)."""

Ino = NewType("Ino", int)
"""An inode number, unique within one file server."""

__all__ = ["VP", "Addr", "Ino", "Ref"]
