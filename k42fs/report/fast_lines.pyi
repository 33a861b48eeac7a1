from collections.abc import Iterable, Mapping

FieldShape = tuple[bytes, int, int, int, int, Mapping[int, bytes] | None]

class Shape:
    def __init__(self, start: bytes, fields: Iterable[FieldShape]) -> None: ...

def lines(
    records: list[tuple[int, int, int, list[int]]],
    shapes: dict[int, Shape],
    begin: int,
    hz: int,
    on: dict[int, bytes],
) -> str | None: ...
