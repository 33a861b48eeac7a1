"""What `.k42` holds: each file's text, its JSON twin, and what may be written to it."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from k42fs.errors import ConfigError, InvalidArgumentError, NoDataError, ReadOnlyError
from k42fs.machine import Thread
from k42fs.personality import (
    control_adapt,
    control_handles,
    control_interpose,
    control_swap,
    control_text,
    control_trace,
    control_update,
)
from k42fs.personality.control_metrics import reader
from k42fs.personality.control_resolve import RESOLVE_USAGE, Resolving, resolution_text
from k42fs.personality.control_top import TOP_ROWS_MAX, Looks, Seen
from k42fs.personality.live_objects import LIVE_ROWS_MAX, Told, changes
from k42fs.personality.options import LOG_LEVELS, MountOptions
from k42fs.personality.repeated import Asking, Repeated
from k42fs.version import version

if TYPE_CHECKING:
    from k42fs.personality.face import Face

Write = Callable[[Thread, bytes], Awaitable[None]]
RESET_WORDS: Final = {b"1", b"all"}
RESET_USAGE: Final = b"write 1 or all: every counter of the machine becomes zero\n"
STATISTICS_APART: Final = ("calls", "locks", "lines")
"""Parts of the machine's statistics that have files of their own."""


class Transaction(Protocol):
    """What one open handle of a transaction file asks, one question for each write.

    `does_work`: to find an answer calls objects, for which the asker's thread must be active.
    """

    does_work: bool

    @property
    def answer(self) -> bytes:
        """The answer to the last question, as far as it could be found; empty before, and if it was nonsense."""

    async def ask(self, th: Thread, question: bytes) -> None:
        """Find the answer. Raises the K42Error that the asker is to see."""

    async def end(self, th: Thread) -> None:
        """The handle is closed."""


@dataclass(frozen=True, slots=True)
class ControlFile:
    """One attribute file. `read` gives its whole text; `write` carries out one command.

    `begin` makes a transaction file of it: each open for writing has a transaction of its own. `sync` is what fsync
    does.
    """

    read: Callable[[], bytes] | None
    write: Write | None = None
    begin: Callable[[], Transaction] | None = None
    sync: Callable[[], None] | None = None

    @property
    def is_writable(self) -> bool:
        return self.write is not None or self.begin is not None


ControlFiles = dict[bytes, ControlFile]


def control_files(face: Face, options: MountOptions) -> ControlFiles:
    """Return the files of `.k42` in their order."""
    machine, system = face.machine, face.system
    config, trace = Config(face, options), face.trace_control
    interpose = control_interpose.InterposeControl(system)
    return {
        **_shown("processors", lambda: _apart(machine.statistics()), control_text.processors),
        **_shown("calls", lambda: machine.statistics()["calls"], control_text.calls),
        **_shown("locks", lambda: machine.statistics()["locks"], control_text.locks),
        **_shown("lines", lambda: machine.statistics()["lines"], control_text.lines),
        **_shown("objects", lambda: _objects(face), control_text.objects),
        **_shown("handles", partial(control_handles.handles, face), control_handles.text),
        b"mounts": ControlFile(lambda: system.listing()[0].encode(), face.change_names),
        b"mounts.json": ControlFile(lambda: _json(system.listing()[1])),
        b"resolve": _transaction(partial(Resolving, system, resolution_text), f"{RESOLVE_USAGE}\n".encode()),
        b"resolve.json": _transaction(partial(Resolving, system, _json), _json({"usage": RESOLVE_USAGE})),
        b"metrics": ControlFile(reader(face)),
        b"top.json": _repeated(Repeated(Seen, Looks(face).snapshot, _json, TOP_ROWS_MAX)),
        b"live.json": _repeated(Repeated[Told](dict, partial(changes, face), _json, LIVE_ROWS_MAX)),
        **_shown("traceMask", trace.mask, control_trace.mask_text, trace.change_mask, trace.flush),
        **_shown("trace", trace.status, control_text.keys_and_values, trace.command, trace.flush),
        b"traceObjects": ControlFile(lambda: trace.objects().encode(), trace.change_objects),
        **_shown("interpose", interpose.attachments, control_interpose.text, interpose.change),
        **_shown(
            "adapt",
            lambda: control_adapt.adaptation(system.adapter),
            control_adapt.text,
            partial(control_adapt.change, system.adapter),
        ),
        **_shown(
            "policy",
            lambda: control_swap.policy(system),
            control_swap.policy_text,
            partial(control_swap.change_policy, system),
        ),
        **_shown(
            "swap",
            lambda: control_swap.swaps(system),
            control_swap.swaps_text,
            partial(control_swap.swap, system),
        ),
        **_shown(
            "update",
            lambda: control_update.updates(system),
            control_update.text,
            partial(control_update.update, system),
        ),
        **_shown("config", config.values, control_text.keys_and_values, config.change),
        **_shown(
            "version",
            lambda: {"version": version(), "core": machine.core.name},
            lambda value: f"{value['version']}, {value['core']} core\n",
        ),
        b"reset": ControlFile(lambda: RESET_USAGE, partial(_reset, face)),
    }


def _shown(
    name: str,
    value: Callable[[], Any],
    text: Callable[[Any], str],
    write: Write | None = None,
    sync: Callable[[], None] | None = None,
) -> ControlFiles:
    """Return a file that shows *value* as text, and its JSON twin."""
    return {
        name.encode(): ControlFile(lambda: text(value()).encode(), write, sync=sync),
        f"{name}.json".encode(): ControlFile(lambda: _json(value())),
    }


def _transaction(begin: Callable[[], Transaction], usage: bytes) -> ControlFile:
    """Return a transaction file; who opens it for reading only is told how it is used."""
    return ControlFile(lambda: usage, begin=begin)


def _repeated(file: Repeated[Any]) -> ControlFile:
    return _transaction(partial(Asking, file), _json({"usage": file.usage}))


def _apart(statistics: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in statistics.items() if key not in STATISTICS_APART}


def _objects(face: Face) -> dict[str, Any]:
    return {**face.system.object_statistics(), "kernel_nodes": len(face.nodes.by_id)}


async def _reset(face: Face, _th: Thread, command: bytes) -> None:
    if command not in RESET_WORDS:
        raise InvalidArgumentError("write 1 or all")
    face.machine.reset_statistics()


class Config:
    """What the mount was told, and the little of it that can be changed later."""

    def __init__(self, face: Face, options: MountOptions) -> None:
        self._face = face
        self._options = options

    def values(self) -> dict[str, Any]:
        """Return every option and what it is now, then the daemon's own figures."""
        return {
            **asdict(self._options),
            "log_level": logging.getLevelName(logging.getLogger().level).lower(),
            "kernel_flags": list(self._options.kernel_flags),
            "pid": os.getpid(),
            "requests": self._face.requests,
            "handles": len(self._face.handles),
        }

    async def change(self, _th: Thread, command: bytes) -> None:
        """Carry out KEY=VALUE."""
        key, has_value, value = command.decode(errors="replace").partition("=")
        if not has_value:
            raise InvalidArgumentError("write KEY=VALUE")
        if key not in self.values():
            raise NoDataError(f"there is no key {key}")
        if key != "log_level":
            raise ReadOnlyError(f"{key} is fixed when the file system is mounted")
        if value not in LOG_LEVELS:
            raise ConfigError(f"log_level={value}: unknown; one of {', '.join(LOG_LEVELS)}")
        logging.getLogger().setLevel(value.upper())


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()
