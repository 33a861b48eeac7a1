"""Directory entries: cookies stay good whatever happens around them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from k42fs.ids import Ino
from k42fs.servers.fs_file import FSFile
from k42fs.servers.ramfs.entries import FIRST_COOKIE, DirEntries

FILE = FSFile(Ino(1), 0, 0o100644, 0, 0, 0)


def all_names(entries: DirEntries, limit: int = 7) -> list[bytes]:
    found, cookie = list[bytes](), 0
    while batch := entries.after(cookie, limit):
        found += [name for name, _, _ in batch]
        cookie = batch[-1][2]
    return found


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 40)), max_size=300), st.integers(1, 9))
def test_every_name_is_listed_once_oldest_first(steps: list[tuple[bool, int]], limit: int) -> None:
    entries, model = DirEntries(), dict[bytes, None]()
    for add, number in steps:
        name = b"%d" % number
        if add and name not in model:
            entries.add(name, FILE)
            model[name] = None
        elif not add and name in model:
            entries.remove(name)
            del model[name]
    assert all_names(entries, limit) == list(model)
    assert len(entries) == len(model)


def test_a_reader_skips_and_repeats_nothing_while_others_make_and_remove() -> None:
    entries = DirEntries()
    for i in range(1000):
        entries.add(b"%d" % i, FILE)
    seen, cookie = list[bytes](), 0
    while batch := entries.after(cookie, 10):
        seen += [name for name, _, _ in batch]
        cookie = batch[-1][2]
        if len(seen) < 900:
            for name in seen[-10:]:
                entries.remove(name)
            entries.add(b"new%d" % len(seen), FILE)
    assert seen[:1000] == [b"%d" % i for i in range(1000)]
    assert len(set(seen)) == len(seen)


def test_cookies_start_above_the_dots_and_outlive_their_entries() -> None:
    entries = DirEntries()
    for name in (b"a", b"b", b"c"):
        entries.add(name, FILE)
    (_, _, first), (_, _, second) = entries.after(0, 2)
    assert first == FIRST_COOKIE > 2
    entries.remove(b"b")
    assert [name for name, _, _ in entries.after(second, 9)] == [b"c"]
    assert entries.after(first, 1)[0][0] == b"c"
    assert entries.after(2, 1)[0][0] == b"a"


def test_a_replaced_entry_keeps_its_place() -> None:
    entries, other = DirEntries(), FSFile(Ino(2), 0, 0o100644, 0, 0, 0)
    for name in (b"a", b"b"):
        entries.add(name, FILE)
    entries.replace(b"a", other)
    assert entries.find(b"a") is other
    assert all_names(entries) == [b"a", b"b"]
    assert entries.find(b"z") is None
