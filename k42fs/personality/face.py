"""What all FUSE operations share: the system, the nodes that the kernel holds, and the names it may not touch."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

import pyfuse3
import trio

from k42fs.errors import BusyError, NameTooLongError, NotPermittedError
from k42fs.machine import Thread
from k42fs.personality import control_handles
from k42fs.personality.attrs import entry_attributes
from k42fs.personality.control import CONTROL_NAME, Control
from k42fs.personality.control_files import control_files
from k42fs.personality.control_trace import TraceControl
from k42fs.personality.nodes import CONTROL_BASE, ROOT_ID, DirNode, Node, NodeTable
from k42fs.personality.notifier import Notifier
from k42fs.personality.object_attributes import ObjectAttributes
from k42fs.personality.options import MountOptions
from k42fs.personality.places import Places
from k42fs.personality.serving import Serving
from k42fs.personality.session import ReaderBaton
from k42fs.servers.fs_file import FSFile
from k42fs.servers.mount_commands import Attach, Bind, parse_command
from k42fs.servers.system import System

NAME_BYTES_MAX: Final = 255
DRAIN_SECONDS: Final = 10.0
SETTLE_SECONDS: Final = 1.0
Context = pyfuse3.RequestContext


class Face(Serving):
    """The state of the FUSE face. Base of the groups of operations."""

    def __init__(self, system: System, baton: ReaderBaton, notifier: Notifier, options: MountOptions) -> None:
        super().__init__(system.machine, system.cos, baton)
        self.system = system
        self.nodes = NodeTable()
        self.places = Places(self.nodes, system.filler_tree, notifier, system.new_name_client())
        if options.log:
            self.flight_recorder.folder = Path(options.log).parent
        self.trace_control = TraceControl(self)
        self.control = Control(control_files(self, options), self.handles)
        self.object_attributes = ObjectAttributes(system, partial(control_handles.handles_of, self))
        self.notifier = notifier
        self._is_settling = False
        self.updates_atime = not (options.noatime or options.is_read_only)
        root = system.root_entry
        self.places.make_root(root.server, system.root_tree.root_file(), system.snapshot.root)

    def found(self, th: Thread, parent: DirNode, name: bytes, file: FSFile) -> pyfuse3.EntryAttributes:
        """Count one more lookup of *file*, met as *name* in *parent*, and return its attributes."""
        return self.answer(th, self.node_of(parent, name, file))

    def node_of(self, parent: DirNode, name: bytes, file: FSFile) -> Node:
        """Return the node of *file*, met as *name* in *parent*, entering it if it is new."""
        if file.is_dir:
            return self.places.directory(parent, name, file)
        node_id = self.nodes.base_of(parent.tree) | file.ino
        node = self.nodes.by_id.get(node_id)
        if node is None:
            node = Node(node_id, parent.tree, file)
            self.nodes.add(node)
            file.holds += 1
        return node

    def answer(self, th: Thread, node: Node) -> pyfuse3.EntryAttributes:
        node.nlookup += 1
        node.vp = th.vp
        return entry_attributes(node.node_id, node.file)

    def enter_name(self, parent: int, name: bytes) -> DirNode:
        """Return the directory in which a name is about to be made, removed or replaced."""
        if parent >= CONTROL_BASE or (parent == ROOT_ID and name == CONTROL_NAME):
            raise NotPermittedError("the entries of .k42 are fixed")
        node = self.nodes.directory(parent)
        check_name(name)
        if node.mnode is not None and node.mnode.children is not None and name in node.mnode.children:
            raise BusyError("a mount lies at or below this name")
        return node

    async def change_names(self, th: Thread, command: bytes) -> None:
        """Carry out one command of `.k42/mounts`; when it returns the kernel has forgotten what it outdates."""
        parsed = parse_command(command)
        new = parsed.new if isinstance(parsed, Bind) else parsed.prefix
        if new.components[:1] == (CONTROL_NAME,):
            raise NotPermittedError("the entries of .k42 are fixed")
        if isinstance(parsed, Attach):
            await self.system.attach(th, parsed.kind, parsed.prefix, parsed.size_bytes, parsed.is_coverable)
            where = parsed.prefix
        elif isinstance(parsed, Bind):
            await self.system.bind(th, parsed.old, parsed.new, parsed.is_coverable)
            where = parsed.new
        else:
            where = parsed.prefix
            entry = self.system.entry_at(where)
            if entry is not None and not entry.is_bind and self.handles.count_for_tree(entry.server):
                raise BusyError(f"files of the server at {where} are open")
            await self.system.detach(th, where)
        self.places.table_changed(self.system.snapshot, where)
        await th.external(trio.to_thread.run_sync(self.notifier.drain, DRAIN_SECONDS))

    def attributes_changed(self, node: Node) -> None:
        """Tell the kernel of a change to a directory's attributes at its other places."""
        for other in self.nodes.other_places(node):
            self.notifier.attributes_changed(other.node_id)

    async def settle(self, th: Thread) -> None:
        """Wait until the kernel has heard of a change at a directory's other places, so that who made it sees it.

        One request at a time, and only when no earlier news is on its way: the kernel holds the request's directory
        meanwhile, and to be told of a change it takes the directory concerned, so two could wait for each other.
        Whoever comes second goes on; its news follows soon.
        """
        if self._is_settling:
            return
        self._is_settling = True
        try:
            await th.external(trio.to_thread.run_sync(self.notifier.drain, SETTLE_SECONDS))
        finally:
            self._is_settling = False


def check_name(name: bytes) -> None:
    """Refuse a name that is too long: the kernel passes up to 1024 bytes."""
    if len(name) > NAME_BYTES_MAX:
        raise NameTooLongError
