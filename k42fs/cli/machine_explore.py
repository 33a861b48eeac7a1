"""`k42fs machine explore`: walks over all reachable states of the protocols and prints what was found."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Final

import click

from k42fs.cli.columns import screen_width, wrapped
from k42fs.machine.config_rules import refusal
from k42fs.machine.cores import core_name, make_core
from k42fs.machine.explorer import SYSTEMS, Exploration, Explorer, counterexample
from k42fs.machine.explorer_replay import replay as replay_on
from k42fs.machine.line_model import Interconnect
from k42fs.machine.mutants import mutants as make_mutants
from k42fs.machine.protocol import PROTOCOLS, Protocol

ROW: Final = "{:8} {:17} {:>6} {:>11} {:>8} {:>5} {:>7}  {}"

INDENT: Final = " " * 9


def checked_names(names: Sequence[str]) -> list[str]:
    """Return *names* of protocols, all if there are none. Raises ConfigError: no such protocol."""
    for name in names:
        if name not in PROTOCOLS:
            raise refusal("protocol", name, f"must be one of {', '.join(PROTOCOLS)}")
    return list(names or PROTOCOLS)


def show_walks(names: list[str], with_replay: bool, with_mutants: bool, as_json: bool) -> None:
    """Walk over the protocols *names*, or all, on all systems and print a row each; exit 1 on a violation.

    Raises: ConfigError: no such protocol.
    """
    names = checked_names(names)
    found: list[dict[str, Any]] = []
    if not as_json:
        click.echo("3 processors, 2 lines, 2 values; L1 of one line in L2 of two\n")
        click.echo(
            ROW.format(
                "protocol", "interconnect", "states", "transitions", "per line", "depth", "seconds", ""
            ).rstrip()
        )
    for protocol, interconnect, silent in _systems(names):
        row = _walk(protocol, interconnect, silent, with_replay, with_mutants, as_json)
        found.append(row)
    if as_json:
        click.echo(json.dumps(found, indent=2))
    if any(row["wrong"] for row in found):
        sys.exit(1)


def fitted(markdown: str, width: int) -> Iterator[str]:
    """Yield the lines of a page for a terminal of that *width*: a table that is wider becomes a list, row by row."""
    table: list[str] = []
    for line in (*markdown.splitlines(), None):
        if line is not None and line.startswith("|"):
            table.append(line)
            continue
        if table:
            yield from table if max(map(len, table)) <= width else _as_list(table, width)
            table = []
        if line is not None:
            yield from wrapped(line, width) if not line.startswith(" ") else [line]


def _as_list(table: Sequence[str], width: int) -> Iterator[str]:
    heads, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    widest = max(map(len, heads[1:]))
    for row in rows:
        yield f"{heads[0]} {row[0]}"
        for head, cell in zip(heads[1:], row[1:], strict=True):
            yield from wrapped(f"  {head:<{widest}}  {cell}", width, " " * (widest + 4))


def _systems(names: list[str]) -> Iterator[tuple[Protocol, Interconnect, bool]]:
    for name in names:
        for interconnect, silent in SYSTEMS:
            yield PROTOCOLS[name], interconnect, silent


def _walk(
    protocol: Protocol,
    interconnect: Interconnect,
    silent: bool,
    with_replay: bool,
    with_mutants: bool,
    as_json: bool,
) -> dict[str, Any]:
    explorer = Explorer(protocol, interconnect, silent)
    found = explorer.run()
    row: dict[str, Any] = {**asdict(found), "path": [str(action) for action in found.path]}

    def say(text: str, indent: str = "") -> None:
        if not as_json:
            for line in text.splitlines():
                click.echo(
                    "\n".join(f"{indent}{part}" for part in wrapped(line, screen_width() - len(indent), "  "))
                )

    if not as_json:
        click.echo(_line(found))
        if found.violation:
            click.echo(counterexample(explorer, found))
    wrong = bool(found.violation)
    if with_replay and not wrong:
        outcome = replay_on(explorer, found, make_core)
        row["replay"] = {"core": core_name(), **outcome._asdict()}
        wrong = bool(outcome.difference)
        verdict = outcome.difference or "the copies' states equal"
        say(f"{core_name()} core: {outcome.paths} paths, {outcome.operations} operations: {verdict}", INDENT)
    if with_mutants:
        row["mutants"] = []
        for what, mutant in make_mutants(protocol, interconnect):
            walk = Explorer(mutant, interconnect, silent)
            caught = walk.run()
            row["mutants"].append(
                {
                    "without": what,
                    "violation": caught.violation,
                    "operations": len(caught.path),
                    "path": [str(action) for action in caught.path],
                }
            )
            wrong = wrong or not caught.violation
            say(f"without {what}: {caught.violation or 'NOT CAUGHT'}", INDENT)
            if caught.violation:
                say("\n".join(counterexample(walk, caught).splitlines()[1:]), INDENT)
        killed = sum(bool(mutant["violation"]) for mutant in row["mutants"])
        say(f"{killed} of {len(row['mutants'])} mutants caught", INDENT)
    row["wrong"] = wrong
    return row


def _line(found: Exploration) -> str:
    interconnect = found.interconnect + (", silent" if found.silent else "")
    return ROW.format(
        found.protocol,
        interconnect,
        found.states,
        found.transitions,
        found.line_states,
        found.depth,
        f"{found.seconds:.2f}",
        "VIOLATION" if found.violation else "proved",
    )
