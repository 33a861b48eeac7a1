"""The command that asks a live mount where a path leads: `k42fs ns --resolve`."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from k42fs.cli.limited import limited
from k42fs.cli.showing import control_directory
from k42fs.errors import InvalidArgumentError, K42Error

PIECE_BYTES: Final = 1 << 16


def show_resolutions(mount_path: str, paths: Sequence[str], as_json: bool, no_follow: bool) -> None:
    """Print, for each of *paths* in the mount's own name space, the steps to the file and what it is.

    All are asked on one handle, so that a later one shows which links the earlier made known.

    Raises:
        InvalidArgumentError: a path is not absolute; nothing is asked.
        K42Error: one of them leads nowhere, after the answers to all are printed.
    """
    for path in paths:
        if not path.startswith("/"):
            raise InvalidArgumentError(f"{path!r} is no path in the mount's own name space, such as /src")
    file = control_directory(mount_path) / ("resolve.json" if as_json else "resolve")
    questions = [(b"nofollow " if no_follow else b"") + os.fsencode(path) for path in paths]
    answers, failures = limited(_ask, file, questions)
    if as_json:
        click.echo(json.dumps([json.loads(answer) for answer in answers if answer], indent=2))
    else:
        click.echo(b"".join(answers), nl=False)
    if failures:
        raise K42Error("; ".join(failures))


def _ask(file: Path, questions: Sequence[bytes]) -> tuple[list[bytes], list[str]]:
    """Return the answer to each question, and what failed."""
    answers, failures = [], []
    fd = os.open(file, os.O_RDWR)
    try:
        for question in questions:
            try:
                os.write(fd, question + b"\n")
            except OSError as exc:
                path = question.removeprefix(b"nofollow ").decode(errors="backslashreplace")
                failures.append(f"{path}: {exc.strerror}")
            answers.append(b"".join(iter(lambda: os.read(fd, PIECE_BYTES), b"")))
    finally:
        os.close(fd)
    return answers, failures
