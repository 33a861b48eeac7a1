"""E5's yardstick: the plain queue that the bus is held against has the limits that arithmetic gives it."""

from dataclasses import replace
from functools import partial

import pytest

from k42fs.machine.memory import Memory
from k42fs.machine.validation.bus import (
    KNEE,
    NOTED,
    OCCUPANCY,
    OTHER,
    TURN,
    bus_load,
    own_line,
    single_server,
)
from k42fs.machine.validation.checks import relative
from k42fs.machine.validation.closed_loop import run_loops
from k42fs.machine.validation.numa import line_at, mean_latency, numa


def test_one_customer_never_queues() -> None:
    assert single_server(1, 20_000) == pytest.approx(1.0, rel=0.02)


def test_many_customers_keep_the_server_busy() -> None:
    assert single_server(200, 20_000) == pytest.approx(KNEE, rel=0.001)


def test_a_fast_bus_has_its_ceiling_far_away() -> None:
    load = bus_load(64, 1, 1, 3_000)
    assert load.latency == pytest.approx(300, rel=0.01)
    assert load.rate * 900 == pytest.approx(64, rel=0.03)


def test_every_fetch_is_of_another_line() -> None:
    lines = {own_line(64, vp, n) // 64 for vp in range(64) for n in range(50)}
    assert len(lines) == 64 * 50
    config = numa(64, "address")
    lines = {line_at(config, vp, n) // 64 for vp in range(64) for n in range(50)}
    assert len(lines) == 64 * 50


def test_the_first_touch_of_numa_is_at_home() -> None:
    config = numa(64, "address")
    memory = Memory(config)
    for vp in range(64):
        assert memory.home(line_at(config, vp, 123_456) // 64) == config.node(vp)


def test_the_mean_latency_to_node_0_of_the_whole_cube() -> None:
    assert mean_latency(numa(1024, "first")) == 340
    assert mean_latency(numa(8, "first")) == 200


def test_an_eighth_more_occupancy_would_fail_the_gate() -> None:
    right, wrong = bus_load(32, OTHER, OCCUPANCY, 8_000), bus_load(32, OTHER, OCCUPANCY + 4, 8_000)
    assert relative(0.02).accepts(NOTED[32], right.rate * TURN)
    assert not relative(0.02).accepts(NOTED[32], wrong.rate * TURN)


def test_a_home_that_is_busier_than_it_says_would_fail_the_gate() -> None:
    config = numa(1024, "first")
    for busy, passes in ((24, True), (25, False)):
        line = partial(line_at, config)
        load = run_loops(replace(config, home_busy_cycles=busy), 5000, line, 50_000, 100_000)
        assert relative(0.02).accepts(1 / 24, load.rate) is passes
