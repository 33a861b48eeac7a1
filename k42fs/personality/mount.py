"""One mount's life: build the system, serve until it ends, leave nothing behind.

It ends by SIGINT, SIGTERM or SIGHUP, or when the kernel says that the mount is gone (umount). In each case
the mount is taken away, queued invalidations are finished, and the process can exit with 0.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any, Final

import pyfuse3
import trio

from k42fs.errors import K42Error
from k42fs.machine.tracing.flushing import TICK_SECONDS
from k42fs.personality.boundary import EVENTS_LOGGED
from k42fs.personality.clients import started_ns
from k42fs.personality.control_text import keys_and_values
from k42fs.personality.notifier import Notifier
from k42fs.personality.operations import Operations
from k42fs.personality.options import MountOptions
from k42fs.personality.session import SessionWaiting
from k42fs.servers.system import System, SystemOptions

log = logging.getLogger(__name__)

WORKERS_MAX: Final = 64
CLEANUP_SECONDS: Final = 0.1
"""How often each processor's clean-up runs while there is work. K42: 100 ms in servers."""

IDLE_CLEANUP_SECONDS: Final = 2.0
ADAPT_SECONDS: Final = 1.0
"""Length of a window of adaptation."""

SWEEP_SECONDS: Final = 30.0
"""How often the free lists are looked through for what is old even if the mount is idle."""

LOG_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class MountFailedError(K42Error):
    """libfuse refused the mount; the text ends in its own words."""


def serve(path: str, options: MountOptions, log_path: str, on_ready: Callable[[], object]) -> None:
    """Mount on *path* and serve until the end; *on_ready* is called once the mount can answer.

    Raises:
        MountFailedError: libfuse or the kernel refused.
    """
    logging.basicConfig(
        level=options.log_level.upper(), format=LOG_FORMAT, filename=log_path or None, force=True
    )
    system = System(
        SystemOptions(
            processors=options.processors,
            preset=options.preset,
            model=options.model,
            seed=options.seed,
            size_bytes=options.size,
            is_read_only=options.is_read_only,
            updates_atime=not options.noatime,
            is_live=True,
            checks_permissions=False,
            root_uid=os.getuid(),
            root_gid=os.getgid(),
            acls_are_enforced=options.acl,
            policy=options.policy,
            adapt=options.adapt,
            adapt_rules=options.rules(),
        )
    )
    waiting = SessionWaiting()
    waiting.install()
    notifier = Notifier()
    operations = Operations(system, waiting.baton, notifier, options)
    try:
        _init(operations, path, options)
    except MountFailedError:
        waiting.uninstall()
        raise
    device = _device_at(path)
    if log_path:  # without a log our caller says it, on the same screen
        told = ", ".join(keys_and_values(asdict(options)).splitlines())
        log.info("mounted on %s: %s", path, told)
    try:
        trio.run(_run, operations, on_ready)
    except Exception:
        log.error(
            "the mount ends by a bug\n%s", operations.flight_recorder.after_bug(EVENTS_LOGGED), exc_info=True
        )
        raise
    finally:
        notifier.close()
        operations.trace_control.close()
        # A path is all that libfuse knows of its mount: it would take away a newer one that is in front there now.
        pyfuse3.close(unmount=device is not None and _device_at(path) == device)
        if device is not None and _device_at(path) == device:
            _detach(path)
        waiting.uninstall()
        log.info("unmounted %s", path)


