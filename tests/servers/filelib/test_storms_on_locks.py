"""Storms on the other locks that servers can be given: what holds with K42's holds with each of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import pytest

from k42fs.machine.lock_choice import CHOICES, DEFAULT
from tests.servers.filelib import test_storms
from tests.servers.filelib.lab import Storm

OTHERS: Final = [kind for kind in CHOICES if kind != DEFAULT]
STORMS: Final[dict[str, Callable[[int], None]]] = {
    "appends": test_storms.test_appends_never_overlap,
    "cuts": test_storms.test_bytes_cut_off_are_never_seen_again,
    "names": partial(test_storms.test_a_storm_of_names_leaves_everything_in_order, free_list_max=0),
    "renames": partial(test_storms.test_opposite_renames_never_deadlock, kind="directories"),
    "reopened": test_storms.test_a_file_reopened_while_it_is_freed_survives,
}


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("storm", STORMS)
def test_a_storm_on_other_locks(storm: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Storm, "lock_kind", kind)
    STORMS[storm](3)
