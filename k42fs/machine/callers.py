"""Call sites, for the trace: who asked, beyond those who serve everybody.

Where it was built, fast_trace.pyx does this, in a fifth of the time.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

try:
    from k42fs.machine.fast_trace import Caller
except ImportError:
    Caller = None  # type: ignore[assignment, misc]


class PlainCaller:
    """Finds the nearest frame whose file is in none of *passed_by*, as a number that *site_of* gives for it."""

    def __init__(self, passed_by: frozenset[str], site_of: Callable[[FrameType], int]) -> None:
        self._passed_by, self._site_of = passed_by, site_of

    def site(self) -> int:
        """Return the site of the nearest such frame, the caller's own the first that is looked at."""
        return self.site_from(sys._getframe(1))

    def site_from(self, frame: FrameType) -> int:
        """Return the site of the nearest such frame, *frame* the first that is looked at."""
        while frame.f_code.co_filename in self._passed_by and frame.f_back is not None:
            frame = frame.f_back
        return self._site_of(frame)


def new_caller(passed_by: frozenset[str], site_of: Callable[[FrameType], int]) -> PlainCaller | Caller:
    """Return what finds call sites, compiled if that was built."""
    return (PlainCaller if Caller is None else Caller)(passed_by, site_of)
