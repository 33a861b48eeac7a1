"""Mount options: the text after ``-o``, parsed into a frozen value that refuses nonsense."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Final, Literal, get_args

from k42fs.errors import ConfigError
from k42fs.machine import preset, preset_names
from k42fs.objects.adapt_rules import load_rules
from k42fs.objects.adaptation import Mode, Rule
from k42fs.servers.adapt_rules import RULES
from k42fs.servers.mount_commands import parse_size as parse_bytes
from k42fs.servers.policy_set import DEFAULT as DEFAULT_POLICY
from k42fs.servers.policy_set import load_policy, policy_names

Model = Literal["full", "calls", "off"]

KERNEL_FLAGS: Final = {
    "dev",
    "nodev",
    "suid",
    "nosuid",
    "exec",
    "noexec",
    "ro",
    "allow_other",
    "sync",
    "dirsync",
}
"""Flags that go to the kernel as they are."""

IGNORED: Final = {
    "rw",
    "defaults",
    "auto",
    "noauto",
    "user",
    "nouser",
    "users",
    "owner",
    "group",
    "_netdev",
    "nofail",
}
"""What mount(8) and /etc/fstab add for themselves."""

ALWAYS_SO: Final = {"relatime", "diratime", "default_permissions"}
"""What holds anyway."""

LOG_LEVELS: Final = ("debug", "info", "warning", "error")


def default_size_bytes() -> int:
    """Half of the machine's memory, as tmpfs does."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class MountOptions:
    """Everything ``-o`` can say. Sizes in bytes."""

    processors: int = 8
    preset: str = "dir-1024"
    model: Model = "full"
    size: int = field(default_factory=default_size_bytes)
    seed: int = 0
    acl: bool = False
    noatime: bool = False
    nonempty: bool = False
    policy: str = DEFAULT_POLICY
    adapt: Mode = "off"
    adapt_rules: str = ""
    log: str = ""
    log_level: str = "info"
    kernel_flags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.processors <= 1024:
            raise ConfigError(f"processors={self.processors}: must be from 1 to 1024")
        preset(self.preset, processors=self.processors, seed=self.seed)  # refuses a machine that cannot be
        if self.model not in get_args(Model):
            raise ConfigError(f"model={self.model}: unknown; one of {', '.join(get_args(Model))}")
        if self.size < 1 << 16:
            raise ConfigError(f"size={self.size}: must be at least 64k")
        if self.seed < 0:
            raise ConfigError(f"seed={self.seed}: must not be negative")
        if self.adapt not in get_args(Mode):
            raise ConfigError(f"adapt={self.adapt}: unknown; one of {', '.join(get_args(Mode))}")
        self.rules()
        load_policy(self.policy)  # refuses a set that cannot be
        if self.log_level not in LOG_LEVELS:
            raise ConfigError(f"log_level={self.log_level}: unknown; one of {', '.join(LOG_LEVELS)}")

    def rules(self) -> Sequence[Rule]:
        """Return the rules of adaptation: the shipped ones, or those of the file that is named."""
        return load_rules(Path(self.adapt_rules)) if self.adapt_rules else RULES

    @property
    def is_read_only(self) -> bool:
        return "ro" in self.kernel_flags


def parse_size(text: str) -> int:
    """Return the bytes that *text* names: as the name server's commands do, or N% of memory.

    Raises:
        ConfigError: of another form, or more than all memory in per cent.
    """
    if re.fullmatch(r"[0-9]{1,9}%", text):
        percent = int(text[:-1])
        if not 1 <= percent <= 100:
            raise ConfigError(f"size={text}: must be from 1% to 100% of memory")
        return default_size_bytes() * 2 * percent // 100
    try:
        return parse_bytes(text)
    except ConfigError as exc:
        raise ConfigError(f"{exc}, or N% of memory, such as 50%") from None


def parse_options(words: list[str]) -> MountOptions:
    """Parse comma-separated option *words*; the last of two contradicting ones holds.

    Raises:
        ConfigError: an unknown option (with the nearest known one), or a value out of its range.
    """
    values: dict[str, object] = {}
    flags: dict[str, None] = {}
    for word in (piece for text in words for piece in text.split(",") if piece):
        key, has_value, text = word.partition("=")
        if key == "remount":
            raise ConfigError(
                "a mounted k42fs cannot be remounted: unmount it, and mount it with other options"
            )
        if key in IGNORED or key in ALWAYS_SO or key.startswith(("x-", "comment")):
            if key == "rw":
                flags.pop("ro", None)
        elif key in KERNEL_FLAGS and not has_value:
            flags.pop(key[2:] if key.startswith("no") else f"no{key}", None)
            flags[key] = None
        elif key in _PARSERS:
            values[key] = _PARSERS[key](key, has_value, text)
        else:
            raise ConfigError(f"unknown mount option {word!r}; {_hint(key, word)}")
    return MountOptions(**values, kernel_flags=tuple(flags))  # type: ignore[arg-type]


def _hint(key: str, word: str) -> str:
    """Return what mends an unknown option."""
    if "/" in word or word.endswith(".toml"):
        return "a comma ends an option: no path in -o may hold one"
    near = get_close_matches(key, [*_PARSERS, *sorted(KERNEL_FLAGS)], n=1)
    return f"did you mean {near[0]}?" if near else "'k42fs mount --help' lists them all"


def _text(key: str, has_value: str, text: str) -> str:
    if not has_value or not text:
        raise ConfigError(f"{key} needs a value: {key}=...")
    return text


def _preset(key: str, has_value: str, text: str) -> str:
    """Return a preset's name, or the absolute path of a user's own: the daemon works elsewhere."""
    if _text(key, has_value, text) in preset_names():
        return text
    if not text.endswith(".toml"):
        raise ConfigError(
            f"preset={text}: unknown; one of {', '.join(preset_names())}, or a file: a path without a comma that "
            "ends in .toml"
        )
    return str(Path(text).absolute())


def _policy(key: str, has_value: str, text: str) -> str:
    """Return a policy set's name, or the absolute path of a user's own: the daemon works elsewhere."""
    if _text(key, has_value, text) in policy_names():
        return text
    if not text.endswith(".toml"):
        raise ConfigError(
            f"policy={text}: unknown; one of {', '.join(policy_names())}, or a file: a path without a comma that "
            "ends in .toml"
        )
    return str(Path(text).absolute())


def _number(key: str, has_value: str, text: str) -> int:
    if not re.fullmatch(r"\d+", _text(key, has_value, text)):
        raise ConfigError(f"{key}={text}: not a whole number")
    return int(text)


def _flag(key: str, has_value: str, _text: str) -> bool:
    if has_value:
        raise ConfigError(f"{key} takes no value")
    return True


def _path(key: str, has_value: str, text: str) -> str:
    return str(Path(_text(key, has_value, text)).absolute())


def _size(key: str, has_value: str, text: str) -> int:
    return parse_size(_text(key, has_value, text))


_PARSERS: Final = {
    "processors": _number,
    "preset": _preset,
    "model": _text,
    "size": _size,
    "seed": _number,
    "acl": _flag,
    "noatime": _flag,
    "nonempty": _flag,
    "policy": _policy,
    "adapt": _text,
    "adapt_rules": _path,
    "log": _path,
    "log_level": _text,
}

assert set(_PARSERS) == {item.name for item in fields(MountOptions)} - {"kernel_flags"}
