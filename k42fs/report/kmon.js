// kmon's page: draws the rows, zooms, selects, and tells what is in view. Times are ticks after META.begin.
"use strict";
const QUARTERS = [4, 3, 2]; // of a row's height: at most one event, several, several of several entities
const AROUND = 5, MARKS_MAX = 9, LABELS = 10, AXIS = 34, GAP = 3;
const MARKS = ["#ffffff", "#ff5db1", "#7dff5d", "#5de1ff", "#ffd75d", "#b58cff", "#ff9b5d", "#9bffd9", "#c8c8c8"];

const byId = (id) => document.getElementById(id);
const canvas = byId("rows");
let rows = [];
let view = [0, META.length];
let selection = null; // [time, time] while and after dragging
let cursor = null; // {row, time, index}: the event clicked on
let marked = []; // numbers of the kinds drawn as lines
const earlier = []; // views to go back to

const seconds = (ticks) => (META.begin + ticks) / META.ticks;
const time = (ticks) => seconds(ticks).toFixed(9);
const cell = (tag, text, className) => {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className) made.className = className;
  return made;
};

function duration(ticks) {
  const value = ticks / META.ticks;
  for (const [unit, size] of [["s", 1], ["ms", 1e-3], ["µs", 1e-6]]) {
    if (value >= size) return `${(value / size).toPrecision(4)} ${unit}`;
  }
  return `${(value * 1e9).toPrecision(4)} ns`;
}

function layout() {
  const width = canvas.clientWidth;
  const room = Math.max(240, window.innerHeight * 0.55) - AXIS;
  const height = Math.min(48, Math.max(12, Math.floor(room / Math.max(rows.length, 1)) - GAP));
  const names = 12 + 7 * Math.max(...rows.map((row) => `cpu${row.cpu}`.length), 4);
  return { width, height, names, chart: Math.max(width - names - 6, 50), total: AXIS + rows.length * (height + GAP) + 4 };
}

const toX = (place, ticks) => place.names + ((ticks - view[0]) / (view[1] - view[0])) * place.chart;
const toTime = (place, x) => view[0] + ((x - place.names) / place.chart) * (view[1] - view[0]);

function draw() {
  const place = layout();
  const scale = window.devicePixelRatio || 1;
  canvas.style.height = `${place.total}px`;
  canvas.width = Math.round(place.width * scale);
  canvas.height = Math.round(place.total * scale);
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  pen.font = "12px system-ui, sans-serif";
  drawAxis(pen, place);
  rows.forEach((row, index) => drawRow(pen, place, row, AXIS + index * (place.height + GAP)));
  drawSelection(pen, place);
}

function drawAxis(pen, place) {
  pen.fillStyle = "#c9d1dc";
  pen.textBaseline = "middle";
  const [step, digits] = roundStep((view[1] - view[0]) / META.ticks);
  const last = Math.floor(seconds(view[1]) / step);
  for (let label = Math.ceil(seconds(view[0]) / step); label <= last; label++) {
    const x = toX(place, label * step * META.ticks - META.begin);
    const text = `${(label * step).toFixed(digits)} s`;
    const half = pen.measureText(text).width / 2;
    pen.textAlign = x - half < place.names ? "left" : x + half > place.width ? "right" : "center";
    pen.fillText(text, Math.min(x, place.width - 2), 12);
    pen.fillRect(Math.min(x, place.names + place.chart - 1), 22, 1, 6);
  }
}

// Return the least round number of seconds that LABELS labels at most are apart, and how many decimals it has.
function roundStep(span) {
  const least = Math.max(span / LABELS, 1e-12);
  const power = Math.floor(Math.log10(least));
  const factor = [1, 2, 5, 10].find((each) => each * 10 ** power >= least * (1 - 1e-9));
  return [factor * 10 ** power, Math.max(0, -power - (factor === 10))];
}

function drawRow(pen, place, row, top) {
  pen.fillStyle = "#c9d1dc";
  pen.textAlign = "right";
  pen.fillText(`cpu${row.cpu}`, place.names - 6, top + place.height / 2);
  const width = Math.round(place.chart);
  const [entities, states] = row.columns(view[0], view[1], width);
  for (let x = 0; x < width;) {
    let after = x + 1;
    const quarters = quartersOf(states[x]);
    while (after < width && entities[after] === entities[x] && quartersOf(states[after]) === quarters) after++;
    const high = (place.height * quarters) / 4;
    pen.fillStyle = META.entities[entities[x]].color;
    pen.fillRect(place.names + x, top + place.height - high, after - x, high);
    x = after;
  }
  marked.forEach((kind, index) => {
    pen.fillStyle = MARKS[index];
    let last = -1;
    for (const ticks of row.places(kind, view[0], view[1])) {
      const x = Math.floor(toX(place, ticks));
      if (x !== last) pen.fillRect(x, top, 1, place.height);
      last = x;
    }
  });
}

function quartersOf(state) {
  if ((state & EVENTS) < MANY) return QUARTERS[0];
  return state & SEVERAL ? QUARTERS[2] : QUARTERS[1];
}

