"""The command line's own words."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from k42fs.cli.main import cli
from k42fs.cli.mount_helper import helper_text, install, uninstall


@pytest.mark.parametrize("width", [60, 80, 200])
def test_help_lists_every_command_with_a_whole_sentence(width: int) -> None:
    done = CliRunner().invoke(cli, ["--help"], terminal_width=width)
    assert done.exit_code == 0
    listed = done.output.partition("Commands:\n")[2]
    assert "mount-helper" not in listed
    text = " ".join(listed.split())
    for sentence in (
        "status List the k42fs mounts, and whether their daemons answer.",
        "ns Show the name space of the mount that holds PATH: servers, prefixes, binds, what is hidden by what.",
        "umount Unmount MNT (default: mnt), also after its daemon has died, and wait for the daemon's end.",
    ):
        assert sentence in text
    assert not any(line.endswith("...") for line in listed.splitlines())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may install the helper")
def test_the_helper_is_installed_and_removed_once(tmp_path: Path) -> None:
    path = tmp_path / "mount.fuse.k42fs"
    assert install(path) == f"installed {path}"
    assert path.read_text() == helper_text()
    assert path.stat().st_mode & 0o777 == 0o755
    assert uninstall(path) == f"removed {path}"
    assert uninstall(path) == f"there is no {path}: nothing to remove"
    assert not path.exists()
