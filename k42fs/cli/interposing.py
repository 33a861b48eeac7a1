"""`k42fs interpose`: put arbiters before objects of a live mount, look at what they found, take them away."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import click

from k42fs.cli.limited import limited
from k42fs.cli.showing import control_directory, refusal
from k42fs.errors import InvalidArgumentError, K42Error

MEND = "say which with -m PATH, any path in it"


def attach(mount: str, arbiter: Sequence[str], wanted: str) -> None:
    """Put an arbiter before *wanted*: all, a type, a ref, or a path's own object.

    Raises:
        InvalidArgumentError: a path without an object. K42Error: the mount refused, in its own words.
    """
    control = control_directory(wanted if os.path.lexists(wanted) else mount, MEND)
    words = " ".join(arbiter)
    _ask(control, f"{words} to {_wanted(wanted)}")
    newest = _read(control)[-1]
    click.echo(f"arbiter {newest['number']}, {words}, is before {newest['wanted']}")


def release(mount: str, which: str) -> None:
    """Take an arbiter away, or all of them."""
    control = control_directory(mount, MEND)
    before = [each["number"] for each in _read(control)]
    _ask(control, f"release {which}")
    left = [each["number"] for each in _read(control)]
    click.echo(f"released {', '.join(str(number) for number in before if number not in left) or 'nothing'}")


def _wanted(word: str) -> str:
    if word == "all":
        return word
    if word.isdecimal():
        return f"ref {word}"
    if not os.path.lexists(word):
        return f"type {word}"
    ref: int = json.loads(limited(os.getxattr, word, "user.k42.object"))["ref"]
    if not ref:
        raise InvalidArgumentError(f"{word} has no object now: open it first")
    return f"ref {ref}"


def _read(control: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(limited((control / "interpose.json").read_text))
    return found


def _ask(control: Path, command: str) -> None:
    file = control / "interpose"
    try:
        limited(file.write_text, command + "\n")
    except OSError as exc:
        raise K42Error(refusal(file, exc)) from None
