"""rsync, tar and cp carry a tree with one of everything, and nothing is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from .support import run
from .trees import build_tree, record


@pytest.fixture
def source(target: Path) -> Path:
    """The tree to carry."""
    top = target / "source"
    top.mkdir()
    build_tree(top)
    return top


def test_rsync_copies_everything_and_finds_nothing_to_do_again(source: Path, target: Path) -> None:
    goal = target / "goal"
    copy = ["rsync", "-aHAX", "--numeric-ids", "--itemize-changes", f"{source}/", f"{goal}/"]
    assert run(copy)
    assert record(goal) == record(source)
    assert run(copy) == ""
    assert run([*copy, "--checksum"]) == ""


def test_rsync_carries_over_just_what_changed(source: Path, target: Path) -> None:
    goal = target / "goal"
    # Window -1: compare nanoseconds too, or a directory changed twice in one second is left alone.
    copy = ["rsync", "-aHAX", "--delete", "--inplace", "-@-1", "--itemize-changes", f"{source}/", f"{goal}/"]
    run(copy)
    (source / "dir" / "file-20").write_bytes(b"changed")
    (source / "dir" / "file-21").unlink()
    (source / "dir" / "file-22").chmod(0o600)
    changes = run(copy)
    assert {line.split()[-1] for line in changes.splitlines()} == {
        "dir/",
        "dir/file-20",
        "dir/file-21",
        "dir/file-22",
    }
    assert record(goal) == record(source)


def test_tar_packs_and_unpacks_everything(source: Path, target: Path) -> None:
    goal = target / "goal"
    goal.mkdir()
    keep = ["--xattrs", "--acls", "--xattrs-include=user.*", "--numeric-owner"]
    archive = target / "all.tar"
    run(["tar", *keep, "--format=posix", "--sparse", "-cpf", archive, "-C", source, "."])
    run(["tar", *keep, "--same-owner", "-xpf", archive, "-C", goal])
    assert record(goal) == record(source)
    run(["tar", *keep, "-df", archive, "-C", goal])


def test_cp_copies_everything(source: Path, target: Path) -> None:
    run(["/bin/cp", "-a", source, target / "goal"])
    assert record(target / "goal") == record(source)


def test_mv_to_another_file_system_and_back_loses_nothing(source: Path, target: Path, tmp_path: Path) -> None:
    expected = record(source)
    run(["/bin/mv", source, tmp_path / "away"])
    assert not source.exists()
    run(["/bin/mv", tmp_path / "away", target / "back"])
    assert record(target / "back") == expected
