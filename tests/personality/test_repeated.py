"""`.k42/top.json` and `.k42/live.json`: what has changed since the last question."""

from __future__ import annotations

import errno
import json
from types import SimpleNamespace
from typing import Any
from weakref import ReferenceType

import pyfuse3
import pytest

from k42fs.errors import InvalidArgumentError
from k42fs.personality.live_objects import changes, identity_of, implementation_of, label_of
from k42fs.personality.repeated import ASKERS_MAX, Repeated
from tests.personality.face_lab import CTX, ROOT, Mount, mount

__all__ = ["mount"]

OTHER: Any = SimpleNamespace(pid=2, uid=0, gid=0, umask=0o022)
"""A second client: it is given the other processor."""


async def ask(mount: Mount, name: str, *questions: bytes) -> list[dict[str, Any]]:
    """Ask a control file as a client does: open, then write and read for each question, close."""
    control = await mount.ops.lookup(ROOT, b".k42", CTX)
    entry = await mount.ops.lookup(control.st_ino, name.encode(), CTX)
    opened = await mount.ops.open(entry.st_ino, 2, CTX)
    answers, at = [], 0
    try:
        for question in questions:
            at += await mount.ops.write(opened.fh, at, question)
            answers.append(json.loads(await mount.ops.read(opened.fh, at, 1 << 24)))
            at += 1 << 24
    finally:
        await mount.ops.release(opened.fh)
    return answers


async def fight(mount: Mount, directory: bytes, rounds: int) -> None:
    """Two processors make and remove names of one directory in turn: its lines move."""
    entry = await mount.ops.lookup(ROOT, directory, CTX)
    for turn in range(rounds):
        name = b"name %d" % turn
        await mount.ops.mknod(entry.st_ino, name, 0o100644, 0, CTX)
        await mount.ops.unlink(entry.st_ino, name, OTHER)


async def test_what_just_became_hot_comes_first_however_hot_something_else_has_been(mount: Mount) -> None:
    for name in (b"old", b"new"):
        await mount.ops.mkdir(ROOT, name, 0o755, CTX)
    await fight(mount, b"old", 30)
    (first,) = await ask(mount, "top.json", b"3 me")
    await fight(mount, b"new", 5)
    (second,) = await ask(mount, "top.json", b"3 me")
    assert [row["path"] for row in first["hot"][:1]] == ["/old"]
    assert [row["path"] for row in second["hot"][:1]] == ["/new"]
    old, new = first["hot"][0], second["hot"][0]
    assert (new["kind"], new["implementation"]) == ("DirObject", "locked")
    assert 0 < new["more_transfers"] < old["more_transfers"]
    assert new["vps"] == [0, 1]
    assert second["lines"][0]["ref"] == new["ref"] != old["ref"]


async def test_changes_of_lines_add_up_to_their_totals(mount: Mount) -> None:
    await mount.ops.mkdir(ROOT, b"d", 0o755, CTX)
    sums: dict[int, int] = {}
    for _ in range(3):
        await fight(mount, b"d", 4)
        (seen,) = await ask(mount, "top.json", b"1000 me")
        for row in seen["lines"]:
            sums[row["address"]] = sums.get(row["address"], 0) + row["more_transfers"]
            assert sums[row["address"]] == row["transfers"]
    machine = mount.system.machine
    assert sum(sums.values()) == sum(
        row.transfers for row in machine.hand_offs.added_to(machine.core.transfers())
    )


async def test_after_a_reset_changes_begin_at_zero(mount: Mount) -> None:
    await mount.ops.mkdir(ROOT, b"d", 0o755, CTX)
    await fight(mount, b"d", 10)
    await ask(mount, "top.json", b"1000 me")
    mount.system.machine.reset_statistics()
    await fight(mount, b"d", 2)
    (seen,) = await ask(mount, "top.json", b"1000 me")
    assert seen["lines"]
    assert all(row["more_transfers"] == row["transfers"] for row in seen["lines"])


async def test_requests_are_counted_by_name_and_refusals_too_but_not_those_on_control_files(
    mount: Mount,
) -> None:
    await mount.ops.mkdir(ROOT, b"d", 0o755, CTX)
    with pytest.raises(pyfuse3.FUSEError):
        await mount.ops.mkdir(ROOT, b"d", 0o755, CTX)
    with pytest.raises(pyfuse3.FUSEError):
        await ask(mount, "top.json", b"nonsense")
    (seen,) = await ask(mount, "top.json", b"1")
    assert seen["by_request"] == {"mkdir": 2}
    assert seen["requests"] == 2
    assert seen["refused"] == 1
    assert mount.ops.refused == {errno.EEXIST: 1}


