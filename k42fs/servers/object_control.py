"""Objects by hand: what one is made of, and another implementation for one of them or for all of a kind.

What a person does here a program could: each change is a swap (objects/swap.py), asked for by the object's ref. An
object that is served by the wanted implementation already is left alone.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from k42fs.errors import DeletedObjectError, InTransitionError, NotSwappableError, SwapAbortedError
from k42fs.objects.implementations import find, implementation_name, kind_of, kinds, label_of_rep, names
from k42fs.objects.traced_table import plain_rep
from k42fs.objects.translation import owner_of

if TYPE_CHECKING:
    from k42fs.ids import Ref
    from k42fs.machine.thread import Thread
    from k42fs.objects.cosmgr import COSMgr
    from k42fs.objects.swap import Swap
    from k42fs.objects.swap_record import SwapRecord

COLD: Final = "token"
"""What serves a file that has no object: its server, by a token."""

SHOWN_MAX: Final = 20
"""Swaps that are shown of one object."""


class ObjectControl:
    """The objects of one address space, looked at and changed from outside."""

    def __init__(self, cos: COSMgr) -> None:
        self._cos = cos

    def implementation(self, ref: Ref) -> str:
        """Return the name of the implementation that serves the object behind *ref*; `COLD` for ref 0."""
        if not ref:
            return COLD
        speaker = self._speaker(ref)
        return implementation_name(speaker) or type(speaker).__name__

    def about(self, ref: Ref) -> dict[str, Any]:
        """Return what there is to say about the object behind *ref*, ready for JSON."""
        if not ref:
            return {"object": None, "implementation": COLD, "ref": 0}
        speaker, kind = self._speaker(ref), kind_of(self._cos.root_at(ref))
        swap = next((swap for swap in self._cos.swaps.under_way if swap.ref == ref), None)
        past = [swap_row(record) for record in self._cos.swaps.recent if record.ref == ref]
        reps = self._reps(ref)
        return {
            "object": label_of_rep(speaker),
            "kind": kind or type(speaker).__name__,
            "implementation": self.implementation(ref),
            "implementations": names(kind),
            "ref": ref,
            "home_processor": owner_of(ref),
            "processors": sorted(vp for rep in reps for vp in rep["processors"]),
            "reps": reps,
            "phase": swap.state if swap is not None else "normal",
            "swaps": past[-SHOWN_MAX:],
        }

    async def swap(self, th: Thread, ref: Ref, name: str) -> Swap | None:
        """Begin to serve the object behind *ref* by the implementation *name*; None if that serves it already.

        Raises:
            UnknownImplementationError, NotSwappableError, InTransitionError, DeletedObjectError
        """
        root: Any = self._cos.root_at(ref)
        if root is None:
            raise DeletedObjectError(f"there is no object {ref}")
        kind = kind_of(root)
        if not kind:
            raise NotSwappableError(f"{root.label()} has no other implementations")
        find(kind, name)  # refuses one that is unknown
        is_in_transition = any(swap.ref == ref for swap in self._cos.swaps.under_way)
        if not is_in_transition and implementation_name(root) == name:
            return None
        return await self._cos.swap_to(th, ref, name)

    async def swap_all(
        self, th: Thread, kind: str, name: str, *, waits: bool = True
    ) -> tuple[int, list[str]]:
        """Serve all objects of *kind* that are there by *name*; how many were swapped, and why others were not.

        One after the other, so that callers never wait for more than one; unless *waits* is false: then all are
        begun at once.

        Raises:
            UnknownImplementationError: *kind* has no such implementation.
        """
        find(kind, name)
        refs = [root.ref for root in self._cos.objects() if kind_of(root) == kind]
        done, failures = 0, []
        for ref in refs:
            try:
                swap = await self.swap(th, ref, name)
                if swap is not None:
                    if waits:
                        await swap.wait(th)
                    done += 1
            except DeletedObjectError:
                continue
            except (InTransitionError, NotSwappableError, SwapAbortedError) as exc:
                failures.append(str(exc))
        return done, failures

    def record(self) -> dict[str, Any]:
        """Return which implementations there are, what was swapped lately, and the counts, ready for JSON."""
        swaps = self._cos.swaps
        return {
            "types": {kind: names(kind) for kind in kinds()},
            **swaps.statistics(),
            "recent": [swap_row(record) for record in swaps.recent],
        }

    def _speaker(self, ref: Ref) -> Any:  # noqa: ANN401
        root: Any = self._cos.root_at(ref)
        if root is None:
            raise DeletedObjectError(f"there is no object {ref}")
        return getattr(root, "speaker", root)

    def _reps(self, ref: Ref) -> list[dict[str, Any]]:
        """Return each representative that some processor has in its table, with those processors."""
        found: dict[int, dict[str, Any]] = {}
        for processor in self._cos.machine.processors:
            rep: Any = plain_rep(processor.ltt.get(ref))
            if rep is None:
                continue
            row = found.get(id(rep))
            if row is None:
                row = found[id(rep)] = {
                    "rep": label_of_rep(rep),
                    "address": getattr(rep, "addr", 0),
                    "processors": [],
                }
            row["processors"].append(processor.vp)
        return list(found.values())


def swap_row(record: SwapRecord) -> dict[str, Any]:
    """Return one swap ready for JSON: phases as (name, cycle at which they began)."""
    return {**asdict(record), "cycles": record.cycles}
