"""The screen of `k42fs top`: processors, then the hottest objects, locks, lines or methods. Made for 80x24."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from k42fs.cli.top_samples import Interval, ProcessorRow
from k42fs.cli.top_state import State
from k42fs.personality.control_text import counted, ranges
from k42fs.report.names import visible

ONE_COLUMN_MAX, TWO_COLUMNS_MAX = 4, 16
"""Processors that get a line, or half a line; more are a character each."""

HALF_LINE: Final = 23
"""What half a line says of a processor beside its bar, in characters."""

VPS_WIDTH: Final = 9
"""A longer list of processors is only counted."""

STRIP_WIDTH: Final = 64
STRIP_LINES: Final = 4
BLOCKS: Final = " ▁▂▃▄▅▆▇█"
EIGHTHS: Final = " ▏▎▍▌▋▊▉█"
HEAD_LINES, FOOT_LINES = 3, 1
KEYS: Final = "q quit  f freeze  s sort  a o l c m: tables  ↑↓ select  w swap  ? help"
HELP: Final = (
    ("q", "quit"),
    ("f, space", "freeze the screen, and go on"),
    ("a", "all tables"),
    ("o, l, c, m", "objects, locks, lines (as in c2c), or methods alone; tab: the next"),
    ("s", "sort by the next column"),
    ("up, down", "select a row; j and k, too, and page up and down"),
    ("w", "hot-swap the selected object; tab goes through what could serve it"),
    ("+, -", "look less or more often"),
    ("?", "this help, and back"),
    ("", ""),
    ("60% 481/s", "busy share of the machine's virtual time, up to the furthest"),
    ("", "processor, or of 10 us a second if less passed; requests per second"),
    ("70%w", "share of busy time spent waiting for locks"),
    ("machine", "virtual time that passed per second of wall time"),
    ("waited", "cycles waited for its locks per second, of all processors together"),
    ("moved", "lines that went from one processor's cache to another's per second"),
)


class Column(NamedTuple):
    """One column of a table: its title, and what it shows of a row. Only the first is on the left."""

    title: str
    text: Callable[[Mapping[str, Any]], str]


def human(number: float) -> str:
    """Return *number* in at most five characters: 0.42, 812, 12.3k, 4.57M."""
    if number < 10 and number != int(number):
        return f"{number:.2f}"
    for unit in ("", "k", "M", "G", "T"):
        if number < 999.5:
            return f"{number:.0f}{unit}" if not unit or number >= 99.95 else f"{number:.3g}{unit}"
        number /= 1000
    return f"{number:.3g}P"


def _rate(key: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda row: human(row[key])


def _name(row: Mapping[str, Any]) -> str:
    return visible(f"{row['object']} {row['path']}".rstrip())


def _vps(row: Mapping[str, Any]) -> str:
    text = ranges(row["vps"])
    return text if len(text) <= VPS_WIDTH else f"{len(row['vps'])} vps"


VPS: Final = Column("vps", _vps)
COLUMNS: Final[Mapping[str, Sequence[Column]]] = {
    "objects": (
        Column("object", _name),
        Column("served by", lambda row: str(row["implementation"])),
        Column("waited", _rate("waited_cycles_s")),
        Column("contended", _rate("contentions_s")),
        Column("moved", _rate("transfers_s")),
        VPS,
    ),
    "locks": (
        Column("lock", lambda row: visible(f"{row['object']}.{row['lock']}")),
        Column("waited", _rate("waited_cycles_s")),
        Column("contended", _rate("contentions_s")),
        Column("acquired", _rate("acquisitions_s")),
        Column("held", _rate("held_cycles_s")),
        Column("longest", _rate("max_wait_cycles")),
    ),
    "lines": (
        Column("line", lambda row: f"{_name(row)}.{row['field']}"),
        Column("address", lambda row: f"{row['address']:x}"),
        Column("moved", _rate("transfers_s")),
        VPS,
    ),
    "methods": (Column("method", lambda row: str(row["method"])), Column("calls", _rate("calls_s"))),
}
EMPTY: Final = {
    "objects": "no lock was waited for and no line moved",
    "locks": "no lock was waited for",
    "lines": "no line moved between processors",
    "methods": "nothing was called",
}


def screen(path: str, seen: Interval, state: State, width: int, height: int) -> RenderableType:
    """Return what fills *width* x *height*, and no more."""
    if state.shows_help:
        return Group(*_head(path, seen, state, width), Text(), *(_help_line(*row, width) for row in HELP))
    room = height - HEAD_LINES - FOOT_LINES
    processors = processor_lines(seen.processors, int(seen.now["processors"]), width)[: max(room - 2, 0)]
    room -= len(processors)
    shown = tables_shown(seen.model, state.view)[: max(room // 2, 1)]
    return Group(
        *_head(path, seen, state, width),
        *processors,
        *(
            _table(each, seen, state, lines - 1, width)
            for each, lines in zip(shown, shares(room, len(shown)), strict=True)
        ),
        _foot(state, width),
    )


def plain(path: str, seen: Interval, rows: int, width: int) -> RenderableType:
    """Return the same for a file or a pipe: every table with at most *rows* rows, no keys."""
    state = State()
    return Group(
        *_head(path, seen, state, width),
        *processor_lines(seen.processors, int(seen.now["processors"]), width),
        *(
            _table(each, seen, state, min(rows, max(len(seen.tables()[each]), 1)), width, is_live=False)
            for each in tables_shown(seen.model, "all")
        ),
        Text(),
    )


def tables_shown(model: str, view: str) -> Sequence[str]:
    """Return the tables of *view*: of all those, what the mount models."""
    if view != "all":
        return (view,)
    return {"full": ("objects", "locks", "lines"), "calls": ("methods", "locks")}.get(model, ())


def shares(room: int, parts: int) -> list[int]:
    """Divide *room* lines among *parts* tables, a title and a row each at least; the first get the odd ones."""
    return [max(room // parts + (index < room % parts), 2) for index in range(parts)]


PATH_MIN: Final = 8
"""What is left of a mount's path at least before what comes after it is cut."""


