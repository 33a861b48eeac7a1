"""An ordinary user who mounts: commands run as *nobody*, in a mount name space of the test's own.

The name space is there for /dev/fuse: every user may open it on a machine of today, but not in every container
or test machine. Where it is closed, a node that is open to all is laid over it, and only the test sees it.
"""

from __future__ import annotations

import ctypes
import json
import os
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from .mounting import REPOSITORY, Outcome, is_mounted
from .support import NOBODY
from .warden import release

FUSE_MAJOR_MINOR: Final = (10, 229)
_CLONE_NEWNS: Final = 0x20000
_MS_BIND, _MS_SLAVE_REC = 4096, (1 << 19) | 16384


class CannotTestError(Exception):
    """This machine cannot give a user what the tests need; the text says what."""


def as_nobody(*argv: str | Path, env: Mapping[str, str] | None = None, uid: int = NOBODY) -> Outcome:
    """Run a program as *uid*, in its own group only, without capabilities."""
    done = subprocess.run(
        [str(word) for word in argv],
        cwd="/",
        env={**os.environ, **(env or {})},
        user=uid,
        group=uid,
        extra_groups=[],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def interpreter() -> tuple[str, str]:
    """Return a Python that nobody may run, and the PYTHONPATH with which it finds k42fs.

    Raises:
        CannotTestError: the packages, or every interpreter of this version, are closed to other users.
    """
    packages = os.pathsep.join(
        [str(REPOSITORY), *dict.fromkeys(map(sysconfig.get_path, ("purelib", "platlib")))]
    )
    system = f"/usr/bin/python3.{sys.version_info.minor}"
    said = ""
    for python in (sys.executable, system):
        try:
            tried = as_nobody(python, "-c", "import k42fs.personality.mount", env={"PYTHONPATH": packages})
        except OSError as exc:
            said = f"{python}: {exc.strerror}"
            continue
        if tried.status == 0:
            return python, packages
        said = (tried.errors.strip().splitlines() or [f"{python} does not run"])[-1]
    raise CannotTestError(f"nobody cannot run k42fs here: {said}")


def enter_own_name_space(scratch: Path) -> None:
    """Give this process a mount name space in which every user may open /dev/fuse.

    Mounts that others take away vanish from it too; what is mounted here is nobody else's.

    Raises:
        CannotTestError: name spaces or device nodes are forbidden here.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS) or libc.mount(b"none", b"/", None, ctypes.c_ulong(_MS_SLAVE_REC), None):
        raise CannotTestError(f"no mount name space of our own: {os.strerror(ctypes.get_errno())}")
    if stat.S_IMODE(os.stat("/dev/fuse").st_mode) & 0o006 == 0o006:
        return
    node = scratch / "fuse"
    try:
        os.mknod(node, stat.S_IFCHR | 0o666, os.makedev(*FUSE_MAJOR_MINOR))
        node.chmod(0o666)
        os.close(os.open(node, os.O_RDWR))
    except OSError as exc:
        raise CannotTestError(f"/dev/fuse is closed to users, and so are device nodes here: {exc}") from None
    if libc.mount(os.fsencode(node), b"/dev/fuse", None, ctypes.c_ulong(_MS_BIND), None):
        raise CannotTestError(f"/dev/fuse cannot be covered: {os.strerror(ctypes.get_errno())}")


class User:
    """Nobody with a home and a mount point, both in *scratch*, and the k42fs command."""

    def __init__(self, scratch: Path) -> None:
        self.home = scratch / "home"
        self.point = self.home / "m"
        for path in (self.home, self.point):
            path.mkdir()
            os.chown(path, NOBODY, NOBODY)
        self._python, self._packages = interpreter()
        enter_own_name_space(scratch)

    def k42fs(
        self, *arguments: str | Path, uid: int = NOBODY, env: Mapping[str, str] | None = None
    ) -> Outcome:
        """Run the k42fs command as the user, or as another one."""
        settings = {"HOME": str(self.home), "XDG_STATE_HOME": "", "PYTHONPATH": self._packages, **(env or {})}
        return as_nobody(self._python, "-B", "-m", "k42fs.cli.main", *arguments, env=settings, uid=uid)

    def mount(self, *options: str) -> int:
        """Mount on `point` and return the daemon's pid, which only the user himself can ask for."""
        words = ["-o", ",".join(options)] if options else []
        done = self.k42fs("mount", *words, self.point)
        assert done.status == 0, done
        assert not done.errors, done
        asked = as_nobody("/bin/cat", self.point / ".k42" / "config.json")
        return int(json.loads(asked.output)["pid"])

    def clear(self) -> None:
        """Leave no mount behind."""
        while is_mounted(self.point):
            release(str(self.point))
