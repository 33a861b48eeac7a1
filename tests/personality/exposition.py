"""A strict parser of Prometheus' text format 0.0.4: whatever the format does not allow is an error."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
HELP = re.compile(rf"# HELP ({NAME}) ((?:[^\\\n]|\\\\|\\n)+)")
TYPE = re.compile(rf"# TYPE ({NAME}) (counter|gauge)")
VALUE = re.compile(r"(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:e[+-][0-9]+)?|\+Inf|NaN")
SAMPLE = re.compile(rf"({NAME})(?:\{{(.+)\}})? (\S+)")
PAIR = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"(,|$)')
UNITS = ("seconds", "bytes", "hertz", "info")
FORBIDDEN = re.compile(r"_(?:ns|us|ms|cycles|milliseconds|mhz|kb|count|sum|bucket)(?:_|$)")
ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}

Key = frozenset[tuple[str, str]]


class FormatError(ValueError):
    """The text is not of the format."""


@dataclass
class Metric:
    """One family. Values by labels."""

    name: str
    help: str
    kind: str = ""
    values: dict[Key, float] = field(default_factory=dict)

    def value(self, **labels: str) -> float:
        return self.values[frozenset(labels.items())]


def parse(text: str) -> dict[str, Metric]:
    """Return the families of *text* by name. Raises FormatError.

    Families have a HELP, then a TYPE, then samples, all in one place; a time series is there once; counters are
    finite, not negative, and end in `_total`; gauges do not; no name has a unit that is no base unit.
    """
    if not text.endswith("\n") or "\r" in text:
        raise FormatError("lines end in a newline, the last one, too")
    found: dict[str, Metric] = {}
    now: Metric | None = None
    for line in text.removesuffix("\n").split("\n"):
        if match := HELP.fullmatch(line):
            if match[1] in found:
                raise FormatError(f"{match[1]} comes twice")
            if now is not None and not now.values:
                raise FormatError(f"{now.name} has no samples")
            now = found[match[1]] = Metric(match[1], match[2])
        elif match := TYPE.fullmatch(line):
            if now is None or now.name != match[1] or now.kind:
                raise FormatError(f"TYPE of {match[1]} is not after its HELP")
            now.kind = match[2]
            _check_name(now)
        else:
            _sample(line, now)
    if now is None or not now.values:
        raise FormatError("the last family has no samples")
    return found


def _check_name(metric: Metric) -> None:
    name = metric.name
    if name.endswith("_total") != (metric.kind == "counter"):
        raise FormatError(f"{name}: _total is at the end of counters, and of nothing else")
    if FORBIDDEN.search(name):
        raise FormatError(f"{name}: units are base units, and suffixes of histograms are theirs")
    last = name.removesuffix("_total").rpartition("_")[2]
    if any(
        unit in name.split("_")[:-1] and last != unit for unit in UNITS if not name.endswith(f"{unit}_total")
    ):
        raise FormatError(f"{name}: the unit comes last")


def _sample(line: str, now: Metric | None) -> None:
    match = SAMPLE.fullmatch(line)
    if match is None:
        raise FormatError(f"no sample: {line!r}")
    if now is None or match[1] != now.name or not now.kind:
        raise FormatError(f"a sample outside its family: {line!r}")
    if not VALUE.fullmatch(match[3]):
        raise FormatError(f"no value: {line!r}")
    value = float(match[3])
    if now.kind == "counter" and not 0 <= value < float("inf"):
        raise FormatError(f"a counter is finite and not negative: {line!r}")
    labels = _labels(match[2] or "", line)
    if labels in now.values:
        raise FormatError(f"a time series comes twice: {line!r}")
    now.values[labels] = value


def _labels(text: str, line: str) -> Key:
    pairs: dict[str, str] = {}
    at = 0
    while at < len(text):
        match = PAIR.match(text, at)
        if match is None or match[1] in pairs or match[1].startswith("__"):
            raise FormatError(f"no labels: {line!r}")
        pairs[match[1]] = re.sub(r"\\.", lambda escape: ESCAPES[escape[0]], match[2])
        at = match.end()
        if match[3] and at == len(text):
            raise FormatError(f"a comma at the end: {line!r}")
    return frozenset(pairs.items())