def _init(operations: Operations, path: str, options: MountOptions) -> None:
    """Let libfuse mount. What it and fusermount3 have to say goes to descriptor 2: a refusal is told from there."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as said, os.fdopen(os.dup(2), "wb") as stderr:
        os.dup2(said.fileno(), 2)
        failure = None
        try:
            pyfuse3.init(operations, path, _fuse_options(options))
        except RuntimeError as exc:
            failure = exc
        finally:
            os.dup2(stderr.fileno(), 2)
        said.seek(0)
        text = said.read()
        if failure is None:
            stderr.write(text)
            return
    lines = text.decode(errors="replace").strip().splitlines() or [str(failure)]
    reason = lines[-1].removeprefix("fusermount3: ").removeprefix("fuse: ")
    raise MountFailedError(f"{path} could not be mounted: {reason}")


def _fuse_options(options: MountOptions) -> set[str]:
    return {
        *pyfuse3.default_options,
        "fsname=k42fs",
        "subtype=k42fs",
        *options.kernel_flags,
    }


async def _run(operations: Operations, on_ready: Callable[[], object]) -> None:
    async with trio.open_nursery() as nursery:

        def outside(awaitable: Awaitable[Any], done: Callable[[Any, BaseException | None], None]) -> None:
            nursery.start_soon(_report, awaitable, done)

        operations.machine.host(outside, trio.sleep)
        nursery.start_soon(_end_on_signal)
        nursery.start_soon(_dump_on_signal, operations)
        nursery.start_soon(_clean_up, operations)
        nursery.start_soon(_keep_recording, operations)
        nursery.start_soon(_adapt, operations)
        on_ready()
        await pyfuse3.main(min_tasks=1, max_tasks=WORKERS_MAX)
        nursery.cancel_scope.cancel()


async def _report(awaitable: Awaitable[Any], done: Callable[[Any, BaseException | None], None]) -> None:
    """Wait for something outside the machine, for a thread that left it, and bring the outcome back."""
    try:
        value = await awaitable
    except Exception as exc:
        done(None, exc)
    else:
        done(value, None)


async def _end_on_signal() -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        async for number in signals:
            log.info("ending on %s", signal.Signals(number).name)
            pyfuse3.terminate()


async def _dump_on_signal(operations: Operations) -> None:
    with trio.open_signal_receiver(signal.SIGUSR2) as signals:
        async for _ in signals:
            operations.flight_recorder.on_signal()


async def _keep_recording(operations: Operations) -> None:
    """Bring what is recorded to its directory from time to time, also when no request comes."""
    while True:
        await trio.sleep(TICK_SECONDS)
        operations.trace_control.tick()


async def _adapt(operations: Operations) -> None:
    """End a window of adaptation from time to time, if anybody came meanwhile."""
    served = -1
    while True:
        await trio.sleep(ADAPT_SECONDS)
        if served != operations.requests and operations.system.adapter.mode != "off":
            served = operations.requests
            await operations.adapt()


async def _clean_up(operations: Operations) -> None:
    """Run the clean-up daemon of each processor in use: deferred destruction, and the free lists.

    A mount that nobody uses, and in which nothing waits to be freed, is left alone: it costs no time.
    """
    served = -1
    last_sweep = 0.0
    while True:
        is_idle = served == operations.requests
        served = operations.requests
        await trio.sleep(IDLE_CLEANUP_SECONDS if is_idle else CLEANUP_SECONDS)
        is_sweep_due = trio.current_time() - last_sweep > SWEEP_SECONDS
        waits = (
            operations.cos.pending
            or operations.system.is_ending_servers
            or operations.handles.has_many_closed
        )
        if is_idle and not (waits or is_sweep_due):
            continue
        if is_sweep_due:
            last_sweep = trio.current_time()
            operations.handles.disown_dead(started_ns)
        for vp in list(operations.cos.ring):
            await operations.clean_up(vp)
        operations.handles.table.collect()


def _device_at(path: str) -> str | None:
    """Return the device number of the k42fs that is in front at *path*; each mount has its own."""
    escaped = path.replace("\\", "\\134").replace(" ", "\\040").replace("\t", "\\011").replace("\n", "\\012")
    found = None
    with open("/proc/self/mountinfo", errors="surrogateescape", newline="\n") as table:
        for line in table.read().split("\n"):
            words = line.split(" ")
            if len(words) > 4 and words[4] == escaped:
                found = words[2] if " - fuse.k42fs " in line else None
    return found


def _detach(path: str) -> None:
    """Detach lazily what libfuse left: it cannot unmount while somebody's current directory is inside."""
    command = ["umount", "-l", path] if os.geteuid() == 0 else ["fusermount3", "-u", "-z", path]
    subprocess.run(command, check=False, capture_output=True, timeout=10)
