"""Open handles: the numbers the kernel gives back, and what was opened under each.

Each is a cross-domain handle (objects/xhandle.py): its number is the XHandle, its client the process that opened it,
its client data the `Handle` here. The kernel alone presents numbers, on behalf of whoever has the descriptor by then,
and does not say who that is; so what may be done with one is a right of anybody's, and each request is checked for it
(`use`). It also gives back the handles of processes that die, one by one, as soon as no child that inherited the
descriptor has it either, which nobody else can know; one that it gives back late, or twice, has a sequence number that
is over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from k42fs.errors import NotPermittedError
from k42fs.ids import VP, Ref
from k42fs.objects.xhandle import HandleList, Rights, XHandleTable
from k42fs.personality.nodes import Node
from k42fs.servers.credentials import Creds
from k42fs.servers.fs_file import NO_REF

if TYPE_CHECKING:
    from k42fs.objects.cosmgr import COSMgr

T = TypeVar("T")

CLOSED_MAX: Final = 256
"""Closed handles that may wait for the next request: looking at `.k42` alone is to change no figure."""

DIRECTORY_RIGHTS: Final = Rights.GLOBAL_HANDLE | Rights.LOOKUP | Rights.READ
CONTROL_RIGHTS: Final = Rights.GLOBAL_HANDLE | Rights.READ | Rights.WRITE
FILE_RIGHTS: Final = (
    (Rights.GLOBAL_HANDLE, Rights.GLOBAL_HANDLE | Rights.WRITE),
    (Rights.GLOBAL_HANDLE | Rights.READ, CONTROL_RIGHTS),
)
"""By whether a file was opened for reading, and for writing."""


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

    def __init__(self, cos: COSMgr) -> None:
        self.table = XHandleTable(cos)
        self._by_tree: dict[Ref, HandleList] = {}

    def add(self, vp: VP, creds: Creds, node: Node | None, opened: object) -> Handle[object]:
        """Enter a new open; return its handle, whose `number` goes to the kernel."""
        tree = NO_REF if node is None else node.tree
        handle = Handle(0, vp, creds, tree, node, opened)
        exported = self._by_tree.get(tree)
        if exported is None:
            exported = self._by_tree[tree] = HandleList(f"server {tree}")
        handle.number = self.table.publish(
            self.table.reserve(),
            getattr(opened, "ref", tree),
            exported,
            creds.pid,
            Rights.NONE,
            user_rights=CONTROL_RIGHTS if node is None else _rights(opened),
            client_data=handle,
        )
        return handle

    def use(self, number: int, needed: int = 0) -> Handle[Any]:
        """Return the handle of *number*, which must have the rights *needed*, as a plain number.

        Raises: BadHandleError: it is not open. NotPermittedError: it was not opened for that.
        """
        entry = self.table.find(number)
        if needed & ~entry.user_rights:
            raise NotPermittedError(
                f"handle {number:#x}: needs {Rights(needed)!r}, has {Rights(entry.user_rights)!r}"
            )
        handle: Handle[Any] = entry.client_data
        return handle

    def remove(self, number: int) -> None:
        """Close *number*."""
        entry = self.table.find(number)
        self.table.free(entry)
        exported = entry.exported
        if exported is not None and not exported.entries:
            del self._by_tree[entry.client_data.tree]

    def __len__(self) -> int:
        return len(self.table)

    @property
    def has_many_closed(self) -> bool:
        """Whether the clean-up daemons should run only so that closed handles can be used again."""
        return self.table.removed > CLOSED_MAX

    def count_for_tree(self, tree: int) -> int:
        """Return how many handles are open on files of the server *tree*."""
        return len(self._by_tree.get(Ref(tree), ()))


def _rights(opened: object) -> Rights:
    """Return what the descriptor was opened for."""
    is_readable, is_writable = getattr(opened, "is_readable", None), getattr(opened, "is_writable", None)
    if is_readable is None or is_writable is None:
        return DIRECTORY_RIGHTS
    return FILE_RIGHTS[is_readable][is_writable]
