"""File data in the machine: whole-page copies, priced by the block instead of by the line.

What the model is about is objects and locks, a few lines each, and those are charged line by line. A page
of file data is 64 lines that nobody but a copy loop touches, in order; charging each on its own would make
the model spend nearly all its time there and say nothing more. So data is tracked in blocks of 4 KiB with
the states of MESI without the caches' capacity: a block stays with who had it last. A copy of n lines costs

    block in this processor's cache     n * l1_cycles
    blocks elsewhere, or in memory      one whole miss, as the directory would price it, for each run of
                                        blocks that one processor or memory has, then n * stream_cycles

that is: prefetched after the first line, limited by what a home node or the bus can deliver. A store makes this
processor the block's only holder. The cycles count as work.

A file is mostly read and written in the same pieces, so blocks that were last copied together are kept as one
run for as long as they agree, and the next copy of just that piece looks at one run instead of at each block.
What is charged is the same as if every block were looked at.

Differs from K42, whose clients copy to and from pages mapped into them: there is no copy in its servers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from k42fs.machine.latencies import Latencies
from k42fs.machine.layout import READ

if TYPE_CHECKING:
    from k42fs.machine.config import MachineConfig
    from k42fs.machine.memory import Memory

BLOCK_SHIFT: Final = 12
NOBODY: Final = -1


class Run:
    """Neighbouring blocks *first* to *last* in one state.

    `owner` is the only holder after a store, else NOBODY and `sharers` a bit set of readers. Blocks in no run
    are in memory.
    """

    __slots__ = ("first", "last", "owner", "sharers")

    def __init__(self, first: int, last: int, owner: int, sharers: int) -> None:
        self.first = first
        self.last = last
        self.owner = owner
        self.sharers = sharers


class BlockTraffic:
    """Who holds which block, and what was copied.

    Shape: `_runs[block]` is the run that the block belongs to; runs do not overlap. `copied` and `moved` are
    bytes by processor: all of them, and those that came from elsewhere.
    """

    def __init__(self, config: MachineConfig, memory: Memory) -> None:
        self._config = config
        self._memory = memory
        self._latencies = Latencies(config)
        self._stream_cycles = config.stream_cycles
        self._runs: dict[int, Run] = {}
        self._line_bytes = config.line_bytes
        self._lines_per_block = (1 << BLOCK_SHIFT) // config.line_bytes
        self.copied = [0] * config.processors
        self.moved = [0] * config.processors

    def copy(self, cpu: int, code: int, addr: int, nbytes: int) -> int:
        """Read or write *nbytes* at *addr* on processor *cpu*; return the cycles it takes."""
        first, last = addr >> BLOCK_SHIFT, (addr + nbytes - 1) >> BLOCK_SHIFT
        lines = -(-nbytes // self._line_bytes)
        self.copied[cpu] += nbytes
        run = self._runs.get(first)
        if (
            run is not None
            and last <= run.last
            and (run.owner == cpu or (code == READ and run.sharers >> cpu & 1))
        ):
            return lines * self._config.l1_cycles
        cycles, far_blocks = self._fetch(cpu, code, first, last)
        far_lines = min(lines, far_blocks * self._lines_per_block)
        self.moved[cpu] += min(nbytes, far_lines * self._line_bytes)
        return cycles + far_lines * self._stream_cycles + (lines - far_lines) * self._config.l1_cycles

    def forget(self, addr: int, nbytes: int) -> None:
        """The memory is free: its next user finds it in no cache."""
        first, last = addr >> BLOCK_SHIFT, (addr + nbytes - 1) >> BLOCK_SHIFT
        runs, at = self._runs, first
        while at <= last:
            run = runs.get(at)
            if run is None:
                at += 1
                continue
            run = self._cut(run, first, last)
            for block in range(run.first, run.last + 1):
                del runs[block]
            at = run.last + 1

    def reset_counters(self) -> None:
        """Zero what was copied; who holds what stays."""
        self.copied = [0] * len(self.copied)
        self.moved = [0] * len(self.moved)

    def _fetch(self, cpu: int, code: int, first: int, last: int) -> tuple[int, int]:
        """Give *cpu* the blocks *first* to *last*; return the cycles of first lines, and how many came from
        elsewhere."""
        bit = 1 << cpu
        cycles = far_blocks = 0
        last_owner = cpu
        now: list[Run] = []
        for piece in self._pieces(first, last):
            run = self._cut(piece, first, last)
            owner = run.owner
            if owner != cpu and not (code == READ and run.sharers & bit):
                far_blocks += run.last - run.first + 1
                if owner != last_owner:
                    last_owner = owner
                    cycles += self._first_line(cpu, owner, run.first)
                if code == READ:
                    run.sharers |= bit if owner == NOBODY else bit | 1 << owner
                    run.owner = NOBODY
                else:
                    run.owner, run.sharers = cpu, 0
            if now and now[-1].owner == run.owner and now[-1].sharers == run.sharers:
                self._enter(now[-1], run.first, run.last)
            else:
                now.append(run)
        return cycles, far_blocks

    def _pieces(self, first: int, last: int) -> list[Run]:
        """Return the runs that reach into *first* to *last*, in order, after entering what is in memory as runs."""
        runs = self._runs
        pieces = []
        at = first
        while at <= last:
            run = runs.get(at)
            if run is None:
                end = at
                while end < last and end + 1 not in runs:
                    end += 1
                run = Run(at, end, NOBODY, 0)
                self._enter(run, at, end)
            pieces.append(run)
            at = run.last + 1
        return pieces

    def _cut(self, run: Run, first: int, last: int) -> Run:
        """Split off what *run* has outside *first* to *last*; return the run of what is inside."""
        if run.last > last:
            self._enter(Run(last + 1, run.last, run.owner, run.sharers), last + 1, run.last)
            run.last = last
        if run.first < first:
            inside = Run(first, run.last, run.owner, run.sharers)
            run.last = first - 1
            self._enter(inside, first, inside.last)
            return inside
        return run

    def _enter(self, run: Run, first: int, last: int) -> None:
        """Let *run* have the blocks *first* to *last*."""
        for block in range(first, last + 1):
            self._runs[block] = run
        run.last = last

    def _first_line(self, cpu: int, owner: int, block: int) -> int:
        """Return the latency of the block's first line, as `config.py` states it for an idle machine."""
        config = self._config
        here = config.node(cpu)
        home = self._memory.home((block << BLOCK_SHIFT) // config.line_bytes)
        if owner == NOBODY:
            return self._latencies.memory(here, home)
        return self._latencies.dirty(here, home, config.node(owner))
