"""git: a life of a repository, and its own checks."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from .support import run, write

Git = Callable[..., str]


@pytest.fixture
def git(target: Path) -> Git:
    """Runs git in the target, with nobody's settings."""
    home = target / "home"
    home.mkdir()
    env = {
        "HOME": str(home),
        "GIT_CONFIG_NOSYSTEM": "1",
        **{
            f"GIT_{who}_{what}": "t@example.org"
            for who in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        },
    }

    def run_git(*words: str | Path, cwd: Path = target) -> str:
        return run(["git", "-c", "init.defaultBranch=main", *words], cwd=cwd, env=env)

    return run_git


def _write_sources(top: Path, version: int) -> None:
    for number in range(150):
        directory = top / f"part-{number % 7}" / f"sub-{number % 3}"
        directory.mkdir(parents=True, exist_ok=True)
        write(directory / f"file-{number}.txt", b"version %d of %d\n" % (version, number) * (number + 1))
    write(top / "run.sh", b"#!/bin/sh\necho %d\n" % version, 0o755).chmod(0o755)
    link = top / "latest"
    link.unlink(missing_ok=True)
    link.symlink_to(f"part-{version}/sub-0")


def test_a_repository_lives_through_commits_merges_clones_and_gc(target: Path, git: Git) -> None:
    repository = target / "repository"
    git("init", repository)
    for version in range(4):
        _write_sources(repository, version)
        git("add", "-A", cwd=repository)
        git("commit", "-q", "-m", f"version {version}", cwd=repository)
        assert git("status", "--porcelain", cwd=repository) == ""
    git("checkout", "-q", "-b", "side", "HEAD~2", cwd=repository)
    write(repository / "side.txt", b"side\n")
    git("add", "-A", cwd=repository)
    git("commit", "-q", "-m", "side", cwd=repository)
    git("checkout", "-q", "main", cwd=repository)
    git("merge", "-q", "-m", "merge", "side", cwd=repository)
    git("mv", "part-1", "moved", cwd=repository)
    git("commit", "-q", "-m", "move", cwd=repository)
    git("gc", "-q", "--prune=now", cwd=repository)
    git("fsck", "--full", "--strict", cwd=repository)
    git("clone", "-q", repository, target / "hard-linked")
    git("clone", "-q", "--no-local", repository, target / "packed")
    for clone in ("hard-linked", "packed"):
        git("fsck", "--full", "--strict", cwd=target / clone)
        assert git("rev-parse", "HEAD", cwd=target / clone) == git("rev-parse", "HEAD", cwd=repository)
        run(["/usr/bin/diff", "-r", "--no-dereference", "-x", ".git", repository, target / clone])
    assert (target / "packed" / "side.txt").read_bytes() == b"side\n"
    assert os.access(target / "packed" / "run.sh", os.X_OK)
    assert git("status", "--porcelain", cwd=target / "packed") == ""


def test_changes_are_noticed_and_undone(target: Path, git: Git) -> None:
    repository = target / "repository"
    git("init", repository)
    _write_sources(repository, 1)
    git("add", "-A", cwd=repository)
    git("commit", "-q", "-m", "one", cwd=repository)
    victim = repository / "part-0" / "sub-0" / "file-0.txt"
    original = victim.read_bytes()
    # Same length, at once after the commit: only a change of time or inode tells git.
    victim.write_bytes(original[::-1])
    assert git("status", "--porcelain", cwd=repository) == " M part-0/sub-0/file-0.txt\n"
    git("stash", "-q", cwd=repository)
    assert victim.read_bytes() == original
    git("stash", "pop", "-q", cwd=repository)
    assert victim.read_bytes() == original[::-1]
    git("reset", "-q", "--hard", cwd=repository)
    write(repository / "untracked")
    git("clean", "-fdq", cwd=repository)
    assert git("status", "--porcelain", cwd=repository) == ""


def test_push_fetch_and_a_second_work_tree(target: Path, git: Git) -> None:
    git("init", "--bare", target / "hub.git")
    git("clone", "-q", target / "hub.git", target / "one")
    _write_sources(target / "one", 1)
    git("add", "-A", cwd=target / "one")
    git("commit", "-q", "-m", "one", cwd=target / "one")
    git("push", "-q", "origin", "HEAD:main", cwd=target / "one")
    git("clone", "-q", "-b", "main", target / "hub.git", target / "two")
    write(target / "two" / "new", b"new")
    git("add", "-A", cwd=target / "two")
    git("commit", "-q", "-m", "two", cwd=target / "two")
    git("push", "-q", "origin", "HEAD:main", cwd=target / "two")
    git("pull", "-q", "--ff-only", "origin", "main", cwd=target / "one")
    assert (target / "one" / "new").read_bytes() == b"new"
    git("worktree", "add", "-q", target / "three", "HEAD", cwd=target / "one")
    assert (target / "three" / "new").read_bytes() == b"new"
    git("fsck", "--full", cwd=target / "hub.git")
