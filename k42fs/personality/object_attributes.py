"""`user.k42.*`: extended attributes that show the object behind a file. Never listed, so that no tool
copies them.

    user.k42.impl     the implementation that serves the file now; setting it replaces that one while it is in use
    user.k42.object   all there is to say about it, as JSON

A file that nobody has open and a directory that nobody has searched are cold: they are tokens of their
server, and no object stands for them. Setting an implementation gives them one; it lasts as long as that object, which
the free lists let live for some minutes after its last use. What later objects get is the policy's to say.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from k42fs.errors import NoDataError, ReadOnlyError
from k42fs.machine import Thread
from k42fs.personality.nodes import Node
from k42fs.servers.system import System

OBJECT_PREFIX: Final = b"user.k42."


class ObjectAttributes:
    """Reads and, where that means something, sets the attributes. *handles_of* tells who has a file open."""

    def __init__(self, system: System, handles_of: Callable[[Node], list[dict[str, Any]]]) -> None:
        self._system = system
        self._handles_of = handles_of
        self._readers: Final[dict[bytes, Callable[[Node], str]]] = {
            b"user.k42.impl": self._implementation,
            b"user.k42.object": self._about,
        }

    def get(self, node: Node, name: bytes) -> bytes:
        """Return the attribute's text."""
        try:
            return self._readers[name](node).encode()
        except KeyError:
            raise NoDataError(f"there is no attribute {name!r}") from None

    async def set(self, th: Thread, node: Node, name: bytes, value: bytes) -> None:
        """Choose the implementation of a file's object, and wait until it serves: one that does already is no change.

        Raises:
            UnknownImplementationError, NotSwappableError, InTransitionError, SwapAbortedError
        """
        if name not in self._readers:
            raise NoDataError(f"there is no attribute {name!r}")
        if name != b"user.k42.impl":
            raise ReadOnlyError(f"{name!r} can only be read")
        ref = await th.deref(node.tree).object_of(th, node.file)
        swap = await self._system.control.swap(th, ref, value.decode(errors="replace").strip())
        if swap is not None:
            await swap.wait(th)

    def refuse_removal(self, name: bytes) -> None:
        """These attributes stand for something that is always there."""
        raise ReadOnlyError(f"{name!r} cannot be removed") if name in self._readers else NoDataError

    def _implementation(self, node: Node) -> str:
        return self._system.control.implementation(node.file.obj_ref)

    def _about(self, node: Node) -> str:
        about: dict[str, Any] = {
            "node": node.node_id,
            "inode": node.file.ino,
            "generation": node.file.generation,
        }
        about["kernel_lookups"] = node.nlookup
        about.update(self._system.object_of(node.file))
        about["handles"] = self._handles_of(node)
        return json.dumps(about)
