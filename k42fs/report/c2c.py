"""`c2c` as tables, and as text: a summary that names both sides, then what `perf c2c report --stdio` prints.

Section titles, columns and their widths are those of perf 6.1; columns of ours follow perf's. "Shared Object" is
here the modelled object. What hardware would have to sample is exact, but hits are not recorded: the columns of
hits in the core stay 0, and a store that hit is one that had to ask for the line (an upgrade).

Format: tools/perf/builtin-c2c.c and the perf-c2c(1) manual page; the code is ours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from k42fs.report.filters import Source
from k42fs.report.lines import Line, Moves, Place, lines, nodes
from k42fs.report.tables import Column, Report, Table, count, percent, ratio

RULE: Final = "=" * 49
CACHELINE_RULE: Final = "  " + "-" * 70
SUMMARY_LINES: Final = 10
PAIR: Final = 2
NAME_SHOWN: Final = 60


class Head(NamedTuple):
    """A column of perf's: the first row of its head (a group's says so once, over all its columns), title, width."""

    over: str
    title: str
    width: int
    left: bool = False


LINE_HEADS: Final = (
    Head("", "Index", 5),
    Head("----------- Cacheline ----------", "Address", 18), Head("|", "Node", 4), Head("|", "PA cnt", 6),
    Head("Tot", "Hitm", 7),
    Head("------- Load Hitm -------", "Total", 7), Head("|", "LclHitm", 7), Head("|", "RmtHitm", 7),
    Head("Total", "records", 7), Head("Total", "Loads", 7), Head("Total", "Stores", 7),
    Head("--------- Stores --------", "L1Hit", 7), Head("|", "L1Miss", 7), Head("|", "N/A", 7),
    Head("----- Core Load Hit -----", "FB", 7), Head("|", "L1", 7), Head("|", "L2", 7),
    Head("- LLC Load Hit --", "LclHit", 8), Head("|", "LclHitm", 7),
    Head("- RMT Load Hit --", "RmtHit", 8), Head("|", "RmtHitm", 7),
    Head("--- Load Dram ----", "Lcl", 8), Head("|", "Rmt", 8),
)  # fmt: skip

PLACE_HEADS: Final = (
    Head("", "Num", 5),
    Head("----- HITM -----", "RmtHitm", 7), Head("|", "LclHitm", 7),
    Head("------- Store Refs ------", "L1 Hit", 7), Head("|", "L1 Miss", 7), Head("|", "N/A", 7),
    Head("--------- Data address ---------", "Offset", 18), Head("|", "Node", 4), Head("|", "PA cnt", 6),
    Head("", "Pid", 7), Head("", "Code address", 18),
    Head("---------- cycles ----------", "rmt hitm", 8), Head("|", "lcl hitm", 8), Head("|", "load", 8),
    Head("Total", "records", 7), Head("cpu", "cnt", 8),
    Head("", "Symbol", 0, left=True), Head("Shared", "Object", 0, left=True),
    Head("", "Source:Line", 0, left=True), Head("", "Node", 4, left=True),
    Head("", "Field", 0, left=True), Head("Sharing", "true/false", 0, left=True),
    Head("", "Other side", 0, left=True),
)  # fmt: skip


class Names:
    """What the report calls lines, fields and sites."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.node = nodes(source)

    def field(self, line: Line, offset: int) -> tuple[str, str]:
        """Return (object, field) at *offset*; what is unknown is called by its offset."""
        found = self._source.names.line_field(line.address, offset)
        return (found.object, found.field) if found else ("", f"+{offset:#x}")

    def site(self, site: int) -> tuple[str, str]:
        """Return (function, "file:line")."""
        place, _, function = self._source.names.site(site).partition(" ")
        return function or "?", place or "?"

    def others(self, place: Place) -> str:
        """Return the source lines on the other side, the most frequent first."""
        return ", ".join(
            f"{self.site(site)[1]} {self.site(site)[0]}" for site, _ in place.others.most_common(PAIR)
        )


def c2c_report(source: Source) -> Report:
    """Return the report: perf's sections as its text after a summary, and everything as tables."""
    all_lines = lines(source)
    found = [line for line in all_lines if line.moves.sharing]
    total, everything = _sum(found), _sum(all_lines)
    names = Names(source)
    tables = [
        _line_table(found, names),
        _place_table(found, names),
        _all_moves(everything, total, len(found)),
    ]
    text = "\n".join(_text(found, names, total, everything))
    return Report(tables, text + "\n")


def _sum(of: Sequence[Line]) -> Moves:
    total = Moves()
    for line in of:
        total.add(line.moves)
    return total


