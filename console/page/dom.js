// Small helpers around the document. Text is only ever set as text: keys are
// written by strangers.

// el makes an element. Attributes that are undefined or false are left out.
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") node.className = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

export const byId = id => document.getElementById(id);

// say sets the text of a node, and its title, where they change: a selection
// stays, and a screen reader is not told what it knows.
export function say(node, text, title) {
  if (node.textContent !== text) node.textContent = text;
  hint(node, title);
}

export function hint(node, title) {
  if (title === undefined || title === "" || title === node.textContent) node.removeAttribute("title");
  else if (node.title !== title) node.title = title;
}

export function dress(node, name) {
  if (node.className !== name) node.className = name;
}

// align gives a parent one child for each item, found again by its key, so that
// focus and selection outlive an update.
export function align(parent, items, keyOf, make, update) {
  const before = new Map([...parent.children].map(child => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  const seen = new Map();
  for (const item of items) {
    let key = String(keyOf(item));
    const count = seen.get(key) ?? 0; // two of a name are two
    seen.set(key, count + 1);
    if (count > 0) key += "\n" + count;
    let child = before.get(key);
    before.delete(key);
    if (!child) {
      child = make(item);
      child.dataset.key = key;
    }
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
    update(child, item);
  }
  for (const child of before.values()) child.remove();
}

// What stands for a private key: what its pattern begins with, ~, and some digits
// of its hash.
const standIn = /~[0-9a-f]{8}$/;

// pill is a word with a colour; the word alone says it all.
export function pill(node, word, title) {
  say(node, word, title);
  dress(node, "pill " + mood(word));
}

const moods = {
  good: ["ready", "serving", "closed", "verified"],
  warn: ["starting", "joining", "draining", "half-open"],
  bad: ["not ready", "open"],
};

function mood(word) {
  return Object.keys(moods).find(name => moods[name].includes(word)) ?? "";
}

// keyLink is a key that leads to where it is, unless the key is private: what a
// node shows instead cannot be looked up. It is cut in the middle where there is no
// room, because the ends tell keys apart.
export function keyLink(key) {
  if (standIn.test(key)) return el("span", { class: "key", title: "a private key, by what stands for it: keys that are the same have the same" }, key);
  const tail = key.length > 24 ? 10 : 0;
  return el("a", { class: "key", href: "#key=" + encodeURIComponent(key), title: key },
    el("span", {}, key.slice(0, key.length - tail)), el("span", { class: "tail" }, key.slice(key.length - tail)));
}

// copyable is a text in full that a button copies.
export function copyable(text, shown = text) {
  const button = el("button", { type: "button", class: "copy", "aria-label": "Copy " + text, title: "Copy " + text }, sheets());
  const code = el("code", { title: text }, shown);
  button.addEventListener("click", async () => {
    const ok = await copy(text);
    button.replaceChildren(ok ? "✓" : "✗");
    setTimeout(() => button.replaceChildren(sheets()), 1200);
  });
  return el("span", { class: "copyable" }, code, button);
}

// svg makes an element of a drawing.
export function svg(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// Two sheets, one behind the other.
const sheets = () => svg("svg", { class: "sheets", viewBox: "0 0 16 16", "aria-hidden": "true" }, svg("path", { d: "M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3" }));

// copy uses the way of old where the page is not from a trusted address: browsers
// have the new one for localhost and HTTPS only.
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = el("textarea", { class: "hide", "aria-hidden": "true" });
    const focused = document.activeElement;
    area.value = text;
    document.body.append(area);
    area.select();
    const ok = document.execCommand("copy");
    area.remove();
    focused?.focus();
    return ok;
  }
}
