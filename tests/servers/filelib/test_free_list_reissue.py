"""A free list outlives the objects in it: a ref that was reissued meanwhile is another object's."""

from __future__ import annotations

import os

from k42fs.ids import VP
from k42fs.servers.system import System, SystemOptions


def test_an_entry_whose_object_died_elsewhere_is_dropped_even_if_its_ref_lives_again() -> None:
    system = System(SystemOptions(processors=2, model="off", is_live=True))
    machine, cos, tree = system.machine, system.cos, system.root_tree
    lists = tree.tree.free_lists

    def run(vp: int, method: str, *args: object) -> object:
        th = machine.enter(VP(vp))
        cos.activate(th)
        try:
            return machine.drive(getattr(th.deref(tree.ref), method)(th, *args))
        finally:
            cos.deactivate(th)
            machine.leave(th)

    root = tree.root_file()
    made = run(0, "create", root, b"a", 0o644, os.O_RDWR)
    assert isinstance(made, tuple)
    file, opened = made
    run(0, "release", opened)
    made = run(0, "create", root, b"b", 0o644, os.O_RDWR)
    assert isinstance(made, tuple)
    run(0, "write", made[1], 0, b"data")
    caches = [root.ref for root in cos.objects() if root.type_name == "FileCache"]
    run(1, "unlink", root, b"a")  # its object dies on processor 1, its entry stays in processor 0's list
    assert file.obj_ref not in caches
    th = machine.enter(VP(0))
    machine.drive(lists.add(th, caches[0], file))  # as it is once the ref has become the cache's
    machine.leave(th)
    run(0, "sweep", 0)  # a cache knows nothing of free lists: asked, it would fail the caller's request
    assert caches[0] in [root.ref for root in cos.objects()]
