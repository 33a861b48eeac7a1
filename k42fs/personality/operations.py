"""The FUSE face: decode, call the server object, encode. Thin on purpose: another face can stand beside it.

Every handler is made by `by_caller` or `by_handle` (serving.py): it gets the thread it runs on first, and its
failures are translated there. A node number below CONTROL_BASE always has a server behind it, the ones
above are `.k42` (control.py).

The kernel caches names, attributes and pages for CACHE_SECONDS. It knows of every change made through it;
changes it cannot know of (a directory seen through another bind, the mount table) are announced through the
notifier.
"""

from __future__ import annotations

import logging
from typing import Any

import pyfuse3

from k42fs.ids import VP
from k42fs.personality.attribute_operations import AttributeOperations
from k42fs.personality.directory_operations import DirectoryOperations
from k42fs.personality.face import Face
from k42fs.personality.file_operations import FileOperations
from k42fs.personality.late import changed_inodes, changed_names, requests_to_undo
from k42fs.personality.name_operations import NameOperations
from k42fs.personality.notifier import Notifier
from k42fs.personality.options import MountOptions
from k42fs.personality.session import ReaderBaton
from k42fs.servers.system import System

log = logging.getLogger(__name__)


class Operations(
    NameOperations, AttributeOperations, FileOperations, DirectoryOperations, pyfuse3.Operations
):
    """All operations that pyfuse3 passes on, and what `.k42` and the timer ask for."""

    supports_dot_lookup = False
    enable_writeback_cache = False

    def __init__(self, system: System, baton: ReaderBaton, notifier: Notifier, options: MountOptions) -> None:
        Face.__init__(self, system, baton, notifier, options)
        self.enable_acl = options.acl

    def ended_late(self, request: str, args: tuple[Any, ...], answer: object) -> None:
        """Give back what an answer gave that nobody heard, and make the kernel look at what may have changed."""
        for own_request, argument in requests_to_undo(request, answer):
            self.serve_later(own_request, argument)
        for parent, name in changed_names(request, args):
            self.notifier.entry_changed(parent, name)
            self.notifier.attributes_changed(parent)
        for node_id in changed_inodes(request, args):
            self.notifier.contents_changed(node_id)

    async def adapt(self) -> None:
        """End a window of adaptation: see `objects/adaptation.py`."""
        th = self.machine.enter(VP(0), is_housekeeping=True)  # not active: a swap would wait for it
        try:
            for decision in await self.run(th, self.system.adapter.observe(th)):
                log.info("adaptation: %s", decision.sentence())
        except Exception as exc:
            self.failure(exc, "adaptation")
        finally:
            self.machine.leave(th)

    async def clean_up(self, vp: VP) -> None:
        """Give processor *vp*'s clean-up daemon its turn: idle objects, deferred destruction, detached servers."""
        th = self.begin(vp, is_housekeeping=True)
        try:
            await self.run(th, self.system.clean_up(th))
            if vp == 0:
                for tree in await self.run(th, self.system.end_retired(th, self.nodes.knows_tree)):
                    self.nodes.end_tree(tree)
        except Exception as exc:
            self.failure(exc, "clean-up", th)
        else:
            self.end(th)
        th = self.machine.enter(vp, is_housekeeping=True)  # not active: it would wait for itself
        try:
            await self.run(th, self.cos.check_cleanup(th))
        except Exception as exc:
            self.failure(exc, "clean-up")
        finally:
            self.machine.leave(th)
