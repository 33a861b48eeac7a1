"""The same event in LTTng's user-space tracer, for comparison: C, a ring for each CPU in shared memory, a daemon.

Needs gcc, lttng-tools and liblttng-ust-dev (Debian's names), and that no session daemon of this user is there
already: the one started here is ended here. Where something is missing there are no figures, and a reason.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
SECONDS_MAX = 60


class MissingError(Exception):
    """LTTng cannot be measured here; the text says why."""


def measure(batches: int) -> tuple[float, float]:
    """Return ns of the event off and on, fastest of *batches*. Raises MissingError."""
    for tool in ("gcc", "lttng", "lttng-sessiond"):
        if shutil.which(tool) is None:
            raise MissingError(f"{tool} is not installed")
    with tempfile.TemporaryDirectory(prefix="k42fs-lttng.") as scratch:
        home = Path(scratch)
        program = build(home)
        # An application waits for its daemon so many ms at most before it goes on; -1: till it is there.
        off = run_program(program, batches, home, "0")
        with session(home):
            return off, run_program(program, batches, home, "-1")


def build(home: Path) -> Path:
    program = home / "lttng_bench"
    source = HERE / "lttng_bench.c"
    command = ["gcc", "-O2", f"-I{HERE}", str(source), "-o", str(program), "-llttng-ust", "-ldl"]
    run(command, home)
    return program


@contextmanager
def session(home: Path) -> Iterator[None]:
    """Run a session daemon of our own with the event on."""
    lttng = ["lttng", "--no-sessiond"]
    if (
        subprocess.run([*lttng, "list"], env=environment(home), capture_output=True, check=False).returncode
        == 0
    ):
        raise MissingError("a session daemon is there already")
    daemon = subprocess.Popen(
        ["lttng-sessiond", "--no-kernel"],
        env=environment(home),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        create = [*lttng, "create", "k42fs", f"--output={home / 'trace'}"]
        wait_for(create, home, daemon)
        run([*lttng, "enable-event", "--userspace", "k42fs_bench:*"], home)
        run([*lttng, "start"], home)
        yield
        run([*lttng, "destroy"], home)
    finally:
        daemon.terminate()
        try:
            daemon.wait(SECONDS_MAX)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


def wait_for(command: list[str], home: Path, daemon: subprocess.Popen[bytes]) -> None:
    """Repeat *command* until the daemon is there to do it."""
    until = time.monotonic() + 10
    while True:
        try:
            run(command, home)
        except MissingError:
            if daemon.poll() is not None or time.monotonic() > until:
                raise
            time.sleep(0.2)
        else:
            return


def run_program(program: Path, batches: int, home: Path, patience: str) -> float:
    return float(run([str(program), str(batches)], home, LTTNG_UST_REGISTER_TIMEOUT=patience))


def run(command: list[str], home: Path, **more: str) -> str:
    """Return what *command* prints. Raises MissingError with what it complains of."""
    done = subprocess.run(
        command,
        env=environment(home) | more,
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    if done.returncode:
        complaint = (done.stderr or done.stdout).strip().splitlines()
        raise MissingError(f"{Path(command[0]).name}: {complaint[0] if complaint else done.returncode}")
    return done.stdout


def environment(home: Path) -> dict[str, str]:
    return os.environ | {"LTTNG_HOME": str(home)}
