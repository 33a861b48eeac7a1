"""The reader baton: one reader, no wake-up on release, hand-over only when a handler waits."""

from __future__ import annotations

import os

import pytest
import trio

from k42fs.personality.session import ReaderBaton, SessionWaiting


async def test_an_uncontended_baton_is_taken_without_a_checkpoint() -> None:
    baton = ReaderBaton()
    others_ran = []

    async def other() -> None:
        others_ran.append(True)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        async with baton:
            pass
        async with baton:
            assert not others_ran


async def test_giving_the_baton_back_wakes_nobody_but_lending_does(
    autojump_clock: trio.testing.MockClock,
) -> None:
    baton = ReaderBaton()
    got = []

    async def second_reader() -> None:
        async with baton:
            got.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        await baton.__aenter__()
        nursery.start_soon(second_reader)
        await trio.sleep(1)
        await baton.__aexit__(None, None, None)
        await trio.sleep(1)
        assert got == []
        async with baton.lent():
            assert baton.handlers_waiting == 1
            await trio.sleep(1)
        assert len(got) == 1
        assert baton.handlers_waiting == 0


async def test_a_cancelled_reader_leaves_the_queue() -> None:
    baton = ReaderBaton()
    await baton.__aenter__()
    with trio.move_on_after(0.01):
        await baton.__aenter__()
    await baton.__aexit__(None, None, None)
    baton.lend()
    async with baton:  # free: nobody is owed it
        pass


async def test_at_closing_every_parked_reader_gets_its_turn() -> None:
    baton = ReaderBaton()
    ended = []

    async def reader(number: int) -> None:
        async with baton:
            pass
        ended.append(number)

    async with trio.open_nursery() as nursery:
        await baton.__aenter__()
        for number in range(3):
            nursery.start_soon(reader, number)
        await trio.testing.wait_all_tasks_blocked()
        baton.is_closing = True
        await baton.__aexit__(None, None, None)
    assert sorted(ended) == [0, 1, 2]


async def test_waiting_polls_before_it_asks_trio_and_lets_trio_run_in_turn() -> None:
    waiting = SessionWaiting()
    read_fd, write_fd = os.pipe()
    turns: list[bool] = []

    async def other() -> None:
        while len(turns) < 3:
            turns.append(True)
            await trio.lowlevel.checkpoint()

    try:
        os.write(write_fd, b"x")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            for _ in range(2000):  # always readable: without turns, `other` would starve
                await waiting.wait_readable(read_fd)
            assert len(turns) == 3
    finally:
        os.close(read_fd)
        os.close(write_fd)


async def test_waiting_refuses_once_the_session_closes() -> None:
    waiting = SessionWaiting()
    waiting.baton.is_closing = True
    with pytest.raises(trio.ClosedResourceError):
        await waiting.wait_readable(0)
