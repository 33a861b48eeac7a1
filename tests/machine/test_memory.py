"""The modelled allocator: who shares lines with whom, where lines are homed, and who is at an address."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k42fs.ids import Addr
from k42fs.machine.config import preset
from k42fs.machine.layout import Kind, Layout
from k42fs.machine.memory import Memory, UnmodelledMemory

CONFIG = preset("dir-1024", processors=32)
SMALL = Layout("Small", Kind.GLOBAL, word=8, other=8)


class Owner:
    def label(self) -> str:
        return "file 7"


def line(addr: Addr) -> int:
    return addr // CONFIG.line_bytes


def test_local_strict_blocks_of_two_processors_never_share_a_line() -> None:
    memory = Memory(CONFIG)
    mine = {line(memory.alloc(0, 16, Kind.LOCAL_STRICT)) for _ in range(500)}
    theirs = {line(memory.alloc(1, 16, Kind.LOCAL_STRICT)) for _ in range(500)}
    assert not mine & theirs


def test_small_global_blocks_of_one_node_share_lines() -> None:
    memory = Memory(CONFIG)
    first, second = memory.alloc(0, SMALL), memory.alloc(7, SMALL)
    assert line(first) == line(second)
    assert line(first) != line(memory.alloc(8, SMALL))


def test_padded_blocks_are_alone_on_their_lines() -> None:
    memory = Memory(CONFIG)
    lines = [line(memory.alloc(0, 8, Kind.GLOBAL_PADDED)) for _ in range(200)]
    assert len(set(lines)) == 200


@pytest.mark.parametrize("vp", [0, 7, 8, 31])
def test_memory_is_homed_on_the_node_of_the_processor_that_allocates(vp: int) -> None:
    memory = Memory(CONFIG)
    for kind in Kind:
        assert memory.home(line(memory.alloc(vp, 100, kind))) == CONFIG.node(vp)
    assert memory.home(line(memory.ltt_base(vp))) == CONFIG.node(vp)


def test_local_strict_memory_must_be_freed_where_it_was_allocated() -> None:
    memory = Memory(CONFIG)
    addr = memory.alloc(1, 16, Kind.LOCAL_STRICT)
    with pytest.raises(AssertionError, match="local strict memory of processor 1 freed on 2"):
        memory.free(2, addr)
    memory.free(1, addr)


def test_a_double_free_is_caught() -> None:
    memory = Memory(CONFIG)
    addr = memory.alloc(0, 16)
    memory.free(5, addr)
    with pytest.raises(AssertionError, match="not an allocated block"):
        memory.free(5, addr)


def test_the_block_freed_last_is_reused_first() -> None:
    memory = Memory(CONFIG)
    blocks = [memory.alloc(0, 64) for _ in range(3)]
    for addr in blocks:
        memory.free(0, addr)
    assert [memory.alloc(0, 64) for _ in range(3)] == blocks[::-1]


@pytest.mark.parametrize("kind", Kind)
def test_a_processor_reuses_the_lines_that_it_freed_itself(kind: Kind) -> None:
    memory = Memory(CONFIG)
    mine, theirs = memory.alloc(0, 64, kind), memory.alloc(1, 64, kind)
    memory.free(0, mine)
    memory.free(1, theirs)  # last in, but not first out for its neighbour
    assert memory.alloc(0, 64, kind) == mine
    assert memory.alloc(1, 64, kind) == theirs


def test_a_block_freed_on_another_node_goes_home() -> None:
    memory = Memory(CONFIG)
    addr = memory.alloc(0, 64)
    memory.free(8, addr)
    assert memory.alloc(8, 64) != addr
    assert memory.alloc(1, 64) == addr


@pytest.mark.parametrize("consumer", [1, 8])
def test_blocks_that_one_processor_allocates_and_another_frees_are_recycled(consumer: int) -> None:
    memory, seen = Memory(CONFIG), set()
    for _ in range(20_000):
        addr = memory.alloc(0, 512)
        seen.add(addr)
        memory.free(consumer, addr)
    assert len(seen) < 500


def test_an_address_is_described_by_its_owner_and_field() -> None:
    memory = Memory(CONFIG)
    addr = memory.alloc(0, SMALL, owner=Owner())
    assert memory.describe(addr + 9) == ("file 7", "other")
    memory.free(0, addr)
    assert memory.describe(addr) == ("Small", "word")
    big = memory.alloc(0, 10000)
    assert memory.describe(big + 9000) == ("12288 bytes", "+9000")
    assert memory.describe(memory.ltt_base(3) + 16 * 77) == ("LTT of processor 3", "ref 77")
    assert memory.describe(12345) == ("", "")


def test_live_bytes_are_those_allocated_and_not_freed() -> None:
    memory = Memory(CONFIG)
    addr = memory.alloc(0, 100)
    memory.alloc(0, 5000)
    assert (memory.live_blocks, memory.live_bytes) == (2, 128 + 8192)
    memory.free(0, addr)
    assert (memory.live_blocks, memory.live_bytes) == (1, 8192)


@given(
    st.lists(st.tuples(st.integers(0, 31), st.sampled_from(Kind), st.integers(1, 9000)), max_size=60),
    st.data(),
)
def test_live_blocks_never_overlap(requests: list[tuple[int, Kind, int]], data: st.DataObject) -> None:
    memory, live = Memory(CONFIG), dict[Addr, tuple[int, int]]()
    for vp, kind, size in requests:
        live[memory.alloc(vp, size, kind)] = vp, size
        if data.draw(st.booleans()):
            gone = data.draw(st.sampled_from(sorted(live)))
            memory.free(live.pop(gone)[0], gone)
    end = 0
    for addr in sorted(live):
        assert addr >= end
        end = addr + live[addr][1]
    assert memory.live_blocks == len(live)


def test_unmodelled_addresses_are_distinct_and_ascending() -> None:
    memory = UnmodelledMemory(CONFIG)
    blocks = [memory.alloc(0, SMALL), memory.alloc(1, 100), memory.alloc(0, SMALL)]
    assert blocks == sorted(set(blocks))
    memory.free(3, blocks[0])


def test_homes_follow_the_address_or_alternate_or_are_all_one() -> None:
    first = Addr(3 << 52)
    for homes, expected in (("address", [3, 3, 3]), ("interleaved", [0, 1, 2]), ("first", [0, 0, 0])):
        memory = Memory(preset("dir-1024", processors=64, homes=homes))
        assert [memory.home((first + 64 * i) // 64) for i in range(3)] == expected


def test_an_address_of_no_node_that_is_there_has_a_home_all_the_same() -> None:
    assert Memory(preset("dir-1024", processors=24)).home((7 << 52) // 64) == 7 % 3
