// Figures as people read them: three digits and a unit. The exact value goes
// into a title.

const digits = (v, most) => {
  const places = Math.max(0, most - 1 - Math.floor(Math.log10(Math.abs(v) || 1)));
  return String(Number(v.toFixed(Math.min(places, 6))));
};

const scaled = (v, steps, most = 3) => {
  for (const [size, unit] of steps) {
    if (Math.abs(v) >= size * 0.9995) return digits(v / size, most) + unit;
  }
  const [size, unit] = steps[steps.length - 1];
  return digits(v / size, most) + unit;
};

const isNumber = v => typeof v === "number" && Number.isFinite(v);
const none = "–";

export const exact = v => isNumber(v) ? v.toLocaleString("en", { maximumFractionDigits: 9 }) : "";

export function count(v) {
  if (!isNumber(v)) return none;
  if (Math.abs(v) < 1e4) return v.toLocaleString("en", { maximumFractionDigits: 0 });
  return scaled(v, [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]]);
}

export function rate(v) {
  if (!isNumber(v)) return none;
  if (v > 0 && v < 0.01) return "<0.01/s";
  if (Math.abs(v) < 1e4) return (v < 100 ? digits(v, v < 1 ? 2 : 3) : Math.round(v).toLocaleString("en")) + "/s";
  return scaled(v, [[1e9, "G/s"], [1e6, "M/s"], [1e3, "k/s"]]);
}

export function bytes(v) {
  if (!isNumber(v)) return none;
  return scaled(v, [[2 ** 50, " PiB"], [2 ** 40, " TiB"], [2 ** 30, " GiB"], [2 ** 20, " MiB"], [2 ** 10, " KiB"], [1, " B"]]);
}

export const byteRate = v => isNumber(v) ? bytes(v) + "/s" : none;

export function share(v) {
  if (!isNumber(v)) return none;
  const percent = 100 * v;
  if (percent > 99 && percent < 100) return digits(Math.floor(percent * 100) / 100, 4) + "%"; // never 100% if it is not
  return percent > 0 && percent < 0.01 ? "<0.01%" : digits(percent, 3) + "%";
}

// How long something took.
export function took(v) {
  if (!isNumber(v)) return none;
  if (v === 0) return "0s";
  if (v >= 60) return span(v);
  return scaled(v, [[1, "s"], [1e-3, "ms"], [1e-6, "µs"]]);
}

// How long something lasts: its two largest units.
export function span(v) {
  if (!isNumber(v)) return none;
  const whole = Math.max(0, Math.floor(v));
  const parts = [[Math.floor(whole / 86400), "d"], [Math.floor(whole / 3600) % 24, "h"], [Math.floor(whole / 60) % 60, "min"], [whole % 60, "s"]];
  const first = parts.findIndex(([n]) => n > 0);
  if (first < 0) return "0 s";
  return parts.slice(first, first + 2).filter(([n]) => n > 0).map(([n, unit]) => n + " " + unit).join(" ");
}

export const seconds = v => isNumber(v) ? exact(v) + " s" : "";

const two = n => String(n).padStart(2, "0");

export function clock(date, withSeconds = true) {
  const text = two(date.getHours()) + ":" + two(date.getMinutes());
  return withSeconds ? text + ":" + two(date.getSeconds()) : text;
}

// What answers came from, in words.
export const place = from => from === "" ? "no read" : from;
export const placeClass = from => ["ram", "ssd", "hot", "fill", "peer", "cdn", "origin"].includes(from) ? "c-" + from : "c-other";
export const placeOrder = ["hot", "ram", "ssd", "fill", "peer", "cdn", "origin", ""];
export const byPlace = (a, b) => rank(a) - rank(b) || (a < b ? -1 : 1);
const rank = from => (placeOrder.indexOf(from) + placeOrder.length + 1) % (placeOrder.length + 1);
