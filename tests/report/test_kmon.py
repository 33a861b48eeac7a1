"""kmon's chart of hand-made recordings, and its page and picture, read back."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from k42fs.machine.tracing.packets import HEAD_BYTES
from k42fs.machine.tracing.schema import load
from k42fs.report import kmon_payload, kmon_scan
from k42fs.report.breakdown import breakdown
from k42fs.report.filters import Filter, Source
from k42fs.report.kmon import Chart, chart
from k42fs.report.kmon_page import SCRIPTS, page
from k42fs.report.kmon_payload import kinds_by_span, pack_rows, varints
from k42fs.report.kmon_rows import columns, quarters
from k42fs.report.kmon_svg import svg
from k42fs.report.reader import Trace
from tests.machine.tracing.lab import HandTrace
from tests.report.lab import request

MAKE, SHELL, IDLE, KERNEL = 101 << 32, 102 << 32, 1 << 16, 0
USER, SERVER = 0, 6


def recording(directory: Path, processors: int = 2, rounds: int = 40, tail: int = 10**6) -> Path:
    """Record processors on which make and sh take turns, the kernel serves them, and nobody runs at the end."""
    hand = HandTrace(directory, processors)
    hand.event(0, 0, "control_trace_mask", 0x800)
    for vp in range(processors):
        hand.event(vp, 100 + 7 * vp, "user_spawn", 101, 1, 0, "make")
        for turn in range(rounds):
            at = 100 + 100 * turn + 7 * vp
            who = SHELL if turn % 2 else MAKE
            hand.event(vp, at, "exception_context", who | vp, USER, who | vp)
            hand.event(vp, at + 40, "exception_context", KERNEL | vp, SERVER, who | vp)
            hand.event(vp, at + 41, "cache_miss", 0x1000, 0, 0, 0, -1, 40, "a.py:1 f")
            hand.event(vp, at + 90, "exception_context", IDLE | vp, 1, IDLE | vp)
    if tail:
        hand.event(0, tail, "control_heartbeat", tail, 0, 0)
    return hand.close()


def charted(directory: Path, by: str = "process", **kept: Any) -> Chart:  # noqa: ANN401  as Filter takes them
    return chart(Source(Trace(directory), Filter(**kept)), by)


def times_by_name(made: Chart) -> dict[str, int]:
    return {made.entities[number].name: ticks for number, ticks in made.ticks_by_entity().items()}


def test_time_is_billed_to_who_ran(tmp_path: Path) -> None:
    made = charted(recording(tmp_path / "t", processors=1))
    # 20 turns each of 40 ticks; idle to the end of the recording, and not known until the first switch.
    idle = 39 * 10 + 10**6 - (100 + 100 * 39 + 90)
    assert times_by_name(made) == {
        "make (101)": 800,
        "pid 102": 800,
        "kernel": 40 * 50,
        "idle": idle,
        "unknown": 100,
    }


def billed(directory: Path, key: str, **kept: Any) -> dict[Any, int]:  # noqa: ANN401
    """Return what `time` bills, by the client or by where it ran; by mode, all operations are system calls."""
    total: Counter[Any] = Counter()
    found = breakdown(Source(Trace(directory), Filter(**kept)))
    for (_, state), bill in found.bills.items():
        mode = "syscall" if state.mode.startswith("SC") else state.mode
        who = {"owner": state.owner, "process": state.pid, "mode": mode}[key]
        total["idle" if state.mode == "idle" else who] += bill.ticks
    return dict(total)


def served(directory: Path) -> Path:
    """Record two processors that serve processes: what is for whom is known from the requests alone."""
    hand = HandTrace(directory, 3)
    for vp in range(2):
        hand.event(vp, 10 + vp, "exception_context", IDLE | vp, 1, 0)
        for turn in range(30):
            at = 100 + 100 * turn + 7 * vp
            hand.event(vp, at, "exception_context", 1 << 32 | vp, 7, 1 << 32 | vp)
            request(hand, vp, at + 1, at + 60 + turn, 2 * turn + vp, 1, 1, 300 + turn % 26)
            hand.event(vp, at + 95, "exception_context", IDLE | vp, 1, 0)
    hand.event(0, 5000, "control_heartbeat", 5000, 0, 0)
    return hand.close()


@pytest.mark.parametrize("by", ["owner", "process", "mode"])
@pytest.mark.parametrize("make", [recording, served])
def test_the_timeline_bills_what_time_bills(tmp_path: Path, by: str, make: Callable[[Path], Path]) -> None:
    made = charted(make(tmp_path / "t"), by)
    named = {"kernel": 0, "unknown": "unknown" if by == "mode" else -1, "k42fs (1)": 1, "make (101)": 101}
    seen = {}
    for name, ticks in times_by_name(made).items():
        number = re.fullmatch(r"pid (\d+)", name)
        seen[int(number[1]) if number else named.get(name, name)] = ticks
    assert seen == billed(tmp_path / "t", by)
    assert sum(seen.values()) == len(made.rows) * (made.end - 1 - made.begin)


def test_the_picture_names_all_colours_and_their_share_of_the_whole(tmp_path: Path) -> None:
    made = charted(served(tmp_path / "t"), "owner")
    picture = ElementTree.fromstring(svg(made, width=4000))
    fills = {each.get("fill") for each in picture.iter() if " " in each.get("d", "") and each.get("fill")}
    legend = [each.get("fill") for each in picture.iter() if each.get("width") == "11"]
    assert fills <= set(legend)
    shares = [
        float(found[1]) for each in picture.iter() if (found := re.search(r"([\d.]+) %$", each.text or ""))
    ]
    idle = billed(tmp_path / "t", "owner")["idle"] / sum(billed(tmp_path / "t", "owner").values())
    assert shares[0] == pytest.approx(100 * idle, abs=0.05)
    assert len(shares) == 24
    assert sum(shares) < 99


def test_the_whole_recording_is_shown_quiet_ends_too(tmp_path: Path) -> None:
    made = charted(recording(tmp_path / "t", processors=1))
    assert (made.begin, made.end) == (0, 10**6 + 1)


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("owner", {"make (101)", "pid 102", "idle", "unknown"}),
        ("mode", {"user", "ppcsrv", "idle", "unknown"}),
        ("domain", {"make (101), domain 0", "pid 102, domain 0", "kernel", "idle", "unknown"}),
    ],
)
def test_rows_can_be_coloured_by_something_else(tmp_path: Path, by: str, names: set[str]) -> None:
    assert times_by_name(charted(recording(tmp_path / "t"), by=by)).keys() == names


def test_a_part_of_the_time_and_some_processors_can_be_shown(tmp_path: Path) -> None:
    made = charted(recording(tmp_path / "t"), since=1145e-9, until=1250e-9, processors=frozenset({1}))
    assert [row.cpu for row in made.rows] == [1]
    assert (made.begin, made.end) == (1145, 1251)
    assert made.entities[made.rows[0].switch_entities[0]].name == "kernel"


def test_a_filter_by_class_leaves_the_rest_out(tmp_path: Path) -> None:
    made = charted(recording(tmp_path / "t", processors=1), classes=frozenset({"Cache"}))
    assert {made.kinds[kind] for kind in made.rows[0].kinds} == {"HW::Cache::Miss"}


def test_a_recording_without_switches_says_that_nobody_is_known(tmp_path: Path) -> None:
    hand = HandTrace(tmp_path / "t")
    hand.event(0, 10, "cache_counters", 1, 2, 3, 4, 5, 6)
    hand.event(0, 30, "cache_counters", 2, 2, 3, 4, 5, 6)
    made = charted(hand.close())
    assert times_by_name(made) == {"unknown": 20}
    assert "class Exception" in page(made)


def test_an_empty_recording_gives_an_empty_picture(tmp_path: Path) -> None:
    made = charted(HandTrace(tmp_path / "t").close())
    assert made.events == 0
    ElementTree.fromstring(svg(made))
    assert '"events":0' in page(made)


def test_the_picture_has_the_heights_of_the_rule(tmp_path: Path) -> None:
    made = charted(recording(tmp_path / "t"))
    picture = ElementTree.fromstring(svg(made, width=300, row_height=40))
    paths = [re.fullmatch(r"M(\d+) (\d+)h(\d+)v(\d+)h-\d+z", each.get("d", "")) for each in picture.iter()]
    drawn: list[tuple[int, int]] = []
    for found in paths:
        if found:
            drawn += [(int(found[4]) // 10, int(found[3]))]
    shown = [state for row in made.rows for state in columns(row, made.begin, made.end, 300).states]
    for high in (2, 3, 4):
        assert sum(length for size, length in drawn if size == high) == [
            quarters(each) for each in shown
        ].count(high)


def test_a_picture_does_not_grow_with_the_recording(tmp_path: Path) -> None:
    short, long = (
        svg(charted(recording(tmp_path / name, rounds=rounds)), width=200)
        for name, rounds in (("a", 100), ("b", 800))
    )
    assert len(long) < 1.5 * len(short)


def test_names_cannot_leave_their_place(tmp_path: Path) -> None:
    hand = HandTrace(tmp_path / "<b>&")
    hand.event(0, 10, "user_spawn", 101, 1, 0, "</script><script>alert(1)</script>")
    hand.event(0, 20, "exception_context", MAKE, USER, MAKE)
    hand.event(0, 30, "cache_counters", 1, 2, 3, 4, 5, 6)
    made = charted(hand.close())
    text = page(made)
    assert "<script>alert" not in text
    assert "<b>" not in text.partition("<script")[0]
    ElementTree.fromstring(svg(made))


@pytest.mark.parametrize("change", ["", "header", "stamp", "end"])
def test_the_compiled_scan_reads_what_the_pure_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """Whole packets, and garbled ones up to the same word."""
    recorded = recording(tmp_path / "t")
    data = bytearray((recorded / "cpu1").read_bytes())
    event = HEAD_BYTES
    for _ in range(30):
        event += 8 * data[event + 3]  # the length in its header
    place = {"": 0, "header": event, "stamp": event + 7, "end": 40}[change]
    if change:
        data[place] ^= 0xA5
    (recorded / "cpu1").write_bytes(data)
    source = Source(Trace(recorded))
    fast, lost = chart(source), source.trace.loss.sentences()
    monkeypatch.setattr(kmon_scan, "scan_body", None)
    source = Source(Trace(recorded))
    assert (chart(source), source.trace.loss.sentences()) == (fast, lost)
    assert bool(lost) == bool(change)


def meta_of(text: str) -> dict[str, Any]:
    found = re.search(r'id="meta">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    meta: dict[str, Any] = json.loads(found[1])
    return meta


def test_varints_are_seven_bits_a_byte() -> None:
    assert varints([0, 1, 127, 128, 300, 1 << 35]) == bytes.fromhex("00 01 7f 80 01 ac 02 80 80 80 80 80 01")


def test_every_event_is_in_the_page_while_they_fit(tmp_path: Path) -> None:
    made = charted(recording(tmp_path / "t"))
    texts = {row.cpu: [f"line {index}" for index in range(len(row.times))] for row in made.rows}
    payload = pack_rows(made.rows, made.begin, made.end, texts)
    assert payload.level == "text"
    assert b"line 1\nline 2\n" in zlib.decompress(base64.b64decode(payload.data))
    assert meta_of(page(made))["level"] == "event"


@pytest.mark.parametrize("events", [0, 1])
def test_too_many_events_become_columns_that_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, events: int
) -> None:
    made = charted(recording(tmp_path / "t", rounds=300, tail=0))
    monkeypatch.setattr(kmon_payload, "EVENTS_MAX", events)
    monkeypatch.setattr(kmon_payload, "COLUMNS_MAX", 1 << 15)
    monkeypatch.setattr(kmon_payload, "ROOM_BYTES", 1500)
    payload = pack_rows(made.rows, made.begin, made.end)
    assert payload.level == "column"
    assert len(payload.data) <= 1500
    assert payload.columns < kmon_payload.COLUMNS_MAX // 2


def test_counts_by_span_add_up(tmp_path: Path) -> None:
    row = charted(recording(tmp_path / "t", processors=1)).rows[0]
    spans = kinds_by_span(row, 0, 10**7, 16)
    assert sum(count for counts in spans.values() for _, count in counts) == len(row.times)


DRIVER = """
const element = (text) => ({ textContent: text });
const parts = JSON.parse(require("fs").readFileSync(0, "utf8"));
globalThis.document = { getElementById: (id) => element(parts[id]) };
"""

ASK = """
inflated(parts.data).then((bytes) => {
  const answers = unpacked(bytes).map((row) => ({
    columns: parts.asked.map(([begin, end, width]) => row.columns(begin, end, width).map((each) => [...each])),
    ran: [...row.ran(0, META.length)], counts: [...row.counts(0, META.length)],
  }));
  process.stdout.write(JSON.stringify(answers));
});
"""


def asked_in_the_page(text: str, asked: list[tuple[int, int, int]]) -> list[dict[str, Any]]:
    """Run the page's own script on its own data."""
    source = Path(kmon_payload.__file__).with_name(SCRIPTS[0]).read_text()
    meta = re.search(r'id="meta">(.*?)</script>', text, re.DOTALL)
    data = re.search(r'id="data">(.*?)</script>', text, re.DOTALL)
    assert meta is not None
    assert data is not None
    given = json.dumps({"meta": meta[1], "data": data[1], "asked": asked})
    program = f"{DRIVER}\n(() => {{ {source}\n{ASK} }})();"
    done = subprocess.run(
        ["node", "-e", program], input=given, capture_output=True, text=True, check=True, timeout=60
    )
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node to run the page's script")
@pytest.mark.parametrize("events_max", [10**6, 0])
def test_the_page_sees_what_was_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, events_max: int
) -> None:
    """With every event, and with columns only: the same columns as here, the same sums."""
    monkeypatch.setattr(kmon_payload, "EVENTS_MAX", events_max)
    monkeypatch.setattr(kmon_payload, "COLUMNS_MAX", 1 << 14)
    made = charted(recording(tmp_path / "t", tail=0))
    # Spans of whole ticks a column, where both sides cut at the same places.
    asked = [(0, 31 * 128, 128), (0, 3 * 1024, 1024)]
    answers = asked_in_the_page(page(made), asked)
    for row, answer in zip(made.rows, answers, strict=True):
        for (_, length, width), (entities, states) in zip(asked, answer["columns"], strict=True):
            cut = columns(row, made.begin, made.begin + length, width)
            seen = [(entity, quarters(state)) for entity, state in zip(entities, states, strict=True)]
            here = [(entity, quarters(state)) for entity, state in zip(cut.entities, cut.states, strict=True)]
            same = sum(one == other for one, other in zip(seen, here, strict=True))
            # Columns counted beforehand have edges of their own: an event there can be the neighbour's.
            assert same >= (1 if events_max else 0.95) * width
        assert sum(count for _, count in answer["counts"]) == len(row.times)
        exact = row.ticks_by_entity(made.begin, made.end)
        for entity, ticks in answer["ran"]:
            assert ticks == pytest.approx(exact[entity], abs=0 if events_max else 0.01 * made.end)


