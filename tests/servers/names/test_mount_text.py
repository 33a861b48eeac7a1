"""Commands and listings: what control files and the command line read and write."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k42fs.errors import ConfigError
from k42fs.ids import Ref
from k42fs.servers.mount_commands import (
    Attach,
    Bind,
    Command,
    Detach,
    escape_path,
    parse_command,
    unescape_path,
)
from k42fs.servers.mount_listing import format_listing, table_record
from k42fs.servers.mount_table import MountTable
from k42fs.servers.pathname import ROOT, PathName
from tests.servers.names.town import p


@pytest.mark.parametrize(
    ("text", "command"),
    [
        (b"bind /a /b", Bind(p("/a"), p("/b"))),
        (b"bind /a /b nocov\n", Bind(p("/a"), p("/b"), False)),
        (b"  bind\t/a/   //b/./c cov ", Bind(p("/a"), p("/b/c"))),
        (rb"bind /a\040b /c\134d", Bind(PathName((b"a b",)), PathName((rb"c\d",)))),
        (b"attach ramfs /tmp", Attach("ramfs", p("/tmp"))),
        (b"attach ramfs /tmp size=64M cov", Attach("ramfs", p("/tmp"), 64 << 20, True)),
        (b"attach ramfs / nocov size=4096", Attach("ramfs", ROOT, 4096)),
        (b"detach /tmp", Detach(p("/tmp"))),
    ],
)
def test_commands_read_as_documented(text: bytes, command: Command) -> None:
    assert parse_command(text) == command


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "empty command: expected one of attach, bind, detach"),
        (b"\n", "empty command"),
        (b"mount /a", "unknown command 'mount'"),
        (b"\xff /a", r"unknown command '\\xff'"),
        (b"bind /a", "bind takes two paths"),
        (b"bind /a /b cov nocov", "not 4 words"),
        (b"bind /a /b maybe", "unknown option 'maybe': expected cov or nocov"),
        (b"bind a /b", "bind: old path must be absolute: 'a'"),
        (b"bind /a /b/../c", "bind: new path must not hold '..'"),
        (b"bind /a /" + b"n" * 256, "bind: new path: component of 256 bytes"),
        (rb"bind /a\000b /c", "not a component"),
        (b"attach ramfs", "attach needs a server and a prefix"),
        (b"attach nfs /a", "unknown server 'nfs': expected one of ramfs"),
        (b"attach ramfs /a speed=9", "unknown option 'speed=9': ramfs takes size=..., cov, nocov"),
        (b"attach ramfs /a size=big", "such as 64M: 'big'"),
        (b"attach ramfs /a size=0", "positive"),
        (b"attach ramfs /a size=9999999T", "positive"),
        ("attach ramfs /a size=\u0661".encode(), "positive"),
        (b"attach ramfs /a size=1 size=2", "option 'size' given twice"),
        (b"attach ramfs /a cov nocov", "exclude each other"),
        (b"attach ramfs /a size", "unknown option 'size'"),
        (b"detach", "detach takes one path, not 0 words"),
        (b"detach tmp", "detach: prefix must be absolute"),
        (b"detach " + b"/a" * 9000, "at most 16384"),
    ],
)
def test_a_bad_command_is_refused_by_name(text: bytes, says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)):
        parse_command(text)


@given(st.binary())
def test_any_bytes_are_a_command_or_a_configuration_error(text: bytes) -> None:
    for line in (text, b"bind /a " + text, b"attach ramfs " + text, b"detach /" + text):
        try:
            parse_command(line)
        except ConfigError as exc:
            assert str(exc)  # noqa: PT017


@given(st.binary().filter(lambda raw: b"\0" not in raw))
def test_escaped_paths_are_one_word_and_read_back(raw: bytes) -> None:
    word = escape_path(raw)
    assert len(word.split()) <= 1
    assert unescape_path(word) == raw


def sample() -> MountTable:
    table = MountTable()
    table.register(ROOT, Ref(20), description=b"ramfs")
    table.register(p("/tmp"), Ref(21), description=b"ramfs", is_coverable=True)
    table.register(p("/tmp"), Ref(22), description=b"ramfs")
    table.register(p("/hidden"), Ref(21), is_coverable=True)
    table.bind(p("/tmp/a b"), p("/bound"), is_coverable=False)
    return table


def test_the_listing_groups_mounts_binds_and_hidden_ones() -> None:
    assert format_listing(sample().snapshot).decode().splitlines() == [
        "# version 6",
        "ID  SERVER  PATH     AT       COVER  STATE      DESCRIPTION",
        "1   20      /        /        nocov  visible    ramfs",
        "3   22      /tmp     /        nocov  visible    ramfs",
        r"5   22      /bound   /a\040b  nocov  visible    bind to /tmp/a b",
        "4   21      /hidden  /        cov    covered:1  -",
        "2   21      /tmp     /        cov    stacked:3  ramfs",
    ]


def test_the_record_is_ready_for_json() -> None:
    table = sample()
    table.register(PathName((b"\xff",)), Ref(23))
    record = json.loads(json.dumps(table_record(table.snapshot)))
    assert record["version"] == 7
    assert [mount["mount_id"] for mount in record["mounts"]] == [1, 3, 6, 5, 4, 2]
    assert record["mounts"][3] == {
        "path": "/bound",
        "mount_id": 5,
        "server": 22,
        "rel_path": "/a b",
        "description": "bind to /tmp/a b",
        "coverable": False,
        "bind": True,
        "visibility": "visible",
        "hidden_by": None,
    }
    assert record["mounts"][4]["hidden_by"] == 1


def test_an_empty_table_lists_as_nothing() -> None:
    assert table_record(MountTable().snapshot) == {"version": 1, "mounts": []}
    assert format_listing(MountTable().snapshot).count(b"\n") == 2
