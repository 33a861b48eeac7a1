"""Which records a report sees: by time, processor, class, object, path, process.

What can be said of a record by itself is asked while packets are decoded. A process and a path belong to whole
requests: everything between a request's OpEnter and OpExit on its processor. Which requests touch a path is only
known at their ends, so with a path the recording is read twice.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from k42fs.machine.tracing.schema import Event
from k42fs.report.decode import Record
from k42fs.report.fields import Getter, getter
from k42fs.report.merge import merged
from k42fs.report.names import Names, read_names
from k42fs.report.reader import Trace, TraceError


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What to keep; None keeps all. Times in seconds from the recording's first event."""

    since: float | None = None
    until: float | None = None
    processors: frozenset[int] | None = None
    classes: frozenset[str] | None = None
    object: str | None = None
    """A ref, or a pattern (as a shell's) that an object's "class name", class or name matches."""
    path: str | None = None
    pid: int | None = None


@dataclass(slots=True)
class Source:
    """A recording as a report sees it: through a filter, with its names."""

    trace: Trace
    filter: Filter = field(default_factory=Filter)
    names: Names = field(init=False)
    is_empty: bool = True
    """Whether nothing that was asked for has passed the filter so far."""

    _scope: frozenset[int] | None = None
    _roles: dict[int, Callable[[Record], bool]] = field(default_factory=dict)
    _labels: set[str] | None = None

    def __post_init__(self) -> None:
        self.names = read_names(self.trace)
        for name in self.filter.classes or ():
            if name not in self.trace.schema.by_class:
                known = ", ".join(self.trace.schema.by_class)
                raise TraceError(f"there is no class {name}: the classes are {known}")
        if self.filter.processors is not None and (
            missing := self.filter.processors - self.trace.streams.keys()
        ):
            said = ", ".join(map(str, sorted(missing)))
            raise TraceError(f"processor {said} recorded nothing: see `k42fs trace time {self.trace.path}`")
        if self.filter.object is not None:
            self._roles = {
                each.id: test for each in self.trace.schema.events() if (test := self._object_test(each))
            }
        if self.filter.path is not None or self.filter.pid is not None:
            self._scope = frozenset(self._requests())

    @property
    def processors(self) -> list[int]:
        """The processors in the report."""
        chosen = self.filter.processors
        return [vp for vp in self.trace.processors if chosen is None or vp in chosen]

    @property
    def has_model(self) -> bool:
        """Whether times are a modelled machine's, in cycles; with model=off they are the host's."""
        return "off" not in (self.trace.env.get("model"), self.names.settings.get("model"))

    @property
    def recorded(self) -> int:
        """The classes that were ever on, as a mask; 0 if it does not say."""
        mask = 0
        for stream in list(self.trace.streams.values())[:1]:
            for records in self.trace.records(stream, self.ids("control_trace_mask")):
                for *_, words in records:
                    mask |= words[0]
        return mask

    def lacks(self, *classes: str) -> bool:
        """Tell whether it is known that none of *classes* was recorded."""
        recorded = self.recorded
        known = self.trace.schema.by_class
        return bool(recorded) and not any(recorded & known[name].bit for name in classes)

    @property
    def begin(self) -> int:
        return self._at(self.filter.since) if self.filter.since is not None else self.trace.begin

    @property
    def end(self) -> int:
        if self.filter.until is None:
            return self.trace.end
        return max(self.begin, min(self.trace.end, self._at(self.filter.until)))

    def _at(self, seconds: float) -> int:
        """Return a time in ticks; what lies far outside of the recording, just outside."""
        longest = self.trace.seconds(self.trace.end - self.trace.begin) + 1
        return self.trace.begin + round(min(max(seconds, 0.0), longest) * self._hz)

    @property
    def _hz(self) -> int:
        return self.trace.ticks_per_second

    def id(self, attribute: str) -> int:
        return self.trace.schema.by_attribute[attribute].id

    def ids(self, *attributes: str) -> frozenset[int]:
        """Return the ids of events given by the names of their emitters, "lock_acquire"."""
        return frozenset(map(self.id, attributes))

    def records(self, wanted: Collection[int] | None = None) -> Iterator[list[Record]]:
        """Yield the records whose ids are *wanted* (all, if None) that pass the filter, in order of time."""
        return merged([self.of(vp, wanted) for vp in self.processors])

    def of(self, vp: int, wanted: Collection[int] | None = None) -> Iterator[list[Record]]:
        """Yield the records of one processor."""
        ids = self._ids(wanted)
        if self._scope is not None:
            ids = None if ids is None else ids | self.ids("fuse_op_enter", "fuse_op_exit")
        pieces = self._in_time(vp, ids)
        if self._scope is not None:
            pieces = self._in_scope(pieces, self._ids(wanted))
        if self._roles:
            pieces = (
                [record for record in piece if record[2] in self._roles and self._roles[record[2]](record)]
                for piece in pieces
            )
        return self._noted(pieces)

    def undivided(self, vp: int, wanted: Collection[int]) -> Iterator[list[Record]]:
        """Yield the records of one processor filtered by time only: who ran when cannot be told from a part."""
        return self._noted(self._in_time(vp, wanted))

    def _noted(self, pieces: Iterator[list[Record]]) -> Iterator[list[Record]]:
        for piece in pieces:
            if piece:
                self.is_empty = False
                yield piece

    def _ids(self, wanted: Collection[int] | None) -> frozenset[int] | None:
        """Return *wanted*, without what the classes or the object leave out."""
        ids = None if wanted is None else frozenset(wanted)
        if self.filter.classes is not None:
            classes = (self.trace.schema.by_class[name] for name in self.filter.classes)
            of_classes = frozenset(event.id for each in classes for event in each.events)
            ids = of_classes if ids is None else ids & of_classes
        return ids

    def _in_time(self, vp: int, ids: Collection[int] | None) -> Iterator[list[Record]]:
        since, until = self.begin, self.end
        if self.filter.since is None and self.filter.until is None:
            yield from self.trace.records(self.trace.streams[vp], ids)
            return
        for piece in self.trace.records(self.trace.streams[vp], ids, since, until):
            if piece[0][0] >= since and piece[-1][0] <= until:
                yield piece
            elif kept := [record for record in piece if since <= record[0] <= until]:
                yield kept

    def _in_scope(
        self, pieces: Iterator[list[Record]], ids: Collection[int] | None
    ) -> Iterator[list[Record]]:
        """Keep what happens in the requests in scope."""
        assert self._scope is not None, "asked only where there is one"
        enter, leave = self.id("fuse_op_enter"), self.id("fuse_op_exit")
        current: list[int] = []
        for piece in pieces:
            kept = []
            for record in piece:
                number = record[2]
                if number == enter:
                    current.append(record[3][0])
                if current and current[-1] in self._scope and (ids is None or number in ids):
                    kept.append(record)
                if number == leave and record[3][0] in current:
                    current.remove(record[3][0])
            yield kept

    def _requests(self) -> Iterator[int]:
        """Yield the numbers of the requests of the process, or that touch the path."""
        enter, leave, args = map(self.id, ("fuse_op_enter", "fuse_op_exit", "fuse_op_args"))
        pattern, pid = self.filter.path, self.filter.pid
        refs: dict[int, list[Getter]] = {}
        for each in self.trace.schema.events():
            for about in each.fields:
                if about.type.role == "object" and pattern is not None:
                    refs.setdefault(each.id, []).append(getter(about))
        for vp in self.processors:
            current: dict[int, None] = {}  # those of the process, the innermost last
            for piece in self.trace.records(self.trace.streams[vp]):
                for time, _, number, words in piece:
                    if number == enter:
                        if pid is None or words[3] == pid:
                            current[words[0]] = None
                            if pattern is None:
                                yield words[0]
                    elif number == leave:
                        current.pop(words[0], None)
                    elif current and pattern is not None:
                        if number == args:
                            if words[0] in current and fnmatchcase(self.names.text(words[1]), pattern):
                                yield words[0]
                        elif number in refs:
                            found = (self.names.objects.life(get(words), time) for get in refs[number])
                            if any(fnmatchcase(each.name, pattern) for names in found for each in names):
                                yield next(reversed(current))

    def _object_test(self, event: Event) -> Callable[[Record], bool] | None:
        """Return what says whether a record of *event* is about the object; None if such records never are."""
        about = [each for each in event.fields if each.type.role in ("object", "lock", "line")]
        if not about:
            return None
        tests = [(each.type.role, getter(each)) for each in about]
        return lambda record: any(self._is_it(role, get(record[3]), record[0]) for role, get in tests)

    def _is_it(self, role: str, number: int, time: int) -> bool:
        """Return whether a ref, lock or line is, or belongs to, the object asked for."""
        names, wanted = self.names, self.filter.object or ""
        if role == "line":
            return any(self._is_line(each.object) for each in names.lines.get(number, {}).values())
        if role == "lock":
            lock = names.locks.at(number, time)
            if lock is None:
                return False
            number = lock.owner
        try:
            if int(wanted, 0) == number:
                return True
        except ValueError:
            pass
        return any(
            fnmatchcase(each, wanted)
            for found in names.objects.life(number, time)
            for each in (str(found), found.type, found.name)
        )

    def _is_line(self, label: str) -> bool:
        """Return whether the object that was called *label* when its lines were named is asked for."""
        wanted = self.filter.object or ""
        if self._labels is None:
            lives = self.names.objects.lives()
            self._labels = {
                str(each)
                for life in lives
                if any(_matches(str(name), wanted) for name in life)
                for each in life
            }
        return label in self._labels or _matches(label, wanted)


def _matches(label: str, wanted: str) -> bool:
    """Return whether an object's label, "class name", is meant by *wanted*."""
    kind, _, name = label.partition(" ")
    return any(fnmatchcase(each, wanted) for each in (label, kind, name))
