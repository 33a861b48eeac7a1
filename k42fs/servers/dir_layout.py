"""The fields of a DirObject in modelled memory, and which of them each of its methods touches.

`dirlock` guards `count` and the hash `names`; `lock` guards `state` and `handles`.
"""

from __future__ import annotations

from typing import Final
from zlib import crc32

from k42fs.machine.layout import Kind, Layout

BUCKETS: Final = 64


def bucket_number(name: bytes) -> tuple[int, int]:
    """Return which bucket a name belongs to, and the rest of its hash. By crc32: Python's own differs from run
    to run.
    """
    value = crc32(name)
    return value % BUCKETS, value // BUCKETS


DIR_OBJECT: Final = Layout(
    "DirObject",
    Kind.GLOBAL_PADDED,
    dirlock=24,
    lock=16,
    file=8,
    state=8,
    handles=8,
    count=8,
    names=BUCKETS * 8,
)

LOOKUP: Final = DIR_OBJECT.script("lookup", "r:state r2:0", work=60)
CREATE: Final = DIR_OBJECT.script("create", "r:state r:file r2:0", work=120)
UNLINK: Final = DIR_OBJECT.script("unlink", "r:state r:file r2:0", work=100)
LINK: Final = DIR_OBJECT.script("link", "r:state r:file r2:0", work=100)
READ_DIR: Final = DIR_OBJECT.script("read_dir", "r:state r:file", work=60)
HANDLES: Final = DIR_OBJECT.script("handles", "r:state w:handles", work=40)
STATUS: Final = DIR_OBJECT.script("get_status", "r:file r:state", work=50)
FREE_CHECK: Final = DIR_OBJECT.script("free_check", "r:state r:handles r:count", work=80)
UNMAKE: Final = DIR_OBJECT.script("unmake", "w:state w:file", work=60)

# Of the names it keeps:
MISS: Final = DIR_OBJECT.script("lookup_miss", "r:file r2:0", work=60)
NEGATIVE: Final = DIR_OBJECT.script("negative", "w:count w2:0", work=30)
