"""readdir: every name once whatever the buffer, few calls of the server, and exact lookup counts when it fails."""

from __future__ import annotations

from random import Random
from typing import Any

import pyfuse3
import pytest

from k42fs.errors import NoDataError
from k42fs.servers.name_tree import NameTree
from tests.personality.face_lab import CTX, ROOT, Buffer, Mount, mount

__all__ = ["mount"]


async def listing(mount: Mount, handle: int, room: Any, start: int = 0) -> list[tuple[bytes, int, int]]:  # noqa: ANN401
    """All entries from *start* on, by requests with room for *room()* entries each."""
    found: list[tuple[bytes, int, int]] = []
    while True:
        buffer = Buffer(room())
        await mount.ops.readdir(handle, start, buffer)
        if not buffer.entries:
            return found
        found += buffer.entries
        start = buffer.entries[-1][2]


@pytest.mark.parametrize("rooms", [(1, 1), (2, 3), (25, 25), (5, 200), (1000, 1000)])
async def test_every_name_is_listed_once_whatever_the_buffers_take(
    mount: Mount, rooms: tuple[int, int]
) -> None:
    names = [b"n%d" % i for i in range(150)]
    await mount.make(*names)
    handle = await mount.ops.opendir(ROOT, CTX)
    dice = Random(7)
    found = await listing(mount, handle, lambda: dice.randint(*rooms))
    assert [name for name, _, _ in found] == [b".", b"..", *names]
    counts = [mount.ops.nodes.by_id[node].nlookup for _, node, _ in found[2:]]
    assert counts == [1] * 150
    for name, _, after in found[::20]:  # an offset is good for ever
        rest = await listing(mount, handle, lambda: 40, after)
        assert [later for later, _, _ in rest] == [later for later, _, at in found if at > after], name


async def test_names_made_and_removed_meanwhile_disturb_no_others(mount: Mount) -> None:
    names = [b"n%d" % i for i in range(90)]
    await mount.make(*names)
    handle = await mount.ops.opendir(ROOT, CTX)
    seen: list[bytes] = []
    offset, turn = 0, 0
    while True:
        buffer = Buffer(7)
        await mount.ops.readdir(handle, offset, buffer)
        if not buffer.entries:
            break
        seen += buffer.names()
        offset = buffer.entries[-1][2]
        await mount.ops.unlink(ROOT, b"n%d" % (3 * turn), CTX)
        turn += 1
        if turn < 10:
            await mount.make(b"new%d" % turn)
    assert len(seen) == len(set(seen))
    assert {name for i, name in enumerate(names) if i % 3} <= set(seen)


async def test_one_call_of_the_server_usually_fills_a_buffer(
    mount: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    await mount.make(*[b"n%d" % i for i in range(500)])
    calls: list[int] = []
    read_dir = NameTree.read_dir

    async def counted(self: NameTree, th: Any, handle: Any, offset: int, limit: int) -> Any:  # noqa: ANN401
        calls.append(limit)
        return await read_dir(self, th, handle, offset, limit)

    monkeypatch.setattr(NameTree, "read_dir", counted)
    handle = await mount.ops.opendir(ROOT, CTX)
    for room in (100, 20):  # the buffers of two kernels
        await listing(mount, handle, lambda room=room: room)
        calls.clear()
        await listing(mount, handle, lambda room=room: room)
        requests = 502 // room + 2
        assert len(calls) <= requests + 1
        assert sum(calls) < 1.4 * 502 + 2 * max(calls), "far more was asked for than fitted"


async def test_a_failure_after_the_first_batch_ends_the_answer_and_meets_the_next_request(
    mount: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [b"n%d" % i for i in range(200)]
    await mount.make(*names)
    read_dir = NameTree.read_dir
    fails = False

    async def failing(self: NameTree, th: Any, handle: Any, offset: int, limit: int) -> Any:  # noqa: ANN401
        nonlocal fails
        if fails:
            raise NoDataError("the disk has gone")
        fails = True
        return await read_dir(self, th, handle, offset, limit)

    monkeypatch.setattr(NameTree, "read_dir", failing)
    handle = await mount.ops.opendir(ROOT, CTX)
    buffer = Buffer(1000)
    await mount.ops.readdir(handle, 0, buffer)
    assert b"n0" in buffer.names()
    with pytest.raises(pyfuse3.FUSEError):
        await mount.ops.readdir(handle, buffer.entries[-1][2], Buffer(1000))
    # The kernel's counts and ours agree: what it forgets, nobody holds any more.
    await mount.forget(buffer)
    assert [node.nlookup for node in mount.ops.nodes.by_id.values()] == [1]  # the root's own
    monkeypatch.setattr(NameTree, "read_dir", read_dir)
    assert [name for name, _, _ in await listing(mount, handle, lambda: 50)] == [b".", b"..", *names]


async def test_a_bug_amid_the_entries_is_logged_and_miscounts_nothing(
    mount: Mount, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await mount.make(*[b"n%d" % i for i in range(10)])
    node_of = mount.ops.node_of

    def breaks(parent: Any, name: bytes, file: Any) -> Any:  # noqa: ANN401
        if name == b"n6":
            raise ZeroDivisionError
        return node_of(parent, name, file)

    monkeypatch.setattr(mount.ops, "node_of", breaks)
    handle = await mount.ops.opendir(ROOT, CTX)
    buffer = Buffer(1000)
    await mount.ops.readdir(handle, 0, buffer)
    assert buffer.names() == [b".", b"..", *(b"n%d" % i for i in range(6))]
    assert "bug while serving readdir" in caplog.text
    await mount.forget(buffer)
    assert [node.nlookup for node in mount.ops.nodes.by_id.values()] == [1]


async def test_an_entry_that_did_not_fit_is_not_kept(mount: Mount) -> None:
    await mount.make(b"a", b"b", b"c")
    handle = await mount.ops.opendir(ROOT, CTX)
    buffer = Buffer(4)
    await mount.ops.readdir(handle, 0, buffer)
    assert buffer.names() == [b".", b"..", b"a", b"b"]
    assert len(mount.ops.nodes.by_id) == 3
