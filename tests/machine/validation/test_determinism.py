"""E21's digest: the same for a seed, here and in another process, and another for another seed or program."""

import pytest

from k42fs.machine.cores import PURE
from k42fs.machine.validation import determinism
from k42fs.machine.validation.determinism import Mix, digest_elsewhere


def test_the_digest_is_one_for_each_seed() -> None:
    assert Mix(0).digest() == Mix(0).digest() != Mix(1).digest()


def test_another_process_with_another_hash_seed_gets_the_same() -> None:
    assert digest_elsewhere(3, PURE, "77") == Mix(3).digest()


def test_the_least_change_to_the_program_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Mix(0).digest()
    monkeypatch.setattr(determinism, "TURNS", determinism.TURNS - 1)
    assert Mix(0).digest() != before
