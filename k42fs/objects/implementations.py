"""The implementations that objects of each kind can have, by name.

A *kind* is what clients see ("DirObject"); its implementations answer the same calls with the same results.
The class of the rep of a single-rep object, or else of the root, says which one it is:

    kind: ClassVar[str] = "DirObject"
    implementation: ClassVar[str] = "distributed"

and its module registers how to make it from another one:

    register(Implementation("DirObject", "distributed", make, "per-bucket locks, ..."))

`make(cos, th, old_root)` builds the root on the old one's ref without publishing it (``ref=old_root.ref``): it is
empty until it imports the old one's state.

K42 chose the implementation in each class's Create; names for them are ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from k42fs.errors import UnknownImplementationError

if TYPE_CHECKING:
    from k42fs.machine.thread import Thread
    from k42fs.objects.cosmgr import COSMgr
    from k42fs.objects.root import CObjRoot

Make = Callable[["COSMgr", "Thread", Any], "CObjRoot"]
"""(cos, th, old root): the new root, on the same ref, not published."""


@dataclass(frozen=True, slots=True)
class Implementation:
    """One implementation of a kind of object. `describe` is one line for people."""

    kind: str
    name: str
    make: Make
    describe: str = ""


_known: Final[dict[tuple[str, str], Implementation]] = {}


def register(implementation: Implementation) -> Implementation:
    """Make *implementation* known; one of the same kind and name that is known is replaced."""
    _known[implementation.kind, implementation.name] = implementation
    return implementation


def unregister(implementation: Implementation) -> None:
    """Forget *implementation*, unless another one has taken its name."""
    if _known.get((implementation.kind, implementation.name)) is implementation:
        del _known[implementation.kind, implementation.name]


def kinds() -> list[str]:
    """Return the kinds of which an implementation is known."""
    return sorted({kind for kind, _ in _known})


def names(kind: str) -> list[str]:
    """Return the names of the implementations of *kind*."""
    return sorted(name for each, name in _known if each == kind)


def find(kind: str, name: str) -> Implementation:
    """Return an implementation.

    Raises: UnknownImplementationError: there is none of that name.
    """
    found = _known.get((kind, name))
    if found is None:
        choice = ", ".join(names(kind)) or "none"
        raise UnknownImplementationError(f"{kind} has no implementation {name!r}: there is {choice}")
    return found


def kind_of(root: object) -> str:
    """Return the kind of the object behind *root*; "" if it does not say."""
    return getattr(getattr(root, "speaker", root), "kind", "")


def implementation_name(root: object) -> str:
    """Return the name of the implementation that *root* is; "" if it does not say."""
    return getattr(getattr(root, "speaker", root), "implementation", "")


def label_of(root: object) -> str:
    """Return what people are to call the object behind *root*: what its rep calls itself, if it does."""
    label = getattr(getattr(root, "speaker", root), "label", None) or getattr(root, "label", None)
    return type(root).__name__ if label is None else str(label())


def label_of_rep(rep: object) -> str:
    """Return what people are to call a rep: what it calls itself, if it does."""
    label = getattr(rep, "label", None)
    return type(rep).__name__ if label is None else str(label())


def implementation_of(root: object) -> Implementation | None:
    """Return the implementation that *root* is, None if it is not a registered one."""
    return _known.get((kind_of(root), implementation_name(root)))
