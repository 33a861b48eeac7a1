"""What call sites test and call: switches, and the emitters of a machine that was never traced.

A processor has both from its start, so that no site need ask whether there is a tracer. Nothing of the schema is
read before something is on for the first time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from k42fs.machine.tracing.emitters import Emitters


class Switches:
    """What call sites test, a bool for each class: `if proc.on.lock:`.

    A third of the cost of a test of the mask's bit: CPython adds and compares small numbers fast, "&" not.
    """

    __slots__ = (
        "alloc",
        "app",
        "cache",
        "clust_obj",
        "control",
        "dbg",
        "default",
        "disk",
        "exception",
        "fs",
        "fuse",
        "hw_perf_mon",
        "info",
        "io",
        "lib_c",
        "linux",
        "lock",
        "mem",
        "meta",
        "misc",
        "misc_kern",
        "mpi",
        "omp",
        "proc",
        "res_mgr",
        "scheduler",
        "swap",
        "test",
        "user",
    )

    alloc: bool
    app: bool
    cache: bool
    clust_obj: bool
    control: bool
    dbg: bool
    default: bool
    disk: bool
    exception: bool
    fs: bool
    fuse: bool
    hw_perf_mon: bool
    info: bool
    io: bool
    lib_c: bool
    linux: bool
    lock: bool
    mem: bool
    meta: bool
    misc: bool
    misc_kern: bool
    mpi: bool
    omp: bool
    proc: bool
    res_mgr: bool
    scheduler: bool
    swap: bool
    test: bool
    user: bool

    def __init__(self) -> None:
        for name in self.__slots__:
            setattr(self, name, False)

    def set(self, mask: int) -> None:
        from k42fs.machine.tracing.schema import load, snake  # here: who is never traced does without it

        for each in load().classes:
            setattr(self, snake(each.name), bool(mask & each.bit))


def _nothing(*values: object) -> None:
    """The emitter of a class that is off."""


class _Silent:
    """Emitters that emit nothing, whatever they are called."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        if name.startswith("_"):  # copy and inspect probe for these
            raise AttributeError(name)
        return _nothing


ALL_OFF: Final = Switches()
SILENT: Final = cast("Emitters", _Silent())
