"""Histograms in powers of two, and their usual picture: a range, a count, a bar."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

BAR: Final = 40


@dataclass(slots=True)
class Histogram:
    """How often values of each size came: bucket b holds 2**(b-1) <= value < 2**b, bucket 0 holds 0."""

    buckets: Counter[int] = field(default_factory=Counter)

    def add(self, value: int) -> None:
        self.buckets[value.bit_length()] += 1

    def join(self, other: Histogram) -> None:
        self.buckets += other.buckets

    def bars(self) -> Iterator[tuple[int, int, int]]:
        """Yield (from, to, count) for each bucket between the first and the last that hold anything."""
        if self.buckets:
            for bucket in range(min(self.buckets), max(self.buckets) + 1):
                yield (1 << bucket >> 1), (1 << bucket) - 1, self.buckets[bucket]


def histogram_lines(histogram: Histogram, unit: str) -> Iterator[str]:
    """Yield the picture of *histogram*, a line for each bar, in the manner of bcc's and bpftrace's."""
    bars = list(histogram.bars())
    if not bars:
        return
    width = len(f"{bars[-1][1]:,}")
    most = max(times for _, _, times in bars)
    yield f"{unit:>{2 * width + 4}} : {'count':>9}  distribution"
    for low, high, times in bars:
        bar = "*" * round(BAR * times / most)
        yield f"{low:>{width},} -> {high:>{width},} : {times:9,d} |{bar:<{BAR}}|"


def quantile(values: list[int], share: float) -> int:
    """Return the smallest of the sorted *values* that at least *share* of them do not exceed; 0 of none."""
    if not values:
        return 0
    rank = -(-len(values) * share // 1)
    return values[max(0, min(len(values), int(rank)) - 1)]
