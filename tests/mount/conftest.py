"""Directories to test in.

`target` is what most tests take: an empty directory on the mount that the whole run shares. If a test kills
that mount, that test fails and the next gets a new one.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .mounting import K42Mount, Warden
from .support import run

GIVEN = os.environ.get("K42FS_TEST_TARGET")
HERE = Path(__file__).parent
TEST_SECONDS = 120
SOAK_SECONDS = 3600


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE not in item.path.parents:
            continue
        item.add_marker(pytest.mark.fuse)
        if item.get_closest_marker("timeout") is None:
            seconds = SOAK_SECONDS if item.get_closest_marker("soak") else TEST_SECONDS
            item.add_marker(pytest.mark.timeout(seconds))


@pytest.fixture(scope="session")
def warden() -> Iterator[Warden]:
    """The process that unmounts when we cannot."""
    warden = Warden()
    yield warden
    warden.dismiss()


@pytest.fixture(autouse=True)
def deadline(request: pytest.FixtureRequest, warden: Warden) -> Iterator[None]:
    """Have the mounts aborted when a test runs over: a call that waits for a dead server hears no signal."""
    marker = request.node.get_closest_marker("timeout")
    assert marker is not None
    # A little later than pytest's own limit, which gives the better report wherever it can.
    warden.tell("deadline", marker.args[0] + 3)
    yield
    warden.tell("deadline", 0)


@pytest.fixture(scope="session")
def workshop() -> Iterator[Path]:
    """A directory for mount points that every user can reach (pytest's own directories are private)."""
    path = Path(tempfile.mkdtemp(prefix="k42fs-test-"))
    path.chmod(0o755)
    yield path
    # Only rmdir: if anything is still mounted below, nothing in it may be deleted.
    for point in path.iterdir():
        point.rmdir()
    path.rmdir()


class SharedMount:
    """A k42fs mount used by many tests, started at first use and again if a test broke it."""

    def __init__(self, mount: K42Mount) -> None:
        self.mount = mount
        self._is_started = False

    def root(self) -> Path:
        """The mount's root directory, healthy."""
        if self._is_started and not self.mount.is_healthy():
            self._is_started = False
            self.mount.discard()
        if not self._is_started:
            self.mount.start()
            self._is_started = True
        return self.mount.path

    def stop(self) -> None:
        """Unmount, if it was ever mounted."""
        if self._is_started:
            self._is_started = False
            self.mount.stop()


@pytest.fixture(scope="session")
def full_root(workshop: Path, warden: Warden) -> Iterator[Callable[[], Path]]:
    """Gives the root of the directory under test: the one given, or the shared k42fs mount."""
    if GIVEN:
        given = Path(GIVEN)
        yield lambda: given
        return
    shared = SharedMount(K42Mount(workshop / "full", warden))
    yield shared.root
    shared.stop()


@pytest.fixture(scope="session", params=["given"] if GIVEN else ["off", "calls", "full"])
def model_root(
    request: pytest.FixtureRequest, workshop: Path, warden: Warden, full_root: Callable[[], Path]
) -> Iterator[Callable[[], Path]]:
    """The same at each fidelity of the machine."""
    if request.param in ("given", "full"):
        yield full_root
        return
    shared = SharedMount(K42Mount(workshop / request.param, warden, f"model={request.param}"))
    yield shared.root
    shared.stop()


def _fresh(root: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    name = re.sub(r"\W+", "-", request.node.name)[:60].strip("-")
    path = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=root))
    path.chmod(0o755)
    yield path
    assert root.stat().st_mode & stat.S_IFDIR, "the test killed the mount"
    shutil.rmtree(path)


@pytest.fixture
def target(full_root: Callable[[], Path], request: pytest.FixtureRequest) -> Iterator[Path]:
    """An empty directory to test in, open to all users, removed afterwards."""
    yield from _fresh(full_root(), request)


@pytest.fixture
def model_target(model_root: Callable[[], Path], request: pytest.FixtureRequest) -> Iterator[Path]:
    """The same, at each fidelity of the machine in turn."""
    yield from _fresh(model_root(), request)


@pytest.fixture
def small_target(workshop: Path, warden: Warden) -> Iterator[Path]:
    """The root of a file system of 64 MiB of its own. Where a directory is given, a tmpfs stands in."""
    point = workshop / "small"
    if GIVEN:
        point.mkdir(exist_ok=True)
        run(["mount", "-t", "tmpfs", "-o", "size=64m", "none", point])
        yield point
        run(["umount", point])
        return
    mount = K42Mount(point, warden, "model=full,size=64m")
    mount.start()
    yield point
    mount.stop()


@pytest.fixture
def new_mount(workshop: Path, warden: Warden) -> Iterator[Callable[..., K42Mount]]:
    """Makes k42fs mounts for one test and discards what it leaves. Skips where a directory is given."""
    if GIVEN:
        pytest.skip("a given directory has no life cycle")
    mounts: list[K42Mount] = []

    def make(options: str = "model=off") -> K42Mount:
        mount = K42Mount(workshop / f"own-{len(mounts)}", warden, options)
        mount.start()
        mounts.append(mount)
        return mount

    yield make
    for mount in mounts:
        mount.discard()
        mount.path.rmdir()
