"""New code for all directories or files of a system that is in use."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest

from k42fs.errors import ConfigError
from k42fs.ids import VP
from k42fs.machine import Thread
from k42fs.objects import SingleRepRoot
from k42fs.objects.factory import Replacement, load_replacement
from k42fs.servers.dir_object import DirObject
from k42fs.servers.fs_file import FSFile
from k42fs.servers.fs_global import FileSystemGlobal
from k42fs.servers.server_file import ServerFile
from k42fs.servers.system import System, SystemOptions

PROCESSORS = 4


class TidyDirObject(DirObject):
    implementation: ClassVar[str] = "tidy"


class LoudServerFile(ServerFile):
    implementation: ClassVar[str] = "loud"


def replacement(rep_class: Any, version: int = 2, **options: Any) -> Replacement:  # noqa: ANN401
    def make(cos: Any, th: Thread, old: Any) -> SingleRepRoot:  # noqa: ANN401
        rep = rep_class(old.speaker.tree, old.speaker.file, th.vp)
        return SingleRepRoot(cos, rep, th.vp, ref=old.ref)

    def create(tree: FileSystemGlobal, file: FSFile, vp: VP) -> Any:  # noqa: ANN401
        rep = rep_class(tree, file, vp)
        SingleRepRoot(tree.cos, rep, vp)
        return rep

    name = rep_class.implementation
    return Replacement(kind=rep_class.kind, name=name, version=version, make=make, create=create, **options)


def implementations(system: System, kind: str) -> set[str]:
    speakers = [root.speaker for root in system.cos.objects() if not system.cos.is_dying(root.ref)]  # type: ignore[attr-defined]
    return {speaker.implementation for speaker in speakers if getattr(speaker, "kind", "") == kind}


@pytest.mark.parametrize("rep_class", [TidyDirObject, LoudServerFile])
@pytest.mark.parametrize("seed", range(3))
def test_everything_of_a_kind_is_new_after_an_update_under_load_and_no_byte_is_lost(
    rep_class: Any,  # noqa: ANN401
    seed: int,
) -> None:
    system = System(SystemOptions(processors=PROCESSORS, seed=seed))
    cos, tree, machine = system.cos, system.root_tree, system.machine
    held: dict[bytes, bytes] = {}

    async def call(th: Thread, method: str, *args: object) -> Any:  # noqa: ANN401
        cos.activate(th)
        try:
            return await getattr(th.deref(tree.ref), method)(th, *args)
        finally:
            cos.deactivate(th)

    async def work(th: Thread, number: int) -> None:
        top = await call(th, "mkdir", tree.root_file(), b"d%d" % number, 0o755)
        for turn in range(12):
            name = b"f%d" % turn
            _, opened = await call(th, "create", top, name, 0o644, 2)
            text = b"%d of %d. " % (turn, number) * 20
            for at in range(0, len(text), 64):
                await call(th, "write", opened, at, text[at : at + 64])
            held[b"d%d/" % number + name] = await call(th, "read", opened, 0, 1000)
            assert held[b"d%d/" % number + name] == text
            await call(th, "release", opened)
            if turn % 3 == 2:
                await call(th, "unlink", top, name)
                del held[b"d%d/" % number + name]
            assert (await call(th, "lookup", top, b"f0")).size > 0

    async def update(th: Thread) -> None:
        await th.sleep(150_000)
        under_way = await cos.factories.update(th, replacement(rep_class))
        await under_way.wait(th)
        assert under_way.failures == []
        assert under_way.replaced > 0

    for vp in range(PROCESSORS):
        machine.spawn(VP(vp), work, vp)
        machine.spawn(VP(vp), cos.daemon, 100_000, daemon=True)
    machine.spawn(VP(1), update)
    machine.run()
    assert implementations(system, rep_class.kind) == {rep_class.implementation}
    assert system.policy.chosen[rep_class.kind] == rep_class.implementation

    async def read_all(th: Thread) -> None:
        for path, text in held.items():
            directory, name = path.split(b"/")
            file = await call(th, "lookup", await call(th, "lookup", tree.root_file(), directory), name)
            opened = await call(th, "open", file, 0)
            assert await call(th, "read", opened, 0, 1000) == text
            await call(th, "release", opened)

    machine.spawn(VP(3), read_all)
    machine.run()
    assert implementations(system, rep_class.kind) == {rep_class.implementation}


def test_an_update_of_one_implementation_leaves_the_choice_of_another_alone() -> None:
    system = System(SystemOptions(processors=2))
    system.policy.choose("DirObject", "distributed")

    async def update(th: Thread) -> None:
        await system.cos.factories.update(th, replacement(TidyDirObject, replaces=frozenset(("locked",))))

    system.machine.spawn(VP(0), update)
    system.machine.run()
    assert system.policy.chosen["DirObject"] == "distributed"
    assert "tidy" in system.policy.names("DirObject")


def test_an_update_that_could_not_make_new_objects_is_refused() -> None:
    system = System(SystemOptions(processors=2))
    new = replacement(TidyDirObject)
    without = Replacement(kind=new.kind, name=new.name, version=2, make=new.make)
    refused: list[str] = []

    async def update(th: Thread) -> None:
        try:
            await system.cos.factories.update(th, without)
        except ConfigError as exc:
            refused.append(str(exc))

    system.machine.spawn(VP(0), update)
    system.machine.run()
    assert refused == ["create: must be given, as objects of kind DirObject are made all the time"]


def test_the_example_in_the_documentation_is_a_replacement() -> None:
    path = Path(__file__).resolve().parents[2] / "docs" / "examples" / "update_server_file.py"
    new = load_replacement(path)
    assert (new.kind, new.version) == ("ServerFile", 2)
