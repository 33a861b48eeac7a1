"""Pictures of a modelled machine's topology, in text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from k42fs.machine.config import MachineConfig

SHOWN: Final = 4
NODES_SHOWN: Final = 3
"""Of what there are more of than this, the first ones and the last are drawn."""


def picture(config: MachineConfig) -> str:
    """Return the machine as a drawing, with what its distances mean."""
    draw = {"bus": _flat, "hypercube": _hypercube, "flat": _flat, "groups": _groups}[config.topology]
    if config.interconnect == "bus":
        draw = _bus
    elif config.nodes == 1:
        draw = _single
    return "\n".join(line.rstrip() for line in draw(config))


def size(nbytes: int) -> str:
    """Return a number of bytes as people write it."""
    for unit, power in (("M", 20), ("K", 10)):
        if nbytes >= 1 << power and nbytes % (1 << power) == 0:
            return f"{nbytes >> power}{unit}"
    return f"{nbytes / (1 << 20):.4g}M" if nbytes >= 1 << 20 else str(nbytes)


def _bus(config: MachineConfig) -> Iterator[str]:
    cells = [_column(config, cpu) for cpu in _some(config.processors)]
    yield from _side_by_side(cells)
    width = len(_joined([cell[0] for cell in cells]))
    yield "=" * width + f"  bus: address {config.bus_address_cycles}, data {config.bus_data_cycles} cycles"
    yield "|".center(width)
    if config.distance_max == 0:
        yield "[ memory ]".center(width)
        return
    yield f"[ memory of {config.nodes} nodes ]".center(width)
    yield f"all snoop the one bus; a node has {config.processors_per_node} processors,"
    yield f"and memory of another one is farther ({config.topology}): distances up to {config.distance_max}"


def _single(config: MachineConfig) -> Iterator[str]:
    yield from _box(_node(config, 0))
    yield "one node: everything is at distance 0"


def _flat(config: MachineConfig) -> Iterator[str]:
    cells = [_box(_node(config, node)) for node in _some(config.nodes, NODES_SHOWN)]
    yield from _side_by_side(cells)
    yield "=" * len(_joined([cell[0] for cell in cells]))
    yield f"any two nodes are at distance {config.distance_max}"


def _hypercube(config: MachineConfig) -> Iterator[str]:
    nodes, dimensions = config.nodes, config.distance_max
    yield from _box(_node(config, 0))
    yield ""
    if dimensions == 1:
        yield "node 0 --- node 1"
    elif dimensions == 2:
        yield from ("0 --- 1", "|     |", "2 --- 3" if nodes > 3 else "2")
    else:
        more = dimensions > 3
        yield from _cube(nodes)
        if more:
            yield ""
            others = ", ".join(f"{1 << bit}" for bit in range(dimensions) if 1 << bit < nodes)
            yield f"{-(-nodes // 8)} such cubes; node 0 is linked to nodes {others}"
    shape = (
        f"a {dimensions}-cube" if nodes == 1 << dimensions else f"the first {nodes} of a {dimensions}-cube"
    )
    yield f"{nodes} nodes, {shape}"
    yield "the distance of two nodes is how many bits of their numbers differ"


def _cube(nodes: int) -> Iterator[str]:
    def name(node: int) -> str:
        return str(node) if node < nodes else "."

    yield f"     {name(6)} --- {name(7)}"
    yield "    /|    /|"
    yield f"   {name(4)} --- {name(5)} |"
    yield "   | |   | |"
    yield f"   | {name(2)} --|-{name(3)}"
    yield "   |/    |/"
    yield f"   {name(0)} --- {name(1)}"


def _groups(config: MachineConfig) -> Iterator[str]:
    yield from _box(_node(config, 0))
    yield ""
    per_group = config.nodes_per_group
    groups = -(-config.nodes // per_group)
    for group in range(groups):
        first = group * per_group
        here = range(first, min(first + per_group, config.nodes))
        digits = len(str(config.nodes - 1))
        cells = [f"[node {here[place]:{digits}}]" if place >= 0 else "..." for place in _some(len(here))]
        yield f"group {group:<3} " + " -- ".join(cells) + (" --+" if groups > 1 else "")
        if group + 1 < groups:
            width = len(f"group {group:<3} " + " -- ".join(cells) + " --")
            yield " " * width + "|"
    yield "distance 0: same node; 1: same group; 2: another group"


def _some(count: int, shown: int = SHOWN) -> list[int]:
    """Return which of *count* things to draw: -1 stands for those left out."""
    if count <= shown:
        return list(range(count))
    return [*range(shown - 1), -1, count - 1]


def _column(config: MachineConfig, cpu: int) -> list[str]:
    if cpu < 0:
        return ["   ", "...", "   ", "   "]
    levels = [f"P{cpu}", f"L1 {size(config.l1_bytes)}", f"L2 {size(config.l2_bytes)}", "|"]
    width = max(map(len, levels))
    return [level.center(width) for level in levels]


def _node(config: MachineConfig, node: int) -> list[str]:
    """Return what a node holds, a line each; of a node left out, dots."""
    if node < 0:
        return ["..."]
    first = node * config.processors_per_node
    last = min(first + config.processors_per_node, config.processors) - 1
    names = f"P{first}" if first == last else f"P{first}..P{last}"
    lines = [f"node {node}: {names}", f"each L1 {size(config.l1_bytes)}, L2 {size(config.l2_bytes)}"]
    if config.l3_bytes:
        lines.append(f"L3 {size(config.l3_bytes)} per {config.processors_per_l3}")
    directory = [] if config.interconnect == "bus" else ["directory"]
    return [*lines, ", ".join(["memory", *directory])]


def _box(lines: list[str]) -> list[str]:
    if lines == ["..."]:
        return ["   ", "...", "   "]
    width = max(map(len, lines))
    edge = "+" + "-" * (width + 2) + "+"
    return [edge, *(f"| {line:{width}} |" for line in lines), edge]


def _side_by_side(cells: list[list[str]]) -> Iterator[str]:
    height = max(map(len, cells))
    for cell in cells:
        cell += [" " * len(cell[0])] * (height - len(cell))
    for row in zip(*cells, strict=True):
        yield _joined(list(row))


def _joined(parts: list[str]) -> str:
    return "  ".join(parts)
