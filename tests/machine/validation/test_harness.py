"""The harness: experiments are found, run in any number of processes with one result, and reported in full."""

import csv
import io
import json
import pickle
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from k42fs.cli import machine_validate
from k42fs.cli.main import cli
from k42fs.errors import ConfigError
from k42fs.machine.validation import plots, report
from k42fs.machine.validation.checks import Findings, Plot, Series, number
from k42fs.machine.validation.experiment import Effort, Experiment, discover
from k42fs.machine.validation.runner import NOT_AVAILABLE, Outcome, run_all
from k42fs.machine.validation.text_plot import curve

SAMPLE = ("tests.machine.validation.sample",)
VERDICTS = {"E2": "FAIL", "E9": "FAIL", "E10": "PASS", "E11": NOT_AVAILABLE}


def without_seconds(outcomes: list[Outcome]) -> list[tuple[str, str, Findings]]:
    return [(o.number, o.verdict, o.findings) for o in outcomes]


@pytest.fixture
def outcomes() -> list[Outcome]:
    return run_all(discover(SAMPLE).values(), Effort.QUICK, workers=1)


@pytest.fixture
def sampled(monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.setattr(machine_validate, "PACKAGES", SAMPLE)
    return CliRunner()


def test_experiments_are_found_in_order_of_their_numbers() -> None:
    assert list(discover(SAMPLE)) == ["E2", "E9", "E10", "E11"]


def test_two_experiments_of_one_number_are_refused() -> None:
    with pytest.raises(AssertionError, match="two experiments E10"):
        discover((*SAMPLE, *SAMPLE))


def test_the_number_of_workers_changes_nothing_but_the_time(outcomes: list[Outcome]) -> None:
    seen: list[str] = []
    parallel = run_all(
        discover(SAMPLE).values(), Effort.QUICK, workers=2, on_done=lambda o: seen.append(o.number)
    )
    assert without_seconds(parallel) == without_seconds(outcomes)
    assert sorted(seen) == sorted(VERDICTS)


def test_the_heaviest_experiment_starts_first() -> None:
    seen: list[str] = []
    run_all(discover(SAMPLE).values(), Effort.QUICK, workers=1, on_done=lambda o: seen.append(o.number))
    assert seen == ["E2", "E9", "E10", "E11"]


def test_what_raises_or_cannot_run_is_no_pass(outcomes: list[Outcome]) -> None:
    assert {o.number: o.verdict for o in outcomes} == VERDICTS
    by_number = {o.number: o for o in outcomes}
    assert "no such machine" in by_number["E9"].error
    assert by_number["E11"].error == "comes with the moon"
    assert report.summary(outcomes) == "1 passed, 2 failed (E2, E9), 1 not available: E11 comes with the moon"


def test_the_text_has_figures_verdicts_notes_and_traceback(outcomes: list[Outcome]) -> None:
    text = "\n".join(line for outcome in outcomes for line in report.text(outcome))
    for part in (
        "twice two [apples]",
        "It was four.",
        "+-10 %",
        "RuntimeError: no such machine",
        "a seen   . line",
    ):
        assert part in text
    off = next(line for line in text.splitlines() if line.strip().startswith("off"))
    assert off.split() == ["off", "1", "1.5", "+-10", "%", "FAIL"]


def test_json_holds_everything(outcomes: list[Outcome]) -> None:
    rows = json.loads(report.as_json(outcomes))
    assert {row["number"]: row["verdict"] for row in rows} == VERDICTS
    check = rows[0]["findings"]["checks"][1]
    assert check == {
        "label": "off", "expected": 1.0, "observed": 1.5, "tolerance": "+-10 %", "unit": "", "verdict": "FAIL"
    }  # fmt: skip
    assert rows[2]["findings"]["plots"][0]["series"][0]["points"] == [[1.0, 2.0], [2.0, 4.0]]


def test_csv_has_a_row_per_check_and_one_for_what_has_none(outcomes: list[Outcome]) -> None:
    rows = list(csv.DictReader(io.StringIO(report.as_csv(outcomes))))
    assert [(row["experiment"], row["check"], row["verdict"]) for row in rows] == [
        ("E2", "fine", "PASS"),
        ("E2", "off", "FAIL"),
        ("E9", "", "FAIL"),
        ("E10", "twice two", "PASS"),
        ("E11", "", NOT_AVAILABLE),
    ]
    errors = {row["experiment"]: row["error"] for row in rows if row["error"]}
    assert list(errors) == ["E9", "E11"]
    assert "RuntimeError: no such machine" in errors["E9"]
    assert errors["E11"] == "comes with the moon"


def test_the_command_fails_if_an_experiment_does(sampled: CliRunner) -> None:
    result = sampled.invoke(machine_validate.validate, ["--quick", "--jobs", "1"])
    assert result.exit_code == 1
    assert "1 passed, 2 failed (E2, E9), 1 not available" in result.output


def test_the_command_runs_only_what_is_named(sampled: CliRunner) -> None:
    result = sampled.invoke(machine_validate.validate, ["e10", "--quick", "--json"])
    assert result.exit_code == 0
    assert [row["number"] for row in json.loads(result.stdout)] == ["E10"]


def test_the_command_fails_where_nothing_that_was_named_can_run(sampled: CliRunner) -> None:
    result = sampled.invoke(machine_validate.validate, ["E11"])
    assert result.exit_code == 1
    assert "1 not available: E11 comes with the moon" in result.output
    assert sampled.invoke(machine_validate.validate, ["E10", "E11"]).exit_code == 0


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (39216, "39216"),
        (39215.6, "39216"),
        (9999.4, "9999"),
        (9999.6, "10000"),
        (0.21186, "0.2119"),
        ("x", "x"),
    ],
)
def test_figures_have_no_exponents(value: int | float | str, text: str) -> None:
    assert number(value) == text


