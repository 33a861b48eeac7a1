"""Open handles: the numbers the kernel gives back, and what was opened under each.

Each is a cross-domain handle (objects/xhandle.py): its number is the XHandle, its client the process that opened it,
its client data the `Handle` here. The kernel alone presents numbers, on behalf of whoever has the descriptor by then,
and does not say who that is; so each request is checked for the rights that the descriptor was opened with (`use`).

The kernel also gives back the handles of processes that die, one by one, as soon as no child that inherited the
descriptor has it either, which nobody else can know; one that it gives back late, or twice, has a sequence number that
is over. So the death of a client closes nothing: who looks after the table from time to time (`disown_dead`) takes
what it opened off its list, which is then the kernel's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from time import CLOCK_BOOTTIME, clock_gettime_ns
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from k42fs.ids import VP, Ref
from k42fs.objects.xhandle import HandleList, Rights, XHandleTable, XObject
from k42fs.personality.nodes import Node
from k42fs.servers.credentials import Creds
from k42fs.servers.fs_file import NO_REF

if TYPE_CHECKING:
    from k42fs.objects.cosmgr import COSMgr

T = TypeVar("T")

CLOSED_MAX: Final = 256
"""Closed handles that may wait for the next request: looking at `.k42` alone is to change no figure."""

CLIENTS_MAX: Final = 500
"""Clients that one look for the dead asks after at most: some 10 us each."""

DIRECTORY_RIGHTS: Final = (Rights.GLOBAL_HANDLE | Rights.LOOKUP | Rights.READ).value
CONTROL_RIGHTS: Final = (Rights.GLOBAL_HANDLE | Rights.READ | Rights.WRITE).value
FILE_RIGHTS: Final = (
    (Rights.GLOBAL_HANDLE.value, (Rights.GLOBAL_HANDLE | Rights.WRITE).value),
    ((Rights.GLOBAL_HANDLE | Rights.READ).value, CONTROL_RIGHTS),
)
"""By whether a file was opened for reading, and for writing."""


@dataclass(slots=True)
class Handle(Generic[T]):
    """One open of one node. `opened` is the server's own object for it (an OpenFile, a directory handle, a text).

    `since_ns` is when it was opened, since the host was started: what the starts of processes are compared with.
    """

    number: int
    vp: VP
    creds: Creds
    tree: Ref  # the server's, 0 for `.k42`
    node: Node | None
    opened: T
    since_ns: int


class HandleTable:
    """Numbers to handles. A number is never given twice, so a late request on a closed one is refused.

    `use(number, needed=0)` returns the handle of a number; see `XHandleTable.use`.
    """

    def __init__(self, cos: COSMgr) -> None:
        self.table = XHandleTable(cos)
        self.use: Callable[..., Handle[Any]] = self.table.use
        self._by_tree: dict[Ref, HandleList] = {}

    def add(self, vp: VP, creds: Creds, node: Node | None, opened: object) -> Handle[object]:
        """Enter a new open; return its handle, whose `number` goes to the kernel."""
        tree = NO_REF if node is None else node.tree
        handle = Handle(0, vp, creds, tree, node, opened, clock_gettime_ns(CLOCK_BOOTTIME))
        exported = self._by_tree.get(tree)
        if exported is None:
            exported = self._by_tree[tree] = {}
        rights = CONTROL_RIGHTS if node is None else _rights(opened)
        entry = self.table.give(getattr(opened, "ref", tree), exported, creds.pid, rights, handle)
        handle.number = entry.handle
        return handle

    def remove(self, number: int) -> None:
        """Close *number*."""
        entry = self.table.find(number)
        exported, tree = entry.exported, entry.client_data.tree
        self.table.free(entry)
        if not exported:
            del self._by_tree[tree]

    def __len__(self) -> int:
        return len(self.table)

    @property
    def has_many_closed(self) -> bool:
        """Whether the clean-up daemons should run only so that closed handles can be used again."""
        return self.table.removed > CLOSED_MAX

    def count_for_tree(self, tree: int) -> int:
        """Return how many handles are open on files of the server *tree*."""
        return len(self._by_tree.get(Ref(tree), ()))

    def entries(self, node: Node | None = None) -> Iterator[XObject]:
        """Yield the open handles of files and directories, or those of *node*, in the order opened for each server."""
        for tree, exported in self._by_tree.items():
            if tree != NO_REF:
                yield from (each for each in exported if node is None or each.client_data.node is node)

    def disown_dead(self, started_ns: Callable[[int], int | None]) -> int:
        """Ask after the clients; return how many handles were taken off the lists of those that are gone.

        *started_ns* tells when a process began, since the host was started; None if there is none. Who began after
        a handle was opened is another process with the same number.
        """
        count = 0
        clients = self.table.clients
        for pid in list(islice(clients, CLIENTS_MAX)):
            began = started_ns(pid)
            for entry in list(clients[pid]):
                if began is None or began > entry.client_data.since_ns:
                    self.table.disown(entry)
                    count += 1
            if pid in clients:
                clients[pid] = clients.pop(pid)  # the others have their turn first
        return count


def _rights(opened: object) -> int:
    """Return what the descriptor was opened for."""
    is_readable, is_writable = getattr(opened, "is_readable", None), getattr(opened, "is_writable", None)
    if is_readable is None or is_writable is None:
        return DIRECTORY_RIGHTS
    return FILE_RIGHTS[is_readable][is_writable]
