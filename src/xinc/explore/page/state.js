// What is looked at, all of it in the address: every view is a link.

// Each key: how it is read from the address, and its value where the address is silent.
const KEYS = {
  run: [String, ""], t: [Number, 0], layer: [String, ""], method: [String, "exact"], view: [String, "picture"],
  tab: [String, "place"], tool: [String, "point"], place: [String, ""], k: [Number, -1], off: [String, ""], only: [Number, 0],
  size: [Number, 0], b: [String, ""], area: [Number, 0.1], group: [String, ""], n: [Number, 0], colour: [String, "layer"],
  regions: [String, ""],
};

export class State {
  constructor() {
    this.values = {};
    this.watchers = [];
    this.read();
    addEventListener("hashchange", () => {
      const before = { ...this.values };
      this.read();
      this.tell(before);
    });
  }

  read() {
    const given = new URLSearchParams(location.hash.slice(1));
    for (const [key, [read, otherwise]] of Object.entries(KEYS)) {
      const value = given.has(key) ? read(given.get(key)) : otherwise;
      this.values[key] = Number.isNaN(value) ? otherwise : value;
    }
  }

  get(key) {
    return this.values[key];
  }

  set(changes) {
    const before = { ...this.values };
    Object.assign(this.values, changes);
    this.tell(before);
  }

  tell(before) {
    const changed = new Set(Object.keys(KEYS).filter((key) => before[key] !== this.values[key]));
    if (!changed.size) return;
    try { history.replaceState(null, "", `#${this.address()}`); } catch { /* a page inside a notebook has no address */ }
    for (const watch of this.watchers) watch(changed);
  }

  watch(watcher) {
    this.watchers.push(watcher);
  }

  address() {
    const parts = Object.entries(KEYS).filter(([key, [, otherwise]]) => this.values[key] !== otherwise);
    return parts.map(([key]) => `${key}=${encodeURIComponent(this.values[key]).replace(/%2C/g, ",").replace(/%3A/g, ":").replace(/%3B/g, ";")}`).join("&");
  }
}

// "40,100" a pixel, "10,20,30,50" a box (y0, x0, y1, x1), "segments:3" a region.
export function placeOf(text) {
  if (!text) return null;
  if (text.includes(":")) {
    const at = text.lastIndexOf(":");
    return { grouping: text.slice(0, at), region: Number(text.slice(at + 1)) };
  }
  const numbers = text.split(",").map(Number);
  if (numbers.some((n) => !Number.isInteger(n))) return null;
  if (numbers.length === 2) return { box: [numbers[0], numbers[1], numbers[0] + 1, numbers[1] + 1].join(","), pixel: numbers };
  return numbers.length === 4 ? { box: numbers.join(",") } : null;
}

// "block3:1,2;head:5" as neurons by layer, and back.
export function chosenOf(text) {
  const chosen = {};
  for (const part of text.split(";").filter(Boolean)) {
    const [layer, numbers] = part.split(":");
    const neurons = (numbers ?? "").split(",").filter(Boolean).map(Number).filter(Number.isInteger);
    if (neurons.length) chosen[layer] = neurons;
  }
  return chosen;
}

export const textOf = (chosen) => Object.entries(chosen).filter(([, neurons]) => neurons.length)
  .map(([layer, neurons]) => `${layer}:${neurons.join(",")}`).join(";");
