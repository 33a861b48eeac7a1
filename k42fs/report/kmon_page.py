"""kmon's timeline as one HTML file that needs nothing else: to zoom, select and look around in.

Its data is inlined (kmon_payload.py), as are its style and script, which are beside this file.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Final

from k42fs.report.kmon import Chart
from k42fs.report.kmon_payload import pack_rows

SCRIPTS: Final = ("kmon_decode.js", "kmon.js")


def page(chart: Chart, texts: Mapping[int, Sequence[str]] | None = None) -> str:
    """Return the page of *chart*; *texts* has what to say of each event, by processor."""
    payload = pack_rows(chart.rows, chart.begin, chart.end, texts)
    meta = {
        "about": about(chart),
        "begin": chart.begin - chart.origin,
        "length": chart.end - chart.begin,
        "ticks": chart.ticks_per_second,
        "by": chart.by,
        "entities": [{"name": each.name, "color": each.color} for each in chart.entities],
        "kinds": chart.kinds,
        "events": chart.events,
        "level": payload.level,
        "columns": payload.columns or 1,
        "spans": payload.spans or 1,
        "rows": payload.rows,
    }
    parts = {
        "title": html.escape(f"kmon: {chart.title}"),
        "style": _part("kmon.css"),
        "script": "\n".join(_part(name) for name in SCRIPTS),
        # Names come from outside: none may end the script element it is in, or begin another.
        "meta": json.dumps(meta, separators=(",", ":")).replace("<", "\\u003c"),
        "data": payload.data,
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _part("kmon.html"))


def about(chart: Chart) -> str:
    """Return what a picture must say besides what it shows."""
    processors = f"{len(chart.rows)} processor{'s' if len(chart.rows) != 1 else ''}"
    said = [f"{chart.events:,} events of {processors}, {chart.ticks_per_second:,} ticks a second."]
    if len(chart.entities) == 1 and chart.events:
        said.append("Nobody's name is known: the recording has no switches (class Exception).")
    return " ".join([*said, *(f"{sentence}." for sentence in chart.losses)])


def _part(name: str) -> str:
    return files("k42fs.report").joinpath(name).read_text("utf-8")
