"""What `.k42` holds: each file's text, its JSON twin, and what may be written to it."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from k42fs.errors import ConfigError, InvalidArgumentError, NoDataError, ReadOnlyError
from k42fs.machine import Thread
from k42fs.personality import control_text
from k42fs.personality.options import LOG_LEVELS, MountOptions
from k42fs.version import version

if TYPE_CHECKING:
    from k42fs.personality.face import Face

Write = Callable[[Thread, bytes], Awaitable[None]]
RESET_WORDS: Final = {b"1", b"all"}


@dataclass(frozen=True, slots=True)
class ControlFile:
    """One attribute file. `read` gives its whole text; `write` carries out one command."""

    read: Callable[[], bytes] | None
    write: Write | None = None


ControlFiles = dict[bytes, ControlFile]


def control_files(operations: Face, options: MountOptions) -> ControlFiles:
    """Return the files of `.k42` in their order."""
    machine = operations.machine
    system = operations.system

    def config() -> dict[str, Any]:
        values = {**asdict(options), "log_level": logging.getLevelName(logging.getLogger().level).lower()}
        values["kernel_flags"] = list(options.kernel_flags)
        return {
            **values,
            "pid": os.getpid(),
            "requests": operations.requests,
            "handles": len(operations.handles),
        }

    async def set_config(_th: Thread, command: bytes) -> None:
        key, has_value, value = command.decode(errors="replace").partition("=")
        if not has_value:
            raise InvalidArgumentError("write KEY=VALUE")
        if key not in config():
            raise NoDataError(f"there is no key {key}")
        if key != "log_level":
            raise ReadOnlyError(f"{key} is fixed when the file system is mounted")
        if value not in LOG_LEVELS:
            raise ConfigError(f"log_level={value}: unknown; one of {', '.join(LOG_LEVELS)}")
        logging.getLogger().setLevel(value.upper())

    async def reset(_th: Thread, command: bytes) -> None:
        if command not in RESET_WORDS:
            raise InvalidArgumentError("write 1 or all")
        machine.reset_statistics()

    async def change_names(th: Thread, command: bytes) -> None:
        await operations.change_names(th, command)

    def objects() -> dict[str, Any]:
        return {**system.object_statistics(), "kernel_nodes": len(operations.nodes.by_id)}

    def part(name: str) -> Callable[[], Any]:
        return lambda: machine.statistics()[name]

    def processors() -> dict[str, Any]:
        statistics = machine.statistics()
        return {key: value for key, value in statistics.items() if key not in ("locks", "lines", "calls")}

    files: ControlFiles = {}

    def show(
        name: str, value: Callable[[], Any], text: Callable[[Any], str], write: Write | None = None
    ) -> None:
        files[name.encode()] = ControlFile(lambda: text(value()).encode(), write)
        files[f"{name}.json".encode()] = ControlFile(lambda: _json(value()))

    show("processors", processors, control_text.processors)
    show("calls", part("calls"), control_text.calls)
    show("locks", part("locks"), control_text.locks)
    show("lines", part("lines"), control_text.lines)
    show("objects", objects, control_text.objects)
    files[b"mounts"] = ControlFile(lambda: system.listing()[0].encode(), change_names)
    files[b"mounts.json"] = ControlFile(lambda: _json(system.listing()[1]))
    show("config", config, control_text.keys_and_values, set_config)
    show("version", lambda: {"version": version()}, lambda value: value["version"] + "\n")
    files[b"reset"] = ControlFile(None, reset)
    return files


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()
