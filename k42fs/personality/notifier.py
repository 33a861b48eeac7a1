"""Telling the kernel what changed behind its cache, from a thread of its own.

The kernel's notify calls block while a request on the same directory or inode is in progress, so they may
not be made from a handler. One daemon thread makes them in order; `drain` lets a control write wait until
its own are through.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from functools import partial

import pyfuse3

log = logging.getLogger(__name__)


class Notifier:
    """A queue of invalidations. Safe to call from the event loop: nothing here blocks but `drain`."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._queued = 0
        self._done = 0  # written by the thread alone

    @property
    def is_idle(self) -> bool:
        """Whether every call queued so far is through."""
        return self._queued == self._done

    def entry_changed(self, parent_id: int, name: bytes) -> None:
        """The kernel must look *name* up again in the directory *parent_id*."""
        self._put(partial(pyfuse3.invalidate_entry, parent_id, name))

    def attributes_changed(self, node_id: int) -> None:
        """The kernel must ask for *node_id*'s attributes again; its data stays."""
        self._put(partial(pyfuse3.invalidate_inode, node_id, attr_only=True))

    def attributes_changed_now(self, node_id: int) -> None:
        """The same, heard before this returns: for a handler whose caller is to see the change it made.

        The kernel takes no lock of the inode to forget its attributes, so this one call may be made from a handler.
        """
        self._tell(partial(pyfuse3.invalidate_inode, node_id, attr_only=True))

    def contents_changed(self, node_id: int) -> None:
        """The kernel must ask for *node_id*'s attributes again, and for its data."""
        self._put(partial(pyfuse3.invalidate_inode, node_id))

    def drain(self, timeout_seconds: float) -> bool:
        """Block until what was queued before is through. For threads other than the event loop's."""
        done = threading.Event()
        self._put(done.set)
        return done.wait(timeout_seconds)

    def close(self) -> None:
        """Stop after the calls queued so far; waits for at most two seconds."""
        if self._thread is not None:
            self._calls.put(None)
            self._thread.join(2.0)
            self._thread = None

    def _put(self, call: Callable[[], None]) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="k42fs-notify", daemon=True)
            self._thread.start()
        self._queued += 1
        self._calls.put(call)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            try:
                self._tell(call)
            finally:
                self._done += 1

    @staticmethod
    def _tell(call: Callable[[], None]) -> None:
        try:
            call()
        except FileNotFoundError:
            pass  # the kernel had not cached it
        except OSError as exc:
            log.warning("the kernel refused an invalidation: %s", exc)
