"""Allocators: no block is given out twice, lists move as wholes, and a hit is three private lines."""

import random

import pytest

from k42fs.ids import Addr
from k42fs.machine import Machine, Thread
from k42fs.machine.allocator import LocalAllocator, PoolAllocator
from k42fs.machine.memory import LIST_MIN
from tests.machine.lab import machine, run


@pytest.mark.parametrize("model", ["full", "calls"])
@pytest.mark.parametrize("is_local", [True, False])
def test_no_block_is_given_out_twice_whoever_frees_it(is_local: bool, model: str) -> None:
    m = machine(16, model=model)  # two nodes
    allocator = LocalAllocator(m, 2048, list_max=6) if is_local else PoolAllocator(m, 64)
    out: list[Addr] = []

    async def body(th: Thread) -> None:
        draw = random.Random(th.vp)
        for _ in range(60):
            if draw.random() < 0.55 or not out:
                block = await allocator.alloc(th)
                assert block not in out
                out.append(block)
            else:
                await allocator.free(th, out.pop(draw.randrange(len(out))))
            th.work(draw.randrange(300))

    run(m, *((vp, body) for vp in range(16)))
    assert len(out) > 50


def test_a_warm_hit_is_the_lists_word_and_the_blocks_first_line() -> None:
    m = machine(1)
    allocator = LocalAllocator(m, 64)

    async def body(th: Thread) -> tuple[int, int]:
        await allocator.free(th, await allocator.alloc(th))
        begin = th.proc.clock
        block = await allocator.alloc(th)
        middle = th.proc.clock
        await allocator.free(th, block)
        return middle - begin, th.proc.clock - middle

    assert run(m, (0, body))[0].outcome[0] == (3 * m.config.l1_cycles, 3 * m.config.l1_cycles)


def through(m: Machine, allocator: LocalAllocator, there: int, blocks: int) -> None:
    """Allocate *blocks* on processor 0, free them on *there*."""
    out: list[Addr] = []

    async def producer(th: Thread) -> None:
        out.extend([await allocator.alloc(th) for _ in range(blocks)])

    async def consumer(th: Thread) -> None:
        for block in out:
            await allocator.free(th, block)

    run(m, (0, producer))
    run(m, (there, consumer))


def test_blocks_of_another_node_go_back_as_whole_lists() -> None:
    m = machine(16)
    allocator = LocalAllocator(m, 64, list_max=10)
    through(m, allocator, 8, 35)
    assert allocator.splices(0) == 3
    live = m.memory.live_blocks
    through(m, allocator, 8, 30)  # what came back is used again
    assert m.memory.live_blocks == live
    assert allocator.splices(0) == 6


def test_a_full_list_is_kept_in_reserve_before_it_is_given_to_the_node() -> None:
    m = machine(8)
    allocator = LocalAllocator(m, 64, list_max=LIST_MIN)
    through(m, allocator, 1, 3 * LIST_MIN)
    before = m.memory.live_blocks
    through(m, allocator, 1, LIST_MIN)  # processor 0 takes the list that 1 gave up
    assert m.memory.live_blocks == before
    assert allocator.splices(0) == 0
