"""Configuration: the shape and costs of the modelled machine, and the presets to start from.

Times are in processor cycles, sizes in bytes. A `MachineConfig` is a frozen value that refuses an impossible
machine by name. Presets are TOML files, ours in `presets/` or any user's; each field says there where its
value comes from and how sure it is. Values that nobody checked are labelled "model preset" (`labels`): never
print them as properties of a real machine.

Miss latencies are whole round trips without queueing. By the formula, for h hops between two nodes:

    clean data      local_cycles at home, else remote_cycles + 2 hop_cycles h     (requester, home, requester)
    dirty data      dirty_cycles + hop_cycles (h1 + h2 + h3)               (requester, home, owner, requester)
    ownership only  upgrade_cycles + hop_cycles * the longest such tour of a sharer

or, where a preset has `..._by_distance`, the entry for the longest of those legs: then the fields of the formula
are not used (`MachineConfig.replaced`), and `preset` refuses to change them, for that would do nothing.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any, Final, Literal

from k42fs.errors import ConfigError
from k42fs.machine.config_rules import PROCESSORS_MAX, check, refusal

CERTAINTIES: Final = ("source", "verified", "unverified", "invented")
"""How sure a preset's value is: read in K42's source; in a public one; from memory or inferred; ours."""

MODEL_PRESET: Final = "model preset"
"""What to print beside a value that is unverified."""

BASE: Final = "base"
"""The key of a user's file that names the preset it starts from."""

REPLACED: Final = {
    "memory_by_distance": ("local_cycles", "remote_cycles"),
    "dirty_by_distance": ("dirty_cycles",),
    "upgrade_by_distance": ("upgrade_cycles",),
}
"""Tables, and the fields that say nothing of a transaction's latency where there is one."""

