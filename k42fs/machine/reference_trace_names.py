"""Names of trace files: which files a directory stands for, and which file is which processor's.

Shells sort t_10.data before t_2.data. So where the paths given differ in one number only (leaving .gz aside), that
number orders them, whatever order they come in; else they count as given.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from k42fs.errors import InvalidArgumentError


def trace_paths(paths: Sequence[str]) -> list[str]:
    """Return *paths* in the order of processors, each directory replaced by the traces in it.

    The traces in a directory are files whose names differ in a number only, which ends the name apart from
    suffixes: p_0.data, p_1.data. Each may end in .gz besides.
    Raises: InvalidArgumentError: a directory without any, with several such sets, or two of one number.
    """
    found = [trace for path in paths for trace in (_traces_in(path) if os.path.isdir(path) else [path])]
    numbers = numbers_of(found)
    if not numbers:
        return found
    return [path for _, path in sorted(zip(numbers, found, strict=True))]


def numbers_of(paths: Sequence[str]) -> list[int]:
    """Return the number of each of *paths* if that, wherever it stands, is all they differ in; else nothing."""
    parts = [re.split(r"(\d+)", path.removesuffix(".gz")) for path in paths]
    if any(part[::2] != parts[0][::2] for part in parts):
        return []
    columns = list(zip(*(map(int, part[1::2]) for part in parts), strict=True))
    differing = [list(column) for column in columns if len(set(column)) > 1]
    if not differing or any(column != differing[0] for column in differing):
        return []
    return differing[0] if len(set(differing[0])) == len(paths) else []


def missing_numbers(paths: Sequence[str]) -> list[int]:
    """Return which numbers between the first and the last of *paths* nobody has."""
    numbers = numbers_of(paths)
    return sorted(set(range(min(numbers), max(numbers))) - set(numbers)) if numbers else []


def _traces_in(folder: str) -> list[str]:
    sets: dict[tuple[str, str], dict[int, str]] = {}
    for file in sorted(Path(folder).iterdir()):
        match = re.fullmatch(r"([^.]*?)(\d+)((?:\..*?)?)(?:\.gz)?", file.name)
        if match and file.is_file():
            numbered, number = sets.setdefault((match[1], match[3]), {}), int(match[2])
            if number in numbered:
                raise InvalidArgumentError(f"{file} and {numbered[number]} have the same number")
            numbered[number] = str(file)
    if not sets:
        raise InvalidArgumentError(f"{folder} holds no traces: files such as NAME_0.data, NAME_1.data")
    if len(sets) > 1:
        first, second = (
            os.path.basename(next(iter(numbered.values()))) for numbered in list(sets.values())[:2]
        )
        raise InvalidArgumentError(
            f"{folder} holds files of several names ({first}, {second}), not one set of traces"
            f" such as NAME_0.data, NAME_1.data: give the traces themselves"
        )
    (numbered,) = sets.values()
    return [numbered[number] for number in sorted(numbered)]
