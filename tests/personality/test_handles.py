"""Open handles of the kernel are cross-domain handles."""

from __future__ import annotations

import os
from errno import EPERM
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pyfuse3 import FUSEError

from k42fs.errors import BadHandleError, NotPermittedError
from k42fs.ids import VP, Ref
from k42fs.machine import Machine, preset
from k42fs.objects import COSMgr
from k42fs.objects.xhandle import Rights
from k42fs.personality.handles import CLOSED_MAX, HandleTable
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
    assert entry.user_rights == rights | Rights.GLOBAL_HANDLE
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
