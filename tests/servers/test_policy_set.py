"""Policy sets: those that come with k42fs, files of one's own, and what each makes of a system."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from k42fs.errors import ConfigError
from k42fs.ids import VP
from k42fs.machine.thread import Thread
from k42fs.servers.fs_file import FSFile
from k42fs.servers.makers import MAKERS
from k42fs.servers.one_free_list import OneFreeList
from k42fs.servers.policy_set import SUPPLIES, load_policy, policy_names
from k42fs.servers.system import System, SystemOptions
from tests.servers.workload import Run

PROCESSORS = 4


def test_k42_is_the_default_and_is_the_default_of_everything() -> None:
    assert policy_names() == ("k42", "linux-like")
    assert SystemOptions().policy == "k42"
    k42 = load_policy("k42").record()
    assert k42["objects"] == {kind: next(iter(makers)) for kind, makers in MAKERS.items()}
    assert set(k42["supplies"].values()) == {"per-processor"}


def test_linux_like_has_one_of_everything() -> None:
    policy = load_policy("linux-like").record()
    assert set(policy["supplies"]) == set(SUPPLIES)
    assert set(policy["supplies"].values()) == {"single"}
    assert policy["renames"] == "serial"
    assert policy["objects"] == {"DirObject": "locked", "ServerFile": "shared", "FileCache": "single"}


def test_a_file_says_only_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('lock = "ticket"\n[objects]\nDirObject = "distributed"\n[supplies]\nbudget = "single"\n')
    policy = load_policy(str(path))
    expected = load_policy("k42").record()
    expected.update(name="mine", describe="", lock="ticket")
    expected["objects"]["DirObject"] = "distributed"
    expected["supplies"]["budget"] = "single"
    assert policy.record() == expected
    system = System(SystemOptions(policy=str(path), model="off"))
    assert system.machine.lock_kind == "ticket"
    assert system.policy.chosen["DirObject"] == "distributed"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("locks = 1", r"locks=1: unknown; one of describe, lock, renames, objects, supplies"),
        ('lock = "mutex"', r"lock='mutex': must be one of block, slock, ticket, tas"),
        ("renames = true", r"renames=True: must be one of concurrent, serial"),
        ("objects = 3", r"objects=3: must be a table, \[objects\]"),
        (
            '[objects]\nFile = "shared"',
            r"objects\.File='shared': unknown; one of DirObject, ServerFile, FileCache",
        ),
        (
            '[objects]\nDirObject = "shared"',
            r"objects\.DirObject='shared': must be one of locked, distributed",
        ),
        (
            '[supplies]\nrefs = "single"',
            r"supplies\.refs='single': unknown; one of free_lists, .*, mount_table",
        ),
        ('[supplies]\nbudget = "both"', r"supplies\.budget='both': must be one of per-processor, single"),
        ("describe = 7", r"describe=7: must be a string"),
        ("lock = ", r"is not TOML"),
    ],
)
def test_what_cannot_be_is_refused_by_field_value_and_rule(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=complaint):
        load_policy(str(path))


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("linux", "policy=linux: unknown; one of k42, linux-like, or a path that ends in .toml"),
        ("/nowhere/at/all.toml", "policy=/nowhere/at/all.toml: cannot be read"),
    ],
)
def test_a_set_that_is_not_there_is_refused(name: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        load_policy(name)


@pytest.mark.parametrize("policy", policy_names())
def test_a_storm_of_everything_ends_alike_under_each_set(policy: str) -> None:
    run = Run(3, policy=policy)
    counted = run.run()
    assert sum(counted["outcomes"].values()) > 300
    assert counted["objects"]["types"]["NameTree"] >= 1
    assert isinstance(run.system.root_tree.tree.free_lists, OneFreeList) == (policy == "linux-like")


def private_directories(policy: str) -> System:
    """Let each processor make, write, close and remove files in a directory of its own."""
    system = System(SystemOptions(processors=PROCESSORS, policy=policy))
    places: list[FSFile] = []

    async def call(th: Thread, method: str, *args: object) -> Any:  # noqa: ANN401
        system.cos.activate(th)
        try:
            return await getattr(th.deref(system.root_tree.ref), method)(th, *args)
        finally:
            system.cos.deactivate(th)

    async def prepare(th: Thread) -> None:
        root = system.root_tree.root_file()
        places.extend([await call(th, "mkdir", root, b"%d" % vp, 0o777) for vp in range(PROCESSORS)])

    async def work(th: Thread) -> None:
        for i in range(60):
            file, of = await call(th, "create", places[th.vp], b"%d" % i, 0o644, os.O_RDWR)
            await call(th, "write", of, 0, b"data")
            await call(th, "release", of)
            await call(th, "unlink", places[th.vp], b"%d" % i)
            assert file.nlink == 0

    system.machine.spawn(VP(0), prepare)
    system.machine.run()
    for vp in range(PROCESSORS):
        system.machine.spawn(VP(vp), work)
    system.machine.run()
    system.machine.check()
    return system


def test_processors_with_directories_of_their_own_meet_only_in_what_there_is_one_of() -> None:
    apart, together = private_directories("k42"), private_directories("linux-like")
    contended = [
        {row["lock"] for row in system.machine.statistics()["locks"] if row["contentions"]}
        for system in (apart, together)
    ]
    assert contended[0] <= {"budget"}  # when their first credit is fetched
    assert {"inodes", "budget", "free list"} <= contended[1]
    assert apart.machine.now * 1.3 < together.machine.now


def test_calls_are_counted_alike_in_one_word_or_many() -> None:
    totals = []
    for policy in policy_names():
        system = System(SystemOptions(processors=4, model="off", is_live=True, policy=policy))
        machine, tree = system.machine, system.root_tree
        for vp in (0, 1, 1, 3):
            th = machine.enter(VP(vp))
            system.cos.activate(th)
            machine.drive(th.deref(tree.ref).stat_fs(th))
            system.cos.deactivate(th)
            machine.leave(th)
        (server,) = system.object_statistics()["servers"]
        totals.append((server["calls"], tree.calls.counts))
    assert totals == [(4, [1, 2, 0, 1])] * 2
