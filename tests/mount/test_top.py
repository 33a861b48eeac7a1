"""`k42fs top` on a real mount: as text, as JSON, and in a terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .mounting import REPOSITORY, K42Mount, k42fs

TOP = [sys.executable, "-m", "k42fs.cli.main", "top"]
SECONDS = 30


@pytest.fixture
def mount(new_mount: Callable[..., K42Mount]) -> Iterator[K42Mount]:
    """A mount of its own, whose counters nobody else moves."""
    mount = new_mount("model=full")
    yield mount
    mount.stop()


@contextmanager
def busy(directory: Path) -> Iterator[None]:
    """Make and remove names in *directory*, from two clients, while the block lasts."""
    over = threading.Event()

    def work() -> None:
        code = "import os,sys\nwhile True:\n p=sys.argv[1]; os.close(os.open(p,64,0o644)); os.unlink(p)\n"
        with subprocess.Popen(
            [sys.executable, "-c", code, str(directory / str(threading.get_ident()))]
        ) as one:
            over.wait(SECONDS)
            one.kill()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        time.sleep(0.3)
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
        for left in directory.iterdir():
            left.unlink()


def test_a_busy_file_is_shown_with_its_path(mount: K42Mount) -> None:
    file = mount.path / "hot" / "it.log"
    file.parent.mkdir()
    file.touch()
    over = threading.Event()

    def write() -> None:
        with file.open("ab", buffering=0) as out:
            while not over.is_set():
                out.write(b"more")
                file.stat()

    writers = [threading.Thread(target=write) for _ in range(3)]
    for writer in writers:
        writer.start()
    try:
        done = k42fs("top", mount.path, "--json", "-n", "1", "-i", "0.5")
    finally:
        over.set()
        for writer in writers:
            writer.join()
    assert (done.status, done.errors) == (0, "")
    seen = json.loads(done.output)
    files = [row for row in seen["hot_objects"] if row["kind"] == "ServerFile"]
    assert [row["path"] for row in files] == ["/hot/it.log"]
    assert "/hot/it.log" in {row["path"] for row in seen["lines"]}
    listed = k42fs("trace", "objects", "--json", mount.path)
    rows = [json.loads(line) for line in listed.output.splitlines()]
    assert "/hot/it.log" in {row.get("path") for row in rows if row.get("kind") == "ServerFile"}


def test_json_names_the_busy_directory_and_its_requests(mount: K42Mount) -> None:
    (mount.path / "hot").mkdir()
    with busy(mount.path / "hot"):
        done = k42fs("top", mount.path, "--json", "-n", "2", "-i", "0.5")
    assert (done.status, done.errors) == (0, "")
    first, second = (json.loads(line) for line in done.output.splitlines())
    for seen in (first, second):
        assert 0.5 <= seen["seconds"] < SECONDS
        assert seen["requests_s"] > 10
        assert {"create", "unlink"} <= set(seen["by_request_s"])
        assert seen["hot_objects"][0]["path"] == "/hot"
        assert sum(seen["by_request_s"].values()) == pytest.approx(seen["requests_s"])
        served = sum(row["requests_s"] for row in seen["per_processor"])
        assert served == pytest.approx(seen["requests_s"] - seen["by_request_s"]["forget"])
        assert any(row["utilisation"] > 0 for row in seen["per_processor"])


def test_text_has_no_escapes_and_says_when_nothing_happens(mount: K42Mount) -> None:
    done = k42fs("top", "--once", "-i", "0.1", mount.path)
    assert (done.status, done.errors) == (0, "")
    assert "\x1b" not in done.output
    assert done.output.startswith("k42fs top ")
    assert str(mount.path)[-8:] in done.output.splitlines()[0], "the end of a long path is what is left of it"
    assert "0 requests/s" in done.output
    assert "no lock was waited for" in done.output


def test_looking_changes_no_figure(mount: K42Mount) -> None:
    def figures() -> Any:  # noqa: ANN401
        return json.loads((mount.path / ".k42" / "processors.json").read_text())

    (mount.path / "file").touch()
    ends, before = time.monotonic() + SECONDS, None
    while (now := figures()) != before:  # the clean-up daemons go on until there is nothing left to do
        assert time.monotonic() < ends
        before = now
        time.sleep(2.5)
    assert k42fs("top", "--once", "-i", "0.1", mount.path).status == 0
    assert figures() == before
    (mount.path / "file").unlink()


@pytest.mark.parametrize("model", ["calls", "off"])
def test_a_mount_that_models_less_shows_what_it_has(new_mount: Callable[..., K42Mount], model: str) -> None:
    mount = new_mount(f"model={model}")
    with busy(mount.path):
        done = k42fs("top", "-n", "1", "-i", "0.5", mount.path)
    assert done.status == 0
    assert f"model={model}" in done.output
    assert "create" in done.output
    assert ("METHODS" in done.output) == (model == "calls")
    assert "LINES" not in done.output


def test_a_path_in_no_mount_is_refused_in_one_line(tmp_path: Path) -> None:
    done = k42fs("top", "--once", tmp_path)
    assert done.status == 1
    assert done.output == ""
    assert done.errors.count("\n") == 1
    assert "is not in a k42fs mount" in done.errors


class Terminal:
    """`k42fs top` in a terminal of 80x24."""

    def __init__(self, path: Path) -> None:
        self._main, second = pty.openpty()
        fcntl.ioctl(second, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.before = termios.tcgetattr(second)
        env = {**os.environ, "PYTHONPATH": str(REPOSITORY), "TERM": "xterm-256color"}
        for name in ("COLUMNS", "LINES", "NO_COLOR"):
            env.pop(name, None)
        self._process = subprocess.Popen(
            [*TOP, "-i", "0.2", path],
            stdin=second,
            stdout=second,
            stderr=subprocess.PIPE,
            env=env,
            start_new_session=True,
        )
        self._second = second
        self.text = ""

    def wait_for(self, words: str) -> None:
        """Read the screen until *words* were drawn since the last wait."""
        ends = time.monotonic() + SECONDS
        self.text = ""
        while words not in self.text:
            assert time.monotonic() < ends, f"{words!r} never appeared; last: {self.text[-2000:]!r}"
            if select.select([self._main], [], [], 0.2)[0]:
                self.text += os.read(self._main, 1 << 16).decode(errors="replace")
                self.text = self.text[-(1 << 16) :]
            assert self._process.poll() is None, self._process.communicate()[1]

    def send(self, keys: str) -> None:
        os.write(self._main, keys.encode())

    def end(self) -> tuple[int, str]:
        """Return the command's status and its errors, having checked that the terminal is as before."""
        drain = threading.Thread(target=self._drain, daemon=True)
        drain.start()
        errors = self._process.communicate(timeout=SECONDS)[1].decode()
        assert termios.tcgetattr(self._second) == self.before
        os.close(self._second)
        drain.join(1)
        return self._process.returncode, errors

    def interrupt(self) -> None:
        os.kill(self._process.pid, signal.SIGINT)

    def _drain(self) -> None:
        try:
            while os.read(self._main, 1 << 16):
                pass
        except OSError:
            os.close(self._main)


