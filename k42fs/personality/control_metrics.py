"""`.k42/metrics`: what the mount and its machine have done, for Prometheus.

Virtual times are in seconds of the modelled machine, never added to the host's. Counters of the machine begin at 0
again when `.k42/reset` is written, which Prometheus takes for a restart. Processors that were never used have no
series, and neither have locks that nobody ever waited for, nor objects one by one: the number of series stays bounded.
Nothing is counted for this; it costs what reading `processors`, `locks` and `objects` does, when it is read.
"""

from __future__ import annotations

import errno
import os
import resource
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from k42fs.personality.metrics_text import Family, exposition
from k42fs.version import version

if TYPE_CHECKING:
    from k42fs.personality.face import Face

PER_PROCESSOR: Final = (
    ("requests", "operations", "Requests that began on a processor."),
    ("method_calls", "calls", "Calls of modelled methods on a processor."),
)
PER_PROCESSOR_SECONDS: Final = (
    ("work", "work_cycles", "Virtual time a processor spent on instructions."),
    ("lock_wait", "spin_cycles", "Virtual time a processor spent waiting for locks."),
    ("memory", "memory_cycles", "Virtual time a processor spent on references that missed its first cache."),
    ("idle", "idle_cycles", "Virtual time a processor had nothing to do."),
)
FULL_PER_PROCESSOR: Final = (
    ("invalidations", "invalidations", "Copies in other caches that a processor's writes took away."),
    ("write_backs", "write_backs", "Modified lines a processor's cache wrote back to memory."),
    ("message_bytes", "message_bytes", "Coherence traffic a processor caused, in bytes."),
)
LOCK_COUNTS: Final = (
    (
        "k42fs_lock_acquisitions_total",
        "acquisitions",
        0,
        "Acquisitions of locks that were waited for at least once.",
    ),
    ("k42fs_lock_contentions_total", "contentions", 0, "Acquisitions that had to wait."),
    ("k42fs_lock_wait_seconds_total", "waited_cycles", 1, "Virtual time waited for locks."),
    ("k42fs_lock_hold_seconds_total", "held_cycles", 1, "Virtual time locks were held."),
)
OBJECT_COUNTS: Final = (
    ("k42fs_objects_created_total", "created", "Clustered objects made."),
    ("k42fs_objects_destroyed_total", "destroyed", "Clustered objects destroyed."),
    ("k42fs_objects_freed_total", "freed", "Clustered objects whose memory and ref are free again."),
    (
        "k42fs_object_misses_total",
        "misses",
        "First calls of an object on a processor, which install its representative.",
    ),
)


def metrics(face: Face, started: float) -> bytes:
    """Return the text; *started* is when the mount was made, in seconds since the epoch."""
    return exposition(_families(face, started)).encode()


def reader(face: Face) -> Callable[[], bytes]:
    """Return what reads the file."""
    started = time.time()
    return lambda: metrics(face, started)


def _families(face: Face, started: float) -> Iterator[Family]:
    statistics = face.machine.statistics()
    yield from _mount(face, statistics)
    yield from _machine(statistics)
    if face.machine.model == "full":
        yield from _locks(face)
    yield from _objects(face)
    yield from _recording(face)
    yield from _process(started)


def _mount(face: Face, statistics: Mapping[str, Any]) -> Iterator[Family]:
    about = Family("k42fs_build_info", "gauge", "Always 1; what runs, and what it models.")
    yield about.add(
        1,
        version=version(),
        core=statistics["core"],
        preset=statistics["machine"],
        model=statistics["model"],
    )
    requests = Family(
        "k42fs_requests_total", "counter", "Requests of the kernel, without those on .k42 itself."
    )
    for name, count in sorted(face.served.items()):
        requests.add(count, request=name)
    yield requests
    refused = Family("k42fs_request_errors_total", "counter", "Requests answered with an error, by errno.")
    for code, count in sorted(face.refused.items()):
        refused.add(count, errno=errno.errorcode.get(code, str(code)))
    yield refused
    yield Family("k42fs_open_handles", "gauge", "Files and directories that are open.").add(len(face.handles))
    yield Family("k42fs_kernel_nodes", "gauge", "Files the kernel knows.").add(len(face.nodes.by_id))


