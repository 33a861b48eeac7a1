"""The mask: one bit per class of events, in words people and programs write.

A mask that is not zero always has Control in it: without heartbeats nobody can read the times. (K42 showed it
set and did not set it.)
K42: /ksys/traceMask, traceControl, and the console's presets.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from k42fs.errors import ConfigError
from k42fs.machine.tracing.schema import load
from k42fs.machine.tracing.switches import Switches as Switches

MEM: Final = 1 << 2
LOCK: Final = 1 << 3
USER: Final = 1 << 4
PROC: Final = 1 << 8
CLUST_OBJ: Final = 1 << 10
EXCEPTION: Final = 1 << 11
SCHEDULER: Final = 1 << 12
DBG: Final = 1 << 13
FS: Final = 1 << 14
CONTROL: Final = 1 << 16
HW_PERF_MON: Final = 1 << 17
SWAP: Final = 1 << 18
RES_MGR: Final = 1 << 19
INFO: Final = 1 << 22
DISK: Final = 1 << 25
FUSE: Final = 1 << 26
CACHE: Final = 1 << 27
META: Final = 1 << 28

_S2: Final = CONTROL | HW_PERF_MON | EXCEPTION
_S3: Final = _S2 | LOCK

PRESETS: Final[Mapping[str, int]] = MappingProxyType(
    {
        # K42's, as on its console.
        "s1": CONTROL,
        "s2": _S2,
        "s3": _S3,
        "s4": CONTROL | EXCEPTION | CLUST_OBJ,
        "s5": CONTROL | CLUST_OBJ,
        "s6": CONTROL | RES_MGR,
        "s7": _S2 | RES_MGR,
        "s8": _S3 | SCHEDULER,
        "s9": CONTROL | FS,
        # Ours, one for each report.
        "calls": CONTROL | FUSE | CLUST_OBJ,
        "time": CONTROL | FUSE | EXCEPTION | SCHEDULER | USER | PROC,
        "locks": CONTROL | FUSE | EXCEPTION | LOCK,
        "lines": CONTROL | FUSE | CLUST_OBJ | CACHE,
        "requests": CONTROL | FUSE,
        "generations": CONTROL | CLUST_OBJ | EXCEPTION,
    }
)


def all_classes() -> int:
    """Return the mask of every class there is."""
    return sum(each.bit for each in load().classes)


def parse(text: str, current: int = 0) -> int:
    """Return the mask that *text* says: names of classes or presets and numbers (hex), with commas or blanks.

    "all" and "none" are masks too. With "+" or "-" before it a name changes *current*; else the words together
    replace it. Names go before numbers: write 0xfa for a number that could be a name.
    Raises ConfigError.
    """
    words = text.replace(",", " ").split()
    if not words:
        raise ConfigError("a trace mask is names of classes or presets, a hex number, all or none")
    mask = current if words[0][0] in "+-" else 0
    for word in words:
        bits = _bits(word.lstrip("+-"), is_change=word[0] in "+-")
        mask = mask & ~bits if word[0] == "-" else mask | bits
    return with_control(mask)


def with_control(mask: int) -> int:
    """Return *mask* with Control, if anything is on."""
    return mask | CONTROL if mask & ~CONTROL else mask


def _bits(word: str, is_change: bool) -> int:
    name = word.lower()
    if name in ("all", "none"):
        return all_classes() if name == "all" else 0
    if name in PRESETS:
        return PRESETS[name]
    for each in load().classes:
        if each.name.lower() == name:
            return each.bit
    known = ", ".join([*(each.name for each in load().classes), *PRESETS, "all", "none"])
    if is_change:  # "-1" is more likely a mistake than a change
        raise ConfigError(f"trace mask: {word!r} cannot be added or taken away, only {known}")
    try:
        mask = int(name, 16)
    except ValueError:
        raise ConfigError(f"trace mask: {word!r} is neither a hex number nor one of {known}") from None
    if mask & ~all_classes() or mask < 0:
        raise ConfigError(f"trace mask: {word!r} has bits of no class; all is {all_classes():#x}")
    return mask


def describe(mask: int) -> str:
    """Return "0x10008 Lock,Control", which parse takes: or "0x0 none"."""
    names = [each.name for each in load().classes if mask & each.bit]
    return f"{mask:#x} {','.join(names) or 'none'}"
