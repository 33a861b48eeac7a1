"""What an object's calls cost more because it can be swapped, while nobody swaps it.

Objects of the same class on one machine: one can be swapped, one has been, there and back; the root of the third says
that there is no form of its state. Their calls take turns in short batches, and each round gives one ratio of times;
the middle one of many does not tell of other load on the host. (Were the classes of their reps two, the interpreter
would favour the one that it had met first.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import median
from time import perf_counter_ns
from typing import Final

from bench.swap_rows import PRESET, Row
from k42fs.errors import NotSwappableError
from k42fs.ids import VP, Ref
from k42fs.machine.config import preset
from k42fs.machine.driver import Machine
from k42fs.machine.thread import Thread
from k42fs.objects.cosmgr import COSMgr
from k42fs.objects.counter import ReplicatedCounterRoot, SharedCounter
from k42fs.objects.root import SingleRepRoot
from k42fs.objects.transfer import NOTHING, TransferTypes

BATCH: Final = 300
"""Calls in a batch: some 200 us, which another process seldom falls into."""

OWN: Final = VP(0)
ROUNDS: Final = 2000
QUICK_ROUNDS: Final = 200


class FixedShared(SingleRepRoot):
    """The root of a shared counter that cannot be swapped."""

    @property
    def exports(self) -> TransferTypes:
        return NOTHING


class FixedReplicated(ReplicatedCounterRoot):
    """The root of a replicated counter that cannot be swapped."""

    @property
    def exports(self) -> TransferTypes:
        return NOTHING


def rows(*, quick: bool) -> Iterator[Row]:
    """Yield the rows."""
    cos = COSMgr(Machine(preset(PRESET, processors=2), live=True))
    shared = [_shared(cos, root) for root in (FixedShared, SingleRepRoot, SingleRepRoot)]
    yield from _compared(cos, "one rep", shared, ("replicated", "shared"), quick=quick)
    roots = (FixedReplicated, ReplicatedCounterRoot, ReplicatedCounterRoot)
    yield from _compared(
        cos, "a rep each", [root(cos, 0, 1).ref for root in roots], ("shared", "replicated"), quick=quick
    )


def _compared(
    cos: COSMgr, kind: str, refs: Sequence[Ref], implementations: Sequence[str], *, quick: bool
) -> Iterator[Row]:
    """Compare an object that cannot be swapped with one that can, and one that is, by *implementations* in turn."""
    fixed, fresh, used = refs
    for implementation in implementations:
        assert _is_swapped(cos, used, implementation)
        assert not _is_swapped(cos, fixed, implementation)
    for ref in refs:  # lines that two processors had take the model longer to look up
        _batch(cos, ref, BATCH, VP(1))
    for what, ref in (("can be", fresh), ("was", used)):
        title = f"call of a counter of {kind}: it cannot be swapped, it {what}"
        cycles = [_cycles(cos, each) for each in (fixed, ref)]
        yield Row(
            title, cycles[0], cycles[1], "cycles", cycles[1] / cycles[0], "0.995 to 1.005", 0.995, 1.005
        )
        ns, ratio = _times(cos, (fixed, ref), QUICK_ROUNDS if quick else ROUNDS)
        high = 1.03 if quick else 1.01
        row = Row(f"{title}; on this host", ns[0], ns[1], "ns", ratio)
        yield replace(row, aim=f"<= {high}", high=high) if ref is fresh else row


def _shared(cos: COSMgr, root: type[SingleRepRoot]) -> Ref:
    return root(cos, SharedCounter(cos, VP(0), 0)).ref


def _is_swapped(cos: COSMgr, ref: Ref, implementation: str) -> bool:
    th = cos.machine.enter(VP(1))
    try:
        return cos.machine.drive(cos.swap_to(th, ref, implementation)).is_done
    except NotSwappableError:
        return False
    finally:
        cos.machine.leave(th)


def _batch(cos: COSMgr, ref: Ref, calls: int, vp: VP = OWN) -> tuple[int, int]:
    """Make *calls* calls on one processor; return how many ns and cycles they took."""
    th = cos.machine.enter(vp)
    cos.activate(th)
    start, began = th.proc.clock, perf_counter_ns()
    cos.machine.drive(_calls(th, ref, calls))
    ns, cycles = perf_counter_ns() - began, th.proc.clock - start
    cos.deactivate(th)
    cos.machine.leave(th)
    return ns, cycles


async def _calls(th: Thread, ref: Ref, calls: int) -> None:
    for _ in range(calls):
        await th.deref(ref).increment(th)


def _cycles(cos: COSMgr, ref: Ref) -> float:
    _batch(cos, ref, BATCH)
    return _batch(cos, ref, BATCH)[1] / BATCH


def _times(cos: COSMgr, refs: tuple[Ref, Ref], rounds: int) -> tuple[list[float], float]:
    """Return the ns of a call of each, at best, and the middle one of the ratios of all rounds."""
    best = [float("inf")] * 2
    ratios = []
    for turn in range(rounds):
        order = (0, 1) if turn % 2 else (1, 0)  # who comes second finds the host as the first one left it
        ns = dict.fromkeys(order, 0.0)
        for which in order:
            ns[which] = _batch(cos, refs[which], BATCH)[0] / BATCH
            best[which] = min(best[which], ns[which])
        ratios.append(ns[1] / ns[0])
    return best, median(ratios)
