from array import array
from collections.abc import Callable

def decode_body(
    body: bytes,
    heads: array[int],
    keeps: bytes,
    minors: int,
    unusual: Callable[[int], bool | None],
    cpu: int,
    begin: int,
    end: int,
    max_gap: int,
) -> tuple[list[tuple[int, int, int, list[int]]], int]: ...
