"""`.k42/top.json`: what the mount is doing, for who looks again and again (`k42fs top`).

It is asked again and again (`repeated.py`); the answer is one snapshot. Counts are totals since the last reset. Of
locks, lines and objects it holds the ROWS that changed most since the last question, each with its change
(`more_...`), so that what has just become hot is seen however much something else did before. At the first question
everything is a change. Nothing is counted for this: an answer costs the time to look at every lock that was ever
contended and every line that ever moved, and nothing while nobody asks.

An object's heat is that of its locks and of its lines: of its representatives, its root, and the inode behind it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from heapq import nlargest
from typing import TYPE_CHECKING, Any, Final

from k42fs.ids import Ref
from k42fs.personality.file_paths import FilePaths
from k42fs.personality.live_objects import (
    implementation_of,
    label_of,
    members,
    ref_of,
)
from k42fs.servers.fs_file import FSFile

if TYPE_CHECKING:
    from k42fs.objects.translation import MissHandler
    from k42fs.personality.face import Face

TOP_ROWS_MAX: Final = 1000
LOCK_COUNTS: Final = ("acquisitions", "contentions", "waited_cycles", "held_cycles")
PROCESSOR_COUNTS: Final = ("operations", "calls", "spin_cycles")

Row = dict[str, Any]


@dataclass(slots=True)
class Heat:
    """What one object's locks and lines did since the last question. `movers`: where its lines went, a bit each."""

    label: str
    ref: int
    contentions: int = 0
    waited_cycles: int = 0
    transfers: int = 0
    movers: int = 0


@dataclass(slots=True)
class Seen:
    """Totals at the last question: of locks by name, owner's class and address, of lines by number.

    `reset_at`: the virtual time at which those totals began.
    """

    reset_at: int = 0
    locks: dict[tuple[str, str, int], tuple[int, ...]] = field(default_factory=dict)
    lines: dict[int, int] = field(default_factory=dict)


