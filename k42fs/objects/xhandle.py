"""Cross-domain handles: how clients in other address spaces name an object, and what may be done by that name.

An *XHandle* is an entry's index and a sequence number: a plain name, that anybody may make up. An entry has the
object's ref, the process that it was given to, the rights that go with it, and data of the client's.

Each entry is on two lists: the object's *exported list* and the client's *matched list*, which ends when the last
entry leaves it, or when the client dies. What a client opened may have been inherited by others: then the entry stays
valid, and is the kernel's, which is on no list and will give it back when nobody has it any more.

```text
free -> given (fields filled, linked, valid last) -> freed: invalid, sequence bumped, unlinked -> removed
     -> old, stamped with the global marker -> marker elapsed: client data let go, once -> free
```

A freed entry comes back only when every thread that was active then has left: a call that found it valid may go
on using it, and popping the free list needs no lock, for what was popped cannot come back under the popper.

Shape: the table grows by 64 entries, up to 2^23. Freed entries are collected every 32 frees, or by `collect`.
Cost: none in the model, where a request begins when the server is called.
Locks: none. Each list changes in one step between two awaits, in which K42 takes the exported list's lock, then the
matched list's.

K42: lib/libc/cobj/XHandleTrans.C, XBaseObj.H, XObjectList.C; rights: Obj.H.
Differs: K42 compares sequence numbers of 8 bits everywhere but never bumps one; ours have 24, and are bumped when an
entry is freed. K42's servers check the caller's process too, and clients grant each other access by way of them; here
the kernel alone presents handles, for whoever has the descriptor, and passes descriptors on itself. A client that dies
takes all its handles with it in K42, where a child that inherited one has another one of its own.
"""

from __future__ import annotations

from collections import deque
from enum import IntFlag
from typing import TYPE_CHECKING, Any, Final, NewType

from k42fs.errors import BadHandleError, NoSpaceError, NotPermittedError
from k42fs.ids import Ref
from k42fs.objects.generations import GlobalMarker

if TYPE_CHECKING:
    from k42fs.objects.cosmgr import COSMgr

XHandle = NewType("XHandle", int)
"""index << 24 | sequence. 0 names nothing."""

SEQUENCE_BITS: Final = 24
SEQUENCE_MASK: Final = (1 << SEQUENCE_BITS) - 1
ENTRIES_MAX: Final = 0x800000
GROWTH: Final = 0x40
FREES_PER_COLLECTION: Final = 0x20
KERNEL_PID: Final = 0
"""The kernel as a client: on no matched list, which would be a hot spot."""


class Rights(IntFlag):
    """What may be done with a handle. The numbers are K42's."""

    GLOBAL_HANDLE = 1
    LOOKUP = 16
    READ = 32
    WRITE = 64


HandleList = dict["XObject", None]
"""The handles to one object, or those of one client, in the order in which they were given."""


class XObject:
    """One entry. `is_valid` is the validity flag (K42: nummeth), set last and cleared first.

    Rights are a plain number here: each operation on flags takes as long as a request's whole look-up.
    """

    __slots__ = ("client_data", "exported", "index", "is_valid", "pid", "ref", "rights", "sequence")

    def __init__(self, index: int) -> None:
        self.index = index
        self.sequence = 1  # so that no handle is 0
        self.is_valid = False
        self.ref = Ref(0)
        self.pid = KERNEL_PID
        self.rights = 0
        self.exported: HandleList = {}
        self.client_data: Any = None

    @property
    def handle(self) -> XHandle:
        return XHandle(self.index << SEQUENCE_BITS | self.sequence)


