"""ServerFile `exclusive`: who owns the file when, what an owner does without, and that sharing loses nothing."""

from __future__ import annotations

import os
from random import Random
from typing import Any

import pytest

from k42fs.machine.thread import Thread
from k42fs.servers.attr_changes import AttrChanges
from k42fs.servers.exclusive_file import SMALL_MAX
from k42fs.servers.file_cache import PAGE
from k42fs.servers.file_client import UseType
from k42fs.servers.fs_file import FSFile
from k42fs.servers.open_file import OpenFile
from tests.servers.filelib.lab import Lab, Storm, rep_of

O_APPEND = os.O_APPEND | os.O_RDWR
IDLE, OWNER, SHARER = UseType.LAZY_INIT, UseType.NON_SHARED, UseType.SHARED


def exclusive_lab(model: str = "full") -> Lab:
    lab = Lab(model)  # type: ignore[arg-type]
    lab.tree.tree.policy.choose("ServerFile", "exclusive")
    return lab


def use(of: OpenFile) -> UseType:
    """How *of* uses its file."""
    found: UseType = of.client.use
    return found


def opened(lab: Lab, file: FSFile, flags: int = os.O_RDWR, vp: int = 1) -> OpenFile:
    of = lab.call("open", file, flags, vp=vp)
    assert isinstance(of, OpenFile)
    return of


def test_who_is_alone_owns_the_file() -> None:
    lab = exclusive_lab()
    _, of = lab.open_new(b"file")
    assert use(of) is OWNER
    lab.call("write", of, 0, b"data")
    assert use(of) is OWNER
    assert lab.call("read", of, 0, 10) == b"data"


def test_a_second_open_changes_nothing_until_it_is_used() -> None:
    lab = exclusive_lab()
    file, first = lab.open_new(b"file")
    lab.call("write", first, 0, b"one")
    second = opened(lab, file)
    assert (use(first), use(second)) == (OWNER, IDLE)
    lab.call("write", second, 3, b"two", vp=1)
    assert (use(first), use(second)) == (SHARER, SHARER)
    assert lab.call("read", first, 0, 10) == b"onetwo"


def test_a_reader_that_comes_to_a_writer_shares_and_so_does_a_writer_that_comes_to_a_reader() -> None:
    """The hole in K42's protocol: a reader registered without a look at who writes."""
    lab = exclusive_lab()
    file, writer = lab.open_new(b"file")
    reader = opened(lab, file, os.O_RDONLY)
    lab.call("write", writer, 0, b"x")
    assert lab.call("read", reader, 0, 9, vp=1) == b"x"
    assert (use(writer), use(reader)) == (SHARER, SHARER)
    other = lab.file(b"other", b"y")
    reader = opened(lab, other, os.O_RDONLY)
    lab.call("read", reader, 0, 9, vp=1)
    assert use(reader) is OWNER
    writer = opened(lab, other, vp=2)
    lab.call("write", writer, 0, b"z", vp=2)
    assert (use(writer), use(reader)) == (SHARER, SHARER)
    assert lab.call("read", reader, 0, 9, vp=1) == b"z"


def test_any_number_of_readers_own_a_file_together() -> None:
    lab = exclusive_lab()
    file = lab.file(b"file", b"data")
    readers = [opened(lab, file, os.O_RDONLY, vp) for vp in range(4)]
    for vp, of in enumerate(readers):
        assert lab.call("read", of, 0, 9, vp=vp) == b"data"
    assert {use(of) for of in readers} == {OWNER}


def test_who_is_left_alone_owns_the_file_again() -> None:
    lab = exclusive_lab()
    file, first = lab.open_new(b"file")
    second = opened(lab, file)
    for vp, of in enumerate((first, second)):
        lab.call("write", of, vp, b"x", vp=vp)
    lab.call("release", second, vp=1)
    assert use(first) is SHARER, "it is not told: it asks at its next I/O"
    lab.call("write", first, 0, b"y")
    assert use(first) is OWNER


def test_a_small_file_needs_no_file_cache_until_it_grows_or_is_shared() -> None:
    lab = exclusive_lab()
    file, of = lab.open_new(b"file")
    lab.call("write", of, 0, b"x" * SMALL_MAX)
    rep: Any = rep_of(lab.cos, file.obj_ref)
    assert not rep.cache_ref
    assert rep._window is not None
    lab.call("write", of, SMALL_MAX, b"y")
    assert rep.cache_ref
    assert rep._window is None, "its bytes went to the cache"
    other, first = lab.open_new(b"other")
    lab.call("write", first, 0, b"x")
    rep = rep_of(lab.cos, other.obj_ref)
    assert rep._window is not None
    second = opened(lab, other)
    lab.call("read", second, 0, 1, vp=1)
    assert rep._window is None
    assert rep.cache_ref