def pair(line: Line, names: Names) -> list[tuple[str, str, str, int]]:
    """Return the fields of *line* that moved it: (object, field, source line, misses), the worst first."""
    fields: Counter[tuple[str, str]] = Counter()
    sites: dict[tuple[str, str], Counter[int]] = {}
    for (offset, site), place in line.places.items():
        if place.moves.sharing:
            key = names.field(line, offset)
            fields[key] += place.moves.sharing
            sites.setdefault(key, Counter())[site] += place.moves.sharing
    return [
        (*key, " ".join(reversed(names.site(sites[key].most_common(1)[0][0]))), misses)
        for key, misses in fields.most_common()
    ]


def _line_table(found: Sequence[Line], names: Names) -> Table:
    rows: list[tuple[Any, ...]] = []
    for line in found:
        moves = line.moves
        processors = sorted(set().union(*(place.processors for place in line.places.values())))
        rows.append(
            (
                f"{line.address:#x}", line.node, moves.true_sharing, moves.false_sharing, moves.upgrades,
                moves.cycles, moves.hitm, moves.lcl_hitm, moves.rmt_hitm, moves.records, moves.loads, moves.stores,
                processors, [list(each) for each in pair(line, names)],
            )
        )  # fmt: skip
    return Table("lines", LINE_COLUMNS, rows, "Cache lines that move between processors", SUMMARY_LINES)


def _pair_shown(value: list[list[Any]]) -> str:
    return "\n".join(f"{owner} .{name}  {misses:,}x {site}" for owner, name, site, misses in value[:PAIR])


def _processors_shown(value: list[int]) -> str:
    return ",".join(map(str, value[:4])) + (",..." if len(value) > 4 else "")


LINE_COLUMNS: Final = (
    Column("line", "line"),
    Column("node", "node"),
    Column("true_sharing", "true", count),
    Column("false_sharing", "false", count),
    Column("upgrades", "upgrades", count),
    Column("cycles", "cycles", count),
    Column("tot_hitm", "hitm", count),
    Column("lcl_hitm", "lcl", count),
    Column("rmt_hitm", "rmt", count),
    Column("records", "records", count),
    Column("loads", "loads", count),
    Column("stores", "stores", count),
    Column("processors", "processors", _processors_shown, left=True),
    Column("fields", "object .field, misses, source line", _pair_shown, left=True),
)

PLACE_COLUMNS: Final = (
    Column("line", "line"),
    Column("offset", "offset"),
    Column("object", "object", left=True),
    Column("field", "field", left=True),
    Column("symbol", "symbol", left=True),
    Column("source_line", "source line", left=True),
    Column("other_side", "other side", left=True),
    Column("rmt_hitm", "rmt hitm", count),
    Column("lcl_hitm", "lcl hitm", count),
    Column("true_sharing", "true", count),
    Column("false_sharing", "false", count),
    Column("upgrades", "upgrades", count),
    Column("stores", "stores", count),
    Column("records", "records", count),
    Column("cycles", "cycles", count),
    Column("cpu_cnt", "cpus", count),
)


def _place_table(found: Sequence[Line], names: Names) -> Table:
    rows: list[tuple[Any, ...]] = []
    for line in found:
        for (offset, site), place in _places(line):
            function, source_line = names.site(site)
            moves = place.moves
            rows.append(
                (
                    f"{line.address:#x}", f"{offset:#x}", *names.field(line, offset), function, source_line,
                    names.others(place), moves.rmt_hitm, moves.lcl_hitm, moves.true_sharing, moves.false_sharing,
                    moves.upgrades, moves.stores, moves.records, moves.cycles, len(place.processors),
                )
            )  # fmt: skip
    return Table("places", PLACE_COLUMNS, rows)


def _all_moves(everything: Moves, shared: Moves, shared_lines: int) -> Table:
    rows: list[tuple[Any, ...]] = [
        ("all", None, *(getattr(everything, name) for name in COUNTED)),
        ("shared", shared_lines, *(getattr(shared, name) for name in COUNTED)),
    ]
    return Table(
        "events", (Column("lines", "lines"), Column("number", "number"), *map(_counted, COUNTED)), rows
    )


COUNTED: Final = (
    "records", "loads", "stores", "locked", "lcl_hitm", "rmt_hitm", "lcl_hit", "rmt_hit", "lcl_dram", "rmt_dram",
    "true_sharing", "false_sharing", "upgrades", "cycles",
)  # fmt: skip


def _counted(name: str) -> Column:
    return Column(name, name.replace("_", " "), count)


def _places(line: Line) -> list[tuple[tuple[int, int], Place]]:
    """Return the places of *line* that moved it, as perf orders them: the most HITMs first, then stores."""
    moved = [each for each in line.places.items() if each[1].moves.hitm or each[1].moves.stores]
    return sorted(moved, key=lambda each: (-each[1].moves.sharing, -each[1].moves.records, each[0]))


