"""Memory of the compiled core, measured in a process of its own: run as a program, prints JSON."""

import json
import sys
from array import array
from pathlib import Path

from k42fs.machine.config import preset
from k42fs.machine.core import TraceArrays
from k42fs.machine.fast_core import FastCore
from k42fs.machine.layout import READ
from k42fs.machine.memory import NODE_SHIFT, Memory


def resident_bytes() -> int:
    """Return this process's resident memory."""
    status = Path("/proc/self/status").read_text().split()
    return int(status[status.index("VmRSS:") + 1]) * 1024


def filled(processors: int) -> dict[str, float]:
    """Fill the L2s of *processors* with lines of their own; return what that took."""
    config = preset("dir-1024", processors=processors)
    before = resident_bytes()
    core, clocks = FastCore(config, Memory(config)), [0] * processors
    lines = config.l2_bytes // config.line_bytes
    codes, sizes = array("B", [READ]) * lines, array("H", [8]) * lines
    for cpu in range(processors):
        first = config.node(cpu) << NODE_SHIFT | cpu << 28
        addrs = array("q", range(first, first + config.l2_bytes, config.line_bytes))
        core.run(TraceArrays(array("H", [cpu]) * lines, codes, addrs, sizes), clocks)
    parts = core.memory_bytes()
    return {
        "processors": processors,
        "lines": parts["lines_known"],
        "bytes_per_line": parts["lines"] / parts["lines_known"],
        "tag_bytes": parts["tags"],
        "resident_bytes": resident_bytes() - before,
    }


if __name__ == "__main__":
    print(json.dumps(filled(int(sys.argv[1]))))
