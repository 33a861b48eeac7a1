"""Calls into a mount, with a time limit: a daemon that does not answer must not hang the command."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

ANSWER_SECONDS: Final = 10.0


def limited(call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Return ``call(*args, **kwargs)``, made in a thread that is left behind if it takes over ANSWER_SECONDS.

    Raises:
        TimeoutError: no answer in time.
    """
    results: list[R] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call(*args, **kwargs))
        except BaseException as exc:
            failures.append(exc)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(ANSWER_SECONDS)
    if failures:
        raise failures[0]
    if not results:
        raise TimeoutError(
            f"the mount did not answer in {ANSWER_SECONDS:.0f} s: its daemon hangs or is overloaded"
        )
    return results[0]
