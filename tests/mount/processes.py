"""Children of the test, made by fork: other processes, other users.

A child runs one Python function and sends back its value or its exception. Fork without exec matters twice:
the child needs no access to the interpreter's files after it has become another user, and it shares open
descriptions.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import resource
import select
import signal
import time
import traceback
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Generic, NoReturn, Self, TypeVar

T = TypeVar("T")

FORK = multiprocessing.get_context("fork")


class Child(Generic[T]):
    """One forked child that computes *function*; killed by pid if it is left before its result was taken."""

    def __init__(
        self, function: Callable[[], T], uid: int = 0, gid: int = 0, groups: Sequence[int] = ()
    ) -> None:
        self._read, write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _child_main(function, write, uid, gid, groups)
        os.close(write)
        self._status: int | None = None

    def result(self, seconds: float = 60) -> T:
        """Wait for the child and return its value or raise its exception."""
        deadline = time.monotonic() + seconds
        chunks = []
        while True:
            ready, _, _ = select.select([self._read], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                self.kill()
                raise TimeoutError(f"child {self.pid} gave no result in {seconds} s")
            chunk = os.read(self._read, 1 << 16)
            if not chunk:
                break
            chunks.append(chunk)
        status = self.wait()
        if not chunks:
            raise RuntimeError(f"child {self.pid} ended without a result, status {status}")
        outcome = pickle.loads(b"".join(chunks))
        if isinstance(outcome, BaseException):
            raise outcome
        value: T = outcome[0]
        return value

    def wait(self) -> int:
        """Reap the child and return its wait status."""
        if self._status is None:
            self._status = os.waitpid(self.pid, 0)[1]
            os.close(self._read)
        return self._status

    def kill(self) -> None:
        """End the child at once, if it is still there."""
        if self._status is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


def _child_main(function: Callable[[], T], write: int, uid: int, gid: int, groups: Sequence[int]) -> NoReturn:
    outcome: tuple[T] | BaseException
    try:
        # A child that spins must not outlive the run by much, even if nobody is left to kill it.
        resource.setrlimit(resource.RLIMIT_CPU, (1800, 1800))
        os.umask(0o022)
        if uid or gid:
            os.setgroups(groups)
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
        outcome = (function(),)
    except BaseException as exc:  # whatever it was, the parent must raise it
        exc.add_note("in the child:\n" + traceback.format_exc())
        outcome = exc
    try:
        data = pickle.dumps(outcome)
        pickle.loads(data)
    except Exception:
        # pytest's own failures are such; their text is what matters.
        notes = getattr(outcome, "__notes__", [])
        data = pickle.dumps(RuntimeError("\n".join([repr(outcome), *notes])))
    view = memoryview(data)
    while view:
        view = view[os.write(write, view) :]
    os._exit(0)


def as_user(function: Callable[[], T], uid: int, gid: int | None = None, groups: Sequence[int] = ()) -> T:
    """Run *function* in a child as *uid*, in group *gid* (same number if None), without capabilities."""
    with Child(function, uid, uid if gid is None else gid, groups) as child:
        return child.result()


def in_parallel(functions: Sequence[Callable[[], T]], seconds: float = 120) -> list[T]:
    """Run the functions at once, one child each, started together; return their values in order."""
    barrier = FORK.Barrier(len(functions))

    def started(function: Callable[[], T]) -> T:
        barrier.wait(timeout=seconds)
        return function()

    children = [Child(lambda f=function: started(f)) for function in functions]  # type: ignore[misc]
    try:
        return [child.result(seconds) for child in children]
    finally:
        for child in children:
            child.kill()
