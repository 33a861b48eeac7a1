"""`k42fs ns --resolve` and `.k42/resolve`: where a path leads, found by the name space in the daemon."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from .mounting import K42Mount, k42fs
from .processes import as_user
from .support import ALICE, fails, opened, write
from .syscalls import RENAME_EXCHANGE, renameat2


@pytest.fixture
def mount(new_mount: Callable[..., K42Mount]) -> K42Mount:
    """A mount of its own: /a/b/file, the links /l -> a/b and /a/out -> /m/file, and a second server at /m."""
    mount = new_mount("model=full")
    (mount.path / "a" / "b").mkdir(parents=True)
    write(mount.path / "a" / "b" / "file", b"one")
    (mount.path / "l").symlink_to("a/b")
    (mount.path / "a" / "out").symlink_to("/m/file")
    done = k42fs("attach", "-m", mount.path, "ramfs", "/m")
    assert done.status == 0, done
    write(mount.path / "m" / "file", b"two")
    return mount


def ask(fd: int, question: str) -> dict[str, Any]:
    """Ask one question of an open resolve.json."""
    os.write(fd, question.encode() + b"\n")
    return reply(fd)


def reply(fd: int) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(b"".join(iter(lambda: os.read(fd, 100), b"")))
    return answer


def links(answer: dict[str, Any]) -> list[tuple[str, bool]]:
    """The links that were followed, and whether the client knew them."""
    return [(step["path"], step["known"]) for step in answer["steps"] if step["step"] == "link"]


def resolver(mount: K42Mount) -> Path:
    return mount.path / ".k42" / "resolve.json"


def test_the_answer_names_each_prefix_server_and_link_and_the_file(mount: K42Mount) -> None:
    done = k42fs("ns", "--json", "--resolve", "/a/out", "--resolve", "/l/file", mount.path)
    assert done.status == 0, done
    out, file = json.loads(done.output)
    assert [(step["prefix"], step["rest"]) for step in out["steps"] if step["step"] == "prefix"] == [
        ("/", "a/out"),
        ("/m", "file"),
    ]
    assert links(out) == [("/a/out", False)]
    assert (out["path"], out["type"]) == ("/m/file", "regular file")
    # Inode numbers are the servers' own; the kernel's number for a file of the second says which server, too.
    assert (mount.path / "m" / "file").stat().st_ino & (1 << 40) - 1 == out["inode"]
    assert (file["path"], file["inode"]) == ("/a/b/file", (mount.path / "a/b/file").stat().st_ino)
    about = json.loads(os.getxattr(mount.path / "a" / "b" / "file", "user.k42.object"))
    assert (file["object"], file["ref"]) == (about["object"], about["ref"])


def test_the_text_has_a_line_for_each_step_and_the_last_link_is_followed_unless_told(mount: K42Mount) -> None:
    done = k42fs("ns", "-r", "/l", mount.path)
    assert [line.split()[0] for line in done.output.splitlines()] == [
        "/l",
        *("prefix", "walked", "link", "prefix", "walked", "found", "object"),
    ]
    assert "/a/b: directory" in done.output
    assert "/l: symbolic link" in k42fs("ns", "-r", "/l", "--no-follow", mount.path).output


def test_a_bind_is_described_as_the_listing_does(mount: K42Mount) -> None:
    assert k42fs("bind", "-m", mount.path, "/a/b", "/x").status == 0
    assert "prefix  /x -> bind to /a/b (server" in k42fs("ns", "--resolve", "/x", mount.path).output
    assert "bind to /a/b" in k42fs("ns", mount.path).output


def test_what_leads_nowhere_shows_the_way_there_and_is_one_line_of_error(mount: K42Mount) -> None:
    done = k42fs("ns", "--resolve", "/l/none/x", mount.path)
    assert done.status == 1
    assert done.errors == "k42fs: /l/none/x: No such file or directory\n"
    assert done.output.splitlines()[-2:] == ["  walked  /a/b", "  error   ENOENT: No such file or directory"]
    for words in (("--resolve", "l"), ("--resolve", "")):
        done = k42fs("ns", *words, mount.path)
        assert (done.status, done.output, len(done.errors.splitlines())) == (1, "", 1)


def test_questions_on_one_handle_share_a_client_and_each_answer_is_read_from_its_start(
    mount: K42Mount,
) -> None:
    with opened(resolver(mount)) as fd:
        assert links(ask(fd, "/l/file")) == [("/l", False)]
        for _ in range(3):
            assert links(ask(fd, "/l/file")) == [("/l", True)]
        assert os.read(fd, 1) == b""
        with opened(resolver(mount)) as other:
            assert links(ask(other, "/l/file")) == [("/l", False)]
        with fails(errno.ESPIPE):
            os.lseek(fd, 0, os.SEEK_SET)


def retarget(root: Path) -> None:
    (root / "l").unlink()
    (root / "l").symlink_to("a")


CHANGES: dict[str, Callable[[Path], object]] = {
    "unlink": lambda root: (root / "l").unlink(),
    "rename": lambda root: (root / "l").rename(root / "gone"),
    "replace": lambda root: write(root / "new").rename(root / "l"),
    "exchange": lambda root: renameat2(root / "l", root / "a", RENAME_EXCHANGE),
    "retarget": retarget,
    "move what is above": lambda root: (root / "a").rename(root / "moved"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_known_link_is_forgotten_when_it_changes(mount: K42Mount, change: str) -> None:
    with opened(resolver(mount)) as fd:
        assert links(ask(fd, "/l")) == [("/l", False)]
        assert links(ask(fd, "/l")) == [("/l", True)]
        CHANGES[change](mount.path)
        try:
            answer = ask(fd, "/l")
        except OSError as exc:
            assert exc.errno == errno.ENOENT  # noqa: PT017  some of the changes leave nothing there
            answer = reply(fd)
            assert answer["error"] == "ENOENT"
            assert not os.path.exists(mount.path / "l")
        else:
            assert answer["inode"] == (mount.path / "l").stat().st_ino & (1 << 40) - 1
        assert ("/l", True) not in links(answer)


def test_bad_questions_are_refused_and_change_nothing(mount: K42Mount) -> None:
    mounts = (mount.path / ".k42" / "mounts").read_text()
    with opened(resolver(mount)) as fd:
        ask(fd, "/l")
        for question, code in (
            ("relative", errno.EINVAL),
            ("\n", errno.EINVAL),
            ("nofollow", errno.EINVAL),
            ("/a\0b", errno.EINVAL),
            ("/" + "x" * 256, errno.ENAMETOOLONG),
            ("/x" * 2048, errno.ENAMETOOLONG),
            ("/a/b/file/x", errno.ENOTDIR),
            ("/a/b/file/", errno.ENOTDIR),
            ("/.k42/config", errno.ENOENT),
        ):
            with fails(code):
                os.write(fd, question.encode())
        assert links(ask(fd, "/l/file")) == [("/l", True)]
    assert (mount.path / ".k42" / "mounts").read_text() == mounts


def test_callers_learn_only_of_what_they_may_search(mount: K42Mount) -> None:
    (mount.path / "a").chmod(0o750)
    os.chown(mount.path / "a", 0, 5000)

    def outcomes() -> list[int]:
        with opened(resolver(mount)) as fd:
            return [outcome(fd, path) for path in ("/a", "/a/b", "/l", "/a/out", "/m/file")]

    def outcome(fd: int, path: str) -> int:
        try:
            os.write(fd, path.encode())
        except OSError as exc:
            return exc.errno or -1
        return 0

    def check(wanted: Sequence[int]) -> None:
        assert outcomes() == wanted

    denied = errno.EACCES
    as_user(lambda: check([0, denied, denied, denied, 0]), ALICE)
    as_user(lambda: check([0, 0, 0, 0, 0]), ALICE, groups=[5000])

    def keep_a_handle() -> None:
        with opened(resolver(mount)) as fd:
            assert outcome(fd, "/mine/link") == 0
            os.chmod(mount.path / "mine", 0o600)
            assert outcome(fd, "/mine/link") == errno.EACCES

    (mount.path / "a").chmod(0o755)
    (mount.path / "mine").mkdir()
    (mount.path / "mine" / "link").symlink_to("/m/file")
    os.chown(mount.path / "mine", ALICE, ALICE)
    as_user(keep_a_handle, ALICE)
