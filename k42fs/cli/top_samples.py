"""What `k42fs top` shows: rates between two answers of `.k42/top.json`."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from k42fs.cli.limited import limited
from k42fs.errors import K42Error

ROWS: Final = 60
"""Rows of each table that are asked for: more than a screen shows."""

PIECE_BYTES: Final = 1 << 16
NS: Final = 1e9
LEAST_SECONDS: Final = 1e-5
"""Virtual seconds in a second of wall time that shares are of, at least. The machine's time passes only while it
works: of the half microsecond in which an idle mount answered one request, its processor was busy throughout."""

Row = dict[str, Any]


class ProcessorRow(NamedTuple):
    """One processor in one interval. Shares are of 1: of the machine's virtual time (or of LEAST_SECONDS, if less
    passed), of references, of busy time."""

    vp: int
    utilisation: float
    requests: float
    calls: float
    misses: float
    waiting: float


@dataclass(frozen=True, slots=True)
class Interval:
    """What happened between two looks, in *seconds* of wall time. Rates are per second of it."""

    seconds: float
    now: Mapping[str, Any]
    processors: Sequence[ProcessorRow]
    requests: float
    by_request: Sequence[tuple[str, float]]
    refused: float
    created: float
    freed: float
    machine_seconds: float
    objects: Sequence[Row]
    locks: Sequence[Row]
    lines: Sequence[Row]
    methods: Sequence[Row]

    @property
    def model(self) -> str:
        """What the mount models: full, calls or off."""
        return str(self.now["model"])

    def tables(self) -> dict[str, Sequence[Row]]:
        return {
            "objects": self.objects,
            "locks": self.locks,
            "lines": self.lines,
            "methods": self.methods,
        }

    def as_json(self) -> dict[str, Any]:
        """Return it ready for JSON; the end of a key is its unit, `_s` being per second of wall time."""
        now = self.now
        return {
            "seconds": round(self.seconds, 6),
            **{key: now[key] for key in ("machine", "model", "mhz", "objects", "handles", "kernel_nodes")},
            "requests_s": self.requests,
            "refused_s": self.refused,
            "by_request_s": dict(self.by_request),
            "created_s": self.created,
            "freed_s": self.freed,
            "machine_seconds_s": self.machine_seconds,
            "per_processor": [
                {
                    "vp": row.vp,
                    "utilisation": row.utilisation,
                    "requests_s": row.requests,
                    "calls_s": row.calls,
                    "miss_share": row.misses,
                    "lock_wait_share": row.waiting,
                }
                for row in self.processors
            ],
            "hot_objects": self.objects,
            "locks": self.locks,
            "lines": self.lines,
            "methods": self.methods,
        }


class Mount:
    """Asks a mount's `top.json`. No file stays open between two questions, so that the mount can be unmounted."""

    def __init__(self, control: Path) -> None:
        self.path = control.parent
        self._file = control / "top.json"
        self._question = b"%d top-%d-%s\n" % (ROWS, os.getpid(), secrets.token_hex(4).encode())

    def look(self) -> Row:
        """Return the mount's answer.

        Raises:
            K42Error: the mount is no longer there, or is of a version that does not know the question.
        """
        try:
            answer = limited(ask, self._file, self._question)
        except OSError as exc:
            raise K42Error(f"{self.path} does not tell what it is doing: {exc.strerror}") from None
        found: Row = json.loads(answer)
        return found


def ask(file: Path, question: bytes) -> bytes:
    """Open a transaction file of `.k42`, ask one question, and return the answer."""
    fd = os.open(file, os.O_RDWR)
    try:
        os.write(fd, question)
        return b"".join(iter(lambda: os.read(fd, PIECE_BYTES), b""))
    finally:
        os.close(fd)


def interval(before: Mapping[str, Any], now: Mapping[str, Any]) -> Interval:
    """Return what happened from one answer to the next. Counters that went back were reset: they began at 0."""
    seconds: float = max((now["time_ns"] - before["time_ns"]) / NS, 1e-9)

    def rate(key: str) -> float:
        return _more(int(now[key]), int(before[key])) / seconds

    by_request = [
        (name, _more(count, before["by_request"].get(name, 0)) / seconds)
        for name, count in now["by_request"].items()
    ]
    calls = ((name, _more(count, before["calls"].get(name, 0))) for name, count in now["calls"].items())
    cycles = _more(now["now_cycles"], before["now_cycles"])
    least = now["mhz"] * 1e6 * LEAST_SECONDS * seconds
    old = {row["vp"]: row for row in before["per_processor"]}
    return Interval(
        seconds=seconds,
        now=now,
        processors=[
            _processor(row, old.get(row["vp"], {}), max(cycles, least), seconds)
            for row in now["per_processor"]
        ],
        requests=rate("requests"),
        by_request=sorted((item for item in by_request if item[1]), key=lambda item: (-item[1], item[0])),
        refused=rate("refused"),
        created=rate("created"),
        freed=rate("freed"),
        machine_seconds=cycles / (now["mhz"] * 1e6) / seconds,
        objects=[
            {
                **{key: row[key] for key in ("object", "ref", "kind", "implementation", "path", "vps")},
                "waited_cycles_s": row["more_waited_cycles"] / seconds,
                "contentions_s": row["more_contentions"] / seconds,
                "transfers_s": row["more_transfers"] / seconds,
            }
            for row in now["hot"]
        ],
        locks=[_lock(row, seconds) for row in now["locks"]],
        lines=[
            {
                **{key: row[key] for key in ("object", "ref", "path", "field", "address", "vps")},
                "transfers_s": row["more_transfers"] / seconds,
            }
            for row in now["lines"]
        ],
        methods=[{"method": name, "calls_s": more / seconds} for name, more in calls if more],
    )


def _lock(row: Row, seconds: float) -> Row:
    """Return a lock's row. Where waiting is not modelled there are acquisitions only."""
    return {
        **{key: row[key] for key in ("object", "ref", "lock", "kind")},
        "acquisitions_s": row["more_acquisitions"] / seconds,
        "contentions_s": row.get("more_contentions", 0) / seconds,
        "waited_cycles_s": row.get("more_waited_cycles", 0) / seconds,
        "held_cycles_s": row.get("more_held_cycles", 0) / seconds,
        "max_wait_cycles": row.get("max_wait", 0),
    }


def _processor(now: Row, before: Row, cycles: float, seconds: float) -> ProcessorRow:
    more = {key: _more(value, before.get(key, 0)) for key, value in now.items() if key != "vp"}
    busy, references = more["busy_cycles"], more["references"]
    return ProcessorRow(
        now["vp"],
        min(busy / cycles, 1.0),
        more["operations"] / seconds,
        more["calls"] / seconds,
        more["misses"] / references if references else 0.0,
        min(more["spin_cycles"] / busy, 1.0) if busy else 0.0,
    )


def _more(now: int, before: int) -> int:
    return now - before if now >= before else now