def _machine(statistics: Mapping[str, Any]) -> Iterator[Family]:
    hertz = statistics["mhz"] * 10**6
    yield Family("k42fs_processors", "gauge", "Processors of the modelled machine.").add(
        statistics["processors"]
    )
    yield Family("k42fs_processor_clock_hertz", "gauge", "Clock rate of the modelled processors.").add(hertz)
    rows = statistics["per_processor"]

    def each(name: str, help_text: str, key: str, divisor: int = 0) -> Family:
        family = Family(f"k42fs_processor_{name}_total", "counter", help_text)
        for row in rows:
            if key in row:
                family.add(row[key] / divisor if divisor else row[key], vp=row["vp"])
        return family

    yield from (each(name, text, key) for name, key, text in PER_PROCESSOR)
    if statistics["model"] == "off":
        return
    span = statistics["now_cycles"] - statistics["since_cycle"]
    yield Family("k42fs_machine_seconds_total", "counter", "Virtual time since the last reset.").add(
        span / hertz
    )
    yield from (each(f"{name}_seconds", text, key, hertz) for name, key, text in PER_PROCESSOR_SECONDS)
    if statistics["model"] == "full":
        yield from _caches(rows)
        yield from (each(name, text, key) for name, key, text in FULL_PER_PROCESSOR)


def _caches(rows: list[dict[str, Any]]) -> Iterator[Family]:
    references = Family(
        "k42fs_processor_references_total", "counter", "References to modelled memory, by kind."
    )
    hits = Family(
        "k42fs_processor_cache_hits_total", "counter", "References that a cache of the processor answered."
    )
    misses = Family(
        "k42fs_processor_cache_misses_total", "counter", "References that missed all own caches, by kind."
    )
    for row in rows:
        for kind in ("loads", "stores", "rmws"):
            references.add(row[kind], vp=row["vp"], kind=kind.removesuffix("s"))
        for level in ("l1", "l2", "l3"):
            hits.add(row[f"{level}_hits"], vp=row["vp"], level=level)
        for kind, count in row["misses"].items():
            misses.add(count, vp=row["vp"], kind=kind)
    yield from (references, hits, misses)


def _locks(face: Face) -> Iterator[Family]:
    """Locks by name: what a lock is called outlives its object, so these never go back."""
    hertz = face.machine.config.mhz * 10**6
    sums: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    for row in face.machine.contended.rows():
        for _, key, _, _ in LOCK_COUNTS:
            sums[row["lock"]][key] += row[key]
    for name, key, is_time, text in LOCK_COUNTS:
        family = Family(name, "counter", f"{text} By the lock's name in its object.")
        for lock, counts in sorted(sums.items()):
            family.add(counts[key] / hertz if is_time else counts[key], lock=lock)
        yield family


def _objects(face: Face) -> Iterator[Family]:
    statistics = face.cos.statistics()
    live = Family("k42fs_objects", "gauge", "Live clustered objects, by kind.")
    for kind, count in sorted(statistics["types"].items()):
        live.add(count, kind=kind)
    yield live
    for name, key, text in OBJECT_COUNTS:
        yield Family(name, "counter", text).add(statistics[key])  # type: ignore[literal-required]
    swaps = Family(
        "k42fs_swaps_total", "counter", "Swaps of objects' implementations that have ended, by outcome."
    )
    for outcome in ("completed", "aborted", "refused"):
        swaps.add(getattr(face.cos.swaps, outcome), outcome=outcome)
    yield swaps


def _recording(face: Face) -> Iterator[Family]:
    status = face.trace_control.status()
    yield Family("k42fs_trace_recording", "gauge", "1 while events are recorded.").add(
        int(status["mode"] != "off")
    )
    for name, key, text in (
        ("k42fs_trace_events_total", "events", "Events recorded since recording last began."),
        ("k42fs_trace_discarded_events_total", "discarded", "Events that a bound made go, since then."),
        ("k42fs_trace_written_bytes_total", "bytes_written", "Bytes of recordings written, since then."),
    ):
        yield Family(name, "counter", text).add(status[key])


def _process(started: float) -> Iterator[Family]:
    """Return what every Prometheus client tells of its process, under the names that all use."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    for name, kind, text, value in (
        (
            "process_cpu_seconds_total",
            "counter",
            "Processor time of the daemon.",
            used.ru_utime + used.ru_stime,
        ),
        ("process_resident_memory_bytes", "gauge", "Memory of the daemon.", pages * resource.getpagesize()),
        ("process_open_fds", "gauge", "Files the daemon has open.", len(os.listdir("/proc/self/fd"))),
        (
            "process_start_time_seconds",
            "gauge",
            "When the mount was made, in seconds since the epoch.",
            started,
        ),
    ):
        yield Family(name, "counter" if kind == "counter" else "gauge", text).add(value)
