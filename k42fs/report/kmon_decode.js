// The page's block of bytes, read back into rows: see k42fs/report/kmon_payload.py for what is in it.
"use strict";
const META = JSON.parse(document.getElementById("meta").textContent);
const UNKNOWN = 0, EVENTS = 3, MANY = 2, SEVERAL = 4, BEFORE = 8;

async function inflated(base64) {
  const packed = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Takes a block of bytes apart, from its beginning.
class Unpacker {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }

  take(count) {
    this.at += count;
    return this.bytes.subarray(this.at - count, this.at);
  }

  words(count) {
    const view = new DataView(this.bytes.buffer, this.bytes.byteOffset + this.at, 2 * count);
    this.at += 2 * count;
    return Uint16Array.from({ length: count }, (_, index) => view.getUint16(2 * index, true));
  }

  // Every varint in the next *length* bytes. Numbers, not integers of 32 bits: times can be long.
  *varints(length) {
    for (const end = this.at + length; this.at < end;) {
      let value = 0, weight = 1, byte;
      do {
        byte = this.bytes[this.at++];
        value += (byte & 127) * weight;
        weight *= 128;
      } while (byte > 127);
      yield value;
    }
  }
}

// A row with every event: `times` in ticks after META.begin, `kinds`, and `entities` that run after each.
class EventRow {
  constructor(shape, source) {
    this.cpu = shape.cpu;
    this.times = new Float64Array(shape.events);
    let time = 0, index = 0;
    for (const gap of source.varints(shape.gaps)) this.times[index++] = time += gap;
    this.kinds = source.words(shape.events);
    this.entities = source.words(shape.events);
    const text = new TextDecoder().decode(source.take(shape.text));
    this.texts = shape.text ? text.split("\n") : null;
  }

  // The first event at or after *time*.
  search(time, low = 0) {
    let high = this.times.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.times[middle] < time) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  // [entity, state] of each of *width* columns that divide begin <= time < end.
  columns(begin, end, width) {
    const entities = new Uint16Array(width), states = new Uint8Array(width);
    const count = this.times.length;
    const first = count ? this.times[0] : end;
    let at = this.search(begin), left = begin;
    let current = at ? this.entities[at - 1] : UNKNOWN;
    for (let x = 0; x < width; x++) {
      const right = begin + ((end - begin) * (x + 1)) / width;
      const after = this.search(right, at);
      if (after > at) {
        states[x] = Math.min(after - at, MANY);
        let only = this.times[at] > Math.max(left, first) ? current : this.entities[at];
        for (let index = at; index < after; index++) {
          if (this.entities[index] !== only) {
            states[x] |= SEVERAL;
            break;
          }
        }
        current = this.entities[after - 1];
      } else if (right <= first) states[x] = BEFORE;
      entities[x] = current;
      at = after;
      left = right;
    }
    return [entities, states];
  }

  // How many events of each kind: kind -> count.
  counts(begin, end) {
    const found = new Map();
    for (let at = this.search(begin), after = this.search(end); at < after; at++) {
      found.set(this.kinds[at], (found.get(this.kinds[at]) || 0) + 1);
    }
    return found;
  }

  // The times at which events of *kind* are.
  *places(kind, begin, end) {
    for (let at = this.search(begin), after = this.search(end); at < after; at++) {
      if (this.kinds[at] === kind) yield this.times[at];
    }
  }

  // For how many ticks each entity ran: entity -> ticks.
  ran(begin, end) {
    const found = new Map();
    const count = this.times.length;
    let at = this.search(begin), time = begin;
    let entity = at ? this.entities[at - 1] : UNKNOWN;
    for (; time < end; at++) {
      const next = at < count ? Math.min(this.times[at], end) : end;
      if (next > time) found.set(entity, (found.get(entity) || 0) + next - time);
      if (at >= count || this.times[at] >= end) break;
      time = next;
      entity = this.entities[at];
    }
    return found;
  }

  bounds(begin, end) {
    return [this.search(begin), this.search(end)];
  }
}

// A row of columns counted beforehand, and of how many events of each kind are in each span.
class ColumnRow {
  constructor(shape, source) {
    this.cpu = shape.cpu;
    this.entities = source.words(META.columns);
    this.states = source.take(META.columns);
    this.spans = new Map();
    for (const [kind, length] of shape.kinds) {
      const spans = [];
      let span = 0, isCount = false;
      for (const value of source.varints(length)) {
        if (isCount) spans.push([span, value]);
        else span += value;
        isCount = !isCount;
      }
      this.spans.set(kind, spans);
    }
  }

  columns(begin, end, width) {
    const entities = new Uint16Array(width), states = new Uint8Array(width);
    const scale = META.columns / META.length;
    for (let x = 0; x < width; x++) {
      const left = begin + ((end - begin) * x) / width, right = begin + ((end - begin) * (x + 1)) / width;
      const low = Math.max(Math.floor(left * scale), 0);
      const high = Math.min(Math.max(Math.floor(right * scale), low + 1), META.columns);
      [entities[x], states[x]] = this.combined(low, high);
    }
    return [entities, states];
  }

  combined(low, high) {
    let entity = UNKNOWN, state = BEFORE, events = 0;
    for (let index = low; index < high; index++) {
      const one = this.states[index];
      if (one & BEFORE) continue;
      if (!(state & BEFORE) && entity !== this.entities[index]) state |= SEVERAL;
      state = (state & ~BEFORE) | (one & SEVERAL);
      events += one & EVENTS;
      entity = this.entities[index];
    }
    return [entity, state & BEFORE ? state : state | Math.min(events, MANY)];
  }

  // [middle, about how many events] of each span with events of *kind*; of a span half in view, half of them.
  *inSpans(kind, begin, end) {
    const ticks = META.length / META.spans;
    for (const [span, count] of this.spans.get(kind) || []) {
      const inView = Math.min(end, (span + 1) * ticks) - Math.max(begin, span * ticks);
      if (inView > 0) yield [(span + 0.5) * ticks, (count * inView) / ticks];
    }
  }

  counts(begin, end) {
    const found = new Map();
    for (const kind of this.spans.keys()) {
      let total = 0;
      for (const [, count] of this.inSpans(kind, begin, end)) total += count;
      if (total) found.set(kind, Math.round(total));
    }
    return found;
  }

  *places(kind, begin, end) {
    for (const [time] of this.inSpans(kind, begin, end)) yield time;
  }

  ran(begin, end) {
    const found = new Map();
    const ticks = META.length / META.columns;
    const low = Math.max(Math.floor(begin / ticks), 0), high = Math.min(Math.ceil(end / ticks), META.columns);
    for (let index = low; index < high; index++) {
      found.set(this.entities[index], (found.get(this.entities[index]) || 0) + ticks);
    }
    return found;
  }
}

function unpacked(bytes) {
  const source = new Unpacker(bytes);
  const Kind = META.level === "column" ? ColumnRow : EventRow;
  return META.rows.map((shape) => new Kind(shape, source));
}
