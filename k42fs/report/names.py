"""What the numbers in a recording stand for: its stream of definitions, read whole before anything else.

Refs, locks and lines are reused while a recording goes on, so their definitions have times: in force is the last
one made by then, or else the first. Text comes from outside (file names), so it is shown with what a terminal
could take for a command made visible.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Final, Generic, NamedTuple, TypeVar

from k42fs.machine.tracing.packing import words_text
from k42fs.report.fields import unpacker
from k42fs.report.reader import Trace

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

FUSE_OPCODES: Final = {
    1: "lookup", 2: "forget", 3: "getattr", 4: "setattr", 5: "readlink", 6: "symlink", 8: "mknod", 9: "mkdir",
    10: "unlink", 11: "rmdir", 12: "rename", 13: "link", 14: "open", 15: "read", 16: "write", 17: "statfs",
    18: "release", 20: "fsync", 21: "setxattr", 22: "getxattr", 23: "listxattr", 24: "removexattr",
    25: "flush", 26: "init", 27: "opendir", 28: "readdir", 29: "releasedir", 30: "fsyncdir", 31: "getlk",
    32: "setlk", 33: "setlkw", 34: "access", 35: "create", 36: "interrupt", 37: "bmap", 38: "destroy",
    39: "ioctl", 40: "poll", 41: "notify_reply", 42: "batch_forget", 43: "fallocate", 44: "readdirplus",
    45: "rename2", 46: "lseek", 47: "copy_file_range",
}  # fmt: skip
"""The FUSE protocol's own numbers (linux/fuse.h), for recordings whose definitions are lost."""


class ObjectName(NamedTuple):
    """`type` is its class; `name` a path where it has one, or empty."""

    type: str
    name: str

    def __str__(self) -> str:
        return f"{self.type} {self.name}" if self.name else self.type


class LockName(NamedTuple):
    """The lock is the field `name` of the object `owner`; `kind` its own class."""

    owner: int
    name: str
    kind: str


class LineField(NamedTuple):
    """What lies in a line from `offset` on."""

    offset: int
    nbytes: int
    object: str
    field: str


class History(Generic[K, V]):
    """Definitions by key, each in force from its time on."""

    def __init__(self) -> None:
        self._at: dict[K, tuple[list[int], list[V]]] = {}

    def add(self, key: K, time: int, value: V) -> None:
        times, values = self._at.setdefault(key, ([], []))
        if not values or values[-1] != value:
            times.append(time)
            values.append(value)

    def at(self, key: K, time: int) -> V | None:
        found = self._at.get(key)
        if found is None:
            return None
        times, values = found
        return values[0] if len(values) == 1 else values[max(0, bisect_right(times, time) - 1)]

    def reused(self) -> set[K]:
        """Return the keys that stood for more than one thing."""
        return {key for key, (times, _) in self._at.items() if len(times) > 1}

    def keys(self) -> list[K]:
        return list(self._at)


class ObjectHistory(History[int, ObjectName]):
    """Names of objects. A ref is an object's until that is gone; until then another name means a renaming."""

    def __init__(self) -> None:
        super().__init__()
        self.gone: Callable[[], dict[int, list[int]]] = dict
        """Tells when the objects of each ref went, ascending. Asked once, if a ref had more than one name."""

        self._gone: dict[int, list[int]] | None = None
        self._lives: dict[tuple[int, int], list[ObjectName]] = {}

    def life(self, ref: int, time: int) -> list[ObjectName]:
        """Return every name that the object had which *ref* meant at *time*, oldest first."""
        times, values = self._at.get(ref, ([], []))
        if len(values) < 2:
            return values
        index = max(0, bisect_right(times, time) - 1)
        found = self._lives.get((ref, index))
        if found is None:
            if self._gone is None:
                self._gone = self.gone()
            gone = self._gone.get(ref, [])

            def object_of(at: int) -> tuple[int, str]:
                return bisect_right(gone, times[at]), values[at].type

            mine = object_of(index)
            first, after = index, index + 1
            while first and object_of(first - 1) == mine:
                first -= 1
            while after < len(values) and object_of(after) == mine:
                after += 1
            found = self._lives[ref, index] = values[first:after]
        return found

    def lives(self) -> Iterator[list[ObjectName]]:
        """Yield the names of each object there ever was."""
        for ref, (times, _) in self._at.items():
            seen: list[ObjectName] | None = None
            for time in times:
                life = self.life(ref, time)
                if life != seen:
                    yield life
                seen = life

    def latest(self, ref: int, time: int) -> ObjectName | None:
        """Return the last name of the object that *ref* meant at *time*: reports call it by that throughout."""
        names = self.life(ref, time)
        return names[-1] if names else None