def _text(found: Sequence[Line], names: Names, total: Moves, everything: Moves) -> Iterator[str]:
    yield from _summary(found, names)
    yield from _events(everything)
    yield ""
    yield from _title("    Global Shared Cache Line Event Information   ")
    yield from _numbers(
        ("Total Shared Cache Lines", len(found)), ("Load HITs on shared lines", total.loads),
        ("Fill Buffer Hits on shared lines", 0), ("L1D hits on shared lines", 0), ("L2D hits on shared lines", 0),
        ("LLC hits on shared lines", total.lcl_hit + total.lcl_hitm), ("Load hits on peer cache or nodes", 0),
        ("Locked Access on shared lines", total.locked), ("Blocked Access on shared lines", 0),
        ("Store HITs on shared lines", total.stores), ("Store L1D hits on shared lines", total.upgrades),
        ("Store No available memory level", 0), ("Total Merged records", total.hitm + total.stores),
    )  # fmt: skip
    yield ""
    yield from _title("                 c2c details                     ")
    yield f"{'  Events':<36}: Cache::Miss, Cache::Invalidate"
    yield f"{'  Cachelines sort on':<36}: Sharing misses and upgrades"
    yield f"{'  Cacheline data grouping':<36}: offset,iaddr"
    yield ""
    yield from _title("           Shared Data Cache Line Table          ")
    yield "#"
    yield from _laid_out(LINE_HEADS, [_line_cells(index, line, total) for index, line in enumerate(found)])
    yield ""
    yield from _title("      Shared Cache Line Distribution Pareto      ")
    yield "#"
    yield from _pareto(found, names)


def _summary(found: Sequence[Line], names: Names) -> Iterator[str]:
    """Yield, before all that perf prints, the answer: which fields of which objects share a line, used where."""
    yield "Cache lines that move between processors, those that moved most first"
    for index, line in enumerate(found[:SUMMARY_LINES]):
        moves = line.moves
        kind = "false sharing" if moves.false_sharing > moves.true_sharing else "true sharing"
        yield (
            f"{index:3d}  {line.address:#x}  {kind}: {moves.false_sharing:,} false, {moves.true_sharing:,} true, "
            f"{moves.upgrades:,} upgrades, {moves.cycles:,} cycles"
        )
        for owner, name, site, misses in pair(line, names)[:PAIR]:
            yield f"       {misses:>9,}x  {f'{owner} .{name}'.strip()[:NAME_SHOWN]}  {site}"
    if not found:
        yield "  none"
    yield ""


def _title(title: str) -> Iterator[str]:
    yield RULE
    yield title
    yield RULE


def _numbers(*rows: tuple[str, int]) -> Iterator[str]:
    for title, value in rows:
        yield f"  {title:<34}: {value:>10d}"


def _events(moves: Moves) -> Iterator[str]:
    far = moves.lcl_dram + moves.rmt_dram + moves.rmt_hit + moves.rmt_hitm
    yield from _title("            Trace Event Information              ")
    yield from _numbers(
        ("Total records", moves.records), ("Locked Load/Store Operations", moves.locked),
        ("Load Operations", moves.loads), ("Loads - uncacheable", 0), ("Loads - IO", 0), ("Loads - Miss", 0),
        ("Loads - no mapping", 0), ("Load Fill Buffer Hit", 0), ("Load L1D hit", 0), ("Load L2D hit", 0),
        ("Load LLC hit", moves.lcl_hit + moves.lcl_hitm), ("Load Local HITM", moves.lcl_hitm),
        ("Load Remote HITM", moves.rmt_hitm), ("Load Remote HIT", moves.rmt_hit),
        ("Load Local DRAM", moves.lcl_dram), ("Load Remote DRAM", moves.rmt_dram),
        ("Load MESI State Exclusive", 0), ("Load MESI State Shared", 0), ("Load LLC Misses", far),
        ("Load access blocked by data", 0), ("Load access blocked by address", 0),
        ("Load HIT Local Peer", 0), ("Load HIT Remote Peer", 0),
    )  # fmt: skip
    for title, part in (
        ("LLC Misses to Local DRAM", moves.lcl_dram), ("LLC Misses to Remote DRAM", moves.rmt_dram),
        ("LLC Misses to Remote cache (HIT)", moves.rmt_hit), ("LLC Misses to Remote cache (HITM)", moves.rmt_hitm),
    ):  # fmt: skip
        yield f"  {title:<34}: {ratio(part, far):>10.1f}%"
    yield from _numbers(
        ("Store Operations", moves.stores), ("Store - uncacheable", 0), ("Store - no mapping", 0),
        ("Store L1D Hit", moves.upgrades), ("Store L1D Miss", moves.stores - moves.upgrades),
        ("Store No available memory level", 0), ("No Page Map Rejects", 0), ("Unable to parse data source", 0),
    )  # fmt: skip


