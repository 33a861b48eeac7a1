"""A core under test: references with time between them, every invariant checked after each."""

from typing import Any

from k42fs.machine.config import MachineConfig, preset
from k42fs.machine.core import Counters
from k42fs.machine.layout import Kind
from k42fs.machine.memory import Memory
from k42fs.machine.protocol import STATE_NAMES
from k42fs.machine.pure_core import PureCore


class CoreLab:
    """A debugging core with memory on every node, and a clock that leaves each transaction time to end."""

    def __init__(self, config: MachineConfig) -> None:
        self.config = config
        self.memory = Memory(config)
        self.core = PureCore(config, self.memory, debug=True, check_every=1)
        self.now = 0

    def line(self, vp: int = 0) -> int:
        """Return the address of a fresh line, homed at the node of *vp*."""
        return self.memory.alloc(vp, 8, Kind.GLOBAL_PADDED)

    def cost(self, cpu: int, code: int, addr: int) -> int:
        """Do a reference long after all others; return what it took."""
        self.now += 100_000
        return self.at(cpu, code, addr, self.now) - self.now

    def at(self, cpu: int, code: int, addr: int, now: int) -> int:
        """Do a reference at *now*; return when it ended."""
        return self.core.access(cpu, code, addr, 8, now)

    def states(self, addr: int) -> dict[int, str]:
        """Return the states of all copies by processor, as one letter each."""
        copies = self.core.copies(addr // self.config.line_bytes)
        return {cpu: STATE_NAMES[state] for cpu, state in copies.items()}

    def counters(self, cpu: int) -> Counters:
        return self.core.counters(cpu)


def directory(**fields: Any) -> CoreLab:  # noqa: ANN401
    """Make the invented directory machine, with 16 processors on two nodes unless *fields* say otherwise."""
    return CoreLab(preset("dir-1024", **{"processors": 16, **fields}))


def bus(**fields: Any) -> CoreLab:  # noqa: ANN401
    """Make the bus machine: memory 300, cache 360, upgrade 150, address bus 8, data bus 32, line of 128."""
    return CoreLab(preset("s85-24", **fields))


ONE_LINE: dict[str, Any] = {"l1_ways": 1, "l2_ways": 1}
"""With l1_bytes and l2_bytes of one line: private caches that every other line evicts."""
