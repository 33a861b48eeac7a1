"""What is derived from the schema and kept in files: signatures, reference page, and the lock of what is promised.

`python -m k42fs.machine.tracing.derived` writes them anew; a test says when that was forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from k42fs.machine.tracing import emitters
from k42fs.machine.tracing.mask import PRESETS, describe
from k42fs.machine.tracing.schema import Event, Schema, SchemaError, load

HERE: Final = Path(__file__).parent
LOCK: Final = HERE / "schema.lock"
REFERENCE: Final = HERE.parents[2] / "docs" / "events.md"


def promised(schema: Schema) -> str:
    """Return what a trace of today needs of every later schema, a line for each event."""
    lines = [f"revision {schema.revision}"]
    for each in schema.events():
        fields = " ".join(
            f"{field.name}:{field.type.bits}{'s' if field.type.signed else ''}"
            f"{'' if field.type.is_fixed else '*'}"
            for field in each.fields
        )
        lines.append(f"{each.id:#08x} {each.qualified} {fields}".rstrip())
    return "\n".join(lines) + "\n"


def check_promises(schema: Schema, lock: str) -> None:
    """Raise SchemaError if *schema* breaks what *lock* promises.

    Events may be added, and fields at the end of an event if the revision is raised; nothing may go or change.
    """
    now = {line.split()[0]: line.split()[1:] for line in promised(schema).splitlines()[1:]}
    head, *lines = lock.splitlines()
    for line in lines:
        number, *parts = line.split()
        found = now.get(number)
        if found is None or found[: len(parts)] != parts:
            raise SchemaError(f"promised: {line!r}, now: {found}")
        if found != parts and head == f"revision {schema.revision}":
            raise SchemaError(f"{line!r} has more fields: raise the revision")


def reference(schema: Schema) -> str:
    """Return docs/events.md."""
    return "\n".join(_page(schema)) + "\n"


def _page(schema: Schema) -> Iterator[str]:
    yield "# Trace events"
    yield ""
    yield "Made from `k42fs/machine/tracing/schema.toml` by `python -m k42fs.machine.tracing.derived`."
    yield ""
    yield "An event is 64-bit words: stamp in cycles (32 bits), length in words (8), layer (4), major (6), minor (14);"
    yield "then its fields. A class is one bit of the mask. Classes up to 25 are K42's with their numbers, and so are"
    yield "the events in them, but for those after Lock 18, ClustObj 17, Exception 26 and Scheduler 8. Strings are"
    yield "numbers, which `Meta::String` defines; definitions are in the file `names`."
    yield ""
    yield "| mask preset | classes |"
    yield "|---|---|"
    for name, mask in PRESETS.items():
        yield f"| `{name}` | {describe(mask)} |"
    for each in schema.classes:
        yield ""
        yield f"## {each.major} {each.name} ({each.layer_name}, mask {each.bit:#x})"
        yield ""
        if not each.events:
            yield "No events."
            continue
        yield "| minor | event | fields | |"
        yield "|---|---|---|---|"
        for event in each.events:
            fields = ", ".join(f"{field.name}: {field.type.name}" for field in event.fields)
            notes = "; ".join(_notes(event)).replace("|", "\\|")
            yield f"| {event.minor} | {event.name} | {fields} | {notes} |"
    named = [each for each in schema.types.values() if each.values]
    yield ""
    yield "## Values with names"
    yield ""
    yield "| type | values from 0 |"
    yield "|---|---|"
    for kind in named:
        yield f"| {kind.name} | {', '.join(kind.values)} |"


def _notes(event: Event) -> Iterator[str]:
    if event.text:
        yield event.text
    if event.is_name:
        yield "a definition"
    if event.interval:
        end = "begins" if event.interval.is_start else "ends"
        yield f"{end} `{event.interval.name}`, matched by {', '.join(event.interval.match)}"
    if event.context:
        yield "switches to " + ("the kernel" if event.context == "0" else event.context)
    if event.flow:
        yield f"flow {event.flow[0]}: {event.flow[1]}"
    if event.counters:
        yield f"counters: {', '.join(event.counters)}"


def main() -> None:
    schema = load()
    if LOCK.exists():
        check_promises(schema, LOCK.read_text())
    LOCK.write_text(promised(schema))
    HERE.joinpath("emitters.pyi").write_text(emitters.stub())
    REFERENCE.write_text(reference(schema))


if __name__ == "__main__":
    main()