def _line_cells(index: int, line: Line, total: Moves) -> list[str]:
    moves = line.moves
    return [
        str(index), f"{line.address:#x}", str(line.node), "1", f"{ratio(moves.hitm, total.hitm):.2f}%",
        str(moves.hitm), str(moves.lcl_hitm), str(moves.rmt_hitm), str(moves.records), str(moves.loads),
        str(moves.stores), str(moves.upgrades), str(moves.stores - moves.upgrades), "0", "0", "0", "0",
        str(moves.lcl_hit), str(moves.lcl_hitm), str(moves.rmt_hit), str(moves.rmt_hitm),
        str(moves.lcl_dram), str(moves.rmt_dram),
    ]  # fmt: skip


def _pareto(found: Sequence[Line], names: Names) -> Iterator[str]:
    blocks = [[_place_cells(line, key, place, names) for key, place in _places(line)] for line in found]
    widths = _widths(PLACE_HEADS, [row for block in blocks for row in block])
    yield from _head(PLACE_HEADS, widths)
    for index, (line, block) in enumerate(zip(found, blocks, strict=True)):
        moves = line.moves
        cells = [index, moves.rmt_hitm, moves.lcl_hitm, moves.upgrades, moves.stores - moves.upgrades, 0]
        yield ("\n" if index else "") + CACHELINE_RULE
        yield (
            "  "
            + "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=False))
            + (f"  {line.address:#18x}")
        )
        yield CACHELINE_RULE
        yield from (_row(PLACE_HEADS, widths, cells) for cells in block)


def _place_cells(line: Line, key: tuple[int, int], place: Place, names: Names) -> list[str]:
    (offset, site), moves, whole = key, place.moves, line.moves
    function, source_line = names.site(site)
    owner, field_name = names.field(line, offset)
    shares: Sequence[tuple[int, int]] = (
        (moves.rmt_hitm, whole.rmt_hitm),
        (moves.lcl_hitm, whole.lcl_hitm),
        (moves.upgrades, whole.upgrades),
        (moves.stores - moves.upgrades, whole.stores - whole.upgrades),
        (0, 0),
    )
    mean: Callable[[int, int], str] = lambda cycles, times: f"{cycles / times if times else 0:.0f}"  # noqa: E731
    return [
        "", *(f"{percent(ratio(*share))}%" for share in shares), f"{offset:#x}", str(line.node), "1",
        str(min(place.pids, default=0)), f"{site:#x}", mean(moves.rmt_hitm_cycles, moves.rmt_hitm),
        mean(moves.lcl_hitm_cycles, moves.lcl_hitm), mean(moves.load_cycles, moves.loads), str(moves.records),
        str(len(place.processors)), f"[.] {function}", owner[:NAME_SHOWN] or "?", source_line,
        ",".join(map(str, sorted({names.node(vp) for vp in place.processors}))), field_name,
        f"{moves.true_sharing}/{moves.false_sharing}", names.others(place),
    ]  # fmt: skip


def _widths(heads: Sequence[Head], rows: Sequence[Sequence[str]]) -> list[int]:
    """Return the width of each column: perf's own, or that of its longest cell where perf's grows too."""
    return [
        head.width or max([len(head.over), len(head.title), *(len(row[index]) for row in rows)])
        for index, head in enumerate(heads)
    ]


def _head(heads: Sequence[Head], widths: Sequence[int]) -> Iterator[str]:
    over, under = [], []
    for head, width in zip(heads, widths, strict=True):
        if head.over != "|":
            over.append(f"{head.over:>{width}}")
        under.append(f"{head.title:>{width}}")
    yield f"# {'  '.join(over)}".rstrip()
    yield f"# {'  '.join(under)}".rstrip()
    yield f"# {'  '.join('.' * width for width in widths)}"
    yield "#"


def _row(heads: Sequence[Head], widths: Sequence[int], cells: Sequence[str]) -> str:
    shown = (
        f"{cell:<{width}}" if head.left else f"{cell:>{width}}"
        for head, width, cell in zip(heads, widths, cells, strict=True)
    )
    return f"  {'  '.join(shown)}".rstrip()


def _laid_out(heads: Sequence[Head], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = _widths(heads, rows)
    yield from _head(heads, widths)
    yield from (_row(heads, widths, row) for row in rows)
