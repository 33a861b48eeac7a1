"""`.k42/metrics`: the text is Prometheus' format, its names follow the conventions, its values are the statistics'."""

from __future__ import annotations

import errno
import math
from typing import Any

import pyfuse3
import pytest

from k42fs.personality.control_metrics import metrics
from k42fs.personality.metrics_text import Family, exposition, number
from tests.personality.exposition import FormatError, Metric, parse
from tests.personality.face_lab import CTX, ROOT, Mount, mount
from tests.personality.test_repeated import fight

__all__ = ["mount"]

GOOD = "# HELP a_total what\n# TYPE a_total counter\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a_total 1\n",
        GOOD,
        GOOD + "a_total 1",
        GOOD + "a_total 1\r\n",
        GOOD + "b_total 1\n",
        GOOD + "a_total 01\n",
        GOOD + "a_total 1_000\n",
        GOOD + "a_total -1\n",
        GOOD + "a_total NaN\n",
        GOOD + "a_total  1\n",
        GOOD + "a_total 1\na_total 1\n",
        GOOD + 'a_total{x="1"} 1\na_total{x="1"} 2\n',
        GOOD + 'a_total{x="1",} 1\n',
        GOOD + 'a_total{x="1" y="2"} 1\n',
        GOOD + 'a_total{x="1",x="2"} 1\n',
        GOOD + 'a_total{x="\\q"} 1\n',
        GOOD + 'a_total{x="""} 1\n',
        GOOD + "a_total{} 1\n",
        GOOD + "a_total 1\n\n",
        GOOD + "a_total 1\n" + GOOD + "a_total 1\n",
        "# TYPE a_total counter\na_total 1\n",
        "# HELP a what\n# TYPE a counter\na 1\n",
        "# HELP a_total what\n# TYPE a_total gauge\na_total 1\n",
        "# HELP a_ms_total what\n# TYPE a_ms_total counter\na_ms_total 1\n",
        "# HELP a_seconds_busy what\n# TYPE a_seconds_busy gauge\na_seconds_busy 1\n",
    ],
)
def test_the_parser_lets_nothing_through_that_the_format_does_not_allow(text: str) -> None:
    with pytest.raises(FormatError):
        parse(text)


def test_names_of_labels_and_help_survive_whatever_is_in_them() -> None:
    hostile = 'a"b\\c\nd{},= ä\\n'
    family = Family("a_total", "counter", hostile).add(1, x=hostile, y="").add(2.5, x="", y=1)
    found = parse(exposition([family, Family("b", "gauge", "left out")]))
    assert list(found) == ["a_total"]
    assert found["a_total"].value(x=hostile, y="") == 1
    assert found["a_total"].value(x="", y="1") == 2.5


@pytest.mark.parametrize("value", [0, 1, 10**18, 0.1, 1e-9, 1.5e300, math.inf, True])
def test_numbers_are_written_without_loss(value: float) -> None:
    (found,) = parse(exposition([Family("a", "gauge", "help").add(value)])).values()
    assert found.value() == value


def test_what_is_no_number_is_written_as_the_format_says() -> None:
    assert [number(math.nan), number(-math.inf)] == ["NaN", "-Inf"]


def scraped(mount: Mount) -> dict[str, Metric]:
    return parse(metrics(mount.ops, 1_700_000_000.0).decode())


async def test_values_are_those_of_the_statistics(mount: Mount) -> None:
    await mount.ops.mkdir(ROOT, b"d", 0o755, CTX)
    await fight(mount, b"d", 10)
    with pytest.raises(pyfuse3.FUSEError):
        await mount.ops.mkdir(ROOT, b"d", 0o755, CTX)
    found, machine = scraped(mount), mount.system.machine
    assert found["k42fs_requests_total"].value(request="mknod") == 10
    assert found["k42fs_requests_total"].value(request="mkdir") == 2
    assert found["k42fs_request_errors_total"].value(errno=errno.errorcode[errno.EEXIST]) == 1
    hertz = machine.config.mhz * 1e6
    for row in machine.statistics()["per_processor"]:
        vp = str(row["vp"])
        assert found["k42fs_processor_requests_total"].value(vp=vp) == row["operations"]
        assert found["k42fs_processor_memory_seconds_total"].value(vp=vp) == row["memory_cycles"] / hertz
        for kind in ("load", "store", "rmw"):
            value = found["k42fs_processor_references_total"].value(vp=vp, kind=kind)
            assert value == row[f"{kind}s"]
        for kind, count in row["misses"].items():
            assert found["k42fs_processor_cache_misses_total"].value(vp=vp, kind=kind) == count
    assert found["k42fs_machine_seconds_total"].value() == machine.now / hertz
    assert found["k42fs_objects"].value(kind="DirObject") == 2
    assert found["k42fs_objects_created_total"].value() == mount.system.cos.statistics()["created"]
    assert found["k42fs_build_info"].values.popitem()[1] == 1
    assert found["process_start_time_seconds"].value() == 1_700_000_000
    assert found["process_resident_memory_bytes"].value() > 1 << 20


async def test_busy_and_idle_times_of_a_processor_add_up_to_the_machines(mount: Mount) -> None:
    await mount.ops.mkdir(ROOT, b"d", 0o755, CTX)
    await fight(mount, b"d", 10)
    found = scraped(mount)
    parts = ("work", "lock_wait", "memory", "idle")
    sums = [
        sum(found[f"k42fs_processor_{part}_seconds_total"].value(vp=vp) for part in parts)
        for vp in ("0", "1")
    ]
    assert max(sums) == pytest.approx(found["k42fs_machine_seconds_total"].value(), rel=0.02)


async def test_counters_never_go_back_while_objects_and_their_locks_come_and_go(mount: Mount) -> None:
    def counters() -> dict[tuple[str, Any], float]:
        return {
            (name, labels): value
            for name, metric in scraped(mount).items()
            for labels, value in metric.values.items()
            if metric.kind == "counter"
        }

    before = counters()
    for turn in range(5):
        name = b"d%d" % turn
        await mount.ops.mkdir(ROOT, name, 0o755, CTX)
        await fight(mount, name, 5)
        await mount.ops.rmdir(ROOT, name, CTX)
        after = counters()
        assert not {key for key, value in before.items() if after[key] < value}
        before = after


@pytest.mark.parametrize("model", ["full", "calls", "off"])
def test_each_model_tells_what_it_knows(monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    mount = Mount(monkeypatch, model)
    try:
        found = scraped(mount)
    finally:
        mount.close()
    assert ("k42fs_machine_seconds_total" in found) == (model != "off")
    assert found["k42fs_processors"].value() == 2
    assert found["k42fs_open_handles"].value() == 0
