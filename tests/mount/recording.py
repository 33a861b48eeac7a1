"""Recordings of live mounts: made through the command line, judged by the plainest reader and by babeltrace2."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from k42fs.cli.main import cli
from k42fs.machine.tracing.packets import NAMES_CPU
from k42fs.machine.tracing.schema import load
from tests.machine.tracing.lab import Seen, read
from tests.machine.tracing.test_babeltrace import Listed, babeltrace, ours

from .mounting import REPOSITORY, K42Mount
from .support import run, write

READERS = (
    ["list"],
    ["calls"],
    ["calls", "-c"],
    ["calls", "--hist"],
    ["calls", "--tree"],
    ["time"],
    ["locks"],
    ["locks", "--chains"],
    ["c2c"],
    ["requests"],
    ["requests", "--log"],
    ["requests", "--hist"],
    ["sharing"],
    ["swaps"],
    ["generations"],
)
OUTPUTS = 40
NOT_ENDED = "the recording was not ended: its writer was killed; up to 2.5 s before that may be missing"
MAKEFILE = b"""\
OUTPUTS := $(addprefix out/,$(notdir $(wildcard in/*)))
all: whole
whole: $(OUTPUTS)
\tcat $^ > $@
out/%: in/% | out
\tsed s/a/b/ $< > $@
out:
\tmkdir -p $@
"""


def project(top: Path) -> None:
    """Write what `make -j8` then builds with sed and cat."""
    (top / "in").mkdir(parents=True)
    for number in range(OUTPUTS):
        write(top / "in" / str(number), b"a line\n" * 100)
    write(top / "Makefile", MAKEFILE)


def command(*words: str | Path) -> list[str]:
    """Return the argument vector of `k42fs` with *words*; see `environment`."""
    return [sys.executable, "-m", "k42fs.cli.main", *map(str, words)]


def environment() -> dict[str, str]:
    return {
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    }


def in_directory(cwd: Path, *words: str | Path, status: int = 0) -> str:
    """Run `k42fs` with the current directory *cwd*; return all it said."""
    return run(command(*words), cwd=cwd, env=environment(), status=status)


def report(*words: str | Path, ended: bool = True) -> str:
    """Return what a reader prints of a recording; it needs no mount, and so no process of its own.

    Of a recording that was not *ended* it must say so.
    """
    done = CliRunner().invoke(cli, ["trace", *map(str, words)], prog_name="k42fs", catch_exceptions=False)
    assert done.exit_code == (0 if ended else 1), (words, done.stderr)
    assert ended or NOT_ENDED in done.output, done.output
    return done.stdout


def status_of(mount: K42Mount) -> dict[str, Any]:
    about: dict[str, Any] = json.loads((mount.path / ".k42" / "trace.json").read_text())
    return about


def events(directory: Path) -> list[Seen]:
    """Return the processors' events, packet by packet; fails on whatever a packet says wrongly about itself."""
    return [each for cpu, seen in read(directory).items() if cpu != NAMES_CPU for each in seen]


def check_pairs(directory: Path) -> None:
    """Every request has its enter and exit, every call its return, on the processor where it began."""
    seen = events(directory)
    for begin, end, key in (("fuse_op_enter", "fuse_op_exit", 0), ("clust_obj_call", "clust_obj_return", -1)):
        began = Counter((cpu, values[key]) for cpu, _, name, values in seen if name == begin)
        ended = Counter((cpu, values[key]) for cpu, _, name, values in seen if name == end)
        assert began == ended
        assert began, f"no {begin}"
        assert set(began.values()) == {1}


def _shown(event: Listed) -> object:
    """Return what must be equal: of definitions not the texts, in which babeltrace2 has escapes of its own."""
    return event[:3] if event[0] == NAMES_CPU else event


def check_readable(directory: Path, ended: bool = True) -> int:
    """fsck finds no damage; babeltrace2, `list` and the plainest reader have exactly the same events.

    Return how many there are, without the definitions.
    """
    assert "no damage" in report("fsck", directory, ended=ended)
    theirs, complaints = babeltrace(directory)
    told = ("Tracer discarded", "Tracer may have discarded")  # it may, of a stream that is one packet
    assert not [line for line in complaints.splitlines() if not any(each in line for each in told)]
    assert Counter(map(_shown, theirs)) == Counter(map(_shown, ours(directory)))
    constants = {each.qualified: each.constant for each in load().events()}
    listed = Counter(line.split()[2] for line in report("list", directory, ended=ended).splitlines())
    assert listed == Counter(constants[name] for cpu, _, name, _ in theirs if cpu != NAMES_CPU)
    return sum(listed.values())
