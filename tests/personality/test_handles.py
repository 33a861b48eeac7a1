"""Open handles of the kernel are cross-domain handles."""

from __future__ import annotations

import json
import os
import subprocess
from errno import EPERM
from time import CLOCK_BOOTTIME, clock_gettime_ns
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pyfuse3 import FUSEError

from k42fs.errors import BadHandleError, NotPermittedError
from k42fs.ids import VP, Ref
from k42fs.machine import Machine, preset
from k42fs.objects import COSMgr
from k42fs.objects.xhandle import Rights
from k42fs.personality import clients
from k42fs.personality.clients import program_of, started_ns
from k42fs.personality.handles import CLIENTS_MAX, CLOSED_MAX, HandleTable
from k42fs.servers.credentials import Creds
from k42fs.servers.open_file import OpenFile
from tests.personality.face_lab import CTX, ROOT, Mount, mount

__all__ = ["mount"]

CREDS = Creds(1000, 1000, 77, 0o22)


def table() -> HandleTable:
    return HandleTable(COSMgr(Machine(preset("dir-1024", processors=2), live=True)))


def node(tree: int) -> Any:  # noqa: ANN401
    return SimpleNamespace(tree=Ref(tree))


def opened(flags: int) -> OpenFile:
    return OpenFile(cast("Any", None), Ref(5), flags, CREDS, VP(0))


def test_a_number_finds_its_handle_until_it_is_closed() -> None:
    handles = table()
    one = handles.add(VP(1), CREDS, node(9), opened(os.O_RDONLY))
    assert handles.use(one.number) is one
    assert (len(handles), handles.count_for_tree(9), handles.count_for_tree(8)) == (1, 1, 0)
    handles.remove(one.number)
    assert (len(handles), handles.count_for_tree(9)) == (0, 0)
    with pytest.raises(BadHandleError):
        handles.use(one.number)
    with pytest.raises(BadHandleError):
        handles.remove(one.number)


def test_no_number_is_given_twice_though_entries_are_used_again() -> None:
    handles = table()
    numbers = set()
    for _ in range(2000):
        handle = handles.add(VP(0), CREDS, node(9), opened(os.O_RDWR))
        assert handle.number not in numbers
        numbers.add(handle.number)
        handles.remove(handle.number)
    assert handles.has_many_closed, "no clean-up daemon has run"
    assert handles.table.removed > CLOSED_MAX
    with pytest.raises(BadHandleError):
        handles.use(0)


@pytest.mark.parametrize(
    ("flags", "rights"),
    [(os.O_RDONLY, Rights.READ), (os.O_WRONLY, Rights.WRITE), (os.O_RDWR, Rights.READ | Rights.WRITE)],
)
def test_rights_are_those_it_was_opened_for(flags: int, rights: Rights) -> None:
    handles = table()
    entry = handles.table.find(handles.add(VP(0), CREDS, node(9), opened(flags)).number)
    assert entry.rights == rights | Rights.GLOBAL_HANDLE
    assert (entry.ref, entry.pid) == (5, 77)
    for needed in (Rights.READ, Rights.WRITE):
        if needed in rights:
            assert handles.use(entry.handle, needed.value).number == entry.handle
        else:
            with pytest.raises(NotPermittedError, match=f"needs.*{needed.name}"):
                handles.use(entry.handle, needed.value)


def test_who_opened_what_is_known_by_process() -> None:
    handles = table()
    for pid in (10, 10, 20):
        handles.add(VP(0), Creds(0, 0, pid, 0), node(9), opened(os.O_RDONLY))
    handles.add(VP(0), CREDS, None, None)
    assert {pid: len(each) for pid, each in handles.table.clients.items()} == {10: 2, 20: 1, 77: 1}
    assert handles.count_for_tree(0) == 1


async def test_a_request_that_a_handle_was_not_opened_for_is_refused(mount: Mount) -> None:
    name = b"f"
    opened, entry = await mount.ops.create(ROOT, name, 0o644, os.O_WRONLY, CTX)
    assert await mount.ops.write(opened.fh, 0, b"text") == 4
    with pytest.raises(FUSEError) as refused:
        await mount.ops.read(opened.fh, 0, 10)
    assert refused.value.errno == EPERM
    await mount.ops.release(opened.fh)
    fh = (await mount.ops.open(entry.st_ino, os.O_RDONLY, CTX)).fh
    with pytest.raises(FUSEError) as refused:
        await mount.ops.write(fh, 0, b"none")
    assert refused.value.errno == EPERM
    assert await mount.ops.read(fh, 0, 10) == b"text"
    await mount.ops.release(fh)


