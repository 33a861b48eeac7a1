"""E5's yardstick: the plain queue that the bus is held against has the limits that arithmetic gives it."""

import pytest

from k42fs.machine.memory import Memory
from k42fs.machine.validation.bus import KNEE, bus_load, own_line, single_server
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
