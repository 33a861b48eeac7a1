"""What is known of an object manager's objects, as figures."""

from __future__ import annotations

from typing import TypedDict


class ObjectStatistics(TypedDict):
    """Counts since the manager was made; the last group says what is there now."""

    created: int
    destroyed: int
    freed: int
    double_destroys: int
    misses: int
    deleted_answers: int
    token_rounds: int
    token_passes: int
    token_waits: int
    token_stalls: int
    token_turns_since_pass_max: int
    live: int
    refs_in_use: int
    pending: int
    pages: int
    ring: int
    token_vp: int | None
    token_turns_since_pass: int
    token_stalled_by: str | None
    types: dict[str, int]
    active_threads: dict[int, int]
    generations: dict[int, int]
