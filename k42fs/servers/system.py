"""One whole system: the machine, the object manager, the name server, and the file servers in its name space.

Both front ends build this and nothing else: the FUSE face for a live mount, a workload for a deterministic
run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import time_ns
from typing import Any, Final, Literal

from k42fs.errors import (
    BusyError,
    ConfigError,
    InvalidArgumentError,
    NameNotFoundError,
    NotDirectoryError,
)
from k42fs.ids import Ref
from k42fs.machine import Machine, Thread, preset
from k42fs.objects import COSMgr, SingleRepRoot, WellKnown
from k42fs.objects.adaptation import Adapter, Mode, Rule
from k42fs.servers.adapt_rules import RULES, USES
from k42fs.servers.filler_tree import FillerTree
from k42fs.servers.fs_file import FSFile
from k42fs.servers.mount_client import MountPointMgrClient
from k42fs.servers.mount_listing import format_listing, table_record
from k42fs.servers.mount_point_mgr import MountPointMgr, MountPointMgrRep
from k42fs.servers.mount_table import MountEntry, MountTable, Snapshot
from k42fs.servers.name_space import NameSpace, Place
from k42fs.servers.name_tree import NameTree
from k42fs.servers.object_control import ObjectControl
from k42fs.servers.object_policy import KINDS
from k42fs.servers.pathname import ROOT, PathName
from k42fs.servers.policy_set import DEFAULT as DEFAULT_POLICY
from k42fs.servers.policy_set import load_policy
from k42fs.servers.ramfs.filesystem import RamFS

SERVERS_MAX: Final = 256
"""Servers at once, those that still end included: a file's number in a front end has 8 bits for its server."""

