"""The file caches: each answers as a plain string of bytes would, gives all it took back, and takes over from
any other with the pages in place. What sets them apart is who waits for whom."""

from __future__ import annotations

from random import Random
from typing import Any, get_args

import pytest

from k42fs.errors import NoSpaceError
from k42fs.ids import VP
from k42fs.machine.driver import Model
from k42fs.machine.thread import Thread
from k42fs.objects.implementations import find, names
from k42fs.objects.transfer import agreed_type
from k42fs.servers.attr_changes import AttrChanges
from k42fs.servers.file_cache import EXTENT, PAGE, Extents
from k42fs.servers.makers import MAKERS
from k42fs.servers.open_file import OpenFile
from tests.servers.filelib.lab import Lab, Storm, rep_of

CACHES = list(MAKERS["FileCache"])
PROCESSORS = 8


def test_every_cache_that_can_be_made_can_be_swapped_in() -> None:
    assert sorted(CACHES) == names("FileCache")


def lab_with(cache: str, model: Model = "full") -> Lab:
    lab = Lab(model)
    lab.tree.tree.policy.choose("FileCache", cache)
    return lab


@pytest.mark.parametrize("model", get_args(Model))
@pytest.mark.parametrize("cache", CACHES)
def test_it_answers_as_a_string_of_bytes(cache: str, model: Model) -> None:
    lab, random = lab_with(cache, model), Random(7)
    file, of = lab.open_new(b"file")
    plain = bytearray()
    for step in range(120):
        vp = random.randrange(4)
        offset = random.choice([random.randrange(5 * EXTENT), random.randrange(2 * PAGE)])
        what = random.random()
        if what < 0.5:
            data = bytes([step % 251 + 1]) * random.choice([1, 100, PAGE, EXTENT + 17])
            assert lab.call("write", of, offset, data, vp=vp) == len(data)
            plain += bytes(max(0, offset - len(plain)))
            plain[offset : offset + len(data)] = data
        elif what < 0.9:
            size = random.choice([0, 1, PAGE, 3 * EXTENT])
            assert lab.call("read", of, offset, size, vp=vp) == plain[offset : offset + size]
        else:
            lab.call("release", lab.call("open", file, 0o1002, vp=vp), vp=vp)  # O_TRUNC
            plain.clear()
    assert lab.data(file) == plain


@pytest.mark.parametrize("cache", CACHES)
def test_a_deleted_file_gives_back_every_block(cache: str) -> None:
    lab = lab_with(cache)
    left = []
    for _ in range(3):
        _, of = lab.open_new(b"file")
        for vp in range(4):
            lab.call("write", of, vp * EXTENT, b"x" * PAGE, vp=vp)
            lab.call("write", of, 0, b"y" * (PAGE + 1 + vp), vp=vp)  # an extent that outgrows its page
            lab.call("read", of, 0, 5 * EXTENT, vp=vp)
        lab.call("release", of)
        lab.call("unlink", lab.root, b"file")
        assert lab.objects() == {"DirObject": 1}
        left.append(lab.machine.memory.live_blocks)
    assert left[1] == left[2], "the first round leaves tables that stay"


def frames_of(root: Any) -> Extents:  # noqa: ANN401
    """The frames that a cache's root holds, by the state that it would hand on."""
    lab_frames: Extents = {}
    speaker = root.speaker
    if hasattr(speaker, "_partitions"):
        for partition in speaker._partitions.values():
            lab_frames |= partition.extents
        return lab_frames
    return dict(speaker._extents)


@pytest.mark.parametrize("new", CACHES)
@pytest.mark.parametrize("old", CACHES)
def test_one_takes_over_from_another_with_the_frames_where_they_are(old: str, new: str) -> None:
    lab = lab_with(old)
    file, of = lab.open_new(b"file")
    for extent in range(6):
        lab.call("write", of, extent * EXTENT, b"x" * PAGE * (1 + extent % 2), vp=extent % 4)
    cache = rep_of(lab.cos, file.obj_ref).cache_ref
    old_root: Any = next(root for root in lab.cos.objects() if root.ref == cache)
    before = frames_of(old_root)
    assert len(before) == 6
    th = lab.machine.enter(VP(0))
    new_root: Any = find("FileCache", new).make(lab.cos, th, old_root)
    kind = agreed_type(old_root.exports, new_root.imports)
    assert kind is not None

    async def move(th: Thread) -> None:
        state = await old_root.export_state(th, kind, 0b1)
        await new_root.import_state(th, state, kind, 0b1)

    lab.machine.drive(move(th))
    old_root.committed(th)
    new_root.committed(th)
    lab.machine.leave(th)
    assert frames_of(new_root) == before
    assert not frames_of(old_root), "it would free frames that are another's"


