"""The shell scripts parse and explain themselves; the locks pin everything and name no index."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = [
    "run.sh",
    "test.sh",
    ".ci/run",
    *sorted(f"scripts/{path.name}" for path in ROOT.glob("scripts/*.sh")),
]
LOCKS = ["requirements-build.lock", "requirements.lock", "requirements-test.lock"]


def pinned(lock: str) -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+)==", (ROOT / lock).read_text(), re.MULTILINE))


def project() -> dict[str, list[str]]:
    """Return the packages pyproject.toml asks for, by group."""
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = {
        "build": document["build-system"]["requires"],
        "run": document["project"]["dependencies"],
        "test": document["project"]["optional-dependencies"]["test"],
    }
    return {
        group: [re.split(r"[^A-Za-z0-9_.-]", wanted)[0].lower().replace("_", "-") for wanted in requirements]
        for group, requirements in groups.items()
    }


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_script_parses(script: str) -> None:
    done = subprocess.run(
        ["bash", "-n", script], cwd=ROOT, capture_output=True, text=True, check=False, timeout=30
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("script", ["run.sh", "test.sh"])
def test_help_touches_nothing_and_succeeds(script: str, tmp_path: Path) -> None:
    command = [str(ROOT / script), "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: ./{script}")


def test_an_unknown_argument_of_run_is_refused() -> None:
    command = [str(ROOT / "run.sh"), "--nonesuch"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 1
    assert "unknown argument: --nonesuch" in done.stderr


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_index_and_hashes_everything(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert not re.search(r"://|--(extra-)?index|--find-links", text)
    requirements = [each for each in re.split(r"\n(?=\S)", text) if not each.startswith("#")]
    assert requirements
    assert [each for each in requirements if "--hash=sha256:" not in each] == []


def test_the_locks_pin_what_the_project_asks_for() -> None:
    wanted = project()
    assert set(wanted["build"]) <= pinned("requirements-build.lock")
    assert set(wanted["run"]) <= pinned("requirements.lock")
    assert set(wanted["run"] + wanted["test"]) <= pinned("requirements-test.lock")
