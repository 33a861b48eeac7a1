"""What the benchmark of the coherence cores measures: one function per row, which prepares itself and then
returns how often the row's unit is done per second, in as many calls as are asked for."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from bench.machine_traces import mixed, single
from k42fs.ids import VP
from k42fs.machine import Machine, Thread
from k42fs.machine.config import MachineConfig, preset
from k42fs.machine.core import NEVER, CoherenceCore, TraceArrays, TraceItem
from k42fs.machine.cores import make_core
from k42fs.machine.layout import READ, Kind, Layout
from k42fs.machine.memory import Memory

SIXTEEN: Final = preset("dir-1024", processors=16, l1_ways=4, l2_bytes=1 << 19, l2_ways=8)
WHOLE: Final = preset("dir-1024", processors=1024)
BOX: Final = Layout("Box", Kind.GLOBAL_PADDED, lock=16, count=8, pad=40, data=64)
VISIT: Final = BOX.script("visit", "r:lock w:count r:data w:data r:count r:lock w:lock r:data", work=20)
CALLS: Final = 50_000
EVENTS: Final = 40_000


@dataclass(frozen=True, slots=True)
class Row:
    """*make* prepares for a core of the environment's choice and yields a rate whenever it is asked."""

    name: str
    unit: str
    make: Callable[[], Iterator[float]]
    aim: float  # of the compiled core, on a quiet machine


def core_for(config: MachineConfig) -> CoherenceCore:
    return make_core(config, Memory(config))


def _batch(config: MachineConfig, trace: TraceArrays) -> Iterator[float]:
    core, clocks = core_for(config), [0] * config.processors
    core.run(trace, clocks)  # the caches are cold before
    while True:
        start = time.process_time()
        core.run(trace, clocks)
        yield len(trace.cpus) / (time.process_time() - start)


def _items(config: MachineConfig) -> Iterator[float]:
    core, clocks = core_for(config), [0] * config.processors
    items = list(map(TraceItem, *mixed(config, CALLS)))
    core.run(items, clocks)
    while True:
        start = time.process_time()
        core.run(items, clocks)
        yield len(items) / (time.process_time() - start)


def _touches() -> Iterator[float]:
    access, now = core_for(SIXTEEN).access, 0
    while True:
        start = time.process_time()
        for _ in range(CALLS):
            now = access(3, READ, 4096, 8, now)
        yield CALLS / (time.process_time() - start)


def _scripts() -> Iterator[float]:
    script, refs, now = core_for(SIXTEEN).script, VISIT.for_line(64), 0
    while True:
        start = time.process_time()
        for _ in range(CALLS):
            now, _stopped = script(3, refs, 1 << 20, 0, now, NEVER, 0)
        yield CALLS / (time.process_time() - start)


def _events(processors: int) -> Iterator[float]:
    each = EVENTS // processors

    async def body(th: Thread, own: int) -> None:
        for _ in range(each):
            await th.rmw(own)  # others could notice it, so each waits for its turn

    while True:
        machine = Machine(replace(WHOLE, processors=processors))
        for vp in range(processors):
            machine.spawn(VP(vp), body, machine.memory.alloc(vp, 64, Kind.GLOBAL_PADDED))
        start = time.process_time()
        machine.run()
        yield each * processors / (time.process_time() - start)


ROWS: Final = (
    Row("mixed trace, 16 processors", "references/s", lambda: _batch(SIXTEEN, mixed(SIXTEEN, 400_000)), 25e6),
    Row("mixed trace, 1024 processors", "references/s", lambda: _batch(WHOLE, mixed(WHOLE, 400_000)), 12e6),
    Row("mixed trace as objects, 16 processors", "references/s", lambda: _items(SIXTEEN), 0),
    Row("one call per reference that hits", "calls/s", _touches, 5e6),
    Row("one call per script of 8 hits", "calls/s", _scripts, 4e6),
    Row("driven events, 16 processors", "events/s", lambda: _events(16), 0.8e6),
    Row("driven events, 1024 processors", "events/s", lambda: _events(1024), 0.5e6),
    Row("trace of one processor", "references/s", lambda: _batch(SIXTEEN, single(400_000)), 0),
)


def other_simulator() -> Iterator[float]:
    """Run the trace of one processor through pycachesim's two levels: ImportError where that is not installed."""
    from cachesim import Cache, CacheSimulator, MainMemory  # type: ignore[import-not-found,import-untyped,unused-ignore]

    memory = MainMemory()
    l2 = Cache("L2", 1024, 8, 64, "LRU")
    l1 = Cache("L1", 128, 4, 64, "LRU", store_to=l2, load_from=l2)
    memory.load_to(l2)
    memory.store_from(l2)
    simulator = CacheSimulator(l1, memory)
    trace = single(400_000)
    loads = [addr for addr, code in zip(trace.addrs, trace.codes, strict=True) if code == READ]
    stores = [addr for addr, code in zip(trace.addrs, trace.codes, strict=True) if code != READ]
    while True:  # it has no trace of both: its best is all loads in one call, then all stores
        start = time.process_time()
        simulator.load(loads, length=8)
        simulator.store(stores, length=8)
        yield len(trace.cpus) / (time.process_time() - start)
