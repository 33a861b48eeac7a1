"""One object per inode, made at need, freed by the free protocol; the multi-link manager; what an inode
costs.
"""

from __future__ import annotations

import gc
import os
import tracemalloc

import pytest

from k42fs.servers.fs_file import FSFile
from k42fs.servers.ramfs.sparse import CHUNK
from tests.servers.filelib.lab import Lab


@pytest.fixture(params=["off", "full"])
def lab(request: pytest.FixtureRequest) -> Lab:
    return Lab(request.param)


def linked(lab: Lab, count: int = 2) -> FSFile:
    """A cold file with *count* names."""
    file = lab.call("mknod", lab.root, b"l0", 0o644)
    for i in range(1, count):
        lab.call("link", file, lab.root, b"l%d" % i)
    lab.call("sweep", 0)
    assert isinstance(file, FSFile)
    return file


def test_all_names_of_an_inode_reach_one_object(lab: Lab) -> None:
    file = linked(lab, 3)
    opens = [lab.call("open", lab.call("lookup", lab.root, b"l%d" % i), os.O_RDWR, vp=i) for i in range(3)]
    assert {of.ref for of in opens} == {file.obj_ref}
    assert lab.objects() == {"DirObject": 1, "ServerFile": 1}


def test_the_multi_link_manager_knows_files_in_use_with_several_names(lab: Lab) -> None:
    links = lab.tree.tree.multi_links
    file, of = lab.open_new(b"a")
    assert links.find(file) == 0
    lab.call("link", file, lab.root, b"b")
    assert links.find(file) == file.obj_ref
    lab.call("unlink", lab.root, b"a")
    assert (links.find(file), len(links)) == (0, 0)
    lab.call("link", file, lab.root, b"c")
    lab.call("release", of)
    lab.call("sweep", 0)
    assert (file.obj_ref, len(links)) == (0, 0)
    of = lab.call("open", file, os.O_RDONLY)
    assert links.find(file) == file.obj_ref == of.ref
    lab.file(b"d")
    lab.call("rename", lab.root, b"d", lab.root, b"c")
    assert (file.nlink, len(links)) == (1, 0)


@pytest.mark.parametrize("keeper", ["client", "second look"])
def test_the_free_protocol_spares_files_in_use(lab: Lab, keeper: str) -> None:
    file = lab.file(b"a", b"data")
    if keeper == "client":
        of = lab.call("open", file, os.O_RDONLY)
        assert lab.call("sweep", 0) == 0
        assert file.obj_ref == of.ref
        lab.call("release", of)
    assert lab.call("sweep", 0) >= 1
    assert file.obj_ref == 0
    assert lab.data(file) == b"data"


def test_freed_objects_are_really_gone(lab: Lab, implementations: str) -> None:
    for i in range(10):
        lab.file(b"%d" % i, b"data")
    caches = {} if implementations == "exclusive" else {"FileCache": 10}  # it keeps small files without
    assert lab.objects() == {"DirObject": 1, "ServerFile": 10, **caches}
    lab.call("sweep", 0)
    assert lab.objects() == {"DirObject": 1}
    lab.call("sweep", 0)
    assert lab.objects() == {}
    assert lab.cos.pending == 0


def test_deleted_files_leave_no_objects(lab: Lab) -> None:
    for i in range(10):
        lab.file(b"%d" % i, b"data")
        lab.call("unlink", lab.root, b"%d" % i, vp=i % 4)
    assert lab.objects() == {"DirObject": 1}
    assert lab.call("stat_fs").files - lab.call("stat_fs").free_files == 1


def test_freed_objects_need_no_cycle_collector() -> None:
    lab = Lab("full")

    def turn() -> None:
        for i in range(50):
            lab.file(b"%d" % i, b"data")
            directory = lab.dir(b"d%d" % i)
            lab.file(b"f", directory=directory)
            lab.call("resolve", b"/d%d/f" % i)
            lab.call("link", lab.file(b"m"), lab.root, b"n")
            for name in (b"%d" % i, b"m", b"n"):
                lab.call("unlink", lab.root, name)
            lab.call("unlink", directory, b"f")
            lab.call("rmdir", lab.root, b"d%d" % i)
        lab.clean()

    turn()
    gc.collect()
    gc.disable()
    try:
        turn()
        assert gc.collect() < 50
    finally:
        gc.enable()


def test_inode_numbers_are_unique_and_return_with_another_generation() -> None:
    lab = Lab()
    met: set[tuple[int, int]] = set()
    for i in range(400):
        file = lab.call("mknod", lab.root, b"f", 0o644, vp=i % 3)
        assert (file.ino, file.generation) not in met
        met.add((file.ino, file.generation))
        lab.call("unlink", lab.root, b"f", vp=i % 2)
    assert any(generation for _, generation in met)


def test_a_cold_empty_file_costs_less_than_900_bytes() -> None:
    lab = Lab()
    names = [b"name-%08d.txt" % i for i in range(20_000)]
    directory = lab.dir(b"d")
    lab.call("mknod", directory, b"first", 0o644)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for name in names:
            lab.call("mknod", directory, bytes(name), 0o644)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / len(names) < 900


def test_small_files_cost_little_more_than_their_bytes() -> None:
    lab = Lab()
    files = 2000
    for i in range(files):
        lab.call("mknod", lab.root, b"%d" % i, 0o644)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for i in range(files):
            lab.file(b"%d" % i, b"x" * 100)
        lab.call("sweep", 0)
        lab.clean()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / files < 500


def test_a_terabyte_file_of_few_pages_costs_few_pages() -> None:
    lab = Lab()
    _, of = lab.open_new(b"a")
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for i in range(100):
            lab.call("write", of, i * 1000 * CHUNK + 70_000, b"x" * 4096)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert of.file.blocks == 8 * 200
    assert after - before < 2 * 200 * 4096