class Looks:
    """Answers for `.k42/top.json`."""

    def __init__(self, face: Face) -> None:
        self._face = face

    def snapshot(self, rows: int, seen: Seen) -> Row:
        """Return what there is to see and what has changed; *seen* is brought up to date."""
        face, machine = self._face, self._face.machine
        everything = machine.statistics()
        if seen.reset_at != machine.reset_at:
            seen.reset_at = machine.reset_at
            seen.locks, seen.lines = {}, {}
        heats: dict[object, Heat] = {}
        paths = FilePaths(face)
        locks = self._locks(rows, heats, seen)
        lines = self._lines(rows, heats, seen, paths) if machine.model == "full" else []
        objects = face.cos.statistics()
        return {
            "time_ns": time.monotonic_ns(),
            **{
                key: everything[key]
                for key in ("machine", "model", "core", "processors", "mhz", "now_cycles")
            },
            "requests": face.requests,
            "by_request": dict(face.served),
            "refused": sum(face.refused.values()),
            "handles": len(face.handles),
            "kernel_nodes": len(face.nodes.by_id),
            "objects": objects["live"],
            "created": objects["created"],
            "freed": objects["freed"],
            "per_processor": [_processor(row) for row in everything["per_processor"]],
            "calls": everything["calls"],
            "locks": locks,
            "lines": lines,
            "hot": [self._about(heat, paths) for heat in _hottest(heats.values(), rows)],
        }

    def _locks(self, rows: int, heats: dict[object, Heat], seen: Seen) -> list[Row]:
        machine = self._face.machine
        if machine.model != "full":
            return self._lock_calls(rows, seen)
        before, seen.locks = seen.locks, {}
        changed = []
        for lock in machine.contended.locks():
            key = (lock.name, type(lock.owner).__name__, lock.addr)
            counts = tuple(getattr(lock, name) for name in LOCK_COUNTS)
            seen.locks[key] = counts
            more = _more(counts, before.get(key))
            if any(more):
                heat = self._heat(heats, lock.owner, lock.addr)
                heat.contentions += more[1]
                heat.waited_cycles += more[2]
                changed.append((more, counts, lock, heat))
        found = nlargest(rows, changed, key=lambda item: (item[0][2], item[0][1], item[0][0]))
        return [
            {
                "object": heat.label,
                "ref": heat.ref,
                "lock": lock.name,
                "kind": lock.kind,
                "max_wait": lock.max_wait,
            }
            | dict(zip(LOCK_COUNTS, counts, strict=True))
            | {f"more_{name}": value for name, value in zip(LOCK_COUNTS, more, strict=True)}
            for more, counts, lock, heat in found
        ]

    def _lock_calls(self, rows: int, seen: Seen) -> list[Row]:
        """Return acquisitions by kind and name: all that is known of locks where nothing is waited for."""
        before, seen.locks = seen.locks, {}
        changed = []
        for (kind, name), count in self._face.machine.lock_calls.items():
            seen.locks[kind, name, 0] = (count,)
            (more,) = _more((count,), before.get((kind, name, 0)))
            if more:
                changed.append((more, count, kind, name))
        return [
            {
                "object": kind,
                "ref": 0,
                "lock": name,
                "kind": kind,
                "acquisitions": count,
                "more_acquisitions": more,
            }
            for more, count, kind, name in nlargest(rows, changed)
        ]

    def _lines(self, rows: int, heats: dict[object, Heat], seen: Seen, paths: FilePaths) -> list[Row]:
        machine = self._face.machine
        before, seen.lines = seen.lines, {}
        changed = []
        for item in machine.hand_offs.added_to(machine.core.transfers()):
            seen.lines[item.line] = item.transfers
            (more,) = _more((item.transfers,), (before.get(item.line, 0),))
            if more:
                addr = item.line * machine.config.line_bytes + (item.offsets[0][0] if item.offsets else 0)
                heat = self._heat(heats, machine.memory.owner_at(addr), addr)
                heat.transfers += more
                heat.movers |= item.movers
                changed.append((more, item, addr))
        return [
            {
                "object": (label := machine.memory.describe(addr))[0],
                "ref": ref_of(owner := machine.memory.owner_at(addr)),
                "path": paths.of_file(owner) if isinstance(owner, FSFile) else paths.of(self._root(owner)),
                "field": label[1],
                "address": item.line * machine.config.line_bytes,
                "transfers": item.transfers,
                "more_transfers": more,
                "vps": members(item.movers),
            }
            for more, item, addr in nlargest(rows, changed, key=lambda row: (row[0], row[2]))
        ]

    def _root(self, owner: object) -> MissHandler | None:
        return self._face.cos.root_at(Ref(ref)) if (ref := ref_of(owner)) else None

    def _heat(self, heats: dict[object, Heat], owner: object, addr: int) -> Heat:
        ref = ref_of(owner)
        label = "" if ref else self._face.machine.memory.describe(addr)[0]
        found = heats.get(ref or label)
        if found is None:
            if ref:
                root = self._face.cos.root_at(Ref(ref))
                label = label_of(root) if root is not None else str(getattr(owner, "label", str)())
            found = heats[ref or label] = Heat(label, ref)
        return found

    def _about(self, heat: Heat, paths: FilePaths) -> Row:
        root = self._face.cos.root_at(Ref(heat.ref)) if heat.ref else None
        return {
            "object": heat.label,
            "ref": heat.ref,
            "kind": root.type_name if root is not None else "",
            "implementation": implementation_of(root) if root is not None else "",
            "path": paths.of(root),
            "more_contentions": heat.contentions,
            "more_waited_cycles": heat.waited_cycles,
            "more_transfers": heat.transfers,
            "vps": members(heat.movers),
        }


def _more(counts: tuple[int, ...], before: tuple[int, ...] | None) -> tuple[int, ...]:
    """Return how much *counts* have grown. What is less than before began anew, at 0: another lock in its place."""
    if before is None:
        return counts
    return tuple(now - then if now >= then else now for now, then in zip(counts, before, strict=True))


def _hottest(heats: Iterable[Heat], rows: int) -> list[Heat]:
    """Return the *rows* most waited for, and as many whose lines moved most."""
    all_heats = list(heats)
    waited = nlargest(rows, all_heats, key=lambda heat: (heat.waited_cycles, heat.transfers))
    moved = nlargest(rows, all_heats, key=lambda heat: heat.transfers)
    return list({id(heat): heat for heat in (*waited, *moved)}.values())


def _processor(row: Mapping[str, Any]) -> Row:
    """Return what `k42fs top` shows of a processor. `busy_cycles`: not idle since the reset."""
    found = {"vp": row["vp"], **{name: row[name] for name in PROCESSOR_COUNTS}}
    found["busy_cycles"] = row["work_cycles"] + row["spin_cycles"] + row.get("memory_cycles", 0)
    found["references"] = sum(row.get(name, 0) for name in ("loads", "stores", "rmws"))
    found["misses"] = sum(row.get("misses", {}).values())
    return found
