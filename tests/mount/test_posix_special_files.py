"""FIFOs, sockets and device nodes."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path

import pytest

from .processes import Child, as_user
from .support import ALICE, fails, names, opened, write


def test_a_fifo_joins_two_processes(target: Path) -> None:
    path = target / "fifo"
    os.mkfifo(path, 0o600)

    def send() -> None:
        with opened(path, os.O_WRONLY) as fd:
            for number in range(100):
                os.write(fd, b"line %d\n" % number)

    with Child(send) as child, path.open("rb") as stream:
        assert stream.read().splitlines() == [b"line %d" % number for number in range(100)]
        child.result()
    status = path.stat()
    assert stat.S_ISFIFO(status.st_mode)
    assert status.st_size == 0


def test_a_fifo_without_reader_refuses_a_writer_that_does_not_wait(target: Path) -> None:
    os.mkfifo(target / "fifo")
    with fails(errno.ENXIO):
        os.open(target / "fifo", os.O_WRONLY | os.O_NONBLOCK)


def test_a_fifo_keeps_working_under_a_new_name_and_a_second_one(target: Path) -> None:
    os.mkfifo(target / "fifo")
    with opened(target / "fifo", os.O_RDONLY | os.O_NONBLOCK) as reader:
        (target / "fifo").rename(target / "moved")
        os.link(target / "moved", target / "link")
        with opened(target / "link", os.O_WRONLY) as writer:
            os.write(writer, b"hello")
            assert os.read(reader, 10) == b"hello"


def test_a_socket_is_made_by_bind_and_found_by_connect(target: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        # Through the directory's descriptor: a socket's path may have 107 bytes only.
        with opened(target, os.O_RDONLY) as fd:
            address = f"/proc/self/fd/{fd}/socket"
            server.bind(address)
            server.listen()
            assert stat.S_ISSOCK((target / "socket").stat().st_mode)
            client.connect(address)
        connection, _ = server.accept()
        with connection:
            client.sendall(b"hello")
            assert connection.recv(10) == b"hello"
        with fails(errno.ENXIO):
            os.open(target / "socket", os.O_RDWR)
    (target / "socket").unlink()
    assert not names(target)


@pytest.mark.parametrize(
    ("kind", "major", "minor"),
    [(stat.S_IFCHR, 1, 3), (stat.S_IFBLK, 7, 99), (stat.S_IFCHR, 511, 0xFFFFF), (stat.S_IFBLK, 4095, 256)],
    ids=["null", "loop", "large-minor", "large-major"],
)
def test_device_nodes_keep_type_and_number(target: Path, kind: int, major: int, minor: int) -> None:
    path = target / "node"
    os.mknod(path, kind | 0o640, os.makedev(major, minor))
    status = path.stat()
    assert stat.S_IFMT(status.st_mode) == kind
    assert (os.major(status.st_rdev), os.minor(status.st_rdev)) == (major, minor)
    assert status.st_mode & 0o777 == 0o640
    path.rename(target / "moved")
    assert (target / "moved").stat().st_rdev == status.st_rdev


def test_device_nodes_work(target: Path) -> None:
    if os.statvfs(target).f_flag & os.ST_NODEV:
        pytest.skip("the target is mounted nodev")
    os.mknod(target / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(target / "zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    write(target / "null", b"gone")
    assert (target / "null").read_bytes() == b""
    with opened(target / "zero", os.O_RDONLY) as fd:
        assert os.read(fd, 1000) == bytes(1000)


def test_only_root_makes_device_nodes(target: Path) -> None:
    target.chmod(0o777)

    def attempt() -> None:
        with fails(errno.EPERM):
            os.mknod(target / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        os.mknod(target / "fifo", stat.S_IFIFO | 0o666)

    as_user(attempt, ALICE)
    assert names(target) == {b"fifo"}


def test_mknod_makes_plain_files_and_refuses_existing_names(target: Path) -> None:
    os.mknod(target / "file", stat.S_IFREG | 0o600)
    assert stat.S_ISREG((target / "file").stat().st_mode)
    with fails(errno.EEXIST):
        os.mknod(target / "file", stat.S_IFIFO | 0o600)
