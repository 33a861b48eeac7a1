"""`.k42/update`: new code for all objects of a type, from a Python module on the host."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import trio

from k42fs.errors import ConfigError, InTransitionError, InvalidArgumentError
from k42fs.machine import Thread
from k42fs.objects.factory import load_replacement
from k42fs.objects.implementations import kinds
from k42fs.personality.control_text import counted, table
from k42fs.personality.recording_places import resolve
from k42fs.servers.mount_commands import unescape_path

if TYPE_CHECKING:
    from k42fs.objects.factory import Update
    from k42fs.servers.system import System

USAGE: Final = "write TYPE MODULE.py, its path absolute, and nowait after it to be answered at once"
HEADINGS: Final = ("type", "implementation", "state", "version", "objects", "replaced", "dropped", "retried")


def updates(system: System) -> dict[str, Any]:
    """Return the version of each type, and the updates so far, latest first, ready for JSON."""
    factories = system.cos.factories
    return {
        "versions": {kind: factories.version(kind) for kind in kinds()},
        "updates": [update.report() for update in reversed(factories.recent)],
    }


def text(value: Mapping[str, Any]) -> str:
    """Return what the file shows."""
    shown = "".join(f"{kind}={version}\n" for kind, version in value["versions"].items())
    if not value["updates"]:
        return shown
    rows = [list(HEADINGS)]
    for each in value["updates"]:
        state = "done" if each["is_done"] else "under way"
        counts = (str(each[name]) for name in HEADINGS[3:])
        rows.append([each["kind"], each["implementation"], state, *counts])
    failures = [failure for each in value["updates"] for failure in each["failures"]]
    return shown + table(rows, left=3) + "".join(f"{failure}\n" for failure in failures)


async def update(system: System, th: Thread, command: bytes) -> None:
    """Carry out TYPE MODULE.py.

    Raises: nothing has changed then:
        ConfigError, NotSwappableError: the module does not fit. InTransitionError: an update is under way.
        InTransitionError also if some objects could not be replaced, when all others were.
    """
    words = command.split()
    waits = words[2:] != [b"nowait"]
    if len(words) < 2 or (waits and len(words) > 2):
        raise InvalidArgumentError(USAGE)
    kind = words[0].decode(errors="replace")
    look = partial(resolve, unescape_path(words[1]), what="a module")
    new = load_replacement(await th.external(trio.to_thread.run_sync(look)))
    if new.kind != kind:
        raise ConfigError(f"kind={new.kind}: the module replaces objects of another type than {kind}")
    begun = await system.cos.factories.update(th, new)
    if waits:
        await _wait(system, th, begun)


async def _wait(system: System, th: Thread, begun: Update) -> None:
    """Wait until every object is accounted for: not active, as the swaps wait for active threads."""
    system.cos.deactivate(th)
    try:
        await begun.wait(th)
    finally:
        system.cos.activate(th)
    if begun.failures:
        raise InTransitionError(f"{counted(len(begun.failures), 'object')} not replaced: {begun.failures[0]}")


__all__ = ["text", "update", "updates"]
