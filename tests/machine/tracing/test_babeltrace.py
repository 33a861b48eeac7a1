"""The stock reader sees what we wrote: every event, its time and values, and every loss (T5, T12)."""

import random
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from k42fs.machine.tracing.mask import LOCK, all_classes
from k42fs.machine.tracing.packets import ROOM_WORDS
from k42fs.machine.tracing.packing import Value
from k42fs.machine.tracing.schema import Event, load
from tests.machine.tracing.lab import HandTrace, read
from tests.machine.tracing.test_tracer import lab, work

pytestmark = pytest.mark.skipif(shutil.which("babeltrace2") is None, reason="babeltrace2 is not installed")

LINE = re.compile(r"\[(\d+)\] (?:\(\S+\) )?(\S+): \{ cpu_id = (\d+), .*?\}(?:, (\{.*\}))?$")
FIELD = re.compile(r'(\w+) = ("(?:[^"\\]|\\.)*"|\[.*?\](?= \}|,|$)|-?\w+)')

Listed = tuple[int, int, str, tuple[tuple[str, str], ...]]


def babeltrace(directory: Path) -> tuple[list[Listed], str]:
    """Return the events that babeltrace2 lists and what it complains of."""
    done = subprocess.run(
        ["babeltrace2", "--clock-cycles", directory], capture_output=True, text=True, check=True, timeout=120
    )
    listed = []
    for line in done.stdout.splitlines():
        found = LINE.match(line)
        assert found, line
        stamp, name, cpu, fields = found.groups()
        listed.append((int(cpu), int(stamp), name, tuple(sorted(FIELD.findall(fields or "")))))
    return listed, done.stderr.rstrip("\n")


def as_listed(event: Event, values: tuple[Value, ...]) -> tuple[tuple[str, str], ...]:
    return tuple(
        sorted(
            (each.name, shown(each.type.base, value))
            for each, value in zip(event.fields, values, strict=True)
        )
    )


def shown(base: int, value: Value) -> str:
    if isinstance(value, tuple):
        return (
            f"[ {', '.join(f'[{index}] = {each}' for index, each in enumerate(value))} ]" if value else "[ ]"
        )
    if isinstance(value, str):
        return f'"{value}"'
    return f"0x{value:X}" if base == 16 else str(value)


def ours(directory: Path) -> list[Listed]:
    schema = load()
    return [
        (cpu, stamp, (event := schema.by_attribute[name]).qualified, as_listed(event, values))
        for seen in read(directory).values()
        for cpu, stamp, name, values in seen
    ]


def a_value(dice: random.Random, event: Event, index: int) -> Value:
    kind = event.fields[index].type
    if kind.inline:
        # Of an empty string babeltrace2 2.0.4 shows the one before it; the tracer never defines an empty one.
        return "x" * dice.randint(1, 20)
    if kind.list:
        return ()
    low = -(1 << kind.bits - 1) if kind.signed else 0
    return dice.choice([0, 1, low, low + (1 << kind.bits) - 1, dice.randrange(low, low + (1 << kind.bits))])


def test_it_lists_every_event_of_every_class_with_the_same_values(tmp_path: Path) -> None:
    dice = random.Random(42)
    trace = HandTrace(tmp_path / "t", processors=3, env={"seed": 42, "preset": 'with "quotes"'})
    stamp = 2**32 - 5000
    for _ in range(40):
        for event in load().events():
            stamp += dice.choice([0, 1, 100, 2**31 - 1, 2**31, 2**32, 2**33 + 5])
            values = [a_value(dice, event, index) for index in range(len(event.fields))]
            if event.fields and event.fields[-1].type.list:
                count = dice.randrange(9)
                values[-2:] = [count, tuple(range(count))]
            trace.event(dice.randrange(3), stamp, event.attribute, *values)
    trace.close()
    listed, complaints = babeltrace(tmp_path / "t")
    assert complaints == ""
    assert Counter(listed) == Counter(ours(tmp_path / "t"))
    assert len(listed) == 40 * len(list(load().events()))
    assert [stamp for _, stamp, _, _ in listed] == sorted(stamp for _, stamp, _, _ in listed)


def test_it_lists_a_recording(tmp_path: Path) -> None:
    tracer, cpus = lab(3)
    tracer.start(tmp_path / "t", all_classes())
    work(tracer, cpus, 3000)
    tracer.stop()
    listed, complaints = babeltrace(tmp_path / "t")
    assert (complaints, Counter(listed)) == ("", Counter(ours(tmp_path / "t")))


def test_it_tells_what_a_bounded_recording_dropped(tmp_path: Path) -> None:
    tracer, cpus = lab(1)
    tracer.start(tmp_path / "t", LOCK, limit_bytes=4 << 16)
    work(tracer, cpus, 10 * ROOM_WORDS)
    lost = tracer.stop().discarded
    listed, complaints = babeltrace(tmp_path / "t")
    assert Counter(listed) == Counter(ours(tmp_path / "t"))
    assert f"discarded {lost} events" in complaints.replace("Tracer ", "")
    assert re.search(r"discarded \d+ packets", complaints)


@pytest.mark.parametrize("wraps", [True, False])
def test_it_tells_what_a_flight_recorder_dropped(tmp_path: Path, wraps: bool) -> None:
    tracer, cpus = lab(1, ring_packets=2, ring_wraps=wraps)
    tracer.set_mask(LOCK)
    work(tracer, cpus, 20 * ROOM_WORDS)
    tracer.dump(tmp_path / "t")
    lost = tracer.status().discarded
    listed, complaints = babeltrace(tmp_path / "t")
    assert Counter(listed) == Counter(ours(tmp_path / "t"))
    assert f"discarded {lost} events" in complaints


def test_a_lost_definition_of_an_event_would_be_noticed(tmp_path: Path) -> None:
    """Calibration: metadata that does not know one event's number makes the stock reader fail."""
    trace = HandTrace(tmp_path / "t")
    trace.event(0, 5, "lock_release", 1, 2)
    trace.close()
    path = tmp_path / "t" / "metadata"
    path.write_text(re.sub(r'event \{ name = "OS::Lock::Release".*\n', "", path.read_text()))
    with pytest.raises(subprocess.CalledProcessError):
        babeltrace(tmp_path / "t")
