import { align, byId, copyable, dress, el, keyLink, pill, say } from "./dom.js";
import { bytes, byPlace, clock, count, exact, place, placeClass, rate, seconds, share, span, took } from "./format.js";
import { bar, once, Table } from "./table.js";

// The tables. Each function makes one, and returns what shows a status in it.

const pillCell = word => (cell, row) => {
  if (!cell.firstChild) cell.append(el("span"));
  pill(cell.firstChild, word(row) || "–");
};
const keyCell = (cell, row) => once(cell, row.key, () => keyLink(row.key));
const number = v => [count(v), exact(v)];

function answersPanel() {
  const table = new Table(byId("answers"), {
    name: "Where answers came from", key: a => a.from, empty: "no answers yet",
    columns: [
      { name: "from", draw: (cell, a) => once(cell, a.from, () => [el("span", { class: "swatch " + placeClass(a.from), "aria-hidden": "true" }), place(a.from)]) },
      { name: "share", num: true, draw: (cell, a) => bar(cell, a.share, share(a.share), exact(a.share), placeClass(a.from)) },
      { name: "rate", num: true, text: a => [rate(a.rate), exact(a.rate) + " a second"] },
      { name: "p50", num: true, text: a => a.rate > 0 ? [took(a.p50), seconds(a.p50)] : "–" },
      { name: "p99", num: true, text: a => a.rate > 0 ? [took(a.p99), seconds(a.p99)] : "–" },
      { name: "since start", num: true, text: a => number(a.count) },
    ],
  });
  return status => {
    const answers = (status.answers ?? []).toSorted((a, b) => byPlace(a.from, b.from));
    const total = answers.reduce((sum, a) => sum + a.rate, 0);
    table.update(answers.map(a => ({ ...a, share: total > 0 ? a.rate / total : NaN })));
  };
}

function tiersPanel() {
  const table = new Table(byId("tiers"), {
    name: "Tiers", key: t => t.name, empty: "this node runs without tiers: every read goes to the origin",
    columns: [
      { name: "tier", draw: (cell, t) => once(cell, t.name, () => [el("span", { class: "swatch " + placeClass(t.name), "aria-hidden": "true" }), t.name]) },
      { name: "used", num: true, draw: (cell, t) => bar(cell, t.bytes / t.capacity, `${bytes(t.bytes)} of ${bytes(t.capacity)}`, `${exact(t.bytes)} of ${exact(t.capacity)} bytes, ${share(t.bytes / t.capacity)}`, placeClass(t.name)) },
      { name: "objects", num: true, text: t => number(t.objects) },
      { name: "hits 1 min", num: true, text: t => [share(t.minute), `${exact(t.hits)} hits${t.name === "hot" ? "" : `, ${exact(t.misses)} misses`} since the start`] },
      { name: "hits 1 h", num: true, text: t => [share(t.hour), exact(t.hour)] },
      { name: "evictions", num: true, text: t => [rate(t.evicted), `${exact(t.evictions)} since the start`] },
      { name: "faults", num: true, text: t => [count(t.damaged + t.errors), `${exact(t.damaged)} damaged copies, ${exact(t.errors)} errors since the start`] },
    ],
  });
  return status => {
    const { minute = {}, hour = {} } = status.rates ?? {};
    table.update((status.tiers ?? []).map(t => ({ ...t, minute: minute.tiers?.[t.name], hour: hour.tiers?.[t.name], evicted: minute.evicted?.[t.name] })));
  };
}