def fails_in(whole: Any) -> Any:  # noqa: ANN401
    """An import that takes everything in, and then fails."""

    async def imports(*args: object) -> None:
        await whole(*args)
        raise NoSpaceError("as the test wants it")

    return imports


@pytest.mark.parametrize("new", CACHES)
@pytest.mark.parametrize("old", CACHES)
def test_a_swap_that_fails_after_the_import_leaves_the_frames_where_they_were(
    old: str, new: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = lab_with(old)
    left = []
    for _ in range(3):
        file, of = lab.open_new(b"file")
        for extent in range(6):
            lab.call("write", of, extent * EXTENT, b"x" * PAGE, vp=extent % 4)
        cache = rep_of(lab.cos, file.obj_ref).cache_ref
        old_root: Any = lab.cos.root_at(cache)
        before = frames_of(old_root)
        th = lab.machine.enter(VP(0))
        new_root: Any = find("FileCache", new).make(lab.cos, th, old_root)
        monkeypatch.setattr(type(new_root), "import_state", fails_in(type(new_root).import_state))
        swap = lab.machine.drive(lab.cos.switch(th, cache, new_root))
        lab.machine.leave(th)
        monkeypatch.undo()
        lab.clean()
        assert swap.state == "aborted"
        assert lab.cos.root_at(cache) is old_root
        assert frames_of(old_root) == before
        lab.call("set_attributes", file, AttrChanges(size=EXTENT))
        assert lab.call("read", of, 0, 9) == b"x" * 9
        lab.call("release", of)
        lab.call("unlink", lab.root, b"file")
        assert lab.objects() == {"DirObject": 1}
        left.append(lab.machine.memory.live_blocks)
    assert left[1] == left[2]


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("seed", range(3))
def test_readers_writers_and_cutters_at_once_leave_a_sound_file(cache: str, seed: int) -> None:
    storm = Storm(PROCESSORS, seed=seed)
    storm.tree.tree.policy.choose("FileCache", cache)
    opened: list[OpenFile] = []

    async def prepare(storm: Storm, th: Thread) -> None:
        opened.append((await storm.call(th, "create", storm.root, b"file", 0o644, 2))[1])

    async def work(storm: Storm, th: Thread, vp: int) -> None:
        random = Random(seed * 100 + vp)
        for _ in range(30):
            offset = random.randrange(4 * EXTENT)
            what = random.random()
            if what < 0.45:
                await storm.call(th, "write", opened[0], offset, bytes([vp + 1]) * random.choice([1, 5000]))
            elif what < 0.95:
                data = await storm.call(th, "read", opened[0], offset, 5000)
                assert set(data) <= set(range(PROCESSORS + 1))
            else:
                of = await storm.call(th, "open", opened[0].file, 0o1002)
                await storm.call(th, "release", of)

    storm.prepare(prepare)
    for vp in range(PROCESSORS):
        storm.spawn(vp, work, vp)
    storm.run()


def cycles_of_disjoint_readers(cache: str) -> int:
    """How long eight processors take to read pages of their own, 100 times each."""
    storm = Storm(PROCESSORS)
    storm.tree.tree.policy.choose("FileCache", cache)
    caches: list[int] = []

    async def prepare(storm: Storm, th: Thread) -> None:
        file, of = await storm.call(th, "create", storm.root, b"file", 0o644, 2)
        for vp in range(PROCESSORS):
            await storm.call(th, "write", of, vp * EXTENT, b"x" * PAGE)
        caches.append(rep_of(storm.cos, file.obj_ref).cache_ref)

    async def read(storm: Storm, th: Thread, vp: int) -> None:
        storm.cos.activate(th)
        for _ in range(100):
            await th.deref(caches[0]).read(th, vp * EXTENT, 64)  # type: ignore[arg-type]
        storm.cos.deactivate(th)

    storm.prepare(prepare)
    start = storm.machine.now
    for vp in range(PROCESSORS):
        storm.spawn(vp, read, vp)
    storm.run()
    return storm.machine.now - start


def test_disjoint_readers_wait_for_each_other_only_where_there_is_one_lock() -> None:
    single, *others = (cycles_of_disjoint_readers(cache) for cache in ("single", "partitioned", "replicated"))
    for each in others:
        assert each * 3 < single