function drawSelection(pen, place) {
  const line = (ticks, color) => {
    if (ticks < view[0] || ticks > view[1]) return;
    pen.fillStyle = color;
    pen.fillRect(Math.floor(toX(place, ticks)), 22, 1, place.total - 22);
  };
  if (selection) {
    const [left, right] = selection.map((ticks) => toX(place, Math.min(Math.max(ticks, view[0]), view[1])));
    pen.fillStyle = "#ffe10022";
    pen.fillRect(left, 22, right - left, place.total - 22);
    selection.forEach((ticks) => line(ticks, "#ffe100"));
  }
  if (cursor) line(cursor.time, "#ff8c1a");
}

function chosen() {
  return selection || view;
}

function show() {
  draw();
  const [begin, end] = view;
  let from = 0, to = 0, inView = 0;
  for (const row of rows) {
    if (row.bounds) {
      const [first, after] = row.bounds(begin, end);
      from += first;
      to += after;
    }
    for (const count of row.counts(begin, end).values()) inView += count;
  }
  const which = META.level === "column" ? `about ${inView} of ${META.events} events` : `event ${from} to ${to} of ${META.events}`;
  byId("showing").textContent =
    `Showing from ${time(begin)} to ${time(end)} s, ${duration(end - begin)}: ${which}` +
    (selection ? `. Selected ${time(selection[0])} to ${time(selection[1])} s, ${duration(selection[1] - selection[0])}` : "");
  byId("back").disabled = !earlier.length;
  byId("to-selection").disabled = !selection;
  showRule();
  showWho();
  showKinds();
}

function showRule() {
  const column = META.length / META.columns, pixel = (view[1] - view[0]) / layout().chart;
  byId("rule").textContent =
    `A column of ${duration(pixel)}: full height = at most one event in it, three quarters = several of one ${META.by}, ` +
    `half = of several; its colour is the last that ran.` +
    (META.level === "column" && pixel < column
      ? ` Too many events for this page: nothing is finer than ${duration(column)} here. k42fs trace kmon --from --to shows a part in full.`
      : "");
}

function summed(method) {
  const total = new Map();
  for (const row of rows) {
    for (const [key, value] of row[method](...chosen())) total.set(key, (total.get(key) || 0) + value);
  }
  return [...total].sort((left, right) => right[1] - left[1]);
}

function headings(table, names) {
  const row = document.createElement("tr");
  names.forEach((name, index) => row.append(cell("th", name, index ? "number" : "")));
  table.replaceChildren(row);
}

function showWho() {
  const found = summed("ran");
  const all = found.reduce((sum, entry) => sum + entry[1], 0);
  byId("who-span").textContent = selection ? "in the selection" : "in view";
  const table = byId("who");
  headings(table, [META.by, META.level === "column" ? "≈ time" : "time", "share"]);
  for (const [entity, ticks] of found) {
    const row = document.createElement("tr");
    const name = cell("td", META.entities[entity].name);
    const swatch = cell("span", "", "swatch");
    swatch.style.background = META.entities[entity].color;
    name.prepend(swatch);
    row.append(name, cell("td", duration(ticks), "number"), cell("td", `${((100 * ticks) / all).toFixed(1)} %`, "number"));
    table.append(row);
  }
}

function showKinds() {
  const counts = new Map(summed("counts"));
  const table = byId("kinds");
  headings(table, ["event", META.level === "column" ? "≈ count" : "count"]);
  const order = META.kinds.map((_, index) => index).filter((kind) => counts.get(kind) || marked.includes(kind));
  order.sort((left, right) => (counts.get(right) || 0) - (counts.get(left) || 0));
  for (const kind of order) {
    const row = document.createElement("tr"), name = document.createElement("td"), label = document.createElement("label");
    const box = document.createElement("input");
    box.type = "checkbox";
    box.checked = marked.includes(kind);
    box.disabled = !box.checked && marked.length >= MARKS_MAX;
    box.addEventListener("change", () => {
      marked = box.checked ? [...marked, kind] : marked.filter((other) => other !== kind);
      show();
    });
    label.append(box, ` ${META.kinds[kind]}`);
    name.append(label);
    row.append(name, cell("td", String(counts.get(kind) || 0), "number"));
    table.append(row);
  }
  byId("legend").replaceChildren(
    ...marked.map((kind, index) => {
      const entry = cell("span", `${META.kinds[kind]} ${counts.get(kind) || 0}`), swatch = cell("span", "", "swatch");
      swatch.style.background = MARKS[index];
      entry.prepend(swatch);
      return entry;
    }),
  );
}

function showAround() {
  const around = byId("around");
  byId("cursor-at").textContent = cursor ? `cpu${cursor.row.cpu} at ${time(cursor.time)} s` : "";
  if (!cursor) return;
  if (cursor.index === undefined) {
    around.textContent = "This page has no single events: too many were recorded.\nk42fs trace kmon --from --to shows a part in full.";
    return;
  }
  const { row, index } = cursor;
  const lines = [];
  for (let at = Math.max(index - AROUND, 0); at <= Math.min(index + AROUND, row.times.length - 1); at++) {
    const text = `${time(row.times[at])} ${META.kinds[row.kinds[at]]} ${row.texts ? row.texts[at] : ""}\n`;
    lines.push(at === index ? cell("b", text) : document.createTextNode(text));
  }
  around.replaceChildren(...lines);
}

