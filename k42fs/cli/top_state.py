"""What the user of `k42fs top` has chosen, and what each key does to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

TABLES: Final = ("objects", "locks", "lines", "methods")
SORTS: Final[Mapping[str, Sequence[tuple[str, str]]]] = {
    "objects": (("waited", "waited_cycles_s"), ("contended", "contentions_s"), ("moved", "transfers_s")),
    "locks": (
        ("waited", "waited_cycles_s"),
        ("contended", "contentions_s"),
        ("acquired", "acquisitions_s"),
        ("held", "held_cycles_s"),
        ("longest", "max_wait_cycles"),
    ),
    "lines": (("moved", "transfers_s"),),
    "methods": (("calls", "calls_s"),),
}
"""The orders of each table: what it is called, and the key of its rows, largest first."""

INTERVALS: Final = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
VIEW_KEYS: Final = {"a": "all", "o": "objects", "l": "locks", "c": "lines", "m": "methods"}
NO_SWAP: Final = "this mount has no swappable objects"


class Swap(NamedTuple):
    """A request to serve an object by another implementation."""

    ref: int
    implementation: str


@dataclass(slots=True)
class State:
    """`view` is one table or "all"; `selected` the row of `table` that is marked, and `marked` what it is about: the
    mark stays with that when rows change places.

    `asked` is what has been typed for a swap of `target`, None if there is to be none.
    `swappable`: implementations by kind of object; None: the mount has no objects that can be swapped.
    """

    interval: float = 1.0
    view: str = "all"
    selected: int = 0
    marked: tuple[object, ...] = ()
    target: Mapping[str, Any] = field(default_factory=dict)
    sorts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(TABLES, 0))
    is_frozen: bool = False
    shows_help: bool = False
    is_over: bool = False
    message: str = ""
    asked: str | None = None
    swappable: Mapping[str, Sequence[str]] | None = None

    @property
    def table(self) -> str:
        """The table that the selection is in."""
        return "objects" if self.view == "all" else self.view

    def sort_of(self, table: str) -> tuple[str, str]:
        return SORTS[table][self.sorts[table]]

    def ordered(self, table: str, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return *rows* in the order chosen for *table*."""
        key = self.sort_of(table)[1]
        return sorted(rows, key=lambda row: -row[key])

    def press(self, key: str, rows: Sequence[dict[str, Any]]) -> Swap | None:
        """Do what *key* says; *rows* are those of `table` as shown. Returns the swap it asks for, if it does."""
        self.message = ""
        if self.asked is not None:
            return self._type(key)
        if key in ("q", "ctrl-c", "eof"):
            self.is_over = True
        elif key in VIEW_KEYS:
            self._show(VIEW_KEYS[key])
        elif key == "tab":
            views = tuple(VIEW_KEYS.values())
            self._show(views[(views.index(self.view) + 1) % len(views)])
        elif key in ("f", " "):
            self.is_frozen = not self.is_frozen
        elif key == "s":
            self.sorts[self.table] = (self.sorts[self.table] + 1) % len(SORTS[self.table])
            self.message = f"{self.table} by {self.sort_of(self.table)[0]}"
        elif key in ("?", "h"):
            self.shows_help = not self.shows_help
        elif key in ("+", "-"):
            self._change_interval(1 if key == "+" else -1)
        elif key == "w":
            self._begin_swap(rows)
        else:
            self._move(key, rows)
        return None

    def follow(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Keep the mark on what it is about, which may be in another row now."""
        about = [identity(row) for row in rows]
        if self.marked in about:
            self.selected = about.index(self.marked)
        else:
            self.selected = max(0, min(self.selected, len(rows) - 1))

    def _show(self, view: str) -> None:
        self.view, self.selected, self.marked, self.shows_help = view, 0, (), False

    def _move(self, key: str, rows: Sequence[Mapping[str, Any]]) -> None:
        step = {"up": -1, "k": -1, "down": 1, "j": 1, "page-up": -10, "page-down": 10}.get(key, 0)
        if step and rows:
            self.selected = max(0, min(self.selected + step, len(rows) - 1))
            self.marked = identity(rows[self.selected])

    def _change_interval(self, step: int) -> None:
        slower = [each for each in INTERVALS if (each > self.interval if step > 0 else each < self.interval)]
        if slower:
            self.interval = min(slower) if step > 0 else max(slower)
        self.message = f"every {self.interval:g} s"

    def _begin_swap(self, rows: Sequence[dict[str, Any]]) -> None:
        row = rows[self.selected] if self.selected < len(rows) else {}
        if self.swappable is None:
            self.message = NO_SWAP
        elif not row.get("ref"):
            self.message = "nothing that could be swapped is selected"
        else:
            self.asked, self.target = "", row

    def choices(self) -> Sequence[str]:
        """Return what the target could be served by, as far as the mount says."""
        kind = self.target.get("kind") or str(self.target["object"]).split(" ")[0]
        others = (self.swappable or {}).get(kind, ())
        return [each for each in others if each != self.target.get("implementation")]

    def _type(self, key: str) -> Swap | None:
        """Take one key of the name of an implementation; tab goes through those that the mount knows."""
        assert self.asked is not None, "a swap has begun"
        if key in ("escape", "ctrl-c", "eof"):
            self.asked = None
        elif key == "enter":
            wanted, self.asked = self.asked, None
            return Swap(self.target["ref"], wanted) if wanted else None
        elif key == "backspace":
            self.asked = self.asked[:-1]
        elif key == "tab":
            choices = self.choices()
            at = choices.index(self.asked) + 1 if self.asked in choices else 0
            self.asked = choices[at % len(choices)] if choices else self.asked
        elif len(key) == 1 and key.isprintable():
            self.asked += key
        return None


def identity(row: Mapping[str, Any]) -> tuple[object, ...]:
    """Return what *row* is about, whatever it counts."""
    return tuple(row.get(key) for key in ("ref", "object", "lock", "field", "address", "method"))
