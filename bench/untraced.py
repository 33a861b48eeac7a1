"""A copy of the package as if tracing had never been written into it: what a mount with everything off is held to.

Every test of a class at a call site, `proc.on.lock` and the like, becomes `False`, which compiles to nothing.
The code of tracing itself stays, unreachable. The compiled parts have no such tests; they are copied as they are.
"""

import re
import shutil
from pathlib import Path
from typing import Final

from k42fs.machine.tracing.switches import Switches

ROOT: Final = Path(__file__).resolve().parent.parent
KEPT: Final = ("tracing", "report")
"""Folders that tell of tracing, or read what was recorded: no call sites are there."""

CLASSES: Final = "|".join(sorted(name for name in Switches.__slots__))
GUARD: Final = re.compile(
    rf"(?<![\w.])(?:\([^()\n]*\)|[A-Za-z_][\w.]*(?:\[[^\]\n]*\])?)(?:\.[\w.]+)?\.on\.(?:{CLASSES})\b"
)


def make(place: Path) -> int:
    """Write the copy to *place*; return how many tests were taken out."""
    shutil.copytree(ROOT / "k42fs", place / "k42fs", ignore=shutil.ignore_patterns("__pycache__"))
    taken = 0
    for path in (place / "k42fs").rglob("*.py"):
        if not set(KEPT) & set(path.relative_to(place).parts):
            text, count = without_guards(path.read_text())
            path.write_text(text)
            taken += count
    return taken


def without_guards(text: str) -> tuple[str, int]:
    """Return *text* with every test of a class put to False, and how many there were."""
    lines, taken = [], 0
    for line in text.split("\n"):
        code, mark, comment = line.partition("#")
        if "`" not in code:
            code, count = GUARD.subn("False", code)
            taken += count
        lines.append(code + mark + comment)
    return "\n".join(lines), taken
