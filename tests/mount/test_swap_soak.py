"""Programs that know nothing of it, while the objects of all they touch are replaced once a second at random."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from .exerciser import Exerciser
from .mounting import K42Mount
from .processes import Child
from .support import run
from .test_program_sqlite import check, create, move_money

OPTIONS = "model=full,processors=8"
RECORD = 3000


def exercise(path: Path, seconds: float, seed: int) -> None:
    """Random operations on one file, in rounds, each checked against a byte array."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        exerciser = Exerciser(path, seed, direct=True, punch=False)
        try:
            exerciser.run(300)
        finally:
            exerciser.close()
        path.unlink()
        seed += 1


def commit(top: Path, seconds: float) -> None:
    """Commit, branch, clone and check repositories."""
    home = {"HOME": str(top), "GIT_CONFIG_NOSYSTEM": "1"}
    names = ["-c", "user.name=n", "-c", "user.email=e@x", "-c", "gc.auto=0"]
    source = top / "source"

    def git(*words: str | Path) -> None:
        run(["git", *words], env=home)

    git("init", "-q", source)
    end, turn = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        turn += 1
        for number in range(10):
            (source / f"f{number}").write_text(f"{turn} {number}\n" * 50)
        git(*names, "-C", source, "add", "-A")
        git(*names, "-C", source, "commit", "-qm", str(turn))
        clone = top / f"clone{turn}"
        git("clone", "-q", source, clone)
        git("-C", clone, "fsck", "--strict")
        assert (clone / "f9").read_text() == f"{turn} 9\n" * 50
        run(["rm", "-rf", clone])


def transact(path: Path, seconds: float) -> None:
    """Move money between accounts; the sum must hold at the end."""
    create(path, "delete")
    end, turn = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        turn += 1
        move_money(path, "delete", turn, 20)
    assert check(path, "delete") == 20 * turn


def write_places(path: Path, number: int, seconds: float) -> None:
    """Write a place of one's own in a file that others write too, and a log that others append to; read back."""
    fd = os.open(path / "shared", os.O_RDWR)
    log = os.open(path / "log", os.O_WRONLY | os.O_APPEND)
    end, turn = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        turn += 1
        data = bytes([number + 1]) * (RECORD - 4) + turn.to_bytes(4, "big")
        assert os.pwrite(fd, data, number * RECORD) == RECORD
        assert os.pread(fd, RECORD, number * RECORD) == data
        assert os.write(log, bytes([65 + number]) * 64) == 64
        name = path / f"mine{number}"
        name.write_bytes(data)
        assert name.read_bytes() == data
        name.rename(path / f"moved{number}")
        (path / f"moved{number}").unlink()
    os.close(fd)
    os.close(log)


def swap_at_random(mount: K42Mount, over: threading.Event, seed: int, done: list[str]) -> None:
    """Replace every object of a kind, another kind and implementation each second."""
    choose = random.Random(seed)
    control = mount.path / ".k42" / "swap"
    types = json.loads((mount.path / ".k42" / "swap.json").read_text())["types"]
    kinds = [kind for kind in ("DirObject", "ServerFile", "FileCache") if len(types.get(kind, ())) > 1]
    assert len(kinds) == 3
    while not over.wait(1):
        kind = choose.choice(kinds)
        word = f"{kind} {choose.choice(types[kind])}"
        try:
            control.write_text(f"{word}\n")
        except OSError as exc:
            done.append(f"{word}: {exc.strerror}")
        else:
            done.append(word)


def storm(new_mount: Callable[..., K42Mount], seconds: float, seed: int) -> None:
    mount = new_mount(OPTIONS)
    place = mount.path / "work"
    for name in ("git", "money", "places"):
        (place / name).mkdir(parents=True)
    (place / "places" / "shared").write_bytes(bytes(8 * RECORD))
    (place / "places" / "log").touch()
    children = [
        Child(partial(exercise, place / "file", seconds, seed)),
        Child(partial(commit, place / "git", seconds)),
        Child(partial(transact, place / "money" / "db", seconds)),
        *(Child(partial(write_places, place / "places", number, seconds)) for number in range(8)),
    ]
    over, done = threading.Event(), list[str]()
    swapper = threading.Thread(target=swap_at_random, args=(mount, over, seed, done))
    swapper.start()
    try:
        for child in children:
            child.result(seconds + 200)
    finally:
        over.set()
        swapper.join()
        for child in children:
            child.kill()
    log = (place / "places" / "log").read_bytes()
    assert len(log) % 64 == 0
    assert all(len(set(log[at : at + 64])) == 1 for at in range(0, len(log), 64)), "appends overlap"
    assert [word for word in done if ":" not in word], f"no swap was carried out: {done}"
    mount.stop()


def test_programs_notice_nothing_while_their_objects_are_swapped(new_mount: Callable[..., K42Mount]) -> None:
    storm(new_mount, 8, 1)


@pytest.mark.soak
@pytest.mark.parametrize("seed", [1])
def test_programs_notice_nothing_for_ten_minutes_of_swaps(
    new_mount: Callable[..., K42Mount], seed: int
) -> None:
    storm(new_mount, 600, seed)
