"""Sparse data against a bytearray and a set of pages; and what it costs in memory."""

from __future__ import annotations

import sys
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from k42fs.servers.ramfs.sparse import CHUNK, PAGE, SparseData

LIMIT = 3 * CHUNK
OFFSETS = st.one_of(
    st.integers(0, LIMIT),
    st.integers(0, LIMIT // PAGE).map(lambda page: page * PAGE),
    st.sampled_from([0, CHUNK, 2 * CHUNK, CHUNK - 1, CHUNK + 1]),
)
SIZES = st.one_of(st.integers(1, 3 * PAGE), st.sampled_from([1, PAGE, CHUNK, CHUNK + 1, 2 * CHUNK]))
STEPS = st.lists(st.tuples(st.sampled_from(["write", "truncate", "read"]), OFFSETS, SIZES), max_size=25)


def pages_of(offset: int, size: int) -> set[int]:
    return set(range(offset // PAGE, -(-(offset + size) // PAGE)))


@given(STEPS)
def test_it_holds_what_a_bytearray_holds(steps: list[tuple[str, int, int]]) -> None:
    data, model, pages = SparseData(), bytearray(2 * LIMIT), set[int]()
    for number, (step, offset, size) in enumerate(steps):
        end = offset + size
        if step == "write":
            expected = len(pages_of(offset, size) - pages)
            assert data.new_pages(offset, size) == expected
            data.write(offset, bytes([number + 1]) * size)
            model[offset:end] = bytes([number + 1]) * size
            pages |= pages_of(offset, size)
        elif step == "truncate":
            data.truncate(offset)
            model[offset:] = bytes(2 * LIMIT - offset)
            pages = {page for page in pages if page * PAGE < offset}
        else:
            assert data.read(offset, size) == model[offset:end]
        assert data.pages == len(pages)
    assert data.read(0, 2 * LIMIT) == model


@given(st.lists(st.integers(0, LIMIT // PAGE), max_size=20), OFFSETS, SIZES, st.integers(0, 40))
def test_what_fits_takes_no_more_pages_than_there_are(
    held: list[int], offset: int, size: int, free: int
) -> None:
    data = SparseData()
    for page in held:
        data.write(page * PAGE, b"x")
    fits = data.fitting(offset, size, free)
    assert data.new_pages(offset, fits) <= free
    assert fits == size or data.new_pages(offset, fits + 1) > free
    assert fits in (0, size) or (offset + fits) % PAGE == 0


def test_whole_chunks_are_neither_copied_in_nor_out() -> None:
    data, chunk = SparseData(), bytes(range(256)) * (CHUNK // 256)
    data.write(CHUNK, chunk)
    assert data.read(CHUNK, CHUNK) is chunk
    data.write(CHUNK + 5, b"x")
    first = data.read(CHUNK, CHUNK)
    assert first[5:6] == b"x"
    assert data.read(CHUNK, CHUNK) is first


def test_a_small_file_is_the_bytes_that_were_written() -> None:
    data, content = SparseData(), b"small"
    data.write(0, content)
    assert data.read(0, 5) is content
    assert sys.getsizeof(data) < 100


def test_a_chunk_filled_page_by_page_becomes_one_run() -> None:
    data = SparseData()
    for page in reversed(range(CHUNK // PAGE)):
        data.write(page * PAGE, bytes([page]) * PAGE)
    whole = data.read(0, CHUNK)
    assert whole == b"".join(bytes([page]) * PAGE for page in range(CHUNK // PAGE))
    assert data.read(0, CHUNK) is whole


def test_pages_in_holes_cost_at_most_twice_their_size() -> None:
    data = SparseData()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for chunk in range(64):
            data.write(chunk * CHUNK + 5 * PAGE, bytes(PAGE))
            data.write(chunk * CHUNK + 9 * PAGE + 4000, b"x")
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert data.pages == 128
    assert after - before < 2 * data.pages * PAGE
