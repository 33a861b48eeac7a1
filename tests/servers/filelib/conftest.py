"""Every test of the file library runs with each implementation of each kind of object that matters."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest

from k42fs.servers.object_policy import Kind
from tests.servers.filelib import lab

IMPLEMENTATIONS: Final[Mapping[str, Mapping[Kind, str]]] = {
    "default": {},
    "distributed": {"DirObject": "distributed"},
    "ranged": {"ServerFile": "ranged", "FileCache": "partitioned"},
    "exclusive": {"ServerFile": "exclusive", "FileCache": "replicated"},
}
"""What each name chooses for the objects of a Lab or a Storm."""


@pytest.fixture(autouse=True, params=IMPLEMENTATIONS)
def implementations(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Let labs and storms make these implementations; its value is the name of the choice."""
    lab.CHOSEN.update(IMPLEMENTATIONS[request.param])
    yield request.param
    lab.CHOSEN.clear()
