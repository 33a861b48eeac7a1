"""What to do about an operation that ended after its request had been answered EIO.

The kernel did not get its answer, so what the answer gave must be given back: the lookup that an entry counts,
the handle of an open. And the kernel believes that nothing has changed: it must look again at whatever the
operation may have changed. All of this is said in the kernel's own terms, requests and invalidations.
"""

from __future__ import annotations

from typing import Any, Final

from k42fs.personality.handles import Handle

COUNTS_LOOKUP: Final = frozenset(("lookup", "create", "mknod", "mkdir", "symlink", "link"))
CHANGES_NAME: Final = frozenset(("create", "mknod", "mkdir", "symlink", "unlink", "rmdir"))
CHANGES_INODE: Final = frozenset(("open", "setattr", "setxattr", "removexattr"))


def requests_to_undo(request: str, answer: Any) -> list[tuple[str, Any]]:  # noqa: ANN401
    """Return the requests (name, argument) by which the kernel would give back what *answer* gave it."""
    if answer is None:  # it failed, or never gives anything
        return []
    if request == "open":
        return [("release", answer.fh)]
    if request == "opendir":
        return [("releasedir", answer)]
    undo: list[tuple[str, Any]] = []
    if request == "create":
        opened, answer = answer
        undo.append(("release", opened.fh))
    if request in COUNTS_LOOKUP and answer.st_ino:  # 0: there is no such name
        undo.append(("forget", [(answer.st_ino, 1)]))
    return undo


def changed_names(request: str, args: tuple[Any, ...]) -> list[tuple[int, bytes]]:
    """Return the (directory, name) pairs that *request* may have changed."""
    if request in CHANGES_NAME:
        return [(args[0], args[1])]
    if request == "link":
        return [(args[1], args[2])]
    if request == "rename":
        return [(args[0], args[1]), (args[2], args[3])]
    return []


def changed_inodes(request: str, args: tuple[Any, ...]) -> list[int]:
    """Return the inodes whose attributes or contents *request* may have changed, a directory's names apart."""
    if request in CHANGES_INODE or request == "link":
        return [args[0]]
    if request == "write":
        handle: Handle[Any] = args[0]
        return [] if handle.node is None else [handle.node.node_id]
    return []
