"""Pictures of plots, as PNG files. Needs matplotlib, which is an optional dependency: `pip install k42fs[plots]`."""

from __future__ import annotations

import importlib
from itertools import cycle
from pathlib import Path
from typing import Any

from k42fs.errors import ConfigError
from k42fs.machine.validation.checks import Plot

INCHES, DPI = (8.4, 4.4), 110
MARKERS = "osD^vPX"
GREY = "0.45"


def save(plot: Plot, path: Path) -> None:
    """Draw *plot* into the PNG file *path*. Raises ConfigError: there is no matplotlib here."""
    figure, axes = _pyplot().subplots(figsize=INCHES, dpi=DPI, layout="constrained")
    markers, colours = cycle(MARKERS), colours_of(plot)
    for series in plot.series:
        colour = colours[series.label]
        x, y = zip(*series.points, strict=True) if series.points else ((), ())
        if series.expected:
            axes.plot(x, y, "--", color=colour, alpha=0.8, linewidth=1.2, label=series.label, zorder=1)
        else:
            # Hollow and with thin lines: series that coincide stay visible, and so does what was expected.
            axes.plot(x, y, color=colour, linewidth=0.6, alpha=0.5, zorder=2)
            style = {"color": colour, "markerfacecolor": "none", "markersize": 6, "zorder": 3}
            axes.plot(x, y, next(markers), label=series.label, **style)
    if plot.log_x:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:g}")
    if plot.log_y:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        low, high = axes.get_ylim()
        axes.yaxis.set_minor_formatter("{x:g}" if high < 30 * low else "")
    else:
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    if plot.x_names:
        axes.set_xticks(
            range(1, len(plot.x_names) + 1), plot.x_names, rotation=30, ha="right", fontsize="small"
        )
    axes.set(title=plot.title, xlabel=plot.x, ylabel=plot.y)
    axes.grid(True, alpha=0.3)
    figure.legend(fontsize="small", loc="outside right upper")
    figure.savefig(path)
    _pyplot().close(figure)


def colours_of(plot: Plot) -> dict[str, str]:
    """Return each series' colour: of what was expected, that of the measured one it names, or else grey."""
    measured = [series.label for series in plot.series if not series.expected]
    colours = {label: f"C{place}" for place, label in enumerate(measured)}
    for series in plot.series:
        if series.expected:
            words = series.label.replace(",", " ").split()
            named = [label for label in measured if set(label.split()) <= set(words)]
            colours[series.label] = colours[named[0]] if named else GREY
    return colours


def require() -> None:
    """Raise ConfigError unless pictures can be drawn: better before the experiments than after."""
    _pyplot()


def _pyplot() -> Any:  # noqa: ANN401  (a module that need not be installed)
    try:
        importlib.import_module("matplotlib").use("Agg")  # draws into files, needs no display
        return importlib.import_module("matplotlib.pyplot")
    except ImportError as exc:
        raise ConfigError("plots need matplotlib: pip install 'k42fs[plots]'") from exc
