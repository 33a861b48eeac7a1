"""What the kernel forgets is dropped on the processor that used it last: its lines change no caches."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest

from tests.personality.face_lab import ROOT, Buffer, Mount, mount

__all__ = ["mount"]

FILES = 20


def client(pid: int) -> Any:  # noqa: ANN401
    return SimpleNamespace(pid=pid, uid=0, gid=0, umask=0o022)


async def make_and_remove(mount: Mount, ctx: Any, directory: int, name: bytes) -> int:  # noqa: ANN401
    """Return the node number of a file that has been made, written and removed, and is known still."""
    opened, entry = await mount.ops.create(directory, name, 0o644, os.O_RDWR, ctx)
    await mount.ops.write(opened.fh, 0, b"x" * 100)
    await mount.ops.release(opened.fh)
    await mount.ops.unlink(directory, name, ctx)
    return int(entry.st_ino)


def transfers(mount: Mount) -> int:
    """Return how many lines of what a file consists of have moved."""
    rows = mount.system.machine.statistics(10_000)["lines"]
    return sum(
        row["transfers"] for row in rows if row["object"].startswith(("ServerFile", "RamInode", "inode"))
    )


@pytest.mark.parametrize("is_batch", [True, False])
async def test_forgetting_the_files_of_two_processors_moves_no_line(mount: Mount, is_batch: bool) -> None:
    ctxs = [client(1), client(2)]
    homes = [(await mount.ops.mkdir(ROOT, b"%d" % ctx.pid, 0o755, ctx)).st_ino for ctx in ctxs]
    for warm in (True, False):
        if not warm:
            mount.system.machine.reset_statistics()
        forgotten = []
        for i in range(FILES):
            for ctx, home in zip(ctxs, homes, strict=True):
                forgotten.append((await make_and_remove(mount, ctx, home, b"%d" % i), 1))
                if not is_batch:
                    await mount.ops.forget(forgotten[-1:])
        if is_batch:
            await mount.ops.forget(forgotten)
        for vp in (0, 1):
            await mount.ops.clean_up(vp)
    known = {node.file.ino for node in mount.ops.nodes.by_id.values()}
    assert len(known) == 1 + len(homes), "all files are forgotten"
    assert mount.active == 0
    assert transfers(mount) == 0
    mount.system.machine.check()


async def test_a_node_follows_whoever_looked_it_up_last(mount: Mount) -> None:
    entry = await mount.ops.mknod(ROOT, b"f", 0o100644, 0, client(1))
    node = mount.ops.nodes[entry.st_ino]
    first = node.vp
    await mount.ops.lookup(ROOT, b"f", client(2))
    assert node.vp != first
    await mount.ops.lookup(ROOT, b"f", client(1))
    assert node.vp == first


async def test_a_node_first_met_in_a_listing_is_the_lister_s(mount: Mount) -> None:
    await mount.make(b"f")
    await mount.ops.lookup(ROOT, b"nobody", client(1))  # takes processor 0 if `make` has not
    ctx = client(3)
    handle = await mount.ops.opendir(ROOT, ctx)
    buffer = Buffer(room=10)
    await mount.ops.readdir(handle, 0, buffer)
    (ino,) = [node_id for name, node_id, _ in buffer.entries if name == b"f"]
    assert mount.ops.nodes[ino].vp == mount.ops.callers.caller(ctx).vp


async def test_a_forget_counts_as_one_request_however_much_it_names(mount: Mount) -> None:
    inos = [(await mount.ops.mknod(ROOT, b"%d" % i, 0o100644, 0, client(i))).st_ino for i in (1, 2)]
    before = mount.ops.requests
    await mount.ops.forget([(ino, 1) for ino in inos])
    assert mount.ops.requests == before + 1
