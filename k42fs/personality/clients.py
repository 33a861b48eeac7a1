"""Which processor serves whom: sticky by caller, handed out in turn.

A caller keeps its processor while it is remembered, so its translation entries, free lists and name caches
stay warm there. New callers take the next processor in turn, which spreads `make -j` evenly without any
shared counter in the model. The table is bounded: who has not called for long is forgotten first.
"""

from __future__ import annotations

import os
from typing import Final

import pyfuse3

from k42fs.ids import VP
from k42fs.servers.credentials import Creds

CALLERS_MAX: Final = 4096

PROC: Final = "/proc"
TICK_NS: Final = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
STARTED_FIELD: Final = 22 - 3
"""Where /proc/PID/stat has the start, counted from the first field after the name."""


class Caller:
    """A process (its thread, as the kernel tells it): its processor, and its credentials when it last called."""

    __slots__ = ("called_again", "creds", "vp")

    def __init__(self, vp: VP, creds: Creds) -> None:
        self.vp = vp
        self.creds = creds
        self.called_again = False  # since the table last looked for somebody to forget


class CallerTable:
    """Callers by the thread id that the kernel sends as pid."""

    def __init__(self, processors: int) -> None:
        self._processors = processors
        self._next = 0
        self._by_pid: dict[int, Caller] = {}

    def caller(self, ctx: pyfuse3.RequestContext) -> Caller:
        """Return the caller of a request, choosing its processor at its first."""
        caller = self._by_pid.get(ctx.pid)
        if caller is None:
            return self._meet(ctx)
        caller.called_again = True
        creds = caller.creds
        if creds.uid != ctx.uid or creds.gid != ctx.gid or creds.umask != ctx.umask:
            caller.creds = Creds(ctx.uid, ctx.gid, ctx.pid, ctx.umask)
        return caller

    def _meet(self, ctx: pyfuse3.RequestContext) -> Caller:
        caller = Caller(VP(self._next), Creds(ctx.uid, ctx.gid, ctx.pid, ctx.umask))
        self._by_pid[ctx.pid] = caller
        self._next = (self._next + 1) % self._processors
        if len(self._by_pid) > CALLERS_MAX:
            self._forget_one()
        return caller

    def _forget_one(self) -> None:
        """Forget the oldest caller that has not called again; those that have get another turn."""
        while True:
            pid, caller = next(iter(self._by_pid.items()))
            del self._by_pid[pid]
            if not caller.called_again:
                return
            caller.called_again = False
            self._by_pid[pid] = caller


def started_ns(pid: int) -> int | None:
    """Return when the process or thread *pid* began, since the host was started; None if there is none.

    To a clock tick, some milliseconds too early at most; 0 of one that may not be looked at (hidepid).
    """
    try:
        with open(f"{PROC}/{pid}/stat", "rb") as file:
            about = file.read()
    except OSError:
        return 0 if _exists(pid) else None
    after_name = about[about.rindex(b")") + 2 :].split()  # a name may have blanks and brackets
    return int(after_name[STARTED_FIELD]) * TICK_NS


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def program_of(pid: int) -> str:
    """Return the name of the program of process *pid*, "" if it has gone."""
    try:
        with open(f"{PROC}/{pid}/comm", errors="replace") as file:
            return file.read().rstrip("\n")
    except OSError:
        return ""


def supplementary_groups(pid: int) -> frozenset[int]:
    """Return the supplementary groups of a process, none if it has gone; a request does not carry them."""
    try:
        return frozenset(pyfuse3.get_sup_groups(pid))
    except OSError:
        return frozenset()
