import { align, el, say, svg } from "./dom.js";
import { clock } from "./format.js";

// A Chart draws curves over time. Its words are text of the page, which is
// stretched around a plane on which the curves are, so that they can be read on
// a telephone too; the report of a load test draws the same way. A cursor goes
// by pointer or arrow keys. Its keys say the values at the cursor, else the last
// ones, and hide their curves.

const width = 1000, height = 300, gap = 15500; // a curve is interrupted where this many ms are missing

export class Chart {
  constructor(host, { id, title, note, unit, log = false, stacked = false, top = 0, base = 1, empty = "nothing yet", choice }) {
    Object.assign(this, { unit, log, stacked, top, base, empty, hidden: new Set(), lines: [], at: [], cursorAt: -1 });
    this.keys = el("div", { class: stacked ? "keys stacked" : "keys" });
    this.plane = svg("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" });
    this.ticks = el("div", { "aria-hidden": "true" });
    this.when = el("span", { class: "when" });
    this.cursor = el("div", { class: "cursor", "aria-hidden": "true", hidden: true }, this.when);
    this.words = el("p", { class: "nothing", hidden: true });
    this.plot = el("div", { class: stacked ? "plot stacked" : "plot", role: "slider", tabindex: "0", "aria-label": title + " in the last hour", "aria-valuemin": "0", "aria-valuemax": "0", "aria-valuenow": "0" },
      this.ticks, this.plane, this.cursor, this.words);
    const head = el("div", { class: "head" }, el("h2", {}, title));
    if (choice) head.append(choice);
    host.append(el("figure", { id }, el("figcaption", {}, head, el("p", { class: "soft" }, note)), this.keys, this.plot));
    this.listen();
  }

  // update draws lines [{name, look, values}] at times in ms.
  update(at, lines) {
    this.at = at;
    this.lines = lines;
    align(this.keys, lines, line => line.name, line => this.keyOf(line), () => {});
    this.draw();
  }

  keyOf(line) {
    const sample = svg("svg", { viewBox: "0 0 26 10", "aria-hidden": "true" }, svg("path", { class: line.look, d: "M0 5h26" }));
    const key = el("button", { type: "button", "aria-pressed": "true", onclick: () => {
      const shown = this.hidden.delete(line.name);
      if (!shown) this.hidden.add(line.name);
      key.setAttribute("aria-pressed", String(shown));
      this.draw();
    } }, sample, el("span", {}, line.name), el("b"));
    return key;
  }

  draw() {
    this.shown = this.lines.filter(line => !this.hidden.has(line.name));
    const last = this.at.at(-1) ?? Date.now();
    // At least five minutes wide: a node that just started has no hour to show.
    this.from = Math.min(Math.max(this.at[0] ?? last, last - 3600e3), last - 300e3);
    this.to = last;
    const highest = this.highest();
    this.scale = this.log ? logScale(this.lowest(), highest) : linearScale(this.top || highest, this.base);
    const below = this.at.map(() => 0);
    const paths = this.shown.map(line => this.stacked ? this.area(line.values, below) : this.line(line.values));
    this.plane.replaceChildren(...paths.map((d, i) => svg("path", { class: this.shown[i].look, d })));
    this.drawTicks();
    const nothing = !this.shown.some(line => line.values.some(v => v !== null));
    this.words.hidden = !nothing;
    say(this.words, nothing ? this.empty : "");
    this.plot.setAttribute("aria-valuemax", Math.max(0, this.at.length - 1));
    if (this.cursorAt >= 0) this.show(this.cursorAt);
    else this.tell(this.at.length - 1);
  }

  highest() {
    if (!this.stacked) return this.shown.reduce((high, line) => line.values.reduce((h, v) => Math.max(h, v ?? 0), high), 0);
    return this.at.reduce((high, _, i) => Math.max(high, this.shown.reduce((sum, line) => sum + (line.values[i] ?? 0), 0)), 0);
  }

  lowest() {
    return this.shown.reduce((low, line) => line.values.reduce((l, v) => v > 0 ? Math.min(l, v) : l, low), Infinity);
  }

  x(i) { return (width * (this.at[i] - this.from) / (this.to - this.from)).toFixed(1); }
  y(v) { return (height * (1 - this.scale.place(v))).toFixed(1); }
  apart(i) { return i > 0 && this.at[i] - this.at[i - 1] > gap; }

  line(values) {
    let path = "", pen = false;
    values.forEach((v, i) => {
      if (v === null) { pen = false; return; }
      if (this.apart(i)) pen = false;
      path += `${pen ? "L" : "M"}${this.x(i)} ${this.y(v)}`;
      // A value without neighbours becomes a short stroke, or nobody would see it.
      if (!pen && (i + 1 === values.length || values[i + 1] === null || this.apart(i + 1))) path += "h4";
      pen = true;
    });
    return path;
  }

  // area draws what lies between below and below + values, and adds to below.
  area(values, below) {
    let path = "";
    for (let start = 0; start < values.length;) {
      let end = start + 1;
      while (end < values.length && !this.apart(end)) end++;
      let back = "";
      for (let i = start; i < end; i++) {
        back = `L${this.x(i)} ${this.y(below[i])}` + back;
        below[i] += values[i] ?? 0;
        path += `${i === start ? "M" : "L"}${this.x(i)} ${this.y(below[i])}`;
      }
      path += back + "Z";
      start = end;
    }
    return path;
  }

  drawTicks() {
    const parts = [];
    for (const v of this.scale.ticks) {
      const line = el("i", { class: "gy" }), word = el("span", { class: "y" }, this.unit(v));
      line.style.bottom = word.style.bottom = 100 * this.scale.place(v) + "%";
      parts.push(line, word);
    }
    const step = [60e3, 120e3, 300e3, 600e3, 900e3].find(s => (this.to - this.from) / s <= 6) ?? 900e3;
    for (let t = Math.ceil(this.from / step) * step; t <= this.to; t += step) {
      const line = el("i", { class: "gx" }), word = el("span", { class: "x" }, clock(new Date(t), false));
      line.style.left = word.style.left = 100 * (t - this.from) / (this.to - this.from) + "%";
      parts.push(line, word);
    }
    this.ticks.replaceChildren(...parts);
  }

  show(index) {
    if (this.at.length === 0) return;
    const i = this.cursorAt = Math.max(0, Math.min(this.at.length - 1, index));
    const place = 100 * (this.at[i] - this.from) / (this.to - this.from) + "%";
    this.cursor.style.left = place;
    this.when.style.transform = `translateX(-${place})`; // so that it stays above the plot
    this.cursor.hidden = false;
    say(this.when, clock(new Date(this.at[i])));
    this.plot.setAttribute("aria-valuenow", i);
    this.plot.setAttribute("aria-valuetext", [clock(new Date(this.at[i])), ...this.shown.map(line => `${line.name} ${this.word(line, i)}`)].join(", "));
    this.tell(i);
  }

  // tell writes the values of an interval beside the names of their curves.
  tell(i) {
    this.lines.forEach((line, l) => say(this.keys.children[l].lastChild, this.word(line, i)));
  }

  word(line, i) { return (line.values[i] ?? null) === null ? "–" : this.unit(line.values[i]); }

  hide() {
    this.cursorAt = -1;
    this.cursor.hidden = true;
    this.tell(this.at.length - 1);
  }

  listen() {
    const nearest = event => {
      const box = this.plot.getBoundingClientRect();
      const t = this.from + (this.to - this.from) * (event.clientX - box.left) / box.width;
      let best = 0;
      this.at.forEach((a, i) => { if (Math.abs(a - t) < Math.abs(this.at[best] - t)) best = i; });
      this.show(best);
    };
    this.plot.addEventListener("pointermove", nearest);
    this.plot.addEventListener("pointerdown", nearest);
    this.plot.addEventListener("pointerleave", () => { if (document.activeElement !== this.plot) this.hide(); });
    this.plot.addEventListener("blur", () => this.hide());
    this.plot.addEventListener("focus", () => { if (this.cursorAt < 0) this.show(this.at.length - 1); });
    this.plot.addEventListener("keydown", event => {
      const page = Math.ceil(this.at.length / 10), end = this.at.length - 1;
      const to = { ArrowRight: this.cursorAt + 1, ArrowLeft: this.cursorAt - 1, ArrowUp: this.cursorAt + 1, ArrowDown: this.cursorAt - 1,
        PageUp: this.cursorAt + page, PageDown: this.cursorAt - page, Home: 0, End: end }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      this.show(to);
    });
  }
}

