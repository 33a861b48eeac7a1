"""Recordings made by hand, and commands run on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from k42fs.cli.main import cli
from k42fs.report.filters import Filter, Source
from k42fs.report.reader import Trace
from tests.machine.tracing.lab import HandTrace

CALL, RETURN, ENTER, EXIT, ARGS = (
    "clust_obj_call",
    "clust_obj_return",
    "fuse_op_enter",
    "fuse_op_exit",
    "fuse_op_args",
)


def run(*words: str | Path) -> Result:
    """Run `k42fs trace` with *words*."""
    return CliRunner().invoke(cli, ["trace", *map(str, words)])


def said(*words: str | Path) -> Any:  # noqa: ANN401
    """Return what a command says with --format json."""
    result = run(*words, "--format", "json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def source(directory: Path, **chosen: Any) -> Source:  # noqa: ANN401
    return Source(Trace(directory), Filter(**chosen))


def call(
    trace: HandTrace, vp: int, began: int, ended: int, ref: int, method: int, serial: int, errno: int = 0
) -> None:
    """Add a call of *method* of *ref*, and its return."""
    trace.event(vp, began, CALL, ref, method, vp, 1, serial)
    trace.event(vp, ended, RETURN, ref, method, vp, errno, serial)


def request(
    trace: HandTrace,
    vp: int,
    began: int,
    ended: int,
    unique: int,
    opcode: int,
    node: int,
    pid: int,
    *,
    args: tuple[str, int, int] | None = None,
    errno: int = 0,
    nbytes: int = 0,
    wall: int = 0,
    wall_ns: int = 0,
) -> None:
    """Add a request of the kernel's."""
    trace.event(vp, began, ENTER, unique, opcode, node, pid, vp, 1000, 100, wall)
    if args is not None:
        trace.event(vp, began, ARGS, unique, *args)
    trace.event(vp, ended, EXIT, unique, errno, nbytes, wall_ns)
