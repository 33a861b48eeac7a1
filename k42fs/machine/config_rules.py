"""What makes a machine possible: the rules that `MachineConfig` checks, each refusal naming field, value, rule."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Final

from k42fs.errors import ConfigError
from k42fs.machine.protocol import PROTOCOLS

if TYPE_CHECKING:
    from k42fs.machine.config import MachineConfig

PROCESSORS_MAX: Final = 1024

CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "topology": ("hypercube", "flat", "bus", "groups"),
    "protocol": tuple(PROTOCOLS),
    "interconnect": ("directory", "bus"),
    "network": ("ideal", "links"),
    "sharer_format": ("full", "coarse", "limited"),
    "homes": ("address", "interleaved", "first"),
}
_FLAGS = ("clean_intervention", "notify_evictions")
_TUPLES = ("memory_by_distance", "dirty_by_distance", "upgrade_by_distance")
LIMITS: Final = {
    "l1_bytes": 1 << 24,
    "l2_bytes": 1 << 30,
    "l3_bytes": 1 << 34,
    "history": 4096,
    "ring_events": 1 << 16,
    "scale_caches_log2": 30,
}
_POSITIVE = (
    "mhz",
    "processors_per_node",
    "nodes_per_group",
    "processors_per_l3",
    "sharer_bits",
    "l1_ways",
    "l2_ways",
    "l3_ways",
    "l1_cycles",
    "bus_address_cycles",
    "bus_data_cycles",
    "link_cycles",
    "live_window_cycles",
    "ring_events",
)


def refusal(field: str, value: object, rule: str) -> ConfigError:
    """Return the error that says why *value* will not do."""
    return ConfigError(f"{field}={value!r}: {rule}")


def check(config: MachineConfig) -> None:
    """Refuse an impossible machine. Raises ConfigError naming field, value and rule."""
    _check_types(config)
    _check_numbers(config)
    _check_private_caches(config)
    _check_shared_cache(config)
    if config.processors > config.processors_max:
        raise refusal("processors", config.processors, f"{config.name} has at most {config.processors_max}")
    _check_interconnect(config)
    _check_sharers(config)
    _check_distances(config)


def _check_types(config: MachineConfig) -> None:
    if type(config.name) is not str:
        raise refusal("name", config.name, "must be a text")
    for name, choices in CHOICES.items():
        value = getattr(config, name)
        if value not in choices:
            raise refusal(name, value, f"must be one of {', '.join(choices)}")
    for name in _FLAGS:
        value = getattr(config, name)
        if type(value) is not bool:
            raise refusal(name, value, "must be true or false")
    for name in _TUPLES:
        value = getattr(config, name)
        if type(value) is not tuple or not all(type(part) is int and 0 <= part <= 1 << 40 for part in value):
            shown = list(value) if isinstance(value, tuple) else value
            raise refusal(name, shown, "must be whole numbers from 0, one for each distance, as [300, 490]")


def _check_numbers(config: MachineConfig) -> None:
    for name in ("processors", "processors_max"):
        count = getattr(config, name)
        if type(count) is int and not 1 <= count <= PROCESSORS_MAX:
            raise refusal(name, count, f"must be from 1 to {PROCESSORS_MAX}")
    for field in fields(config):
        value, most = getattr(config, field.name), LIMITS.get(field.name, 1 << 40)
        if field.name in ("name", "unverified", *CHOICES, *_FLAGS, *_TUPLES):
            continue
        if type(value) is not int:
            raise refusal(field.name, value, "must be a whole number")
        if field.name == "seed":
            continue
        if value < 0:
            raise refusal(field.name, value, "must not be negative")
        if value > most:
            raise refusal(field.name, value, f"must not exceed {most}")
        if value == 0 and field.name in _POSITIVE:
            raise refusal(field.name, value, "must be at least 1")
    if config.history < 2:
        raise refusal("history", config.history, "must be at least 2")


def _check_private_caches(config: MachineConfig) -> None:
    for name in ("line_bytes", "l1_line_bytes"):
        value = getattr(config, name)
        if value.bit_count() != 1 or not 16 <= value <= 4096:
            raise refusal(name, value, "must be a power of two from 16 to 4096")
    if config.l1_line_bytes > config.line_bytes:
        raise refusal(
            "l1_line_bytes", config.l1_line_bytes, f"must not exceed line_bytes={config.line_bytes}"
        )
    for level, line in (("l1", config.l1_line_bytes), ("l2", config.line_bytes)):
        size, ways = getattr(config, f"{level}_bytes"), getattr(config, f"{level}_ways")
        sets, rest = divmod(size, ways * line)
        if rest or sets.bit_count() != 1:
            rule = f"must be {level}_ways={ways} times the line of {line} bytes times a power of two"
            raise refusal(f"{level}_bytes", size, rule)
    if config.l1_bytes > config.l2_bytes:
        rule = f"must not exceed l2_bytes={config.l2_bytes}: L2 includes L1"
        raise refusal("l1_bytes", config.l1_bytes, rule)
    if config.l1_cycles > config.l2_cycles:
        raise refusal("l1_cycles", config.l1_cycles, f"must not exceed l2_cycles={config.l2_cycles}")


def _check_shared_cache(config: MachineConfig) -> None:
    if not config.l3_bytes:
        return
    span = config.l3_ways * config.line_bytes
    if config.l3_bytes % span:
        rule = f"must be a multiple of l3_ways={config.l3_ways} times line_bytes={config.line_bytes}"
        raise refusal("l3_bytes", config.l3_bytes, rule)
    if config.l3_cycles < config.l2_cycles:
        raise refusal("l3_cycles", config.l3_cycles, f"must be at least l2_cycles={config.l2_cycles}")


def _check_interconnect(config: MachineConfig) -> None:
    if config.interconnect == "directory":
        return
    if config.network == "links":
        raise refusal("network", config.network, "needs interconnect=directory: a bus has no links")
    for name in ("local_cycles", "remote_cycles", "dirty_cycles", "memory_by_distance", "dirty_by_distance"):
        value = getattr(config, name)
        if config.bus_data_cycles > (min(value, default=1 << 40) if isinstance(value, tuple) else value):
            shown = list(value) if isinstance(value, tuple) else value
            rule = f"must not exceed {name}={shown}, which ends with the data"
            raise refusal("bus_data_cycles", config.bus_data_cycles, rule)


def _check_sharers(config: MachineConfig) -> None:
    bits, processors = config.sharer_bits, config.processors
    if config.sharer_format == "full" and bits < processors:
        raise refusal("sharer_bits", bits, f"a full map needs a bit for each of processors={processors}")
    if config.sharer_format == "limited" and not config.sharer_pointers:
        raise refusal("sharer_bits", bits, f"too few to point at one of processors={processors}")


def _check_distances(config: MachineConfig) -> None:
    farthest = config.distance_max
    for name in _TUPLES:
        value = getattr(config, name)
        if value and len(value) <= farthest:
            raise refusal(name, list(value), f"must have an entry for each distance from 0 to {farthest}")
