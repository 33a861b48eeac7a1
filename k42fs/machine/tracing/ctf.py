"""The file `metadata` of a trace: CTF 1.8's description of packets and events, from the schema.

Fields that share a word are declared last first: K42 packs from the top of the word, CTF's little-endian
layout counts from the bottom. A name may not be a keyword of CTF's language, so each has a leading "_", which
readers take off (CTF 1.8, 7.3.2).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from uuid import UUID

from k42fs.machine.tracing.schema import Event, Field, Schema

PREAMBLE = """\
/* CTF 1.8 */
trace {{
  major = 1; minor = 8; byte_order = le; uuid = "{uuid}";
  packet.header := struct {{
    integer {{ size = 32; align = 8; signed = false; base = 16; }} magic;
    integer {{ size = 8; align = 8; signed = false; }} uuid[16];
    integer {{ size = 32; align = 8; signed = false; }} stream_id;
    integer {{ size = 64; align = 8; signed = false; }} stream_instance_id;
  }};
}};
env {{
{env}
}};
clock {{ name = cycles; description = "a modelled processor's clock"; freq = {ticks}; offset = 0; }};
typealias integer {{ size = 64; align = 64; signed = false; map = clock.cycles.value; }} := stamp_t;
stream {{
  id = 0;
  packet.context := struct {{
    stamp_t timestamp_begin; stamp_t timestamp_end;
    integer {{ size = 64; align = 64; signed = false; }} content_size;
    integer {{ size = 64; align = 64; signed = false; }} packet_size;
    integer {{ size = 64; align = 64; signed = false; }} packet_seq_num;
    integer {{ size = 64; align = 64; signed = false; }} events_discarded;
    integer {{ size = 32; align = 32; signed = false; }} cpu_id;
    integer {{ size = 32; align = 32; signed = false; base = 16; }} flags;
    integer {{ size = 64; align = 64; signed = false; }} host_ns;
  }};
  event.header := struct {{
    integer {{ size = 24; align = 1; signed = false; base = 16; }} id;
    integer {{ size = 32; align = 32; signed = false; map = clock.cycles.value; }} timestamp;
  }} align(64);
}};
"""


def metadata(schema: Schema, trace_id: bytes, ticks_per_second: int, env: Mapping[str, str | int]) -> str:
    """Return the text that makes the packets of this trace readable for anybody. *env* says what made it."""
    said = {"domain": "k42fs", "tracer_name": "k42trace", "schema_revision": schema.revision, **env}
    lines = "\n".join(f"  {key} = {json.dumps(value)};" for key, value in said.items())
    parts = [PREAMBLE.format(uuid=UUID(bytes=trace_id), env=lines, ticks=ticks_per_second)]
    parts += [_event(each) for each in schema.events()]
    return "".join(parts)


def _event(event: Event) -> str:
    fields = " ".join(_fields(event))
    body = f"struct {{ {fields} }} align(64)" if fields else "struct { }"
    return f'event {{ name = "{event.qualified}"; id = {event.id}; stream_id = 0; fields := {body}; }};\n'


def _fields(event: Event) -> Iterator[str]:
    for number, word in enumerate(event.by_word):
        unused = word[-1].shift if word[-1].type.is_fixed else 0
        if unused:
            yield f"integer {{ size = {unused}; align = {_align(unused)}; signed = false; }} _pad{number};"
        yield from (_field(each, event) for each in reversed(word))


def _align(bits: int) -> int:
    return bits if bits in (8, 16, 32, 64) else 8


def _field(each: Field, event: Event) -> str:
    if each.type.inline:
        return f"string _{each.name};"
    kind = each.type
    signed = "true" if kind.signed else "false"
    base = " base = 16;" if kind.base == 16 else ""
    integer = f"integer {{ size = {kind.bits}; align = {kind.bits}; signed = {signed};{base} }}"
    if kind.list:
        count = event.fields[event.fields.index(each) - 1]
        return f"{integer} _{each.name}[_{count.name}];"
    return f"{integer} _{each.name};"
