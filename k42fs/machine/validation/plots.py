"""Pictures of plots, as PNG files. Needs matplotlib, which is an optional dependency: `pip install k42fs[plots]`."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from k42fs.errors import ConfigError
from k42fs.machine.validation.checks import Plot

INCHES, DPI = (7.0, 4.4), 110


def save(plot: Plot, path: Path) -> None:
    """Draw *plot* into the PNG file *path*. Raises ConfigError: there is no matplotlib here."""
    figure, axes = _pyplot().subplots(figsize=INCHES, dpi=DPI, layout="constrained")
    for series in plot.series:
        x, y = zip(*series.points, strict=True) if series.points else ((), ())
        if series.expected:
            axes.plot(x, y, "--", color="0.45", linewidth=1.2, label=series.label, zorder=1)
        else:
            axes.plot(x, y, "o-", markersize=4, linewidth=1.2, label=series.label, zorder=2)
    if plot.log_x:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:g}")
    if plot.log_y:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    axes.set(title=plot.title, xlabel=plot.x, ylabel=plot.y)
    axes.grid(True, alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(path)
    _pyplot().close(figure)


def require() -> None:
    """Raise ConfigError unless pictures can be drawn: better before the experiments than after."""
    _pyplot()


def _pyplot() -> Any:  # noqa: ANN401  (a module that need not be installed)
    try:
        importlib.import_module("matplotlib").use("Agg")  # draws into files, needs no display
        return importlib.import_module("matplotlib.pyplot")
    except ImportError as exc:
        raise ConfigError("plots need matplotlib: pip install 'k42fs[plots]'") from exc
