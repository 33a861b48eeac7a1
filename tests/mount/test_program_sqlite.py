"""sqlite: every journal mode, several writers, a writer that is killed."""

from __future__ import annotations

import os
import random
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from .processes import Child, in_parallel

MODES = ["delete", "truncate", "persist", "wal"]
ACCOUNTS = 20
TOTAL = ACCOUNTS * 1000


def connect(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=60, isolation_level=None)
    assert connection.execute(f"pragma journal_mode = {mode}").fetchone() == (mode,)
    return connection


def create(path: Path, mode: str) -> None:
    with closing(connect(path, mode)) as connection:
        connection.execute("create table account (id integer primary key, amount integer)")
        connection.execute("create table note (id integer primary key, who integer, text blob)")
        connection.executemany("insert into account values (?, 1000)", [(n,) for n in range(ACCOUNTS)])


def move_money(path: Path, mode: str, who: int, rounds: int, tell: int | None = None) -> None:
    """Move amounts between accounts, each move one transaction; write a byte to *tell* after each."""
    choose = random.Random(who)
    with closing(connect(path, mode)) as connection:
        for _ in range(rounds):
            source, goal = choose.sample(range(ACCOUNTS), 2)
            connection.execute("begin immediate")
            connection.execute("update account set amount = amount - 7 where id = ?", (source,))
            connection.execute("update account set amount = amount + 7 where id = ?", (goal,))
            connection.execute("insert into note (who, text) values (?, ?)", (who, choose.randbytes(500)))
            connection.execute("commit")
            if tell is not None:
                os.write(tell, b".")


def audit(path: Path, mode: str, rounds: int) -> None:
    """Read the sum again and again; no transaction may show half."""
    with closing(connect(path, mode)) as connection:
        for _ in range(rounds):
            assert connection.execute("select sum(amount) from account").fetchone() == (TOTAL,)


def check(path: Path, mode: str) -> int:
    """Check the data base; return how many transactions it holds."""
    with closing(connect(path, mode)) as connection:
        assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
        assert connection.execute("select sum(amount) from account").fetchone() == (TOTAL,)
        count: int = connection.execute("select count(*) from note").fetchone()[0]
    return count


@pytest.mark.parametrize("mode", MODES)
def test_two_writers_and_a_reader_share_a_data_base(target: Path, mode: str) -> None:
    path = target / "bank.db"
    create(path, mode)
    in_parallel(
        [
            partial(move_money, path, mode, 1, 40),
            partial(move_money, path, mode, 2, 40),
            partial(audit, path, mode, 60),
        ]
    )
    assert check(path, mode) == 80
    assert not list(target.glob("*-wal"))


@pytest.mark.parametrize("mode", MODES)
def test_a_killed_writer_leaves_whole_transactions(target: Path, mode: str) -> None:
    path = target / "bank.db"
    create(path, mode)
    done = 0
    for attempt in range(3):
        ready, tell = os.pipe()
        with Child(partial(move_money, path, mode, attempt, 1_000_000, tell)) as child:
            os.close(tell)
            told = sum(len(os.read(ready, 1)) for _ in range(10 + 7 * attempt))
            child.kill()
        while data := os.read(ready, 1000):
            told += len(data)
        os.close(ready)
        count = check(path, mode)
        # The last commit may have been made and not told.
        assert count - done in (told, told + 1)
        done = count


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_larger_data_base_is_filled_indexed_shrunk_and_vacuumed(target: Path, mode: str) -> None:
    path = target / "large.db"
    rows = [(number, random.Random(number).randbytes(200).hex()) for number in range(2000)]
    with closing(connect(path, mode)) as connection:
        connection.execute("create table item (id integer primary key, text)")
        connection.execute("begin")
        connection.executemany("insert into item values (?, ?)", rows)
        connection.execute("commit")
        connection.execute("create index by_text on item (text)")
        found = connection.execute("select id from item where text = ?", (rows[1234][1],)).fetchall()
        assert found == [(1234,)]
        connection.execute("delete from item where id % 4")
        connection.execute("vacuum")
        assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
        assert connection.execute("select count(*) from item").fetchone() == (500,)
        assert connection.execute("select * from item where id = 400").fetchone() == rows[400]


def test_a_data_base_mapped_into_memory_agrees(target: Path) -> None:
    path = target / "bank.db"
    create(path, "wal")
    with closing(connect(path, "wal")) as reader:
        reader.execute("pragma mmap_size = 100000000")
        for who in range(3):
            move_money(path, "wal", who, 10)
            assert reader.execute("select sum(amount) from account").fetchone() == (TOTAL,)
            assert reader.execute("select count(*) from note").fetchone() == ((who + 1) * 10,)
