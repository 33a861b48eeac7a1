"""Export as the text of Linux's ftrace, for tools that read that: the Perfetto UI, Trace Compass, scripts.

Switches become sched_switch, what takes time asynchronous marks of trace_marker (S and F, whose ends are found by
a number), counters its C, everything else a line with the event's name and its fields. The kernel has a process
number of its own on each processor, above what Linux gives out, as 0 is the idle task.
Formats: Documentation/trace/ftrace.rst; for the marks, Android's atrace.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from operator import itemgetter
from typing import Final

from k42fs.report.export_timeline import RUNNING, Slice, Timeline

SECOND: Final = 10**9
COMM_LETTERS: Final = 15
KERNEL_PID: Final = 1 << 22
IDLE: Final = ("swapper", 0)
PRIORITY: Final = 120

HEADER: Final = """\
# tracer: nop
#
#                                _-----=> irqs-off
#                               / _----=> need-resched
#                              | / _---=> hardirq/softirq
#                              || / _--=> preempt-depth
#                              ||| /     delay
#           TASK-PID     CPU#  ||||   TIMESTAMP  FUNCTION
#              | |         |   ||||      |         |
"""

Task = tuple[str, int]


def ftrace(made: Timeline) -> Iterator[str]:
    """Yield the file, a line each."""
    yield HEADER
    running = dict.fromkeys(made.processors, IDLE)
    for time, _, cpu, line in sorted(_lines(made), key=itemgetter(0, 1)):
        comm, pid = running[cpu]
        text = line if isinstance(line, str) else _switch(running[cpu], line)
        running[cpu] = running[cpu] if isinstance(line, str) else line
        label = f"{comm if pid else '<idle>'}-{pid}"
        yield f"{label:>24} [{cpu:03d}] .... {time // SECOND:6d}.{time % SECOND:09d}: {text}\n"


def _lines(made: Timeline) -> Iterator[tuple[int, int, int, str | Task]]:
    """Yield (time, order, processor, text or the task switched to), processor by processor, kind by kind."""
    for cpu in made.processors:
        yield from _switches([each for each in made.slices if each.kind == RUNNING and each.processor == cpu])
    for time, order, what, item in made.items():
        cpu = item.processor
        if what == "moment":
            fields = " ".join(f"{name}={_word(value)}" for name, value in item.args.items())
            yield time, order, cpu, f"{item.category.lower()}_{_snake(item.name)}: {fields}"
        elif what == "level":
            yield (
                time,
                order,
                cpu,
                f"tracing_mark_write: C|{KERNEL_PID + cpu}|cpu{cpu} {item.name}|{item.value}",
            )
        elif item.kind != RUNNING:
            # Both ends must say the same process, and another one may run at the end.
            mark = "S" if what == "begin" else "F"
            name = item.name.replace("|", "/")
            yield time, order, cpu, f"tracing_mark_write: {mark}|{KERNEL_PID + cpu}|{name}|{item.order}"


def _switches(slices: list[Slice]) -> Iterator[tuple[int, int, int, Task]]:
    """Yield where a processor switches: to each slice's task, and to the idle one where nothing follows at once."""
    for index, each in enumerate(slices):
        yield each.begin, each.order, each.processor, _task(each)
        after = slices[index + 1] if index + 1 < len(slices) else None
        if after is None or (after.begin, after.order) != (each.end, each.end_order):
            yield each.end, each.end_order, each.processor, IDLE


def _task(each: Slice) -> Task:
    pid = int(each.args["pid"])
    name = re.sub(r" \(\d+\)$", "", each.name)
    return _word(name)[:COMM_LETTERS], pid or KERNEL_PID + each.processor


def _switch(before: Task, after: Task) -> str:
    return (
        f"sched_switch: prev_comm={before[0]} prev_pid={before[1]} prev_prio={PRIORITY} prev_state=S ==> "
        f"next_comm={after[0]} next_pid={after[1]} next_prio={PRIORITY}"
    )


def _word(value: int | str) -> str:
    """Return *value* without what separates fields."""
    return re.sub(r"\s", "_", str(value)) or '""'


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
