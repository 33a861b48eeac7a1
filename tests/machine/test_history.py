"""Reservations find gaps; a plain set of busy cycles is the model."""

from hypothesis import given
from hypothesis import strategies as st

from k42fs.machine.history import Reservations


def test_a_request_on_an_idle_resource_starts_at_once() -> None:
    assert Reservations(4).reserve(100, 10) == 100


def test_a_later_served_request_takes_the_gap_it_would_have_found() -> None:
    busy = Reservations(4)
    busy.add(100, 110)
    busy.add(150, 160)
    assert busy.fit(105, 40) == 110
    assert busy.fit(105, 41) == 160
    assert busy.fit(0, 100) == 0
    assert busy.fit(0, 101) == 160


def test_touching_reservations_merge_so_that_a_busy_resource_needs_one_entry() -> None:
    busy = Reservations(2)
    for start in range(0, 1000, 10):
        busy.add(start, start + 10)
    assert (len(busy), busy.fit(5, 1), busy.floor) == (1, 1000, 0)


def test_what_is_older_than_the_history_is_clamped_and_counted() -> None:
    busy = Reservations(2)
    for start in (0, 100, 200):
        busy.add(start, start + 10)
    assert busy.floor == 10
    assert (busy.clamp(50), busy.late) == (50, 0)
    assert (busy.clamp(5), busy.late) == (10, 1)
    assert (busy.reserve(3, 4), busy.late) == (3, 2)


def test_an_overlap_is_merged_and_counted() -> None:
    busy = Reservations(4)
    busy.add(100, 200)
    assert not busy.add(150, 250)
    assert (busy.late, busy.fit(100, 1)) == (1, 250)


@given(st.lists(st.tuples(st.integers(0, 120), st.integers(1, 12)), max_size=40))
def test_granted_times_never_overlap_and_no_earlier_gap_was_free(requests: list[tuple[int, int]]) -> None:
    busy, taken = Reservations(1000), set[int]()
    for now, cycles in requests:
        start = busy.reserve(now, cycles)
        wanted = set(range(start, start + cycles))
        assert start >= now
        assert not wanted & taken
        for earlier in range(now, start):
            assert set(range(earlier, earlier + cycles)) & taken
        taken |= wanted
    busy.check()
