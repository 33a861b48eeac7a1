"""Reference traces for the benchmark of the coherence cores, made from a seed."""

from array import array
from random import Random
from typing import Final

from k42fs.machine.config import MachineConfig
from k42fs.machine.core import TraceArrays
from k42fs.machine.layout import READ, WRITE
from k42fs.machine.memory import NODE_SHIFT

LINE: Final = 64
READ_MOSTLY, SHARED_DATA, PRIVATE = 1 << 40, 2 << 40, 3 << 40
"""Where the three sorts of data begin on their nodes."""


def mixed(config: MachineConfig, length: int, seed: int = 1) -> TraceArrays:
    """Return a trace of 80 % private, 17 % read-mostly and 3 % read-write shared references, 26 % of them
    stores: on 16 processors with 32 KiB and 512 KiB of caches about 68 % hit L1, 21 % L2, and 11 % miss."""
    random = Random(seed)
    uniform, below = random.random, random.randrange
    trace = TraceArrays(array("H"), array("B"), array("q"), array("H"))
    processors, nodes = config.processors, config.nodes
    for _ in range(length):
        cpu, sort, is_store = below(processors), uniform(), False
        if sort < 0.80:
            is_store = uniform() < 0.31
            near = uniform()
            line = below(192) if near < 0.80 else below(5000) if near < 0.95 else below(30_000)
            addr = config.node(cpu) << NODE_SHIFT | PRIVATE + (cpu << 28) + line * LINE
        elif sort < 0.97:
            line = below(96) if uniform() < 0.75 else below(1500)
            is_store = uniform() < 0.002
            addr = line % nodes << NODE_SHIFT | READ_MOSTLY + line * LINE
        else:
            line = below(256)
            is_store = uniform() < 0.3
            addr = line % nodes << NODE_SHIFT | SHARED_DATA + line * LINE
        trace.cpus.append(cpu)
        trace.codes.append(WRITE if is_store else READ)
        trace.addrs.append(addr + 8 * below(8))
        trace.sizes.append(8)
    return trace


def single(length: int, seed: int = 1) -> TraceArrays:
    """Return a trace of one processor: what `mixed` calls private, which a simulator without coherence can
    run as well."""
    random = Random(seed)
    uniform, below = random.random, random.randrange
    trace = TraceArrays(array("H"), array("B"), array("q"), array("H"))
    for _ in range(length):
        near = uniform()
        line = below(192) if near < 0.80 else below(5000) if near < 0.95 else below(30_000)
        trace.cpus.append(0)
        trace.codes.append(WRITE if uniform() < 0.31 else READ)
        trace.addrs.append(PRIVATE + line * LINE + 8 * below(8))
        trace.sizes.append(8)
    return trace
