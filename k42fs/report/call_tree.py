"""`calls --tree`: one request from the kernel's question to the answer: its calls, locks, misses, cycles.

What a processor does between a request's OpEnter and OpExit belongs to it, unless another thread or request came
between (CurThread, or an OpEnter of its own). A call's place in the tree is inside the innermost call that is
open there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

from k42fs.report.calls import METHOD_SHIFT, STATUS
from k42fs.report.filters import Source
from k42fs.report.names import LockName
from k42fs.report.reader import TraceError
from k42fs.report.requests import Request, requests
from k42fs.report.tables import Column, Report, Table, count, wrapped

WANTED: Final = (
    "clust_obj_call",
    "clust_obj_return",
    "clust_obj_miss",
    "lock_acquire",
    "cache_miss",
    "fuse_op_enter",
    "fuse_op_exit",
    "scheduler_cur_thread",
)


@dataclass(slots=True)
class Node:
    """A call, a lock that was taken, or (at the top) the request. Ticks; `misses` without those of the calls in
    it."""

    what: str
    vp: int
    began: int
    ended: int | None = None
    detail: str = ""
    misses: int = 0
    miss_cycles: int = 0
    inside: list[Node] = field(default_factory=list)
    serial: int = -1

    @property
    def cycles(self) -> int:
        return (self.ended if self.ended is not None else self.began) - self.began

    @property
    def self_cycles(self) -> int:
        return self.cycles - sum(each.cycles for each in self.inside)


def choose(source: Source, unique: int | None) -> Request:
    """Return the request numbered *unique*, or the slowest. Raises TraceError if there is none."""
    whole = [each for each in requests(source) if each.is_whole]
    if not whole:
        raise TraceError(
            f"{source.trace.path}: no whole request is in the recording: was the class Fuse recorded?"
        )
    if unique is None:
        return max(whole, key=lambda each: each.cycles)
    found = [each for each in whole if each.unique == unique]
    if not found:
        numbers = [each.unique for each in whole]
        raise TraceError(
            f"{source.trace.path}: no whole request {unique} is in the recording: it has {len(numbers):,} of "
            f"{min(numbers)} to {max(numbers)}; `k42fs trace requests` names the slowest"
        )
    return found[0]


def tree(source: Source, request: Request) -> Node:
    """Return what happened in *request*."""
    top = Node(request.label, request.vp, request.began, request.ended, request.outcome)
    ids = {source.id(each): each for each in WANTED}
    stack: list[Node] = [top]
    serving: list[int] = []
    thread = ours = 0
    # From the recording's start, for the last switch of threads before the request says whose it is.
    for records in source.trace.records(source.trace.streams[request.vp], ids, 0, request.ended):
        for time, vp, number, words in records:
            what = ids[number]
            if what == "scheduler_cur_thread":
                thread = words[0]
            elif not request.began <= time <= request.ended:
                continue
            elif what == "fuse_op_enter":
                serving.append(words[0])
                if words[0] == request.unique:
                    ours = thread
            elif what == "fuse_op_exit":
                if words[0] in serving:
                    serving.remove(words[0])
            elif serving and serving[-1] == request.unique and thread == ours:
                _happened(source, stack, what, time, vp, words)
    for node in stack[1:]:
        node.ended = request.ended
    return top


def _happened(source: Source, stack: list[Node], what: str, time: int, vp: int, words: list[int]) -> None:
    """Put one event of the request in its tree. *stack* holds the open calls, the request first."""
    names, here = source.names, stack[-1]
    if what == "clust_obj_call":
        kind, method = names.method(words[1] >> METHOD_SHIFT)
        owner = names.objects.latest(words[0], time)
        node = Node(f"{kind}.{method}", vp, time, detail=(owner.name if owner else f"{words[0]:#x}"))
        node.serial = words[2]
        here.inside.append(node)
        stack.append(node)
    elif what == "clust_obj_return":
        depth = next((index for index, node in enumerate(stack) if node.serial == words[2]), 0)
        if depth:
            for node in stack[depth:]:
                node.ended = time
            if status := words[1] & STATUS:
                stack[depth].detail += f" errno {status}"
            del stack[depth:]
    elif what == "lock_acquire":
        lock, _, site, waited, _, holder = words
        held = f", held at {names.site(holder)}" if waited else ""
        detail = f"waited {waited:,}{held}; taken at {names.site(site)}"
        here.inside.append(
            Node(f"lock {_lock(names.locks.at(lock, time), lock)}", vp, time - waited, time, detail)
        )
    elif what == "cache_miss":
        here.misses += 1
        here.miss_cycles += words[5]
    else:
        here.detail += " (translation miss)"


def _lock(name: LockName | None, lock: int) -> str:
    return f".{name.name}" if name else f"{lock:#x}"


def tree_report(source: Source, unique: int | None) -> Report:
    """Return the tree of request *unique*, or of the slowest one."""
    request = choose(source, unique)
    top = tree(source, request)
    rows: list[tuple[Any, ...]] = []

    def flatten(node: Node, depth: int) -> None:
        rows.append(
            (depth, node.what, node.detail, node.vp, node.began - request.began, node.cycles, node.self_cycles,
             node.misses, node.miss_cycles)
        )  # fmt: skip
        for each in node.inside:
            flatten(each, depth + 1)

    flatten(top, 0)
    which = "the slowest: " if unique is None else ""
    at = source.trace.seconds(request.began - source.trace.begin)
    head = (
        f"{which}request {request.unique} of process {request.pid}, at {at:.9f} s on processor {request.vp}"
    )
    columns: tuple[Column, ...] = COLUMNS
    if not source.has_model:
        ns = source.trace.nanoseconds
        columns = tuple(replace(each, key=each.key.replace("cycles", "ns")) for each in COLUMNS)
        timed = [each.key.endswith("_ns") or each.key == "ns" for each in columns]
        rows = [
            tuple(ns(each) if is_time else each for each, is_time in zip(row, timed, strict=True))
            for row in rows
        ]
        _in_ns(top, ns)
    unit = "cycles" if source.has_model else "ns"
    text = "\n".join((head, *_lines(top, top.began, unit))) + "\n"
    return Report(
        [Table("tree", columns, rows)], text, narrow=lambda width: _narrow(head, top, unit, text, width)
    )


def _in_ns(node: Node, ns: Callable[[int], int]) -> None:
    """Turn the ticks of the host's clock in *node* and all in it into nanoseconds."""
    node.began = ns(node.began)
    node.ended = None if node.ended is None else ns(node.ended)
    for each in node.inside:
        _in_ns(each, ns)


