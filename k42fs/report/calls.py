"""`calls`: object calls, from Call and Return: how many, how long, how many failed, by method and by class.

A call is open from its Call to the Return with its number. What it took is the time between, on the clock of its
processor: callees and waiting included ("seconds"), or, as `self`, without the calls that it made itself. A call
whose Call or Return is not in the recording counts, but has no duration.

The summary has strace's columns: what it says of system calls, this says of methods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from k42fs.report.filters import Source
from k42fs.report.histogram import Histogram, histogram_lines
from k42fs.report.tables import Column, Report, Table, count, ratio

MICROSECOND: Final = 1000
VP_SHIFT, METHOD_SHIFT, SHORT, STATUS = 32, 48, 0xFFFF, 0xFFFF_FFFF


@dataclass(slots=True)
class Open:
    """A call on its way. `inner` is the time that the calls it made took."""

    ref: int
    method: int
    began: int
    inner: int = 0


@dataclass(slots=True)
class Method:
    """One method of one class. Ticks."""

    calls: int = 0
    errors: int = 0
    timed: int = 0
    total: int = 0
    alone: int = 0
    misses: int = 0
    objects: set[int] = field(default_factory=set)
    times: Histogram = field(default_factory=Histogram)


def methods(source: Source) -> dict[tuple[str, str], Method]:
    """Return what is known of each (class, method)."""
    call, back, miss = map(source.id, ("clust_obj_call", "clust_obj_return", "clust_obj_miss"))
    found: dict[int, Method] = {}
    on: dict[int, list[int]] = {}
    running: dict[int, Open] = {}
    has_model, ns = source.has_model, source.trace.nanoseconds
    for records in source.records((call, back, miss)):
        for time, vp, number, words in records:
            if number == call:
                ref, packed, serial = words
                method = found.get(packed >> METHOD_SHIFT)
                if method is None:
                    method = found[packed >> METHOD_SHIFT] = Method()
                method.calls += 1
                method.objects.add(ref)
                running[serial] = Open(ref, packed >> METHOD_SHIFT, time)
                on.setdefault(vp, []).append(serial)
            elif number == back:
                ref, packed, serial = words
                method = found.setdefault(packed >> METHOD_SHIFT, Method())
                done = running.pop(serial, None)
                if packed & STATUS:
                    method.errors += 1
                if done is None:
                    method.calls += 1  # it was called before the recording began
                    method.objects.add(ref)
                    continue
                took = time - done.began
                method.timed += 1
                method.total += took
                method.alone += max(0, took - done.inner)
                method.times.add(took if has_model else ns(took))
                stack = on.get(vp, [])
                if serial in stack:
                    stack.remove(serial)
                if stack and (caller := running.get(stack[-1])):
                    caller.inner += took
            else:
                found.setdefault(words[2] & SHORT, Method()).misses += 1
    named: dict[tuple[str, str], Method] = {}
    for key, method in found.items():
        named[source.names.method(key)] = method
    return named


def calls_report(source: Source, by_class: bool = False) -> Report:
    """Return calls by method, or by class: the most time first."""
    found = methods(source)
    table = _table("methods", found, source)
    classes: dict[tuple[str, str], Method] = {}
    for (kind, _), method in found.items():
        _join(classes.setdefault((kind, ""), Method()), method)
    of_classes = _table("classes", classes, source)
    return Report([of_classes, table] if by_class else [table, of_classes])


def _join(into: Method, method: Method) -> None:
    into.calls += method.calls
    into.errors += method.errors
    into.timed += method.timed
    into.total += method.total
    into.alone += method.alone
    into.misses += method.misses
    into.objects |= method.objects
    into.times.join(method.times)


def _table(name: str, found: dict[tuple[str, str], Method], source: Source) -> Table:
    whole = sum(method.alone for method in found.values())
    ns = source.trace.nanoseconds
    rows: list[tuple[Any, ...]] = [
        (
            kind, method_name, round(ratio(method.alone, whole), 2), ns(method.alone), ns(method.total),
            ns(method.total) // method.timed if method.timed else None, method.calls, method.errors,
            len(method.objects), method.misses,
        )
        for (kind, method_name), method in found.items()
    ]  # fmt: skip
    rows.sort(key=lambda row: (-row[3], -row[6], row[:2]))
    columns = COLUMNS if name == "methods" else [each for each in COLUMNS if each.key != "method"]
    if name == "classes":
        rows = [(row[0], *row[2:]) for row in rows]
    return Table(name, columns, rows, f"Calls by {'method' if name == 'methods' else 'class'}")


def _us(value: object) -> str:
    return "" if not isinstance(value, int) else f"{value / MICROSECOND:,.2f}"


COLUMNS: Final = (
    Column("class", "class", left=True),
    Column("method", "method", left=True),
    Column("self_percent", "% self", lambda value: f"{value:.2f}"),
    Column("self_ns", "self us", _us),
    Column("total_ns", "total us", _us, spare=True),
    Column("average_ns", "us/call", _us),
    Column("calls", "calls", count),
    Column("errors", "errors", count),
    Column("objects", "objects", count, spare=True),
    Column("translation_misses", "misses", count, spare=True),
)


def summary_report(source: Source) -> Report:
    """Return `-c`: strace's summary, per method, then per class."""
    report = calls_report(source)
    methods_table, classes_table = report.tables
    rows = [(f"{row[0]}.{row[1]}", row[3], row[6], row[7]) for row in methods_table.rows]
    of_classes = [(row[0], row[2], row[5], row[6]) for row in classes_table.rows]
    text = "\n".join((*strace_summary(rows, "method"), "", *strace_summary(of_classes, "class")))
    return Report(report.tables, text + "\n")


