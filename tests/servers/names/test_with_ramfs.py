"""The name space over the real file library and ramfs."""

from __future__ import annotations

import stat

import pytest

from k42fs.errors import NameNotFoundError
from k42fs.ids import VP, Ref
from k42fs.machine import Thread
from k42fs.objects import WellKnown
from k42fs.servers.mount_client import MountPointMgrClient
from k42fs.servers.mount_table import MountEntry
from k42fs.servers.name_space import NameSpace, check_same_mounts
from k42fs.servers.pathname import DotDot
from k42fs.servers.system import System, SystemOptions
from tests.servers.names.town import p

WIDE = stat.S_IFDIR | 0o777


@pytest.mark.parametrize("dotdot", list(DotDot), ids=lambda mode: mode.name)
def test_links_binds_and_servers_of_a_real_system(dotdot: DotDot) -> None:
    system = System(SystemOptions(processors=2, model="calls", is_live=True))
    client = MountPointMgrClient(system.cos, Ref(WellKnown.MOUNT_POINT_MGR))
    space = NameSpace(client)

    async def build(th: Thread) -> MountEntry:
        root = await space.root(th)
        assert root.file is not None
        tree = root.server
        projects = await th.deref(tree).mkdir(th, root.file, b"projects", WIDE)
        await th.deref(tree).mkdir(th, projects, b"k42", WIDE)
        await th.deref(tree).symlink(th, root.file, b"current", b"projects/k42")
        await th.deref(tree).symlink(th, projects, b"scratch", b"/tmp")
        await system.attach(th, "ramfs", p("/tmp"), None, False)
        return await space.bind(th, p("/current"), p("/desk"), is_coverable=False)

    async def check(th: Thread) -> None:
        made = [
            (await space.resolve(th, p(path), dotdot=dotdot)).point
            for path in ("/projects/k42", "/desk", "/current")
        ]
        assert made[0].file is made[1].file is made[2].file
        check_same_mounts(made[0], made[1])
        scratch = (await space.resolve(th, p("/projects/scratch/"), dotdot=dotdot)).point
        assert scratch.mount is not None
        assert scratch.mount.server != made[0].server
        with pytest.raises(NameNotFoundError):
            await space.resolve(th, p("/desk/none"), dotdot=dotdot)

    for part in (build, check, check):
        th = system.machine.enter(VP(1))
        system.cos.activate(th)
        system.machine.drive(part(th))
        system.cos.deactivate(th)
        system.machine.leave(th)
