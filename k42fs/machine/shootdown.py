"""Shootdown: telling the processors that use a range of addresses to forget it, and nobody else.

The caller knows who uses the range. It sends each of them a message, whose handler drops what its processor
has and adds to a counter; who brings the counter to its end unblocks the caller. So nobody need reply, and
the messages can be the caller's own. The cost is proportional to
the users and does not depend on how many processors there are.

K42: os/kernel/mem/HATDefault.C, unmapRange. Here it also stands for telling the host's kernel to drop pages.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from k42fs.machine.layout import RMW, Kind
from k42fs.machine.messages import CHUNK_BYTES

if TYPE_CHECKING:
    from k42fs.machine.driver import Machine
    from k42fs.machine.thread import Thread


async def shoot_down(machine: Machine, th: Thread, users: Iterable[int], drop_cycles: int) -> int:
    """Let every processor of *users* spend *drop_cycles* on forgetting; return how many there were.

    Blocks until the last has. The caller's own processor needs no message.
    """
    others = sorted(set(users))
    if th.vp in others:
        others.remove(th.vp)
        th.work(drop_cycles)
    if not others:
        return 0
    counter = machine.memory.alloc(th.vp, 16, Kind.GLOBAL_PADDED)
    await th.store(counter)
    left = [len(others)]

    def drop(there: Thread) -> None:
        there.work(drop_cycles)
        machine.charge(there, RMW, counter)
        left[0] -= 1
        if not left[0]:
            there.unblock(th)

    messages = [machine.memory.alloc(th.vp, CHUNK_BYTES, Kind.GLOBAL_PADDED) for _ in others]
    for vp, addr in zip(others, messages, strict=True):
        await machine.messages.post(th, vp, drop, addr)
    while left[0]:
        await th.block()
    await th.load(counter)
    for addr in (counter, *messages):
        machine.memory.free(th.vp, addr)
    return len(others)
