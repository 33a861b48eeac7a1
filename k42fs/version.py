"""Which k42fs this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version


def version() -> str:
    """Return the installed version; "unknown" in a tree that was never installed."""
    try:
        return installed_version("k42fs")
    except PackageNotFoundError:
        return "unknown"
