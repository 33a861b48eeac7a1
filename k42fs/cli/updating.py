"""`k42fs update`: new code for all objects of a type of a live mount, from a Python module."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

import click

from k42fs.cli.limited import limited
from k42fs.cli.mounts import enclosing_k42fs
from k42fs.cli.showing import control_directory, refusal
from k42fs.errors import K42Error, NameNotFoundError
from k42fs.servers.mount_commands import escape_path


def update_objects(kind: str, module: str, mount: str) -> None:
    """Ask the mount to replace all objects of *kind* by those of *module*, wait, and say what came of it.

    A module that lies in a k42fs is copied first: the daemon reads it, and would wait for itself.

    Raises:
        NameNotFoundError: there is no such file. K42Error: the mount refused, in its own words.
    """
    control = control_directory(mount, "say which with -m PATH, any path in it")
    path = Path(module).absolute()
    if not path.is_file():
        raise NameNotFoundError(f"{module} is no file")
    entry = enclosing_k42fs(str(path.parent))
    if entry is None or not entry.is_k42fs:
        _ask(control, kind, path)
    else:
        with tempfile.TemporaryDirectory() as folder:
            _ask(control, kind, Path(shutil.copy(path, folder)))
    report = json.loads(limited((control / "update.json").read_text))["updates"][0]
    click.echo(
        f"every {kind} is {report['implementation']}, version {report['version']}: {report['replaced']} of "
        f"{report['objects']} replaced, {report['dropped']} gone meanwhile"
    )


def _ask(control: Path, kind: str, module: Path) -> None:
    file = control / "update"
    command = b" ".join((os.fsencode(kind), escape_path(os.fsencode(module)))) + b"\n"
    try:
        limited(file.write_bytes, command)
    except OSError as exc:
        raise K42Error(refusal(file, exc)) from None