def strace_summary(rows: Sequence[tuple[str, int, int, int]], what: str) -> Iterator[str]:
    """Yield a table as `strace -c` prints it. *rows*: name, nanoseconds, calls, errors; the most time first.

    Format: strace 6.1's own output, column for column; *what* stands where it says "syscall".
    """
    rule = "------ ----------- ----------- --------- --------- ----------------"
    whole = sum(row[1] for row in rows)
    yield f"% time     seconds  usecs/call     calls    errors {what}"
    yield rule
    for name, nanoseconds, calls, errors in rows:
        yield _strace_row(ratio(nanoseconds, whole), nanoseconds, calls, errors, name)
    yield rule
    calls, errors = sum(row[2] for row in rows), sum(row[3] for row in rows)
    yield _strace_row(100.0 if rows else 0.0, whole, calls, errors, "total")


def _strace_row(share: float, nanoseconds: int, calls: int, errors: int, name: str) -> str:
    microseconds = nanoseconds // MICROSECOND
    each = microseconds // calls if calls else 0
    return f"{share:6.2f} {nanoseconds / 1e9:11.6f} {each:11d} {calls:9d} {errors or '':>9} {name}"


def histogram_report(source: Source) -> Report:
    """Return `--hist`: for each method, how long its calls took, in powers of two: cycles, or the host's ns."""
    found = sorted(methods(source).items(), key=lambda item: -item[1].alone)
    ns: Callable[[int], int] = source.trace.nanoseconds if source.has_model else int
    unit = "cycles" if source.has_model else "ns"
    rows: list[tuple[Any, ...]] = []
    lines: list[str] = []
    for (kind, name), method in found:
        lines += [f"{kind}.{name}: {method.timed:,} calls", *histogram_lines(method.times, unit), ""]
        rows += [(kind, name, low, high, ns(low), times) for low, high, times in method.times.bars()]
    columns = (
        Column("class", "class", left=True), Column("method", "method", left=True), Column("from_cycles", "from"),
        Column("to_cycles", "to"), Column("from_ns", "from ns"), Column("calls", "calls", count),
    )  # fmt: skip
    return Report([Table("histogram", columns, rows)], "\n".join(lines) + "\n" if lines else "no calls\n")
