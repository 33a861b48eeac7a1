"""E21's digest: the same for a seed, here and in another process, and another for another seed or program."""

import pytest

from k42fs.machine.cores import PURE
from k42fs.machine.validation import determinism
from k42fs.machine.validation.determinism import Mix, digest_elsewhere
from k42fs.machine.validation.experiment import Effort


def test_the_digest_is_one_for_each_seed() -> None:
    assert Mix(0).digest() == Mix(0).digest() != Mix(1).digest()


def test_another_process_with_another_hash_seed_gets_the_same() -> None:
    assert digest_elsewhere(3, PURE, "77") == Mix(3).digest()


def test_the_least_change_to_the_program_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Mix(0).digest()
    monkeypatch.setattr(determinism, "TURNS", determinism.TURNS - 1)
    assert Mix(0).digest() != before


def test_a_line_that_would_be_flat_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    same, other = ((0.0, 0.0), (1.0, 0.0)), ((0.0, -0.5), (1.0, 0.5))
    monkeypatch.setattr(determinism, "digest_elsewhere", lambda *args: Mix(0).digest())
    for points, plots in ((same, 0), (other, 1)):
        monkeypatch.setattr(determinism, "spread_of", lambda *args, points=points: (0.0, points))
        findings = determinism.determinism(Effort.QUICK)
        assert len(findings.plots) == plots
        assert ("no curve" in findings.notes[-1]) == (plots == 0)
