"""Ready-made arbiters: count calls, measure how long they take, delay them, let them fail.

| text                     | arbiter          | does                                                           |
|--------------------------|------------------|----------------------------------------------------------------|
| `count`                  | CallCounter      | counts calls, by method and processor                          |
| `latency`                | LatencyHistogram | counts calls by the powers of two of cycles that they took      |
| `delay CYCLES [ODDS]`    | DelayInjector    | lets a call wait first: provokes races                         |
| `fault ERRNO [ODDS]`     | FaultInjector    | answers a call with an error; the object never hears of it     |

ODDS is the share of calls concerned, 1 by default; which ones is drawn from the machine's seed. Any of them may be
limited to some methods: `delay 5000 0.1 lookup create`.

K42: CObjRepArbiterCallCounter is the template; the others are ours.
"""

from __future__ import annotations

import errno as _errno
from collections import Counter, defaultdict
from random import Random
from typing import TYPE_CHECKING, Any, Final

from k42fs import errors
from k42fs.errors import ConfigError, K42Error
from k42fs.objects.captured import Arbiter, Call

if TYPE_CHECKING:
    from k42fs.machine.thread import Thread

DELAY_CYCLES_MAX: Final = 10**9


class CallCounter(Arbiter):
    """Counts calls. The counters are local to each processor, and summed when asked for."""

    name = "call counter"

    def __init__(self) -> None:
        self.calls: defaultdict[int, Counter[str]] = defaultdict(Counter)

    async def around(self, th: Thread, call: Call) -> Any:  # noqa: ANN401
        self.calls[th.vp][call.method] += 1
        return await call.proceed(th)

    def count(self, method: str) -> int:
        """Return the calls of *method* on all processors."""
        return sum(calls[method] for calls in self.calls.values())

    def report(self) -> dict[str, Any]:
        methods = sum(self.calls.values(), Counter[str]())
        return {
            "calls": methods.total(),
            "methods": dict(methods.most_common()),
            "processors": {vp: calls.total() for vp, calls in sorted(self.calls.items())},
        }


class LatencyHistogram(Arbiter):
    """Counts calls by the length of their cycles in bits: bucket b holds those of 2^(b-1) up to 2^b - 1."""

    name = "latency histogram"

    def __init__(self) -> None:
        self.buckets: defaultdict[str, Counter[int]] = defaultdict(Counter)

    async def around(self, th: Thread, call: Call) -> Any:  # noqa: ANN401
        began = th.proc.clock
        try:
            return await call.proceed(th)
        finally:
            self.buckets[call.method][(th.proc.clock - began).bit_length()] += 1

    def report(self) -> dict[str, Any]:
        return {
            method: {f"<{1 << bits}": count for bits, count in sorted(buckets.items())}
            for method, buckets in sorted(self.buckets.items())
        }


class _Sometimes(Arbiter):
    """Does something to a share of the calls of some methods, all if there are none."""

    def __init__(self, odds: float = 1.0, methods: frozenset[str] = frozenset(), seed: int = 0) -> None:
        if not 0 <= odds <= 1:
            raise ConfigError(f"odds={odds}: must be from 0 to 1")
        self.odds = odds
        self.methods = methods
        self.hits = 0
        self._random = Random(seed)

    def strikes(self, call: Call) -> bool:
        """Say whether *call* is concerned, and count it if it is."""
        if self.methods and call.method not in self.methods:
            return False
        if self.odds < 1 and self._random.random() >= self.odds:
            return False
        self.hits += 1
        return True

    def report(self) -> dict[str, Any]:
        return {"hits": self.hits, "odds": self.odds, "methods": sorted(self.methods)}


class DelayInjector(_Sometimes):
    """Lets calls wait for some cycles before they reach the object."""

    name = "delay injector"

    def __init__(
        self, cycles: int, odds: float = 1.0, methods: frozenset[str] = frozenset(), seed: int = 0
    ) -> None:
        if not 0 < cycles <= DELAY_CYCLES_MAX:
            raise ConfigError(f"delay={cycles}: must be from 1 to {DELAY_CYCLES_MAX} cycles")
        super().__init__(odds, methods, seed)
        self.cycles = cycles

    async def around(self, th: Thread, call: Call) -> Any:  # noqa: ANN401
        if self.strikes(call):
            await th.sleep(self.cycles)
        return await call.proceed(th)


class FaultInjector(_Sometimes):
    """Answers calls with an error of the given number. The object never hears of them."""

    name = "fault injector"

    def __init__(
        self, errno: int, odds: float = 1.0, methods: frozenset[str] = frozenset(), seed: int = 0
    ) -> None:
        super().__init__(odds, methods, seed)
        self.errno = errno
        self._class = next((each for each in _failures() if each.errno == errno), None)
        if self._class is None:
            raise ConfigError(
                f"fault={_errno.errorcode.get(errno, errno)}: no failure of servers has this errno"
            )

    async def around(self, th: Thread, call: Call) -> Any:  # noqa: ANN401
        if self.strikes(call):
            assert self._class is not None
            raise self._class(f"{call.method}: as the fault injector was asked to")
        return await call.proceed(th)


def _failures() -> list[type[K42Error]]:
    """Return the classes of failures; what says "this object is gone" would be taken for that, and tried again."""
    found = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, K42Error)]
    return [each for each in found if each is not errors.DeletedObjectError]


def make_arbiter(text: str, seed: int = 0) -> Arbiter:
    """Return the arbiter that *text* asks for, as in the table above.

    Raises: ConfigError: it says something else.
    """
    kind, *words = text.split() or [""]
    if kind in ("count", "latency"):
        if words:
            raise ConfigError(f"{kind} takes no arguments, not {' '.join(words)!r}")
        return CallCounter() if kind == "count" else LatencyHistogram()
    if kind not in ("delay", "fault") or not words:
        raise ConfigError(f"{text!r}: an arbiter is count, latency, delay CYCLES or fault ERRNO")
    what, *words = words
    odds = 1.0
    if words and not words[0].isidentifier():
        odds = _float(words.pop(0))
    methods = frozenset(words)
    if kind == "delay":
        if not what.isdecimal():
            raise ConfigError(f"delay={what}: must be a number of cycles")
        return DelayInjector(int(what), odds, methods, seed)
    number = getattr(_errno, what, None) if what.isidentifier() else None
    if not isinstance(number, int):
        raise ConfigError(f"fault={what}: must be the name of an errno, such as ENOSPC")
    return FaultInjector(number, odds, methods, seed)


def _float(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise ConfigError(f"odds={word}: must be from 0 to 1") from None
