"""Export to Chrome's JSON trace format, which chrome://tracing, the Perfetto UI and others read.

One process, the machine; a thread per track. Times are microseconds with three decimals, so nothing is rounded.
Format: "Trace Event Format" (Chromium). `X` a slice, `i` a moment, `C` a counter, `M` a name; the ends of an
arrow are slices of no length that share a `bind_id`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from k42fs.report.export_timeline import Level, Moment, Slice, Timeline

PID: Final = 1
FIRST_TID: Final = 10
"""Numbers below could be taken for the process itself, or for Linux's idle tasks."""


def chrome(made: Timeline) -> Iterator[str]:
    """Yield the file, a line per event."""
    yield '{"displayTimeUnit":"ns","otherData":' + _json({"recording": made.title, "lost": made.losses})
    yield ',"traceEvents":[\n' + ",\n".join(_json(each) for each in _names(made))
    running = made.running_tracks()
    for _, _, what, item in made.items():
        if what == "begin":
            yield ",\n" + _slice(item)
        elif what == "moment":
            yield ",\n" + _moment(item, FIRST_TID + running[item.processor])
        elif what == "level":
            yield ",\n" + _level(item)
    yield "\n]}\n"


def _names(made: Timeline) -> Iterator[dict[str, Any]]:
    yield {"ph": "M", "pid": PID, "name": "process_name", "args": {"name": f"k42fs {made.title}"}}
    for track in made.tracks:
        about = {"ph": "M", "pid": PID, "tid": FIRST_TID + track.number}
        yield about | {"name": "thread_name", "args": {"name": track.name}}
        yield about | {"name": "thread_sort_index", "args": {"sort_index": track.number}}


def _slice(each: Slice) -> str:
    return (
        f'{{"ph":"X","pid":{PID},"tid":{FIRST_TID + each.track},"ts":{_us(each.begin)},'
        f'"dur":{_us(each.end - each.begin)},"name":{_json(each.name)},"cat":"{each.category}",'
        f'"args":{_json(each.args)}}}'
    )


def _moment(each: Moment, tid: int) -> str:
    shape = '"ph":"i","s":"t"'
    if each.flow:
        way = "flow_out" if each.is_out else "flow_in"
        shape = f'"ph":"X","dur":0,"bind_id":"{each.flow:#x}","{way}":true'
    return (
        f'{{{shape},"pid":{PID},"tid":{tid},"ts":{_us(each.time)},"name":{_json(each.name)},'
        f'"cat":"{each.category}","args":{_json(each.args)}}}'
    )


def _level(each: Level) -> str:
    name = _json(f"cpu{each.processor} {each.name}")
    return f'{{"ph":"C","pid":{PID},"ts":{_us(each.time)},"name":{name},"args":{{"value":{each.value}}}}}'


def _us(ns: int) -> str:
    """Return nanoseconds as microseconds, exactly."""
    return f"{ns // 1000}.{ns % 1000:03d}"


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
