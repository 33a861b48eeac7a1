"""The policy of a file server: which implementation each new object gets."""

import pytest

from k42fs.errors import ConfigError
from k42fs.ids import VP
from k42fs.servers.fs_file import FSFile
from k42fs.servers.fs_global import FileSystemGlobal
from k42fs.servers.makers import MAKERS, default_policy
from k42fs.servers.object_policy import KINDS, Kind
from tests.servers.filelib.lab import Lab


def test_the_default_of_each_kind_is_the_first_one_listed() -> None:
    assert default_policy().chosen == {kind: next(iter(MAKERS[kind])) for kind in KINDS}


def test_an_unknown_implementation_is_refused_by_kind_name_and_choice() -> None:
    policy = default_policy()
    with pytest.raises(ConfigError, match=r"ServerFile=linear: unknown; one of shared"):
        policy.choose("ServerFile", "linear")
    assert policy.chosen["ServerFile"] == "shared"


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_chosen_makes_the_objects_from_then_on(kind: Kind) -> None:
    made: list[FSFile] = []
    lab = Lab()
    default = MAKERS[kind][lab.tree.tree.policy.chosen[kind]]

    def make(tree: FileSystemGlobal, file: FSFile, vp: VP) -> object:
        made.append(file)
        return default(tree, file, vp)

    def use_a_new_directory_and_file(name: bytes) -> FSFile:
        directory = lab.dir(name)
        return lab.file(b"file", b"data", directory)

    use_a_new_directory_and_file(b"before")
    policy = lab.tree.tree.policy
    policy.offer(kind, "counted", make)
    assert not made
    policy.choose(kind, "counted")
    file = use_a_new_directory_and_file(b"after")
    assert len(made) == 1
    assert made[0].is_dir if kind == "DirObject" else made == [file]
    assert lab.data(file) == b"data"


def test_policies_of_two_trees_do_not_touch_each_other() -> None:
    one, other = Lab(), Lab()
    one.tree.tree.policy.offer("DirObject", "mine", MAKERS["DirObject"]["locked"])
    one.tree.tree.policy.choose("DirObject", "mine")
    assert other.tree.tree.policy.chosen["DirObject"] == "locked"
    with pytest.raises(ConfigError):
        other.tree.tree.policy.choose("DirObject", "mine")
