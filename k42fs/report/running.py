"""Who a processor works for: its state after each event, the one rule that `time` and kmon go by.

A request of the kernel's (OpEnter to OpExit) is work in the server, mode SC and the operation, for the client
that asked; `Context` says more, and overrides. Before its first switch a processor's state is unknown; after its
last one it stays as it is.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from k42fs.report.filters import Source

KERNEL: Final = 0
SERVER: Final = 1
"""The pid of the base servers, as in K42: where requests are served unless a switch says otherwise."""

NOBODY: Final = -1
PID_SHIFT, DOMAIN_SHIFT, DOMAIN_MASK = 32, 16, 0xFFFF
REQUEST: Final = "SC"


class State(NamedTuple):
    """What a processor does: in which process, in which mode, for whom."""

    pid: int
    mode: str
    owner: int


UNKNOWN: Final = State(NOBODY, "unknown", NOBODY)
IDLE: Final = State(KERNEL, "idle", KERNEL)

SERVES: Final = {"exception_ppc_call": "ppcsrv"}
"""Switches into a server: it works on for the same owner."""

KERNEL_MODES: Final = {
    "exception_pgflt": "fault",
    "exception_await_dispatch": "scheduler",
    "exception_ppc_async_remote": "async",
    "exception_await_ppc_retry": "scheduler",
    "exception_ipc_remote": "asyncrmt",
}
"""Switches to the kernel, and in which mode it then is."""


def switched(attribute: str, commid: int, before: State) -> State:
    """Return the state after a switch to *commid* (pid<<32 | domain<<16 | vp)."""
    pid = commid >> PID_SHIFT
    owner = before.owner if before.owner not in (NOBODY, KERNEL) else before.pid
    if mode := KERNEL_MODES.get(attribute):
        return State(KERNEL, mode, owner)
    if not pid:
        return State(KERNEL, "dispatcher", KERNEL) if not commid >> DOMAIN_SHIFT & DOMAIN_MASK else IDLE
    if attribute in SERVES:
        return State(pid, SERVES[attribute], owner)
    if attribute == "exception_ppc_return" and pid != owner and owner > KERNEL:
        return State(pid, "ppcsrv", owner)  # back in a server that was itself called
    return State(pid, "user", pid)


class Running:
    """The state of one processor of *source*, which `take` moves on from event to event."""

    def __init__(self, source: Source) -> None:
        schema = source.trace.schema
        self._switches = {
            each.id: (each.attribute, each.by_name[each.context].word if each.context != "0" else None)
            for each in schema.events()
            if each.context is not None
        }
        self._context, self._enter, self._leave = map(
            source.id, ("exception_context", "fuse_op_enter", "fuse_op_exit")
        )
        self._modes = schema.by_attribute["exception_context"].by_name["mode"].type.values
        self._operation = source.names.op
        self._requests: dict[int, State] = {}
        self._op = ""
        self.wanted = {*self._switches, self._enter, self._leave}
        self.state = UNKNOWN

    def take(self, number: int, words: list[int]) -> State:
        """Return the state after event *number*, one of `wanted`, with the payload *words*."""
        before = self.state
        if number == self._context:
            mode = self._modes[words[1]] if words[1] < len(self._modes) else "unknown"
            mode = f"{REQUEST}{self._op}" if mode == "syscall" and self._op else mode
            self.state = State(words[0] >> PID_SHIFT, mode, words[2] >> PID_SHIFT)
        elif number == self._enter:
            self._op = self._operation(words[1])
            self._requests[words[0]] = before
            is_served = before.mode in ("syscall", "ppcsrv") and before.pid > KERNEL
            self.state = State(before.pid if is_served else SERVER, f"{REQUEST}{self._op}", words[3])
        elif number == self._leave:
            self.state, self._op = self._requests.pop(words[0], IDLE), ""
        else:
            attribute, word = self._switches[number]
            self.state = switched(attribute, words[word] if word is not None else 0, before)
        return self.state