class XHandleTable:
    """The handles that one server has given out. `clients` has the list of each process that was given some."""

    def __init__(self, cos: COSMgr, entries_max: int = ENTRIES_MAX) -> None:
        self.cos = cos
        self.entries_max = entries_max
        self.entries: list[XObject] = []  # its length is the limit
        self.clients: dict[int, HandleList] = {}
        self._free: list[XObject] = []
        self._removed: list[XObject] = []
        self._old: deque[tuple[GlobalMarker, list[XObject]]] = deque()
        self._valid = self._frees = 0

    def __len__(self) -> int:
        """Return the number of valid handles."""
        return self._valid

    @property
    def removed(self) -> int:
        """Freed entries that wait for threads to leave."""
        return len(self._removed) + sum(len(entries) for _, entries in self._old)

    # Giving and taking

    def give(
        self, ref: Ref, exported: HandleList, pid: int, rights: int, client_data: object = None
    ) -> XObject:
        """Give process *pid* a handle to *ref*; return its entry. *client_data* is let go when no thread can use it.

        Raises: NoSpaceError: there are `entries_max` handles, or entries that threads may still use.
        """
        if not self._free:
            self.collect()
            if not self._free:
                self._grow()
        entry = self._free.pop()
        entry.ref, entry.pid, entry.rights = ref, pid, rights
        entry.client_data, entry.exported = client_data, exported
        exported[entry] = None
        if pid != KERNEL_PID:
            matched = self.clients.get(pid)
            if matched is None:
                matched = self.clients[pid] = {}
            matched[entry] = None
        entry.is_valid = True
        self._valid += 1
        return entry

    def free(self, entry: XObject) -> bool:
        """Take *entry*'s handle away; say whether it was valid still."""
        if not entry.is_valid:
            return False
        entry.is_valid = False
        self._valid -= 1
        entry.sequence = entry.sequence % SEQUENCE_MASK + 1
        del entry.exported[entry]
        self.disown(entry)
        self._removed.append(entry)
        self._frees += 1
        if self._frees % FREES_PER_COLLECTION == 0:
            self.collect()
        return True

    def disown(self, entry: XObject) -> None:
        """Take *entry* off its client's list, who has died or gives it back: it is the kernel's from now on."""
        pid, entry.pid = entry.pid, KERNEL_PID
        if pid != KERNEL_PID:
            matched = self.clients[pid]
            del matched[entry]
            if not matched:
                del self.clients[pid]

    # Using handles

    def find(self, handle: int) -> XObject:
        """Return the entry of a handle. Raises BadHandleError: it names nothing, or not any more."""
        index = handle >> SEQUENCE_BITS
        if 0 <= index < len(self.entries):
            entry = self.entries[index]
            if entry.is_valid and entry.sequence == handle & SEQUENCE_MASK:
                return entry
        raise BadHandleError(f"handle {handle:#x} names nothing")

    def use(self, handle: int, needed: int = 0) -> Any:  # noqa: ANN401
        """Return the client data of a handle, which must have the rights *needed*, as a plain number.

        Raises: BadHandleError. NotPermittedError: it was not given for that.
        """
        # `find`, in line: every request on an open file comes by here.
        index = handle >> SEQUENCE_BITS
        entries = self.entries
        if 0 <= index < len(entries):
            entry = entries[index]
            if entry.is_valid and entry.sequence == handle & SEQUENCE_MASK:
                if needed & ~entry.rights:
                    has, wanted = Rights(entry.rights), Rights(needed)
                    raise NotPermittedError(f"handle {handle:#x}: needs {wanted!r}, has {has!r}")
                return entry.client_data
        raise BadHandleError(f"handle {handle:#x} names nothing")

    # Collection

    def collect(self) -> int:
        """Let go the data of entries that no thread can be using any more; return how many are free again."""
        if self._removed:
            self._old.append((self.cos.global_marker(), self._removed))
            self._removed = []
        done = 0
        while self._old and self.cos.global_elapsed(self._old[0][0]):
            entries = self._old.popleft()[1]
            for entry in entries:
                entry.client_data, entry.exported = None, {}
            self._free += entries
            done += len(entries)
        return done

    def statistics(self) -> dict[str, int]:
        """Return counts, ready for JSON."""
        return {
            "handles": len(self),
            "clients": len(self.clients),
            "entries": len(self.entries),
            "removed": self.removed,
            "freed": self._frees,
        }

    def _grow(self) -> None:
        first = len(self.entries)
        count = min(GROWTH, self.entries_max - first)
        if not count:
            raise NoSpaceError(f"{first} handles are in use, or wait for threads to leave")
        new = [XObject(first + n) for n in range(count)]
        self.entries += new  # the limit first: a free entry is one that handles can be found of
        self._free += reversed(new)
