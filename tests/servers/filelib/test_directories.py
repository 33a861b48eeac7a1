"""Directory reading, the cache of names, and its limits."""

from __future__ import annotations

import time

import pytest

from k42fs.errors import NameNotFoundError
from k42fs.servers.name_cache import CHILDREN_MAX, NEGATIVES_MAX
from tests.servers.filelib.lab import Lab, rep_of


@pytest.fixture
def lab() -> Lab:
    return Lab()


@pytest.mark.parametrize("limit", [1, 3, 64])
def test_every_name_is_listed_once_and_the_dots_never(lab: Lab, limit: int) -> None:
    names = [b"%03d" % i for i in range(70)]
    for name in names:
        lab.file(name)
    assert lab.names(limit=limit) == names


def test_reading_goes_on_while_names_come_and_go(lab: Lab) -> None:
    for i in range(200):
        lab.file(b"%03d" % i)
    handle, seen, cookie = lab.call("open_dir", lab.root), list[bytes](), 0
    while batch := lab.call("read_dir", handle, cookie, 7):
        seen += [name for name, _, _ in batch]
        cookie = batch[-1][2]
        if len(seen) < 100:
            lab.call("unlink", lab.root, seen[-1])
            lab.file(b"new%d" % len(seen))
    assert seen[:200] == [b"%03d" % i for i in range(200)]
    assert len(seen) == len(set(seen))


def test_a_cookie_is_good_after_its_name_is_gone(lab: Lab) -> None:
    for name in (b"a", b"b", b"c"):
        lab.file(name)
    handle = lab.call("open_dir", lab.root)
    first = lab.call("read_dir", handle, 0, 1)[0][2]
    assert first > 2
    for name in (b"a", b"b"):
        lab.call("unlink", lab.root, name)
    assert [name for name, _, _ in lab.call("read_dir", handle, first, 9)] == [b"c"]


def test_a_hundred_thousand_names_are_read_at_the_price_of_few() -> None:
    lab = Lab()
    directory = lab.root
    entries = directory.entries  # type: ignore[attr-defined]
    file = lab.file(b"f")
    for i in range(100_000):
        entries.add(b"%06d" % i, file)
    handle = lab.call("open_dir", directory)

    def cost(cookie: int) -> float:
        best = 1.0
        for _ in range(5):
            start = time.perf_counter()
            lab.call("read_dir", handle, cookie, 64)
            best = min(best, time.perf_counter() - start)
        return best

    assert cost(90_000) < 5 * cost(3), "seeking is not logarithmic"
    assert len(lab.names(directory, limit=1000)) == 100_001


def test_names_only_looked_up_stay_tokens(lab: Lab) -> None:
    for i in range(20):
        lab.call("mknod", lab.root, b"f%d" % i, 0o644)
        lab.call("mkdir", lab.root, b"d%d" % i, 0o755)
    for i in range(20):
        for name in (b"f%d" % i, b"d%d" % i):
            file = lab.call("lookup", lab.root, name)
            lab.call("get_status", file)
            lab.call("set_xattr", file, b"user.x", b"1")
            assert file.obj_ref == 0
    assert lab.objects() == {"DirObject": 1}


def test_cold_names_are_forgotten_and_found_again(lab: Lab) -> None:
    count = 2 * CHILDREN_MAX
    for i in range(count):
        lab.call("mknod", lab.root, b"%d" % i, 0o644)
    names = rep_of(lab.cos, lab.root.obj_ref).names
    assert len(names.children) <= CHILDREN_MAX
    for i in range(count):
        assert lab.call("lookup", lab.root, b"%d" % i).ino > 1
    assert len(names.children) <= CHILDREN_MAX


def test_a_name_under_a_walk_is_not_forgotten(lab: Lab) -> None:
    lab.dir(b"d")
    lab.call("resolve", b"/d/.")
    names = rep_of(lab.cos, lab.root.obj_ref).names
    lock = names.children[b"d"].lock
    th = lab.machine.enter(lab.cos.ring[0])
    assert lock.try_acquire_r(th)
    assert names.walkers(b"d") is lock
    for i in range(2 * CHILDREN_MAX):
        lab.call("mknod", lab.root, b"%d" % i, 0o644)
    assert names.children[b"d"].lock is lock
    lock.release_r(th)
    assert names.walkers(b"d") is None


def test_negative_names_are_bounded_and_never_wrong(lab: Lab) -> None:
    for i in range(2 * NEGATIVES_MAX):
        with pytest.raises(NameNotFoundError):
            lab.call("lookup", lab.root, b"%d" % i)
    assert len(rep_of(lab.cos, lab.root.obj_ref).names.negatives) <= NEGATIVES_MAX
    name = b"%d" % (2 * NEGATIVES_MAX - 1)
    lab.file(b"a")
    lab.call("rename", lab.root, b"a", lab.root, name)
    assert lab.call("lookup", lab.root, name).nlink == 1
    lab.call("unlink", lab.root, name)
    with pytest.raises(NameNotFoundError):
        lab.call("lookup", lab.root, name)


def test_directories_nobody_uses_become_tokens_again(lab: Lab) -> None:
    directories = [lab.dir(b"%d" % i) for i in range(10)]
    for directory in directories:
        lab.call("mknod", directory, b"f", 0o644)
    handle = lab.call("open_dir", directories[0])
    assert lab.objects() == {"DirObject": 11}
    assert lab.call("sweep", 0) == 0  # all were used since they were made: a second look decides
    assert lab.call("sweep", 0) == 10
    assert lab.objects() == {"DirObject": 1}
    assert directories[0].obj_ref
    assert all(not directory.obj_ref for directory in directories[1:])
    assert lab.call("lookup", directories[5], b"f").nlink == 1
    assert [name for name, _, _ in lab.call("read_dir", handle, 0)] == [b"f"]


def test_old_objects_go_by_age(lab: Lab) -> None:
    young, old = lab.file(b"young"), lab.file(b"old")
    lab.clock.tick(100)
    lab.call("release", lab.call("open", young, 0))
    lab.clock.tick(30)
    lab.call("sweep", 120 * 10**9)
    assert (old.obj_ref, bool(young.obj_ref)) == (0, True)
    lab.clock.tick(120)
    lab.call("sweep", 120 * 10**9)
    assert young.obj_ref == 0


def test_idle_objects_are_bounded_per_processor() -> None:
    lab = Lab(free_list_max=64)
    for i in range(500):
        lab.call("release", lab.open_new(b"%d" % i)[1])
    assert lab.objects()["ServerFile"] <= 64
    assert len(lab.tree.tree.free_lists) <= 64 + 32


def test_modelled_memory_comes_back_with_the_last_name() -> None:
    lab = Lab("full")
    lab.file(b"warm", b"x" * 5000)
    lab.call("unlink", lab.root, b"warm")
    lab.clean()
    before = lab.machine.memory.live_bytes
    for _ in range(3):
        d = lab.dir(b"d")
        for i in range(40):
            lab.file(b"%d" % i, b"x" * 5000, d)
        file = lab.call("lookup", d, b"0")
        lab.call("link", file, lab.root, b"l")
        for i in range(40):
            lab.call("unlink", d, b"%d" % i)
        lab.call("unlink", lab.root, b"l")
        lab.call("rmdir", lab.root, b"d")
        lab.clean()
        assert lab.machine.memory.live_bytes == before
