"""How often what has been recorded of a mount goes to disk: what a daemon that is killed takes with it."""

from __future__ import annotations

from typing import Final

FLUSH_SECONDS: Final = 2.0
"""How long it may stay in memory, while up to FLUSH_PROCESSORS packets are begun for it."""

FLUSH_PROCESSORS: Final = 32
TICK_SECONDS: Final = 1.0
"""How often somebody asks whether that is due."""


def flush_seconds(processors: int) -> float:
    """Return how long what has been recorded of a mount may stay in memory.

    Each processor's packet takes 64 KiB, full or not, so that many processors are flushed less often.
    """
    return FLUSH_SECONDS * max(1.0, processors / FLUSH_PROCESSORS)


def unwritten_seconds(processors: int) -> float:
    """Return how much of a mount's recording may be missing at most if its daemon is killed."""
    return flush_seconds(processors) + TICK_SECONDS / 2
