"""`.k42/traceMask`, `.k42/trace`, `.k42/traceObjects`: what is recorded of the mount, where to, and of which objects.

    traceMask      what is on: read hex and names; write names, presets, hex, +NAME and -NAME, or `reset`
    trace          start DIR [MASK] [LIMIT] [zstd], stop, dump DIR; read how it stands
    traceObjects   whose calls are recorded: all, none, any number of: type NAME, ref N

With a mask and no directory the flight recorder runs: memory keeps the last packets of each processor, and `reset`
empties it. A command that cannot be carried out changes nothing. Paths are written as in /proc/mounts, `\\040` for a
blank.
K42: /ksys/traceMask and traceControl.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import trio

from k42fs.errors import ConfigError, InvalidArgumentError, K42Error
from k42fs.machine import Thread
from k42fs.machine.tracing.flushing import TICK_SECONDS, flush_seconds
from k42fs.objects.traced_table import Wanted
from k42fs.personality.recording_places import refused, resolve
from k42fs.servers.mount_commands import parse_size, unescape_path

if TYPE_CHECKING:
    from k42fs.personality.face import Face

log = logging.getLogger(__name__)

ZSTD: Final = b"zstd"
USAGE: Final = "write start DIR [MASK] [LIMIT] [zstd], stop, or dump DIR"


def mask_text(value: Mapping[str, Any]) -> str:
    """Return what `traceMask` shows, which may be written to it: "0x10008 Lock,Control"."""
    return f"{value['mask']} {','.join(value['classes']) or 'none'}\n"


@dataclass(slots=True)
class Session:
    """The recording to a directory that runs, or was the last one. Times of `time.monotonic`."""

    path: Path
    limit_bytes: int
    zstd: bool
    began: float
    requests_before: int
    ended: float = 0.0
    requests: int = 0


class TraceControl:
    """What the three files say and do. One for a mount."""

    def __init__(self, face: Face) -> None:
        self._face = face
        self._machine = face.machine
        self._session: Session | None = None
        self._flushed = 0.0
        self._dumped_events = 0  # in the last dump that somebody asked for
        self._machine.trace.on_mask.append(self._mask_changed)

    # traceMask

    def mask(self) -> dict[str, Any]:
        """Return what is on."""
        mask = self._machine.tracer.mask
        if not mask:  # who has never traced need not read the schema for this
            return {"mask": "0x0", "classes": []}
        from k42fs.machine.tracing.mask import describe

        number, _, names = describe(mask).partition(" ")
        return {"mask": number, "classes": names.split(",")}

    async def change_mask(self, _th: Thread, command: bytes) -> None:
        """Carry out a write to `traceMask`."""
        from k42fs.machine.tracing.mask import parse

        tracer = self._machine.tracer
        if command == b"reset":
            tracer.reset()
        else:
            tracer.set_mask(parse(command.decode(errors="replace"), tracer.mask))

    # traceObjects

    def objects(self) -> str:
        return f"{self._face.cos.tracing.wanted}\n"

    async def change_objects(self, _th: Thread, command: bytes) -> None:
        """Carry out a write to `traceObjects`."""
        self._face.cos.tracing.trace_calls(Wanted.parse(command.decode(errors="replace")))

    # trace

    def status(self) -> dict[str, Any]:
        """Return how the recording stands, or how the last one to a directory went."""
        status = self._machine.tracer.status()
        session = None if status.mode == "ring" else self._session
        seconds, requests, path, limit = 0.0, 0, "", 0
        if session is not None:
            running = not session.ended
            path, limit = str(session.path), session.limit_bytes
            seconds = (time.monotonic() if running else session.ended) - session.began
            requests = self._face.requests - session.requests_before if running else session.requests
        return {
            "mode": status.mode,
            "mask": f"{status.mask:#x}",
            "path": path,
            "limit_bytes": limit,
            "zstd": session is not None and session.zstd,
            "seconds": round(seconds, 3),
            "requests": requests,
            "events": status.events + (self._machine.tracer.pending_events() if status.mode == "ring" else 0),
            "pending_words": status.pending_words,
            "discarded": status.discarded,
            "bytes_written": status.bytes_written,
            "failure": status.failure,
            "processors": len(self._machine.processors),
            "dumped": str(self._face.flight_recorder.dumped or ""),
            "dumped_events": self._dumped_events,
        }

    async def command(self, th: Thread, command: bytes) -> None:
        """Carry out a write to `trace`."""
        words = command.split()
        verb, rest = words[0] if words else b"", words[1:]
        zstd = rest[-1:] == [ZSTD]
        if verb == b"start" and 1 <= len(rest) <= 3 + zstd:
            how = [word.decode(errors="replace") for word in rest[1 : len(rest) - zstd]]
            await self._start(th, rest[0], *how, zstd=zstd)
        elif verb == b"stop" and not rest:
            self._stop()
        elif verb == b"dump" and len(rest) == 1:
            await self._dump(th, rest[0])
        else:
            raise ConfigError(USAGE)

    async def _start(
        self, th: Thread, word: bytes, mask_text: str = "", limit_text: str = "", *, zstd: bool = False
    ) -> None:
        """Begin to record to a directory: all classes, unless a mask is given or one is on."""
        from k42fs.machine.tracing.mask import all_classes, parse

        tracer = self._machine.tracer
        mask = parse(mask_text, tracer.mask) if mask_text else tracer.mask or all_classes()
        if not mask:
            raise ConfigError("with the mask 0 nothing would be recorded")
        limit = parse_size(limit_text) if limit_text else 0
        path = await th.external(trio.to_thread.run_sync(resolve, unescape_path(word)))
        try:
            tracer.start(path, mask, limit, zstd)
        except OSError as exc:
            raise refused(exc, path) from None
        except K42Error:
            raise
        except Exception:  # a bug of whoever has something to say at the start
            tracer.stop()
            raise
        self._session = Session(path, limit, zstd, time.monotonic(), self._face.requests)
        log.info("recording to %s", path)
        self.flush()  # so that a reader finds something from the start

    def _stop(self) -> None:
        tracer = self._machine.tracer
        status = tracer.status()
        if status.mode == "off" or (status.mode == "ring" and not status.mask):
            raise InvalidArgumentError(
                f"nothing is being recorded{status.failure and ': the last '}{status.failure}"
            )
        status = tracer.stop()
        self._ended()
        if status.path is not None:
            log.info(
                "recorded %s: %s events, %s discarded%s",
                status.path,
                status.events,
                status.discarded,
                f"; {status.failure}" if status.failure else "",
            )

    def _ended(self) -> None:
        session = self._session
        if session is not None and not session.ended:
            session.ended = time.monotonic()
            session.requests = self._face.requests - session.requests_before

    def _mask_changed(self, mask: int) -> None:
        """Say it if a recording has ended by itself: its disk is full, for one."""
        session = self._session
        if mask or session is None or session.ended:
            return
        failure = self._machine.tracer.status().failure
        if failure:
            self._ended()
            log.error("%s: %s; what was written can be read", session.path, failure)

    async def _dump(self, th: Thread, word: bytes) -> None:
        path = await th.external(trio.to_thread.run_sync(resolve, unescape_path(word)))
        try:
            self._machine.tracer.dump(path)
        except OSError as exc:
            raise refused(exc, path) from None
        self._face.flight_recorder.dumped = path
        status = self._machine.tracer.status()  # all that was pending has just been written
        self._dumped_events = max(0, status.events - status.discarded)

    # for the mount

    def flush(self) -> None:
        """Bring everything to disk that a recording to a directory has so far."""
        tracer = self._machine.tracer
        if tracer.status().mode == "directory":
            self._flushed = time.monotonic()
            tracer.drain(everything=True)

    def tick(self) -> None:
        """Flush from time to time, called about every TICK_SECONDS: a daemon that is killed then leaves that much.

        Half a tick early is in time: at the next one it would be late.
        """
        if self._machine.processors[0].on.control:
            due = flush_seconds(len(self._machine.processors))
            if time.monotonic() - self._flushed >= due - TICK_SECONDS / 2:
                self.flush()

    def close(self) -> None:
        """The mount ends: complete what is being recorded."""
        if self._session is not None and not self._session.ended:
            self._stop()
