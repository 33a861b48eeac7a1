"""The whole FUSE face over a real system, without a mount: only what pyfuse3 does in C is played here."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pyfuse3
import pytest

from k42fs.ids import VP
from k42fs.machine import RWLock
from k42fs.personality.nodes import ROOT_ID
from k42fs.personality.notifier import Notifier
from k42fs.personality.operations import Operations
from k42fs.personality.options import MountOptions
from k42fs.personality.session import ReaderBaton
from k42fs.servers.fs_file import FSFile
from k42fs.servers.system import System, SystemOptions

ROOT = ROOT_ID
CTX: Any = SimpleNamespace(pid=1, uid=0, gid=0, umask=0o022)


class Buffer:
    """The kernel's side of one readdir request, with room for *room* entries."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.entries: list[tuple[bytes, int, int]] = []  # name, node number, next offset

    def names(self) -> list[bytes]:
        return [name for name, _, _ in self.entries]


def reply(token: Any, name: bytes, attr: pyfuse3.EntryAttributes, next_id: int) -> bool:  # noqa: ANN401
    """Stand in for `pyfuse3.readdir_reply`."""
    if len(token.entries) == token.room:
        return False
    token.entries.append((name, attr.st_ino, next_id))
    return True


class Mount:
    """Operations that nobody mounted. `invalidated`: what the kernel was told to look up again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, model: str = "full") -> None:
        self.invalidated: list[Any] = []
        monkeypatch.setattr(pyfuse3, "readdir_reply", reply)
        monkeypatch.setattr(pyfuse3, "invalidate_entry", lambda *args: self.invalidated.append(args))
        monkeypatch.setattr(pyfuse3, "invalidate_inode", lambda *args, **_: self.invalidated.append(args))
        self.system = System(
            SystemOptions(processors=2, model=model, is_live=True, checks_permissions=False)  # type: ignore[arg-type]
        )
        self.ops: Any = Operations(self.system, ReaderBaton(), Notifier(), MountOptions(size=1 << 20))

    def close(self) -> None:
        self.ops.notifier.close()

    @property
    def root(self) -> FSFile:
        return self.system.root_tree.root_file()

    @property
    def active(self) -> int:
        """Threads that hold up some processor's clean-up."""
        return sum(self.system.cos.generations(vp).active for vp in list(self.system.cos.ring))

    def dirlock(self) -> RWLock:
        """The root directory's dirlock; somebody has used the directory before."""
        for processor in self.system.machine.processors:
            rep = processor.ltt.get(self.root.obj_ref)
            if rep is not None:
                lock: RWLock = rep.dirlock
                return lock
        raise AssertionError("the root directory has no object yet")

    def housekeeper(self) -> Any:  # noqa: ANN401
        """An active thread of the last processor, for holding locks."""
        return self.ops.begin(VP(1))

    async def make(self, *names: bytes) -> None:
        """Make files that the kernel does not know any more."""
        for name in names:
            entry = await self.ops.mknod(ROOT, name, 0o100644, 0, CTX)
            await self.ops.forget([(entry.st_ino, 1)])

    async def forget(self, buffer: Buffer) -> None:
        """Take back what the kernel counted for the entries of a readdir answer."""
        await self.ops.forget([(node, 1) for name, node, _ in buffer.entries if name not in (b".", b"..")])


@pytest.fixture
def mount(monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ANN401
    made = Mount(monkeypatch)
    yield made
    made.close()