def test_a_truncate_by_path_reaches_the_owner() -> None:
    lab = exclusive_lab()
    file, of = lab.open_new(b"file")
    lab.call("write", of, 0, b"0123456789")
    lab.call("set_attributes", file, AttrChanges(size=4), vp=2)
    assert lab.call("read", of, 0, 99) == b"0123"
    lab.call("set_attributes", file, AttrChanges(size=2 * SMALL_MAX), vp=2)
    assert lab.call("read", of, 4, 3) == bytes(3)
    assert use(of) is OWNER


@pytest.mark.parametrize("model", ["full", "calls", "off"])
def test_offsets_and_appends_of_an_owner(model: str) -> None:
    lab = exclusive_lab(model)
    file, of = lab.open_new(b"file", flags=O_APPEND)
    for text in (b"one", b"two"):
        lab.call("write", of, 0, text)
    assert lab.call("seek", of, 1, os.SEEK_SET) == 1
    assert lab.call("read", of, None, 3) == b"net"
    assert lab.call("seek", of, -1, os.SEEK_END) == 5
    assert lab.call("read", of, None, 3) == b"o"
    assert lab.data(file) == b"onetwo"


def test_a_write_that_takes_rights_away_goes_through_the_server() -> None:
    lab = exclusive_lab()
    file, of = lab.open_new(b"file")
    of.creds = of.creds.__class__(uid=7, gid=7, groups=frozenset())
    lab.call("write", of, 0, b"x")
    lab.call("set_attributes", file, AttrChanges(mode=0o6755))
    lab.call("write", of, 1, b"y")
    assert file.mode & 0o7777 == 0o755
    assert lab.data(file) == b"xy"


def test_everything_is_given_back() -> None:
    lab = exclusive_lab()
    left = []
    for _ in range(3):
        file, first = lab.open_new(b"file")
        lab.call("write", first, 0, b"x" * 100)
        second = opened(lab, file, vp=2)
        lab.call("write", second, PAGE, b"y", vp=2)
        lab.call("release", second, vp=3)
        lab.call("write", first, 2 * SMALL_MAX, b"z")
        lab.call("release", first, vp=1)
        lab.call("unlink", lab.root, b"file")
        assert lab.objects() == {"DirObject": 1}
        left.append(lab.machine.memory.live_blocks)
    assert left[1] == left[2]


@pytest.mark.parametrize("seed", range(6))
def test_clients_that_come_and_go_see_each_others_writes(seed: int) -> None:
    """Each write is of one letter; at the end every byte is the last letter that anybody was told was written."""
    processors, size = 5, 600
    storm = Storm(processors, seed=seed)
    storm.tree.tree.policy.choose("ServerFile", "exclusive")
    made: list[FSFile] = []
    written: dict[int, set[int]] = {cell: {0} for cell in range(processors)}

    async def prepare(storm: Storm, th: Thread) -> None:
        file, of = await storm.call(th, "create", storm.root, b"file", 0o644, 2)
        await storm.call(th, "write", of, 0, bytes(size * processors))
        await storm.call(th, "release", of)
        made.append(file)

    async def work(storm: Storm, th: Thread, vp: int) -> None:
        random = Random(seed * 32 + vp)
        for turn in range(12):
            of = await storm.call(th, "open", made[0], os.O_RDWR)
            for _ in range(random.randrange(4)):
                letter = vp * 40 + turn + 1
                await storm.call(th, "write", of, vp * size, bytes([letter]) * size)
                assert await storm.call(th, "read", of, vp * size, size) == bytes([letter]) * size
                written[vp] = {letter}
                cell = random.randrange(processors)
                seen = await storm.call(th, "read", of, cell * size, size)
                assert len(set(seen)) == 1, "a mixture of two writes"
            th.work(random.randrange(3000))
            await storm.call(th, "release", of)

    storm.prepare(prepare)
    for vp in range(processors):
        storm.spawn(vp, work, vp)
    storm.run()
    file: Any = made[0]
    for cell in range(processors):
        assert {file.data.read(cell * size, 1)[0]} == written[cell]


def cycles_of_a_single_user(implementation: str) -> int:
    """Cycles of making, writing, reading again and removing small files, one after the other."""
    storm = Storm(2)
    storm.tree.tree.policy.choose("ServerFile", implementation)
    spent: list[int] = []

    async def use_files(storm: Storm, th: Thread) -> None:
        for turn in range(60):
            if turn == 20:  # tables and caches are warm
                spent.append(th.proc.clock)
            file, of = await storm.call(th, "create", storm.root, b"file", 0o644, 2)
            for at in range(4):
                await storm.call(th, "write", of, at * 1000, bytes(1000))
            await storm.call(th, "release", of)
            of = await storm.call(th, "open", file, 0)
            for at in range(4):
                await storm.call(th, "read", of, at * 1000, 1000)
            await storm.call(th, "release", of)
            await storm.call(th, "unlink", storm.root, b"file")
        spent.append(th.proc.clock)

    storm.prepare(use_files)
    return spent[1] - spent[0]


def test_a_single_user_of_small_files_is_served_for_less() -> None:
    assert cycles_of_a_single_user("exclusive") < cycles_of_a_single_user("shared")
