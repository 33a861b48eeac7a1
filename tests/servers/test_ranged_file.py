"""ServerFile `ranged`: what a file does is the same, and writers of different bytes do not meet."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from k42fs.ids import VP
from k42fs.machine.thread import Thread
from k42fs.objects.implementations import find, names
from k42fs.objects.transfer import agreed_type
from k42fs.servers.attr_changes import AttrChanges
from k42fs.servers.file_cache import PAGE
from k42fs.servers.makers import MAKERS
from k42fs.servers.open_file import OpenFile
from k42fs.servers.range_locks import GRANULE_SHIFT, LOCKS
from tests.servers.filelib.lab import Lab, Storm, rep_of

FILES = list(MAKERS["ServerFile"])
O_APPEND, O_RDWR = 0o2000, 2


def choose(place: Lab | Storm, file: str, cache: str = "partitioned") -> None:
    place.tree.tree.policy.choose("ServerFile", file)
    place.tree.tree.policy.choose("FileCache", cache)


def test_every_file_that_can_be_made_can_be_swapped_in() -> None:
    assert sorted(FILES) == names("ServerFile")


def test_a_span_is_taken_in_ascending_order_whatever_its_place() -> None:
    lab = Lab("full")
    choose(lab, "ranged")
    file, _ = lab.open_new(b"file")
    ranges = rep_of(lab.cos, file.obj_ref)._ranges
    granule = 1 << GRANULE_SHIFT
    for offset, size, count in [
        (0, 1, 1),
        (granule - 1, 2, 2),
        ((LOCKS - 1) * granule, 2 * granule, 2),
        (5, LOCKS * granule, LOCKS),
        (0, 10 * LOCKS * granule, LOCKS),
    ]:
        addrs = [lock.addr for lock in ranges.span(offset, size)]
        assert len(addrs) == count
        assert addrs == sorted(addrs)


def test_a_write_that_clears_set_id_bits_still_does() -> None:
    lab = Lab("full")
    choose(lab, "ranged")
    file, of = lab.open_new(b"file")
    of.creds = of.creds.__class__(uid=7, gid=7, groups=frozenset())
    lab.call("set_attributes", file, AttrChanges(mode=0o6755))
    lab.call("write", of, 0, b"x")
    assert file.mode & 0o7777 == 0o755


def test_the_inode_has_the_time_of_the_last_write_through_any_gate() -> None:
    lab = Lab("full")
    choose(lab, "ranged")
    file, of = lab.open_new(b"file")
    for vp in (3, 1, 2):
        now = lab.clock.tick()
        lab.call("write", of, vp * PAGE, b"x", vp=vp)
        assert lab.call("get_status", file).mtime_ns == now


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("file", FILES)
def test_writes_are_whole_appends_do_not_overlap_and_nothing_is_lost(file: str, seed: int) -> None:
    """Overlapping writes leave one of them or the other; appends lie one behind the other; the books balance."""
    processors, record = 6, 3 * PAGE
    storm = Storm(processors, seed=seed)
    choose(storm, file)
    opened: list[OpenFile] = []

    async def prepare(storm: Storm, th: Thread) -> None:
        for name, flags in ((b"shared", O_RDWR), (b"log", O_RDWR | O_APPEND)):
            opened.append((await storm.call(th, "create", storm.root, name, 0o644, flags))[1])

    async def work(storm: Storm, th: Thread, vp: int) -> None:
        random, letter = Random(seed * 64 + vp), bytes([65 + vp])
        for turn in range(15):
            if turn % 3 == 2:
                await storm.call(th, "write", opened[1], 0, letter * 100)
            else:
                await storm.call(th, "write", opened[0], record * random.randrange(2), letter * record)

    storm.prepare(prepare)
    for vp in range(processors):
        storm.spawn(vp, work, vp)
    storm.run()
    shared: Any = opened[0].file
    log: Any = opened[1].file
    for start in (0, record):
        assert len(set(shared.data.read(start, record))) == 1, "a mixture of two writes"
    assert log.size == processors * 5 * 100
    text = log.data.read(0, log.size)
    assert all(len(set(text[at : at + 100])) == 1 for at in range(0, len(text), 100))
    assert sorted(set(text)) == [65 + vp for vp in range(processors)]
    space = storm.fs._space.budget
    pages = sum(each.data.pages for each in (shared, log))
    assert space.limit - space.free() - 3 * 1024 == pages * PAGE, "pages counted twice, or lost"


@pytest.mark.parametrize("seed", range(3))
def test_first_writers_of_one_page_at_once_all_leave_their_bytes(seed: int) -> None:
    """None of them has pages yet when it asks: each takes them, only one keeps them."""
    storm = Storm(8, seed=seed)
    choose(storm, "ranged")
    opened: list[OpenFile] = []

    async def prepare(storm: Storm, th: Thread) -> None:
        opened.append((await storm.call(th, "create", storm.root, b"file", 0o644, O_RDWR))[1])

    async def write(storm: Storm, th: Thread, vp: int) -> None:
        for i in range(8):
            await storm.call(th, "write", opened[0], i * PAGE + vp * 100, bytes([vp + 1]) * 100)

    storm.prepare(prepare)
    for vp in range(8):
        storm.spawn(vp, write, vp)
    storm.run()
    file: Any = opened[0].file
    for i in range(8):
        page = file.data.read(i * PAGE, 800)
        assert page == b"".join(bytes([vp + 1]) * 100 for vp in range(8))
    budget = storm.fs._space.budget
    assert budget.limit - budget.free() - 2 * 1024 == 8 * PAGE


@pytest.mark.parametrize("seed", range(3))
def test_truncates_and_writes_at_once_leave_a_length_that_somebody_set(seed: int) -> None:
    storm = Storm(6, seed=seed)
    choose(storm, "ranged", "replicated")
    opened: list[OpenFile] = []

    async def prepare(storm: Storm, th: Thread) -> None:
        opened.append((await storm.call(th, "create", storm.root, b"file", 0o644, O_RDWR))[1])

    async def work(storm: Storm, th: Thread, vp: int) -> None:
        random = Random(seed * 8 + vp)
        for _ in range(25):
            if vp == 0:
                changes = AttrChanges(size=random.randrange(8) * PAGE)
                await storm.call(th, "set_attributes", opened[0].file, changes, opened[0])
            else:
                await storm.call(th, "write", opened[0], random.randrange(8) * PAGE, b"x" * PAGE)

    storm.prepare(prepare)
    for vp in range(6):
        storm.spawn(vp, work, vp)
    storm.run()
    file: Any = opened[0].file
    assert file.size % PAGE == 0
    pages = file.data.pages if file.data is not None else 0
    assert pages * PAGE <= file.size
    budget = storm.fs._space.budget
    assert budget.limit - budget.free() - 2 * 1024 == pages * PAGE


@pytest.mark.parametrize("new", FILES)
@pytest.mark.parametrize("old", FILES)
def test_one_takes_over_the_open_file_of_another(old: str, new: str) -> None:
    lab = Lab("full")
    choose(lab, old)
    file, of = lab.open_new(b"file")
    lab.call("write", of, 0, b"before", vp=1)
    old_root: Any = next(root for root in lab.cos.objects() if root.ref == file.obj_ref)
    th = lab.machine.enter(VP(0))
    new_root: Any = find("ServerFile", new).make(lab.cos, th, old_root)
    kind = agreed_type(old_root.exports, new_root.imports)
    assert kind is not None

    async def move(th: Thread) -> None:
        await new_root.import_state(th, await old_root.export_state(th, kind, 1), kind, 1)

    lab.machine.drive(move(th))
    lab.machine.leave(th)
    rep = new_root.rep
    assert (rep.clients, rep.writers, rep.closing) == ({of}, 1, False)
    assert rep.cache_ref == old_root.rep.cache_ref


def throughput_of_disjoint_writers(file: str, cache: str, processors: int = 16) -> float:
    """Writes of 4 KiB per thousand cycles, each processor over pages of its own that are there already."""
    storm = Storm(processors)
    choose(storm, file, cache)
    opened: list[OpenFile] = []
    turns = 40

    async def prepare(storm: Storm, th: Thread) -> None:
        opened.append((await storm.call(th, "create", storm.root, b"file", 0o644, O_RDWR))[1])
        for vp in range(processors):
            await storm.call(th, "write", opened[0], vp << 16, bytes(PAGE))

    async def write(storm: Storm, th: Thread, vp: int) -> None:
        for _ in range(turns):
            await storm.call(th, "write", opened[0], vp << 16, bytes([vp]) * PAGE)

    storm.prepare(prepare)
    start = storm.machine.now
    for vp in range(processors):
        storm.spawn(vp, write, vp)
    storm.run()
    return processors * turns * 1000 / (storm.machine.now - start)


def test_disjoint_writers_of_a_ranged_file_do_not_meet() -> None:
    shared = throughput_of_disjoint_writers("shared", "single")
    ranged = throughput_of_disjoint_writers("ranged", "partitioned")
    assert ranged > 5 * shared
