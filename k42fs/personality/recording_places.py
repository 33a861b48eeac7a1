"""Where on the host a mount may keep a recording: in no k42fs.

The daemon writes recordings itself. To write into its own mount it would have to wait for its own answer, and two
mounts that record into each other would wait for ever. Looking is dangerous in the same way, so `resolve` runs in
a thread of its own, while requests are served.
"""

from __future__ import annotations

import os
from pathlib import Path

from k42fs.errors import ConfigError, InvalidArgumentError, K42Error, NameNotFoundError, NotDirectoryError

MOUNT_TABLE = Path("/proc/self/mountinfo")


def resolve(path: bytes, what: str = "a recording") -> Path:
    """Return where *path* lies, or would lie, links followed. For a thread: it asks file systems.

    *what* is to lie there, for the text of a refusal.

    Raises:
        ConfigError: it is not absolute. InvalidArgumentError: it lies in a k42fs.
        K42Error: a part of it is no directory, or may not be looked at.
    """
    if not path.startswith(b"/"):
        raise ConfigError(f"{os.fsdecode(path)!r}: {what}'s path must be absolute")
    target = Path(os.path.realpath(os.fsdecode(path)))
    above = target
    while True:
        try:
            status = above.stat()
        except FileNotFoundError:
            above = above.parent
        except NotADirectoryError:
            raise NotDirectoryError(f"{target}: part of it is no directory") from None
        except OSError as exc:
            raise refused(exc, target) from None
        else:
            break
    device = f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
    if device in k42fs_devices():
        raise InvalidArgumentError(f"{target} lies in a k42fs mount: {what} must lie elsewhere")
    return target


def k42fs_devices(table: Path = MOUNT_TABLE) -> set[str]:
    """Return the device numbers, "major:minor", of all k42fs mounts."""
    rows = table.read_bytes().split(b"\n")
    return {row.split(b" ")[2].decode() for row in rows if b" - fuse.k42fs " in row}


def refused(exc: OSError, path: Path) -> K42Error:
    """Return the failure that says what the host refused, with its own errno where there is a class for it."""
    kinds: list[type[K42Error]] = K42Error.__subclasses__()
    kind = next((each for each in kinds if each.errno == exc.errno), K42Error)
    kind = NameNotFoundError if isinstance(exc, FileNotFoundError) else kind
    return kind(f"{exc.filename or path}: {exc.strerror or exc}")
