"""The directory object that many processors use at once: its copies are never wrong, its hits touch nothing that is
shared, and it takes over from the one with a lock, and hands back, while clients are at work."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from k42fs.errors import DeletedObjectError, K42Error, NameNotFoundError
from k42fs.ids import VP
from k42fs.machine.thread import Thread
from k42fs.objects.implementations import names
from k42fs.servers.attr_changes import AttrChanges
from k42fs.servers.dir_layout import BUCKETS, bucket_number
from k42fs.servers.fs_file import FSFile
from k42fs.servers.makers import MAKERS
from k42fs.servers.near_names import PLACES
from tests.servers.filelib.lab import SECOND, Lab, Storm, rep_of
from tests.servers.filelib.test_storms import churn, directories

PROCESSORS = 8


def a_lab(processors: int = 4) -> Lab:
    lab = Lab("full", processors)
    lab.tree.tree.policy.choose("DirObject", "distributed")
    return lab


def a_storm(processors: int = PROCESSORS, seed: int = 0) -> Storm:
    storm = Storm(processors, seed=seed)
    storm.tree.tree.policy.choose("DirObject", "distributed")
    return storm


def same_bucket(count: int) -> list[bytes]:
    """Return names that all belong to the bucket of ``0``."""
    wanted, _ = bucket_number(b"0")
    found = (b"%d" % i for i in range(100 * BUCKETS * count))
    return [name for name in found if bucket_number(name)[0] == wanted][:count]


def test_every_directory_that_can_be_made_can_be_swapped_in() -> None:
    assert sorted(MAKERS["DirObject"]) == names("DirObject")


def test_a_name_that_goes_is_gone_on_every_processor_that_had_it() -> None:
    lab = a_lab()
    for change in ("unlink", "rename", "rmdir", "replace"):
        file = lab.dir(b"x") if change == "rmdir" else lab.file(b"x")
        for vp in range(4):
            assert lab.call("lookup", lab.root, b"x", vp=vp) is file
        if change == "rename":
            lab.call("rename", lab.root, b"x", lab.root, b"y", vp=2)
        elif change == "replace":
            other = lab.file(b"other")
            lab.call("rename", lab.root, b"other", lab.root, b"x", vp=2)
            assert {lab.call("lookup", lab.root, b"x", vp=vp) for vp in range(4)} == {other}
            continue
        else:
            lab.call(change, lab.root, b"x", vp=3)
        for vp in range(4):
            with pytest.raises(NameNotFoundError):
                lab.call("lookup", lab.root, b"x", vp=vp)


def test_a_name_that_comes_is_there_on_every_processor_that_knew_it_missing() -> None:
    lab = a_lab()
    for make in ("mknod", "link", "rename"):
        for vp in range(4):
            with pytest.raises(NameNotFoundError):
                lab.call("lookup", lab.root, b"x", vp=vp)
        if make == "mknod":
            file = lab.call("mknod", lab.root, b"x", 0o644, vp=1)
        elif make == "link":
            file = lab.call("link", lab.file(b"first"), lab.root, b"x", vp=1)
        else:
            file = lab.call("rename", lab.root, b"first", lab.root, b"x", vp=1)[0]
        assert {lab.call("lookup", lab.root, b"x", vp=vp) for vp in range(4)} == {file}
        lab.call("unlink", lab.root, b"x", vp=2)


def test_forgotten_names_leave_no_copy_behind() -> None:
    lab = a_lab()
    crowd = same_bucket(64)  # many times what a bucket keeps
    for name in crowd:
        lab.call("mknod", lab.root, name, 0o644)
        lab.call("lookup", lab.root, name, vp=1)
    bucket = rep_of(lab.cos, lab.root.obj_ref).names.of(crowd[0])
    assert len(bucket.children) <= bucket.children_max
    assert set(bucket.copies) <= set(bucket.children)
    for name in crowd:
        lab.call("unlink", lab.root, name)
        with pytest.raises(NameNotFoundError):
            lab.call("lookup", lab.root, name, vp=1)
    assert len(bucket.negatives) <= bucket.negatives_max
    assert set(bucket.copies) <= set(bucket.negatives)


def test_look_ups_that_hit_move_no_line() -> None:
    storm = a_storm()
    files = [b"f%d" % i for i in range(8)]

    async def prepare(storm: Storm, th: Thread) -> None:
        for name in files:
            await storm.call(th, "mknod", storm.root, name, 0o644)

    async def look(storm: Storm, th: Thread, rounds: int) -> None:
        for _ in range(rounds):
            for name in files:
                await storm.call(th, "lookup", storm.root, name)

    storm.prepare(prepare)
    core = storm.machine.core
    for vp in range(PROCESSORS):
        storm.spawn(vp, look, 3)
    storm.run()
    before = _moves_of_the_directory(storm)
    references = [core.counters(vp).references for vp in range(PROCESSORS)]
    for vp in range(PROCESSORS):
        storm.spawn(vp, look, 20)
    storm.run()
    assert all(core.counters(vp).references > old + 20 * len(files) for vp, old in enumerate(references))
    assert before
    assert _moves_of_the_directory(storm) == before


def _moves_of_the_directory(storm: Storm) -> dict[int, int]:
    """How often each line of the directory and of its inodes moved between caches."""
    memory, size = storm.machine.memory, storm.machine.config.line_bytes
    moves = {each.line: each.transfers for each in storm.machine.core.transfers()}
    ours = ("DirObject", "inode", "name ", "shared ramfs")
    return {line: count for line, count in moves.items() if memory.describe(line * size)[0].startswith(ours)}


def test_what_the_parts_say_of_a_directory_is_right_when_it_is_read() -> None:
    lab = a_lab()
    for i in range(200):
        lab.clock.tick()
        lab.call("mkdir" if i % 3 == 0 else "mknod", lab.root, b"%d" % i, 0o755, vp=i % 4)
        assert lab.call("get_status", lab.root).mtime_ns == lab.clock.now_ns
    assert lab.root.nlink == 2 + 67
    assert sorted(lab.names()) == sorted(b"%d" % i for i in range(200))
    before = lab.clock.tick() - 50 * SECOND
    lab.call("set_attributes", lab.root, AttrChanges(mtime_ns=before))
    assert lab.call("get_status", lab.root, vp=2).mtime_ns == before


def test_readers_of_the_directory_meet_each_name_that_stays_once() -> None:
    storm = a_storm(4)
    stay = {b"stay%d" % i for i in range(60)}

    async def prepare(storm: Storm, th: Thread) -> None:
        for name in sorted(stay):
            await storm.call(th, "mknod", storm.root, name, 0o644)

    async def come_and_go(storm: Storm, th: Thread, vp: int) -> None:
        for i in range(80):
            await storm.call(th, "mknod", storm.root, b"%d.%d" % (vp, i), 0o644)
            await storm.call(th, "unlink", storm.root, b"%d.%d" % (vp, i))

    async def read(storm: Storm, th: Thread) -> None:
        for _ in range(4):
            handle = await storm.call(th, "open_dir", storm.root)
            seen: list[bytes] = []
            cookie = 0
            while batch := await storm.call(th, "read_dir", handle, cookie, 7):
                seen += [name for name, _, _ in batch]
                cookie = batch[-1][2]
            await storm.call(th, "release_dir", handle)
            assert len(seen) == len(set(seen))
            assert stay <= set(seen)

    storm.prepare(prepare)
    for vp in range(3):
        storm.spawn(vp, come_and_go, vp)
    storm.spawn(3, read)
    storm.run()


def test_handles_are_counted_wherever_they_are_opened_and_closed() -> None:
    lab = a_lab()
    directory = lab.dir(b"d")
    lab.file(b"f", directory=directory)
    handles = [lab.call("open_dir", directory, vp=vp % 4) for vp in range(8)]
    lab.call("unlink", directory, b"f")
    lab.call("rmdir", lab.root, b"d")
    for vp, handle in enumerate(handles):
        assert directory.obj_ref, "it is open"
        lab.call("release_dir", handle, vp=(vp * 3 + 1) % 4)
    assert directory.obj_ref == 0


def test_it_costs_its_memory_only_while_it_lives() -> None:
    lab = a_lab()
    for name in (b"warm", b"warmer"):
        lab.call("rmdir", lab.root, _with_names(lab, name))
        lab.clean()
    before = lab.machine.memory.live_bytes
    for _ in range(3):
        lab.call("rmdir", lab.root, _with_names(lab, b"d"))
        lab.clean()
        grown = lab.machine.memory.live_bytes - before
        assert 0 <= grown <= 4 * 256, "a dispatcher for each processor that gets a message, and no more"


def _with_names(lab: Lab, name: bytes) -> bytes:
    directory = lab.dir(name)
    for i in range(4 * PLACES):
        lab.call("mknod", directory, b"%d" % i, 0o644, vp=i % 4)
        lab.call("lookup", directory, b"%d" % i, vp=(i + 1) % 4)
    for i in range(4 * PLACES):
        lab.call("unlink", directory, b"%d" % i, vp=(i + 2) % 4)
    return name


@pytest.mark.parametrize("seed", range(4))
def test_directories_of_both_kinds_lock_in_one_order(seed: int) -> None:
    storm = Storm(PROCESSORS, seed=seed)
    policy = storm.tree.tree.policy
    places: list[FSFile] = [storm.root]

    async def prepare(storm: Storm, th: Thread) -> None:
        for i in range(6):
            policy.choose("DirObject", ("locked", "distributed")[i % 2])
            places.append(await storm.call(th, "mkdir", places[i // 2], b"d%d" % i, 0o755))
            await storm.call(th, "mknod", places[-1], b"inside", 0o644)  # so that its object is made

    async def move(storm: Storm, th: Thread, vp: int) -> None:
        random = Random(seed * 100 + vp)
        for _ in range(40):
            here, there = random.choices(places, k=2)
            one, other = (random.choice((b"inside", b"d%d" % random.randrange(6))) for _ in range(2))
            try:
                match random.randrange(5):
                    case 0 | 1:
                        await storm.call(th, "rename", here, one, there, other, random.choice((0, 0, 2)))
                    case 2:
                        await storm.call(th, "rmdir", here, one)
                    case 3:
                        await storm.call(th, "mkdir", here, one, 0o755)
                    case 4:
                        await storm.call(th, "resolve", b"/d0/d2/inside", True)
            except K42Error:
                continue

    storm.prepare(prepare)
    for vp in range(PROCESSORS):
        storm.spawn(vp, move, vp)
    storm.run()
    assert {directory for directory in places if directory.nlink} <= set(directories(storm.root))


@pytest.mark.parametrize("seed", range(4))
def test_a_storm_does_not_notice_swaps(seed: int) -> None:
    storm = Storm(PROCESSORS, seed=seed)
    swapped: list[str] = []

    async def swap(storm: Storm, th: Thread) -> None:
        for turn in range(20):
            await th.sleep(40_000)
            storm.cos.activate(th)
            ref = storm.root.obj_ref
            if ref:
                change = await storm.cos.swap_to(th, ref, ("distributed", "locked")[turn % 2])
                await change.wait(th)
                swapped.append(change.state)
            storm.cos.deactivate(th)

    for vp in range(PROCESSORS):
        storm.spawn(vp, churn, vp, seed, 60)
    storm.spawn(0, swap)
    storm.run()
    assert swapped == ["completed"] * 20
    directories(storm.root)


@pytest.mark.parametrize("there_and_back", [1, 2])
def test_names_walkers_and_handles_pass_from_one_to_the_other(there_and_back: int) -> None:
    lab = Lab("full")
    directory = lab.dir(b"d")
    file = lab.file(b"f", b"data", directory)
    with pytest.raises(NameNotFoundError):
        lab.call("lookup", directory, b"missing")
    handle = lab.call("open_dir", directory)
    ref = directory.obj_ref
    known = set(rep_of(lab.cos, ref).names.children)
    for turn in range(there_and_back):
        th = lab.machine.enter(VP(1))
        lab.cos.activate(th)

        async def swap(th: Thread, name: str) -> None:
            await (await lab.cos.swap_to(th, ref, name)).wait(th)

        lab.machine.drive(swap(th, ("distributed", "locked")[turn]))
        lab.cos.deactivate(th)
        lab.machine.leave(th)
    assert directory.obj_ref == ref
    assert rep_of(lab.cos, ref).implementation == ("distributed", "locked")[there_and_back - 1]
    assert set(rep_of(lab.cos, ref).names.children) == known
    assert b"missing" in rep_of(lab.cos, ref).names.negatives
    assert lab.call("lookup", directory, b"f", vp=3) is file
    assert lab.data(file) == b"data"
    assert [name for name, _, _ in lab.call("read_dir", handle, 0)] == [b"f"]
    lab.call("unlink", directory, b"f")
    lab.call("rmdir", lab.root, b"d")
    assert directory.obj_ref == ref, "it is open"
    lab.call("release_dir", handle)
    assert directory.obj_ref == 0


@pytest.mark.parametrize("old", ["locked", "distributed"])
@pytest.mark.parametrize("new", ["locked", "distributed"])
def test_an_object_that_is_going_stays_so_when_it_is_swapped(old: str, new: str) -> None:
    """The inode may have its next object already: that one's names are none of the old one's business."""
    lab = Lab("full")
    policy = lab.tree.tree.policy
    policy.choose("DirObject", old)
    directory = lab.dir(b"d")
    file = lab.file(b"f", b"data", directory)
    ref = directory.obj_ref
    root: Any = rep_of(lab.cos, ref)
    (root if old == "locked" else root.every_rep()[0]).unmake()
    if old == "distributed":
        lab.fs.share_names(VP(0), directory, is_shared=False)
    policy.choose("DirObject", "distributed")
    assert lab.call("lookup", directory, b"f", vp=2) is file
    assert directory.obj_ref != ref

    async def swap(th: Thread) -> None:
        await (await lab.cos.swap_to(th, ref, new)).wait(th)
        with pytest.raises(DeletedObjectError):
            await th.deref(ref).make(th, b"late", 0o100644, 0, b"")

    th = lab.machine.enter(VP(1))
    lab.cos.activate(th)
    lab.machine.drive(swap(th))
    lab.cos.deactivate(th)
    lab.machine.leave(th)
    shared: Any = directory
    assert shared.shared is not None, "the next object makes names on many processors"
    lab.call("unlink", directory, b"f", vp=3)
    lab.call("rmdir", lab.root, b"d")
