"""The session in docs/policies.md, run as it is written: the lock that heads the list is gone after the swap."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from k42fs.servers.makers import MAKERS

from .mounting import REPOSITORY
from .support import program

SCRIPT = REPOSITORY / "docs" / "examples" / "swap-directory.sh"
PAGE = REPOSITORY / "docs" / "policies.md"


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the script prints, with this repository's k42fs."""
    for name in ("setfattr", "getfattr"):
        program(name)
    command = tmp_path_factory.mktemp("bin") / "k42fs"
    command.write_text(
        f'#!/bin/sh\nPYTHONPATH="{REPOSITORY}" exec "{sys.executable}" -m k42fs.cli.main "$@"\n'
    )
    command.chmod(0o755)
    done = subprocess.run([SCRIPT, command], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def commands(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("$ ")]


def looks(text: str) -> list[tuple[int, list[tuple[str, str, int]]]]:
    """Return for each look at the statistics how many cycles had passed, and (object, lock, cycles waited) in order."""
    found: list[tuple[int, list[tuple[str, str, int]]]] = []
    for line in text.splitlines():
        if match := re.match(r"# modelled cycles ([\d,]+) to ([\d,]+)", line):
            begin, end = (int(number.replace(",", "")) for number in match.groups())
            found.append((end - begin, []))
        elif match := re.match(
            r"(\S.*?)  +(\S.*?)  +([\d,]+)  +([\d,]+)  +([\d,]+)  +[\d,]+  +[\d,]+$", line
        ):
            name, lock, _, _, waited = match.groups()
            found[-1][1].append((name, lock, int(waited.replace(",", ""))))
    return found


def test_the_lock_that_headed_the_list_is_gone_and_the_load_takes_fewer_cycles(session: str) -> None:
    (before, contended), (after, left) = looks(session)
    assert contended[0][:2] == ("DirObject 2", "dirlock")
    assert contended[0][2] > 10 * contended[1][2]
    assert "dirlock" not in {lock for _, lock, _ in left}
    waited = sum(cycles for name, _, cycles in left if name == "DirObject 2")
    assert waited < contended[0][2] / 10
    assert after < 0.8 * before
    assert session.count("640 names made and removed\n") == 2


def test_the_page_shows_this_session(session: str) -> None:
    shown = PAGE.read_text().split("```console\n")[1].split("```")[0]
    assert commands(shown) == commands(session)
    assert [len(look[1]) > 0 for look in looks(shown)] == [True, True]
    assert looks(shown)[0][1][0][:2] == looks(session)[0][1][0][:2]
    for text in (shown, session):
        assert "implementation   distributed\n" in text
        assert re.search(r"DirObject 2  locked  distributed  completed", text)


def test_the_page_names_every_implementation_that_can_be_chosen() -> None:
    page = PAGE.read_text()
    for kind, makers in MAKERS.items():
        assert f"| {kind} | `{next(iter(makers))}` |" in page
        for name in makers:
            assert f"| `{name}` |" in page, f"{kind} {name}"