NAMES_PER_ROUND: Final = 500
"""Names of a detached server that are removed at once: other requests wait meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemOptions:
    """What a system is made of. Sizes in bytes. `checks_permissions` is off where the kernel checks them.

    `policy`: the name or file of the policy set that its parts are chosen by, see `policy_set.py`. `lock`: which
    locks its servers make if not the policy's, see `machine/lock_choice.py`.
    """

    processors: int = 8
    preset: str = "dir-1024"
    model: Literal["full", "calls", "off"] = "full"
    seed: int = 0
    size_bytes: int = 1 << 30
    is_read_only: bool = False
    updates_atime: bool = True
    acls_are_enforced: bool = True
    is_live: bool = False
    checks_permissions: bool = True
    root_uid: int = 0
    root_gid: int = 0
    clock_ns: Callable[[], int] = field(default=time_ns)
    adapt: Mode = "off"
    adapt_rules: Sequence[Rule] = RULES
    lock: str = ""
    policy: str = DEFAULT_POLICY


class System:
    """Everything that serves one mount or one run. The first server is a ramfs at the root, coverable as K42's was."""

    def __init__(self, options: SystemOptions) -> None:
        self.options = options
        config = preset(options.preset, processors=options.processors, seed=options.seed)
        self.machine = Machine(config, options.model, options.is_live, options.clock_ns)
        self.policy_set = load_policy(options.policy)
        self.machine.lock_kind = options.lock or self.policy_set.lock
        self.cos = COSMgr(self.machine)
        self.control = ObjectControl(self.cos)
        self.policy = self.policy_set.new_policy()
        for kind in KINDS:
            self.cos.factories.on_update(kind, self.policy.take)
        self.adapter = Adapter(self.cos, options.adapt_rules, options.adapt, self.policy, USES)
        filler = FillerTree()
        self.filler_tree: Ref = SingleRepRoot(self.cos, filler).ref
        self.trees: dict[Ref, NameTree] = {}
        self._retired: dict[Ref, NameTree] = {}
        root = self._make_ramfs(options.size_bytes)
        table = MountTable()
        self.root_entry: MountEntry = table.register(ROOT, root.ref, description=b"ramfs", is_coverable=True)
        self.root_tree = root
        cluster = options.processors if self.policy_set.mount_table == "single" else 1
        self._mgr = MountPointMgr(self.cos, table, cluster=cluster)

    @property
    def snapshot(self) -> Snapshot:
        """The mount table now."""
        return self._mgr.snapshot

    def _make_ramfs(self, size_bytes: int) -> NameTree:
        options = self.options
        supplies = self.policy_set.supplies
        fs = RamFS(self.machine, size_bytes, uid=options.root_uid, gid=options.root_gid, supplies=supplies)
        fs.is_read_only = options.is_read_only
        fs.updates_atime = options.updates_atime
        fs.acls_are_enforced = options.acls_are_enforced
        name_server = Ref(WellKnown.MOUNT_POINT_MGR)
        tree = NameTree(
            self.cos,
            fs,
            check=options.checks_permissions,
            policy=self.policy,
            name_server=name_server,
            supplies=supplies,
            serial_renames=self.policy_set.renames == "serial",
        )
        self.trees[tree.ref] = tree
        return tree

    def new_name_client(self) -> MountPointMgrClient:
        """Return a client of the name server, with a prefix table of its own."""
        return MountPointMgrClient(self.cos, self._mgr.ref)

    def name_server(self, th: Thread) -> MountPointMgrRep:
        """Return the name server, for one call."""
        rep: MountPointMgrRep = th.deref(self._mgr.ref)
        return rep

    async def attach(
        self, th: Thread, kind: str, prefix: PathName, size_bytes: int | None, is_coverable: bool
    ) -> MountEntry:
        """Start a server and mount it at *prefix*.

        Raises:
            ConfigError: no server of this kind, or a size that is too small.
            BusyError: SERVERS_MAX servers are there, or the mount table refuses.
        """
        if kind != "ramfs":
            raise ConfigError(f"server {kind!r} is unknown: only ramfs can be attached")
        if size_bytes is not None and size_bytes < 1 << 16:
            raise ConfigError(f"size={size_bytes}: must be at least 64k")
        if not prefix.components:
            raise BusyError("the root server cannot be covered")
        if len(self.trees) + len(self._retired) >= SERVERS_MAX:
            raise BusyError(
                f"{SERVERS_MAX} servers are attached, which is all there is room for: detach one first"
            )
        tree = self._make_ramfs(self.options.size_bytes if size_bytes is None else size_bytes)
        try:
            return await self.name_server(th).register(
                th, prefix, tree.ref, description=kind.encode(), is_coverable=is_coverable
            )
        except BaseException:
            await self._destroy(th, self.trees.pop(tree.ref))
            raise

    async def bind(self, th: Thread, old: PathName, new: PathName, is_coverable: bool) -> MountEntry:
        """Name at *new* the directory that *old* names now: links in *old* are followed now and never again.

        Raises:
            NameNotFoundError, NotDirectoryError: *old* is none. InvalidArgumentError: *new* lies inside
            *old*.
        """
        if not new.components:
            raise BusyError("the root server cannot be covered")
        place = await self._place_of(th, old)
        if not place.point.is_directory:
            raise NotDirectoryError(f"{old} is not a directory")
        if new.components[: len(place.path)] == place.path.components:
            raise InvalidArgumentError(f"{new} lies inside {old}: the walk would not end")
        return await self.name_server(th).bind(th, place.path, new, is_coverable=is_coverable)

    async def _place_of(self, th: Thread, path: PathName) -> Place:
        """Return what *path* leads to in a server. Links in it are followed now."""
        client = self.new_name_client()
        try:
            place = await NameSpace(client).resolve(th, path)
        except NameNotFoundError:
            raise NameNotFoundError(f"{path} does not exist") from None
        finally:
            await client.destroy(th)
        if place.point.file is None:
            raise NameNotFoundError(f"{path} exists only for the mounts below it")
        return place

    async def detach(self, th: Thread, prefix: PathName) -> MountEntry:
        """Take the mount in front at *prefix* away; a server without mounts ends once nobody knows its files."""
        if not prefix.components:
            raise BusyError("the root server stays as long as the mount: unmount instead")
        gone = await self.name_server(th).unregister(th, prefix)
        if gone.mounts_left == 0:
            tree = self.trees.pop(gone.entry.server)
            self._retired[gone.entry.server] = tree
        return gone.entry

    def entry_at(self, prefix: PathName) -> MountEntry | None:
        """Return the mount in front at exactly *prefix*."""
        stack = self.snapshot.mounts.get(prefix.components)
        return stack[-1] if stack else None

    @property
    def is_ending_servers(self) -> bool:
        """Whether a detached server waits until nobody uses it any more."""
        return bool(self._retired)

    async def end_retired(self, th: Thread, in_use: Callable[[Ref], bool]) -> list[Ref]:
        """End the servers that are detached and no longer in use by the front end; return which have ended.

        A full server takes several calls: each removes a bounded number of names.
        """
        ended = []
        for ref in [ref for ref in self._retired if not in_use(ref)]:
            tree = self._retired[ref]
            if await _remove_below(th, tree, tree.root_file(), NAMES_PER_ROUND) > 0:
                del self._retired[ref]
                await self._destroy(th, tree)
                ended.append(ref)
        return ended

    async def _destroy(self, th: Thread, tree: NameTree) -> None:
        """Destroy an empty server's objects, the tree last."""
        for ref in self.cos.refs_of(lambda rep: rep is not tree and getattr(rep, "tree", None) is tree.tree):
            await self.cos.destroy(th, ref)
        await self.cos.destroy(th, tree.ref)

    async def clean_up(self, th: Thread) -> None:
        """Free what *th*'s processor has not used for long. The thread is active."""
        for tree in list(self.trees.values()):
            await tree.sweep(th)

    # What there is to know

    def object_statistics(self) -> dict[str, Any]:
        """Return the object manager's counts, and the calls each file server has had, ready for JSON."""
        servers = [
            {"server": tree.label(), "ref": ref, "calls": tree.calls.total}
            for ref, tree in self.trees.items()
        ]
        return {**self.cos.statistics(), "servers": servers}

    def listing(self) -> tuple[str, Any]:
        """Return the name space as text and ready for JSON."""
        snapshot = self.snapshot
        return format_listing(snapshot).decode(errors="replace"), table_record(snapshot)

    def object_of(self, file: FSFile) -> dict[str, Any]:
        """Return what there is to say about the object behind *file*; `object` is None for a cold token."""
        return self.control.about(file.obj_ref)


async def _remove_below(th: Thread, tree: NameTree, directory: FSFile, budget: int) -> int:
    """Remove what is in *directory*, at most *budget* names; return what is left of the budget, 0 if it ran out."""
    while budget > 0:
        entries = await tree.tree.fs.get_dents(th, directory, 0, budget)
        if not entries:
            return budget
        for name, file, _ in entries:
            if file.is_dir:
                budget = await _remove_below(th, tree, file, budget)
                if budget <= 0:
                    return 0
                await tree.rmdir(th, directory, name)
            else:
                await tree.unlink(th, directory, name)
            budget -= 1
    return 0
