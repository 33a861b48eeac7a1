"""Directories to test in.

`target` is what most tests take: an empty directory on the mount that the whole run shares. If a test kills
that mount, that test fails and the next gets a new one.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .mounting import K42Mount, Warden, daemon_pid, is_mounted, is_running
from .support import run
from .warden import release

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


def _reachable_temporary_directory() -> str:
    """The first usual place that other users may search; TMPDIR may be private."""
    places = [Path(place) for place in (tempfile.gettempdir(), "/tmp", "/var/tmp")]
    for place in places:
        if all(parent.stat().st_mode & stat.S_IXOTH for parent in (place, *place.parents)):
            return str(place)
    pytest.fail("no temporary directory that other users may search")


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory for mount points and logs that every user can reach (pytest's own are private)."""
    path = Path(tempfile.mkdtemp(prefix="k42fs-test-", dir=_reachable_temporary_directory()))
    path.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        # Where mounts without log= log, so that nothing stays in the user's home.
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield path
    for entry in path.iterdir():
        # Only rmdir: if anything is still mounted there, nothing in it may be deleted.
        entry.rmdir() if entry.is_dir() else entry.unlink()
    path.rmdir()


class Shared:
    """What many tests share: a k42fs mount, made at first use and again if a test broke it, or a path."""

    def __init__(self, source: K42Mount | Path) -> None:
        self._source = source
        self._is_started = False

    def root(self) -> Path:
        """The root directory, healthy."""
        if isinstance(self._source, Path):
            return self._source
        if self._is_started and not self._source.is_healthy():
            self._is_started = False
            self._source.discard()
        if not self._is_started:
            self._source.start()
            self._is_started = True
        return self._source.path

    def check(self) -> None:
        """After a test: it must have left the mount alive and without bugs in the daemon's log."""
        if isinstance(self._source, K42Mount):
            self._source.check_log()
            assert self._source.is_healthy(), "the test killed the mount"

    def stop(self) -> None:
        """Unmount, if it was ever mounted."""
        if isinstance(self._source, K42Mount) and self._is_started:
            self._is_started = False
            self._source.stop()


def _shared(workshop: Path, warden: Warden, model: str, acl: str = ",acl") -> Iterator[Shared]:
    point = workshop / (model if acl else f"{model}-without-acls")
    source = Path(GIVEN) if GIVEN else K42Mount(point, warden, f"model={model}{acl}")
    shared = Shared(source)
    yield shared
    shared.stop()


@pytest.fixture(scope="session")
def shared_full(workshop: Path, warden: Warden) -> Iterator[Shared]:
    """What most tests share."""
    yield from _shared(workshop, warden, "full")


@pytest.fixture(scope="session", params=["given"] if GIVEN else ["off", "calls", "full"])
def shared_model(
    request: pytest.FixtureRequest, workshop: Path, warden: Warden, shared_full: Shared
) -> Iterator[Shared]:
    """The same at each fidelity of the machine."""
    if request.param in ("given", "full"):
        yield shared_full
    else:
        yield from _shared(workshop, warden, request.param)


@pytest.fixture(scope="session")
def shared_without_acls(workshop: Path, warden: Warden) -> Iterator[Shared]:
    """A mount that stores ACLs and does not enforce them, as without the option `acl`."""
    if GIVEN:
        pytest.skip("how a given directory was mounted is not ours to say")
    yield from _shared(workshop, warden, "full", acl="")


@pytest.fixture(scope="session", params=["given"] if GIVEN else ["acl", "without-acls"])
def shared_rights(request: pytest.FixtureRequest) -> Shared:
    """The two ways in which rights are checked: with ACLs, and by the mode bits alone."""
    name = "shared_without_acls" if request.param == "without-acls" else "shared_full"
    shared: Shared = request.getfixturevalue(name)
    return shared


def _fresh(shared: Shared, request: pytest.FixtureRequest) -> Iterator[Path]:
    name = re.sub(r"\W+", "-", request.node.name)[:60].strip("-")
    path = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=shared.root()))
    path.chmod(0o755)
    yield path
    shared.check()
    shutil.rmtree(path)


@pytest.fixture
def target(shared_full: Shared, request: pytest.FixtureRequest) -> Iterator[Path]:
    """An empty directory to test in, open to all users, removed afterwards."""
    yield from _fresh(shared_full, request)


@pytest.fixture
def model_target(shared_model: Shared, request: pytest.FixtureRequest) -> Iterator[Path]:
    """The same, at each fidelity of the machine in turn."""
    yield from _fresh(shared_model, request)


@pytest.fixture
def rights_target(shared_rights: Shared, request: pytest.FixtureRequest) -> Iterator[Path]:
    """The same, with and without ACLs enforced."""
    yield from _fresh(shared_rights, request)


@pytest.fixture
def plain_target(shared_without_acls: Shared, request: pytest.FixtureRequest) -> Iterator[Path]:
    """The same, where ACLs are stored and not enforced."""
    yield from _fresh(shared_without_acls, request)


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
def mount_point(workshop: Path, warden: Warden) -> Iterator[Path]:
    """An empty directory to mount on by hand. Skips where a directory is given; leaves no mount behind."""
    if GIVEN:
        pytest.skip("a given directory is not mounted by us")
    path = Path(tempfile.mkdtemp(prefix="point-", dir=workshop))
    warden.tell("mounted", path)
    yield path
    warden.tell("unmounted", path)
    pid = daemon_pid(path)
    while is_mounted(path):
        release(str(path))
    if pid is not None and is_running(pid):
        os.kill(pid, signal.SIGKILL)
    shutil.rmtree(path)


@pytest.fixture
def new_mount(workshop: Path, warden: Warden) -> Iterator[Callable[..., K42Mount]]:
    """Makes k42fs mounts for one test and discards what it leaves. Skips where a directory is given."""
    if GIVEN:
        pytest.skip("a given directory is not mounted by us")
    mounts: list[K42Mount] = []

    def make(options: str = "model=off") -> K42Mount:
        mount = K42Mount(workshop / f"own-{len(mounts)}", warden, options)
        mounts.append(mount)
        mount.start()
        return mount

    yield make
    for mount in mounts:
        mount.discard()
    for mount in mounts:
        mount.path.rmdir()
