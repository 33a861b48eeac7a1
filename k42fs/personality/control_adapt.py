"""`.k42/adapt`: how objects are adapted to their use, and every decision with the figures that led to it."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import wrap
from typing import Any, Final, get_args

from k42fs.errors import ConfigError
from k42fs.machine import Thread
from k42fs.objects.adaptation import Adapter, Mode
from k42fs.personality.control_text import COLUMNS, table

SHOWN: Final = 20
"""Decisions in the text, the latest first; the JSON has all that are remembered."""

HEADINGS: Final = ("object", "from", "to", "rule", "outcome", "waited", "share", "calls", "moved", "cpus")
"""Acquisitions of its locks that waited, and their share; its lines that went from processor to processor."""


def adaptation(adapter: Adapter) -> dict[str, Any]:
    """Return the mode, the rules and the decisions, latest first, ready for JSON."""
    return {
        "mode": adapter.mode,
        "windows": adapter.windows,
        "rules": [rule.name for rule in adapter.rules],
        "watched": adapter.watched,
        "decided": adapter.decided,
        "decisions": [decision.record() for decision in reversed(adapter.decisions)],
    }


def text(value: Mapping[str, Any]) -> str:
    """Return what the file shows."""
    head = f"mode {value['mode']}, {value['windows']:,} windows, {value['decided']:,} decisions\n"
    head += "\n".join(wrap(f"rules {' '.join(value['rules'])}", COLUMNS, break_on_hyphens=False)) + "\n"
    if not value["decisions"]:
        return head
    rows = [list(HEADINGS)]
    for each in value["decisions"][:SHOWN]:
        figures = each["figures"]
        rows.append(
            [
                *(each[name] for name in ("object", "from", "to", "rule", "outcome")),
                f"{figures['contentions']:,.0f}",
                f"{figures['contended_share']:.0%}",
                "-" if figures["calls"] is None else f"{figures['calls']:,.0f}",
                f"{figures['transfers']:,.0f}",
                f"{figures['processors']:,.0f}",
            ]
        )
    return head + table(rows, left=5)


async def change(adapter: Adapter, _th: Thread, command: bytes) -> None:
    """Carry out a write: off, advise or act."""
    word = command.decode(errors="replace")
    if word not in get_args(Mode):
        raise ConfigError(f"adapt={word}: unknown; one of {', '.join(get_args(Mode))}")
    adapter.mode = word  # type: ignore[assignment]