@dataclass
class Names:
    """Every definition of a recording."""

    strings: dict[int, str] = field(default_factory=lambda: {0: ""})
    sites: dict[int, str] = field(default_factory=dict)
    methods: dict[int, tuple[str, str]] = field(default_factory=dict)
    ops: dict[int, str] = field(default_factory=lambda: dict(FUSE_OPCODES))
    threads: History[int, str] = field(default_factory=History)
    objects: ObjectHistory = field(default_factory=ObjectHistory)
    locks: History[int, LockName] = field(default_factory=History)
    lines: dict[int, dict[int, LineField]] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    dropped: Counter[int] = field(default_factory=Counter)
    """Events of each processor that were discarded while recording, as the definitions say."""

    def text(self, number: int) -> str:
        return self.strings.get(number, f"string#{number}")

    def site(self, number: int) -> str:
        """Return a call site as "file:line function"; "" for none."""
        return self.sites.get(number, f"site#{number}") if number else ""

    def object(self, ref: int, time: int) -> str:
        """Return an object's class and last name, or its ref."""
        found = self.objects.latest(ref, time)
        return str(found) if found else f"{ref:#x}"

    def method(self, number: int) -> tuple[str, str]:
        """Return (class, method)."""
        return self.methods.get(number, ("?", f"method#{number}"))

    def op(self, opcode: int) -> str:
        return self.ops.get(opcode, f"op{opcode}")

    def line_field(self, line: int, offset: int) -> LineField | None:
        """Return what lies at *offset* of *line*, if that is known."""
        fields = self.lines.get(line, {})
        best = max((each for each in fields if each <= offset), default=None)
        if best is None or offset >= best + fields[best].nbytes:
            return None
        return fields[best]


def visible(text: str) -> str:
    """Return *text* with what is not printable escaped: a file name must not command a terminal."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def read_names(trace: Trace) -> Names:
    """Read the definitions of *trace*."""
    names = Names()
    names.objects.gone = lambda: _gone(trace)
    schema = trace.schema
    late: list[tuple[int, str, tuple[int, ...]]] = []
    text_id = schema.by_attribute["meta_string"].id
    unpack = {each.id: (each.attribute, unpacker(each)) for each in schema.events() if each.is_name}
    for records in trace.records(trace.definitions):
        for time, _, number, words in records:
            if number == text_id:
                names.strings[words[0]] = visible(words_text(words[1:]))
            elif number in unpack:
                attribute, values = unpack[number]
                late.append((time, attribute, values(words)))
    # Only now are all strings known: a definition can be repeated before the string it names.
    for time, attribute, found in late:
        if define := DEFINE.get(attribute):
            define(names, time, found)
    # Packets say it too, unless the recording ended before they could: both mean the same events.
    processors = trace.discarded.keys() | names.dropped.keys()
    trace.loss.discarded = sum(max(trace.discarded.get(cpu, 0), names.dropped[cpu]) for cpu in processors)
    return names


def _gone(trace: Trace) -> dict[int, list[int]]:
    """Return when objects went, by ref."""
    found: dict[int, list[int]] = {}
    wanted = {trace.schema.by_attribute["clust_obj_dealloc"].id}
    for places in trace.streams.values():
        for records in trace.records(places, wanted):
            for time, _, _, words in records:
                found.setdefault(words[0], []).append(time)
    for times in found.values():
        times.sort()
    return found


def _line(names: Names, _: int, found: tuple[int, ...]) -> None:
    line, offset, nbytes, owner, name = found
    names.lines.setdefault(line, {})[offset] = LineField(offset, nbytes, names.text(owner), names.text(name))


def _dropped(names: Names, _: int, found: tuple[int, ...]) -> None:
    count, _, _, cpu = found
    names.dropped[cpu] += count


DEFINE: Final[dict[str, Callable[[Names, int, tuple[int, ...]], None]]] = {
    "lock_site": lambda n, _, f: n.sites.__setitem__(f[0], n.text(f[1])),
    "lock_lock_name": lambda n, t, f: n.locks.add(f[0], t, LockName(f[1], n.text(f[2]), n.text(f[3]))),
    "clust_obj_object_name": lambda n, t, f: n.objects.add(f[0], t, ObjectName(n.text(f[1]), n.text(f[2]))),
    "clust_obj_method_name": lambda n, _, f: n.methods.__setitem__(f[0], (n.text(f[1]), n.text(f[2]))),
    "fuse_op_name": lambda n, _, f: n.ops.__setitem__(f[0], n.text(f[1])),
    "scheduler_thread_name": lambda n, t, f: n.threads.add(f[0], t, n.text(f[1])),
    "cache_line_name": _line,
    "meta_discard": _dropped,
    "meta_setting": lambda n, _, f: n.settings.__setitem__(n.text(f[0]), n.text(f[1])),
}
