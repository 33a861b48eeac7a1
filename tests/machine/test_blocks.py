"""Copies of file data, priced by the block: the first line of a run is a whole miss, the rest streams."""

from __future__ import annotations

from k42fs.ids import VP
from k42fs.machine import Kind, Machine, Thread, preset
from k42fs.machine.blocks import BlockTraffic
from k42fs.machine.layout import READ, WRITE

PAGE = 4096
LINES = PAGE // 64


def traffic() -> tuple[BlockTraffic, int]:
    """A machine of two nodes, and a buffer of 32 pages homed on node 0."""
    machine = Machine(preset("dir-1024", processors=16), "full")
    return machine.blocks, machine.memory.alloc(0, 32 * PAGE, Kind.GLOBAL_PADDED)


def test_a_first_read_streams_from_memory_and_a_second_is_a_hit() -> None:
    blocks, addr = traffic()
    assert blocks.copy(0, READ, addr, PAGE) == 200 + LINES * 24
    assert blocks.copy(0, READ, addr, PAGE) == LINES * 4
    assert (blocks.copied[0], blocks.moved[0]) == (2 * PAGE, PAGE)


def test_a_run_of_blocks_from_one_place_pays_one_first_line() -> None:
    blocks, addr = traffic()
    assert blocks.copy(0, WRITE, addr, 32 * PAGE) == 200 + 32 * LINES * 24


def test_what_another_processor_wrote_comes_from_its_cache() -> None:
    blocks, addr = traffic()
    blocks.copy(1, WRITE, addr, PAGE)
    assert blocks.copy(0, READ, addr, PAGE) == 260 + LINES * 24  # same node: no hops
    assert (
        blocks.copy(8, READ, addr, PAGE) == 200 + 40 + LINES * 24
    )  # shared now: memory has it, one hop away
    assert blocks.copy(1, READ, addr, PAGE) == LINES * 4  # the writer kept its copy


def test_a_store_takes_the_block_from_all_readers() -> None:
    blocks, addr = traffic()
    for cpu in (0, 1, 2):
        blocks.copy(cpu, READ, addr, PAGE)
    blocks.copy(0, WRITE, addr, PAGE)
    assert blocks.copy(0, READ, addr, PAGE) == LINES * 4
    assert blocks.copy(2, READ, addr, PAGE) == 260 + LINES * 24


def test_freed_memory_is_in_no_cache() -> None:
    blocks, addr = traffic()
    blocks.copy(0, WRITE, addr, PAGE)
    blocks.forget(addr, PAGE)
    assert blocks.copy(0, READ, addr, PAGE) == 200 + LINES * 24


def test_copies_are_work_and_wait_for_their_turn() -> None:
    machine = Machine(preset("dir-1024", processors=2), "full")
    addr = machine.memory.alloc(0, PAGE, Kind.GLOBAL_PADDED)
    order = []

    async def copies(th: Thread, name: str, first: int) -> None:
        th.work(first)
        await th.copy(READ, addr, PAGE)
        order.append(name)

    machine.spawn(VP(0), copies, "late", 10_000)
    machine.spawn(VP(1), copies, "early", 0)
    machine.run()
    machine.check()
    assert order == ["early", "late"]
