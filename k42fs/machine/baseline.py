"""Where counting last began: at the machine's start, or when its statistics were reset."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from k42fs.ids import VP
    from k42fs.machine.driver import Machine
    from k42fs.machine.processor import Processor


class Baseline:
    """What clocks and the core's counts, which go on, said when counting last began. `at`: the furthest clock then."""

    def __init__(self) -> None:
        self.at = 0
        self.late = 0
        self._clocks: dict[VP, int] = {}

    def clock(self, proc: Processor) -> int:
        """Return what processor *proc*'s clock said."""
        return self._clocks.get(proc.vp, 0)

    def begin(self, machine: Machine) -> None:
        """Count from now on. Clocks that run live first meet at the furthest, so that all rows start there."""
        self.at = machine.now
        self.late = machine.core.late
        for proc in machine.processors:
            if machine.live and proc.clock:
                proc.idle_until(self.at)
            self._clocks[proc.vp] = proc.clock
            proc.work = proc.spin = proc.spin_seen = proc.idle = proc.calls = proc.operations = 0
