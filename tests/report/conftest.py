"""What the tests of this floor share."""

from __future__ import annotations

import pytest

from k42fs.machine import cores


@pytest.fixture(params=(cores.PURE, cores.COMPILED))
def core(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make machines of the test on either core; return its name."""
    if request.param == cores.COMPILED:
        pytest.importorskip("k42fs.machine.fast_threads", exc_type=ImportError)
    monkeypatch.setenv(cores.VARIABLE, request.param)
    return str(request.param)
