"""run.sh's own doings: what it leaves behind, and how it ends. Set-up, k42fs and the steps are stood in for."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

SETUP = """
VENV=$ROOT/.venv
say() { printf '%s\\n' "$*"; }
fail() { say "$*" >&2; exit 1; }
seconds_since() { echo 0.1; }
require_packages() { :; }
require_fuse() { :; }
setup_venv() { :; }
is_mounted() { [ -e "$ROOT/mounted" ]; }
force_unmount() { rm "$ROOT/mounted"; }
"""

K42FS = """#!/bin/sh
root=${0%/.venv/*}
case $1 in
    mount) touch "$root/mounted"; echo "$3" >"$root/options"; echo started >"${3##*log=}" ;;
    umount) rm "$root/mounted" ;;
    stats)
        echo "DirObject (gone)  lock"
        echo "DirObject $(stat -c %i "$root/mnt/shared" 2>/dev/null || echo 0)  dirlock  81  52" ;;
esac
"""

STEPS = ("git_clone", "git_fsck", "git_commit", "tar", "sqlite", "make", "writers")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with run.sh as it is and everything that it calls replaced; its temporary files go to tmp/."""
    root = tmp_path / "checkout"
    for folder in ("scripts", ".venv/bin", "mnt", "tmp"):
        (root / folder).mkdir(parents=True)
    shutil.copy(ROOT / "run.sh", root)
    (root / "scripts/setup.sh").write_text(SETUP)
    steps = "".join(f"use_{step}() {{ [ ! -e $ROOT/fail-{step} ]; }}\n" for step in STEPS)
    (root / "scripts/real_use.sh").write_text(f"prepare_git() {{ touch $SCRATCH/gitconfig; }}\n{steps}")
    for name, text in (("k42fs", K42FS), ("python", "#!/bin/sh\n")):
        (root / ".venv/bin" / name).write_text(text)
        (root / ".venv/bin" / name).chmod(0o755)
    return root


def run(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(checkout / "run.sh"), *arguments],
        env={**os.environ, "TMPDIR": str(checkout / "tmp")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_it_unmounts_and_leaves_no_temporary_files(checkout: Path) -> None:
    done = run(checkout)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("  ok ") == 1 + len(STEPS)
    assert not (checkout / "mounted").exists()
    assert not os.listdir(checkout / "tmp")


def test_the_hot_directory_is_named_by_its_path(checkout: Path) -> None:
    (checkout / "mnt" / "shared" / "deep").mkdir(parents=True)
    inode = (checkout / "mnt" / "shared").stat().st_ino
    assert f"# DirObject {inode}, the first above, is mnt/shared\n" in run(checkout).stdout


def test_stay_leaves_the_mount_and_its_log_but_no_temporary_files(checkout: Path) -> None:
    done = run(checkout, "--stay")
    assert (done.returncode, done.stderr) == (0, "")
    assert (checkout / "mounted").exists()
    assert not os.listdir(checkout / "tmp")
    log = (checkout / "options").read_text().strip().rpartition("log=")[2]
    assert Path(log).read_text() == "started\n"
    assert f"its log is {Path(log).relative_to(checkout)}" in done.stdout


@pytest.mark.parametrize("arguments", [[], ["--stay"]])
def test_a_step_that_fails_ends_it_with_the_log_and_without_the_mount(
    checkout: Path, arguments: list[str]
) -> None:
    (checkout / "fail-sqlite").touch()
    done = run(checkout, *arguments)
    assert done.returncode == 1
    assert "FAILED" in done.stdout
    assert "the daemon's log, last lines:\nstarted" in done.stderr
    assert not (checkout / "mounted").exists()
    assert not os.listdir(checkout / "tmp")
