"""`k42fs swap`: serve an object, or all of a type, by another implementation while they are in use."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

import click

from k42fs.cli.limited import limited
from k42fs.cli.showing import control_directory, refusal
from k42fs.errors import InvalidArgumentError, K42Error

IMPL: Final = "user.k42.impl"


def swap_objects(what: str, implementation: str, mount: str, waits: bool) -> None:
    """Ask the mount for the swap of *what*, a path in it or a type of its objects; say what came of it.

    A file without an object gets one, in the same request: that is waited for in any case.

    Raises:
        InvalidArgumentError: *what* is neither.
        K42Error: the mount refused, or a swap was aborted; in the mount's own words.
    """
    if os.path.lexists(what):
        _swap_path(what, implementation, waits)
        return
    control = control_directory(mount, "say which with -m PATH, any path in it")
    types = json.loads(limited((control / "swap.json").read_text))["types"]
    if what not in types:
        raise InvalidArgumentError(f"{what} is neither a path nor a type: one of {', '.join(types)}")
    _ask(control, f"{what} {implementation}", waits)
    click.echo(f"every {what} {_is(waits)} {implementation}")


def _swap_path(path: str, implementation: str, waits: bool) -> None:
    control = control_directory(path)
    about: dict[str, Any] = json.loads(limited(os.getxattr, path, "user.k42.object"))
    if about["implementation"] == implementation:
        click.echo(f"{path} is served by {implementation} already")
        return
    if about["ref"]:
        _ask(control, f"{about['ref']} {implementation}", waits)
    else:
        waits = True
        try:
            limited(os.setxattr, path, IMPL, os.fsencode(implementation))
        except OSError as exc:
            raise K42Error(f"{path}: {implementation}: {exc.strerror}") from None
    click.echo(f"{path} {_is(waits)} {implementation}")


def _ask(control: Path, command: str, waits: bool) -> None:
    file = control / "swap"
    try:
        limited(file.write_text, command + ("\n" if waits else " nowait\n"))
    except OSError as exc:
        raise K42Error(refusal(file, exc)) from None


def _is(waits: bool) -> str:
    return "is served by" if waits else "is being swapped for"
