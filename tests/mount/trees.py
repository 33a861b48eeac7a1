"""A tree with one of everything that copying programs must keep, and a record of all that can be compared."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from .support import ALICE, BOB, opened, run, write
from .syscalls import AT_SYMLINK_NOFOLLOW, utimensat


def build_tree(top: Path) -> None:
    """Fill *top* with files, links of both kinds, special files, odd names, owners, modes, times, xattrs."""
    (top / "dir" / "deep" / "deeper").mkdir(parents=True)
    (top / "empty").mkdir()
    for number in range(40):
        write(top / "dir" / f"file-{number}", b"%d\n" % number * number * 37, 0o644 if number % 2 else 0o750)
    write(top / "dir" / "deep" / "large", os.urandom(700_000))
    os.link(top / "dir" / "file-3", top / "hard")
    os.link(top / "dir" / "file-3", top / "dir" / "deep" / "hard")
    (top / "soft").symlink_to("dir/file-3")
    (top / "dangling").symlink_to("/nowhere/" + "x" * 500)
    with opened(top / "sparse", os.O_CREAT | os.O_WRONLY) as fd:
        os.pwrite(fd, b"end", 5_000_000)
    os.mkfifo(top / "fifo", 0o620)
    os.mknod(top / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(top / "disk", stat.S_IFBLK | 0o640, os.makedev(7, 99))
    write(Path(os.fsdecode(os.fsencode(top) + b"/odd \xff\n name")), b"odd")
    os.setxattr(top / "dir" / "file-5", "user.colour", b"blue\0\xff")
    os.setxattr(top / "dir", "user.kind", b"directory")
    run(["setfacl", "-m", f"u:{ALICE}:rw,g:{BOB}:r", top / "dir" / "file-7"])
    run(["setfacl", "-d", "-m", f"u:{ALICE}:rwx", top / "empty"])
    os.chown(top / "dir" / "file-9", ALICE, BOB)
    os.chown(top / "soft", BOB, ALICE, follow_symlinks=False)
    (top / "dir" / "file-11").chmod(0o4711)
    (top / "dir" / "deep").chmod(0o2770)
    (top / "empty").chmod(0o1777)
    # Times last and from the leaves up: everything above moves them.
    for path in sorted(top.rglob("*"), reverse=True):
        utimensat(path, (1_500_000_000, 123_456_789), (1_400_000_000, 987_654_321), AT_SYMLINK_NOFOLLOW)


def record(top: Path) -> dict[str, tuple[object, ...]]:
    """What a faithful copy of *top* must repeat, by path."""
    first_name: dict[int, str] = {}
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(top.rglob("*")):
        status = path.lstat()
        kind = stat.S_IFMT(status.st_mode)
        content = ""
        if kind == stat.S_IFLNK:
            content = os.readlink(path)
        elif kind == stat.S_IFREG:
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        attributes = {
            name: os.getxattr(path, name, follow_symlinks=False)
            for name in os.listxattr(path, follow_symlinks=False)
            if name.startswith(("user.", "system.posix_acl"))
        }
        name = str(path.relative_to(top))
        found[name] = (
            oct(status.st_mode),
            status.st_uid,
            status.st_gid,
            status.st_rdev,
            status.st_mtime_ns,
            status.st_nlink if kind != stat.S_IFDIR else 0,
            first_name.setdefault(status.st_ino, name),
            content,
            sorted(attributes.items()),
        )
    return found
