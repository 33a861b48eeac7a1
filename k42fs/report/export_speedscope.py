"""Export to speedscope: a profile per processor, who ran at the bottom of each stack, then requests, calls, waits.

Samples with weights rather than beginnings and ends: on one processor a call may end before one that began later
on another thread, which speedscope's evented profiles forbid. Locks held are left out: they are no callers.
Format: https://www.speedscope.app/file-format-schema.json
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from k42fs.report.export_timeline import RUNNING, Slice, Timeline

SCHEMA: Final = "https://www.speedscope.app/file-format-schema.json"
NO_CALLER: Final = "hold"
IDLE: Final = "idle"

Stack = tuple[list[str], int]
"""Names from the outermost, and ns."""

Item = tuple[int, str, Slice]
"""(time, "begin" or "end", slice)."""


def speedscope(made: Timeline) -> Iterator[str]:
    """Yield the file, in parts."""
    frames: dict[str, int] = {}
    items: dict[int, list[Item]] = {cpu: [] for cpu in made.processors}
    for time, _, what, item in made.items():
        if what in ("begin", "end") and item.kind != NO_CALLER:
            items[item.processor].append((time, what, item))
    profiles = [_profile(cpu, _stacks(items[cpu], made.end), frames) for cpu in made.processors]
    shared = [{"name": name} for name in frames]
    yield json.dumps(
        {
            "$schema": SCHEMA,
            "exporter": "k42fs",
            "name": made.title,
            "activeProfileIndex": 0,
            "shared": {"frames": shared},
            "profiles": profiles,
        },
        separators=(",", ":"),
    )


def _profile(cpu: int, stacks: Iterator[Stack], frames: dict[str, int]) -> dict[str, Any]:
    samples: list[list[int]] = []
    weights: list[int] = []
    for names, weight in stacks:
        stack = [frames.setdefault(name, len(frames)) for name in names]
        if samples and samples[-1] == stack:
            weights[-1] += weight
        else:
            samples.append(stack)
            weights.append(weight)
    return {
        "type": "sampled",
        "name": f"cpu{cpu}",
        "unit": "nanoseconds",
        "startValue": 0,
        "endValue": sum(weights),
        "samples": samples,
        "weights": weights,
    }


def _stacks(items: list[Item], end: int) -> Iterator[Stack]:
    """Yield what was active on one processor, and for how long, from the recording's first event to its last."""
    active: dict[int, Slice] = {}
    who, last = IDLE, 0
    for time, what, item in items:
        if time > last:
            yield [who, *(each.name for each in active.values())], time - last
            last = time
        if item.kind == RUNNING:
            who = item.name if what == "begin" else IDLE
        elif what == "begin":
            active[item.order] = item
        else:
            del active[item.order]
    if end > last:
        yield [who], end - last
