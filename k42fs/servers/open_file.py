"""What a client holds: an open file, or an open directory.

K42: the client data of an exported XHandle (FileLinuxServer's ClientData), which the server keeps per open.
Differs: status flags belong to the open file description, as POSIX has it, and are shared by whoever shares
it.
"""

from __future__ import annotations

import os
from typing import Any, Final

from k42fs.ids import VP, Addr, Ref
from k42fs.machine.layout import Kind, Layout
from k42fs.servers.credentials import Creds
from k42fs.servers.fs_file import FSFile

CLIENT: Final = Layout("ClientData", Kind.GLOBAL, flags=8, creds=8, position=8, links=16)
NEW_CLIENT: Final = CLIENT.script("new", "w:flags w:creds w:position w:links", work=40)
POSITION: Final = CLIENT.script("position", "x:position r:flags", work=10)


class OpenFile:
    """One open of a regular file. `offset` is the position for reads and writes that name none.

    `vp` is the processor that opened it. The flags never change but for O_APPEND and O_NONBLOCK (F_SETFL).
    `client` belongs to the file's implementation: what it keeps on the side of who opened it.
    """

    __slots__ = ("addr", "client", "creds", "file", "flags", "offset", "ref", "vp")

    def __init__(self, file: FSFile, ref: Ref, flags: int, creds: Creds, vp: VP) -> None:
        self.file = file
        self.ref = ref
        self.flags = flags
        self.creds = creds
        self.vp = vp
        self.offset = 0
        self.addr = Addr(0)
        self.client: Any = None

    @property
    def is_writable(self) -> bool:
        """Opened for writing."""
        return self.flags & os.O_ACCMODE != os.O_RDONLY

    @property
    def is_readable(self) -> bool:
        """Opened for reading."""
        return self.flags & os.O_ACCMODE != os.O_WRONLY


class DirHandle:
    """One open of a directory. Positions are cookies, which the caller keeps."""

    __slots__ = ("creds", "file", "ref", "vp")

    def __init__(self, file: FSFile, ref: Ref, creds: Creds, vp: VP) -> None:
        self.file = file
        self.ref = ref
        self.creds = creds
        self.vp = vp
