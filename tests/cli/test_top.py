"""`k42fs top`: rates, keys, and screens that fit."""

from __future__ import annotations

import io
from itertools import pairwise
from typing import Any

import pytest
from rich.console import Console

from k42fs.cli.keyboard import split_keys
from k42fs.cli.top_samples import Interval, interval
from k42fs.cli.top_screen import bar, human, plain, processor_lines, screen
from k42fs.cli.top_state import NO_SWAP, State, Swap

HOSTILE = "/a\x1b[2Jb\n" + "long " * 40
VPS_1024 = list(range(0, 1024, 2))


def answer(
    at: int, processors: int = 8, model: str = "full", path: str = "/src", rows: int = 30
) -> dict[str, Any]:
    """What `.k42/top.json` says at second *at*, things having gone on evenly."""
    lock = {"ref": 70, "lock": "dirlock", "kind": "RWLock"}
    counts: dict[str, Any] = {"more_acquisitions": 60}
    if model == "full":
        counts |= {
            "more_contentions": 40,
            "more_waited_cycles": 5_000_000,
            "more_held_cycles": 9,
            "max_wait": 7,
        }
    hot = {
        "object": "DirObject 65",
        "kind": "DirObject",
        "implementation": "locked",
        "path": path,
        "vps": VPS_1024[:processors],
    }
    is_full = model == "full"
    return {
        "time_ns": at * 10**9,
        "machine": "dir-1024",
        "model": model,
        "core": "compiled",
        "processors": processors,
        "mhz": 2000,
        "now_cycles": at * 1_000_000,
        "requests": 2000 * at,
        "by_request": {"lookup": 1200 * at, "getattr": 800 * at, "statfs": 1},
        "refused": 3 * at,
        "handles": 12_345,
        "kernel_nodes": 1_234_567,
        "objects": 9_876_543,
        "created": 100 * at,
        "freed": 40 * at,
        "per_processor": [
            {
                "vp": vp,
                "operations": 250 * at,
                "calls": 1000 * at,
                "spin_cycles": 100_000 * at if is_full else 0,
                "busy_cycles": 500_000 * at if is_full else 0,
                "references": 5000 * at if is_full else 0,
                "misses": 1000 * at if is_full else 0,
            }
            for vp in range(processors)
        ],
        "calls": {"DirObject.lookup": 500 * at, "NameTree.call": 900 * at},
        "locks": []
        if model == "off"
        else [lock | counts | {"object": f"DirObject {row}"} for row in range(rows)],
        "lines": [
            {
                "object": f"inode {row}",
                "ref": 70 + row,
                "path": f"/proj/{row}.h",
                "field": "contents",
                "address": (1 << 52) + 128 * row,
                "more_transfers": 300,
                "vps": VPS_1024[:processors],
            }
            for row in range(rows if is_full else 0)
        ],
        "hot": [
            {
                **hot,
                "ref": 70 + row,
                "more_contentions": row,
                "more_waited_cycles": row * 1000,
                "more_transfers": (row * 7) % rows,
            }
            for row in range(rows if is_full else 0)
        ],
    }


def seen(**options: Any) -> Interval:  # noqa: ANN401
    return interval(answer(10, **options), answer(12, **options))


def lines_of(what: Any, width: int, height: int) -> list[str]:  # noqa: ANN401
    """Draw on a terminal of this size, and return its lines."""
    console = Console(record=True, width=width, height=height, file=io.StringIO(), force_terminal=True)
    console.print(what)
    return console.export_text().splitlines()


def test_rates_are_changes_per_second_of_wall_time() -> None:
    found = seen()
    assert found.seconds == 2
    assert found.requests == 2000
    assert found.by_request == [("lookup", 1200.0), ("getattr", 800.0)]
    assert (found.created, found.freed, found.refused) == (100, 40, 3)
    assert found.machine_seconds == 1_000_000 / 2e9
    row = found.processors[3]
    assert row == (3, 0.5, 250, 1000, 0.2, 0.2)
    assert found.locks[0]["waited_cycles_s"] == 2_500_000
    assert found.lines[0]["transfers_s"] == 150
    assert {row["method"]: row["calls_s"] for row in found.methods} == {
        "DirObject.lookup": 500,
        "NameTree.call": 900,
    }


def test_after_a_reset_rates_count_from_zero_and_never_below() -> None:
    found = interval(answer(10), {**answer(3), "time_ns": 11 * 10**9})
    assert found.requests == 6000
    assert all(row.requests == 750 and 0 <= row.utilisation <= 1 for row in found.processors)


def test_a_processor_that_was_never_used_before_counts_from_zero() -> None:
    before = answer(10)
    before["per_processor"] = before["per_processor"][:1]
    found = interval(before, answer(12))
    assert [row.requests for row in found.processors[:2]] == [250, 1500]


