"""Deferred destruction: when the parts of a destroyed object may go, and who takes its ref back.

Nobody counts references to an object or locks its existence. The object's own protocol removes the
*permanent* refs (stored in tables, handles and other objects); the *temporary* ones, in running threads,
are waited out: what a thread might still use is freed only after every thread that was active when the
object was destroyed has left.

One `CleanupRep` per processor; `round` is one turn of its clean-up daemon, which is never active itself:

1. Advance the generations. Stamp what was destroyed here and only ever used here (`stage1_local`) with a
   marker.
2. Objects whose marker has elapsed: flush the local entry, free rep and root, queue the ref for the token.
3. Retry the reps made here whose object was not yet flushed everywhere (`vp_cleanup`).
4. With the *token*, of which there is one, handed round the ring of processors:
   a. at first sight: reissue the refs in `reclaim`, move the queued refs on, and stamp the objects used
      elsewhere (`stage1_remote`) with a marker, even if there are none: to pass the token is to promise
      that every thread active here when it came has left;
   b. once that marker has elapsed: visit each of those objects, and each one the predecessor hands on, as a
      `TransferRecord`. A visit flushes the local entry; the last processor of the object's set starts its
      clean-up, the others remember to clean the reps they made;
   c. hand the token on.

```text
ref:  destroyed -> waiting (object freed) -> [token] reclaim -> [token, a full round later] free for reissue
```

So a ref is reissued at least one full round after its object was freed, and a thread anywhere that still
holds the number gets "deleted", never a stranger. An object used on one processor only waits for no token,
its ref does.

Shape: lists of roots, each root in one list of one processor at a time. Work per round is bounded by
`COSMgr.batch` roots; the rest stays for the next round. The token is never handed on with work left over.
Locks: K42 holds stage1Lock and the rep lock; each list here changes in one step between two awaits, so both
are charged as one atomic access and never waited for. A second daemon turn on a processor finds `busy` set
and leaves.

K42: lib/libc/cobj/COSMgrObject.C (destroyCO, checkCleanup, checkCleanupObj, processToken).
Differs: K42 puts the ref of an object used on several processors on the reclaim list as soon as the token
sees it, so that the ref may come back less than a round after the free; here it joins `waiting` like all
others. K42 frees without bound in one turn.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from k42fs.ids import VP, Addr, Ref
from k42fs.machine.layout import Kind, Layout
from k42fs.objects.generations import Generations, GlobalGeneration, VPMarker
from k42fs.objects.translation import MissHandler, owner_of

if TYPE_CHECKING:
    from k42fs.machine.thread import Thread
    from k42fs.objects.cosmgr import COSMgr

# What the next processor of the ring reads and writes lies apart from what only this one uses.
COS_REP: Final = Layout(
    "COSMgrRep",
    Kind.GLOBAL_PADDED,
    rep_lock=16,
    delete_sets=16,
    vp_cleanup=16,
    waiting=32,
    reclaim=16,
    remote_set=16,
    free_refs=16,
    pad0=64,
    gen_count=8,
    active=24,
    pad1=96,
    stage1_lock=16,
    stage1=32,
    destroys=8,
    pad2=72,
    token=8,
    transfer=24,
    pad3=96,
)
ROUND: Final = COS_REP.script(
    "checkCleanup", "x:rep_lock w:gen_count r:stage1 r:delete_sets r:token", work=120
)
STAGE1: Final = COS_REP.script("destroyCO", "x:stage1_lock w:stage1 w:destroys", work=80)
FLUSH: Final = COS_REP.script("cleanup", "w:delete_sets w:waiting w2:0", work=60)
VISIT: Final = COS_REP.script("checkCleanupObj", "w:transfer w2:0", work=60)
RECLAIM: Final = COS_REP.script("reclaimRef", "w:reclaim w:free_refs w2:0", work=50)
TOKEN_SEEN: Final = COS_REP.script(
    "tokenSeen", "r:token w:waiting w:reclaim w:transfer w:stage1 w:remote_set", work=80
)
TOKEN_READ: Final = COS_REP.script("tokenRead", "w:transfer r2:0", work=40)
TOKEN_PASS: Final = COS_REP.script("tokenPass", "w:token w2:0", work=40)

START_CLEANUP: Final = 0
VP_CLEANUP: Final = 1
"""K42's clean-up commands, as they are traced."""


