from k42fs.machine.core import CoherenceCore
from k42fs.machine.reference_trace import Records
from k42fs.machine.trace_run import Stream

def advance(core: CoherenceCore, streams: list[Stream], line_bytes: int, seed: int) -> Stream: ...
def run_in_order(
    core: CoherenceCore, records: Records, clocks: list[int], work: list[int], line_bytes: int
) -> None: ...
