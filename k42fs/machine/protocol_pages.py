"""The protocols' tables as a page of documentation: diagrams and tables in Markdown, drawn from `protocol.py`.

`k42fs machine protocols` prints it; docs/protocols.md is its output, which a test compares.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from k42fs.machine.layout import READ, WRITE
from k42fs.machine.protocol import (
    EVICT,
    INVALID,
    PROTOCOLS,
    REQUEST_NAMES,
    SHARED,
    STATE_NAMES,
    DirState,
    Home,
    Protocol,
    Snoop,
    Step,
)

OPERATIONS: Final = ((READ, "load"), (WRITE, "store"), (EVICT, "evict"))

HEAD: Final = """\
# The protocols

Printed by `k42fs machine protocols` from the tables in `k42fs/machine/protocol.py`, which the cores and the explorer
use too. Do not edit: run it again.

States of a copy: I invalid, S shared, O owned, E exclusive, M modified; O and M are dirty. Requests: GetS (a copy to
read), GetM (a copy to write), Upg (the right to write the copy one has). A read-modify-write is a store. States of the
directory: U uncached, S a set of sharers, X one owner in E or M, O one owner in O and a set of sharers.

An arrow is what makes a copy go from one state to another: what its own processor does, or, after a slash, another
processor's request. "-" means impossible: the models assert it. "Supply" is for a bus; with a directory the owner that
is asked supplies.
"""


def page(names: Iterable[str] = tuple(PROTOCOLS)) -> str:
    """Return the page for the protocols *names*."""
    return "\n".join([HEAD, *("\n".join(_section(PROTOCOLS[name])) for name in names)])


def _section(protocol: Protocol) -> Iterator[str]:
    yield f"## {protocol.name.upper()}"
    yield ""
    yield "```mermaid"
    yield from _diagram(protocol)
    yield "```"
    yield ""
    yield "A copy, by its own processor's operations and by others' requests:"
    yield ""
    yield from _table(
        ["state", *(word for _, word in OPERATIONS), *REQUEST_NAMES],
        ([STATE_NAMES[state], *_of_copy(protocol, state)] for state in protocol.states),
    )
    yield ""
    yield "The home's directory:"
    yield ""
    yield from _table(
        ["state", *REQUEST_NAMES, "evicted S", "evicted owner"],
        ([at.name, *_of_home(protocol, at)] for at in DirState if _is_used(protocol, at)),
    )
    yield ""


def _diagram(protocol: Protocol) -> Iterator[str]:
    """Yield a mermaid state diagram: one arrow for each pair of states, with all its causes."""
    causes: dict[tuple[int, int], list[str]] = {}
    for (state, operation), step in protocol.processor.items():
        word = dict(OPERATIONS)[operation]
        if step.alone == step.shared:
            causes.setdefault((state, step.alone), []).append(word)
        else:
            causes.setdefault((state, step.alone), []).append(f"{word} alone")
            causes.setdefault((state, step.shared), []).append(f"{word} shared")
    for (state, request), snoop in protocol.snoop.items():
        causes.setdefault((state, snoop.next), []).append(f"/{REQUEST_NAMES[request]}")
    yield "stateDiagram-v2"
    yield f"    [*] --> {STATE_NAMES[INVALID]}"
    for (before, after), words in sorted(causes.items()):
        if before != after:
            yield f"    {STATE_NAMES[before]} --> {STATE_NAMES[after]} : {', '.join(words)}"


def _of_copy(protocol: Protocol, state: int) -> Iterator[str]:
    for operation, _ in OPERATIONS:
        step = protocol.processor.get((state, operation))
        writes = operation == EVICT and state in protocol.evict_writes
        yield "-" if step is None else _step(step, state) + (", write back" if writes else "")
    for request in range(len(REQUEST_NAMES)):
        snoop = protocol.snoop.get((state, request))
        yield "ignore" if state == INVALID else "-" if snoop is None else _snoop(snoop)


def _step(step: Step, state: int) -> str:
    if step.request is None:
        return "hit" if step.alone == state else f"-> {STATE_NAMES[step.alone]}"
    after = STATE_NAMES[step.alone]
    if step.shared != step.alone:
        after += f", or {STATE_NAMES[step.shared]} if shared"
    return f"{REQUEST_NAMES[step.request]} -> {after}"


def _snoop(snoop: Snoop) -> str:
    does = ["supply"] * snoop.supplies + ["write memory"] * snoop.writes_memory
    return ", ".join([*does, f"-> {STATE_NAMES[snoop.next]}"])


def _is_used(protocol: Protocol, at: DirState) -> bool:
    return any(state == at for state, _ in protocol.home)


def _of_home(protocol: Protocol, at: DirState) -> Iterator[str]:
    for request in range(len(REQUEST_NAMES)):
        home = protocol.home.get((at, request))
        yield "-" if home is None else _home(home)
    puts = {state: after for (before, state), after in protocol.put.items() if before == at}
    shared = puts.pop(SHARED, None)
    yield (
        "-"
        if shared is None
        else f"-> {shared.name}" + (", or U if it was the last" if shared == DirState.S else "")
    )
    owners = []
    for state, after in sorted(puts.items()):
        unless = ", or U without sharers" if after == DirState.S else ""
        owners.append(f"{STATE_NAMES[state]} -> {after.name}{unless}")
    yield "; ".join(owners) or "-"


def _home(home: Home) -> str:
    does = ["ask the owner"] * home.asks_owner + ["ask the sharers"] * home.asks_sharers
    does += ["memory supplies"] * home.from_memory
    after = home.next.name
    if home.next_if_clean != home.next:
        after += f", or {home.next_if_clean.name} if it was clean"
    return ", ".join([*does, f"-> {after}"])


def _table(header: list[str], rows: Iterable[list[str]]) -> Iterator[str]:
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    for number, line in enumerate(lines):
        yield "| " + " | ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)) + " |"
        if not number:
            yield "|" + "|".join("-" * (width + 2) for width in widths) + "|"
