"""Running traces: lowest clock first with seeded ties, given order, references over several lines, bad lines."""

import random
from pathlib import Path

import pytest

from k42fs.machine import reference_trace_files
from k42fs.machine.config import preset
from k42fs.machine.core import CoherenceCore
from k42fs.machine.cores import make_core
from k42fs.machine.memory import Memory
from k42fs.machine.pure_core import PureCore
from k42fs.machine.reference_trace import Records
from k42fs.machine.reference_trace_files import TraceFile
from k42fs.machine.scheduler import tie_break
from k42fs.machine.trace_report import as_dict
from k42fs.machine.trace_run import COMPILED, TraceOutcome, run_file, run_files

CONFIG = preset("dir-1024", processors=4, homes="interleaved")


def new_core() -> CoherenceCore:
    return make_core(CONFIG, Memory(CONFIG))


def run_all(tmp_path: Path, *texts: str, seed: int = 0, core: CoherenceCore | None = None) -> TraceOutcome:
    files = []
    for cpu, text in enumerate(texts):
        path = tmp_path / f"t_{cpu}"
        path.write_text(text)
        files.append(TraceFile(str(path), "cs4223"))
    try:
        return run_files(core or new_core(), files, CONFIG.processors, CONFIG.line_bytes, seed)
    finally:
        for file in files:
            file.close()


def run_text(tmp_path: Path, text: str, core: CoherenceCore) -> TraceOutcome:
    path = tmp_path / "t"
    path.write_text(text)
    file = TraceFile(str(path), "text", CONFIG.processors)
    try:
        return run_file(core, file, CONFIG.processors, CONFIG.line_bytes)
    finally:
        file.close()


def test_work_and_references_advance_each_processors_own_clock(tmp_path: Path) -> None:
    outcome = run_all(tmp_path, "2 30\n0 0x1000\n0 0x1000\n", "2 7\n")
    assert outcome.clocks == [30 + 200 + 4, 7, 0, 0]
    assert outcome.work == [30, 7, 0, 0]
    assert (outcome.records, outcome.error) == (4, None)


def test_the_lowest_clock_goes_first(tmp_path: Path) -> None:
    """Processor 1 stores at 500, between the other's loads at 400 and 1000: the second of these misses again."""
    core = new_core()
    run_all(tmp_path, "2 100\n0 0x1000\n2 700\n0 0x1000\n", "2 500\n1 0x1000\n", core=core)
    misses = core.counters(0).misses
    assert (misses["cold"], misses["true_sharing"], sum(misses.values())) == (1, 1, 2)


def test_hits_do_not_run_ahead_of_other_processors_stores(tmp_path: Path) -> None:
    """A hundred loads of 4 cycles each, begun together with 30 cycles of work and a store: they miss again."""
    core = new_core()
    run_all(tmp_path, "0 0x1000\n" * 100, "2 500\n1 0x1000\n", core=core)
    assert core.counters(0).misses["true_sharing"] == 1


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 4, 5])
def test_ties_go_by_the_seeded_hash(tmp_path: Path, seed: int) -> None:
    core = new_core()
    run_all(tmp_path, "1 0x1000\n", "1 0x1000\n", seed=seed, core=core)
    first = 0 if tie_break(seed, 0, 0) < tie_break(seed, 1, 0) else 1
    assert core.counters(first).invalidations == 1
    assert core.counters(1 - first).invalidations == 0


def test_pieces_make_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [
        "".join(f"{n * 7 % 3 % 2} {hex(0x1000 + 4 * (n * (cpu + 3) % 97))}\n2 {n % 5}\n" for n in range(300))
        for cpu in range(4)
    ]
    found = []
    for size in (1 << 18, 1000, 64):
        monkeypatch.setattr(reference_trace_files, "PIECE_BYTES", size)
        core = new_core()
        found.append(as_dict(run_all(tmp_path, *texts, core=core), CONFIG, core))
    assert found[0] == found[1] == found[2]


def test_a_reference_over_three_lines_is_one_to_each(tmp_path: Path) -> None:
    core = new_core()
    run_text(tmp_path, "0 r 0x103c 72\n1 w 0x1040 64\n", core)
    assert core.counters(0).loads == 3
    assert core.counters(1).stores == 1


def test_text_is_run_in_its_own_order(tmp_path: Path) -> None:
    core = new_core()
    outcome = run_text(tmp_path, "1 c 5000\n1 w 0x40\n0 w 0x40\n", core)
    assert core.counters(1).invalidations == 1
    assert outcome.work == [0, 5000, 0, 0]


def test_a_bad_line_ends_the_run_where_its_processor_gets_there(tmp_path: Path) -> None:
    """Processor 1 comes to its bad line at 600; processor 0's third record would be at 1204."""
    core = new_core()
    outcome = run_all(tmp_path, "2 200\n0 0x1000\n2 804\n0 0x2000\n", "2 600\nbad\n", core=core)
    assert str(outcome.error).endswith("t_1:2: ends early: it must be a label and a value")
    assert core.counters(0).loads == 1
    assert outcome.records == 4


