"""The words that change a name space, as the control file and the command line give them. Pure: no I/O.

    attach ramfs PREFIX [size=BYTES] [cov|nocov]    mount a new server; not coverable unless told
    bind OLD NEW [cov|nocov]                        name at NEW what OLD names now; coverable unless told
    detach PREFIX                                   take the mount in front at PREFIX away

Words are separated by blanks. A blank, tab, newline or backslash inside a path is written as in
/proc/mounts: a backslash and three octal digits. Sizes take a suffix K, M, G or T, powers of 1024. Paths
are absolute.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from k42fs.errors import ConfigError, K42Error
from k42fs.servers.pathname import PathName

COMMAND_BYTES_MAX: Final = 16384
"""Room for two paths of which every byte is escaped."""

ATTACHABLE: Final[Mapping[str, frozenset[str]]] = {"ramfs": frozenset({"size"})}
"""Servers that can be attached, and the options that each takes."""


@dataclass(frozen=True, slots=True)
class Attach:
    """Mount a new server of *kind*. `size_bytes` is None for the server's own default."""

    kind: str
    prefix: PathName
    size_bytes: int | None = None
    is_coverable: bool = False


@dataclass(frozen=True, slots=True)
class Bind:
    old: PathName
    new: PathName
    is_coverable: bool = True


@dataclass(frozen=True, slots=True)
class Detach:
    prefix: PathName


Command = Attach | Bind | Detach


def parse_command(text: bytes) -> Command:
    """Read one command.

    Raises:
        ConfigError: names the word that is wrong and what would be right.
    """
    if len(text) > COMMAND_BYTES_MAX:
        raise ConfigError(f"command of {len(text)} bytes: at most {COMMAND_BYTES_MAX}")
    words = text.split()
    if not words:
        raise ConfigError(f"empty command: expected one of {', '.join(sorted(PARSERS))}")
    verb = _shown(words[0])
    if verb not in PARSERS:
        raise ConfigError(f"unknown command {verb!r}: expected one of {', '.join(sorted(PARSERS))}")
    return PARSERS[verb](words[1:])


def escape_path(path: bytes) -> bytes:
    """Write *path* as one word, as /proc/mounts does."""
    return re.sub(rb"[\x00-\x20\\\x7f]", lambda match: b"\\%03o" % match[0][0], path)


def unescape_path(word: bytes) -> bytes:
    """Undo `escape_path`. A backslash without three octal digits stands for itself."""
    return re.sub(rb"\\([0-3][0-7]{2})", lambda match: bytes((int(match[1], 8),)), word)


def _attach(words: list[bytes]) -> Attach:
    if len(words) < 2:
        raise ConfigError(f"attach needs a server and a prefix: attach {'|'.join(sorted(ATTACHABLE))} PREFIX")
    kind = _shown(words[0])
    if kind not in ATTACHABLE:
        raise ConfigError(f"attach: unknown server {kind!r}: expected one of {', '.join(sorted(ATTACHABLE))}")
    coverable, size = False, None
    seen: set[str] = set()
    for word in words[2:]:
        key, separator, value = _shown(word).partition("=")
        if key in seen:
            raise ConfigError(f"attach: option {key!r} given twice")
        seen.add(key)
        if not separator and key in COVER_WORDS:
            coverable = _cover("attach", word, seen)
        elif separator and key == "size" and key in ATTACHABLE[kind]:
            size = parse_size(value)
        else:
            options = ", ".join(f"{option}=..." for option in sorted(ATTACHABLE[kind]))
            raise ConfigError(f"attach: unknown option {_shown(word)!r}: {kind} takes {options}, cov, nocov")
    return Attach(kind, _path("attach: prefix", words[1]), size, coverable)


def _bind(words: list[bytes]) -> Bind:
    if not 2 <= len(words) <= 3:
        raise ConfigError(
            f"bind takes two paths and cov or nocov, not {len(words)} words: bind OLD NEW [nocov]"
        )
    coverable = _cover("bind", words[2], {_shown(words[2])}) if len(words) == 3 else True
    return Bind(_path("bind: old path", words[0]), _path("bind: new path", words[1]), coverable)


def _detach(words: list[bytes]) -> Detach:
    if len(words) != 1:
        raise ConfigError(f"detach takes one path, not {len(words)} words: detach PREFIX")
    return Detach(_path("detach: prefix", words[0]))


PARSERS: Final[Mapping[str, Callable[[list[bytes]], Command]]] = {
    "attach": _attach,
    "bind": _bind,
    "detach": _detach,
}

COVER_WORDS: Final[Mapping[str, bool]] = {"cov": True, "nocov": False}


def _cover(verb: str, word: bytes, seen: set[str]) -> bool:
    """Return what cov or nocov means; *seen* has the option words so far, this one too."""
    text = _shown(word)
    if text not in COVER_WORDS:
        raise ConfigError(f"{verb}: unknown option {text!r}: expected cov or nocov")
    if seen >= COVER_WORDS.keys():
        raise ConfigError(f"{verb}: cov and nocov exclude each other")
    return COVER_WORDS[text]


def parse_size(text: str) -> int:
    """Read a size in bytes: digits and K, M, G or T, for example 64M.

    Raises:
        ConfigError: not of this form, zero, or 2**63 and more.
    """
    match = re.fullmatch(r"([0-9]{1,20})([KMGT]?)", text, re.IGNORECASE | re.ASCII)
    size = int(match[1]) << 10 * " KMGT".index(match[2].upper() or " ") if match else 0
    if not 0 < size < 1 << 63:
        raise ConfigError(f"size must be a positive number with K, M, G or T, such as 64M: {text!r}")
    return size


def _path(what: str, word: bytes) -> PathName:
    """Read an absolute path of which no '..' is left that only a walk could resolve."""
    unix = unescape_path(word)
    if not unix.startswith(b"/"):
        raise ConfigError(f"{what} must be absolute: {_shown(word)!r}")
    try:
        path = PathName.parse(unix)
    except K42Error as exc:
        raise ConfigError(f"{what}: {exc}") from exc
    if path.has_dotdot:
        raise ConfigError(f"{what} must not hold '..': {_shown(word)!r}")
    return path


def _shown(word: bytes) -> str:
    return word.decode(errors="backslashreplace")


__all__ = [
    "ATTACHABLE",
    "COMMAND_BYTES_MAX",
    "Attach",
    "Bind",
    "Command",
    "Detach",
    "escape_path",
    "parse_command",
    "parse_size",
    "unescape_path",
]
