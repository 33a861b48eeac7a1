"""The control files in `.k42`, and the statistics behind `k42fs stats`."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .mounting import K42Mount, k42fs
from .processes import as_user
from .support import ALICE, fails, names, opened, write

NONSENSE = [
    b"\xff\xfe\0",
    b"",
    b"\n",
    b"no such command\n",
    b"=",
    b"key=",
    b"pid=1\n",
    b"x" * 5000,
    b"-1",
    b"nan",
]
REFUSALS = (errno.EINVAL, errno.ENODATA, errno.EROFS, errno.EPERM, errno.EACCES, errno.E2BIG, errno.ENOENT)


@pytest.fixture
def mount(new_mount: Callable[..., K42Mount]) -> Iterator[K42Mount]:
    """A mount of its own, whose counters nobody else moves."""
    mount = new_mount("model=full")
    yield mount
    mount.stop()


def settings(control: Path) -> dict[str, Any]:
    """What can be set, and what a refused write must leave as it is."""
    values: dict[str, Any] = json.loads((control / "config.json").read_text())
    for counted in ("requests", "handles"):
        values.pop(counted, None)
    return {**values, "mounts": json.loads((control / "mounts.json").read_text())}


def test_the_control_directory_is_there_and_never_listed(mount: K42Mount) -> None:
    assert not names(mount.path)
    write(mount.path / "file")
    assert names(mount.path) == {b"file"}
    control = mount.path / ".k42"
    assert control.is_dir()
    assert names(control) >= {b"config", b"config.json", b"processors", b"locks", b"lines", b"reset"}
    for entry in control.iterdir():
        assert stat.S_ISREG(entry.stat().st_mode)
    assert os.listdir(mount.path) == ["file"]
    (mount.path / "file").unlink()


def test_every_readable_control_file_reads_whole_and_in_parts(mount: K42Mount) -> None:
    for entry in (mount.path / ".k42").iterdir():
        if not entry.stat().st_mode & 0o444:
            continue
        with opened(entry, os.O_RDONLY) as fd:
            parts = []
            while part := os.read(fd, 100):
                parts.append(part)
            text = b"".join(parts)
            assert os.pread(fd, 1 << 20, 0) == text
        assert text.decode()
        if entry.suffix == ".json":
            json.loads(text)


@pytest.mark.parametrize("text", NONSENSE, ids=lambda text: repr(text[:12]))
def test_nonsense_is_refused_and_changes_nothing(mount: K42Mount, text: bytes) -> None:
    control = mount.path / ".k42"
    before = settings(control)
    for entry in sorted(control.iterdir()):
        try:
            with opened(entry, os.O_WRONLY | os.O_TRUNC) as fd:
                if text:
                    with fails(*REFUSALS):
                        os.write(fd, text)
        except OSError as exc:
            assert exc.errno in REFUSALS, entry  # noqa: PT017  the open itself may be refused
    assert settings(control) == before
    write(mount.path / "file", b"works")
    assert (mount.path / "file").read_bytes() == b"works"


def test_unknown_keys_fixed_keys_and_bad_values_have_their_errnos(mount: K42Mount) -> None:
    config = mount.path / ".k42" / "config"
    for text, code in (
        (b"nokey=1", errno.ENODATA),
        (b"seed=1", errno.EROFS),
        (b"log_level=loud", errno.EINVAL),
    ):
        with opened(config, os.O_WRONLY) as fd, fails(code):
            os.write(fd, text)
    config.write_text("log_level=debug\n")
    assert settings(config.parent)["log_level"] == "debug"
    with fails(errno.EROFS):
        os.open(mount.path / ".k42" / "version", os.O_WRONLY)


def test_the_entries_of_the_control_directory_are_fixed(mount: K42Mount) -> None:
    control = mount.path / ".k42"
    listed = names(control)
    write(mount.path / "file")
    refusals = (*REFUSALS, errno.EEXIST, errno.EXDEV, errno.ENOTEMPTY, errno.EBUSY, errno.EOPNOTSUPP)
    changes: list[Callable[[], object]] = [
        lambda: write(control / "new"),
        lambda: (control / "new").mkdir(),
        lambda: (control / "new").symlink_to("x"),
        lambda: os.mkfifo(control / "new"),
        lambda: os.link(mount.path / "file", control / "new"),
        lambda: os.link(control / "version", mount.path / "version"),
        lambda: (control / "version").unlink(),
        lambda: (control / "version").rename(control / "new"),
        lambda: (control / "version").rename(mount.path / "version"),
        lambda: (mount.path / "file").rename(control / "version"),
        lambda: (control / "version").chmod(0o777),
        lambda: os.chown(control / "version", 1, 1),
        lambda: control.rmdir(),
        lambda: control.rename(mount.path / "moved"),
        lambda: (mount.path / "file").rename(control),
        lambda: control.mkdir(),
        lambda: (mount.path / ".k42").symlink_to("x"),
        lambda: os.unlink(control),
    ]
    for number, change in enumerate(changes):
        try:
            change()
        except OSError as exc:
            if exc.errno not in (*refusals, errno.EISDIR, errno.ENOTDIR):
                raise
        else:
            pytest.fail(f"change number {number} was allowed")
    assert names(control) == listed
    assert names(mount.path) == {b"file"}


def test_others_may_look_but_not_steer(mount: K42Mount) -> None:
    control = mount.path / ".k42"

    def look_and_steer() -> None:
        assert (control / "version").read_text()
        with fails(errno.EACCES):
            (control / "config").write_text("log_level=debug")
        with fails(errno.EACCES):
            (control / "reset").write_text("1")

    mount.path.chmod(0o755)
    as_user(look_and_steer, ALICE)


def _numbers(value: object, key: str) -> int:
    """The sum of all numbers under *key*, at any depth."""
    if isinstance(value, list):
        return sum(_numbers(item, key) for item in value)
    if isinstance(value, dict):
        own = value.get(key)
        here = own if isinstance(own, int) else 0
        return here + sum(_numbers(item, key) for item in value.values())
    return 0


def stats(path: Path, *flags: str) -> dict[str, Any]:
    done = k42fs("stats", "--json", *flags, path)
    assert done.status == 0, done
    value: dict[str, Any] = json.loads(done.output)
    return value


def test_stats_count_the_work_and_can_be_reset(mount: K42Mount) -> None:
    for number in range(300):
        write(mount.path / str(number), b"x" * 100)
        os.stat(mount.path / str(number))
    busy = stats(mount.path, "--reset")
    assert _numbers(busy, "calls") >= 300
    assert _numbers(busy, "cycles") > 0
    assert 0 <= _numbers(stats(mount.path), "calls") < _numbers(busy, "calls")
    assert "processor" in k42fs("stats", mount.path).output.lower()


@pytest.mark.parametrize("model", ["off", "calls", "full"])
def test_stats_answer_in_every_model(new_mount: Callable[..., K42Mount], model: str) -> None:
    mount = new_mount(f"model={model}")
    for number in range(50):
        write(mount.path / str(number), b"x")
    counted = _numbers(stats(mount.path), "calls")
    assert counted >= 50 if model != "off" else counted == 0
    mount.stop()


def test_what_a_write_does_is_told_to_who_reads(mount: K42Mount) -> None:
    assert (mount.path / ".k42" / "reset").read_text().startswith("write 1 or all")
    assert (mount.path / ".k42" / "resolve").read_text().startswith("open for reading and writing")


@pytest.mark.parametrize("name", ["processors", "locks.json", "mounts.json", "version"])
def test_what_can_only_be_read_is_not_opened_for_writing(mount: K42Mount, name: str) -> None:
    with fails(errno.EROFS):
        os.open(mount.path / ".k42" / name, os.O_WRONLY)


def counted(control: Path) -> tuple[object, ...]:
    """Who has served how many requests, in all, and how many references came late. Cycles the clean-up spends too."""
    machine = json.loads((control / "processors.json").read_text())
    served = {row["vp"]: row["operations"] for row in machine["per_processor"] if row["operations"]}
    requests = json.loads((control / "config.json").read_text())["requests"]
    return served, requests, machine["late_arrivals"]


def test_looking_counts_as_no_request(mount: K42Mount) -> None:
    control = mount.path / ".k42"
    for number in range(20):
        write(mount.path / f"file-{number}", b"data")
    before = counted(control)
    for _ in range(3):
        for file in control.iterdir():
            if file.name != "reset":
                assert file.read_bytes()
        assert k42fs("stats", control / "locks").status == 0
        assert k42fs("ns", "--resolve", "/file-1", control).status == 0
        with opened(control / "locks", os.O_RDONLY) as fd:
            os.fstat(fd)
    assert counted(control) == before


def test_stats_of_what_is_no_k42fs_are_refused(tmp_path: Path, mount: K42Mount) -> None:
    done = k42fs("stats", tmp_path)
    assert done.status != 0
    assert "Traceback" not in done.errors


def test_a_directory_in_the_mount_may_be_called_like_the_control_directory(mount: K42Mount) -> None:
    (mount.path / "dir").mkdir()
    (mount.path / "dir" / ".k42").mkdir()
    write(mount.path / "dir" / ".k42" / "file", b"mine")
    assert names(mount.path / "dir") == {b".k42"}
    assert (mount.path / "dir" / ".k42" / "file").read_bytes() == b"mine"
