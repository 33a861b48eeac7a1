"""E22: nothing is lost, doubled or stale, whatever 64 processors do to 512 lines.

Random references, so that every transition of the protocol meets every other: small caches make lines leave
all the time, and half of the references go to a few lines that all want. Three protocols on two
interconnects; besides, the options that change who believes what: silent evictions, short sharer sets, an L3,
links that queue.

Two runs each. In the first, the reference core checks the line concerned after every transaction, the
versions of its data included. In the second, longer one, whichever core machines get is checked as a whole
every so many references: one writer or many readers, an exact directory, inclusion, accounts, reservations
that do not overlap.

A single processor, last, must see no coherence miss at all. (Upgrades count as such but for MSI, where a line
that was read is SHARED even if nobody else has it.)
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from k42fs.machine.config import MachineConfig, preset
from k42fs.machine.core import MISS_KINDS, CoherenceCore, TraceArrays
from k42fs.machine.cores import COMPILED, core_name, make_core
from k42fs.machine.layout import READ, RMW, WORD_BYTES, WRITE
from k42fs.machine.memory import NODE_SHIFT, REGION_SHIFT, Memory
from k42fs.machine.pure_core import PureCore
from k42fs.machine.validation.checks import SAME, Check, Findings, Plot, Series
from k42fs.machine.validation.experiment import Effort, Experiment

PROCESSORS, LINES, HOT_LINES = 64, 512, 32
CHUNK: Final = 5_000  # references between two checks of everything
CODES: Final = (READ,) * 5 + (WRITE,) * 2 + (RMW,)
BASIC: Final[Mapping[str, Mapping[str, Any]]] = {
    f"{protocol}, {interconnect}": {"protocol": protocol, "interconnect": interconnect}
    for interconnect in ("directory", "bus")
    for protocol in ("msi", "mesi", "moesi")
}
COMPILED_FACTOR: Final = 25
"""How many times more references the compiled core does, in about the same time."""

OPTIONS: Final[Mapping[str, Mapping[str, Any]]] = {
    "mesi, directory, silent evictions": {"notify_evictions": False},
    "moesi, directory, 2 pointers, silent": {
        "protocol": "moesi",
        "sharer_format": "limited",
        "sharer_bits": 12,
        "notify_evictions": False,
    },
    "mesi, directory, coarse sets, links": {"sharer_format": "coarse", "sharer_bits": 16, "network": "links"},
    "mesi, directory, L3 of 8 processors": {"l3_bytes": 1 << 14, "l3_ways": 4},
    "mesi, bus, clean intervention": {"interconnect": "bus", "clean_intervention": True},
}


class Storm(NamedTuple):
    """What a run of random references came to."""

    done: int
    violation: str  # "" if there was none
    counts: Mapping[str, int]  # misses by kind


def configure(processors: int, options: Mapping[str, Any]) -> MachineConfig:
    """Return a machine whose caches hold a quarter of the lines."""
    return preset(
        "dir-1024", processors=processors, l1_bytes=1024, l1_ways=2, l2_bytes=8192, l2_ways=4, **options
    )


def line_addresses(config: MachineConfig) -> list[int]:
    """Return the addresses of the lines, dealt out to the nodes."""
    nodes, size = config.nodes, config.line_bytes
    return [n % nodes << NODE_SHIFT | 1 << REGION_SHIFT | n // nodes * size for n in range(LINES)]


def chunks(config: MachineConfig, references: int, seed: int) -> Iterator[TraceArrays]:
    """Yield *references* random references, at most CHUNK at once: the same for the same seed, everywhere.

    Every second one is to a hot line, which others want at the same time; the rest is to any.
    """
    rng = random.Random(seed)
    words = range(0, config.line_bytes, WORD_BYTES)
    every = [addr + word for addr in line_addresses(config) for word in words]
    hot = every[: HOT_LINES * len(words)]
    half = 1 << 15  # of what two random bytes can be
    addrs = [hot[n % len(hot)] for n in range(half)] + [every[n % len(every)] for n in range(half)]
    vps = [byte % config.processors for byte in range(256)]
    codes = [CODES[byte % len(CODES)] for byte in range(256)]
    while references:
        n = min(CHUNK, references)
        references -= n
        yield TraceArrays(
            array("H", map(vps.__getitem__, rng.randbytes(n))),
            array("B", map(codes.__getitem__, rng.randbytes(n))),
            array("q", map(addrs.__getitem__, array("H", rng.randbytes(2 * n)))),
            array("H", (WORD_BYTES,)) * n,
        )


def storm(core: CoherenceCore, config: MachineConfig, references: int, seed: int = 0) -> Storm:
    """Do random references on *core*, checking all of it between chunks, until the end or a violation."""
    clocks = [0] * config.processors
    done, violation = 0, ""
    try:
        for chunk in chunks(config, references, seed):
            core.run(chunk, clocks)
            core.check()
            done += len(chunk.cpus)
    except AssertionError as exc:
        violation = str(exc) or "an assertion without a text"
    counts = dict.fromkeys(MISS_KINDS, 0)
    for cpu in range(config.processors):
        for kind, count in core.counters(cpu).misses.items():
            counts[kind] += count
    return Storm(done, violation, counts)


def conservation(effort: Effort) -> Findings:
    """Run E22."""
    watched = effort.pick(quick=1_000, normal=10_000, soak=100_000)
    faster = COMPILED_FACTOR if core_name() == COMPILED else 1
    basic = effort.pick(quick=30_000 * faster, normal=240_000 * faster, soak=100_000_000) // len(BASIC)
    further = min(basic, effort.pick(quick=CHUNK, normal=4 * CHUNK))
    checks, notes, storms = [], [], []
    for title, options in {**BASIC, **OPTIONS}.items():
        config = configure(PROCESSORS, options)
        memory = Memory(config)
        debugged = storm(PureCore(config, memory, debug=True), config, watched)
        plain = storm(make_core(config, memory), config, basic if title in BASIC else further, seed=1)
        violations = [run.violation for run in (debugged, plain) if run.violation]
        checks.append(Check(f"violations, {title}", 0, len(violations), SAME))
        notes += [f"{title}: {violation}" for violation in violations]
        met = sum(count > 0 for count in plain.counts.values())
        checks.append(Check(f"kinds of misses met, {title}", len(MISS_KINDS), met, SAME))
        storms += [debugged, plain]
    for title, options in BASIC.items():
        alone = configure(1, options)
        counts = storm(make_core(alone, Memory(alone)), alone, 2 * CHUNK).counts
        coherence = counts["true_sharing"] + counts["false_sharing"]
        if options["protocol"] != "msi":  # which has to ask before the first store, for want of E
            coherence += counts["upgrade"]
        checks.append(Check(f"coherence misses of a single processor, {title}", 0, coherence, SAME))
    done = sum(run.done for run in storms)
    debugged_in_all = watched * len(storms) // 2
    notes.append(
        f"{done:,} references: {debugged_in_all:,} in debug mode, the others on the {core_name()} core."
    )
    series = tuple(Series(kind, _shares(storms[1::2], kind)) for kind in MISS_KINDS)
    title, names = "E22: misses met without a violation", (*BASIC, *OPTIONS)
    plot = Plot(title=title, x="machine, in this order", y="% of misses", series=series, x_names=names)
    return Findings(tuple(checks), (plot,), tuple(notes))


def _shares(storms: Sequence[Storm], kind: str) -> tuple[tuple[float, float], ...]:
    """Return the percentage of misses of that kind in each storm."""
    totals = (max(1, sum(run.counts.values())) for run in storms)
    shares = (100 * run.counts[kind] / total for run, total in zip(storms, totals, strict=True))
    return tuple((float(n), share) for n, share in enumerate(shares, start=1))


EXPERIMENTS: Final = (Experiment("E22", "conservation under random references", conservation, 40),)