def _head(path: str, seen: Interval, state: State, width: int) -> list[Text]:
    now = seen.now
    what = (
        f"{now['machine']}, {counted(now['processors'], 'processor')} at {now['mhz']} MHz, model={seen.model}"
    )
    shown, room = visible(path), width - len("k42fs top ") - len("  ") - len(what)
    if len(shown) > room >= PATH_MIN:  # its end tells more than its beginning, and the model more than either
        shown = "…" + shown[len(shown) - room + 1 :]
    first = Text.assemble(("k42fs top ", "bold"), shown, "  ", (what, "dim"))
    told = "  ".join(f"{name} {human(rate)}" for name, rate in seen.by_request)
    second = Text.assemble((f"{human(seen.requests)} requests/s", "bold green"), f"  {told}")
    if seen.refused:
        second = Text.assemble(second, (f"  refused {human(seen.refused)}", "yellow"))
    third = Text.assemble(
        f"{now['objects']:,} objects (+{human(seen.created)} -{human(seen.freed)}/s)"
        f"  {counted(now['handles'], 'handle')}  {counted(now['kernel_nodes'], 'node')}"
    )
    if seen.model == "full":
        third.append(f"  machine {seen.machine_seconds * 1e3:.3g} ms/s")
    third.append(f"  in {seen.seconds:.1f} s", "dim")
    if state.is_frozen:
        third = Text.assemble(("FROZEN", "bold reverse"), "  ", third)
    return [_cut(line, width) for line in (first, second, third)]


