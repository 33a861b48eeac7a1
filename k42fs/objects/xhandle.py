"""Cross-domain handles: how clients in other address spaces name an object, and what they may do with it.

An *XHandle* is an entry's index and a sequence number: a plain name, that anybody may make up. Authority is checked at
the server, by the caller's process, which the kernel vouches for. An entry has the object's ref, the process that it
was given to, what that process may do (`match_rights`) and what anybody may (`user_rights`), and data of the client's.

Each entry is on two lists: the object's *exported list* and the client's *matched list*. Closing the first takes all
clients' handles to an object away, closing the second is what happens when a client dies. A list that is closed
takes no more entries; who comes second to close it is told so. When the last handle to an object goes, its exported
list says so (`when_empty`), so that files can close lazily.

```text
free -> given (fields filled, linked, valid last) -> freed: invalid, sequence bumped, unlinked -> removed
     -> old, stamped with the global marker -> marker elapsed: client data freed, once -> free
```

A freed entry comes back only when every thread that was active then has left: a call that found it valid may go
on using it, and popping the free list needs no lock, for what was popped cannot come back under the popper.

Shape: the table grows by 64 entries, up to 2^23. Freed entries are collected every 32 frees, or by `collect`.
Locks: each list changes in one step between two awaits, so K42's locks, the exported list's before the matched
list's, are charged as atomic accesses and never waited for.

K42: lib/libc/cobj/XHandleTrans.C, XBaseObj.H, XObjectList.C; rights: Obj.H.
Differs: K42 compares sequence numbers of 8 bits everywhere but never bumps one; ours have 24, and are bumped when an
entry is freed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from enum import IntFlag
from typing import TYPE_CHECKING, Any, Final, NewType

from k42fs.errors import BadHandleError, BusyError, NoSpaceError, NotPermittedError
from k42fs.ids import VP, Addr, Ref
from k42fs.machine.layout import Kind, Layout
from k42fs.objects.generations import GlobalMarker

if TYPE_CHECKING:
    from k42fs.machine.thread import Thread
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

ENTRY: Final = Layout(
    "XObject", Kind.GLOBAL_PADDED,
    vtable=8, iobj=8, nummeth=2, sequence=4, pid=8, rights=8, process_links=8, object_links=8, client_data=8,
)  # fmt: skip
TABLE: Final = Layout(
    "XHandleTrans", Kind.GLOBAL_PADDED, vtable=8, limit=8, free_list=8, pad=104, removed=16, old=16
)
FIND: Final = ENTRY.script("find", "r:nummeth r:sequence r:vtable r:pid r:rights r:iobj", work=50)
POP: Final = TABLE.script("alloc", "r:limit x:free_list", work=60)
FILL: Final = ENTRY.script("fill", "w:iobj w:pid w:rights w:process_links w:object_links w:vtable", work=120)
PUBLISH: Final = ENTRY.script("publish", "w:nummeth", work=20)
FREE: Final = ENTRY.script("free", "w:nummeth w:sequence w:process_links w:object_links", work=80)


class Rights(IntFlag):
    """What a client may do. The numbers are K42's; each class of objects adds its own from USER on."""

    NONE = 0
    GLOBAL_HANDLE = 1
    PROCESS_ONLY = 2
    CONTROL_ACCESS = 4
    ATTACH = 8
    LOOKUP = 16
    READ = 32
    WRITE = 64
    USER = 128


_PROCESS_ONLY: Final = int(Rights.PROCESS_ONLY)


class HandleList:
    """The handles to one object, or those of one client. Closed, it takes no more."""

    __slots__ = ("entries", "is_closed", "name", "when_empty")

    def __init__(self, name: str, when_empty: Callable[[], object] | None = None) -> None:
        self.name = name
        self.when_empty = when_empty
        self.entries: dict[XObject, None] = {}
        self.is_closed = False

    def __len__(self) -> int:
        return len(self.entries)


class XObject:
    """One entry. `is_valid` is the validity flag (K42: nummeth), set last and cleared first.

    Rights are plain numbers here: each operation on flags takes as long as a request's whole look-up.
    """

    __slots__ = (
        "addr", "client_data", "exported", "index", "is_valid", "match_rights", "matched", "pid", "ref", "sequence",
        "user_rights", "when_freed",
    )  # fmt: skip

    def __init__(self, index: int, addr: Addr) -> None:
        self.index = index
        self.addr = addr
        self.sequence = 1  # so that no handle is 0
        self.is_valid = False
        self.ref = Ref(0)
        self.pid = KERNEL_PID
        self.match_rights = self.user_rights = 0
        self.exported: HandleList | None = None
        self.matched: HandleList | None = None
        self.client_data: Any = None
        self.when_freed: Callable[[Any], object] | None = None

    @property
    def handle(self) -> XHandle:
        return XHandle(self.index << SEQUENCE_BITS | self.sequence)


