"""`k42fs trace objects` on a real mount."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from k42fs.cli.trace_objects import text_of

from .mounting import REPOSITORY, K42Mount, k42fs

SECONDS = 30


@pytest.fixture
def mount(new_mount: Callable[..., K42Mount]) -> Iterator[K42Mount]:
    """A mount of its own, whose objects nobody else makes."""
    mount = new_mount("model=full")
    yield mount
    mount.stop()


class Follow:
    """`k42fs trace objects --follow --json`, its lines read as they come."""

    def __init__(self, mount: K42Mount, *options: str) -> None:
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "k42fs.cli.main",
                "trace",
                "objects",
                "-f",
                "-i",
                "0.1",
                *options,
                mount.path,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )
        self.rows: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        self.rows.extend(json.loads(line) for line in self._process.stdout)

    def wait_for(self, event: str, **values: object) -> dict[str, Any]:
        """Return the first row of an event with these values."""
        ends = time.monotonic() + SECONDS
        while time.monotonic() < ends:
            for row in list(self.rows):
                if row["event"] == event and all(row.get(key) == value for key, value in values.items()):
                    return row
            time.sleep(0.02)
        raise AssertionError(f"no {event} {values} in {self.rows[-20:]}")

    def end(self) -> tuple[int, str]:
        self._process.send_signal(2)
        return self.ended()

    def ended(self) -> tuple[int, str]:
        status = self._process.wait(SECONDS)
        self._reader.join()
        assert self._process.stderr is not None
        assert self._process.stdout is not None
        errors = self._process.stderr.read()
        self._process.stderr.close()
        self._process.stdout.close()
        return status, errors


def test_objects_are_seen_to_come_and_to_go(mount: K42Mount) -> None:
    follow = Follow(mount, "--json")
    total = follow.wait_for("total")
    assert total["count"] == sum(row["event"] == "live" for row in follow.rows)
    directory = mount.path / "dir"
    directory.mkdir()
    (directory / "file").write_text("x")
    come = follow.wait_for("new", path="/dir")
    assert (come["kind"], come["processors"] != []) == ("DirObject", True)
    (directory / "file").unlink()
    directory.rmdir()
    gone = follow.wait_for("gone", ref=come["ref"])
    assert gone["object"] == come["object"]
    assert follow.end() == (130, "")


def test_the_list_has_every_live_object_once(mount: K42Mount) -> None:
    (mount.path / "d").mkdir()
    for number in range(50):
        (mount.path / "d" / str(number)).write_text("x")
    done = k42fs("trace", "objects", mount.path)
    assert (done.status, done.errors) == (0, "")
    *rows, total = done.output.splitlines()
    assert total == f"# {len(rows)} live objects"
    types = json.loads((mount.path / ".k42" / "objects.json").read_text())["types"]
    assert len(rows) == sum(types.values())
    assert sum("ServerFile" in row for row in rows) == 50
    assert len({row.split("ref ")[1].split()[0] for row in rows}) == len(rows)


def test_it_ends_in_one_line_when_the_mount_does(new_mount: Callable[..., K42Mount]) -> None:
    mount = new_mount("model=full")
    follow = Follow(mount, "--json")
    follow.wait_for("total")
    mount.stop()
    status, errors = follow.ended()
    assert status == 1
    assert errors.startswith(f"k42fs: {mount.path} does not tell its objects: ")
    assert errors.count("\n") == 1


def test_lines_say_what_came_went_and_was_swapped_and_command_no_terminal() -> None:
    row = {
        "ref": 65,
        "object": "DirObject 7",
        "implementation": "split",
        "path": "/a\x1b[2J",
        "home_processor": 3,
        "processors": [0, 1, 2, 5],
    }
    assert text_of({"event": "new", **row}).split() == (
        ["+", "DirObject", "7", "/a\\x1b[2J", "split", "ref", "0x41", "home", "3", "on", "0-2,5"]
    )
    assert text_of({"event": "swapped", "before": "locked", **row}).startswith("~ DirObject 7")
    assert "locked -> split" in text_of({"event": "swapped", "before": "locked", **row})
    assert text_of({"event": "gone", "ref": 65}) == "- ref 0x41"
    assert text_of({"event": "unseen", "count": 1}) == "* 1 object came and went"
