"""The flight recorder's way out: what memory holds of the last events, written down when something goes wrong.

It is written on SIGUSR2, and when a request or the mount meets a bug of ours, at most `BUG_DUMPS_MAX` times: one bug
may strike a thousand requests. `.k42/trace` writes it on demand. A recording to a directory needs no dump: it is
only brought up to date.
K42: the trace buffers that its console shows after a failed assertion.
"""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from k42fs.errors import BusyError, K42Error

if TYPE_CHECKING:
    from k42fs.machine.driver import Machine

log = logging.getLogger(__name__)

BUG_DUMPS_MAX: Final = 3


class FlightRecorder:
    """One for a mount. `folder`: where dumps go, the log's unless there is none; `dumped`: the latest dump."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._serial = 0
        self._bugs = 0
        self.folder = Path(tempfile.gettempdir())
        self.dumped: Path | None = None

    def on_signal(self) -> None:
        """Somebody wants to know."""
        log.info("flight recorder: %s", self._write())

    def after_bug(self, count: int) -> str:
        """Return the last *count* events of each processor, as far as recorded, and say where the rest is."""
        if not self._machine.processors[0].on.control:
            return ""
        from k42fs.machine.tracing.tail import last_events

        lines = last_events(self._machine.tracer, count)
        self._bugs += 1
        if self._bugs <= BUG_DUMPS_MAX:
            lines.append(f"flight recorder: {self._write()}")
        return "\n".join(lines)

    def _write(self) -> str:
        """Write what there is; return a sentence on it. Nothing escapes: there is trouble enough."""
        tracer = self._machine.tracer
        status = tracer.status()
        try:
            if status.mode == "off":
                return "nothing is being recorded: write a mask to .k42/traceMask"
            if status.path is not None:
                tracer.drain(everything=True)
                return f"being recorded in {status.path}"
            path = self._new_name()
            tracer.dump(path)
        except (OSError, K42Error) as exc:
            return f"could not be written: {exc}"
        except Exception:
            log.exception("the flight recorder could not be written")
            return "could not be written"
        self.dumped = path
        return f"written to {path}"

    def _new_name(self) -> Path:
        """Return a name that nothing has yet; another daemon may have had our process number."""
        for _ in range(10_000):
            self._serial += 1
            path = self.folder / f"trace-{os.getpid()}-{self._serial}"
            if not path.exists():
                return path
        raise BusyError(f"{self.folder} is full of dumps")
