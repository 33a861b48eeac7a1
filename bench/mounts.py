"""Start and stop one target: a file system under a fresh directory, and the client that works in it.

Nothing outlives the `with` block: the client is ended, the mount is taken off (lazily, if something still
holds it) and the daemon, which runs in the foreground as our child, is waited for and killed if it lingers.
"""

import json
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

MOUNT_SECONDS: Final = 20.0
END_SECONDS: Final = 10.0
MODELS: Final = ("off", "calls", "full")
TARGETS: Final = (*(f"k42fs-{model}" for model in MODELS), "reference", "passthrough", "tmpfs")
ROOT: Final = Path(__file__).resolve().parent.parent
SHARED_MEMORY: Final = Path("/dev/shm")


class TargetError(Exception):
    """A target did not start, or its client did not answer."""


class Client:
    """The measuring process of one target."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.fuse_client"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            process_group=0,  # Ctrl-C is for us: we end it when we are done with it
        )

    def measure(self, row: str, seconds: float) -> float:
        """Return the rate of *row*. Raises TargetError with the reason if there is none."""
        process = self._process
        if process.poll() is not None:
            raise TargetError("the client has ended")
        assert process.stdin is not None
        assert process.stdout is not None
        request = {"row": row, "directory": str(self.directory), "seconds": seconds}
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        limit = 60 + 10 * seconds
        if not select.select([process.stdout], [], [], limit)[0]:
            process.kill()
            raise TargetError(f"no answer within {limit:.0f} s")
        reply = json.loads(process.stdout.readline() or '{"error": "the client has ended"}')
        if "error" in reply:
            raise TargetError(reply["error"])
        return float(reply["rate"])

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def k42fs_command(directory: Path, options: str) -> list[str]:
    """Return the command that serves *directory* in the foreground."""
    return ["-m", "k42fs.cli.main", "mount", "-f", "-o", options, str(directory)]


def daemon_command(target: str, directory: Path, source: Path, options: str) -> list[str]:
    """Return the interpreter's arguments for a FUSE *target*; *source* is what a passthrough shows."""
    if target == "reference":
        return ["-m", "bench.reference_fs", str(directory)]
    if target == "passthrough":
        return ["-m", "bench.passthrough_fs", str(source), str(directory)]
    return k42fs_command(directory, f"model={target.removeprefix('k42fs-')},{options}")


def is_mounted(directory: Path) -> bool:
    """Ask the mount list, for a stat would wait for the daemon."""
    escaped = str(directory).replace("\\", "\\134").replace(" ", "\\040")
    return any(line.split(" ")[1] == escaped for line in Path("/proc/self/mounts").read_text().splitlines())


def unmount(directory: Path) -> None:
    """Take the mount off, lazily if it is busy. No mount is no error."""
    for flags in ("-u", "-uz"):
        if not is_mounted(directory):
            return
        subprocess.run(["fusermount3", flags, str(directory)], check=False, stderr=subprocess.DEVNULL)


@contextmanager
def served(
    arguments: list[str], directory: Path, log: Path, root: Path = ROOT
) -> Iterator[subprocess.Popen[bytes]]:
    """Run the Python *arguments* as a daemon that mounts *directory*; yield once it answers. *root* has the package."""
    with log.open("wb") as output:
        daemon = subprocess.Popen(
            [sys.executable, *arguments], cwd=root, stdout=output, stderr=output, process_group=0
        )
    try:
        deadline = time.monotonic() + MOUNT_SECONDS
        while not is_mounted(directory):
            if daemon.poll() is not None or time.monotonic() > deadline:
                raise TargetError(f"{' '.join(arguments)} did not mount:\n{log.read_text()[-2000:]}")
            time.sleep(0.02)
        try:
            directory.stat()
        except OSError as exc:
            raise TargetError(
                f"the mount does not answer: {exc.strerror}\n{log.read_text()[-2000:]}"
            ) from exc
        yield daemon
    finally:
        unmount(directory)
        try:
            daemon.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


@contextmanager
def served_target(
    target: str, options: str, *profiler: str
) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    """Yield the directory of a FUSE *target* and its daemon; *profiler* goes before the daemon's module."""
    # A passthrough's source is in memory; the mount is where TMPDIR says, so that whoever set it can find it.
    with (
        tempfile.TemporaryDirectory(prefix="k42fs-bench-") as scratch,
        tempfile.TemporaryDirectory(prefix="k42fs-bench-", dir=SHARED_MEMORY) as source,
    ):
        directory = Path(scratch, "mnt")
        directory.mkdir()
        arguments = [*profiler, *daemon_command(target, directory, Path(source), options)]
        with served(arguments, directory, Path(scratch, "log")) as daemon:
            yield directory, daemon


@contextmanager
def started(target: str, options: str) -> Iterator[Client]:
    """Yield the client of *target*, one of TARGETS. *options* go to k42fs mounts."""
    if target == "tmpfs":
        with (
            tempfile.TemporaryDirectory(prefix="k42fs-bench-", dir=SHARED_MEMORY) as scratch,
            closing_client(Path(scratch)) as client,
        ):
            yield client
    else:
        with served_target(target, options) as (directory, _), closing_client(directory) as client:
            yield client


@contextmanager
def closing_client(directory: Path) -> Iterator[Client]:
    client = Client(directory)
    try:
        yield client
    finally:
        client.close()
