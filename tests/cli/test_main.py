"""The command line's own words."""

from __future__ import annotations

import os
import subprocess
import sys
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
        "trace Record everything that a mount does, and read the recordings.",
        "status List the k42fs mounts, and whether their daemons answer.",
        "ns Show the name space of the mount that holds PATH: servers, prefixes, binds, what is hidden by what.",
        "umount Unmount MNT (default: mnt), also after its daemon has died, and wait for the daemon's end.",
    ):
        assert sentence in text
    assert not any(line.endswith("...") for line in listed.splitlines())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["stats", "--nonsense"], "No such option"),
        (["bind", "/a"], "Missing argument 'NEW'"),
        (["machine", "show"], "Missing argument 'PRESET'"),
        (["ns", "--no-follow"], "give one"),
        (["mount", "a", "b"], "unexpected extra argument"),
    ],
)
def test_a_wrong_command_line_is_one_line_that_says_where_help_is(words: list[str], said: str) -> None:
    done = CliRunner().invoke(cli, words, prog_name="k42fs")
    assert (done.exit_code, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("k42fs: ")
    assert said in line
    command = " ".join(["k42fs", *words[: words.index("show") + 1 if "show" in words else 1]])
    assert line.endswith(f"see '{'k42fs' if words == ['nonsense'] else command} --help'")


def test_no_command_shows_the_help_and_help_ends_well() -> None:
    assert "Commands:" in CliRunner().invoke(cli, [], prog_name="k42fs").output
    assert CliRunner().invoke(cli, ["--help"], prog_name="k42fs").exit_code == 0
    assert CliRunner().invoke(cli, ["machine", "explore", "--help"], prog_name="k42fs").exit_code == 0


def test_python_runs_the_package_as_the_command(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "k42fs", "presets", "--nonsense"], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("k42fs: No such option")
    assert done.stderr.endswith("see 'k42fs presets --help'\n")


def test_tracing_has_its_commands_in_its_help() -> None:
    done = CliRunner().invoke(cli, ["trace", "--help"], prog_name="k42fs")
    assert done.exit_code == 0
    listed = done.output.partition("Commands:\n")[2]
    for command in ("kmon", "locks", "run", "start", "stop", "mask", "dump", "status"):
        assert f"\n  {command} " in f"\n{listed}"
        assert CliRunner().invoke(cli, ["trace", command, "--help"], prog_name="k42fs").exit_code == 0


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_both_lists_of_presets_are_one(flags: list[str]) -> None:
    here = CliRunner().invoke(cli, ["presets", *flags])
    there = CliRunner().invoke(cli, ["machine", "presets", *flags])
    assert (here.exit_code, here.output) == (0, there.output)
    assert "dir-1024" in here.output


@pytest.mark.parametrize("command", [["stats"], ["ns"], ["objects"]])
def test_outside_of_a_mount_the_mend_fits_the_command(tmp_path: Path, command: list[str]) -> None:
    done = CliRunner().invoke(cli, [*command, str(tmp_path)], prog_name="k42fs")
    assert done.exit_code == 1
    assert "is not in a k42fs mount: give a path in one" in done.stderr
    assert "-m" not in done.stderr.split("mount: ")[1]
    done = CliRunner().invoke(cli, ["detach", "-m", str(tmp_path), "/x"], prog_name="k42fs")
    assert "say which with -m PATH" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may install the helper")
def test_the_helper_is_installed_and_removed_once(tmp_path: Path) -> None:
    path = tmp_path / "mount.fuse.k42fs"
    assert install(path) == f"installed {path}"
    assert path.read_text() == helper_text()
    assert path.stat().st_mode & 0o777 == 0o755
    assert uninstall(path) == f"removed {path}"
    assert uninstall(path) == f"there is no {path}: nothing to remove"
    assert not path.exists()
