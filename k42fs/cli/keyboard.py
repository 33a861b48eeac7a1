"""Keys of a terminal, one at a time, without waiting for the end of a line."""

from __future__ import annotations

import os
import select
import termios
import tty
from types import TracebackType
from typing import Final

ESCAPES: Final = {
    b"\x1b[A": "up",
    b"\x1b[B": "down",
    b"\x1bOA": "up",
    b"\x1bOB": "down",
    b"\x1b[5~": "page-up",
    b"\x1b[6~": "page-down",
}
CONTROLS: Final = {
    b"\t": "tab",
    b"\r": "enter",
    b"\n": "enter",
    b"\x7f": "backspace",
    b"\x08": "backspace",
    b"\x03": "ctrl-c",
    b"\x04": "eof",
    b"\x1b": "escape",
}


def split_keys(data: bytes) -> list[str]:
    """Return the keys in what a terminal sent at once. An escape sequence that means nothing here is one key, ""."""
    keys = []
    while data:
        known = next((name for name in ESCAPES if data.startswith(name)), None)
        if known is not None:
            keys.append(ESCAPES[known])
            data = data[len(known) :]
        elif data[:2] in (b"\x1b[", b"\x1bO"):
            end = next((at for at, byte in enumerate(data[2:], 3) if 0x40 <= byte <= 0x7E), len(data))
            keys.append("")
            data = data[end:]
        elif data[:1] in CONTROLS:
            keys.append(CONTROLS[data[:1]])
            data = data[1:]
        else:
            text = data.decode(errors="ignore")
            keys.append(text[:1])
            data = text[1:].encode()
    return keys


class Keyboard:
    """The terminal *fd* while the block lasts, not echoing; afterwards it is as before."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __enter__(self) -> Keyboard:
        self._before = termios.tcgetattr(self._fd)
        tty.setcbreak(self._fd)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)

    def keys(self, seconds: float) -> list[str]:
        """Wait at most *seconds* for keys, and return them. A terminal that is gone says "eof"."""
        if not select.select([self._fd], [], [], max(seconds, 0))[0]:
            return []
        try:
            data = os.read(self._fd, 1024)
        except OSError:
            data = b""
        return split_keys(data) if data else ["eof"]