def test_keys_work_in_a_terminal_and_it_is_left_as_it_was(mount: K42Mount) -> None:
    (mount.path / "hot").mkdir()
    with busy(mount.path / "hot"):
        terminal = Terminal(mount.path)
        terminal.wait_for("OBJECTS")
        terminal.wait_for("/hot")
        terminal.send("l")
        terminal.wait_for(".dirlock")
        terminal.send("f")
        terminal.wait_for("FROZEN")
        terminal.send("?")
        terminal.wait_for("this help, and back")
        terminal.send("q")
        assert terminal.end() == (0, "")


def test_a_key_swaps_the_selected_object_under_load(mount: K42Mount) -> None:
    (mount.path / "hot").mkdir()
    with busy(mount.path / "hot"):
        terminal = Terminal(mount.path)
        terminal.wait_for("/hot")
        terminal.send("w")
        terminal.wait_for("swap DirObject")
        terminal.send("\t")
        terminal.wait_for("to: distributed_")
        terminal.send("\r")
        terminal.wait_for("is served by distributed now")
        terminal.send("w")
        terminal.send("nonsense\r")
        terminal.wait_for("has no implementation 'nonsense'")
        terminal.send("q")
        assert terminal.end() == (0, "")
        about = json.loads(os.getxattr(mount.path / "hot", "user.k42.object"))
    assert about["implementation"] == "distributed"


def test_ctrl_c_ends_it(mount: K42Mount) -> None:
    terminal = Terminal(mount.path)
    terminal.wait_for("requests/s")
    terminal.interrupt()
    assert terminal.end() == (0, "")


def test_the_mount_can_be_unmounted_under_it(new_mount: Callable[..., K42Mount]) -> None:
    """It keeps no file open there, and then says in one line why it has ended."""
    mount = new_mount("model=full")
    terminal = Terminal(mount.path)
    terminal.wait_for("requests/s")
    mount.stop()
    status, errors = terminal.end()
    assert status == 1
    assert errors.count("\n") == 1
    assert errors.startswith("k42fs: ")
    assert "does not tell what it is doing" in errors