// spark draws values as a small curve without words.
export function spark(node, values, look) {
  const high = Math.max(...values.map(v => v ?? 0)) || 1;
  const path = values.map((v, i) => `${i ? "L" : "M"}${(100 * i / Math.max(1, values.length - 1)).toFixed(1)} ${(23 - 22 * (v ?? 0) / high).toFixed(1)}`).join("");
  node.replaceChildren(svg("path", { class: look + " fill", d: path && path + "L100 24L0 24Z" }), svg("path", { class: look, d: path }));
}

export const sparkPlane = () => svg("svg", { class: "spark", viewBox: "0 0 100 24", preserveAspectRatio: "none", "aria-hidden": "true" });

// A linear scale goes from nought to a round number that is not below high.
// Where the unit goes by 1024, so do the round numbers.
function linearScale(high, base) {
  if (!(high > 0)) high = 1;
  let whole = 1;
  while (base > 1 && high >= 4 * whole * base) whole *= base;
  const step = whole * roundStep(high / 4 / whole);
  const steps = Math.ceil(high / step - 1e-9);
  return { place: v => clamp(v / (steps * step)), ticks: Array.from({ length: steps + 1 }, (_, i) => i * step) };
}

function roundStep(v) {
  const power = 10 ** Math.floor(Math.log10(v));
  return power * ([1, 2, 5].find(m => m * power >= v * (1 - 1e-9)) ?? 10);
}

// A logarithmic scale goes from a power of ten to another.
function logScale(low, high) {
  if (!Number.isFinite(low)) low = 1e-4;
  const first = Math.floor(Math.log10(low) + 1e-9);
  const last = Math.max(first + 1, Math.ceil(Math.log10(Math.max(high, low)) - 1e-9));
  return {
    place: v => v > 0 ? clamp((Math.log10(v) - first) / (last - first)) : 0,
    ticks: Array.from({ length: last - first + 1 }, (_, i) => 10 ** (first + i)),
  };
}

const clamp = v => Math.max(0, Math.min(1, v));
