from array import array
from collections.abc import Callable

Special = tuple[int, int, list[int]]

def scan_body(
    body: bytes,
    heads: array[int],
    kinds: array[int],
    special: bytes,
    minors: int,
    unusual: Callable[[int], tuple[int, bool] | None],
    base: int,
    begin: int,
    end: int,
    max_gap: int,
) -> tuple[array[int], array[int], list[Special], int]: ...
def cut(
    times: array[int],
    switches: array[int],
    switch_entities: array[int],
    begin: int,
    end: int,
    count: int,
) -> tuple[array[int], bytearray]: ...
def ran(
    times: array[int], switches: array[int], switch_entities: array[int], begin: int, end: int
) -> dict[int, int]: ...
