"""The checks for implementations of one's own: they pass what conforms, and each finds what it is there for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from k42fs.cli.main import cli
from k42fs.errors import ConfigError
from k42fs.ids import VP
from k42fs.machine.layout import Kind as MemoryKind
from k42fs.machine.locks import FairBLock
from k42fs.machine.thread import Thread
from k42fs.objects import COSMgr, SingleRepRoot
from k42fs.objects.factory import Replacement, load_replacement
from k42fs.objects.transfer import TransferType
from k42fs.servers.dir_object import DirObject
from k42fs.servers.file_cache import FileCache
from k42fs.servers.fs_file import FSFile
from k42fs.servers.fs_global import FileSystemGlobal
from k42fs.servers.server_file import ServerFile
from k42fs.workloads import conformance
from k42fs.workloads.conformance import check

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def replacement(rep_class: Any) -> Replacement:  # noqa: ANN401
    def make(cos: COSMgr, th: Thread, old: Any) -> SingleRepRoot:  # noqa: ANN401
        rep = rep_class(old.speaker.tree, old.speaker.file, th.vp)
        return SingleRepRoot(cos, rep, th.vp, ref=old.ref)

    def create(tree: FileSystemGlobal, file: FSFile, vp: VP) -> Any:  # noqa: ANN401
        rep = rep_class(tree, file, vp)
        SingleRepRoot(tree.cos, rep, vp)
        return rep

    name = rep_class.implementation
    return Replacement(kind=rep_class.kind, name=name, version=2, make=make, create=create)


class Forgetful(DirObject):
    """Keeps a removed name in mind."""

    implementation = "forgetful"

    async def unlink(self, th: Thread, name: bytes) -> FSFile:
        file = await super().unlink(th, name)
        await self.names.bind(th, name, file)
        return file


class Careless(ServerFile):
    """Lets go of its lock before it writes."""

    implementation = "careless"

    async def write(self, th: Thread, of: Any, offset: int | None, data: Any) -> int:  # noqa: ANN401
        size = self.file.size
        await th.sleep(5000)
        if of.flags & 0o2000:
            of.flags &= ~0o2000
            try:
                return await super().write(th, of, size, data)
            finally:
                of.flags |= 0o2000
        return await super().write(th, of, offset, data)


class Closed(FileCache):
    """Exports nothing that anybody can take."""

    implementation = "closed"
    exports = frozenset((TransferType.TEST,))


class Loser(ServerFile):
    """Forgets the clients that it is handed."""

    implementation = "loser"

    async def import_state(self, th: Thread, state: Any, kind: TransferType) -> None:  # noqa: ANN401
        await super().import_state(th, state._replace(clients=set()), kind)


class Clinging(ServerFile):
    """Keeps a lock when the last name goes."""

    implementation = "clinging"

    async def lose_name(self, th: Thread, *args: Any, **kw: Any) -> None:  # noqa: ANN401
        await super().lose_name(th, *args, **kw)
        if not self.file.nlink:
            await FairBLock(self.tree.machine, self.addr, name="kept", owner=self, spans_calls=True).acquire(
                th
            )


class Leaky(DirObject):
    """Takes memory at each removal and gives none back."""

    implementation = "leaky"

    async def unlink(self, th: Thread, name: bytes) -> FSFile:
        self.tree.memory.alloc(th.vp, 64, MemoryKind.GLOBAL, owner=self.tree)
        return await super().unlink(th, name)


def quiet(_name: str, _done: int, _of: int) -> None:
    """Nobody looks."""


@pytest.mark.parametrize(
    ("rep_class", "failing"),
    [
        (Forgetful, "in turn"),
        (Careless, "at once"),
        (Closed, "forms"),
        (Loser, "swapped in"),
        (Clinging, "storm"),
        (Leaky, "memory"),
    ],
)
def test_each_check_finds_what_it_is_there_for(rep_class: type, failing: str) -> None:
    (result,) = check(replacement(rep_class), quiet, [failing], seeds=1)
    assert result.name == failing
    assert result.failure


def test_the_example_conforms_and_the_command_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conformance, "PAIRS", conformance.PAIRS[::7])
    done = CliRunner().invoke(cli, ["conform", str(EXAMPLES / "eager_directory.py")])
    assert done.exit_code == 0, done.output
    assert done.output.count("pass") == 7
    assert done.output.startswith("DirObject eager, version 2\n")


def test_the_example_is_as_short_as_the_documentation_says() -> None:
    assert len((EXAMPLES / "eager_directory.py").read_text().splitlines()) <= 40


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace('kind="DirObject"', 'kind="Car"'), "kind=Car: checked can be DirObject"),
        (lambda text: text.replace(", create=create", ""), "create: is needed"),
        (lambda text: text.replace("REPLACEMENT =", "OTHER ="), "must define REPLACEMENT"),
        (lambda text: text + "\n1 / 0\n", "ZeroDivisionError"),
    ],
)
def test_what_cannot_be_checked_is_refused_in_words(
    tmp_path: Path, change: Callable[[str], str], said: str
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(change((EXAMPLES / "eager_directory.py").read_text()))
    done = CliRunner().invoke(cli, ["conform", str(path)])
    assert done.exit_code == 1
    with pytest.raises(ConfigError) as caught:
        check(load_replacement(path), quiet)
    assert said in str(caught.value)