def test_a_text_curve_says_which_axes_are_logarithmic() -> None:
    line = Series("line", ((1.0, 1.0), (2.0, 20000.0)))
    rows = curve(Plot(title="t", x="x", y="y", series=(line,), log_x=True, log_y=True))
    assert rows[0] == "t   [y, log]"
    assert rows[1].startswith("     20000 |")
    assert "x (log)" in rows[-2]
    assert "log" not in "".join(curve(Plot(title="t", x="x", y="y", series=(line,))))


def test_expected_curves_have_the_colours_of_what_they_are_of() -> None:
    names = ("tas", "ttas", "tas, prototype", "ttas, prototype", "by the formula, 1-way", "1-way")
    series = tuple(Series(name, ((1.0, 1.0),), "p" in name or "f" in name) for name in names)
    colours = plots.colours_of(Plot(title="t", x="x", y="y", series=series))
    assert colours["tas, prototype"] == colours["tas"] != colours["ttas"] == colours["ttas, prototype"]
    assert colours["by the formula, 1-way"] == colours["1-way"]
    assert plots.colours_of(Plot(title="t", x="x", y="y", series=series[2:3])) == {
        "tas, prototype": plots.GREY
    }


def test_the_command_refuses_an_experiment_that_is_none(sampled: CliRunner) -> None:
    result = sampled.invoke(machine_validate.validate, ["E77"])
    assert result.exit_code != 0
    assert "no experiment 'E77': there are E2, E9, E10, E11" in str(result.exception)


def test_a_curve_shows_each_point_where_it_belongs() -> None:
    line = Series("line", ((0.0, 0.0), (1.0, 1.0), (2.0, 2.0)))
    rows = curve(Plot(title="t", x="x", y="y", series=(line,)), width=5, height=3)
    assert [row.partition("|")[2] for row in rows[1:4]] == ["    a", "  a", "a"]


def test_a_logarithmic_curve_spaces_doublings_evenly_and_leaves_out_zero() -> None:
    line = Series("line", ((0.0, 5.0), (1.0, 1.0), (2.0, 10.0), (4.0, 100.0)))
    rows = curve(Plot(title="t", x="x", y="y", series=(line,), log_x=True, log_y=True), width=5, height=3)
    assert [row.partition("|")[2] for row in rows[1:4]] == ["    a", "  a", "a"]


def test_measured_points_lie_above_expected_ones() -> None:
    both = (Series("seen", ((1.0, 1.0),)), Series("line", ((1.0, 1.0),), expected=True))
    assert "a" in "".join(curve(Plot(title="t", x="x", y="y", series=both))[1:-3])


def test_pictures_are_drawn_into_png_files(outcomes: list[Outcome], tmp_path: Path) -> None:
    (path,) = machine_validate.draw(outcomes, tmp_path)
    assert path.name == "E10.png"
    assert path.read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_the_refusal_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigError, match=r"pip install 'k42fs\[plots\]'"):
        plots.require()


def test_every_experiment_of_the_machine_is_declared_once_and_can_be_sent_to_a_worker() -> None:
    for entry in discover().values():
        assert pickle.loads(pickle.dumps(entry)) == entry
        if isinstance(entry, Experiment):
            assert entry.run.__module__.startswith("k42fs.")


def test_all_experiments_are_there_if_only_by_name() -> None:
    assert list(machine_validate.chosen(())) == list(machine_validate.chosen([f"e{n}" for n in range(1, 24)]))
    assert [entry.number for entry in machine_validate.chosen(())] == [f"E{n}" for n in range(1, 24)]


def test_the_command_is_there_from_the_top() -> None:
    result = CliRunner().invoke(cli, ["machine", "validate", "E13", "E15", "--quick", "--csv", "--jobs", "1"])
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert rows[-1]["verdict"] == NOT_AVAILABLE
    assert {row["verdict"] for row in rows[:-1]} == {"PASS"}
