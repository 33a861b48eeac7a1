"""Where failures become answers: a client's mistake its own errno, a bug EIO and a logged trace."""

from __future__ import annotations

import logging
from collections.abc import Callable
from errno import EIO

import pyfuse3

from k42fs.errors import K42Error

log = logging.getLogger(__name__)

EVENTS_LOGGED = 20
"""Events of each processor that are logged beside the trace of a bug."""


def answer_for(exc: BaseException, request: str, recent_events: Callable[[int], str]) -> pyfuse3.FUSEError:
    """Return what the kernel is told when *request* ended in *exc*.

    Anything but a FUSEError that reaches pyfuse3 ends the whole mount, so every handler passes its failures
    through here. ``recent_events(n)`` gives the last n events of each processor as text, for the log.
    """
    if isinstance(exc, pyfuse3.FUSEError):
        return exc
    if isinstance(exc, K42Error):
        return pyfuse3.FUSEError(exc.errno)
    if isinstance(exc, MemoryError):
        log.error("out of memory while serving %s", request)
        return pyfuse3.FUSEError(EIO)
    log.error("bug while serving %s", request, exc_info=exc)
    log.error("last events of each processor:\n%s", recent_events(EVENTS_LOGGED))
    return pyfuse3.FUSEError(EIO)
