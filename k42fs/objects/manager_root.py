"""The object manager itself as a clustered object, under ref 1.

K42: lib/libc/cobj/COSMgrObject.C (its own miss handling, lock-free as it must work before everything else).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from k42fs.ids import VP
from k42fs.machine.layout import Kind, Layout
from k42fs.objects.root import CObjRoot
from k42fs.objects.translation import ENTRY_BYTES, WellKnown

if TYPE_CHECKING:
    from k42fs.machine.thread import Thread
    from k42fs.objects.cosmgr import COSMgr
    from k42fs.objects.destruction import CleanupRep

MANAGER: Final = Layout("COSMgrRoot", Kind.GLOBAL_PADDED, vtable=8, ref=8, reps=8, trans_set=8, gen_count=8)
MANAGER_MISS: Final = MANAGER.script("handle_miss", "r:vtable r:reps w2:0", work=30)


class COSMgrRoot(CObjRoot):
    """The manager as a clustered object, under ref 1: a processor gets its rep when it joins."""

    def __init__(self, cos: COSMgr) -> None:
        # Not by way of `publish`: the manager is nobody's object, and no processor joins because of it.
        self.cos = cos
        self.trans_set = 0
        self.addr = cos.memory.alloc(VP(0), MANAGER, MANAGER.kind, owner=self)
        self.ref = cos.table.install(WellKnown.COS_MGR, self)

    async def handle_miss(self, th: Thread) -> CleanupRep:
        await th.touch(MANAGER_MISS, self.addr, th.proc.ltt_base + ENTRY_BYTES * self.ref)
        self.cos.generations(th.vp)  # joins
        self.trans_set |= 1 << th.vp
        rep = th.proc.ltt[self.ref] = self.cos.reps[th.vp]
        return rep
