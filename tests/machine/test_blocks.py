"""Copies of file data, priced by the block: the first line of a run is a whole miss, the rest streams."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

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


def test_a_copy_costs_what_the_machine_says_of_its_distance_and_its_bus() -> None:
    far = Machine(preset("numachine-64"), "full")
    addr = far.memory.alloc(0, PAGE, Kind.GLOBAL_PADDED)
    assert far.blocks.copy(16, WRITE, addr, PAGE) == 420 + PAGE // 128 * 30
    assert far.blocks.copy(0, READ, addr, PAGE) == 520 + PAGE // 128 * 30
    bus = Machine(preset("s85-24"), "full")
    addr = bus.memory.alloc(0, PAGE, Kind.GLOBAL_PADDED)
    assert bus.blocks.copy(5, READ, addr, PAGE) == 300 + PAGE // 128 * 32


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


class BlockByBlock:
    """What BlockTraffic must charge, by looking at each block: the model in its simplest form."""

    def __init__(self, machine: Machine) -> None:
        self.config, self.home = machine.config, machine.memory.home
        self.owner: dict[int, int] = {}
        self.readers: dict[int, set[int]] = {}
        self.moved = [0] * machine.config.processors

    def copy(self, cpu: int, code: int, addr: int, nbytes: int) -> int:
        cycles = far_blocks = 0
        last_owner: int | None = cpu
        for block in range(addr // PAGE, (addr + nbytes - 1) // PAGE + 1):
            owner, readers = self.owner.get(block), self.readers.setdefault(block, set())
            if owner == cpu or (code == READ and cpu in readers):
                continue
            far_blocks += 1
            if owner != last_owner:
                last_owner = owner
                cycles += self.first_line(cpu, owner, block)
            if code == READ:
                readers |= {cpu} if owner is None else {cpu, owner}
                self.owner.pop(block, None)
            else:
                readers.clear()
                self.owner[block] = cpu
        line = self.config.line_bytes
        lines = -(-nbytes // line)
        far_lines = min(lines, far_blocks * (PAGE // line))
        self.moved[cpu] += min(nbytes, far_lines * line)
        return cycles + far_lines * self.config.home_busy_cycles + (lines - far_lines) * self.config.l1_cycles

    def first_line(self, cpu: int, owner: int | None, block: int) -> int:
        config = self.config
        here, home = config.node(cpu), self.home(block * PAGE // config.line_bytes)
        if owner is None:
            hops = config.hops(here, home)
            return config.remote_cycles + 2 * config.hop_cycles * hops if hops else config.local_cycles
        there = config.node(owner)
        hops = config.hops(here, home) + config.hops(home, there) + config.hops(there, here)
        return config.dirty_cycles + config.hop_cycles * hops

    def forget(self, addr: int, nbytes: int) -> None:
        for block in range(addr // PAGE, (addr + nbytes - 1) // PAGE + 1):
            self.owner.pop(block, None)
            self.readers.pop(block, None)


copies = st.tuples(
    st.sampled_from([READ, WRITE, None]),  # None: forget
    st.sampled_from([0, 1, 8, 15]),
    st.integers(0, 16 * PAGE - 1) | st.sampled_from([0, 4 * PAGE, 8 * PAGE]),
    st.integers(1, 10 * PAGE) | st.sampled_from([PAGE, 4 * PAGE, 8 * PAGE]),
)


@given(st.lists(copies, max_size=40))
def test_runs_of_blocks_charge_what_looking_at_each_block_would(
    steps: list[tuple[int | None, int, int, int]],
) -> None:
    machine = Machine(preset("dir-1024", processors=16), "full")
    blocks, simple = machine.blocks, BlockByBlock(machine)
    base = machine.memory.alloc(0, 32 * PAGE, Kind.GLOBAL_PADDED)
    for code, cpu, offset, nbytes in steps:
        if code is None:
            blocks.forget(base + offset, nbytes)
            simple.forget(base + offset, nbytes)
        else:
            assert blocks.copy(cpu, code, base + offset, nbytes) == simple.copy(
                cpu, code, base + offset, nbytes
            )
    assert blocks.moved == simple.moved
    for cpu in (1, 8, 0):  # who holds what is the same in the end, too
        for page in range(32):
            at = base + page * PAGE
            assert blocks.copy(cpu, READ, at, PAGE) == simple.copy(cpu, READ, at, PAGE)
