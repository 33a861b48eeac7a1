"""Configuration: the shape and costs of the modelled machine, and the presets to start from.

Times are in processor cycles, sizes in bytes. A `MachineConfig` is a frozen value that refuses an impossible
machine by name. Presets are TOML files in `presets/`; each field says there where its value comes from and
how sure it is. Values that nobody measured are labelled "model preset": never print them as properties of a
real machine.

Miss latencies are whole round trips without queueing, for h hops between two nodes:
  clean data      local_cycles at home, else remote_cycles + 2 hop_cycles h          (requester, home,
  requester) dirty data      dirty_cycles + hop_cycles (h1 + h2 + h3)                           (requester,
  home, owner, requester) ownership only  upgrade_cycles + hop_cycles * the longest such tour of a sharer
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from importlib import resources
from typing import Any, Final, Literal

from k42fs.errors import ConfigError

PROCESSORS_MAX: Final = 1024
TOPOLOGIES: Final = ("hypercube", "flat")


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineConfig:
    """Shape and costs of the modelled multiprocessor, and the seed of everything in it that is arbitrary."""

    name: str = "dir-1024"
    mhz: int = 2000
    processors: int = 8
    processors_max: int = PROCESSORS_MAX
    processors_per_node: int = 8
    topology: Literal["hypercube", "flat"] = "hypercube"
    line_bytes: int = 64  # the coherence unit: an L2 line
    l1_bytes: int = 32768
    l1_ways: int = 8
    l1_line_bytes: int = 64  # may be smaller than line_bytes: tags then name sub-blocks
    l1_cycles: int = 4
    l2_bytes: int = 1 << 20
    l2_ways: int = 16
    l2_cycles: int = 14
    local_cycles: int = 200
    remote_cycles: int = 200
    dirty_cycles: int = 260
    upgrade_cycles: int = 160
    hop_cycles: int = 20
    home_busy_cycles: int = 24
    inval_issue_cycles: int = 4
    atomic_cycles: int = 20
    ipi_cycles: int = 1000
    spin_polls: int = 100  # a BLock polls so often,
    poll_cycles: int = 4
    yield_polls: int = 100  # then lets others run so often, and only then blocks
    yield_cycles: int = 60
    unblock_cycles: int = 60
    live_window_cycles: int = 1_000_000  # how far an idle processor's clock may lag in live mode
    history: int = 32  # reservations remembered per lock, line or home
    ring_events: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse an impossible machine. Raises ConfigError naming field, value and rule."""
        _check_numbers(self)
        _check_caches(self)
        if self.processors > self.processors_max:
            raise _refusal("processors", self.processors, f"{self.name} has at most {self.processors_max}")
        if self.topology not in TOPOLOGIES:
            raise _refusal("topology", self.topology, f"must be one of {', '.join(TOPOLOGIES)}")

    @property
    def nodes(self) -> int:
        """Number of nodes that hold a processor."""
        return -(-self.processors // self.processors_per_node)

    @property
    def poll_cycles_max(self) -> int:
        """How long a waiter for a blocking lock polls at least."""
        return self.spin_polls * self.poll_cycles

    @property
    def patience_cycles(self) -> int:
        """How long it waits before it blocks if its processor has nothing else to run."""
        return self.poll_cycles_max + self.yield_polls * self.yield_cycles

    def node(self, vp: int) -> int:
        """Return the node of processor *vp*."""
        return vp // self.processors_per_node

    def hops(self, a: int, b: int) -> int:
        """Return the distance between nodes *a* and *b*."""
        return (a ^ b).bit_count() if self.topology == "hypercube" else int(a != b)


def _refusal(field: str, value: object, rule: str) -> ConfigError:
    return ConfigError(f"{field}={value!r}: {rule}")


LIMITS: Final = {"l1_bytes": 1 << 24, "l2_bytes": 1 << 30, "history": 4096, "ring_events": 1 << 16}
_POSITIVE = (
    "mhz",
    "processors_per_node",
    "l1_ways",
    "l2_ways",
    "l1_cycles",
    "live_window_cycles",
    "ring_events",
)


def _check_numbers(config: MachineConfig) -> None:
    for field in fields(config):
        value = getattr(config, field.name)
        if field.name in ("name", "topology"):
            continue
        if type(value) is not int:
            raise _refusal(field.name, value, "must be a whole number")
        if value < 0 and field.name != "seed":
            raise _refusal(field.name, value, "must not be negative")
        if value > LIMITS.get(field.name, 1 << 40) and field.name != "seed":
            raise _refusal(field.name, value, f"must not exceed {LIMITS.get(field.name, 1 << 40)}")
        if value == 0 and field.name in _POSITIVE:
            raise _refusal(field.name, value, "must be at least 1")
    for name in ("processors", "processors_max"):
        if not 1 <= getattr(config, name) <= PROCESSORS_MAX:
            raise _refusal(name, getattr(config, name), f"must be from 1 to {PROCESSORS_MAX}")
    if config.history < 2:
        raise _refusal("history", config.history, "must be at least 2")


def _check_caches(config: MachineConfig) -> None:
    for name in ("line_bytes", "l1_line_bytes"):
        value = getattr(config, name)
        if value.bit_count() != 1 or not 16 <= value <= 4096:
            raise _refusal(name, value, "must be a power of two from 16 to 4096")
    if config.l1_line_bytes > config.line_bytes:
        raise _refusal(
            "l1_line_bytes", config.l1_line_bytes, f"must not exceed line_bytes={config.line_bytes}"
        )
    for level, line in (("l1", config.l1_line_bytes), ("l2", config.line_bytes)):
        size, ways = getattr(config, f"{level}_bytes"), getattr(config, f"{level}_ways")
        sets, rest = divmod(size, ways * line)
        if rest or sets.bit_count() != 1:
            rule = f"must be {level}_ways={ways} times the line of {line} bytes times a power of two"
            raise _refusal(f"{level}_bytes", size, rule)
    if config.l1_bytes > config.l2_bytes:
        raise _refusal(
            "l1_bytes", config.l1_bytes, f"must not exceed l2_bytes={config.l2_bytes}: L2 includes L1"
        )
    if config.l1_cycles > config.l2_cycles:
        raise _refusal("l1_cycles", config.l1_cycles, f"must not exceed l2_cycles={config.l2_cycles}")


def preset_names() -> tuple[str, ...]:
    """Return the names of the presets, sorted."""
    folder = resources.files("k42fs.machine") / "presets"
    return tuple(sorted(f.name[:-5] for f in folder.iterdir() if f.name.endswith(".toml")))


def preset_table(name: str) -> dict[str, dict[str, Any]]:
    """Return the preset as written: field -> {value, certainty, source}. Raises ConfigError: no such
    preset."""
    names = preset_names()
    if name not in names:
        raise _refusal("preset", name, f"must be one of {', '.join(names)}")
    text = (resources.files("k42fs.machine") / "presets" / f"{name}.toml").read_text()
    return tomllib.loads(text)


def preset(name: str, **overrides: Any) -> MachineConfig:  # noqa: ANN401  (fields differ in type; checked by the config)
    """Return preset *name* with some fields replaced; `processors` may be anything up to the preset's
    maximum.

    Raises: ConfigError: no such preset or field, or an impossible machine.
    """
    values = {field: entry["value"] for field, entry in preset_table(name).items()}
    known = {field.name for field in fields(MachineConfig)}
    for field, value in overrides.items():
        if field not in known:
            raise _refusal(field, value, "is no field of MachineConfig")
    return MachineConfig(**{"name": name, **values, **overrides})