MEASURE = """
<script>
setTimeout(() => {
  const wide = [...document.querySelectorAll("section")].filter((each) => each.scrollWidth > each.clientWidth);
  document.title = `measured ${document.querySelectorAll("#kinds td.number").length} ${wide.length}`;
}, 1000);
</script>
</body>"""


NEEDS_BROWSER = pytest.mark.skipif(shutil.which("chromium") is None, reason="needs a browser")


def browsed(tmp_path: Path, text: str, script: str, width: int) -> str:
    """Return a page as a browser has it after *script*, which is put at its end, has run."""
    file = tmp_path / "page.html"
    file.write_text(text.replace("</body>", script))
    browser = [
        "chromium",
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path}/profile",
    ]
    done = subprocess.run(
        [*browser, f"--window-size={width},900", "--virtual-time-budget=5000", "--dump-dom", str(file)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout


@NEEDS_BROWSER
@pytest.mark.parametrize("width", [950, 1300])
def test_no_panel_hides_digits_behind_its_edge(tmp_path: Path, width: int) -> None:
    hand = HandTrace(tmp_path / "t")
    for at, name in enumerate(("x" * 60, "sh")):
        hand.event(0, at, "user_spawn", 101 + at, 1, 0, name)
    for at in range(2444):
        hand.event(0, 10 + at, "exception_context", 101 + at % 2 << 32, USER, 0)
    # As many kinds as make the panel scroll, those with the longest names.
    kinds = sorted(load().events(), key=lambda each: (-len(each.qualified), each.id))
    for at, each in enumerate([each for each in kinds if not each.is_name and each.is_fixed][:40]):
        hand.event(0, 3000 + at, each.attribute, *[0] * len(each.fields))
    text = page(charted(hand.close()))
    found = re.search(r"<title>measured (\d+) (\d+)", browsed(tmp_path, text, MEASURE, width))
    assert found is not None
    assert int(found[1]) > 20
    assert int(found[2]) == 0


DRAG = """
<script>
setTimeout(() => {
  const canvas = document.getElementById("rows"), box = canvas.getBoundingClientRect(), said = [];
  const fire = (type, share) => canvas.dispatchEvent(
    new PointerEvent(type, {clientX: box.left + box.width * share, clientY: box.top + 60, pointerId: 1}));
  const note = () => said.push(document.getElementById("showing").textContent);
  canvas.setPointerCapture = () => {};
  note();
  fire("pointerdown", 0.4);
  fire("pointermove", 0.5);
  fire("pointermove", 0.6);
  fire("pointerup", 0.6);
  note();
  document.getElementById("to-selection").click();
  note();
  canvas.dispatchEvent(new WheelEvent("wheel", {deltaY: -100, clientX: box.left + box.width / 2, cancelable: true}));
  note();
  fire("pointerdown", 0.5);
  fire("pointerup", 0.5);
  said.push(document.getElementById("around").textContent);
  document.getElementById("all").click();
  note();
  document.title = `dragged ${said.join("|")}|`;
}, 1000);
</script>
</body>"""


@NEEDS_BROWSER
def test_a_drag_selects_and_zooms_a_wheel_zooms_and_a_click_shows_the_events(tmp_path: Path) -> None:
    hand = HandTrace(tmp_path / "t")
    for at in range(0, 1_000_001, 1000):
        hand.event(0, at, "lock_release", at, 0)
    told = re.search(
        r"<title>dragged (.*)\|</title>",
        browsed(tmp_path, page(charted(hand.close())), DRAG, 1300),
        re.DOTALL,
    )
    assert told is not None
    first, selected, zoomed, wheeled, around, last = told[1].split("|")
    assert first == last
    assert "Selected" not in first
    spans = [float(number) for number in re.findall(r"\d\.\d{9}", selected)]
    assert spans[:2] == [0.0, pytest.approx(0.001, abs=2e-9)]
    begin, end = spans[2:]
    assert 0.00035 < begin < 0.00042
    assert 0.00057 < end < 0.00063
    assert [float(number) for number in re.findall(r"\d\.\d{9}", zoomed)] == [begin, end]
    left, right = (float(number) for number in re.findall(r"\d\.\d{9}", wheeled))
    assert (end - begin) / (right - left) == pytest.approx(1.25, rel=1e-3)
    assert around.count("OS::Lock::Release") == 11
