"""A user without privileges mounts, works and unmounts, through the set-user-ID fusermount3."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .mounting import daemon_pid, is_mounted, is_running, wait_until_gone
from .processes import Child, as_user
from .support import ALICE, NOBODY, eventually
from .test_lifecycle_mounting import refused
from .unprivileged import CannotTestError, User, as_nobody

Session = Callable[[Callable[[User], None]], None]


@pytest.fixture
def session(workshop: Path) -> Iterator[Session]:
    """Runs a function with a `User`, in a process that has a mount name space of its own."""
    if os.environ.get("K42FS_TEST_TARGET"):
        pytest.skip("a given directory is not mounted by us")
    if os.geteuid() != 0:
        pytest.skip("only root may become another user")
    scratch = Path(tempfile.mkdtemp(prefix="user-", dir=workshop))
    scratch.chmod(0o755)

    def run_session(work: Callable[[User], None]) -> None:
        def in_child() -> str | None:
            try:
                user = User(scratch)
            except CannotTestError as exc:
                return str(exc)
            try:
                work(user)
            finally:
                user.clear()
            return None

        with Child(in_child) as child:
            reason = child.result()
        if reason is not None:
            pytest.skip(reason)

    yield run_session
    pid = daemon_pid(scratch / "home" / "m")
    if pid is not None and is_running(pid):
        os.kill(pid, signal.SIGKILL)
        wait_until_gone(scratch / "home" / "m", pid)
    shutil.rmtree(scratch)


def _refused_to_enter(path: Path) -> bool:
    try:
        os.listdir(path)
    except PermissionError:
        return True
    return False


def test_a_user_mounts_works_and_unmounts(session: Session) -> None:
    def work(user: User) -> None:
        pid = user.mount("processors=4")
        assert Path(f"/proc/{pid}").stat().st_uid == NOBODY
        listed = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
        options = next(words[3] for words in listed if words[1] == str(user.point)).split(",")
        assert {"nosuid", "nodev", f"user_id={NOBODY}"} <= set(options)
        assert "allow_other" not in options
        script = (
            "cd $1 && mkdir d && echo hello >d/a && mv d/a d/b && ln d/b d/c && ln -s d/b link && cat link"
            " && mkfifo fifo && chmod u+s d/b && ! chown 0 d/b && ! mknod device c 1 3"
            " && dd if=/dev/zero of=big bs=64k count=40 && rm big && stat -c %u:%g:%h:%a . d/b"
        )
        done = as_nobody("/bin/sh", "-c", script, "sh", user.point)
        assert done.status == 0, done
        assert done.output.split() == ["hello", "65534:65534:3:755", "65534:65534:2:4644"]
        assert user.k42fs("attach", "-m", user.point, "ramfs", "/scratch").status == 0
        assert as_nobody("/bin/touch", user.point / "scratch" / "file").status == 0
        assert "/scratch" in user.k42fs("ns", user.point).output
        assert "requests" in user.k42fs("stats", user.point).output
        words = _row(user.k42fs("status").output, user.point).split()
        assert (words[1], words[4]) == ("alive", str(pid))
        done = user.k42fs("umount", user.point)
        assert (done.status, done.errors) == (0, "")
        wait_until_gone(user.point, pid)

    session(work)


def test_a_user_records_what_a_command_does_on_his_mount(session: Session) -> None:
    def work(user: User) -> None:
        user.mount("processors=4")
        target = user.home / "t"
        command = ("/bin/touch", user.point / "file")
        done = user.k42fs("trace", "run", "--mount", user.point, "-o", target, "--", *command)
        assert done.status == 0, done
        assert "recorded " in done.errors
        assert {each.stat().st_uid for each in target.iterdir()} == {NOBODY}
        assert "file" in user.k42fs("trace", "requests", "--log", target).output
        refused(user.k42fs("trace", "start", "-o", "/proc/t", user.point), "/proc/t")
        refused(user.k42fs("trace", "start", "-o", "/etc/t", user.point), "/etc/t: Permission denied")
        refused(user.k42fs("trace", "start", "-o", user.home / "u", user.point, uid=0), "Permission denied")
        assert "nothing is being recorded" in user.k42fs("trace", "status", user.point).output
        assert user.k42fs("umount", user.point).status == 0

    session(work)


def _row(table: str, path: Path) -> str:
    return next(line for line in table.splitlines() if line.split()[0] == str(path))


def test_nobody_else_gets_in_and_status_says_so(session: Session) -> None:
    def work(user: User) -> None:
        user.mount("model=off")
        assert _refused_to_enter(user.point)  # root too: the kernel asks whose mount it is
        assert as_user(lambda: _refused_to_enter(user.point), ALICE)
        table = user.k42fs("status", uid=0).output
        assert _row(table, user.point).split()[1] == "private"
        # As wide a row as any: what it cannot know is a dash in its own column.
        assert len(_row(table, user.point)) == len(table.splitlines()[0])
        refused(user.k42fs("umount", user.point, uid=ALICE), str(user.point))
        assert is_mounted(user.point)
        assert user.k42fs("umount", user.point, uid=0).status == 0
        assert not is_mounted(user.point)

    session(work)


def test_what_a_user_may_not_mount_is_refused_in_one_line(session: Session) -> None:
    def work(user: User) -> None:
        foreign = user.home.parent / "foreign"
        foreign.mkdir()
        refused(user.k42fs("mount", foreign), str(foreign), "write access")
        refused(user.k42fs("mount", user.point, env={"HOME": "/nonexistent"}), "log=")
        text = Path("/etc/fuse.conf").read_text() if Path("/etc/fuse.conf").exists() else ""
        if "user_allow_other" not in {line.strip() for line in text.splitlines()}:
            refused(
                user.k42fs("mount", "-o", "allow_other", user.point), "user_allow_other", "/etc/fuse.conf"
            )
        assert not is_mounted(foreign)
        assert not is_mounted(user.point)
        user.mount(f"log={user.home}/own.log")
        assert user.k42fs("umount", user.point).status == 0

    session(work)


def test_a_users_dead_or_busy_mount_is_cleared_without_root(session: Session) -> None:
    def work(user: User) -> None:
        pid = user.mount("model=off")
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: not is_running(pid), "the daemon's death")
        assert _row(user.k42fs("status").output, user.point).split()[1] == "dead"
        assert user.k42fs("umount", user.point).status == 0
        pid = user.mount("model=off")

        def stay() -> None:
            os.chdir(user.point)
            (user.home / "inside").touch()
            signal.pause()

        with Child(stay, NOBODY, NOBODY) as child:
            eventually((user.home / "inside").exists, "somebody is inside")
            os.kill(pid, signal.SIGTERM)
            wait_until_gone(user.point, pid)
            child.kill()

    session(work)
