"""Policy sets: which implementation of everything a system is made of, by name or in a file of one's own.

A set names the implementations of new objects by kind (`objects`), says what is kept for each processor and what
once for all (`supplies`), which lock the servers use, and whether every rename between directories takes the one
rename lock. What a file leaves out is as in the set ``k42``.

The sets that come with k42fs are the files in `policies/`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

from k42fs.errors import ConfigError
from k42fs.machine.lock_choice import CHOICES
from k42fs.servers.makers import MAKERS
from k42fs.servers.object_policy import KINDS, Kind, ObjectPolicy
from k42fs.servers.supplies import PER_PROCESSOR, SPREADS, Spread, Supplies

DEFAULT: Final = "k42"
RENAMES: Final = ("concurrent", "serial")
SUPPLIES: Final = (*(entry.name for entry in fields(Supplies)), "mount_table")


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySet:
    """One set. `objects` holds an implementation for each kind."""

    name: str
    describe: str = ""
    objects: Mapping[Kind, str] = field(default_factory=lambda: MappingProxyType({}))
    supplies: Supplies = PER_PROCESSOR
    mount_table: Spread = "per-processor"
    lock: str = "block"
    renames: Literal["concurrent", "serial"] = "concurrent"

    def new_policy(self) -> ObjectPolicy:
        """Return a policy that makes the objects of this set until it is told otherwise."""
        return ObjectPolicy(MAKERS, self.objects)

    def record(self) -> dict[str, Any]:
        """Return the set ready for JSON, as a file of it would have it."""
        supplies = {name: getattr(self.supplies, name) for name in SUPPLIES[:-1]}
        return {
            "name": self.name,
            "describe": self.describe,
            "lock": self.lock,
            "renames": self.renames,
            "objects": dict(self.objects),
            "supplies": {**supplies, "mount_table": self.mount_table},
        }


def policy_names() -> tuple[str, ...]:
    """Return the names of the sets that come with k42fs, the default first."""
    folder = resources.files("k42fs.servers") / "policies"
    names = {entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")}
    return DEFAULT, *sorted(names - {DEFAULT})


def load_policy(name: str) -> PolicySet:
    """Return the set *name*, or the one in the file of that path, which ends in .toml.

    Raises:
        ConfigError: there is none, it cannot be read, or says what cannot be; the text names field, value and rule.
    """
    if name not in policy_names():
        if not name.endswith(".toml"):
            choice = ", ".join(policy_names())
            raise ConfigError(f"policy={name}: unknown; one of {choice}, or a path that ends in .toml")
        return _parsed(Path(name).stem, _table(name, _text_of(name)))
    text = (resources.files("k42fs.servers") / "policies" / f"{name}.toml").read_text()
    return _parsed(name, _table(name, text))


def _text_of(path: str) -> str:
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"policy={path}: cannot be read: {exc}") from exc


def _table(name: str, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"policy={name}: is not TOML: {exc}") from exc


def _parsed(name: str, table: dict[str, Any]) -> PolicySet:
    known = ("describe", "lock", "renames", "objects", "supplies")
    for key, value in table.items():
        if key not in known:
            raise ConfigError(f"{key}={value!r}: unknown; one of {', '.join(known)}")
    objects = {kind: next(iter(MAKERS[kind])) for kind in KINDS}
    for kind, wanted in _section(table, "objects").items():
        if kind not in KINDS:
            raise ConfigError(f"objects.{kind}={wanted!r}: unknown; one of {', '.join(KINDS)}")
        objects[kind] = _one_of(f"objects.{kind}", wanted, MAKERS[kind])
    spreads: dict[str, Any] = {}
    for supply, wanted in _section(table, "supplies").items():
        if supply not in SUPPLIES:
            raise ConfigError(f"supplies.{supply}={wanted!r}: unknown; one of {', '.join(SUPPLIES)}")
        spreads[supply] = _one_of(f"supplies.{supply}", wanted, SPREADS)
    describe = table.get("describe", "")
    if not isinstance(describe, str):
        raise ConfigError(f"describe={describe!r}: must be a string")
    return PolicySet(
        name=name,
        describe=describe,
        objects=MappingProxyType(objects),
        mount_table=spreads.pop("mount_table", "per-processor"),
        supplies=Supplies(**spreads),
        lock=_one_of("lock", table.get("lock", "block"), CHOICES),
        renames=_one_of("renames", table.get("renames", "concurrent"), RENAMES),  # type: ignore[arg-type]
    )


def _section(table: dict[str, Any], name: str) -> dict[Any, Any]:
    section = table.get(name, {})
    if not isinstance(section, dict):
        raise ConfigError(f"{name}={section!r}: must be a table, [{name}]")
    return section


def _one_of(field_name: str, value: object, choice: Mapping[str, object] | tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in choice:
        raise ConfigError(f"{field_name}={value!r}: must be one of {', '.join(choice)}")
    return value
