"""`c2c` as text: a summary that names both sides, then what `perf c2c report --stdio` prints.

Section titles, columns and their widths are those of perf 6.1; columns of ours follow perf's. "Shared Object" is
here the modelled object. What hardware would have to sample is exact, but hits are not recorded: the columns of
hits in the core stay 0, and a store that hit is one that had to ask for the line (an upgrade).

Format: tools/perf/builtin-c2c.c and the perf-c2c(1) manual page; the code is ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from k42fs.report.c2c_names import PAIR, Names, pair, places
from k42fs.report.lines import Line, Moves, Place
from k42fs.report.tables import percent, ratio

SUMMARY_LINES: Final = 10
NAME_SHOWN: Final = 60
RULE: Final = "=" * 49
CACHELINE_RULE: Final = "  " + "-" * 70


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


SYMBOL: Final = 16
"""Where in PLACE_HEADS words begin."""

HEAD_LINES: Final = 3
RULE_SHOWN: Final = 72


def full_text(found: Sequence[Line], names: Names, total: Moves, everything: Moves) -> Iterator[str]:
    yield from summary(found, names)
    yield from events(everything)
    yield ""
    yield from of_shared(found, total)
    yield ""
    yield from title_of("                 c2c details                     ")
    yield f"{'  Events':<36}: Cache::Miss, Cache::Invalidate"
    yield f"{'  Cachelines sort on':<36}: Sharing misses and upgrades"
    yield f"{'  Cacheline data grouping':<36}: offset,iaddr"
    yield ""
    yield from title_of("           Shared Data Cache Line Table          ")
    yield "#"
    yield from _laid_out(LINE_HEADS, [line_cells(index, line, total) for index, line in enumerate(found)])
    yield ""
    yield from title_of("      Shared Cache Line Distribution Pareto      ")
    yield "#"
    yield from _pareto(found, names)


def of_shared(found: Sequence[Line], total: Moves) -> Iterator[str]:
    yield from title_of("    Global Shared Cache Line Event Information   ")
    yield from _numbers(
        ("Total Shared Cache Lines", len(found)), ("Load HITs on shared lines", total.loads),
        ("Fill Buffer Hits on shared lines", 0), ("L1D hits on shared lines", 0), ("L2D hits on shared lines", 0),
        ("LLC hits on shared lines", total.lcl_hit + total.lcl_hitm), ("Load hits on peer cache or nodes", 0),
        ("Locked Access on shared lines", total.locked), ("Blocked Access on shared lines", 0),
        ("Store HITs on shared lines", total.stores), ("Store L1D hits on shared lines", total.upgrades),
        ("Store No available memory level", 0), ("Total Merged records", total.hitm + total.stores),
    )  # fmt: skip


def kind_of(moves: Moves) -> str:
    return "false sharing" if moves.false_sharing > moves.true_sharing else "true sharing"


def summary(found: Sequence[Line], names: Names) -> Iterator[str]:
    """Yield, before all that perf prints, the answer: which fields of which objects share a line, used where."""
    yield "Cache lines that move between processors, those that moved most first"
    for index, line in enumerate(found[:SUMMARY_LINES]):
        moves = line.moves
        yield (
            f"{index:3d}  {line.address:#x}  {kind_of(moves)}: {moves.false_sharing:,} false, "
            f"{moves.true_sharing:,} true, {moves.upgrades:,} upgrades, {moves.cycles:,} cycles"
        )
        for owner, name, site, misses in pair(line, names)[:PAIR]:
            yield f"       {misses:>9,}x  {f'{owner} .{name}'.strip()[:NAME_SHOWN]}  {site}"
    if not found:
        yield "  none"
    yield ""


def title_of(title: str) -> Iterator[str]:
    yield RULE
    yield title
    yield RULE


def _numbers(*rows: tuple[str, int]) -> Iterator[str]:
    for title, value in rows:
        yield f"  {title:<34}: {value:>10d}"


def events(moves: Moves) -> Iterator[str]:
    far = moves.lcl_dram + moves.rmt_dram + moves.rmt_hit + moves.rmt_hitm
    yield from title_of("            Trace Event Information              ")
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


def line_cells(index: int, line: Line, total: Moves) -> list[str]:
    moves = line.moves
    return [
        str(index), f"{line.address:#x}", str(line.node), "1", f"{ratio(moves.hitm, total.hitm):.2f}%",
        str(moves.hitm), str(moves.lcl_hitm), str(moves.rmt_hitm), str(moves.records), str(moves.loads),
        str(moves.stores), str(moves.upgrades), str(moves.stores - moves.upgrades), "0", "0", "0", "0",
        str(moves.lcl_hit), str(moves.lcl_hitm), str(moves.rmt_hit), str(moves.rmt_hitm),
        str(moves.lcl_dram), str(moves.rmt_dram),
    ]  # fmt: skip


def _pareto(found: Sequence[Line], names: Names) -> Iterator[str]:
    blocks = [[place_cells(line, key, place, names) for key, place in places(line)] for line in found]
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


def place_cells(line: Line, key: tuple[int, int], place: Place, names: Names) -> list[str]:
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