def test_the_report_accounts_for_every_cycle(tmp_path: Path) -> None:
    core = new_core()
    outcome = run_text(tmp_path, "0 c 10\n0 x 0x40\n1 r 0x40\n1 r 0x40\n0 w 0x44\n", core)
    found = as_dict(outcome, CONFIG, core)
    assert found["cycles"] == max(outcome.clocks)
    for row, clock in zip(found["per_cpu"], outcome.clocks, strict=True):
        assert row["cycles"] == row["compute"] + row["stall"] == clock
        assert row["cycles"] + row["idle"] == found["cycles"]
    assert found["total"]["loads"] == 2
    assert found["per_cpu"][0]["compute"] == 10 + 4 + 20 + 4


def test_records_are_shown_to_whoever_asks_before_they_are_run(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_text("0 0x10\n1 0x20\n")
    seen: list[tuple[int, int | None]] = []

    def note(records: Records, cpu: int | None) -> None:
        seen.append((len(records), cpu))

    read: list[int] = []
    file = TraceFile(str(path))
    run_files(new_core(), [file], 4, 64, on_records=note, on_progress=read.append)
    file.close()
    assert seen == [(2, 0)]
    assert read[-1] == file.bytes_total


def some_trace(cpu: int) -> str:
    """Return a trace that shares, evicts and works; the same for one processor at any call."""
    dice = random.Random(cpu)
    lines = []
    for _ in range(3000):
        address = dice.choice([0x1000, 0x2000, 0x40000 * (cpu + 1)]) + 4 * dice.randrange(400)
        lines.append(f"{dice.randrange(3) // 2} {address:#x}")
        if dice.random() < 0.4:
            lines.append(f"2 {dice.randrange(30)}")
    return "\n".join(lines)


@pytest.mark.skipif(not COMPILED, reason="the compiled core was not built")
@pytest.mark.parametrize("seed", [0, 7, -3])
def test_compiled_loops_run_files_as_the_python_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(reference_trace_files, "PIECE_BYTES", 5000)
    texts = [some_trace(cpu) for cpu in range(4)]
    texts[2] += "\n2 90000\noops\n"
    found = []
    for core in (PureCore(CONFIG, Memory(CONFIG)), COMPILED[0](CONFIG, Memory(CONFIG))):
        outcome = run_all(tmp_path, *texts, seed=seed, core=core)
        found.append((as_dict(outcome, CONFIG, core), outcome.clocks, outcome.work))
    assert found[0] == found[1]
    assert found[0][0]["error"].endswith("it must be a label and a value")


@pytest.mark.skipif(not COMPILED, reason="the compiled core was not built")
@pytest.mark.parametrize("processors", [1, 2, 3, 8, 9, 13])
def test_compiled_loops_merge_any_number_of_files_as_the_python_ones(tmp_path: Path, processors: int) -> None:
    """Few are merged otherwise than many; with so little work between them, clocks tie all the time."""
    config = preset("dir-1024", processors=processors, homes="interleaved")
    for cpu in range(processors):
        dice = random.Random(cpu)
        lines = [f"{dice.randrange(3)} {4 * dice.randrange(2, 40)}" for _ in range(600 + cpu)]
        (tmp_path / f"t_{cpu}").write_text("\n".join(lines))
    found = []
    for core in (PureCore(config, Memory(config)), COMPILED[0](config, Memory(config))):
        files = [TraceFile(str(tmp_path / f"t_{cpu}"), "cs4223") for cpu in range(processors)]
        outcome = run_files(core, files, processors, config.line_bytes, seed=5)
        found.append((as_dict(outcome, config, core), outcome.clocks, outcome.work))
        for file in files:
            file.close()
    assert found[0] == found[1]


@pytest.mark.skipif(not COMPILED, reason="the compiled core was not built")
def test_compiled_loops_run_text_as_the_python_ones(tmp_path: Path) -> None:
    dice = random.Random(1)
    lines = [f"{dice.randrange(4)} {dice.choice('rwxc')} {dice.randrange(20_000)}" for _ in range(5000)] + [
        f"{dice.randrange(4)} {dice.choice('rwx')} {dice.randrange(9999)} {dice.randrange(1, 300)}"
        for _ in range(5000)
    ]
    found = []
    for core in (PureCore(CONFIG, Memory(CONFIG)), COMPILED[0](CONFIG, Memory(CONFIG))):
        outcome = run_text(tmp_path, "\n".join(lines), core)
        found.append((as_dict(outcome, CONFIG, core), outcome.clocks, outcome.work))
    assert found[0] == found[1]
