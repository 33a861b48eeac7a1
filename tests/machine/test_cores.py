"""Which core a machine gets where the compiled one is missing."""

import pytest

from k42fs.errors import ConfigError
from k42fs.machine import cores
from k42fs.machine.config import preset
from k42fs.machine.memory import Memory
from k42fs.machine.pure_core import PureCore

CONFIG = preset("dir-1024")


@pytest.fixture
def _not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "_compiled", None)
    monkeypatch.setattr(cores, "_why_not", "no such file")
    monkeypatch.delenv("K42FS_CORE", raising=False)


@pytest.mark.usefixtures("_not_built")
def test_a_machine_without_the_compiled_core_runs_on_the_pure_one() -> None:
    assert cores.core_name() == cores.PURE
    assert isinstance(cores.make_core(CONFIG, Memory(CONFIG)), PureCore)


@pytest.mark.usefixtures("_not_built")
def test_asking_for_a_compiled_core_that_is_missing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K42FS_CORE", "compiled")
    with pytest.raises(ConfigError, match=r"K42FS_CORE='compiled': .* was not built; .* \(no such file\)"):
        cores.make_core(CONFIG, Memory(CONFIG))
