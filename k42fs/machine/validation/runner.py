"""Runner: does experiments, independent ones in worker processes, and says how each ended.

An experiment that raises is a failure like one whose check fails; its traceback is kept. Results do not
depend on the number of workers, as experiments share nothing.
"""

from __future__ import annotations

import multiprocessing
import time
import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Final

from k42fs.machine.validation.checks import FAIL, PASS, Findings
from k42fs.machine.validation.experiment import Effort, Entry, Experiment, Unavailable, order

NOT_AVAILABLE: Final = "not available"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one experiment ended. *error*: the traceback if it raised, or what an unavailable one waits for."""

    number: str
    title: str
    verdict: str  # PASS, FAIL or NOT_AVAILABLE
    seconds: float
    findings: Findings
    error: str = ""


def run_one(entry: Entry, effort: Effort) -> Outcome:
    """Run one experiment in this process. Never raises, but for what ends a process."""
    if isinstance(entry, Unavailable):
        return Outcome(entry.number, entry.title, NOT_AVAILABLE, 0.0, Findings(()), entry.reason)
    begin = time.perf_counter()
    try:
        findings, error = entry.run(effort), ""
    except Exception:
        findings, error = Findings(()), traceback.format_exc()
    verdict = PASS if findings.passed and not error else FAIL
    return Outcome(entry.number, entry.title, verdict, time.perf_counter() - begin, findings, error)


def run_all(
    entries: Iterable[Entry],
    effort: Effort = Effort.NORMAL,
    workers: int = 2,
    on_done: Callable[[Outcome], object] = lambda outcome: None,
) -> list[Outcome]:
    """Run all *entries*, up to *workers* at once; call *on_done* as each ends; return them by number."""
    todo = sorted(entries, key=lambda entry: -entry.weight if isinstance(entry, Experiment) else 0.0)
    outcomes = []
    if workers < 2 or sum(isinstance(entry, Experiment) for entry in todo) < 2:
        for entry in todo:
            outcomes.append(run_one(entry, effort))
            on_done(outcomes[-1])
    else:
        # Spawned, not forked: a worker begins with nothing of this process but the experiment's name.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            futures: list[Future[Outcome]] = [pool.submit(run_one, entry, effort) for entry in todo]
            try:
                for future in as_completed(futures):
                    outcomes.append(future.result())
                    on_done(outcomes[-1])
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    return sorted(outcomes, key=lambda outcome: order(outcome.number))