def processor_lines(rows: Sequence[ProcessorRow], count: int, width: int) -> list[Text]:
    """Return the processors' utilisation: a line each, half a line each, or a character each."""
    known = {row.vp: row for row in rows}
    every = [known.get(vp) or ProcessorRow(vp, 0.0, 0.0, 0.0, 0.0, 0.0) for vp in range(count)]
    if count <= ONE_COLUMN_MAX:
        return [_cut(_processor(row, width - 54, True), width) for row in every]
    if count <= TWO_COLUMNS_MAX:
        half, bar_width = -(-count // 2), (width - 2) // 2 - HALF_LINE
        lines = []
        for index in range(half):
            line = _processor(every[index], bar_width, False)
            if index + half < count:
                line.append("  ")
                line.append_text(_processor(every[index + half], bar_width, False))
            lines.append(_cut(line, width))
        return lines
    return [_cut(line, width) for line in _strips(every, min(STRIP_WIDTH, width - 16))]


def _processor(row: ProcessorRow, bar_width: int, is_long: bool) -> Text:
    line = Text(f"{row.vp:3} ")
    line.append(bar(row.utilisation, bar_width), _heat_style(row.utilisation))
    line.append(f" {row.utilisation:4.0%} {human(row.requests):>5}/s")
    if is_long:
        line.append(f"  {human(row.calls):>5} calls/s {row.misses:4.0%} miss {row.waiting:4.0%} wait")
    else:
        line.append(f" {row.waiting:4.0%}w" if row.waiting else "      ", "dim")
    return line


def bar(share: float, width: int) -> str:
    """Return a bar of *width* characters, in eighths of one."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (EIGHTHS[rest] if rest else "")).ljust(width)


def _strips(rows: Sequence[ProcessorRow], width: int) -> list[Text]:
    """Return a character for each processor, or for each group of neighbours if there is no room for that."""
    group = -(-len(rows) // (width * STRIP_LINES))
    lines = []
    for first in range(0, len(rows), group * width):
        line = Text(f"{first:4} ")
        for at in range(first, min(first + group * width, len(rows)), group):
            some = rows[at : at + group]
            share = sum(row.utilisation for row in some) / len(some)
            step = min(int(share * 8 + (share > 0)), 8)
            line.append("·" if step == 0 else BLOCKS[step], _heat_style(share))
        lines.append(line)
    lines[-1].append(f"  {sum(row.utilisation > 0 for row in rows)} busy", "dim")
    return lines


def _heat_style(share: float) -> str:
    return "red" if share >= 0.9 else "yellow" if share >= 0.6 else "green"


def _table(
    name: str, seen: Interval, state: State, lines: int, width: int, is_live: bool = True
) -> RenderableType:
    """Return a table's title and *lines* rows, blank ones at the end."""
    rows = state.ordered(name, seen.tables()[name])
    is_chosen = is_live and name == state.table
    if is_chosen:
        state.follow(rows)
    if not rows:
        head = Text(f"{name.upper()}  ", "bold cyan").append(EMPTY[name], "not bold dim default")
        return Group(_cut(head, width), *(Text() for _ in range(lines if is_live else 0)))
    first = max(0, state.selected - lines + 1) if is_chosen else 0
    order = state.sort_of(name)[0]
    table = Table(
        box=None, pad_edge=False, padding=(0, 2, 0, 0), width=width, expand=True, header_style="bold cyan"
    )
    for index, column in enumerate(COLUMNS[name]):
        mark = "▼" if column.title == order and len(COLUMNS[name]) > 2 else ""
        table.add_column(
            f"{name.upper() if not index else column.title}{mark}",
            justify="left" if not index or column.title == "served by" else "right",
            ratio=None if index else 1,
            no_wrap=True,
            overflow="ellipsis",
        )
    for at, row in enumerate(rows[first : first + lines], first):
        style = "reverse" if is_chosen and at == state.selected else ""
        table.add_row(*(Text(column.text(row), overflow="ellipsis") for column in COLUMNS[name]), style=style)
    missing = lines - len(rows[first : first + lines])
    for _ in range(missing if is_live else 0):
        table.add_row("")
    return table


def _foot(state: State, width: int) -> Text:
    if state.asked is not None:
        offered = ", ".join(state.choices())
        asked = f"swap {state.target['object']} to: {state.asked}_"
        return _cut(Text(asked + (f"   (tab: {offered})" if offered else ""), "bold"), width)
    if state.message:
        return _cut(Text(visible(state.message), "bold yellow"), width)
    return _cut(Text(KEYS, "dim"), width)


def _help_line(keys: str, meaning: str, width: int) -> Text:
    return _cut(Text.assemble((f"  {keys:11}", "bold"), meaning), width)


def _cut(line: Text, width: int) -> Text:
    line.no_wrap = True
    line.truncate(width, overflow="ellipsis")
    return line
