import { align, el, hint, say } from "./dom.js";

// A Table shows rows, which it finds again by their key. A column has a name;
// num, if it is of numbers; and text(row), which returns a text or [text, title],
// or draw(cell, row), which fills the cell and is called again for each update; wide
// may wrap, long is cut where there is no room, row has a line of its own on a card.
// The first column is the head of its row. On a telephone a row is a card.
export class Table {
  constructor(host, { name, columns, key, empty, tall = false }) {
    this.columns = columns;
    this.key = key;
    this.host = host;
    this.empty = el("p", { class: "empty" }, empty);
    // The roles are the tables' own, which some browsers forget where a style
    // makes them cards.
    this.body = el("tbody", { role: "rowgroup" });
    const heads = columns.map(c => el("th", { scope: "col", role: "columnheader", class: c.num ? "num" : "" }, c.name));
    this.table = el("table", { role: "table", "aria-label": name },
      el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...heads)), this.body);
    this.scroll = el("div", { class: tall ? "scroll tall" : "scroll", role: "region", "aria-label": name, tabindex: "0" }, this.table);
    host.replaceChildren(this.empty);
  }

  update(rows) {
    const show = rows.length > 0 ? this.scroll : this.empty;
    if (this.host.firstChild !== show) this.host.replaceChildren(show);
    align(this.body, rows, this.key, () => this.row(), (tr, row) => this.columns.forEach((c, i) => fill(tr.children[i], c, row)));
  }

  row() {
    return el("tr", { role: "row" }, ...this.columns.map((c, i) => {
      const attributes = { class: ["num", "wide", "long", "row"].filter(look => c[look]).join(" "), "data-label": c.name };
      return i === 0 ? el("th", { scope: "row", role: "rowheader", ...attributes }) : el("td", { role: "cell", ...attributes });
    }));
  }
}

function fill(cell, column, row) {
  if (column.draw) {
    column.draw(cell, row);
    return;
  }
  const value = column.text(row);
  if (Array.isArray(value)) say(cell, value[0], value[1]);
  else {
    say(cell, value);
    hint(cell, undefined);
  }
}

// once fills a cell anew only if what it shows has changed.
export function once(cell, value, make) {
  if (cell.dataset.shows === value) return;
  cell.dataset.shows = value;
  cell.replaceChildren(...[make()].flat());
}

// bar draws a share from 0 to 1 beside its words.
export function bar(cell, share, text, title, look = "") {
  if (!cell.firstChild) {
    cell.append(el("span", { class: "bars" }, el("span", { class: "gauge", "aria-hidden": "true" }, el("i")), el("span")));
  }
  const [gauge, words] = cell.firstChild.children;
  gauge.firstChild.className = look;
  gauge.firstChild.style.width = Math.min(100, 100 * (share || 0)).toFixed(1) + "%";
  say(words, text, title);
}