def test_the_death_of_a_client_closes_nothing_and_takes_its_handles_off_its_list() -> None:
    handles = table()
    one, two = (handles.add(VP(0), Creds(0, 0, 10, 0), node(9), opened(os.O_RDONLY)) for _ in range(2))
    other = handles.add(VP(0), Creds(0, 0, 20, 0), node(9), opened(os.O_RDONLY))
    assert handles.disown_dead({10: one.since_ns, 20: 0}.get) == 0
    assert handles.disown_dead({20: 0}.get) == 2
    assert list(handles.table.clients) == [20]
    assert handles.disown_dead({20: 0}.get) == 0
    for each in (one, two, other):
        assert handles.use(each.number, Rights.READ.value) is each
        handles.remove(each.number)
    assert handles.table.clients == {}


def test_a_process_that_began_after_a_handle_was_opened_is_another_one_of_the_same_number() -> None:
    handles = table()
    inherited = handles.add(VP(0), CREDS, node(9), opened(os.O_RDONLY))
    began = inherited.since_ns + 1
    own = handles.add(VP(0), CREDS, node(9), opened(os.O_RDONLY))
    own.since_ns = began + 1
    assert handles.disown_dead({77: began}.get) == 1
    assert [each.client_data for each in handles.table.clients[77]] == [own]


def test_each_look_for_the_dead_is_bounded_and_all_have_their_turn() -> None:
    handles = table()
    for pid in range(1, 2 * CLIENTS_MAX + 10):
        handles.add(VP(0), Creds(0, 0, pid, 0), node(9), opened(os.O_RDONLY))
    asked: set[int] = set()

    def all_alive(pid: int) -> int:
        asked.add(pid)
        return 0

    for turn in (1, 2):
        assert handles.disown_dead(all_alive) == 0
        assert len(asked) == turn * CLIENTS_MAX
    handles.disown_dead(all_alive)
    assert asked == set(handles.table.clients)


def test_a_process_is_known_by_its_start_and_its_program() -> None:
    mine = started_ns(os.getpid())
    assert mine is not None
    child = subprocess.Popen(["sleep", "60"])
    try:
        began = started_ns(child.pid)
        assert began is not None
        assert mine < began < clock_gettime_ns(CLOCK_BOOTTIME)
        while program_of(child.pid) != "sleep":  # until it has replaced itself
            pass
    finally:
        child.kill()
        child.wait()
    assert started_ns(child.pid) is None
    assert program_of(child.pid) == ""


def test_a_process_that_may_not_be_looked_at_is_not_taken_for_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    monkeypatch.setattr(clients, "PROC", "/proc/hidden")
    assert started_ns(os.getpid()) == 0
    assert program_of(os.getpid()) == ""
    assert started_ns(child.pid) is None


async def test_the_control_file_shows_who_has_what_open(mount: Mount) -> None:
    me: Any = SimpleNamespace(pid=os.getpid(), uid=0, gid=0, umask=0o022)
    opened, entry = await mount.ops.create(ROOT, b"f", 0o644, os.O_WRONLY, me)
    directory = await mount.ops.opendir(ROOT, me)
    shown = await read_json(mount, b"handles.json")
    rows = {row["file"]: row for row in shown["open"]}
    assert {path: row["rights"] for path, row in rows.items()} == {"/f": "w", "/": "dir"}
    assert rows["/f"]["client"] == rows["/f"]["opened_by"] == os.getpid()
    assert rows["/f"]["program"] == program_of(os.getpid())
    about = json.loads(await mount.ops.getxattr(entry.st_ino, b"user.k42.object", CTX))
    assert [(row["handle"], row["rights"]) for row in about["handles"]] == [(opened.fh, "w")]
    await mount.ops.releasedir(directory)
    await mount.ops.release(opened.fh)
    assert (await read_json(mount, b"handles.json"))["open"] == []


async def read_json(mount: Mount, name: bytes) -> Any:  # noqa: ANN401
    control = (await mount.ops.lookup(ROOT, b".k42", CTX)).st_ino
    number = (await mount.ops.lookup(control, name, CTX)).st_ino
    fh = (await mount.ops.open(number, os.O_RDONLY, CTX)).fh
    text = await mount.ops.read(fh, 0, 1 << 20)
    await mount.ops.release(fh)
    return json.loads(text)
