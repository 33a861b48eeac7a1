"""Rules of adaptation made of thresholds, in Python or in a TOML file.

    [[rule]]
    name = "contention"
    kind = "FileCache"
    from = ["single"]
    to = "replicated"
    windows = 2
    least = { contended_share = 0.3, contentions = 20, processors = 2 }
    most = { writers = 0 }
    new = 0.9

The rule speaks for objects of *kind* that have one of the implementations in *from*, and names *to* when every
figure in *least* is at least, and every one in *most* at most, what stands there. A figure is one of those of
`Figures`, or whatever the object counts of itself (`activity`). With *new* it also decides what new objects of the
kind are: when it speaks for that share of those that were made in a window.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from k42fs.errors import ConfigError, UnknownImplementationError
from k42fs.objects.adapt_figures import Figures
from k42fs.objects.implementations import find, kinds

WINDOWS: Final = 2
WINDOWS_MAX: Final = 1000
FIELDS: Final = ("name", "kind", "from", "to", "windows", "least", "most", "new")


@dataclass(frozen=True, slots=True)
class ThresholdRule:
    """One rule; see the module for what its fields mean."""

    name: str
    kind: str
    old: tuple[str, ...]
    new: str
    least: Mapping[str, float] = field(default_factory=dict)
    most: Mapping[str, float] = field(default_factory=dict)
    windows: int = WINDOWS
    share_of_new: float = 0.0

    def decide(self, figures: Figures) -> str | None:
        if figures.kind != self.kind or figures.implementation not in self.old:
            return None
        if all(figures.figure(name) >= limit for name, limit in self.least.items()) and all(
            figures.figure(name) <= limit for name, limit in self.most.items()
        ):
            return self.new
        return None


def load_rules(path: Path) -> list[ThresholdRule]:
    """Read the rules of a TOML file, first come first asked.

    Raises:
        ConfigError: the file cannot be read or is no TOML; a field is unknown, missing, or out of its range; a
        kind or an implementation is unknown. It names rule, field and value.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror or exc}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: {exc}") from None
    if unknown := sorted(set(data) - {"rule"}):
        raise ConfigError(f"{path}: unknown {unknown[0]!r}: a file of rules has only [[rule]]")
    rules = data.get("rule")
    if not isinstance(rules, list) or not rules:
        raise ConfigError(f"{path}: no [[rule]]")
    return [_rule(f"{path}: rule {number}", rule) for number, rule in enumerate(rules, start=1)]


def _rule(where: str, data: object) -> ThresholdRule:
    if not isinstance(data, dict):
        raise ConfigError(f"{where}: must be a table")
    for key in data:
        if key not in FIELDS:
            raise ConfigError(f"{where}: {key} is unknown: one of {', '.join(FIELDS)}")
    kind = _word(where, data, "kind")
    if kind not in kinds():
        raise ConfigError(f"{where}: kind={kind!r}: unknown; one of {', '.join(kinds())}")
    old = data.get("from")
    if not isinstance(old, list) or not old or not all(isinstance(name, str) for name in old):
        raise ConfigError(f"{where}: from={old!r}: must be a list of implementations")
    new = _word(where, data, "to")
    for name in (*old, new):
        try:
            find(kind, name)
        except UnknownImplementationError as exc:
            raise ConfigError(f"{where}: {exc}") from None
    if new in old:
        raise ConfigError(f"{where}: to={new!r}: must not be among those it replaces")
    windows = data.get("windows", WINDOWS)
    if type(windows) is not int or not 1 <= windows <= WINDOWS_MAX:
        raise ConfigError(f"{where}: windows={windows!r}: must be from 1 to {WINDOWS_MAX}")
    least, most = _limits(where, data, "least"), _limits(where, data, "most")
    if not least and not most:
        raise ConfigError(f"{where}: neither least nor most: it would hold always")
    share = data.get("new", 0)
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        raise ConfigError(f"{where}: new={share!r}: must be from 0 to 1")
    return ThresholdRule(_word(where, data, "name"), kind, tuple(old), new, least, most, windows, share)


def _word(where: str, data: dict[str, Any], key: str) -> str:
    value = data.get(key)
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{where}: {key}={value!r}: must be a word")
    return value


def _limits(where: str, data: dict[str, Any], key: str) -> dict[str, float]:
    limits = data.get(key, {})
    if not isinstance(limits, dict):
        raise ConfigError(f"{where}: {key}={limits!r}: must be a table of figures")
    for name, limit in limits.items():
        if isinstance(limit, bool) or not isinstance(limit, int | float) or limit < 0:
            raise ConfigError(f"{where}: {key}.{name}={limit!r}: must be a number, not negative")
    return dict(limits)
