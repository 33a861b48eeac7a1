"""A smoke subset at each fidelity of the machine: what a program sees must not depend on what is modelled."""

from __future__ import annotations

import mmap
import os
from contextlib import closing
from functools import partial
from pathlib import Path

from .exerciser import Exerciser
from .processes import in_parallel
from .support import names, opened, run, write
from .test_tree_model import TreeExerciser
from .trees import build_tree, record


def test_files_are_made_read_linked_renamed_and_removed(model_target: Path) -> None:
    path = write(model_target / "file", b"data")
    os.link(path, model_target / "hard")
    (model_target / "soft").symlink_to("hard")
    (model_target / "dir").mkdir()
    path.rename(model_target / "dir" / "moved")
    with opened(model_target / "soft", os.O_WRONLY | os.O_APPEND) as fd:
        os.write(fd, b" more")
    assert (model_target / "dir" / "moved").read_bytes() == b"data more"
    os.truncate(model_target / "hard", 3)
    os.setxattr(model_target / "hard", "user.test", b"v")
    assert os.getxattr(model_target / "dir" / "moved", "user.test") == b"v"
    assert (model_target / "hard").stat().st_nlink == 2
    for name in ("hard", "soft", "dir/moved"):
        (model_target / name).unlink()
    (model_target / "dir").rmdir()
    assert not names(model_target)


def test_an_unlinked_open_file_and_a_mapping_live_on(model_target: Path) -> None:
    path = write(model_target / "file", bytes(8192))
    with opened(path) as fd, closing(mmap.mmap(fd, 8192)) as mapping:
        path.unlink()
        mapping[4096:4100] = b"mmap"
        assert os.pread(fd, 4, 4096) == b"mmap"
        assert os.fstat(fd).st_nlink == 0


def test_a_file_agrees_with_a_byte_array(model_target: Path) -> None:
    with closing(Exerciser(model_target / "file", 7, direct=False, punch=False)) as exerciser:
        exerciser.run(800)


def test_a_tree_agrees_with_a_dictionary(model_target: Path) -> None:
    TreeExerciser(model_target, 7).run(600)


def test_a_tree_is_copied_compared_packed_and_removed(model_target: Path) -> None:
    source = model_target / "source"
    source.mkdir()
    build_tree(source)
    run(["/bin/cp", "-a", source, model_target / "copy"])
    assert record(model_target / "copy") == record(source)
    run(["tar", "-cf", model_target / "all.tar", "-C", source, "."])
    run(["/bin/rm", "-rf", source, model_target / "copy"])
    assert names(model_target) == {b"all.tar"}


def _work(directory: Path, who: int) -> None:
    for number in range(80):
        path = write(directory / f"{who}-{number}", b"%d" % number)
        with opened(directory / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT) as fd:
            os.write(fd, b"%d\n" % who)
        path.rename(directory / f"{who}-{number}-done")
        if number % 2:
            (directory / f"{who}-{number}-done").unlink()


def test_eight_processes_work_in_one_directory(model_target: Path) -> None:
    in_parallel([partial(_work, model_target, who) for who in range(8)])
    expected = {b"%d-%d-done" % (who, number) for who in range(8) for number in range(0, 80, 2)}
    assert names(model_target) == expected | {b"log"}
    lines = (model_target / "log").read_bytes().split()
    assert {who: lines.count(b"%d" % who) for who in range(8)} == dict.fromkeys(range(8), 80)
