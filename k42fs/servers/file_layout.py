"""The modelled shape of a ServerFile, and what its methods touch of it.

K42: lib/libc/fslib/ServerFile.H.
"""

from __future__ import annotations

from typing import Final

from k42fs.machine.layout import Kind, Layout

SERVER_FILE: Final = Layout(
    "ServerFile",
    Kind.GLOBAL_PADDED,
    lock=16,
    file=8,
    state=8,
    length=8,
    clients=16,
    cache=8,
    idle=16,
)
"""`state`: closing, read-only, removal on last close. `idle`: the free list's node."""

NEW: Final = SERVER_FILE.script("new", "w:lock w:file w:state w:length w:clients w2:0 w2:8 w2:16", work=190)
OPEN: Final = SERVER_FILE.script("open", "r:file r:state w:clients w:state", work=120)
RELEASE: Final = SERVER_FILE.script("release", "r:state w:clients w:state", work=80)
GET_STATUS: Final = SERVER_FILE.script("get_status", "r:file r:state r:length", work=60)
ATTRIBUTES: Final = SERVER_FILE.script("attributes", "r:file r:state", work=50)
READ_AT: Final = SERVER_FILE.script("read", "r:state r:length r:cache", work=70)
WRITE_AT: Final = SERVER_FILE.script("write", "r:state w:length r:cache", work=90)
TRUNCATE: Final = SERVER_FILE.script("truncate", "r:state w:length r:cache", work=90)
UNLINK: Final = SERVER_FILE.script("unlink", "r:file w:state r:clients", work=80)
ADD_LINK: Final = SERVER_FILE.script("link", "r:file r:state", work=60)
FREE_CHECK: Final = SERVER_FILE.script("free_check", "r:state r:clients r:cache", work=60)
CLOSE: Final = SERVER_FILE.script("unmake", "w:state w:file", work=60)