async def test_the_rows_of_processors_say_what_the_statistics_say(mount: Mount) -> None:
    await mount.ops.mkdir(ROOT, b"d", 0o755, CTX)
    await fight(mount, b"d", 3)
    (seen,) = await ask(mount, "top.json", b"1")
    rows = mount.system.machine.statistics()["per_processor"]
    for row, full in zip(seen["per_processor"], rows, strict=True):
        assert row["operations"] == full["operations"] > 0
        assert row["references"] == full["loads"] + full["stores"] + full["rmws"] > row["misses"] > 0
        span = seen["now_cycles"] - mount.system.machine.baseline.clock(
            mount.system.machine.processors[row["vp"]]
        )
        assert row["busy_cycles"] / span == pytest.approx(full["utilisation"], abs=0.01)


@pytest.mark.parametrize("model", ["calls", "off"])
async def test_a_mount_that_models_less_tells_less(monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    mount = Mount(monkeypatch, model)
    try:
        await mount.ops.mkdir(ROOT, b"d", 0o755, CTX)
        await fight(mount, b"d", 3)
        first, second = await ask(mount, "top.json", b"50", b"50")
    finally:
        mount.close()
    assert first["requests"] == 8
    assert first["lines"] == first["hot"] == second["locks"] == []
    assert bool(first["locks"]) == (model == "calls")
    assert all(row["more_acquisitions"] == row["acquisitions"] > 0 for row in first["locks"])


async def test_objects_are_told_of_once_when_they_come_and_once_when_they_go(mount: Mount) -> None:
    (first,) = await ask(mount, "live.json", b"100 me")
    made = await mount.ops.mkdir(ROOT, b"d", 0o755, CTX)
    await fight(mount, b"d", 1)
    (second,) = await ask(mount, "live.json", b"100 me")
    (third,) = await ask(mount, "live.json", b"100 me")
    assert {row["implementation"] for row in first["new"]} >= {"COSMgr", "NameTree", "MountPointMgr"}
    (row,) = [row for row in second["new"] if row["path"] == "/d"]
    assert (row["object"], row["kind"]) == (f"DirObject {made.st_ino}", "DirObject")
    assert row["processors"] == [0, 1]
    assert third["new"] == third["gone"] == third["swapped"] == []
    assert third["live"] == third["created"] - third["freed"]


async def test_no_more_new_objects_are_told_than_asked_for(mount: Mount) -> None:
    answers = await ask(mount, "live.json", *[b"3"] * 2)
    assert len(mount.system.cos.objects()) == 4
    assert [len(answer["new"]) for answer in answers] == [3, 1]
    assert [answer["is_all"] for answer in answers] == [False, True]


async def test_another_object_under_the_same_ref_is_one_gone_and_one_new(mount: Mount) -> None:
    """Refs are used again last in, first out, and so are inode numbers."""
    told: Any = {}
    made = await mount.ops.mkdir(ROOT, b"d", 0o755, CTX)
    await fight(mount, b"d", 1)
    changes(mount.ops, 100, told)
    (root,) = [root for root in mount.system.cos.objects() if label_of(root) == f"DirObject {made.st_ino}"]
    file = root.speaker.file  # type: ignore[attr-defined]
    told[root.ref] = (
        ReferenceType(mount.system.root_tree.root),
        (label_of(root), file.generation - 1),
        "locked",
    )
    seen = changes(mount.ops, 100, told)
    assert seen["gone"] == [root.ref]
    assert [row["ref"] for row in seen["new"]] == [root.ref]


async def test_an_object_that_is_swapped_is_told_of_as_such_and_stays_the_same(mount: Mount) -> None:
    """A swap puts another root, with another implementation, behind the ref."""
    told: Any = {}
    _, made = await mount.ops.create(ROOT, b"file", 0o100644, 2, CTX)
    changes(mount.ops, 100, told)
    (root,) = [root for root in mount.system.cos.objects() if label_of(root) == f"ServerFile {made.st_ino}"]
    told[root.ref] = ReferenceType(mount.system.root_tree.root), identity_of(root), "another"
    seen = changes(mount.ops, 100, told)
    told_of = [(row["ref"], row["before"], row["implementation"]) for row in seen["swapped"]]
    assert told_of == [(root.ref, "another", implementation_of(root))]
    assert seen["gone"] == seen["new"] == []


def test_only_the_last_askers_are_known() -> None:
    """Whoever is forgotten is answered as at the first question."""
    file = Repeated[list[int]](list, added, repr_bytes, 9)
    for asker in range(ASKERS_MAX + 1):
        file.answer(b"1 %d" % asker, [])
    assert file.answer(b"2 %d" % ASKERS_MAX, []) == b"[1, 2]"
    assert file.answer(b"2 0", []) == b"[2]"


def added(rows: int, kept: list[int]) -> list[int]:
    kept.append(rows)
    return kept


def repr_bytes(value: object) -> bytes:
    return repr(value).encode()


@pytest.mark.parametrize("question", [b"", b"0", b"10", b"-1", b"x", b"1 a b", b"1 " + b"x" * 65, b"\xb2"])
def test_nonsense_is_refused_and_nothing_is_kept_of_it(question: bytes) -> None:
    file = Repeated[list[int]](list, added, repr_bytes, 9)
    own: list[int] = []
    with pytest.raises(InvalidArgumentError):
        file.answer(question, own)
    assert own == []