def test_a_mount_that_did_next_to_nothing_is_idle() -> None:
    # The machine's clock went on by half a microsecond, in which the first processor was busy throughout.
    before = {**answer(10), "now_cycles": 0}
    now = {**answer(10), "now_cycles": 988, "time_ns": before["time_ns"] + 10**9}
    now["per_processor"] = [{**row} for row in now["per_processor"]]
    now["per_processor"][0]["busy_cycles"] += 988
    found = interval(before, now)
    assert found.processors[0].utilisation == pytest.approx(0.0494)
    (line, *_) = processor_lines(found.processors, 8, 80)
    assert "5%" in line.plain
    assert "█" * 2 not in line.plain


def test_what_an_empty_table_says_is_not_cut_off() -> None:
    quiet = interval(answer(10), answer(12, rows=0))
    lines = lines_of(screen("/m", quiet, State(), 80, 24), 80, 24)
    for said in (
        "OBJECTS  no lock was waited for and no line moved",
        "LINES  no line moved between processors",
    ):
        assert any(line.startswith(said) for line in lines)
    assert len(lines) == 24


def test_lines_are_shown_with_the_path_of_their_file() -> None:
    lines = lines_of(screen("/m", seen(), State(view="lines"), 80, 24), 80, 24)
    assert any("inode 1 /proj/1.h.contents" in line for line in lines)


def test_two_looks_at_the_same_moment_are_no_division_by_zero() -> None:
    same = answer(10)
    assert interval(same, same).requests == 0


@pytest.mark.parametrize("view", ["all", "objects", "locks", "lines", "methods"])
@pytest.mark.parametrize("model", ["full", "calls", "off"])
@pytest.mark.parametrize("processors", [1, 4, 8, 16, 17, 200, 1024])
def test_every_screen_fits_80x24_exactly(view: str, model: str, processors: int) -> None:
    found = seen(processors=processors, model=model)
    state = State(view=view, swappable={})
    lines = lines_of(screen("/tmp/m", found, state, 80, 24), 80, 24)
    assert max(map(len, lines)) <= 80
    if model != "off" or view != "all":
        assert len(lines) == 24
    assert lines[0].startswith("k42fs top /tmp/m  dir-1024")
    assert lines[1].startswith("2k requests/s  lookup 1.2k  getattr 800")
    assert lines[-1].startswith("q quit")


@pytest.mark.parametrize(("width", "height"), [(40, 12), (60, 20), (132, 43), (300, 100)])
def test_other_sizes_are_filled_and_never_overrun(width: int, height: int) -> None:
    for processors in (4, 16, 1024):
        for shows_help in (False, True):
            state = State(shows_help=shows_help)
            lines = lines_of(
                screen("/tmp/m", seen(processors=processors), state, width, height), width, height
            )
            assert max(map(len, lines)) <= width
            if not shows_help:
                assert len(lines) == height


def test_many_processors_are_a_character_each_or_for_a_few_neighbours() -> None:
    lines = lines_of(screen("/tmp/m", seen(processors=1024), State(), 80, 24), 80, 24)[3:7]
    assert [line.split()[0] for line in lines] == ["0", "256", "512", "768"]
    assert [len(line.split()[1]) for line in lines] == [64] * 4
    assert lines[-1].endswith("1024 busy")


def test_the_help_fits_a_small_terminal_uncut() -> None:
    lines = lines_of(screen("/tmp/m", seen(), State(shows_help=True), 80, 24), 80, 24)
    assert len(lines) <= 24
    assert not [line for line in lines[3:] if "…" in line]


def test_the_hottest_object_is_on_the_first_screen_with_its_path_and_counts() -> None:
    lines = lines_of(screen("/tmp/m", seen(), State(), 80, 24), 80, 24)
    (head,) = [at for at, line in enumerate(lines) if line.startswith("OBJECTS")]
    assert lines[head + 1].split() == [
        "DirObject",
        "65",
        "/src",
        "locked",
        "14.5k",
        "14",
        "12",
        "8",
        "vps",
    ]


def test_names_cannot_command_the_terminal_nor_break_the_table() -> None:
    for what in (
        screen(HOSTILE, seen(path=HOSTILE), State(), 80, 24),
        plain(HOSTILE, seen(path=HOSTILE), 5, 80),
    ):
        console = Console(width=80, height=24, file=io.StringIO(), force_terminal=False)
        console.print(what)
        text = console.file.getvalue()  # type: ignore[attr-defined]
        assert "\x1b" not in text
        assert max(map(len, text.splitlines())) <= 80


def test_text_for_pipes_has_all_tables_and_only_their_rows() -> None:
    lines = lines_of(plain("/tmp/m", seen(rows=3), 10, 100), 100, 1000)
    heads = [at for at, line in enumerate(lines) if line.startswith(("OBJECTS", "LOCKS", "LINES"))]
    assert [second - first for first, second in pairwise(heads)] == [4, 4]
    assert not [line for line in lines if "quit" in line]


