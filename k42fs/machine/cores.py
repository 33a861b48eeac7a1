"""Which coherence core a machine gets: the compiled one where it was built, else the pure one.

Both give the same numbers, so nothing but speed depends on the choice. K42FS_CORE=pure or K42FS_CORE=compiled
in the environment makes it; asking for a compiled core that was not built is an error, not a slow machine.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from k42fs.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from k42fs.machine.config import MachineConfig
    from k42fs.machine.core import CoherenceCore
    from k42fs.machine.memory import Memory

try:
    from k42fs.machine.fast_core import FastCore
except ImportError as exc:
    _compiled: Callable[[MachineConfig, Memory], CoherenceCore] | None = None
    _why_not = str(exc)
else:
    _compiled = FastCore
    _why_not = ""

VARIABLE: Final = "K42FS_CORE"
PURE, COMPILED = "pure", "compiled"


def core_name() -> str:
    """Return which core machines made now get, PURE or COMPILED. Raises ConfigError as `make_core` does."""
    asked = os.environ.get(VARIABLE, "")
    if asked not in ("", PURE, COMPILED):
        raise ConfigError(f"{VARIABLE}={asked!r}: must be {PURE} or {COMPILED}")
    if asked == COMPILED and _compiled is None:
        rule = "the compiled core was not built; with a C compiler, install k42fs again"
        raise ConfigError(f"{VARIABLE}={asked!r}: {rule} ({_why_not})")
    return asked or (PURE if _compiled is None else COMPILED)


def make_core(config: MachineConfig, memory: Memory) -> CoherenceCore:
    """Make the caches and directories of a machine.

    Raises: ConfigError: the environment asks for a core that is not there, or for one of no such name.
    """
    if core_name() == COMPILED and _compiled is not None:
        return _compiled(config, memory)
    from k42fs.machine.pure_core import PureCore  # here: where the compiled one serves, it is not even loaded

    return PureCore(config, memory)
