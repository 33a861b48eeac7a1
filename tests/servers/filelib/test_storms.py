"""Many processors at once, in virtual time: no deadlock, no cycle, nothing lost; the same seed, the same
run.
"""

from __future__ import annotations

import os
from random import Random
from typing import Any

import pytest

from k42fs.errors import K42Error, NameNotFoundError
from k42fs.machine.thread import Thread
from k42fs.servers.attr_changes import AttrChanges
from k42fs.servers.fs_file import FSFile
from k42fs.servers.open_file import OpenFile
from k42fs.servers.rename import EXCHANGE
from tests.servers.filelib.lab import Storm, rep_of

SEEDS = range(3)


def directories(top: FSFile) -> list[FSFile]:
    """Every directory below *top*, each met once, with its parent and link count right."""
    found, todo = [], [top]
    while todo:
        directory = todo.pop()
        assert directory not in found, "a directory has two places"
        found.append(directory)
        entries = directory.entries.by_name  # type: ignore[attr-defined]
        children = [entry.file for entry in entries.values() if entry.file.is_dir]
        assert directory.nlink == 2 + len(children)
        assert all(child.parent is directory for child in children)
        todo += children
    return found


def assert_settled(storm: Storm) -> None:
    """No lock is held, no object leads to a wrong inode, counts agree."""
    for root in storm.cos.objects():
        rep: Any = getattr(root, "rep", None)
        if hasattr(rep, "dirlock"):
            assert not rep.dirlock.holders()
            assert rep.file.obj_ref == rep.ref or rep.closing
        elif hasattr(rep, "clients"):
            assert not rep.lock.holders()
            assert not rep.clients
            assert rep.is_read_only


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", ["files", "directories"])
def test_opposite_renames_never_deadlock(seed: int, kind: str) -> None:
    storm = Storm(4, seed=seed)
    places: list[FSFile] = []

    async def prepare(storm: Storm, th: Thread) -> None:
        for name in (b"a", b"b"):
            directory = await storm.call(th, "mkdir", storm.root, name, 0o755)
            places.append(directory)
            for i in range(2):
                if kind == "files":
                    await storm.call(th, "mknod", directory, b"%s%d" % (name, i), 0o644)
                else:
                    await storm.call(th, "mkdir", directory, b"%s%d" % (name, i), 0o755)

    async def swing(storm: Storm, th: Thread, name: bytes, start: int) -> None:
        here, there = places[start], places[1 - start]
        for _ in range(25):
            await storm.call(th, "rename", here, name, there, name)
            here, there = there, here

    storm.prepare(prepare)
    for vp, (name, start) in enumerate([(b"a0", 0), (b"b0", 1), (b"a1", 0), (b"b1", 1)]):
        storm.spawn(vp, swing, name, start)
    storm.run()
    assert len(directories(storm.root)) == (3 if kind == "files" else 7)
    assert_settled(storm)


@pytest.mark.parametrize("seed", SEEDS)
def test_directory_moves_never_make_a_cycle(seed: int) -> None:
    storm = Storm(8, seed=seed)
    everything: list[FSFile] = [storm.root]
    names = [b"%d" % i for i in range(6)]

    async def prepare(storm: Storm, th: Thread) -> None:
        for name in names:
            everything.append(await storm.call(th, "mkdir", everything[-1], name, 0o755))

    async def move(storm: Storm, th: Thread, seed: int) -> None:
        random = Random(seed)
        for _ in range(40):
            old_dir, new_dir = random.choices(everything, k=2)
            flags = EXCHANGE if random.random() < 0.2 else 0
            args = (old_dir, random.choice(names), new_dir, random.choice(names), flags)
            try:
                await storm.call(th, "rename", *args)
            except K42Error:
                continue

    storm.prepare(prepare)
    for vp in range(8):
        storm.spawn(vp, move, 100 * seed + vp)
    storm.run()
    alive = [directory for directory in everything if directory.nlink]
    assert set(directories(storm.root)) == set(alive)
    assert_settled(storm)


