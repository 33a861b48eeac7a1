"""`mount -t fuse.k42fs` through the installed helper, as mount(8) and /etc/fstab use it."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .mounting import is_mounted, k42fs, wait_until_gone
from .support import eventually, fails, run

HELPER = Path("/sbin/mount.fuse.k42fs")


@pytest.fixture
def mount_point(workshop: Path) -> Iterator[Path]:
    """A directory to mount on; the helper that was installed before, if any, is put back."""
    if os.environ.get("K42FS_TEST_TARGET"):
        pytest.skip("a given directory is not mounted by us")
    if os.geteuid() != 0:
        pytest.skip("only root may install the helper")
    path = workshop / "by-helper"
    path.mkdir()
    before = HELPER.read_bytes() if HELPER.exists() else None
    assert k42fs("install-helper").status == 0
    yield path
    if is_mounted(path):
        run(["umount", "-l", path])
    path.rmdir()
    assert k42fs("install-helper", "--remove").status == 0
    if before is not None:
        HELPER.write_bytes(before)
        HELPER.chmod(0o755)


def test_mount_mounts_fills_up_recovers_and_unmounts(mount_point: Path) -> None:
    run(["mount", "-t", "fuse.k42fs", "none", mount_point, "-o", "processors=16,size=64m"])
    config = json.loads((mount_point / ".k42" / "config.json").read_text())
    assert (config["processors"], config["size"]) == (16, 64 << 20)
    big = mount_point / "big"
    with fails(errno.ENOSPC), big.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 20))
    big.unlink()
    eventually(lambda: os.statvfs(mount_point).f_bavail * 4096 > 60 << 20, "the room to come back")
    big.write_bytes(bytes(20 << 20))
    assert big.stat().st_size == 20 << 20
    run(["umount", mount_point])
    wait_until_gone(mount_point, config["pid"])


def test_a_preset_file_reaches_the_daemon(mount_point: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text("mhz = 77\n")
    run(["mount", "-t", "fuse.k42fs", "none", mount_point, "-o", f"preset={mine}"])
    config = json.loads((mount_point / ".k42" / "config.json").read_text())
    run(["umount", mount_point])
    wait_until_gone(mount_point, config["pid"])
    assert config["preset"] == str(mine)


def test_a_fake_mount_mounts_nothing(mount_point: Path) -> None:
    run(["mount", "-f", "-t", "fuse.k42fs", "none", mount_point])
    assert not is_mounted(mount_point)
