"""The modelled multiprocessor: processors, caches, memory, virtual time, and the locks of K42 on it.

Knows nothing of objects or files. Reading order, each file importing only from those before it:

    layout.py         kinds of memory, fields of objects, scripts of references
    protocol.py       MSI, MESI, MOESI as tables
    config.py         MachineConfig, presets
    history.py        when a resource was busy
    memory.py         modelled addresses and who is there
    trace.py          event rings
    contexts.py       whom a processor works for, for the trace
    tracing/          events of every floor, recorded
    machine_trace.py  a machine's tracer
    line_trace.py     what it records of lines
    processor.py      one processor's clock and accounts
    core.py           what is asked of a coherence model
    miss_log.py       what a coherence model logs while it runs
    directory.py      lines and caches: their state
    latencies.py      what a transaction costs by distance
    interconnect.py   what is asked of an interconnect
    sharer_formats.py, links.py, interconnect_directory.py     homes and what they remember; the wires
    interconnect_bus.py   address bus and data bus
    shared_cache.py   L3s
    data_values.py    who has the newest data, for checks
    core_state.py, core_moves.py     what the pure core keeps; how copies come and go
    pure_core.py      the coherence model itself
    fast_core.pyx     the same, compiled; its parts are in fast/
    cores.py          which of the two a machine gets
    line_model.py, explorer.py, explorer_replay.py     the proof of the protocols, by walking everywhere
    mutants.py        protocols with one thing left out, which that must notice
    protocol_pages.py     the protocols' tables as documentation
    reference_trace.py, reference_trace_files.py, trace_parse.pyx     traces: their formats and files
    reference_trace_names.py     which file is which processor's
    blocks.py         file data: copies priced by the block
    thread.py         `th`: how methods charge the machine, three variants
    fast_threads.pyx  the same, compiled, for a compiled core
    lock_trace.py     what locks tell the tracer
    callers.py        call sites, for the trace
    fast_trace.pyx    what is told most often of both, compiled
    lock_base.py      ranks, places in virtual time, statistics of locks
    exclusive_lock.py     one holder at a time, and the short way to it
    rwlock.py, request_count.py, locks.py     K42's locks
    blocked_threads.py    who blocks on which word: one table, as a baseline
    watch.py          spinning on a cached line
    spin_lock.py, spin_locks.py     locks to compare K42's with
    bit_locks.py, unfair_locks.py   locks in bits of a data word, and others that are not fair
    rec_lock.py, semaphore.py       a lock for one's own second time; counted units
    lock_kinds.py     all locks that exclude, by kind
    lock_choice.py    those that servers can be given
    barrier.py        central, tree, blocking
    live.py           live driver: operations inline
    pace.py           live callers that contend are kept abreast
    interrupts.py, messages.py, shootdown.py     one processor gets another's attention
    hand_offs.py      hand-offs whose other side has gone on
    ppc.py            procedure calls across address spaces
    allocator.py      K42's allocator, its own traffic charged
    scheduler.py      deterministic driver: lowest clock first
    fast_scheduler.pyx  the same, compiled
    runners.py        which threads and which driver a machine gets
    trace_run.py, trace_merge.pyx, trace_report.py     running them, and what came of it
    reference_log.py     a line for each reference
    statistics.py     what happened, as one dictionary
    baseline.py       where counting last began
    driver.py         Machine, which puts all this together
    validation/       experiments with known outcomes, on top of all this

What the package itself offers is imported when it is first asked for: a command that only reads a preset, or runs
a trace, need not load locks and drivers.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from k42fs.machine.config import MachineConfig, preset, preset_names
    from k42fs.machine.driver import Machine
    from k42fs.machine.layout import Kind, Layout, Script
    from k42fs.machine.live import OperationSuspended, Suspended
    from k42fs.machine.lock_base import DeadlockError
    from k42fs.machine.locks import (
        AlreadyShutDownError,
        BLock,
        FairBLock,
        RequestCount,
        RWLock,
        SLock,
    )
    from k42fs.machine.memory import Memory
    from k42fs.machine.thread import DONE, Thread

__all__ = [
    "DONE",
    "AlreadyShutDownError",
    "BLock",
    "DeadlockError",
    "FairBLock",
    "Kind",
    "Layout",
    "Machine",
    "MachineConfig",
    "Memory",
    "OperationSuspended",
    "RWLock",
    "RequestCount",
    "SLock",
    "Script",
    "Suspended",
    "Thread",
    "preset",
    "preset_names",
]

_HOMES: Final = {
    "DONE": "thread",
    "AlreadyShutDownError": "locks",
    "BLock": "locks",
    "DeadlockError": "lock_base",
    "FairBLock": "locks",
    "Kind": "layout",
    "Layout": "layout",
    "Machine": "driver",
    "MachineConfig": "config",
    "Memory": "memory",
    "OperationSuspended": "live",
    "RWLock": "locks",
    "RequestCount": "locks",
    "SLock": "locks",
    "Script": "layout",
    "Suspended": "live",
    "Thread": "thread",
    "preset": "config",
    "preset_names": "config",
}
"""The module of each name."""

if not TYPE_CHECKING:  # a checker would take any name for one of ours

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