@pytest.mark.parametrize("seed", SEEDS)
def test_appends_never_overlap(seed: int) -> None:
    storm = Storm(8, seed=seed)
    writers, records, size = 8, 20, 300

    async def append(storm: Storm, th: Thread, number: int) -> None:
        _, of = await storm.call(th, "create", storm.root, b"log", 0o644, os.O_WRONLY | os.O_APPEND)
        for record in range(records):
            data = b"%02d%02d" % (number, record) * (size // 4)
            assert await storm.call(th, "write", of, 0, data) == size
        await storm.call(th, "release", of)

    for vp in range(writers):
        storm.spawn(vp, append, vp)
    storm.run()
    seen: list[bytes] = []

    async def check(storm: Storm, th: Thread) -> None:
        file = await storm.call(th, "lookup", storm.root, b"log")
        assert file.size == writers * records * size
        of = await storm.call(th, "open", file, os.O_RDONLY)
        for at in range(0, file.size, size):
            data = await storm.call(th, "read", of, at, size)
            assert data == data[:4] * (size // 4)
            seen.append(data[:4])
        await storm.call(th, "release", of)

    storm.prepare(check)
    wanted = sorted(b"%02d%02d" % (n, r) for n in range(writers) for r in range(records))
    assert sorted(seen) == wanted
    assert seen != wanted, "the writers did not interleave"
    assert_settled(storm)


async def churn(storm: Storm, th: Thread, number: int, seed: int, operations: int) -> None:
    """Random operations on few names, held together by nothing but the file system."""
    random = Random(seed * 1000 + number)
    names = [b"n%d" % i for i in range(6)]
    for _ in range(operations):
        name, other = random.choices(names, k=2)
        try:
            match random.randrange(9):
                case 0 | 1:
                    file, of = await storm.call(th, "create", storm.root, name, 0o644, os.O_RDWR)
                    await storm.call(
                        th, "write", of, random.randrange(9000), b"x" * random.randrange(1, 5000)
                    )
                    await storm.call(th, "read", of, 0, 8192)
                    await storm.call(th, "release", of)
                case 2 | 3:
                    await storm.call(th, "unlink", storm.root, name)
                case 4:
                    await storm.call(th, "rename", storm.root, name, storm.root, other)
                case 5:
                    file = await storm.call(th, "lookup", storm.root, name)
                    await storm.call(th, "link", file, storm.root, other)
                case 6:
                    await storm.call(th, "resolve", b"/" + name)
                case 7:
                    await storm.call(th, "mkdir", storm.root, name, 0o755)
                    directory = await storm.call(th, "lookup", storm.root, name)
                    await storm.call(th, "mknod", directory, b"inside", 0o644)
                    await storm.call(th, "unlink", directory, b"inside")
                case 8:
                    await storm.call(th, "rmdir", storm.root, name)
        except K42Error:
            continue


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("free_list_max", [0, 512])
def test_a_storm_of_names_leaves_everything_in_order(seed: int, free_list_max: int) -> None:
    storm = Storm(6, seed=seed, free_list_max=free_list_max, debug=True)
    for vp in range(6):
        storm.spawn(vp, churn, vp, seed, 40)
        storm.spawn(vp, churn, 10 + vp, seed, 20)
    storm.run()
    assert_settled(storm)
    directories(storm.root)

    async def remove_all(storm: Storm, th: Thread) -> None:
        handle = await storm.call(th, "open_dir", storm.root)
        while batch := await storm.call(th, "read_dir", handle, 0):
            for name, file, _ in batch:
                await storm.call(th, "rmdir" if file.is_dir else "unlink", storm.root, name)
        await storm.call(th, "release_dir", handle)
        status = await storm.call(th, "stat_fs")
        assert status.files - status.free_files == 1
        assert len(storm.tree.tree.multi_links) == 0

    storm.prepare(remove_all)


def run_churn(seed: int, model: str) -> tuple[str, object]:
    storm = Storm(4, model=model, seed=seed)  # type: ignore[arg-type]
    for vp in range(4):
        storm.spawn(vp, churn, vp, 7, 30)
    storm.run()
    return storm.machine.event_hash(), storm.machine.statistics()


@pytest.mark.parametrize("model", ["full", "calls"])
def test_one_seed_makes_one_run(model: str) -> None:
    assert run_churn(1, model) == run_churn(1, model)
    assert run_churn(2, model)[0] != run_churn(1, model)[0]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_name_renamed_over_is_never_missing(seed: int) -> None:
    storm = Storm(4, seed=seed)
    looks: list[FSFile] = []

    async def prepare(storm: Storm, th: Thread) -> None:
        await storm.call(th, "mknod", storm.root, b"target", 0o644)

    async def replace(storm: Storm, th: Thread) -> None:
        for i in range(20):
            await storm.call(th, "mknod", storm.root, b"new%d" % i, 0o644)
            await storm.call(th, "rename", storm.root, b"new%d" % i, storm.root, b"target")

    async def look(storm: Storm, th: Thread) -> None:
        looks.extend([await storm.call(th, "lookup", storm.root, b"target") for _ in range(60)])

    storm.prepare(prepare)
    storm.spawn(0, replace)
    for vp in range(1, 4):
        storm.spawn(vp, look)
    storm.run()
    assert len(set(looks)) > 3


@pytest.mark.parametrize("seed", SEEDS)
def test_walks_and_moves_of_what_they_walk_through(seed: int) -> None:
    storm = Storm(6, seed=seed)
    made: list[FSFile] = []

    async def prepare(storm: Storm, th: Thread) -> None:
        made.extend([await storm.call(th, "mkdir", storm.root, name, 0o755) for name in (b"x", b"y")])
        deep = await storm.call(th, "mkdir", made[0], b"d", 0o755)
        made.append(await storm.call(th, "mkdir", deep, b"e", 0o755))
        await storm.call(th, "mknod", made[2], b"f", 0o644)

    async def walk(storm: Storm, th: Thread, path: bytes) -> None:
        found = 0
        for _ in range(40):
            try:
                await storm.call(th, "resolve", path)
                found += 1
            except NameNotFoundError:
                continue
        assert found, "it was never there"

    async def move(storm: Storm, th: Thread) -> None:
        here, there = made[0], made[1]
        for _ in range(15):
            await storm.call(th, "rename", here, b"d", there, b"d")
            here, there = there, here

    storm.prepare(prepare)
    for vp, path in enumerate((b"/x/d/e/f", b"/y/d/e/f", b"/x/d/e/../../d/e/f", b"/x/./d//e/")):
        storm.spawn(vp, walk, path)
    storm.spawn(4, move)
    storm.run()
    assert_settled(storm)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_file_reopened_while_it_is_freed_survives(seed: int) -> None:
    storm = Storm(4, seed=seed, free_list_max=0)

    async def prepare(storm: Storm, th: Thread) -> None:
        file, of = await storm.call(th, "create", storm.root, b"f", 0o644, os.O_RDWR)
        await storm.call(th, "write", of, 0, b"data")
        await storm.call(th, "release", of)
        await storm.call(th, "link", file, storm.root, b"g")

    async def reopen(storm: Storm, th: Thread, name: bytes) -> None:
        for _ in range(40):
            file = await storm.call(th, "lookup", storm.root, name)
            of = await storm.call(th, "open", file, os.O_RDONLY)
            sf = rep_of(storm.cos, of.ref)
            assert await storm.call(th, "read", of, 0, 9) == b"data"
            assert file.obj_ref == of.ref
            assert not sf.closing, "destroyed under a client"
            await storm.call(th, "release", of)
            await storm.call(th, "sweep", 0)

    storm.prepare(prepare)
    for vp in range(4):
        storm.spawn(vp, reopen, (b"f", b"g")[vp % 2])
    storm.run()
    assert storm.tree.tree.free_lists.freed > 0
    assert_settled(storm)


@pytest.mark.parametrize("seed", SEEDS)
def test_bytes_cut_off_are_never_seen_again(seed: int) -> None:
    storm = Storm(4, seed=seed)
    opened: list[OpenFile] = []

    async def prepare(storm: Storm, th: Thread) -> None:
        opened.append((await storm.call(th, "create", storm.root, b"f", 0o644, os.O_RDWR))[1])

    async def cut(storm: Storm, th: Thread) -> None:
        """Write a mark, cut it off, extend over where it was: only marks of the present round may be seen."""
        of = opened[0]
        for turn in range(1, 20):
            await storm.call(th, "set_attributes", of.file, AttrChanges(size=0), of)
            await storm.call(th, "set_attributes", of.file, AttrChanges(size=20_000), of)
            await storm.call(th, "write", of, 5000, bytes([turn]) * 9000)

    async def look(storm: Storm, th: Thread) -> None:
        last = 0
        for _ in range(60):
            data = await storm.call(th, "read", opened[0], 0, 20_000)
            marks = set(data) - {0}
            assert len(marks) <= 1
            if marks:
                assert min(marks) >= last
                last = min(marks)

    async def close(storm: Storm, th: Thread) -> None:
        await storm.call(th, "release", opened[0])

    storm.prepare(prepare)
    storm.spawn(0, cut)
    for vp in range(1, 4):
        storm.spawn(vp, look)
    storm.run()
    storm.prepare(close)
    assert_settled(storm)


@pytest.mark.parametrize("seed", SEEDS)
def test_inodes_that_the_kernel_holds_die_exactly_once(seed: int) -> None:
    storm = Storm(6, seed=seed)
    held: dict[FSFile, int] = {}

    async def kernel(storm: Storm, th: Thread, number: int) -> None:
        """Look names up and forget them as a kernel does, while others make and unlink them."""
        random = Random(100 * seed + number)
        mine: list[FSFile] = []
        for _ in range(50):
            name = b"n%d" % random.randrange(3)
            try:
                match random.randrange(4):
                    case 0:
                        file, of = await storm.call(th, "create", storm.root, name, 0o644, os.O_RDWR)
                        file.holds += 1
                        mine.append(file)
                        await storm.call(th, "write", of, 0, b"data")
                        await storm.call(th, "release", of)
                    case 1:
                        file = await storm.call(th, "lookup", storm.root, name)
                        file.holds += 1
                        mine.append(file)
                    case 2:
                        await storm.call(th, "unlink", storm.root, name)
                    case 3 if mine:
                        file = mine.pop()
                        assert file.holds > 0, "it died while it was held"
                        of = await storm.call(th, "open", file, os.O_RDONLY)
                        await storm.call(th, "forget", file)
                        await storm.call(th, "release", of)
            except K42Error:
                continue
        for file in mine:
            held[file] = held.get(file, 0) + 1
            await storm.call(th, "forget", file)

    for vp in range(6):
        storm.spawn(vp, kernel, vp)
    storm.run()
    left = len(storm.root.entries.by_name)  # type: ignore[attr-defined]

    async def check(storm: Storm, th: Thread) -> None:
        status = await storm.call(th, "stat_fs")
        assert status.files - status.free_files == 1 + left

    storm.prepare(check)
    assert all(file.holds <= 0 and (file.holds < 0) == (file.nlink == 0) for file in held)
    assert_settled(storm)
