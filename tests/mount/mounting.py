"""k42fs mounts, made and ended through the command line as a user would."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from . import warden as warden_module

REPOSITORY = Path(__file__).resolve().parents[2]
# Other users must get in; device nodes and set-user-ID bits must work, as on any disk of the machine.
COMMON_OPTIONS = "allow_other,dev,suid"
# A policy set, or a file of one, for all mounts that do not choose theirs (docs/testing.md).
POLICY = os.environ.get("K42FS_TEST_POLICY", "")


@dataclass(frozen=True)
class Outcome:
    """How a command ended and what it wrote."""

    status: int
    output: str
    errors: str


def k42fs(*arguments: str | Path, seconds: float = 60) -> Outcome:
    """Run the k42fs command. Output goes to files: a daemon that keeps them open must not hold us up."""
    path = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        done = subprocess.run(
            [sys.executable, "-m", "k42fs.cli.main", *map(str, arguments)],
            cwd="/",
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            timeout=seconds,
            check=False,
        )
        output.seek(0)
        errors.seek(0)
        return Outcome(
            done.returncode,
            output.read().decode(errors="replace"),
            errors.read().decode(errors="replace"),
        )


def is_mounted(path: Path) -> bool:
    """Whether something is mounted on *path*, by the kernel's table: a dead mount must not be touched."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = (line.split()[4] for line in lines)
    unescape = re.compile(r"\\([0-7]{3})")
    return str(path) in (unescape.sub(lambda m: chr(int(m[1], 8)), point) for point in points)


def daemon_pid(path: Path) -> int | None:
    """The process that serves *path*: it was started with that path and holds /dev/fuse open."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (process / "cmdline").read_bytes().split(b"\0")
            if os.fsencode(path) not in arguments:
                continue
            links = [os.readlink(link) for link in (process / "fd").iterdir()]
        except OSError:
            continue  # it ended while we looked
        if any(link.startswith("/dev/fuse") for link in links):
            return int(process.name)
    return None


def is_running(pid: int) -> bool:
    """Whether *pid* is a process that still runs; a zombie that nobody reaps does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def wait_until_gone(path: Path, pid: int | None, seconds: float = 20) -> None:
    """Wait until *path* is no mount and *pid* is no process; AssertionError if that takes too long."""
    deadline = time.monotonic() + seconds
    while is_mounted(path) or (pid is not None and is_running(pid)):
        assert time.monotonic() < deadline, (
            f"after {seconds} s: mounted={is_mounted(path)}, daemon {pid} running={is_running(pid or 0)}"
        )
        time.sleep(0.02)


class Warden:
    """The process that ends our mounts when we cannot (see warden.py)."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, warden_module.__file__],
            cwd="/",
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def tell(self, *words: object) -> None:
        """Send one line."""
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(map(str, words)).encode() + b"\n")
        self._process.stdin.flush()

    def dismiss(self) -> None:
        """Let it unmount what is left, and end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=120)


class K42Mount:
    """One k42fs mount on a directory of its own, in the care of the warden while it lasts."""

    def __init__(self, path: Path, warden: Warden, options: str = "model=full") -> None:
        self.path = path
        self.log = path.with_name(f"{path.name}.log")
        self.log.unlink(missing_ok=True)  # of an earlier mount on the same directory
        chosen = f"policy={POLICY}," if POLICY and "policy=" not in options else ""
        self.options = f"{options},{chosen}{COMMON_OPTIONS},log={self.log}"
        self._warden = warden

    def start(self) -> None:
        """Mount; AssertionError with the command's words if it refuses."""
        if not is_mounted(self.path):  # a dead mount may lie there, and must not be touched
            self.path.mkdir(exist_ok=True)
            self.path.chmod(0o755)
        self._warden.tell("mounted", self.path)
        done = k42fs("mount", "-o", self.options, self.path)
        if done.status != 0 or not is_mounted(self.path):
            self.discard()
            raise AssertionError(f"mount -o {self.options}: status {done.status}\n{done.errors}{done.output}")
        if self.path.stat().st_mode & 0o777 != 0o755:
            self.path.chmod(0o755)

    @property
    def pid(self) -> int:
        """Process id of the daemon."""
        pid = daemon_pid(self.path)
        assert pid is not None, f"no daemon serves {self.path}"
        return pid

    def is_healthy(self) -> bool:
        """Whether the mount is there and answers."""
        try:
            os.statvfs(self.path)
        except OSError:
            return False
        return is_mounted(self.path)

    def check_log(self) -> None:
        """AssertionError if the daemon met a bug of its own; the log is then emptied for the next test."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        if "Traceback" in text:
            self.log.write_text("")
            first = max(0, text.index("Traceback") - 300)
            raise AssertionError(f"the daemon logged a bug:\n{text[first : first + 5000]}")

    def stop(self) -> None:
        """Unmount as a user would; if that fails, by force, and then fail."""
        pid = daemon_pid(self.path)
        try:
            done = k42fs("umount", self.path)
            assert done.status == 0, f"umount exited with {done.status}:\n{done.errors}{done.output}"
            wait_until_gone(self.path, pid)
            self.check_log()
        finally:
            self.discard()

    def discard(self) -> None:
        """Leave neither mount nor daemon, whatever state they are in. Harmless if both are gone."""
        pid = daemon_pid(self.path)
        while is_mounted(self.path):
            warden_module.release(str(self.path))
        if pid is not None and is_running(pid):
            os.kill(pid, signal.SIGKILL)
        self._warden.tell("unmounted", self.path)

    def kill_daemon(self) -> None:
        """Kill the daemon without warning."""
        os.kill(self.pid, signal.SIGKILL)
