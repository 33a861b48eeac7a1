"""`.k42/interpose`: arbiters before objects in use, which count, measure, delay or answer their calls.

    ARBITER to WANTED      put one there: count to type DirObject; fault ENOSPC 0.1 write to ref 1048577
    release N              take number N away; release all: the last one first

ARBITER is one of the table in `objects/arbiters.py`, WANTED is all, or any number of: type NAME, ref N.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any, Final

from k42fs.errors import ConfigError, InvalidArgumentError, NoDataError
from k42fs.machine import Thread
from k42fs.objects.arbiters import make_arbiter
from k42fs.objects.interposition import Attachment
from k42fs.objects.traced_table import Wanted
from k42fs.personality.control_text import table
from k42fs.servers.system import System

USAGE: Final = "write ARBITER to WANTED, or release N"
METHODS_SHOWN: Final = 12


class InterposeControl:
    """What the file says and does. One for a mount."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._numbers = count(1)
        self._attached: dict[int, tuple[str, Attachment]] = {}

    def attachments(self) -> list[dict[str, Any]]:
        """Return the arbiters that are attached, in the order in which they were, ready for JSON."""
        return [
            {
                "number": number,
                "arbiter": text,
                "wanted": str(attachment.wanted),
                "objects": len(attachment.captured),
                "report": attachment.arbiter.report(),
            }
            for number, (text, attachment) in self._attached.items()
        ]

    async def change(self, th: Thread, command: bytes) -> None:
        """Carry out a write."""
        words = command.decode(errors="replace").split()
        if words[:1] == ["release"] and len(words) == 2:
            await self._release(th, words[1])
            return
        if "to" not in words:
            raise InvalidArgumentError(USAGE)
        at = words.index("to")
        text = " ".join(words[:at])
        arbiter = make_arbiter(text, self._system.options.seed)
        wanted = Wanted.parse(" ".join(words[at + 1 :]))
        if wanted == Wanted():
            raise ConfigError("none: an arbiter for nothing")
        attachment = await self._system.cos.interposition.attach(th, arbiter, wanted)
        self._attached[next(self._numbers)] = (text, attachment)

    async def _release(self, th: Thread, which: str) -> None:
        if which == "all":
            for number in reversed(list(self._attached)):
                await self._release_one(th, number)
        elif which.isdecimal() and int(which) in self._attached:
            await self._release_one(th, int(which))
        else:
            raise NoDataError(f"no arbiter {which} is attached")

    async def _release_one(self, th: Thread, number: int) -> None:
        if number in self._attached:
            await self._system.cos.interposition.release(th, self._attached[number][1])
            self._attached.pop(number, None)  # somebody else may have released it meanwhile


def text(value: list[Mapping[str, Any]]) -> str:
    """Return what the file shows: the arbiters, then what each has found out."""
    if not value:
        return f"no arbiter is attached; {USAGE}\n"
    rows = [["no", "arbiter", "before", "objects"]]
    rows += [[str(each["number"]), each["arbiter"], each["wanted"], str(each["objects"])] for each in value]
    return table(rows, left=3) + "".join(_report(each) for each in value)


def _report(each: Mapping[str, Any]) -> str:
    report = each["report"]
    if "methods" in report and "calls" in report:
        shown = list(report["methods"].items())[:METHODS_SHOWN]
        rows = [["method", "calls"], *([name, f"{calls:,}"] for name, calls in shown)]
        return f"\n{each['number']}: {report['calls']:,} calls\n{table(rows, left=1)}"
    if "hits" in report:
        return f"\n{each['number']}: {report['hits']:,} calls hit\n"
    text = f"\n{each['number']}: cycles per call\n"
    for method, buckets in list(report.items())[:METHODS_SHOWN]:
        text += f"{method}: " + ", ".join(f"{calls:,} {limit}" for limit, calls in buckets.items()) + "\n"
    return text
