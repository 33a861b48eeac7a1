"""The names in one ramfs directory, in two orders: by name for lookup, by age for readdir.

Every entry gets the next number of its directory's own sequence, which never repeats; the number is its
cookie. A reader goes on after the cookie it saw last, found by bisection, so entries made or removed
meanwhile neither repeat nor skip the others, and a cookie stays good after its entry is gone. Removed
entries leave gaps that are closed when they outnumber the entries that are left.

K42: os/servers/k42Ramfs keeps a list, and its cookie is a position.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from operator import attrgetter
from typing import Final

from k42fs.servers.fs_file import FSFile

FIRST_COOKIE: Final = 3
"""Below it is room for the start, "." and ".."."""

_GAPS_MIN: Final = 32


class DirEntry:
    """One name. `file` is None once it was removed."""

    __slots__ = ("cookie", "file", "name")

    def __init__(self, name: bytes, file: FSFile, cookie: int) -> None:
        self.name = name
        self.file: FSFile | None = file
        self.cookie = cookie


_cookie = attrgetter("cookie")


class DirEntries:
    """A directory's entries. Nothing here blocks; the caller holds the directory's lock."""

    __slots__ = ("_by_age", "_gaps", "_next", "by_name")

    def __init__(self) -> None:
        self.by_name: dict[bytes, DirEntry] = {}
        self._by_age: list[DirEntry] = []  # ascending cookies, removed entries included until they are many
        self._gaps = 0
        self._next = FIRST_COOKIE

    def __len__(self) -> int:
        return len(self.by_name)

    def find(self, name: bytes) -> FSFile | None:
        """The inode called *name*."""
        entry = self.by_name.get(name)
        return None if entry is None else entry.file

    def add(self, name: bytes, file: FSFile) -> None:
        """Enter a name that is not there."""
        assert name not in self.by_name, f"{name!r} is there already"
        entry = self.by_name[name] = DirEntry(name, file, self._next)
        self._by_age.append(entry)
        self._next += 1

    def take_cookies(self, count: int) -> int:
        """Set *count* cookies in a row apart for `add_at`; the first of them."""
        self._next += count
        return self._next - count

    def add_at(self, name: bytes, file: FSFile, cookie: int) -> None:
        """Enter a name that is not there under a cookie that was set apart for it."""
        assert name not in self.by_name, f"{name!r} is there already"
        entry = self.by_name[name] = DirEntry(name, file, cookie)
        insort(self._by_age, entry, key=_cookie)

    def replace(self, name: bytes, file: FSFile) -> None:
        """Let an existing name mean *file*; its place in the order of age stays."""
        self.by_name[name].file = file

    def remove(self, name: bytes) -> None:
        """Take a name away."""
        self.by_name.pop(name).file = None
        self._gaps += 1
        if self._gaps > _GAPS_MIN and self._gaps > len(self.by_name):
            self._by_age = [entry for entry in self._by_age if entry.file is not None]
            self._gaps = 0

    def after(self, cookie: int, limit: int) -> list[tuple[bytes, FSFile, int]]:
        """Up to *limit* entries younger than *cookie*, oldest first. O(log n) to find the place."""
        by_age = self._by_age
        at = bisect_right(by_age, cookie, key=_cookie) if cookie else 0
        found: list[tuple[bytes, FSFile, int]] = []
        while at < len(by_age) and len(found) < limit:
            for entry in by_age[at : at + limit - len(found)]:
                at += 1
                if entry.file is not None:
                    found.append((entry.name, entry.file, entry.cookie))
        return found
