"""Live clustered objects as `.k42` shows them, and `.k42/live.json`: which have come and gone.

`live.json` is asked again and again (`repeated.py`): what has changed since the last question; at the first, every live
object is new. At most ROWS new objects are told at once, and `is_all` says whether that was everything. An object that
came and went between two questions is only counted, in `created` and `freed`. An answer costs a look at each live
object, and nothing is done while nobody asks.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final
from weakref import ReferenceType

from k42fs.ids import Ref
from k42fs.objects.implementations import implementation_name
from k42fs.objects.translation import MissHandler, owner_of
from k42fs.personality.file_paths import FilePaths
from k42fs.servers.fs_file import FSFile

if TYPE_CHECKING:
    from k42fs.personality.face import Face

LIVE_ROWS_MAX: Final = 10_000

Identity = tuple[str, int]
Told = dict[Ref, tuple["ReferenceType[MissHandler]", Identity, str]]
"""What an asker knows of a ref: the root that it was told of, which object that was, and its implementation then.

Refs are used again soon, and a swap puts another root behind one: the object is the same only if it calls itself
the same and its inode is of the same generation. A root is not kept alive for being known.
"""


def changes(face: Face, rows: int, told: Told) -> dict[str, Any]:
    """Return what is not as *told*, at most *rows* new objects of it, and tell it."""
    roots = {root.ref: root for root in face.cos.objects()}
    paths = FilePaths(face)
    gone, swapped = [], []
    for ref, (known, identity, before) in told.items():
        root = roots.get(ref)
        if root is None or (known() is not root and identity_of(root) != identity):
            gone.append(ref)
        elif (now := implementation_of(root)) != before and now:
            swapped.append({**about(paths, root), "before": before})
            told[ref] = ReferenceType(root), identity, now
    for ref in gone:
        del told[ref]
    new = [root for ref, root in roots.items() if ref not in told]
    for root in new[:rows]:
        told[root.ref] = ReferenceType(root), identity_of(root), implementation_of(root)
    statistics = face.cos.statistics()
    return {
        "time_ns": time.monotonic_ns(),
        **{key: statistics[key] for key in ("live", "created", "freed")},
        "gone": gone,
        "new": [about(paths, root) for root in new[:rows]],
        "swapped": swapped,
        "is_all": len(new) <= rows,
    }


def about(paths: FilePaths, root: MissHandler) -> dict[str, Any]:
    """Return what there is to say about one object."""
    return {
        "ref": root.ref,
        "object": label_of(root),
        "kind": root.type_name,
        "implementation": implementation_of(root),
        "path": paths.of(root),
        "home_processor": owner_of(root.ref),
        "processors": members(root.trans_set),
    }


def members(vp_set: int) -> list[int]:
    """Return the processors of a set in ascending order."""
    return [vp for vp in range(vp_set.bit_length()) if vp_set >> vp & 1]


def ref_of(owner: object) -> int:
    """Return the ref of the object that *owner*, a rep, a root or an inode, belongs to; 0 if it has none."""
    found = owner.obj_ref if isinstance(owner, FSFile) else getattr(owner, "ref", 0)
    return int(found) if isinstance(found, int) else 0


def label_of(root: MissHandler) -> str:
    """Return what statistics call the object, if its rep has a name for itself; else its kind and ref."""
    speaker = getattr(root, "speaker", root)
    named = getattr(speaker, "label", None) if speaker is not root else None
    return str(named()) if named is not None else f"{root.type_name} {root.ref}"


def implementation_of(root: MissHandler) -> str:
    """Return what serves the object now: an implementation's name, or else a class; "" for what is being freed."""
    speaker = getattr(root, "speaker", root)
    if speaker is None:
        return ""
    return implementation_name(root) or (root.type_name if speaker is root else type(speaker).__name__)


def identity_of(root: MissHandler) -> Identity:
    """Return what stays the same when the object is swapped, and differs from another one's under its ref."""
    file = getattr(getattr(root, "speaker", None), "file", None)
    return label_of(root), file.generation if isinstance(file, FSFile) else 0