class XHandleTable:
    """The handles that one server has given out."""

    def __init__(self, cos: COSMgr, vp: VP = VP(0), entries_max: int = ENTRIES_MAX) -> None:  # noqa: B008
        self.cos = cos
        self.addr: Addr = cos.memory.alloc(vp, TABLE, TABLE.kind, owner=self)
        self.entries_max = entries_max
        self.entries: list[XObject] = []  # its length is the limit
        self.clients: dict[int, HandleList] = {}
        self._vp = vp
        self._free: list[XObject] = []
        self._removed: list[XObject] = []
        self._old: deque[tuple[GlobalMarker, list[XObject]]] = deque()
        self._valid = self._frees = 0

    def label(self) -> str:
        """Name it in statistics and traces."""
        return "XHandleTrans"

    def __len__(self) -> int:
        """Return the number of valid handles."""
        return self._valid

    @property
    def removed(self) -> int:
        """Freed entries that wait for threads to leave."""
        return len(self._removed) + sum(len(entries) for _, entries in self._old)

    # Giving and taking access

    def reserve(self) -> XObject:
        """Take a free entry, which is not valid yet. Raises NoSpaceError: there are `entries_max` handles."""
        if not self._free:
            self.collect()
        if not self._free:
            self._grow()
        return self._free.pop()

    def publish(
        self,
        entry: XObject,
        ref: Ref,
        exported: HandleList | None,
        pid: int,
        rights: Rights,
        user_rights: Rights = Rights.NONE,
        client_data: object = None,
        when_freed: Callable[[Any], object] | None = None,
    ) -> XHandle:
        """Fill *entry* in, link it, and make it valid.

        *when_freed* is called with *client_data*, once, when no thread can be using it any more.

        Raises: BusyError: the object is closing, or the client. The entry goes the way of freed ones.
        """
        matched = self.clients.get(pid)
        for each in (exported, matched):
            if each is not None and each.is_closed:
                self._removed.append(entry)
                raise BusyError(f"{each.name} is closing: no handle is given any more")
        if matched is None and pid != KERNEL_PID:
            matched = self.clients[pid] = HandleList(f"process {pid}")
        entry.ref, entry.pid = ref, pid
        entry.match_rights, entry.user_rights = int(rights) | _PROCESS_ONLY, int(user_rights)
        entry.client_data, entry.when_freed = client_data, when_freed
        entry.exported, entry.matched = exported, matched
        for each in (exported, matched):
            if each is not None:
                each.entries[entry] = None
        entry.is_valid = True
        self._valid += 1
        return entry.handle

    async def give_access(
        self,
        th: Thread,
        ref: Ref,
        exported: HandleList | None,
        pid: int,
        rights: Rights,
        user_rights: Rights = Rights.NONE,
        client_data: object = None,
        when_freed: Callable[[Any], object] | None = None,
    ) -> XHandle:
        """Give process *pid* a handle to *ref*, on the server's own authority. See `publish`."""
        await th.touch(POP, self.addr)
        entry = self.reserve()
        await th.touch(FILL, entry.addr)
        await th.touch(PUBLISH, entry.addr)
        return self.publish(entry, ref, exported, pid, rights, user_rights, client_data, when_freed)

    async def grant(self, th: Thread, handle: XHandle, caller: int, pid: int, rights: Rights) -> XHandle:
        """Give process *pid* a handle to what *handle* names, on *caller*'s authority.

        Raises: BadHandleError. NotPermittedError: the caller may not give access, or not as much as that.
        """
        entry = await self.found(th, handle, caller, Rights.CONTROL_ACCESS)
        own = Rights(self._rights(entry, caller))
        if rights & ~own:
            raise NotPermittedError(
                f"handle {handle:#x}: {rights & ~own!r} cannot be granted, the caller has {own!r}"
            )
        return await self.give_access(th, entry.ref, entry.exported, pid, rights)

    async def release(self, th: Thread, handle: XHandle, caller: int) -> None:
        """Give *handle* back. Raises BadHandleError, NotPermittedError: it is another process's."""
        entry = await self.found(th, handle, caller, Rights.NONE)
        if caller not in (entry.pid, KERNEL_PID):
            raise NotPermittedError(f"handle {handle:#x} was given to process {entry.pid}")
        await th.touch(FREE, entry.addr)
        self.free(entry)

    def free(self, entry: XObject) -> bool:
        """Take *entry*'s handle away; say whether it was valid still."""
        if not entry.is_valid:
            return False
        entry.is_valid = False
        self._valid -= 1
        entry.sequence = entry.sequence % SEQUENCE_MASK + 1
        emptied = []
        for each in (entry.exported, entry.matched):
            if each is not None:
                del each.entries[entry]
                if not each.entries:
                    emptied.append(each)
        self._removed.append(entry)
        if entry.matched in emptied:
            self.clients.pop(entry.pid, None)
        for each in emptied:
            if each.when_empty is not None and not each.is_closed:
                each.when_empty()
        self._frees += 1
        if self._frees % FREES_PER_COLLECTION == 0:
            self.collect()
        return True

    def close(self, handles: HandleList) -> bool:
        """Take all handles of a list away, and let it take no more; False if somebody has done so already."""
        if handles.is_closed:
            return False
        handles.is_closed = True
        while handles.entries:
            self.free(next(iter(handles.entries)))
        return True

    def client_died(self, pid: int) -> int:
        """Take all handles of process *pid* away; return how many there were."""
        handles = self.clients.get(pid)
        if handles is None:
            return 0
        count = len(handles)
        self.close(handles)
        return count

    # Using handles

    def find(self, handle: int) -> XObject:
        """Return the entry of a handle. Raises BadHandleError: it names nothing, or not any more."""
        index = handle >> SEQUENCE_BITS
        if 0 <= index < len(self.entries):
            entry = self.entries[index]
            if entry.is_valid and entry.sequence == handle & SEQUENCE_MASK:
                return entry
        raise BadHandleError(f"handle {handle:#x} names nothing")

    async def found(self, th: Thread, handle: XHandle, caller: int, needed: Rights) -> XObject:
        """Return the entry of a handle that process *caller* may use so.

        Raises: BadHandleError, NotPermittedError.
        """
        index = handle >> SEQUENCE_BITS
        if 0 <= index < len(self.entries):
            await th.touch(FIND, self.entries[index].addr)
        entry = self.find(handle)
        rights = Rights(self._rights(entry, caller))
        if needed & ~rights:
            raise NotPermittedError(f"handle {handle:#x}: needs {needed!r}, process {caller} has {rights!r}")
        return entry

    async def call(
        self,
        th: Thread,
        handle: XHandle,
        caller: int,
        needed: Rights,
        method: str,
        *args: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """Call *method* of what *handle* names for process *caller*. *th* is active before it looks.

        Raises: BadHandleError, NotPermittedError, DeletedObjectError, and what the method raises.
        """
        entry = await self.found(th, handle, caller, needed)
        answer: Awaitable[Any] = getattr(th.deref(entry.ref), method)(th, *args)
        return await answer

    # Collection

    def collect(self) -> int:
        """Free the data of entries that no thread can be using any more; return how many are free again."""
        if self._removed:
            self._old.append((self.cos.global_marker(), self._removed))
            self._removed = []
        done = 0
        while self._old and self.cos.global_elapsed(self._old[0][0]):
            for entry in self._old.popleft()[1]:
                when_freed, data = entry.when_freed, entry.client_data
                entry.when_freed = entry.client_data = entry.exported = entry.matched = None
                self._free.append(entry)
                done += 1
                if when_freed is not None:
                    when_freed(data)
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

    def _rights(self, entry: XObject, caller: int) -> int:
        return entry.match_rights | entry.user_rights if caller == entry.pid else entry.user_rights

    def _grow(self) -> None:
        first = len(self.entries)
        count = min(GROWTH, self.entries_max - first)
        if not count:
            raise NoSpaceError(f"{first} handles are in use, or wait for threads to leave")
        memory = self.cos.memory
        new = [
            XObject(first + n, memory.alloc(self._vp, ENTRY, ENTRY.kind, owner=self)) for n in range(count)
        ]
        self.entries += (
            new  # the limit first: an entry is in the free list only when handles to it can be found
        )
        self._free += reversed(new)