function look(begin, end, remember = true) {
  const least = Math.min(META.length, META.level === "column" ? (10 * META.length) / META.columns : 10);
  const length = Math.min(Math.max(end - begin, least), META.length);
  begin = Math.min(Math.max(begin + (end - begin - length) / 2, 0), META.length - length);
  if (remember) earlier.push(view);
  view = [begin, begin + length];
  show();
}

function zoom(factor, around = (chosen()[0] + chosen()[1]) / 2, remember = true) {
  look(around - (around - view[0]) / factor, around + (view[1] - around) / factor, remember);
}

function rowAt(place, y) {
  return rows[Math.floor((y - AXIS) / (place.height + GAP))];
}

function clickAt(place, x, y) {
  const row = rowAt(place, y);
  if (!row) return;
  const at = toTime(place, x);
  cursor = { row, time: at };
  if (row.times && row.times.length) {
    let index = row.search(at);
    if (index === row.times.length || (index && at - row.times[index - 1] < row.times[index] - at)) index--;
    cursor = { row, time: row.times[index], index };
  }
  showAround();
  draw();
}

function listen() {
  let from = null;
  const inside = (place, x) => Math.min(Math.max(x, place.names), place.names + place.chart);
  canvas.addEventListener("pointerdown", (event) => {
    from = event.offsetX;
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    const place = layout();
    if (from !== null && Math.abs(event.offsetX - from) > 3) {
      selection = [from, event.offsetX].map((x) => toTime(place, inside(place, x))).sort((left, right) => left - right);
      draw();
    }
    showTip(place, event.offsetX, event.offsetY);
  });
  canvas.addEventListener("pointerup", (event) => {
    if (from !== null && Math.abs(event.offsetX - from) <= 3) {
      selection = null;
      clickAt(layout(), event.offsetX, event.offsetY);
    }
    from = null;
    show();
  });
  canvas.addEventListener("pointerleave", () => (byId("tip").hidden = true));
  canvas.addEventListener("dblclick", (event) => zoom(5, toTime(layout(), event.offsetX)));
  canvas.addEventListener("wheel", (event) => {
    const frame = byId("picture");
    if (canvas.offsetHeight > frame.clientHeight && !event.ctrlKey && !event.shiftKey) return; // it scrolls the rows
    event.preventDefault();
    const place = layout(), length = view[1] - view[0];
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      const step = (length * (event.deltaX || event.deltaY)) / place.chart;
      look(view[0] + step, view[1] + step, false);
    } else zoom(event.deltaY < 0 ? 1.25 : 0.8, toTime(place, event.offsetX), false);
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const step = (view[1] - view[0]) / 4;
    const action = {
      "+": () => zoom(2), "=": () => zoom(2), "-": () => zoom(0.5), Home: () => look(0, META.length),
      ArrowLeft: () => look(view[0] - step, view[1] - step), ArrowRight: () => look(view[0] + step, view[1] + step),
      Escape: () => { selection = null; show(); }, Enter: () => selection && toSelection(),
    }[event.key];
    if (action) {
      event.preventDefault();
      action();
    }
  });
  document.querySelectorAll("[data-zoom]").forEach((button) => button.addEventListener("click", () => zoom(Number(button.dataset.zoom))));
  byId("to-selection").addEventListener("click", toSelection);
  byId("all").addEventListener("click", () => look(0, META.length));
  byId("back").addEventListener("click", () => { view = earlier.pop() || view; show(); });
  byId("to-time").addEventListener("submit", (event) => {
    event.preventDefault();
    const [from, to] = ["from", "to"].map((name) => Number(event.target.elements[name].value) * META.ticks - META.begin);
    if (to > from) look(from, to);
  });
  window.addEventListener("resize", draw);
}

function toSelection() {
  const [begin, end] = selection;
  selection = null;
  look(begin, end);
}

function showTip(place, x, y) {
  const row = rowAt(place, y), tip = byId("tip");
  tip.hidden = !row || x < place.names || x > place.names + place.chart;
  if (tip.hidden) return;
  const left = toTime(place, Math.floor(x)), right = toTime(place, Math.floor(x) + 1);
  const [entities, states] = row.columns(left, right, 1);
  const events = ["no event", "one event", "several events"][states[0] & EVENTS];
  tip.textContent = `cpu${row.cpu} ${time(left)} s: ${META.entities[entities[0]].name}, ${events}`;
  const below = y + 16 + tip.offsetHeight <= canvas.offsetHeight; // or it would make the frame scroll
  tip.style.top = `${below ? y + 16 : Math.max(y - tip.offsetHeight - 4, 0)}px`;
  tip.style.left = `${Math.min(x + 12, place.width - tip.offsetWidth - 8)}px`;
}

async function start() {
  byId("about").textContent = META.about;
  rows = unpacked(await inflated(byId("data").textContent));
  listen();
  show();
}
start().catch((error) => (byId("showing").textContent = `This page does not work here: ${error}`));
