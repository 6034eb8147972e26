import { Chart } from "./chart.js";
import { byId, el } from "./dom.js";
import { byPlace, byteRate, place, placeClass, rate, share, took } from "./format.js";

const hour = 3600e3; // ms

// A History is the last hour as the node tells it, piece by piece, and its charts.
export class History {
  constructor(changed) {
    this.changed = changed;
    this.curves = new Map(); // name → values, as long as at
    this.at = [];
    this.quantile = "p99";
    const host = byId("charts");
    const choice = el("span", { class: "choice", role: "group", "aria-label": "Percentile" }, ...["p50", "p99"].map(q =>
      el("button", { type: "button", "aria-pressed": String(q === this.quantile), onclick: event => this.choose(q, event.target) }, q)));
    this.charts = {
      requests: new Chart(host, { id: "chart-requests", title: "Requests", note: "All that clients asked, and what failed with 5xx (but 501) or broke off.", unit: rate }),
      answers: new Chart(host, { id: "chart-answers", title: "Answers by place", note: "As in X-Cache; on top of one another.", unit: rate, stacked: true, empty: "no reads yet" }),
      times: new Chart(host, { id: "chart-times", title: "Response time", note: "By where the answer came from. Logarithmic.", unit: took, log: true, empty: "no answers yet", choice }),
      hits: new Chart(host, { id: "chart-hits", title: "Hit ratio", note: "Share of look-ups in a tier that found a copy.", unit: share, top: 1, empty: "no look-ups yet" }),
      bytes: new Chart(host, { id: "chart-bytes", title: "Bytes", note: "Bodies of clients' requests and answers.", unit: byteRate, base: 1024 }),
      origin: new Chart(host, { id: "chart-origin", title: "Origin requests", note: "Misses, validations and writes of this node.", unit: rate }),
    };
  }

  choose(quantile, button) {
    this.quantile = quantile;
    for (const b of button.parentElement.children) b.setAttribute("aria-pressed", String(b === button));
    this.draw();
  }

  // add takes what is new. After a lost connection it may have parts that are
  // known already.
  add(series) {
    const known = this.at.at(-1) ?? 0;
    const first = series.at.findIndex(t => t > known);
    if (first < 0) return;
    const before = this.at.length;
    this.at = this.at.concat(series.at.slice(first));
    const fresh = flatten(series);
    for (const name of new Set([...this.curves.keys(), ...fresh.keys()])) {
      const old = this.curves.get(name) ?? Array(before).fill(null);
      const news = fresh.get(name)?.slice(first) ?? Array(this.at.length - before).fill(null);
      this.curves.set(name, old.concat(news));
    }
    const old = this.at.findIndex(t => t >= this.at.at(-1) - hour);
    if (old > 0) {
      this.at = this.at.slice(old);
      for (const [name, values] of this.curves) this.curves.set(name, values.slice(old));
    }
    this.draw();
    this.changed();
  }

  // hits are the shares of reads that were answered from a tier.
  hits() {
    const reads = this.names("rate").filter(n => n !== "");
    const sum = (names, i) => names.reduce((total, n) => total + (this.values("rate/" + n)[i] ?? 0), 0);
    return this.at.map((_, i) => {
      const total = sum(reads, i);
      return total > 0 ? sum(reads.filter(n => ["hot", "ram", "ssd"].includes(n)), i) / total : null;
    });
  }

  values(name) { return this.curves.get(name) ?? this.at.map(() => null); }

  names(kind) {
    return [...this.curves.keys()].filter(n => n.startsWith(kind + "/")).map(n => n.slice(kind.length + 1)).sort(byPlace);
  }

  draw() {
    const line = (name, look, curve) => ({ name, look, values: this.values(curve) });
    const of = (kind, names, word = n => n) => names.map(n => line(word(n), placeClass(n), kind + "/" + n));
    const places = this.names("rate");
    const { requests, answers, times, hits, bytes, origin } = this.charts;
    requests.update(this.at, [line("all", "c-ram", "requests"), line("failed", "c-bad", "failed")]);
    answers.update(this.at, of("rate", places.filter(n => n !== "")));
    times.update(this.at, of(this.quantile, places, place));
    hits.update(this.at, of("tier", this.names("tier")));
    bytes.update(this.at, [line("out", "c-ram", "bytesOut"), line("in", "c-ssd", "bytesIn")]);
    origin.update(this.at, [line("requests", "c-origin", "origin")]);
  }
}

function flatten(series) {
  const curves = new Map();
  for (const name of ["requests", "failed", "bytesIn", "bytesOut", "origin", "cpu"]) curves.set(name, series[name]);
  for (const [tier, values] of Object.entries(series.tiers ?? {})) curves.set("tier/" + tier, values);
  for (const [from, answers] of Object.entries(series.answers ?? {})) {
    for (const what of ["rate", "p50", "p99"]) curves.set(what + "/" + from, answers[what]);
  }
  return curves;
}