class TransferRecord:
    """A destroyed object, or only its ref, on its way round the ring.

    `trans_set` holds the processors that have yet to flush their entry; `root` is None when only the ref
    travels; `claimed` says that the ref's owner has it.
    """

    __slots__ = ("claimed", "cleanup_set", "ref", "root", "trans_set")

    def __init__(self, ref: Ref, root: MissHandler | None) -> None:
        self.ref = ref
        self.root = root
        self.trans_set = root.trans_set if root else 0
        self.cleanup_set = root.cleanup_set if root else 0
        self.claimed = False

    @property
    def is_finished(self) -> bool:
        return self.claimed and not self.trans_set


class Token:
    """The one token, and what is known of its journey. `carrier` is the rep that handed it on last."""

    __slots__ = (
        "carrier",
        "generation",
        "passes",
        "rounds",
        "turns_since_pass",
        "turns_since_pass_max",
        "vp",
        "waits",
    )

    def __init__(self, vp_limit: int) -> None:
        self.vp: VP | None = None  # nobody has joined yet
        self.carrier: CleanupRep | None = None
        self.generation = GlobalGeneration(vp_limit)
        self.rounds = 0
        self.passes = 0
        self.waits = 0  # daemon turns in which active threads kept the holder from passing it
        self.turns_since_pass = 0  # daemon turns anywhere
        self.turns_since_pass_max = 0

    def hand_on(self, carrier: CleanupRep, successor: VP) -> None:
        self.carrier = carrier
        self.vp = successor
        self.passes += 1
        self.turns_since_pass = 0