function membersPanel() {
  const table = new Table(byId("members"), {
    name: "Members", tall: true, key: m => m.id, empty: "no members: this node is in no ring",
    columns: [
      { name: "member", draw: memberCell },
      { name: "state", draw: pillCell(m => m.state) },
      { name: "share", num: true, draw: (cell, m) => bar(cell, m.share, share(m.share), exact(m.share), "c-ram") },
      { name: "weight", num: true, text: m => exact(m.weight) },
      { name: "RTT", num: true, text: m => m.self || !m.rtt ? "–" : [took(m.rtt), seconds(m.rtt)] },
      { name: "epoch", row: true, draw: epochCell },
      { name: "breaker", draw: (cell, m) => m.self ? say(cell, "–") : breakerCell(cell, m) },
      { name: "peer address", row: true, text: m => [m.peer ?? "", `clients ${m.data}, admin ${m.admin}`] },
      { name: "last error", wide: true, draw: (cell, m) => {
        say(cell, m.error || "none");
        dress(cell, m.error ? "wide fault" : "wide soft");
      } },
    ],
  });
  return status => {
    const ring = status.ring ?? {}, members = ring.members ?? [];
    table.update(members.map(m => ({ ...m, agrees: m.self || m.epoch === ring.epoch, ring: ring.epoch })));
    say(byId("members-note"), members.length === 0 ? "" : `${members.length} in the ring, ${ring.agreed ? "all agree on" : "not all agree on"} epoch ${ring.epoch}`);
  };
}

const breakerCell = pillCell(m => m.breaker);

function memberCell(cell, m) {
  once(cell, [m.id, m.self, m.admin].join("\n"), () => {
    const local = /^(127\.|\[::1\]|localhost|0\.0\.0\.0|\[::\]|$)/.test(m.admin ?? "");
    // An address of its own machine leads nowhere from another.
    const name = m.self || local ? el("span", {}, m.id) : el("a", { href: "http://" + m.admin + "/", rel: "noreferrer", title: "the console of " + m.id }, m.id);
    return m.self ? [name, " ", el("span", { class: "tag" }, "this node")] : [name];
  });
}

function epochCell(cell, m) {
  if (m.self) return say(cell, (m.ring ?? "").slice(0, 8), m.ring);
  if (!m.epoch) return say(cell, "not heard yet");
  const ago = m.heard > 0 ? `, ${span(m.heard)} ago` : "";
  say(cell, (m.agrees ? "same" : m.epoch.slice(0, 8)) + ago, m.epoch + ", heard " + seconds(m.heard) + " ago");
  dress(cell, m.agrees ? "row" : "row fault");
}

function fillsPanel() {
  const table = new Table(byId("fills"), {
    name: "Fills in flight", tall: true, key: f => f.key, empty: "no fills in flight",
    columns: [
      { name: "key", long: true, draw: keyCell },
      { name: "from", text: f => f.from || "asking" },
      { name: "come", num: true, draw: (cell, f) => f.size >= 0 ? bar(cell, f.bytes / f.size, `${bytes(f.bytes)} of ${bytes(f.size)}`, `${exact(f.bytes)} of ${exact(f.size)} bytes`, placeClass(f.from)) : bar(cell, 0, bytes(f.bytes), exact(f.bytes) + " bytes, of a size not known yet") },
      { name: "readers", num: true, text: f => exact(f.readers) },
      { name: "age", num: true, text: f => [took(f.age), seconds(f.age)] },
    ],
  });
  return status => {
    const fills = status.fills ?? [], all = status.fillCount ?? fills.length;
    table.update(fills);
    say(byId("fills-note"), all === 0 ? "" : fills.length < all ? `the ${fills.length} oldest of ${all}` : `${all}, oldest first`);
  };
}

function hotPanel() {
  const table = new Table(byId("hot"), {
    name: "Hot keys", tall: true, key: h => h.key, empty: "no key is read much",
    columns: [
      { name: "key", long: true, draw: keyCell },
      { name: "class", draw: pillCell(h => h.class) },
      { name: "owner", text: h => h.owner || "–" },
      { name: "reads", num: true, text: h => [rate(h.rate), exact(h.rate) + " a second"] },
      { name: "copy here", num: true, text: h => h.copy > 0 ? [bytes(h.copy), exact(h.copy) + " bytes"] : "none" },
    ],
  });
  return status => table.update(status.hot ?? []);
}

