"""`.k42/resolve`: where a path leads, found K42's way by the name space and shown step by step.

    question   [nofollow ]PATH     an absolute path in the mount's own name space, as it stands: nothing is escaped
    answer     the steps, then the file, or the errno that the write failed with

An open handle is what K42 knew as a process: a client of the name server with a prefix table and links of its
own. So a second question on the same handle shows what the client knew by then; and whatever changes in
between, the answer is the one that a new client would get.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Mapping
from typing import Any, Final

from k42fs.errors import ConfigError, K42Error
from k42fs.machine import Thread
from k42fs.servers.mount_commands import escape_path
from k42fs.servers.name_space import NameSpace, Place
from k42fs.servers.pathname import DotDot, PathName
from k42fs.servers.system import System
from k42fs.servers.trail import LinkStep, PrefixStep, Step, Trail

RESOLVE_USAGE: Final = "open for reading and writing, write [nofollow ]PATH, read the answer"
NO_FOLLOW: Final = b"nofollow "
FILE_TYPES: Final[Mapping[int, str]] = {
    stat.S_IFREG: "regular file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symbolic link",
    stat.S_IFIFO: "FIFO",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}

Record = Mapping[str, Any]
"""An answer ready for JSON. Undecodable bytes of paths are surrogate escapes."""


class Resolving:
    """The transaction of one open handle. *encode* writes an answer down."""

    does_work = True

    def __init__(self, system: System, encode: Callable[[Record], bytes]) -> None:
        self._system = system
        self._encode = encode
        self._client = system.new_name_client()
        self._space = NameSpace(self._client)
        self.answer = b""

    async def ask(self, th: Thread, question: bytes) -> None:
        """Resolve the path in *question*. After a failure the answer ends with it.

        Raises:
            ConfigError: the path is not absolute: there is no answer then.
            K42Error: what `NameSpace.resolve` raises.
        """
        self.answer = b""
        follows_last = not question.startswith(NO_FOLLOW)
        unix = question.removeprefix(NO_FOLLOW)
        if not unix.startswith(b"/"):
            raise ConfigError("write an absolute path")
        path = PathName.parse(unix, dotdot=DotDot.LEXICAL)
        trail = Trail()
        try:
            place = await self._space.resolve(th, path, follows_last=follows_last, trail=trail)
            self._tell(unix, trail, self._found(place))
        except K42Error as exc:
            self._tell(unix, trail, {"error": errno.errorcode[exc.errno], "reason": os.strerror(exc.errno)})
            raise

    async def end(self, th: Thread) -> None:
        """End the client."""
        await self._client.destroy(th)

    def _tell(self, asked: bytes, trail: Trail, outcome: Record) -> None:
        steps = [_step(step) for step in trail.steps]
        self.answer = self._encode({"asked": _text(asked), "steps": steps, **outcome})

    def _found(self, place: Place) -> Record:
        """Return what there is to say about the file at *place*; a synthetic directory has no object."""
        point = place.point
        found = {"path": _text(bytes(place.path)), "server": point.mount.server}
        if point.file is None:
            assert point.node is not None, "only the mount tree makes synthetic directories"
            return {**found, "type": "synthetic directory", "inode": point.node.ino, "object": None}
        kind = FILE_TYPES[stat.S_IFMT(point.file.mode)]
        return {**found, "type": kind, "inode": point.file.ino, **self._system.object_of(point.file)}


def resolution_text(record: Record) -> bytes:
    """Write an answer down for people: a line for each step, then one for what was found."""
    lines = [_shown(record["asked"]), *(f"  {_step_text(step)}" for step in record["steps"])]
    if "error" in record:
        lines.append(f"  error   {record['error']}: {record['reason']}")
        return _joined(lines)
    lines.append(
        f"  found   {_shown(record['path'])}: {record['type']}, inode {record['inode']} of server {record['server']}"
    )
    if record["object"] is not None:
        where = ", ".join(map(str, record["processors"])) or "none"
        lines.append(
            f"  object  {record['object']}, ref {record['ref']}: {record['implementation']}, on {where}"
        )
    elif "implementation" in record:
        lines.append(f"  object  none: a {record['implementation']} of its server")
    return _joined(lines)


def _joined(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode(errors="surrogateescape")


def _step(step: Step) -> Record:
    """Return one step ready for JSON."""
    if isinstance(step, PrefixStep):
        entry = step.found.entry
        return {
            "step": "prefix",
            "path": _text(bytes(step.path)),
            "prefix": _text(bytes(PathName(step.prefix))),
            "mount_id": entry.mount_id,
            "server": entry.server,
            "description": _text(entry.description),
            "rel_path": _text(bytes(entry.rel_path)),
            "rest": _text(b"/".join(step.found.rest)),
        }
    if isinstance(step, LinkStep):
        return {
            "step": "link",
            "path": _text(bytes(step.path)),
            "target": _text(step.target),
            "known": step.is_known,
            "result": _text(bytes(step.result)),
        }
    return {"step": "walked", "path": _text(bytes(step.path))}


def _step_text(step: Record) -> str:
    if step["step"] == "prefix":
        # A description is one line, and what the listing of the name space shows as it stands.
        server = f"{step['description'] or '-'} (server {step['server']}) at {_shown(step['rel_path'])}"
        return f"prefix  {_shown(step['prefix'])} -> {server}, rest: {_shown(step['rest'] or '-')}"
    if step["step"] == "link":
        how = "known" if step["known"] else "read"
        link = f"{_shown(step['path'])} -> {_shown(step['target'])}"
        return f"link    {link} ({how}), now: {_shown(step['result'])}"
    return f"walked  {_shown(step['path'])}"


def _text(raw: bytes) -> str:
    return raw.decode(errors="surrogateescape")


def _shown(text: str) -> str:
    """Write a path as one word, as /proc/mounts does."""
    return _text(escape_path(text.encode(errors="surrogateescape")))
