"""A request that waits too long is answered EIO; when its operation ends after all, nothing of it is left."""

from __future__ import annotations

import pyfuse3
import pytest
import trio

from k42fs.machine import Thread
from k42fs.personality.serving import WAIT_SECONDS_MAX
from tests.personality.face_lab import CTX, ROOT, Buffer, Mount, mount

__all__ = ["mount"]


class Holder:
    """Somebody who has the root's names to himself for a while."""

    def __init__(self, mount: Mount) -> None:
        self.mount = mount
        self.lock = mount.dirlock()
        self.th: Thread = mount.housekeeper()
        mount.system.machine.drive(self._take())

    async def _take(self) -> None:
        await self.lock.acquire_w(self.th)

    async def leave(self) -> None:
        """Let the lock go, as the end of an operation; what waited runs then, and what it leaves to be done."""
        self.lock.release_w(self.th)
        self.mount.ops.end(self.th)
        await trio.testing.wait_all_tasks_blocked()


async def give_up(mount: Mount, request: str, *args: object) -> None:
    """Send a request that nobody lets go on, and see it answered EIO."""
    start = trio.current_time()
    with pytest.raises(pyfuse3.FUSEError) as caught:
        await getattr(mount.ops, request)(*args)
    assert caught.value.errno == 5
    assert trio.current_time() - start == pytest.approx(WAIT_SECONDS_MAX)


def assert_nothing_left(mount: Mount) -> None:
    assert mount.active == 0
    assert not mount.ops.given_up
    assert len(mount.ops.handles) == 0
    assert [node.nlookup for node in mount.ops.nodes.by_id.values()] == [1]  # the root's own


async def test_a_late_lookup_is_forgotten_and_its_thread_leaves(
    mount: Mount, autojump_clock: trio.testing.MockClock
) -> None:
    await mount.make(b"f")
    holder = Holder(mount)
    await give_up(mount, "lookup", ROOT, b"f", CTX)
    assert mount.active == 2, "what it uses must not be reclaimed under a parked thread"
    await holder.leave()
    assert_nothing_left(mount)
    assert (await mount.ops.lookup(ROOT, b"f", CTX)).st_ino


async def test_a_late_create_is_closed_and_the_kernel_looks_again(
    mount: Mount, autojump_clock: trio.testing.MockClock
) -> None:
    await mount.make(b"f")
    holder = Holder(mount)
    await give_up(mount, "create", ROOT, b"new", 0o644, 2, CTX)
    await holder.leave()
    assert_nothing_left(mount)
    assert mount.ops.notifier.drain(5)
    assert (ROOT, b"new") in mount.invalidated  # it may have kept that there is no such name


async def test_a_late_unlink_is_told_to_the_kernel(
    mount: Mount, autojump_clock: trio.testing.MockClock
) -> None:
    await mount.make(b"f")
    holder = Holder(mount)
    await give_up(mount, "unlink", ROOT, b"f", CTX)
    await holder.leave()
    assert_nothing_left(mount)
    assert mount.ops.notifier.drain(5)
    assert (ROOT, b"f") in mount.invalidated


async def test_a_late_failure_only_leaves(mount: Mount, autojump_clock: trio.testing.MockClock) -> None:
    await mount.make(b"f")
    holder = Holder(mount)
    await give_up(mount, "unlink", ROOT, b"missing", CTX)
    await holder.leave()
    assert_nothing_left(mount)


async def test_a_late_readdir_writes_to_no_buffer(
    mount: Mount, autojump_clock: trio.testing.MockClock
) -> None:
    await mount.make(b"f")
    handle = await mount.ops.opendir(ROOT, CTX)
    holder = Holder(mount)
    buffer = Buffer(100)
    await give_up(mount, "readdir", handle, 0, buffer)
    buffer.entries.clear()  # pyfuse3 has freed it
    await holder.leave()
    assert buffer.entries == []
    await mount.ops.releasedir(handle)
    assert_nothing_left(mount)


async def test_a_wait_that_ends_in_time_is_answered(
    mount: Mount, autojump_clock: trio.testing.MockClock
) -> None:
    await mount.make(b"f")
    holder = Holder(mount)
    async with trio.open_nursery() as nursery:

        async def look() -> None:
            entry = await mount.ops.lookup(ROOT, b"f", CTX)
            await mount.ops.forget([(entry.st_ino, 1)])

        nursery.start_soon(look)
        await trio.sleep(WAIT_SECONDS_MAX / 2)
        await holder.leave()
    assert_nothing_left(mount)
    assert mount.invalidated == []
