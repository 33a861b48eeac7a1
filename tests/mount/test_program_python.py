"""Python: a virtual environment on the target, with a package from a wheel; and very many small files."""

from __future__ import annotations

import os
import sys
import zipfile
from pathlib import Path

import pytest

from .support import run, write

METADATA = "Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def _build_wheel(directory: Path) -> Path:
    """A wheel made by hand: nothing is downloaded."""
    path = directory / "greeting-1.0-py3-none-any.whl"
    files = {
        "greeting/__init__.py": "from greeting.words import WORDS\n",
        "greeting/words.py": 'WORDS = "hello from the target"\n',
        "greeting-1.0.dist-info/METADATA": METADATA,
        "greeting-1.0.dist-info/WHEEL": WHEEL,
        "greeting-1.0.dist-info/entry_points.txt": "[console_scripts]\ngreet = greeting:main\n",
    }
    files["greeting/__init__.py"] += "def main() -> None:\n    print(WORDS)\n"
    files["greeting-1.0.dist-info/RECORD"] = "".join(f"{name},,\n" for name in files)
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def test_a_virtual_environment_is_made_and_used(target: Path) -> None:
    environment = target / "env"
    run([sys.executable, "-m", "venv", environment])
    python = environment / "bin" / "python"
    wheel = _build_wheel(target)
    run(
        [python, "-m", "pip", "install", "--no-index", "--no-cache-dir", "--disable-pip-version-check", wheel]
    )
    assert run([environment / "bin" / "greet"]).strip() == "hello from the target"
    code = "import sys, json, sqlite3, greeting; print(sys.prefix); print(greeting.__file__)"
    prefix, file = run([python, "-c", code]).splitlines()
    assert Path(prefix).samefile(environment)
    assert Path(file).is_relative_to(environment)
    compiled = list((environment / "lib").rglob("greeting/__pycache__/words.*.pyc"))
    assert len(compiled) == 1
    run([python, "-m", "pip", "uninstall", "-y", "--disable-pip-version-check", "greeting"])
    assert not list((environment / "lib").rglob("greeting*"))


@pytest.mark.parametrize("count", [5_000, pytest.param(50_000, marks=pytest.mark.soak)])
def test_very_many_files_are_made_found_and_removed(target: Path, count: int) -> None:
    top = target / "top"
    for number in range(50):
        (top / f"{number:02}").mkdir(parents=True)
    for number in range(count):
        write(top / f"{number % 50:02}" / str(number), b"%d" % number)
    assert len(run(["/usr/bin/find", ".", "-type", "f"], cwd=top).splitlines()) == count
    for number in range(0, count, 97):
        assert (top / f"{number % 50:02}" / str(number)).read_bytes() == b"%d" % number
    assert sum(len(os.listdir(entry)) for entry in top.iterdir()) == count
    run(["/bin/rm", "-r", top], seconds=600)
    assert os.listdir(target) == []