COLUMNS: Final = (
    Column("depth", "depth"),
    Column("what", "what", left=True),
    Column("detail", "detail", left=True),
    Column("vp", "vp"),
    Column("at_cycles", "at", count),
    Column("cycles", "cycles", count),
    Column("self_cycles", "self", count),
    Column("misses", "misses", count),
    Column("miss_cycles", "miss cycles", count),
)


def _lines(top: Node, began: int, unit: str) -> Iterator[str]:
    yield f"{'at':>12} {unit:>12} {'self':>12} {'misses':>7} {'in them':>9}  vp"
    yield from _node(top, began, "", "")


def _narrow(head: str, top: Node, unit: str, text: str, width: int) -> str:
    """Return *text* in lines of *width*: fewer columns, details below what they are of."""
    if max(map(len, text.splitlines())) <= width:
        return text
    digits = len(f"{top.cycles:,}")
    size = max(digits, len(unit))

    def lines(node: Node, before: str, under: str) -> Iterator[str]:
        numbers = f"{node.began - top.began:{size},d} {node.cycles:{size},d} {node.misses:6,d}  "
        yield f"{numbers}{before}{node.what}"
        rest = " " * len(numbers) + under + ("│    " if node.inside else "     ")
        yield from wrapped(node.detail, width, rest, rest)
        for each in node.inside:
            last = each is node.inside[-1]
            yield from lines(each, under + ("└─ " if last else "├─ "), under + ("   " if last else "│  "))

    title = f"{'at':>{size}} {unit:>{size}} misses"
    return "\n".join([*wrapped(head, width, "", "  "), title, *lines(top, "", "")]) + "\n"


def _node(node: Node, began: int, before: str, under: str) -> Iterator[str]:
    """Yield the line of *node* after the branches *before*, then what is inside it after *under*."""
    yield (
        f"{node.began - began:12,d} {node.cycles:12,d} {node.self_cycles:12,d} {node.misses:7,d} "
        f"{node.miss_cycles:9,d} {node.vp:3d}  {before}{node.what}  {node.detail}"
    ).rstrip()
    for each in node.inside:
        last = each is node.inside[-1]
        yield from _node(each, began, under + ("└─ " if last else "├─ "), under + ("   " if last else "│  "))
