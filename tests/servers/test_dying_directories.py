"""Directories whose objects end while they are swapped, in storms: an inode has one object, and a removed one none."""

from __future__ import annotations

from contextlib import suppress
from random import Random
from typing import Any

import pytest

from k42fs.errors import K42Error
from k42fs.machine.thread import Thread
from k42fs.objects.implementations import names
from k42fs.servers.directory import Directory
from k42fs.servers.fs_file import FSFile
from k42fs.servers.object_control import ObjectControl
from tests.servers.filelib.lab import Storm
from tests.servers.filelib.test_storms import directories

CLIENTS = 2


@pytest.mark.parametrize("seed", [46, 50, 53, 54])
def test_a_directory_that_the_free_list_ends_while_it_is_swapped_never_has_two_objects(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_alive = Directory.check_alive

    def check(self: Directory) -> None:
        check_alive(self)
        assert self.file.obj_ref == self.ref, f"{self.label()} works on, and the inode has forgotten it"

    monkeypatch.setattr(Directory, "check_alive", check)
    storm = Storm(4, seed=seed)
    control = ObjectControl(storm.cos)
    places: list[FSFile] = []
    done: list[int] = []

    async def prepare(storm: Storm, th: Thread) -> None:
        places.append(await storm.call(th, "mkdir", storm.root, b"d", 0o755))
        places[0].holds += 1

    async def client(storm: Storm, th: Thread, number: int) -> None:
        random = Random(seed * 7 + number)
        for turn in range(25):
            await th.sleep(random.randrange(9000))
            name = b"%d-%d" % (number, turn)
            file = await storm.call(th, "mknod", places[0], name, 0o100644)
            assert await storm.call(th, "lookup", places[0], name) is file
        done.append(number)

    async def sweep(storm: Storm, th: Thread) -> None:
        random = Random(seed * 11)
        while len(done) < CLIENTS:
            await storm.call(th, "sweep", 0)
            await th.sleep(random.randrange(600))

    async def swap(storm: Storm, th: Thread) -> None:
        random = Random(seed * 13)
        while len(done) < CLIENTS:
            ref = places[0].obj_ref
            if ref:
                with suppress(K42Error):  # it is gone, or being swapped
                    await control.swap(th, ref, random.choice(("locked", "distributed")))
            await th.sleep(random.randrange(800))

    storm.prepare(prepare)
    for proc in storm.machine.processors:
        proc.idle_until(storm.machine.now)
    for vp in range(CLIENTS):
        storm.spawn(vp, client, vp)
        storm.spawn(vp, sweep)
    storm.spawn(2, swap)
    storm.run()
    assert storm.cos.swaps.statistics()["completed"] > 10
    assert len(directories(storm.root)) == 2


@pytest.mark.parametrize("seed", range(4))
def test_directories_are_removed_while_they_are_swapped(seed: int) -> None:
    storm = Storm(4, seed=seed)
    control = ObjectControl(storm.cos)
    done: list[int] = []

    async def client(storm: Storm, th: Thread, number: int) -> None:
        random = Random(seed * 7 + number)
        for turn in range(30):
            name = b"%d-%d" % (number, turn)
            directory = await storm.call(th, "mkdir", storm.root, name, 0o755)
            await storm.call(th, "mknod", directory, b"x", 0o100644)
            await storm.call(th, "unlink", directory, b"x")
            await th.sleep(random.randrange(500))
            await storm.call(th, "rmdir", storm.root, name)
        done.append(number)

    async def swap(storm: Storm, th: Thread) -> None:
        random = Random(seed * 13)
        while len(done) < CLIENTS:
            for root in list(storm.cos.objects()):
                speaker: Any = getattr(root, "speaker", None)
                if getattr(speaker, "kind", "") == "DirObject" and speaker.file is not storm.root:
                    try:
                        await control.swap(th, root.ref, random.choice(names("DirObject")))
                    except K42Error:
                        continue  # it is gone
            await th.sleep(random.randrange(800))

    for vp in range(CLIENTS):
        storm.spawn(vp, client, vp)
    storm.spawn(3, swap)
    storm.run()
    assert storm.cos.swaps.statistics()["completed"] > 10
    assert directories(storm.root) == [storm.root]
