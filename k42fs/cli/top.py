"""`k42fs top`: what a mount is doing, live in the terminal, or as text or JSON."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.live import Live

from k42fs.cli.keyboard import Keyboard
from k42fs.cli.limited import limited
from k42fs.cli.showing import control_directory, refusal
from k42fs.cli.top_samples import Interval, Mount, interval
from k42fs.cli.top_screen import plain, screen
from k42fs.cli.top_state import State, Swap

FIRST_SECONDS: Final = 0.3
"""The first interval of the live screen: long enough for a rate, short enough to wait for."""

PLAIN_ROWS: Final = 10


def run(path: str, seconds: float, count: int | None, as_json: bool) -> None:
    """Show the mount that holds *path*, every *seconds*: on the terminal, or *count* times as text or JSON."""
    mount = Mount(control_directory(path))
    if as_json or count is not None or not (sys.stdin.isatty() and sys.stdout.isatty()):
        _print(mount, seconds, count, as_json)
    else:
        _live(mount, seconds)


def _print(mount: Mount, seconds: float, count: int | None, as_json: bool) -> None:
    """Print *count* intervals, or go on until the reader has gone or the mount has."""
    console = Console(highlight=False, width=shutil.get_terminal_size((100, 24)).columns)
    before = mount.look()
    done = 0
    try:
        while count is None or done < count:
            time.sleep(seconds)
            now = mount.look()
            seen = interval(before, now)
            if as_json:
                click.echo(json.dumps(seen.as_json()))
            else:
                console.print(plain(str(mount.path), seen, PLAIN_ROWS, console.width))
            sys.stdout.flush()
            before, done = now, done + 1
    except KeyboardInterrupt:
        sys.exit(130)


def _live(mount: Mount, seconds: float) -> None:
    state = State(interval=seconds, swappable=swappable(mount.path / ".k42"))
    console = Console(highlight=False)
    before = mount.look()
    time.sleep(FIRST_SECONDS)
    now = mount.look()
    seen = interval(before, now)
    with (
        suppress(KeyboardInterrupt),
        Keyboard(sys.stdin.fileno()) as keyboard,
        Live(console=console, screen=True, auto_refresh=False, transient=True) as live,
    ):
        due = time.monotonic() + state.interval
        while not state.is_over:
            size = console.size
            live.update(screen(str(mount.path), seen, state, size.width, size.height), refresh=True)
            for key in keyboard.keys(due - time.monotonic()):
                swap = state.press(key, shown(seen, state))
                if swap is not None:
                    state.message = ask_for_swap(mount.path / ".k42" / "swap", swap)
            if time.monotonic() >= due:
                if not state.is_frozen:
                    before, now = now, mount.look()
                    seen = interval(before, now)
                due = time.monotonic() + state.interval


def shown(seen: Interval, state: State) -> list[dict[str, Any]]:
    """Return the rows that the selection is in, in their order on the screen."""
    return state.ordered(state.table, seen.tables()[state.table])


def swappable(control: Path) -> dict[str, list[str]] | None:
    """Return what each kind of object can be served by, as `swap.json` says; None if the mount swaps nothing."""
    try:
        types = json.loads(limited((control / "swap.json").read_text))["types"]
    except FileNotFoundError:
        return {} if os.path.exists(control / "swap") else None
    return {str(kind): [str(each) for each in names] for kind, names in types.items()}


def ask_for_swap(file: Path, swap: Swap) -> str:
    """Ask the mount for *swap*, and return what came of it."""
    asked = f"{swap.ref} {swap.implementation}"
    try:
        limited(file.write_bytes, f"{asked}\n".encode())
    except OSError as exc:
        return f"swap {asked}: {refusal(file, exc)}"
    return f"object {swap.ref} is served by {swap.implementation} now"
