"""`MNT/.k42/`: attribute files that show and steer the system, in the manner of K42's /ksys.

Always there, never listed. A file's text is made when it is opened and stays as it was for that open;
nothing here is cached by the kernel. One write is one command. What a write cannot mean is refused with
nothing changed: EINVAL for a bad value, ENODATA for an unknown key, EROFS for what can only be read.

A transaction file is opened for reading and writing: a write asks, and what is read next on the same handle is
the answer. It cannot be sought in, so that reading begins with the answer wherever the write ended.

The names and what they show are in `control_files.py`.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import pyfuse3

from k42fs.errors import (
    InvalidArgumentError,
    K42Error,
    NameNotFoundError,
    NoDataError,
    NotDirectoryError,
    NotPermittedError,
    ReadOnlyError,
)
from k42fs.machine import Thread
from k42fs.personality.clients import supplementary_groups
from k42fs.personality.control_files import ControlFile, ControlFiles, Transaction
from k42fs.personality.handles import Handle, HandleTable
from k42fs.personality.nodes import CONTROL_BASE, ROOT_ID

CONTROL_NAME: Final = b".k42"


class ControlText:
    """One open control file: its text at the moment it was opened, or the answer to what was last asked of it.

    `start` is the file offset of the text's first byte.
    """

    __slots__ = ("file", "start", "text", "transaction")

    def __init__(self, file: ControlFile, text: bytes, transaction: Transaction | None = None) -> None:
        self.file = file
        self.text = text
        self.start = 0
        self.transaction = transaction

    @property
    def does_work(self) -> bool:
        """Whether what is written works in the system, as a caller does; else it only looks at it."""
        return self.transaction is None or self.transaction.does_work

    def read(self, offset: int, size: int) -> bytes:
        first = offset - self.start
        return self.text[first : first + size] if first >= 0 else b""


class Control:
    """The directory `.k42` and its files. Node numbers: CONTROL_BASE, then one each in the files' order."""

    def __init__(self, files: ControlFiles, handles: HandleTable) -> None:
        self._files = files
        self._handles = handles
        self._names = list(files)
        self._started_ns = time.time_ns()
        self._refusals: dict[ControlFile, str] = {}

    def lookup(self, parent: int, name: bytes) -> pyfuse3.EntryAttributes:
        """Answer `.k42` in the root, or a name in it."""
        if parent == ROOT_ID:
            return self.attributes(CONTROL_BASE)
        if parent != CONTROL_BASE:
            raise NotDirectoryError
        try:
            return self.attributes(CONTROL_BASE + 1 + self._names.index(name))
        except ValueError:
            raise NameNotFoundError from None

    def attributes(self, node_id: int) -> pyfuse3.EntryAttributes:
        """Return a node's attributes; the kernel keeps neither them nor the name."""
        entry = pyfuse3.EntryAttributes()
        entry.st_ino = node_id
        entry.entry_timeout = entry.attr_timeout = 0
        if node_id == CONTROL_BASE:
            entry.st_mode = stat.S_IFDIR | 0o555
            entry.st_nlink = 2
        else:
            file = self._file(node_id)
            mode = (0o444 if file.read else 0) | (0o200 if file.write else 0)
            entry.st_mode = stat.S_IFREG | (0o666 if file.begin else mode)
        entry.st_uid = os.geteuid()
        entry.st_gid = os.getegid()
        entry.st_atime_ns = entry.st_mtime_ns = entry.st_ctime_ns = self._started_ns
        return entry

    def set_attributes(self, node_id: int, fields: pyfuse3.SetattrFields) -> pyfuse3.EntryAttributes:
        """Accept a truncation, which shells do before they write; refuse the rest."""
        if node_id == CONTROL_BASE or fields.update_mode or fields.update_uid or fields.update_gid:
            raise NotPermittedError("the entries of .k42 are fixed")
        if fields.update_size and not self._file(node_id).is_writable:
            raise ReadOnlyError
        return self.attributes(node_id)

    def open(self, th: Thread, node_id: int, flags: int) -> pyfuse3.FileInfo:
        """Open a file; its text is made now."""
        file = self._file(node_id)
        access = flags & os.O_ACCMODE
        if access != os.O_RDONLY and not file.is_writable:
            raise ReadOnlyError
        if file.begin is not None and access != os.O_RDONLY:
            return self._begin(th, file, file.begin)
        text = file.read() if file.read is not None and access != os.O_WRONLY else b""
        handle = self._handles.add(th.vp, th.creds, None, ControlText(file, text))
        return pyfuse3.FileInfo(fh=handle.number, direct_io=True)

    def _begin(self, th: Thread, file: ControlFile, begin: Callable[[], Transaction]) -> pyfuse3.FileInfo:
        """Open a transaction; it is asked with all rights that the caller has now."""
        creds = replace(th.creds, groups=supplementary_groups(th.creds.pid))
        handle = self._handles.add(th.vp, creds, None, ControlText(file, b"", begin()))
        return pyfuse3.FileInfo(fh=handle.number, direct_io=True, nonseekable=True)

    async def write(self, th: Thread, opened: ControlText, offset: int, data: bytes) -> int:
        """Carry out one command, or ask one question: the whole of *data*, a newline at its end allowed."""
        if b"\0" in data:
            raise InvalidArgumentError("a control file takes one command for each write")
        if opened.transaction is not None:
            await _ask(th, opened, opened.transaction, offset, data)
            return len(data)
        assert opened.file.write is not None, "opened for writing"
        self._refusals.pop(opened.file, None)
        try:
            await opened.file.write(th, data.strip())
        except K42Error as exc:
            self._refusals[opened.file] = str(exc)
            raise
        return len(data)

    async def release(self, th: Thread, opened: ControlText) -> None:
        """Close a file."""
        if opened.transaction is not None:
            await opened.transaction.end(th)

    def refusal(self, node_id: int, name: bytes) -> bytes:
        """Return why the last write to a file was refused: its attribute `user.k42.error`, which an errno cannot tell.

        Raises:
            NoDataError: it was not refused, or another attribute is asked for.
        """
        if name != b"user.k42.error" or node_id == CONTROL_BASE or self._file(node_id) not in self._refusals:
            raise NoDataError
        return self._refusals[self._file(node_id)].encode()

    def open_dir(self, th: Thread, node_id: int) -> int:
        """Open `.k42` itself for reading."""
        if node_id != CONTROL_BASE:
            raise NotDirectoryError
        return self._handles.add(th.vp, th.creds, None, None).number

    def read_dir(self, handle: Handle[Any], offset: int, token: pyfuse3.ReaddirToken) -> None:
        """Reply the entries of `.k42`. Their lookups need no count: these nodes never go away."""
        rows = [(b".", CONTROL_BASE), (b"..", ROOT_ID)]
        rows += [(name, CONTROL_BASE + 1 + index) for index, name in enumerate(self._names)]
        for index, (name, node_id) in enumerate(rows):
            if index >= offset:
                entry = self.attributes(CONTROL_BASE if node_id == ROOT_ID else node_id)
                if not pyfuse3.readdir_reply(token, name, entry, index + 1):
                    return

    def _file(self, node_id: int) -> ControlFile:
        index = node_id - CONTROL_BASE - 1
        if not 0 <= index < len(self._names):
            raise NotDirectoryError if index < 0 else NameNotFoundError
        return self._files[self._names[index]]


async def _ask(
    th: Thread, opened: ControlText, transaction: Transaction, offset: int, question: bytes
) -> None:
    """Ask; what is read from now on is the answer, also to a question that failed."""
    opened.start, opened.text = offset, b""  # a write that fails leaves the kernel's file position as it was
    try:
        await transaction.ask(th, question.removesuffix(b"\n"))
        opened.start = offset + len(question)
    finally:
        opened.text = transaction.answer
