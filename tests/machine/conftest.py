"""Fixtures of this floor's tests."""

from __future__ import annotations

import importlib.util

import pytest

from k42fs.machine import cores

COMPILED = pytest.param(
    cores.COMPILED,
    marks=pytest.mark.skipif(
        importlib.util.find_spec("k42fs.machine.fast_core") is None, reason="the compiled core was not built"
    ),
)


@pytest.fixture(params=[cores.PURE, COMPILED])
def _on_each_core(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a test twice: core, threads and driver in Python, and compiled."""
    monkeypatch.setenv(cores.VARIABLE, request.param)
