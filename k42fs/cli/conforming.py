"""`k42fs conform`: check an implementation of one's own before it is let loose on a mount."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress

from k42fs.objects.factory import load_replacement
from k42fs.workloads.conformance import check

WIDTH = 76


def conform(path: Path) -> bool:
    """Run the checks of the module in *path* and print a line for each; say whether all passed.

    Raises: ConfigError: it is no module with a REPLACEMENT that can be checked.
    """
    replacement = load_replacement(path)
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("")

        def told(name: str, done: int, of: int) -> None:
            progress.update(task, description=name, completed=done, total=of)

        results = check(replacement, told)
    click.echo(f"{replacement.kind} {replacement.name}, version {replacement.version}")
    for result in results:
        verdict = "FAIL" if result.failure else "pass"
        click.echo(f"  {verdict}  {result.name:12} {result.cases:4} cases")
        if result.failure:
            click.echo(textwrap.indent(textwrap.fill(result.failure, WIDTH), " " * 8))
    return not any(result.failure for result in results)
