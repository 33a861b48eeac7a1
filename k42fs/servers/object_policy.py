"""Which implementation each new object of a file server gets, and how it is made.

Every kind of object (directory, file, file cache) has several implementations that answer the same calls with
the same results. A maker makes one of them for an inode that has no object; `makers.py` lists those there are.
The policy names one of each kind for the objects that are made from now on; those that exist stay as they are,
and may be replaced one by one (objects/swap).

Making an object touches no shared line on behalf of the policy: names are read, never counted.

K42: the choice in each class's Create, after flags of os/kernel/sys/KernelInfo.H.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, cast, get_args

from k42fs.errors import ConfigError

if TYPE_CHECKING:
    from k42fs.ids import VP
    from k42fs.objects.factory import Replacement
    from k42fs.servers.fs_file import FSFile
    from k42fs.servers.fs_global import FileSystemGlobal

Kind = Literal["DirObject", "ServerFile", "FileCache"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

MakeObject = Callable[["FileSystemGlobal", "FSFile", "VP"], Any]
"""(tree, inode, processor): the new object, published, as its maker may use it before anybody else can: `ref` is
its ref, `root` its root (or itself), and a ServerFile has `add_client`."""

Told = Callable[[str, Any], None]
"""(kind, what its maker gave): who is told of each object that is made. It must not call it."""

Makers = Mapping[Kind, Mapping[str, MakeObject]]


class ObjectPolicy:
    """The implementations of the objects to come, by kind. Shared by all file servers of a system.

    Args:
        makers: those there are, by kind and name; the first of each kind is the default.
        chosen: names to begin with, by kind.

    Raises:
        ConfigError: a name in *chosen* is unknown.
    """

    __slots__ = ("_cache", "_directory", "_file", "_makers", "_told", "chosen")

    def __init__(self, makers: Makers, chosen: Mapping[Kind, str] = MappingProxyType({})) -> None:
        self._makers: dict[Kind, dict[str, MakeObject]] = {kind: dict(makers[kind]) for kind in KINDS}
        self.chosen: dict[Kind, str] = {}
        self._told: Told | None = None
        for kind in KINDS:
            self.choose(kind, chosen.get(kind, next(iter(makers[kind]))))

    def directory(self, file: FSFile) -> MakeObject:
        """Return what makes the object of the directory *file*."""
        return self._directory

    def file(self, file: FSFile) -> MakeObject:
        """Return what makes the object of the regular file *file*."""
        return self._file

    def cache(self, file: FSFile) -> MakeObject:
        """Return what makes the file cache of *file*."""
        return self._cache

    def names(self, kind: Kind) -> list[str]:
        """Return the implementations of *kind* that can be chosen, the default first."""
        return list(self._makers[kind])

    def offer(self, kind: Kind, name: str, make: MakeObject) -> None:
        """Let *name* be chosen from now on; one of that name is replaced."""
        self._makers[kind][name] = make
        if self.chosen.get(kind) == name:
            self.choose(kind, name)

    def take(self, new: Replacement) -> None:
        """Let new code make what would have been made by the implementations that it replaces."""
        kind = cast("Kind", new.kind)  # who registers this for a kind makes objects of it
        self.offer(kind, new.name, new.create)
        if new.replaces is None or self.chosen[kind] in new.replaces:
            self.choose(kind, new.name)

    def choose(self, kind: Kind, name: str) -> None:
        """Let the objects of *kind* that are made from now on be *name*s.

        Raises:
            ConfigError: there is no such implementation.
        """
        make = self._makers[kind].get(name)
        if make is None:
            raise ConfigError(f"{kind}={name}: unknown; one of {', '.join(self._makers[kind])}")
        self.chosen[kind] = name
        if self._told is not None:
            make = _telling(self._told, kind, make)
        if kind == "DirObject":
            self._directory = make
        elif kind == "ServerFile":
            self._file = make
        else:
            self._cache = make

    def tell(self, told: Told | None) -> None:
        """Call *told* with the kind and the rep of each object that is made from now on, until None is given."""
        self._told = told
        for kind, name in list(self.chosen.items()):
            self.choose(kind, name)


def _telling(told: Told, kind: Kind, make: MakeObject) -> MakeObject:
    def make_and_tell(tree: FileSystemGlobal, file: FSFile, vp: VP) -> Any:  # noqa: ANN401
        made = make(tree, file, vp)
        told(kind, made)
        return made

    return make_and_tell


__all__ = ["KINDS", "Kind", "MakeObject", "Makers", "ObjectPolicy"]