def test_an_interval_is_ready_for_json() -> None:
    found = seen().as_json()
    assert found["requests_s"] == 2000
    assert found["per_processor"][0] == {
        "vp": 0,
        "utilisation": 0.5,
        "requests_s": 250,
        "calls_s": 1000,
        "miss_share": 0.2,
        "lock_wait_share": 0.2,
    }
    assert found["hot_objects"][1]["contentions_s"] == 0.5


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (0.42, "0.42"),
        (9, "9"),
        (10.4, "10"),
        (999.4, "999"),
        (999.6, "1k"),
        (12_345, "12.3k"),
        (999_499, "999k"),
        (999_600, "1M"),
        (4_567_890_123_456, "4.57T"),
    ],
)
def test_numbers_take_at_most_five_characters(number: float, text: str) -> None:
    assert human(number) == text
    assert len(human(number)) <= 5


def test_bars_are_drawn_in_eighths() -> None:
    assert [bar(share, 4) for share in (0, 1 / 32, 0.5, 1, 7)] == ["    ", "▏   ", "██  ", "████", "████"]


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"q", ["q"]),
        (b"\x1b[A\x1b[B\x1bOA", ["up", "down", "up"]),
        (b"\x1b", ["escape"]),
        (b"\x1b[1;5Cq", ["", "q"]),
        (b"a\tb\r\x7f", ["a", "tab", "b", "enter", "backspace"]),
        ("ä+".encode(), ["ä", "+"]),
        (b"\xff", [""]),
        (b"", []),
    ],
)
def test_keys_are_told_apart(data: bytes, keys: list[str]) -> None:
    assert split_keys(data) == keys


def rows(state: State, found: Interval) -> list[dict[str, Any]]:
    return state.ordered(state.table, found.tables()[state.table])


def press(state: State, found: Interval, *keys: str) -> Swap | None:
    """Press keys, and return the last swap asked for."""
    swap = None
    for key in keys:
        swap = state.press(key, rows(state, found)) or swap
    return swap


def test_keys_sort_freeze_show_and_quit() -> None:
    state, found = State(), seen()
    assert rows(state, found)[0]["waited_cycles_s"] == 14_500
    press(state, found, "s", "s")
    assert state.sort_of("objects")[0] == "moved"
    assert [row["transfers_s"] for row in rows(state, found)[:2]] == [14.5, 14.0]
    press(state, found, "f")
    assert state.is_frozen
    assert lines_of(screen("/tmp/m", found, state, 80, 24), 80, 24)[2].startswith("FROZEN")
    press(state, found, " ", "l")
    assert (state.is_frozen, state.table) == (False, "locks")
    press(state, found, "tab")
    assert state.table == "lines"
    press(state, found, "?")
    assert state.shows_help
    press(state, found, "+", "-", "-")
    assert state.interval == 0.5
    press(state, found, "q")
    assert state.is_over


def test_the_mark_stays_on_its_object_when_rows_change_places() -> None:
    state, found = State(), seen()
    press(state, found, "down", "down", "up")
    marked = rows(state, found)[state.selected]["ref"]
    press(state, found, "s", "s")
    state.follow(rows(state, found))
    assert rows(state, found)[state.selected]["ref"] == marked
    assert state.selected != 1


def test_the_mark_cannot_leave_the_table() -> None:
    state, found = State(), seen(rows=3)
    press(state, found, "up")
    assert state.selected == 0
    press(state, found, *["down"] * 9)
    assert state.selected == 2
    state.follow([])
    assert state.selected == 0


def test_a_mount_without_swappable_objects_says_so() -> None:
    state, found = State(), seen()
    assert press(state, found, "w") is None
    assert (state.message, state.asked) == (NO_SWAP, None)
    assert NO_SWAP in lines_of(screen("/tmp/m", found, state, 80, 24), 80, 24)[-1]


def test_a_swap_is_asked_for_by_ref_and_implementation() -> None:
    """The object is the one marked when `w` was pressed, wherever it is when the name is complete."""
    state, found = State(swappable={"DirObject": ["locked", "SharedDir", "SplitDir"]}), seen()
    press(state, found, "down", "w")
    target = rows(state, found)[1]["ref"]
    assert "swap DirObject 65 to: _" in lines_of(screen("/tmp/m", found, state, 80, 24), 80, 24)[-1]
    press(state, found, "tab", "tab")
    assert state.asked == "SplitDir"
    press(state, found, "backspace", "r", "s", "q")
    assert press(state, found, "enter") == Swap(target, "SplitDirsq"[:-3] + "rsq")
    assert not state.is_over


def test_a_swap_can_be_given_up() -> None:
    state, found = State(swappable={}), seen()
    assert press(state, found, "w", "x", "escape", "w", "enter") is None
    assert state.asked is None
