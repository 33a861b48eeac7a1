"""Recordings of a file server: opens, uses, names and ramfs operations, counted beside what was really done."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from k42fs.errors import NameNotFoundError, NoDataError
from k42fs.ids import VP
from k42fs.machine import Thread
from k42fs.machine.tracing.mask import CACHE, CLUST_OBJ, FS, FUSE, LOCK, MEM, SCHEDULER, all_classes
from k42fs.machine.tracing.packets import NAMES_CPU
from k42fs.machine.tracing.tracer import Tracer
from k42fs.servers.attr_changes import AttrChanges
from k42fs.servers.credentials import Creds
from k42fs.servers.file_cache import EXTENT
from k42fs.servers.rename import EXCHANGE
from k42fs.servers.system import System, SystemOptions
from tests.machine.tracing.lab import read, strings
from tests.report.lab import run, said, source

Body = Callable[[Thread, "Files"], Awaitable[None]]


class Files:
    """One thread's way to the root server: each call through the ref, as every front end's."""

    def __init__(self, system: System, th: Thread, pid: int) -> None:
        self.system, self.th = system, th
        th.creds = Creds(1000, 1000, pid)
        self.root = system.root_tree.root_file()

    async def __call__(self, method: str, *args: object) -> Any:  # noqa: ANN401
        return await getattr(self.th.deref(self.system.root_entry.server), method)(self.th, *args)


class Recorded:
    """Bodies run one after the other on their processors while *mask* is on."""

    def __init__(
        self,
        to: Path,
        mask: int,
        *bodies: tuple[int, int, Body],
        before: Body | None = None,
        cache: str = "single",
        directory: str = "locked",
    ) -> None:
        clock = iter(range(10**18, 2 * 10**18, 1000))
        options = SystemOptions(
            processors=4, size_bytes=4 << 20, clock_ns=clock.__next__, checks_permissions=False
        )
        self.system = System(options)
        self.system.policy.choose("FileCache", cache)
        self.system.policy.choose("DirObject", directory)
        self.path = to
        if before is not None:
            self._run(0, 1, before)
        if mask:
            self.system.machine.tracer.start(to, mask)
        for vp, pid, body in bodies:
            self._run(vp, pid, body)
        self.system.machine.check()
        self.clocks = [proc.clock for proc in self.system.machine.processors]
        self.counted = self.system.machine.statistics(), self.system.machine.event_hash()
        self.system.machine.close()

    def _run(self, vp: int, pid: int, body: Body) -> None:
        async def go(th: Thread) -> None:
            self.system.cos.activate(th)
            await body(th, Files(self.system, th, pid))
            self.system.cos.deactivate(th)

        self.system.machine.spawn(VP(vp), go)
        self.system.machine.run()

    def events(self, prefix: str = "fs_") -> Counter[str]:
        """Return how many events there are of each kind in the class FS, or another one."""
        seen = read(self.path)
        return Counter(
            name.removeprefix(prefix)
            for cpu, events in seen.items()
            if cpu != NAMES_CPU
            for _, _, name, _ in events
            if name.startswith(prefix)
        )


async def everything(th: Thread, fs: Files) -> None:
    """One of each operation that has an event."""
    home = await fs("mkdir", fs.root, b"home", 0o755)
    file, of = await fs("create", home, b"a", 0o644, os.O_RDWR)
    await fs("write", of, 0, b"x" * 5000)
    await fs("read", of, 0, 100)
    await fs("seek", of, 3, os.SEEK_SET)
    await fs("fsync", of)
    await fs("release", of)
    await fs("get_status", file)
    await fs("set_attributes", file, AttrChanges(mode=0o600, uid=5, mtime_ns=9))
    await fs("set_attributes", file, AttrChanges(size=10))
    await fs("set_xattr", file, b"user.x", b"1")
    await fs("get_xattr", file, b"user.x")
    with pytest.raises(NoDataError):
        await fs("get_xattr", file, b"security.capability")
    await fs("list_xattr", file)
    await fs("remove_xattr", file, b"user.x")
    with pytest.raises(NameNotFoundError):
        await fs("lookup", home, b"none")
    assert await fs("lookup", home, b"a") is file
    await fs("link", file, home, b"b")
    await fs("rename", home, b"b", fs.root, b"c")
    await fs("unlink", fs.root, b"c")
    handle = await fs("open_dir", home)
    await fs("read_dir", handle, 0)
    await fs("release_dir", handle)
    await fs("unlink", home, b"a")
    await fs("rmdir", fs.root, b"home")


def test_each_operation_has_its_events(tmp_path: Path) -> None:
    found = Recorded(tmp_path / "t", FS, (1, 70, everything)).events()
    once = (
        "ramfs_mkdir", "ramfs_rmdir", "ramfs_create_file", "ramfs_link", "ramfs_rename", "ramfs_start_write",
        "ramfs_f_chown", "ramfs_utime", "ramfs_f_truncate", "ramfs_get_dents", "get_status_fi_nf",
        "server_file_created", "server_file_block_destroy", "sf_destroy", "file_purge",
        "dir_linux_fs_volatile_destroy",
    )  # fmt: skip
    assert {name: found[name] for name in once} == dict.fromkeys(once, 1)
    more = {
        "ramfs_f_chmod": 1, "ramfs_unlink": 2, "ramfs_delete_file": 2, "stub_acquire": 2, "stub_release": 2,
        "stub_access": 5, "get_obj_ret": 2, "full_file_name": 2, "get_status_started": 2, "get_status_finished": 2,
        "name_tree_access": 11, "dir_created": 2,
    }  # fmt: skip
    assert {name: found[name] for name in more} == more
    assert found["ext_lookup_st"] == found["ext_lookup_fi"] == found["ramfs_lookup"]
    assert found["directory_purge"] == 4
    assert (
        found["ramfs_lookup"] == found["ramfs_lookup_ret"] == found["ramfs_get_file_token_or_server_file"] > 0
    )


@pytest.mark.parametrize("directory", ["locked", "distributed"])
def test_names_are_paths_and_follow_a_rename(directory: str, tmp_path: Path) -> None:
    async def before(th: Thread, fs: Files) -> None:
        deep = await fs("mkdir", await fs("mkdir", fs.root, b"old", 0o755), b"deep", 0o755)
        _, of = await fs("create", deep, b"kept \xc3\xa9", 0o644, os.O_RDWR)
        await fs("write", of, 0, b"1")

    async def body(th: Thread, fs: Files) -> None:
        place = await fs("mkdir", fs.root, b"new", 0o755)
        _, of = await fs("create", place, b"file", 0o644, os.O_RDWR)
        await fs("write", of, 0, b"1")
        await fs("rename", fs.root, b"new", fs.root, b"newer")
        await fs("rename", place, b"file", place, b"f2")
        await fs("release", of)
        await fs("open", of.file, os.O_RDONLY)

    recorded = Recorded(tmp_path / "t", CLUST_OBJ | FS, (0, 7, body), before=before, directory=directory)
    seen = read(recorded.path)
    texts: dict[Any, str] = {**strings(seen[NAMES_CPU])}
    named = {
        (texts[values[1]], texts[values[2]])
        for _, _, name, values in seen[NAMES_CPU]
        if name == "clust_obj_object_name"
    }
    assert {("DirObject", "/"), ("DirObject", "/old"), ("DirObject", "/old/deep")} <= named
    assert {("ServerFile", "/old/deep/kept é"), ("FileCache", "/old/deep/kept é")} <= named
    assert {("DirObject", "/new"), ("ServerFile", "/new/file"), ("FileCache", "/new/file")} <= named
    assert {("DirObject", "/newer"), ("ServerFile", "/newer/f2")} <= named
    assert ("NameTree", "ramfs") in named
    full = [
        texts[values[1]]
        for cpu, events in seen.items()
        if cpu != NAMES_CPU
        for _, _, name, values in events
        if name == "fs_full_file_name"
    ]
    assert full == ["/new/file", "/newer/f2"]


def test_a_rename_is_told_of_the_files_cache_too_and_of_both_files_of_an_exchange(tmp_path: Path) -> None:
    async def body(th: Thread, fs: Files) -> None:
        for name in (b"out.tmp", b"other"):
            _, of = await fs("create", fs.root, name, 0o644, os.O_RDWR)
            await fs("write", of, 0, b"1")
        await fs("rename", fs.root, b"out.tmp", fs.root, b"out")
        await fs("rename", fs.root, b"out", fs.root, b"other", EXCHANGE)

    path = Recorded(tmp_path / "t", CLUST_OBJ | FS, (0, 7, body)).path
    names = source(path).names.objects
    lives = {tuple(map(str, life)) for life in names.lives()}
    for kind in ("ServerFile", "FileCache"):
        assert (f"{kind} /out.tmp", f"{kind} /out", f"{kind} /other") in lives
        assert (f"{kind} /other", f"{kind} /out") in lives


def test_a_second_recording_does_not_believe_the_first(tmp_path: Path) -> None:
    async def named(th: Thread, fs: Files) -> None:
        tracer = fs.system.machine.tracer
        tracer.start(tmp_path / "first", CLUST_OBJ)
        _, of = await fs("create", fs.root, b"old", 0o644, os.O_RDWR)
        tracer.stop()
        await fs("rename", fs.root, b"old", fs.root, b"new")
        tracer.start(tmp_path / "second", CLUST_OBJ)
        await fs("write", of, 0, b"1")
        tracer.stop()

    Recorded(tmp_path / "none", 0, (0, 7, named))
    found = []
    for which in ("first", "second"):
        names = read(tmp_path / which)[NAMES_CPU]
        texts: dict[Any, str] = {**strings(names)}
        found.append({texts[values[2]] for _, _, name, values in names if name == "clust_obj_object_name"})
    assert "/old" in found[0]
    assert "/new" in found[1]
    assert "/old" not in found[1]


def test_every_ref_that_is_seen_has_a_name(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path / "t", all_classes(), (1, 70, everything), (2, 71, everything))
    seen = read(recorded.path)
    named = {values[0] for _, _, name, values in seen[NAMES_CPU] if name == "clust_obj_object_name"}
    called = {
        values[0] for cpu, events in seen.items() for _, _, name, values in events if name == "clust_obj_call"
    }
    assert len(called) > 5
    assert called <= named


def test_sharing_is_answered_as_it_was(tmp_path: Path) -> None:
    """Two processes at once, two one after the other, one alone, and one by name while another has it open."""
    kept: dict[str, Any] = {}

    async def first(th: Thread, fs: Files) -> None:
        for name in (b"both", b"turns", b"alone", b"named"):
            _, of = await fs("create", fs.root, name, 0o644, os.O_RDWR)
            await fs("write", of, 0, b"1")
            await fs("get_status", of.file)
            if name in (b"turns", b"alone"):
                await fs("release", of)
            kept[name.decode()] = of

    async def second(th: Thread, fs: Files) -> None:
        for name in (b"both", b"turns"):
            of = await fs("open", await fs("lookup", fs.root, name), os.O_RDONLY)
            await fs("read", of, 0, 1)
            await fs("release", of)
        await fs("get_status", await fs("lookup", fs.root, b"named"))

    recorded = Recorded(tmp_path / "t", FS | CLUST_OBJ, (0, 70, first), (2, 71, second))
    rows = {row["file"]: row for row in said("sharing", recorded.path)["files"]}
    assert {
        name: (row["why"], row["pids"]) for name, row in rows.items() if name.startswith("ServerFile")
    } == {
        "ServerFile /both": ("opened while another had it open", [70, 71]),
        "ServerFile /turns": ("", [70, 71]),
        "ServerFile /alone": ("", [70]),
        "ServerFile /named": ("used by name while clients had it", [70]),
    }
    assert rows["ServerFile /both"]["processors"] == 2
    assert rows["ServerFile /both"]["most_open"] == 2
    assert rows["ServerFile /both"]["accesses"] == 3, "a write, a status, a read"


def test_calls_are_counted_as_they_were_made(tmp_path: Path) -> None:
    """Also those that fail: two, one of them not for want of a name."""
    made: Counter[str] = Counter()

    async def body(th: Thread, fs: Files) -> None:
        class Counting(Files):
            async def __call__(self, method: str, *args: object) -> Any:  # noqa: ANN401
                made[method] += 1
                try:
                    return await super().__call__(method, *args)
                except (NameNotFoundError, NoDataError):
                    made["errors"] += 1
                    raise

        await everything(th, Counting(fs.system, th, 70))

    recorded = Recorded(tmp_path / "t", CLUST_OBJ, (1, 70, body))
    rows = said("calls", recorded.path)["methods"]
    trees = {row["method"]: row for row in rows if row["class"] == "NameTree"}
    errors = made.pop("errors")
    assert {name: row["calls"] for name, row in trees.items()} == made
    assert sum(row["errors"] for row in trees.values()) == errors == 2
    text = run("calls", "-c", recorded.path).output
    assert any(line.endswith("NameTree.write") for line in text.splitlines())
    files = {row["method"]: row["calls"] for row in rows if row["class"] == "ServerFile"}
    assert (files["write"], files["read"], files["seek"], files["sync"]) == (1, 1, 1, 1)
    seen = read(recorded.path)
    opened = [
        values[-1] for events in seen.values() for *_, name, values in events if name == "clust_obj_call"
    ]
    closed = [
        values[-1] for events in seen.values() for *_, name, values in events if name == "clust_obj_return"
    ]
    assert sorted(opened) == sorted(closed)


def test_the_tree_of_a_request_shows_its_calls_locks_and_cycles(tmp_path: Path) -> None:
    times: dict[str, int] = {}

    async def body(th: Thread, fs: Files) -> None:
        emit = th.proc.emit
        _, of = await fs("create", fs.root, b"f", 0o644, os.O_RDWR)
        times["began"] = th.proc.clock
        emit.fuse_op_enter(5, 16, 2, 70, th.vp, 0, 0, 0)
        await fs("write", of, 0, b"x" * 100)
        times["ended"] = th.proc.clock
        emit.fuse_op_exit(5, 0, 100, 0)
        await fs("release", of)

    recorded = Recorded(tmp_path / "t", CLUST_OBJ | FUSE | LOCK | CACHE | SCHEDULER, (3, 70, body))
    rows = said("calls", recorded.path, "--tree", "--request", "5")["tree"]
    shown = [(row["depth"], row["what"], row["vp"]) for row in rows]
    calls = [each for each in shown if "lock" not in each[1]]
    assert [(depth, what) for depth, what, _ in calls[1:]] == [
        (1, "NameTree.write"),
        (2, "ServerFile.write"),
        (3, "FileCache.write"),
    ]
    assert {vp for _, _, vp in shown} == {3}
    assert any(what.startswith("lock") and depth == 3 for depth, what, _ in shown), shown
    assert rows[0]["cycles"] == times["ended"] - times["began"]
    assert rows[1]["cycles"] <= rows[0]["cycles"]
    assert sum(row["self_cycles"] for row in rows if "lock" not in row["what"]) <= rows[0]["cycles"]
    assert sum(row["misses"] for row in rows) > 0


async def pages(th: Thread, fs: Files) -> None:
    """Five extents written, read twice, cut to two."""
    _, of = await fs("create", fs.root, b"big", 0o644, os.O_RDWR)
    await fs("write", of, 0, b"x" * 5 * EXTENT)
    for _ in range(2):
        await fs("read", of, EXTENT, 3 * EXTENT)
    await fs("set_attributes", of.file, AttrChanges(size=2 * EXTENT))
    await fs("release", of)


@pytest.mark.parametrize("cache", ["single", "partitioned", "replicated"])
def test_each_page_looked_up_found_added_or_dropped_is_told(cache: str, tmp_path: Path) -> None:
    found = Recorded(tmp_path / "t", MEM, (1, 70, pages), cache=cache).events("mem_")
    counts = (("fcmcom_add_page", 5), ("fcm_def_inv_page", 3), ("page_dealloc", 3), ("fcmcom_attach_reg", 1))
    assert {name: found[name] for name, _ in counts} == dict(counts)
    assert (found["fr_start_write"], found["fr_start_fill_page"]) == (1, 2)
    assert found["fcm_partitioned_trivial_create"] + found["fcm_default_create"] == 1
    assert found["fcm_partitioned_trivial_create"] == (cache == "partitioned")
    if cache == "replicated":
        assert (
            found["fcm_default_multi_rep_map_page_start"] == found["fcm_default_multi_rep_map_page_end"] == 11
        )
        assert found["fcm_default_multi_rep_get_page_internal_start"] == 5
        assert found["fcm_default_multi_rep_get_page_internal_end"] == 5
        assert found["fcm_default_multi_rep_map_page_retry"] == 5
    else:
        assert (found["fcm_def_found_page"], found["fcm_def_map_page"], found["fcm_def_get_page"]) == (
            6,
            11,
            11,
        )


@pytest.mark.parametrize("cache", ["single", "partitioned", "replicated"])
@pytest.mark.parametrize("mask", [FS, CLUST_OBJ, FS | CLUST_OBJ | MEM])
def test_recording_changes_neither_clocks_nor_counts(mask: int, cache: str, tmp_path: Path) -> None:
    bodies = (1, 70, everything), (2, 71, everything), (3, 72, pages)
    quiet = Recorded(tmp_path / "off", 0, *bodies, cache=cache)
    recorded = Recorded(tmp_path / "on", mask, *bodies, cache=cache)
    assert recorded.clocks == quiet.clocks
    assert recorded.counted == quiet.counted
    assert isinstance(recorded.system.machine.tracer, Tracer)
