import { spark, sparkPlane } from "./chart.js";
import { align, byId, dress, el, pill, say } from "./dom.js";
import { byteRate, bytes, count, exact, rate, seconds, share, span, took } from "./format.js";

// What stands above everything: who this is, if it is ready, and the figures
// that tell if it does well.

export function showNode(status) {
  const n = status.node ?? {}, ring = status.ring ?? {}, members = ring.members ?? [];
  say(byId("node-id"), n.id || "micelio", n.id);
  byId("node-state").hidden = !n.state;
  pill(byId("node-state"), n.state ?? "");
  document.title = (n.state && n.state !== "ready" ? n.state + " – " : "") + (n.id || "micelio") + " – micelio";
  const up = (Date.parse(status.at) - Date.parse(n.started)) / 1000;
  const heard = members.filter(m => m.self || m.epoch === ring.epoch).length;
  const facts = [
    ["cluster", n.cluster], ["version", [n.version, n.revision && "(" + n.revision.slice(0, 9) + ")"].filter(Boolean).join(" "), [n.revision, n.go].filter(Boolean).join(", ")],
    ["up", span(up), "since " + n.started],
    ["epoch", ring.epoch ? ring.epoch.slice(0, 8) + (ring.agreed ? " · all agree" : ` · ${heard} of ${members.length} agree`) : "", ring.epoch, ring.agreed ? "good" : "bad"],
    ["bucket", n.bucket], ["clients", n.data, "peers " + n.peer + ", admin " + n.admin + ", gossip " + n.gossip],
  ].filter(([, value]) => value);
  align(byId("node-facts"), facts, f => f[0], f => el("div", {}, el("dt", {}, f[0]), el("dd")), (node, [, value, title, look]) => {
    say(node.lastChild, value, title);
    dress(node.lastChild, look ?? "");
  });
}

const marks = { good: "✓", warn: "!", bad: "✗" };
const markWords = { good: "passes: ", warn: "to be known: ", bad: "fails: " };

export function showChecks(status) {
  const checks = (status.checks ?? []).map(c => ({ ...c, look: c.ok ? "good" : c.says ? "warn" : "bad" }));
  const state = status.node?.state ?? "";
  const failing = checks.filter(c => c.look === "bad"), warning = checks.filter(c => c.look === "warn");
  const look = failing.length || state === "not ready" ? "bad" : state !== "ready" || warning.length ? "warn" : "good";
  const word = state ? state[0].toUpperCase() + state.slice(1) : "State unknown";
  let line = `${word}: `;
  if (failing.length) line += failing.map(c => c.name + " – " + c.text).join("; ");
  else line += checks.length === 0 ? "no checks" : checks.length === 1 ? "its check passes" : warning.length ? `${checks.length - warning.length} of ${checks.length} checks pass` : `all ${checks.length} checks pass`;
  if (warning.length) line += `; ${warning.map(c => c.name + " – " + c.text).join("; ")}`;
  dress(byId("ready"), "verdict " + look);
  say(byId("ready-line"), line);
  align(byId("ready-list"), checks, c => c.name,
    () => el("li", {}, el("span", { class: "mark", "aria-hidden": "true" }), el("span", { class: "hide" }), el("b"), " ", el("span")),
    (node, c) => {
      dress(node, c.look);
      say(node.children[0], marks[c.look]);
      say(node.children[1], markWords[c.look]);
      say(node.children[2], c.name);
      say(node.children[3], c.text);
    });
}

export function showCards(status, history) {
  const minute = status.rates?.minute ?? {}, hour = status.rates?.hour ?? {}, n = status.node ?? {};
  const answers = status.answers ?? [];
  const hot = answers.find(a => a.from === "ram" && a.rate > 0) ?? answers.find(a => a.from === "hot" && a.rate > 0);
  const reads = answers.some(a => a.from !== "" && a.rate > 0);
  const curve = name => history.values(name);
  const cards = [
    { name: "Requests", value: rate(minute.requests), title: exact(minute.requests), note: `out ${byteRate(minute.bytesOut)}, in ${byteRate(minute.bytesIn)}`, curve: curve("requests"), look: "c-ram" },
    { name: "Hit ratio", value: reads ? share(minute.hits) : "–", title: exact(minute.hits), note: `${share(hour.hits)} over ${hourName(hour)}`, curve: history.hits(), look: "c-peer" },
    { name: "p99 of hot reads", value: hot ? took(hot.p99) : "–", title: hot && seconds(hot.p99), note: hot ? `p50 ${took(hot.p50)}, from ${hot.from}` : "none in the last minute", curve: curve("p99/" + (hot?.from ?? "ram")), look: "c-fill" },
    { name: "Origin requests", value: rate(minute.origin), title: exact(minute.origin), note: `${rate(hour.origin)} over ${hourName(hour)}`, curve: curve("origin"), look: "c-origin" },
    { name: "Failed (5xx)", value: rate(minute.failed), title: exact(minute.failed), note: minute.requests > 0 ? `${share(minute.failed / minute.requests)} of requests` : "no requests", bad: minute.failed > 0, curve: curve("failed"), look: "c-bad" },
    { name: "CPU cores", value: minute.cpu === undefined ? "–" : minute.cpu.toFixed(2), title: `${exact(minute.cpu)} cores, ${exact(n.memory)} bytes of memory, ${exact(n.openFiles)} open files`, note: `${bytes(n.memory)}, ${count(n.goroutines)} goroutines`, curve: curve("cpu"), look: "c-other" },
  ];
  align(byId("cards"), cards, c => c.name,
    c => el("div", { class: "card" }, el("dt", {}, c.name), el("dd", { class: "value" }), el("dd", { class: "note" }), el("dd", { "aria-hidden": "true" }, sparkPlane())),
    (node, c) => {
      const [, value, note, plane] = node.children;
      say(value, c.value, c.title);
      dress(value, c.bad ? "value bad" : "value");
      say(note, c.note);
      const until = history.at.at(-1);
      if (node.until !== until) spark(plane.firstChild, c.curve, c.curve.some(v => v > 0) ? c.look : "c-none");
      node.until = until;
    });
}

const hourName = hour => hour.seconds >= 3500 ? "1 h" : span(hour.seconds ?? 0);