UNITS: Final = {"K": 10, "M": 20, "G": 30}


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineConfig:
    """Shape and costs of the modelled multiprocessor, and the seed of everything in it that is arbitrary."""

    name: str = "dir-1024"
    mhz: int = 2000
    processors: int = 8
    processors_max: int = PROCESSORS_MAX
    processors_per_node: int = 8
    topology: Literal["hypercube", "flat", "bus", "groups"] = "hypercube"
    nodes_per_group: int = 1  # groups: nodes at distance 1 from each other; other groups are at distance 2
    protocol: Literal["msi", "mesi", "moesi"] = "mesi"
    interconnect: Literal["directory", "bus"] = "directory"
    homes: Literal["address", "interleaved", "first"] = "address"  # which node holds a line's directory entry
    line_bytes: int = 64  # the coherence unit: an L2 line
    l1_bytes: int = 32768
    l1_ways: int = 8
    l1_line_bytes: int = 64  # may be smaller than line_bytes: tags then name sub-blocks
    l1_cycles: int = 4
    l2_bytes: int = 1 << 20
    l2_ways: int = 16
    l2_cycles: int = 14
    l3_bytes: int = 0  # shared by processors_per_l3 neighbours; 0: there is none
    l3_ways: int = 16
    l3_cycles: int = 40
    processors_per_l3: int = 8
    scale_caches_log2: int = 0  # caches of all levels have 2^-n of their sets, but one at least
    local_cycles: int = 200
    remote_cycles: int = 200
    dirty_cycles: int = 260
    upgrade_cycles: int = 160
    hop_cycles: int = 20
    memory_by_distance: tuple[int, ...] = ()  # these three replace the formulas
    dirty_by_distance: tuple[int, ...] = ()
    upgrade_by_distance: tuple[int, ...] = ()
    home_busy_cycles: int = 24  # directory: what a transaction occupies its home,
    memory_busy_cycles: int = 0  # and this besides if memory supplies the line or is written
    inval_issue_cycles: int = 4
    network: Literal["ideal", "links"] = "ideal"  # directory: do messages queue for links?
    link_cycles: int = 8  # what one message occupies each directed link of its way
    bus_address_cycles: int = 8  # bus: what the address phase of a transaction occupies,
    bus_data_cycles: int = 32  # and its data phase, if it has one
    clean_intervention: bool = False  # bus, MESI: an E copy supplies the data, as in "Illinois"
    sharer_format: Literal["full", "coarse", "limited"] = "full"
    sharer_bits: int = PROCESSORS_MAX  # per directory entry
    notify_evictions: bool = True  # directory: clean copies do not leave in silence
    atomic_cycles: int = 20
    ipi_cycles: int = 1000
    spin_polls: int = 100  # a BLock polls so often,
    poll_cycles: int = 4
    yield_polls: int = 100  # then lets others run so often, and only then blocks
    yield_cycles: int = 60
    unblock_cycles: int = 60
    lookahead_cycles: int = 0  # how far a processor may run ahead of the slowest before a visible event
    live_window_cycles: int = 1_000_000  # how far an idle processor's clock may lag in live mode
    history: int = 32  # reservations remembered per lock, line or home
    ring_events: int = 64
    seed: int = 0
    unverified: tuple[str, ...] = field(default=(), compare=False, repr=False)  # see `labels`

    def __post_init__(self) -> None:
        """Refuse an impossible machine. Raises ConfigError naming field, value and rule."""
        check(self)

    @property
    def nodes(self) -> int:
        """Number of nodes that hold a processor."""
        return -(-self.processors // self.processors_per_node)

    @property
    def l1_sets(self) -> int:
        """Sets of an L1: a power of two."""
        return max(1, self.l1_bytes // (self.l1_ways * self.l1_line_bytes) >> self.scale_caches_log2)

    @property
    def l2_sets(self) -> int:
        """Sets of an L2: a power of two."""
        return max(1, self.l2_bytes // (self.l2_ways * self.line_bytes) >> self.scale_caches_log2)

    @property
    def l3_sets(self) -> int:
        """Sets of an L3, any number: 0 if there is none."""
        sets = self.l3_bytes // (self.l3_ways * self.line_bytes)
        return max(1, sets >> self.scale_caches_log2) if sets else 0

    @property
    def sharer_pointers(self) -> int:
        """Processors that an entry of the "limited" format can name: ceil(log2 processors) bits each."""
        return self.sharer_bits // max(1, (self.processors - 1).bit_length())

    @property
    def sharer_group(self) -> int:
        """Processors that one bit of the "coarse" format stands for."""
        return -(-self.processors // self.sharer_bits)

    @property
    def transfer_cycles_min(self) -> int:
        """How long another processor takes at the least to get a line that this one has."""
        return self.dirty_by_distance[0] if self.dirty_by_distance else self.dirty_cycles

    @property
    def stream_cycles(self) -> int:
        """What each line after the first adds to a copy from elsewhere: the time it occupies bus or home."""
        if self.interconnect == "bus":
            return self.bus_data_cycles
        return self.home_busy_cycles + self.memory_busy_cycles

    @property
    def poll_cycles_max(self) -> int:
        """How long a waiter for a blocking lock polls at least."""
        return self.spin_polls * self.poll_cycles

    @property
    def patience_cycles(self) -> int:
        """How long it waits before it blocks if its processor has nothing else to run."""
        return self.poll_cycles_max + self.yield_polls * self.yield_cycles

    @property
    def distance_max(self) -> int:
        """The largest distance between two nodes that hold a processor."""
        if self.topology == "hypercube":
            return (self.nodes - 1).bit_length()
        if self.topology == "bus" or self.nodes == 1:
            return 0
        return 2 if self.topology == "groups" and self.nodes > self.nodes_per_group else 1

    def node(self, vp: int) -> int:
        """Return the node of processor *vp*."""
        return vp // self.processors_per_node

    def hops(self, a: int, b: int) -> int:
        """Return the distance between nodes *a* and *b*."""
        if self.topology == "hypercube":
            return (a ^ b).bit_count()
        if a == b or self.topology == "bus":
            return 0
        if self.topology == "flat":
            return 1
        return 1 if a // self.nodes_per_group == b // self.nodes_per_group else 2

    def labels(self) -> dict[str, str]:
        """Return what to print beside each field whose value must not be taken for a real machine's."""
        return dict.fromkeys(self.unverified, MODEL_PRESET)

    def replaced(self) -> dict[str, str]:
        """Return the fields that latencies do not come from, each with the table that is there instead.

        `hop_cycles` is among them where all three tables are there; interrupts and links still take it.
        """
        tables = [name for name in REPLACED if getattr(self, name)]
        found = {each: name for name in tables for each in REPLACED[name]}
        if len(tables) == len(REPLACED) and self.network == "ideal":
            found["hop_cycles"] = "memory_by_distance, dirty_by_distance and upgrade_by_distance"
        return found


def preset_names() -> tuple[str, ...]:
    """Return the names of the presets that come with k42fs, sorted."""
    folder = resources.files("k42fs.machine") / "presets"
    return tuple(sorted(f.name[:-5] for f in folder.iterdir() if f.name.endswith(".toml")))


def preset_table(name: str) -> dict[str, dict[str, Any]]:
    """Return a preset as written: field -> {value, certainty, source}; *name* may be the path of a user's
    file, in which a field may also be just its value, which is then unverified, and `base` names another preset
    or file whose fields are there too unless this one has them.

    Raises: ConfigError: no such preset or file, or the file is not of that form.
    """
    return _with_bases(name)[1]


def _with_bases(name: str, above: tuple[str, ...] = ()) -> tuple[set[str], dict[str, dict[str, Any]]]:
    """Return the fields that the file itself has, and the table of all. *above*: the files that it is a base of."""
    if name in above:
        raise refusal(BASE, name, f"goes round: {' -> '.join((*above, name))}")
    written = _written(name)
    is_own = name in preset_names()
    base = None if is_own else written.pop(BASE, None)
    known = {entry.name for entry in fields(MachineConfig)} - {"unverified"}
    try:
        for key, value in written.items():
            if key not in known:
                raise refusal(key, value, "is no field of MachineConfig")
        table = {key: _entry(key, entry) for key, entry in written.items()}
        if base is not None and not (
            isinstance(base, str) and (base in preset_names() or base.endswith(".toml"))
        ):
            rule = f"must be one of {', '.join(preset_names())}, or a path that ends in .toml"
            raise refusal(BASE, base, rule)
    except ConfigError as exc:
        raise exc if is_own else ConfigError(f"{name}: {exc}") from None
    if base is None:
        return set(table), table
    if base not in preset_names():
        base = str(Path(name).parent / base)
    inherited = _with_bases(base, (*above, name))[1]
    inherited.pop("name", None)
    return set(table), {**inherited, **table}


def _written(name: str) -> dict[str, Any]:
    """Return what the preset's file says. Raises ConfigError: there is none, or it is not TOML."""
    names = preset_names()
    if name in names:
        text = (resources.files("k42fs.machine") / "presets" / f"{name}.toml").read_text()
    elif name.endswith(".toml"):
        try:
            text = Path(name).read_text()
        except (OSError, UnicodeDecodeError) as exc:
            raise refusal("preset", name, f"cannot be read: {exc}") from exc
    else:
        raise refusal("preset", name, f"must be one of {', '.join(names)}, or a path that ends in .toml")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise refusal("preset", name, f"is not TOML: {exc}") from exc


def _entry(key: str, entry: Any) -> dict[str, Any]:  # noqa: ANN401  (whatever TOML can say)
    """Return one field of a preset in full."""
    full: dict[str, Any] = {"value": entry, "certainty": "unverified", "source": "not given"}
    if isinstance(entry, dict):
        wanted, full = tuple(full), dict(entry)
        missing = [part for part in wanted if part not in full]
        more = [part for part in full if part not in wanted]
        if missing or more:
            wrong = [
                *(f"{part} is missing" for part in missing),
                *(f"{part} is none of them" for part in more),
            ]
            raise refusal(
                key, entry, f"must be a value, or have value, certainty and source: {', '.join(wrong)}"
            )
    if full["certainty"] not in CERTAINTIES:
        raise refusal(f"{key}.certainty", full["certainty"], f"must be one of {', '.join(CERTAINTIES)}")
    full["value"] = _value(key, full["value"])
    return full


def _value(key: str, value: Any) -> Any:  # noqa: ANN401  (whatever a field can be)
    """Return *value* as a field has it: a list is a tuple there, and sizes may be written as 32K or 1.25M."""
    if isinstance(value, list) and key in REPLACED:
        return tuple(value)
    if isinstance(value, str) and key.endswith("_bytes"):
        match = re.fullmatch(r"(\d+)(?:\.(\d+))?([KMG])", value)
        if match:
            whole, part, unit = match[1], match[2] or "", match[3]
            nbytes, rest = divmod(int(whole + part) << UNITS[unit], 10 ** len(part))
            if not rest:
                return nbytes
    return value


def preset(name: str, **overrides: Any) -> MachineConfig:  # noqa: ANN401  (fields differ in type; checked by the config)
    """Return preset *name*, or the one in a user's file of that path, with some fields replaced; `processors`
    may be anything up to the preset's maximum. What a file leaves out is as in its base, else as in the default
    preset.

    Raises: ConfigError: no such preset or field, an impossible machine, or a change that would do nothing as a
    table by distance is there instead.
    """
    own, table = _with_bases(name)
    known = {entry.name for entry in fields(MachineConfig)} - {"unverified"}
    for key, value in overrides.items():
        if key not in known:
            raise refusal(key, value, "is no field of MachineConfig")
    overrides = {key: _value(key, value) for key, value in overrides.items()}
    values = {key: entry["value"] for key, entry in table.items()}
    labelled = (key for key, entry in table.items() if entry["certainty"] == "unverified")
    unverified = tuple(key for key in labelled if key not in overrides)
    is_own = name in preset_names()
    stem = name if is_own else Path(name).stem
    try:
        config = MachineConfig(**{"name": stem, "unverified": unverified, **values, **overrides})
        # A file of its own may have both, as ours do; one with a base has its table in view only if it is its own.
        inherits = len(own) < len(table)
        _check_replaced(config, {key: values[key] for key in own if inherits}, own)
    except ConfigError as exc:
        field = str(exc).partition("=")[0]
        raise (
            exc if is_own or field not in own or field in overrides else ConfigError(f"{name}: {exc}")
        ) from None
    _check_replaced(config, overrides, set())
    return config


def _check_replaced(config: MachineConfig, changes: dict[str, Any], tables: set[str]) -> None:
    """Refuse *changes* of fields that a table replaces, but for those of *tables*."""
    replaced = config.replaced()
    for name, value in changes.items():
        table = replaced.get(name)
        if table in REPLACED and table not in tables:
            values = list(getattr(config, table))
            rule = f"overridden by {table}={values}: change that, or {table}=[] for the formula"
            raise refusal(name, value, rule)
