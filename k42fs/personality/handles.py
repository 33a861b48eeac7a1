"""Open handles: the numbers the kernel gives back, and what was opened under each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from k42fs.errors import BadHandleError
from k42fs.ids import VP, Ref
from k42fs.personality.nodes import Node
from k42fs.servers.credentials import Creds
from k42fs.servers.fs_file import NO_REF

T = TypeVar("T")


@dataclass(slots=True)
class Handle(Generic[T]):
    """One open of one node. `opened` is the server's own object for it (an OpenFile, a directory handle, a text)."""

    number: int
    vp: VP
    creds: Creds
    tree: Ref  # the server's, 0 for `.k42`
    node: Node | None
    opened: T


class HandleTable:
    """Numbers to handles. A number is never given twice, so a late request on a closed one is refused."""

    def __init__(self) -> None:
        self._by_number: dict[int, Handle[object]] = {}
        self._next = 1

    def add(self, vp: VP, creds: Creds, node: Node | None, opened: object) -> Handle[object]:
        """Enter a new open; return its handle, whose `number` goes to the kernel."""
        number = self._next
        self._next = number + 1
        handle = self._by_number[number] = Handle(
            number, vp, creds, NO_REF if node is None else node.tree, node, opened
        )
        return handle

    def __getitem__(self, number: int) -> Handle[object]:
        try:
            return self._by_number[number]
        except KeyError:
            raise BadHandleError(f"handle {number} is not open") from None

    def remove(self, number: int) -> None:
        """Close *number*."""
        del self._by_number[number]

    def __len__(self) -> int:
        return len(self._by_number)

    def count_for_tree(self, tree: int) -> int:
        """Return how many handles are open on files of the server *tree*."""
        return sum(handle.tree == tree for handle in self._by_number.values())
