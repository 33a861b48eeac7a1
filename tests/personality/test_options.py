"""The text after -o."""

from __future__ import annotations

from pathlib import Path

import pytest

from k42fs.errors import ConfigError
from k42fs.personality.options import default_size_bytes, parse_options, parse_size


def test_options_are_parsed_and_kernel_flags_kept_apart() -> None:
    options = parse_options(["processors=16,size=64m", "model=calls,dev,suid,acl"])
    assert (options.processors, options.size, options.model, options.acl) == (16, 64 << 20, "calls", True)
    assert options.kernel_flags == ("dev", "suid")


def test_the_last_of_two_contradicting_options_holds() -> None:
    assert parse_options(["dev,nodev"]).kernel_flags == ("nodev",)
    assert not parse_options(["ro,rw"]).is_read_only
    assert parse_options(["processors=2,processors=4"]).processors == 4


def test_what_fstab_adds_is_ignored() -> None:
    assert parse_options(["relatime,default_permissions"]) == parse_options([])
    assert parse_options(["rw,noauto,user,_netdev,x-systemd.automount,defaults"]) == parse_options([])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("processors=0", "must be from 1 to 1024"),
        ("processors=1025", "must be from 1 to 1024"),
        ("processors=many", "not a whole number"),
        ("processors", "needs a value"),
        ("preset=nonesuch", "unknown; one of"),
        ("model=fast", "unknown; one of"),
        ("size=12q", "must be a positive number"),
        ("size=1", "at least 64k"),
        ("size=12q", "or N% of memory"),
        ("size=101%", "from 1% to 100%"),
        ("size=0%", "from 1% to 100%"),
        ("preset=/a,b.toml", "path without a comma"),
        ("log=/a,/b.log", "no path in -o may hold one"),
        ("preset=/no/such.toml", "cannot be read"),
        ("acl=1", "takes no value"),
        ("size=99999999999t", "must be a positive number"),
        ("procesors=3", "did you mean processors"),
        ("frobnicate", "unknown mount option 'frobnicate'; 'k42fs mount --help'"),
        ("log_level=loud", "unknown; one of"),
        ("seed=-1", "not a whole number"),
        ("remount,ro", "cannot be remounted"),
    ],
)
def test_nonsense_is_refused_by_name(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_options([text])


@pytest.mark.parametrize(
    ("text", "size"), [("1", 1), ("4k", 4096), ("2M", 2 << 20), ("1G", 1 << 30), ("1t", 1 << 40)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


def test_a_share_of_memory_is_a_size() -> None:
    assert parse_size("50%") == default_size_bytes()


def test_a_preset_of_ones_own_is_named_by_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text("mhz = 77\nprocessors_max = 4\n")
    options = parse_options(["preset=mine.toml,processors=4"])
    assert options.preset == str(tmp_path / "mine.toml")
    with pytest.raises(ConfigError, match="processors"):
        parse_options(["preset=mine.toml,processors=5"])