function upstreamsPanel() {
  const host = byId("upstreams");
  const empty = el("p", { class: "empty" }, "no upstream is known yet");
  const list = el("ul", { class: "upstreams" });
  const make = () => el("li", {}, el("b"), " ", el("span"), " ", el("span", { class: "soft" }), el("code"), el("span", { class: "counts" }), el("p", { class: "soft" }));
  const update = (node, u) => {
    const [name, breaker, flying, where, counts, note] = node.children;
    say(name, u.name);
    if (u.breaker) pill(breaker, u.breaker, "circuit breaker");
    breaker.hidden = !u.breaker;
    say(flying, `${count(u.inFlight)} in flight`);
    say(where, u.place ?? "");
    const results = Object.entries(u.counts ?? {}).sort(([a], [b]) => a < b ? -1 : 1);
    align(counts, results, r => r[0], r => el("span", {}, r[0].replaceAll("_", " ") + " ", el("b")), (one, r) => say(one.lastChild, count(r[1]), exact(r[1])));
    say(note, u.note ?? "");
  };
  return status => {
    const upstreams = status.upstreams ?? [];
    const show = upstreams.length > 0 ? list : empty;
    if (host.firstChild !== show) host.replaceChildren(show);
    align(list, upstreams, u => u.name, make, update);
  };
}

function slowPanel() {
  const table = new Table(byId("slow"), {
    name: "Slowest requests", tall: true, key: r => r.id + r.at, empty: "no requests in the last hour",
    columns: [
      { name: "took", num: true, text: r => [took(r.duration), seconds(r.duration)] },
      { name: "at", text: r => [clock(new Date(r.at)), r.at] },
      { name: "request", text: r => r.op },
      { name: "key", long: true, draw: (cell, r) => r.key ? keyCell(cell, r) : say(cell, "–") },
      { name: "status", num: true, draw: (cell, r) => {
        say(cell, r.status ? String(r.status) : "cut off");
        dress(cell, r.status >= 500 || !r.status ? "num fault" : "num");
      } },
      { name: "from", text: r => r.from || "–" },
      { name: "node", text: r => r.node || "–" },
      { name: "bytes", num: true, text: r => [bytes(r.bytes), exact(r.bytes)] },
      { name: "request id", draw: (cell, r) => once(cell, r.id, () => r.id ? copyable(r.id) : "–") },
      { name: "trace id", draw: (cell, r) => once(cell, r.trace, () => r.trace ? copyable(r.trace, short(r.trace)) : "–") },
    ],
  });
  return status => table.update(status.slow ?? []);
}

const short = text => text.length > 12 ? text.slice(0, 8) + "…" : text;

// "default", and "default: worked out from" something.
const isDefault = setting => setting.source.startsWith("default");

function settingsPanel() {
  const table = new Table(byId("settings"), {
    name: "Effective configuration", tall: true, key: s => s.name, empty: "no setting matches",
    columns: [
      { name: "setting", draw: (cell, s) => once(cell, s.name, () => el("code", {}, s.name)) },
      { name: "value", wide: true, draw: (cell, s) => once(cell, "=" + s.value, () => ["", "-"].includes(s.value) ? el("span", { class: "soft" }, "not set") : el("code", {}, s.value)) },
      { name: "source", wide: true, draw: (cell, s) => {
        say(cell, s.source);
        dress(cell, isDefault(s) ? "wide soft" : "wide");
      } },
    ],
  });
  let settings = [];
  const show = () => {
    const words = byId("settings-filter").value.toLowerCase().split(/\s+/);
    const changed = byId("settings-changed").checked;
    const shown = settings.filter(s => (!changed || !isDefault(s)) && words.every(w => `${s.name} ${s.value} ${s.source}`.toLowerCase().includes(w)));
    table.update(shown);
    say(byId("settings-note"), settings.length === 0 ? "none known" : `${shown.length} of ${settings.length}`);
  };
  byId("settings-filter").addEventListener("input", show);
  byId("settings-changed").addEventListener("change", show);
  return status => {
    settings = status.settings ?? [];
    show();
  };
}

export const panels = () => [answersPanel(), tiersPanel(), membersPanel(), fillsPanel(), hotPanel(), upstreamsPanel(), slowPanel(), settingsPanel()];
