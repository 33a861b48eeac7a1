"""model=calls: locks are counted by kind and name."""

from __future__ import annotations

from k42fs.ids import VP, Addr
from k42fs.machine import FairBLock, Machine, RWLock, preset


def test_acquisitions_are_counted_by_kind_and_name_and_reset() -> None:
    machine = Machine(preset("dir-1024", processors=1), "calls", live=True)
    blocks = [FairBLock(machine, Addr(64 * n), name="lock") for n in (1, 2)]
    rw = RWLock(machine, Addr(256), name="dirlock")
    th = machine.enter(VP(0))

    async def work() -> None:
        for lock in blocks:
            await lock.acquire(th)
            lock.release(th)
        await rw.acquire_r(th)
        rw.release_r(th)
        await rw.acquire_w(th)
        rw.release_w(th)
        await rw.acquire_w(th)
        rw.release_w(th)

    machine.drive(work())
    machine.leave(th)
    counted = {row["lock"]: row["acquisitions"] for row in machine.statistics()["locks"]}
    assert counted == {"dirlock": 3, "lock": 2}
    machine.reset_statistics()
    assert machine.statistics()["locks"] == []
