"""E9 finds sharing where there is some: its processes on one file must not come near P times one."""

import pytest

from k42fs.machine.thread import Thread
from k42fs.machine.validation.experiment import Effort
from k42fs.workloads.validation.private_files import VARIANTS, Process, Site, private_files


def test_independent_requests_scale() -> None:
    findings = private_files(Effort.QUICK)
    assert [check for check in findings.checks if not check.passed] == []
    assert len(findings.checks) == 2 * (len(VARIANTS) + 1)  # the last one cold as well


def test_requests_for_one_file_do_not() -> None:
    one, four = Site(1), Site(4)
    for site in (one, four):
        for process in site.processes:
            process.file = site.processes[0].file  # everybody opens the first one's file
    assert four.rate("open_close", 60_000) < 3 * one.rate("open_close", 60_000)


def test_a_rate_is_per_million_cycles_of_each_process(monkeypatch: pytest.MonkeyPatch) -> None:
    async def tick(process: Process, th: Thread) -> None:
        th.work(500)

    monkeypatch.setattr(Process, "tick", tick, raising=False)
    assert Site(2).rate("tick", 10_000) == 2 * 2000


def test_a_burst_counts_from_its_first_operation_and_a_loop_after_the_warm_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def slow_at_first(process: Process, th: Thread) -> None:
        th.work(500 if process in warm else 5_000)
        warm.add(process)

    monkeypatch.setattr(Process, "slow_at_first", slow_at_first, raising=False)
    warm = set[Process]()
    assert Site(1).rate("slow_at_first", 10_000, is_cold=True) == 11 * 100  # 5000, then ten of 500
    warm.clear()
    assert Site(1).rate("slow_at_first", 10_000) == 2000
