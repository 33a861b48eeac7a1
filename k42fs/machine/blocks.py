"""File data in the machine: whole-page copies, priced by the block instead of by the line.

What the model is about is objects and locks, a few lines each, and those are charged line by line. A page
of file data is 64 lines that nobody but a copy loop touches, in order; charging each on its own would make
the model spend nearly all its time there and say nothing more. So data is tracked in blocks of 4 KiB with
the states of MESI without the caches' capacity: a block stays with who had it last. A copy of n lines costs

    block in this processor's cache     n * l1_cycles
    blocks elsewhere, or in memory      one whole miss, as the directory would price it, for each run of
                                        blocks that one processor or memory has, then n * home_busy_cycles

that is: prefetched after the first line, limited by what a home node can deliver. A store makes this
processor the block's only holder. The cycles count as work.

Differs from K42, whose clients copy to and from pages mapped into them: there is no copy in its servers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from k42fs.machine.layout import READ

if TYPE_CHECKING:
    from k42fs.machine.config import MachineConfig
    from k42fs.machine.memory import Memory

BLOCK_SHIFT: Final = 12
NOBODY: Final = -1


class BlockTraffic:
    """Who holds which block, and what was copied.

    Shape: `_owner[block]` is the only holder after a store; `_sharers[block]` a bit set of readers. A block
    in neither is in memory. `copied` and `moved` are bytes by processor: all of them, and those that came
    from elsewhere.
    """

    def __init__(self, config: MachineConfig, memory: Memory) -> None:
        self._config = config
        self._memory = memory
        self._owner: dict[int, int] = {}
        self._sharers: dict[int, int] = {}
        self.copied = [0] * config.processors
        self.moved = [0] * config.processors

    def copy(self, cpu: int, code: int, addr: int, nbytes: int) -> int:
        """Read or write *nbytes* at *addr* on processor *cpu*; return the cycles it takes."""
        config = self._config
        first, last = addr >> BLOCK_SHIFT, (addr + nbytes - 1) >> BLOCK_SHIFT
        owners, sharers, bit = self._owner, self._sharers, 1 << cpu
        cycles = 0
        far_blocks = 0
        last_owner = cpu
        for block in range(first, last + 1):
            owner = owners.get(block, NOBODY)
            if owner == cpu or (code == READ and sharers.get(block, 0) & bit):
                continue
            far_blocks += 1
            if owner != last_owner:
                last_owner = owner
                cycles += self._first_line(cpu, owner, block)
            if code != READ:
                owners[block] = cpu
                sharers.pop(block, None)
                continue
            if owner != NOBODY:
                del owners[block]
                bit_of_owner = 1 << owner
            else:
                bit_of_owner = 0
            sharers[block] = sharers.get(block, 0) | bit | bit_of_owner
        lines = -(-nbytes // config.line_bytes)
        far_lines = min(lines, far_blocks * ((1 << BLOCK_SHIFT) // config.line_bytes))
        self.copied[cpu] += nbytes
        self.moved[cpu] += min(nbytes, far_lines * config.line_bytes)
        return cycles + far_lines * config.home_busy_cycles + (lines - far_lines) * config.l1_cycles

    def forget(self, addr: int, nbytes: int) -> None:
        """The memory is free: its next user finds it in no cache."""
        for block in range(addr >> BLOCK_SHIFT, ((addr + nbytes - 1) >> BLOCK_SHIFT) + 1):
            self._owner.pop(block, None)
            self._sharers.pop(block, None)

    def reset_counters(self) -> None:
        """Zero what was copied; who holds what stays."""
        self.copied = [0] * len(self.copied)
        self.moved = [0] * len(self.moved)

    def _first_line(self, cpu: int, owner: int, block: int) -> int:
        """Return the latency of the block's first line, as `config.py` states it for an idle machine."""
        config = self._config
        here = config.node(cpu)
        home = self._memory.home((block << BLOCK_SHIFT) // config.line_bytes)
        if owner == NOBODY:
            hops = config.hops(here, home)
            return config.remote_cycles + 2 * config.hop_cycles * hops if hops else config.local_cycles
        there = config.node(owner)
        hops = config.hops(here, home) + config.hops(home, there) + config.hops(there, here)
        return config.dirty_cycles + config.hop_cycles * hops
