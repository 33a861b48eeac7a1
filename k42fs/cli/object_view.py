"""What `k42fs objects PATH` shows of one object: what it is, its representatives, who has it open, and its swaps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from k42fs.personality.control_handles import handles_text
from k42fs.personality.control_swap import HEADINGS, swap_cells
from k42fs.personality.control_text import table


def object_text(about: Mapping[str, Any]) -> str:
    """Return what `k42fs objects PATH` shows: a line for each fact, tables of reps, open handles, swaps."""
    facts = {key: value for key, value in about.items() if key not in ("reps", "swaps", "handles")}
    width = max(map(len, facts))
    text = "".join(f"{key:{width}}  {_shown(value)}\n" for key, value in facts.items())
    if about.get("reps"):
        rows = [("representative", "address", "processors")]
        rows += [
            (rep["rep"], f"{rep['address']:#x}", ",".join(map(str, rep["processors"])))
            for rep in about["reps"]
        ]
        text += table(rows, left=3)
    if about.get("handles"):
        text += handles_text(about["handles"])
    if about.get("swaps"):
        text += table([list(HEADINGS), *map(swap_cells, reversed(about["swaps"]))], left=4)
        last = about["swaps"][-1]
        phases = ", ".join(f"{phase} at {cycle:,}" for phase, cycle in last["phases"])
        text += f"last swap: began at cycle {last['began_cycles']:,}; {phases}\n"
    return text


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
