import { byId, copyable, dress, el, pill, say } from "./dom.js";
import { bytes, exact, span } from "./format.js";
import { once, Table } from "./table.js";

// "Where is this key?": asked in the address of the page, #key=…, so that an
// answer can be linked to.

export class Lookup {
  constructor() {
    this.asked = 0; // counts questions: only the last one's answer counts
    byId("find").addEventListener("submit", event => {
      event.preventDefault();
      const key = byId("find-key").value;
      if (location.hash === "#key=" + encodeURIComponent(key)) this.follow();
      else location.hash = "key=" + encodeURIComponent(key);
    });
    byId("where-again").addEventListener("click", () => this.follow());
    byId("where-close").addEventListener("click", () => {
      history.pushState(null, "", location.pathname + location.search);
      this.follow();
      byId("find-key").focus();
    });
    addEventListener("hashchange", () => this.follow());
    this.follow();
  }

  follow() {
    const hash = location.hash;
    if (!hash.startsWith("#key=")) {
      byId("where").hidden = hash === "" || byId("where").hidden;
      return;
    }
    let key = hash.slice("#key=".length);
    try { key = decodeURIComponent(key); } catch { /* it is taken as it is */ }
    byId("find-key").value = key;
    this.ask(key);
  }

  async ask(key) {
    const asked = ++this.asked;
    const panel = byId("where");
    const show = (...nodes) => { if (asked === this.asked) byId("where-answer").replaceChildren(...nodes); };
    panel.hidden = false;
    panel.scrollIntoView({ block: "nearest" });
    show(el("p", { class: "empty" }, "asking every member…"));
    try {
      const answer = await fetch("lookup?key=" + encodeURIComponent(key), { headers: { Accept: "application/json" } });
      const where = await answer.json();
      if (answer.ok) show(...this.answer(where));
      else show(el("p", { class: "fault" }, where.error));
    } catch (error) {
      show(el("p", { class: "fault" }, "The node did not answer: " + error.message));
    }
  }

  answer(where) {
    const copies = where.copies ?? [], route = where.route ?? [];
    const have = copies.filter(c => (c.tiers ?? []).length > 0).length;
    const kind = pillOf(where.class);
    const facts = [
      ["class", kind], ["owner", el("b", {}, where.owner || "none")],
      ["a read would go to", route.length ? route.join(" → ") : "this node"],
      ["may be stale for", where.staleness || "no time at all"],
      ["partition", Number.isInteger(where.partition) ? String(where.partition) : "none"], ["epoch", where.epoch],
      ["copies", have === 0 ? "no member has one" : `${have} of ${copies.length} members`],
    ];
    const list = el("dl", { class: "facts" });
    for (const [name, value] of facts) list.append(el("div", {}, el("dt", {}, name), el("dd", {}, value)));
    const host = el("div");
    new Table(host, {
      name: "Copies of the key", key: c => c.node, empty: "no member was asked",
      columns: [
        { name: "member", draw: (cell, c) => once(cell, c.node, () => c.node === where.owner ? [c.node, " ", el("span", { class: "tag" }, "owner")] : [c.node]) },
        { name: "tiers", text: c => (c.tiers ?? []).join(", ") || (c.error ? "not known" : "no copy") },
        { name: "size", num: true, text: c => has(c) ? [bytes(c.size), exact(c.size) + " bytes"] : "" },
        { name: "age", num: true, text: c => has(c) ? [span(c.age), exact(c.age) + " s since it was read from the origin"] : "" },
        { name: "ETag", draw: (cell, c) => once(cell, c.etag ?? "", () => c.etag ? copyable(c.etag) : "") },
        { name: "error", wide: true, draw: (cell, c) => {
          say(cell, c.error ?? "");
          dress(cell, "wide fault");
        } },
      ],
    }).update(copies);
    return [el("p", { class: "asked" }, copyable(where.key)), list, host];
  }
}

const has = c => (c.tiers ?? []).length > 0;

function pillOf(word) {
  const node = el("span");
  pill(node, word);
  return node;
}
