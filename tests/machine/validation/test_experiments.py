"""Every experiment of the machine passes at quick effort; the gates are those of the full run."""

import pytest

from k42fs.machine.validation.experiment import Effort, Experiment, discover
from k42fs.machine.validation.report import text
from k42fs.machine.validation.runner import run_one

EXPERIMENTS = [entry for entry in discover().values() if isinstance(entry, Experiment)]


@pytest.mark.parametrize("entry", EXPERIMENTS, ids=[entry.number for entry in EXPERIMENTS])
def test_an_experiment_passes(entry: Experiment) -> None:
    outcome = run_one(entry, Effort.QUICK)
    assert outcome.verdict == "PASS", "\n".join(text(outcome, curves=False))
