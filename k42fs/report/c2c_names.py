"""What `c2c` calls lines, fields and source lines, and in which order it has them."""

from __future__ import annotations

from collections import Counter
from typing import Final

from k42fs.report.filters import Source
from k42fs.report.lines import Line, Place, nodes

PAIR: Final = 2
"""How many fields of a line, or source lines of the other side, are named."""


class Names:
    """What the report calls lines, fields and sites."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.node = nodes(source)

    def field(self, line: Line, offset: int) -> tuple[str, str]:
        """Return (object, field) at *offset*; what is unknown is called by its offset."""
        found = self._source.names.line_field(line.address, offset)
        return (found.object, found.field) if found else ("", f"+{offset:#x}")

    def site(self, site: int) -> tuple[str, str]:
        """Return (function, "file:line")."""
        place, _, function = self._source.names.site(site).partition(" ")
        return function or "?", place or "?"

    def others(self, place: Place) -> str:
        """Return the source lines on the other side, the most frequent first."""
        return ", ".join(
            f"{self.site(site)[1]} {self.site(site)[0]}" for site, _ in place.others.most_common(PAIR)
        )


def pair(line: Line, names: Names) -> list[tuple[str, str, str, int]]:
    """Return the fields of *line* that moved it: (object, field, source line, misses), the worst first."""
    fields: Counter[tuple[str, str]] = Counter()
    sites: dict[tuple[str, str], Counter[int]] = {}
    for (offset, site), place in line.places.items():
        if place.moves.sharing:
            key = names.field(line, offset)
            fields[key] += place.moves.sharing
            sites.setdefault(key, Counter())[site] += place.moves.sharing
    return [
        (*key, " ".join(reversed(names.site(sites[key].most_common(1)[0][0]))), misses)
        for key, misses in fields.most_common()
    ]


def places(line: Line) -> list[tuple[tuple[int, int], Place]]:
    """Return the places of *line* that moved it, as perf orders them: the most HITMs first, then stores."""
    moved = [each for each in line.places.items() if each[1].moves.hitm or each[1].moves.stores]
    return sorted(moved, key=lambda each: (-each[1].moves.sharing, -each[1].moves.records, each[0]))
