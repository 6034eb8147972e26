import { byId, dress, say } from "./dom.js";
import { span } from "./format.js";
import { History } from "./history.js";
import { Live } from "./live.js";
import { Lookup } from "./lookup.js";
import { showCards, showChecks, showNode } from "./overview.js";
import { panels } from "./panels.js";

const shows = panels();
let last; // the status that is shown
let fault = ""; // why there was no status since, if the node could not tell one
const history = new History(() => { if (last) showCards(last, history); });

function show(status) {
  last = status;
  fault = "";
  showNode(status);
  showChecks(status);
  showCards(status, history);
  for (const show of shows) show(status);
}

const words = { connecting: "connecting…", live: "live", stalled: "no news", reconnecting: "reconnecting…", paused: "paused" };

const live = new Live({
  url: "events",
  status: show,
  history: series => history.add(series),
  fault: error => { fault = "the node cannot say how it is: " + error; say(byId("live-state"), fault); },
  state: (state, age) => {
    dress(byId("live-dot"), "dot " + state);
    say(byId("live-state"), fault && state !== "paused" && state !== "reconnecting" ? fault : words[state]);
    say(byId("live-age"), Number.isNaN(age) || (state === "live" && age < 2) ? "" : `figures of ${span(age)} ago`);
    document.body.classList.toggle("old", state !== "live" && state !== "connecting");
  },
});

function pause() {
  live.pause(!live.paused);
  byId("pause").setAttribute("aria-pressed", String(live.paused));
  say(byId("pause"), live.paused ? "Go on" : "Pause");
}

// The themes in the order in which the button goes through them.
const themes = ["auto", "light", "dark"];

function theme(turn) {
  const root = document.documentElement;
  let name = root.dataset.theme ?? "auto";
  if (turn) name = themes[(themes.indexOf(name) + 1) % themes.length];
  if (name === "auto") delete root.dataset.theme;
  else root.dataset.theme = name;
  say(byId("theme"), "Theme: " + name);
  try {
    localStorage.setItem("micelio-theme", name);
  } catch { /* it is not remembered then */ }
}

byId("pause").addEventListener("click", pause);
byId("theme").addEventListener("click", () => theme(true));
theme(false);

addEventListener("keydown", event => {
  const typing = event.target.matches?.("input, textarea, select");
  if (event.key === "Escape" && typing) event.target.blur();
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/") {
    event.preventDefault();
    byId("find-key").select();
    byId("find-key").focus();
  }
  if (event.key === "p") pause();
});

new Lookup();