class CleanupRep:
    """One processor's part of the object manager: its threads' generations and its share of the dead."""

    def __init__(self, cos: COSMgr, generations: Generations) -> None:
        self.cos = cos
        self.vp = vp = generations.vp
        self.addr: Addr = cos.memory.alloc(vp, COS_REP, COS_REP.kind, owner=self)
        self.generations = generations
        self.busy = False
        self.destroys = 0  # since the last round
        self.left = 0  # of the batch, in the round under way
        self.cut_short = False  # the last round left work over that was ready
        self.stage1_local: list[MissHandler] = []
        self.stage1_remote: list[MissHandler] = []
        self.delete_sets: deque[tuple[VPMarker, list[MissHandler]]] = deque()
        self.vp_cleanup: list[MissHandler] = []
        self.waiting: list[Ref] = []  # objects gone; the token will take the refs on
        self.reclaim: list[Ref] = []  # one round later they are free
        self.transfer: list[TransferRecord] = []  # read by the next processor of the ring
        self.incoming: deque[TransferRecord] = deque()  # taken up with the token, not yet visited
        self.due: list[Ref] = []  # reclaimed a round ago: free as soon as the batch allows
        self.token_marker: VPMarker | None = None  # set while it holds the token

    def label(self) -> str:
        return f"COSMgr rep {self.vp}"

    def stage(self, root: MissHandler) -> None:
        """Take in an object whose entry says "destroying". Its trans_set can no longer grow."""
        is_local = not root.trans_set & ~(1 << self.vp)
        (self.stage1_local if is_local else self.stage1_remote).append(root)
        self.destroys += 1

    async def round(self, th: Thread) -> None:
        """One turn of the clean-up daemon. Frees at most `cos.batch` objects and as many refs."""
        await th.touch(ROUND, self.addr)
        self.destroys = 0
        self.cut_short = False
        self.left = self.cos.batch
        self.generations.update()
        if self.stage1_local:
            self._stamp_local()
        while self.delete_sets and self.generations.elapsed(self.delete_sets[0][0]):
            if not await self._free_locals(th, self.delete_sets[0][1]):
                break
            self.delete_sets.popleft()
        if self.vp_cleanup:
            await self._retry_vp_cleanup(th)
        if self.cos.token.vp == self.vp:
            await self._hold_token(th)

    def _take_turn(self) -> bool:
        """Take one from the batch, or note that the round is cut short."""
        if not self.left:
            self.cut_short = True
            return False
        self.left -= 1
        return True

    def _stamp_local(self) -> None:
        marker, roots = self.generations.marker(), self.stage1_local
        self.stage1_local = []
        if self.delete_sets and self.delete_sets[-1][0] == marker:
            self.delete_sets[-1][1].extend(roots)
        else:
            self.delete_sets.append((marker, roots))
        self.generations.update()  # on a processor with no active thread the marker elapses at once

    async def _free_locals(self, th: Thread, roots: list[MissHandler]) -> bool:
        """Free the objects of an elapsed set; say whether the batch sufficed."""
        while roots:
            if not self._take_turn():
                return False
            root = roots.pop()
            ref = root.ref
            await th.touch(FLUSH, self.addr, th.proc.ltt_base + 16 * ref)
            th.proc.ltt.pop(ref, None)
            if th.proc.on.clust_obj:
                th.proc.emit.clust_obj_mh_clean(ref, START_CLEANUP, th.vp)
            await root.start_cleanup(th)
            self.waiting.append(ref)
        return True

    async def _retry_vp_cleanup(self, th: Thread) -> None:
        roots, self.vp_cleanup = self.vp_cleanup, []
        for root in roots:
            if th.proc.on.clust_obj:
                th.proc.emit.clust_obj_mh_clean(root.ref, VP_CLEANUP, th.vp)
            if not await root.vp_cleanup(th):
                self.vp_cleanup.append(root)

    async def _hold_token(self, th: Thread) -> None:
        token = self.cos.token
        if self.token_marker is None:
            await self._see_token(th)
        assert self.token_marker is not None
        self.left = self.cos.batch
        if self.due and not await self._free_due_refs(th):
            return
        if not self.generations.elapsed(self.token_marker):
            token.waits += 1
            return
        while self.incoming:
            if not self._take_turn():
                return
            await self._visit(th, self.incoming.popleft())
        successor = self.cos.successor(self.vp)
        await th.touch(TOKEN_PASS, self.addr, Addr(successor.addr + COS_REP.offset("token")))
        self.token_marker = None
        token.hand_on(self, successor.vp)

    async def _see_token(self, th: Thread) -> None:
        """Step 4a, plus taking over what the predecessor carries."""
        token = self.cos.token
        await th.touch(TOKEN_SEEN, self.addr)
        carrier = token.carrier
        if carrier is not None and carrier.transfer:
            await th.touch(TOKEN_READ, self.addr, Addr(carrier.addr + COS_REP.offset("transfer")))
            self.incoming.extend(carrier.transfer)
            carrier.transfer = []
        if self.vp == self.cos.ring[0]:
            token.generation.bump()
            if th.proc.on.clust_obj:
                th.proc.emit.clust_obj_global_cnt(th.number, token.generation.count)
            token.rounds += 1
        self.due, self.reclaim = self.reclaim, self.due
        for ref in self.waiting:
            if owner_of(ref) == self.vp:
                self.reclaim.append(ref)
            else:
                self.transfer.append(TransferRecord(ref, None))
        self.waiting = []
        self.incoming.extend(TransferRecord(root.ref, root) for root in self.stage1_remote)
        self.stage1_remote = []
        self.token_marker = self.generations.marker()
        self.generations.update()

    async def _free_due_refs(self, th: Thread) -> bool:
        """Reissue refs whose objects went a full round ago; say whether the batch sufficed."""
        table, due = self.cos.table, self.due
        while due:
            if not self._take_turn():
                return False
            await th.touch(RECLAIM, self.addr, table.entry_addr(due[-1]))
            table.release(due.pop())
        return True

    async def _visit(self, th: Thread, record: TransferRecord) -> None:
        """Step 4b on one record. Every thread that was active here when the token came has left."""
        vp, root = self.vp, record.root
        if record.trans_set >> vp & 1:
            assert root is not None
            await th.touch(VISIT, self.addr, th.proc.ltt_base + 16 * record.ref)
            th.proc.ltt.pop(record.ref, None)
            record.trans_set ^= 1 << vp
            if not record.trans_set:
                if th.proc.on.clust_obj:
                    th.proc.emit.clust_obj_mh_clean(record.ref, START_CLEANUP, th.vp)
                await root.start_cleanup(th)
            elif record.cleanup_set >> vp & 1:
                self.vp_cleanup.append(root)
        if owner_of(record.ref) == vp and not record.claimed:
            record.claimed = True
            # A lone ref's object is gone already; any other may still be in use further round the ring.
            (self.waiting if root else self.reclaim).append(record.ref)
        if not record.is_finished:
            self.transfer.append(record)
