"""The replicated name server on a deterministic machine: whole snapshots; no line moves when warm."""

from __future__ import annotations

from typing import Any

import pytest

from k42fs.ids import VP, Ref
from k42fs.machine import Thread
from k42fs.servers.mount_client import MountPointMgrClient
from k42fs.servers.mount_table import MountTable, Snapshot
from tests.servers.names.town import Town, p

PROCESSORS = 8
WARM = 40


def spawn(town: Town, vp: int, fn: Any, *args: Any) -> None:  # noqa: ANN401
    """Run ``fn(th, *args)`` as an operation on processor *vp*."""

    async def operation(th: Thread) -> None:
        town.cos.activate(th)
        try:
            await fn(th, *args)
        finally:
            town.cos.deactivate(th)

    town.machine.spawn(VP(vp), operation)


async def mount_pair(th: Thread, town: Town, server: int, done: list[int]) -> None:
    """Mount *server* at /x and /y in one change."""

    def edit(table: MountTable) -> Snapshot:
        for path in ("/x", "/y"):
            table.register(p(path), Ref(server))
        return table.snapshot

    done.append((await town.mgr.change(th, edit)).version)


def servers_at(snapshot: Snapshot) -> tuple[int, int]:
    return snapshot.lookup((b"x", b"f")).entry.server, snapshot.lookup((b"y",)).entry.server


def run_readers_and_writers(cluster: int) -> str:
    """Check that no reader ever sees half a change or an older table than one that had been announced."""
    town = Town(PROCESSORS, live=False, cluster=cluster)
    done: list[int] = []
    seen: set[int] = set()

    async def write(th: Thread, first: int) -> None:
        for number in range(12):
            await mount_pair(th, town, first + number, done)
            await th.sleep(500)

    async def read(th: Thread, client: MountPointMgrClient) -> None:
        last = 0
        for _ in range(60):
            announced = max(done, default=0)
            snapshot = await client.refresh(th)
            assert snapshot.version >= announced
            assert snapshot.version >= last
            last = snapshot.version
            if snapshot.version > 1:
                one, two = servers_at(snapshot)
                assert one == two
                seen.add(one)
            found = await th.deref(town.mgr.ref).lookup(th, (b"x",)) if announced else None
            assert found is None or found.entry.server >= 100
            await th.sleep(200)

    async def start(th: Thread) -> None:
        await mount_pair(th, town, 100, done)

    spawn(town, 0, start)
    town.machine.run()
    shared = town.client()
    for vp in (0, 5):
        spawn(town, vp, write, 200 + 100 * vp)
    for vp in range(1, PROCESSORS):
        spawn(town, vp, read, shared if vp > 5 else town.client())
    town.machine.run()
    assert len(done) == 25
    assert len(seen) > 5  # the readers did run in between
    return town.machine.event_hash()


@pytest.mark.parametrize("cluster", [1, 4])
def test_readers_see_whole_changes_only_and_never_go_back(cluster: int) -> None:
    assert run_readers_and_writers(cluster) == run_readers_and_writers(cluster)


def test_a_processor_that_comes_in_the_midst_of_a_change_is_not_left_behind() -> None:
    town = Town(PROCESSORS, live=False)
    done: list[int] = []
    got: list[int] = []

    async def first_touch(th: Thread, delay: int) -> None:
        await th.sleep(delay)
        announced = max(done, default=0)
        rep_version = await th.deref(town.mgr.ref).version(th)
        assert rep_version >= announced
        got.append(rep_version)

    async def write(th: Thread) -> None:
        for number in range(8):
            await mount_pair(th, town, 100 + number, done)

    spawn(town, 0, write)
    for vp in range(1, PROCESSORS):
        spawn(town, vp, first_touch, 700 * vp)
    town.machine.run()
    assert len(set(got)) > 1

    async def last(th: Thread) -> None:
        assert await th.deref(town.mgr.ref).version(th) == max(done)

    for vp in range(PROCESSORS):
        spawn(town, vp, last)
    town.machine.run()


def test_threads_of_one_process_reload_once_between_them() -> None:
    town = Town(PROCESSORS, live=False)
    client = town.client()
    done: list[int] = []

    async def look(th: Thread, start: int) -> None:
        await th.sleep(start - th.proc.clock)
        assert (await client.refresh(th)).version >= max(done)

    for changes in range(1, 4):
        spawn(town, 0, mount_pair, town, 100, done)
        town.machine.run()
        start = town.machine.now + 10_000
        for vp in range(PROCESSORS):
            spawn(town, vp, look, start)
        town.machine.run()
        assert client.counts.reloads == client.counts.calls == changes
    assert client.lock.contentions > 0


def coherence_misses(town: Town) -> dict[str, int]:
    """Add up the misses of all processors by kind."""
    total: dict[str, int] = {}
    for row in town.machine.statistics()["per_processor"]:
        for miss, count in row["misses"].items():
            total[miss] = total.get(miss, 0) + count
    return total


def warm_lookups(cluster: int) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """Look up on all processors, first cold, then counted; return the misses, and the lines that moved."""
    town = Town(PROCESSORS, live=False, cluster=cluster)
    clients = [town.client() for _ in range(PROCESSORS)]

    async def mount(th: Thread) -> None:
        await th.deref(town.mgr.ref).register(th, p("/"), Ref(100))

    async def look(th: Thread, client: MountPointMgrClient) -> None:
        for _ in range(WARM):
            await th.deref(town.mgr.ref).lookup(th, (b"a", b"b"))
            await client.lookup(th, p("/a/b"))

    spawn(town, 0, mount)
    town.machine.run()
    for _ in ("cold", "warm"):
        town.machine.reset_statistics()
        for vp, client in enumerate(clients):
            spawn(town, vp, look, client)
        town.machine.run()
    assert [client.counts.calls for client in clients] == [1] * PROCESSORS
    statistics = town.machine.statistics()
    return coherence_misses(town), statistics["lines"]


def test_warm_lookups_of_the_replicated_server_miss_nothing() -> None:
    misses, lines = warm_lookups(cluster=1)
    assert sum(misses.values()) == 0, misses
    assert lines == []


def test_warm_lookups_of_one_shared_server_move_its_line_about() -> None:
    misses, lines = warm_lookups(cluster=PROCESSORS)
    assert sum(misses.values()) >= WARM, misses
    assert lines[0]["object"].startswith("MountPointMgr")
