"""`.k42/policy`: which implementation new objects get. `.k42/swap`: another one for objects that are there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from k42fs.errors import InTransitionError, InvalidArgumentError, NoDataError
from k42fs.ids import Ref
from k42fs.machine import Thread
from k42fs.objects.implementations import kinds
from k42fs.personality.control_text import counted, keys_and_values, table
from k42fs.servers.object_policy import KINDS
from k42fs.servers.system import System

USAGE: Final = "write REF IMPLEMENTATION or TYPE IMPLEMENTATION, and nowait after it to be answered at once"
SHOWN: Final = 20
"""Swaps in the text, the latest first; the JSON has all that are remembered."""

HEADINGS: Final = ("object", "from", "to", "state", "processors", "cycles", "us")


def policy(system: System) -> dict[str, Any]:
    """Return the policy set of the mount, with the implementations that new objects get now."""
    return {**system.policy_set.record(), "objects": dict(system.policy.chosen)}


def policy_text(value: Mapping[str, Any]) -> str:
    """Return what the file shows: what can be written, as it is written, comes first."""
    rest = {key: value[key] for key in ("name", "lock", "renames")}
    return keys_and_values({**value["objects"], **rest, **value["supplies"]})


async def change_policy(system: System, _th: Thread, command: bytes) -> None:
    """Carry out TYPE=IMPLEMENTATION: for the objects of that type that are made from now on."""
    kind, has_value, name = command.decode(errors="replace").partition("=")
    if not has_value:
        raise InvalidArgumentError("write TYPE=IMPLEMENTATION")
    for known in KINDS:
        if known == kind:
            system.policy.choose(known, name)
            return
    raise NoDataError(f"there is no type {kind!r} that can be chosen; one of {', '.join(KINDS)}")


def swaps(system: System) -> dict[str, Any]:
    """Return what can be swapped for what, and what was, latest first."""
    found = system.control.record()
    return {**found, "recent": found["recent"][::-1]}


def swaps_text(value: Mapping[str, Any]) -> str:
    """Return what the file shows."""
    text = "".join(f"{kind}: {' '.join(names)}\n" for kind, names in value["types"].items())
    text += (
        f"{counted(value['completed'], 'swap')} completed, {value['aborted']} aborted, {value['refused']} refused, "
        f"{value['under_way']} under way\n"
    )
    if not value["recent"]:
        return text
    return text + table([list(HEADINGS), *map(swap_cells, value["recent"][:SHOWN])], left=4)


def swap_cells(row: Mapping[str, Any]) -> list[str]:
    """Return one swap's row of a table."""
    state = f"{row['state']}: {row['reason']}" if row["reason"] else row["state"]
    micros = max(row["ended_ns"] - row["began_ns"], 0) / 1000
    return [
        row["label"],
        row["old"],
        row["new"],
        state,
        str(len(row["processors"])),
        f"{row['cycles']:,}",
        f"{micros:,.0f}",
    ]


async def swap(system: System, th: Thread, command: bytes) -> None:
    """Carry out REF IMPLEMENTATION or TYPE IMPLEMENTATION.

    Raises:
        UnknownImplementationError, NotSwappableError, InTransitionError, SwapAbortedError
        InTransitionError: some objects of a type were not swapped, but all others.
    """
    words = command.decode(errors="replace").split()
    waits = words[2:] != ["nowait"]
    if len(words) < 2 or (waits and len(words) > 2):
        raise InvalidArgumentError(USAGE)
    what, name = words[:2]
    control = system.control
    if what in kinds():
        _, failures = await control.swap_all(th, what, name, waits=waits)
        if failures:
            raise InTransitionError(f"{counted(len(failures), 'object')} not swapped: {failures[0]}")
    elif what.isdecimal():
        begun = await control.swap(th, Ref(int(what)), name)
        if begun is not None and waits:
            await begun.wait(th)
    else:
        raise InvalidArgumentError(f"{what!r} is neither a ref nor a type: one of {', '.join(kinds())}")


__all__ = ["change_policy", "policy", "policy_text", "swap", "swaps", "swaps_text"]
