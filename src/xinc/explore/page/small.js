// Small pictures of numbers, beside words.

import { draw, heated, peak, signed } from "./colours.js";
import { make } from "./dom.js";

// A map as a small picture; filled when it is known.
export function tile(app, how, neuron, width, signal, scale) {
  const canvas = make("canvas", { width: 64, height: 36, role: "img", "aria-label": `map of ${app.nameOf(how, neuron)}` });
  app.source.ask("map", { ...how, neuron, width, quick: how.run.live ? 1 : undefined }, { signal }).then(({ map, height, width: columns }) => {
    const flat = map.length === height * columns;
    draw(canvas, flat ? heated(map, height, columns, scale ?? peak(map)) : signed(map, height, columns, scale ?? peak(map)));
  }, () => {});
  return canvas;
}

export const SVG = (tag, attributes, ...children) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};

// Three bars about zero: what is added to red, green and blue.
export function bars(values, most) {
  const shown = ["#d33", "#2a2", "#46f"].map((fill, c) => {
    const to = 50 + 49 * Math.max(-1, Math.min(1, values[c] / most));
    return SVG("rect", { x: Math.min(50, to), y: 2 + 7 * c, width: Math.abs(to - 50) || 0.3, height: 6, fill });
  });
  return SVG("svg", { viewBox: "0 0 100 24", preserveAspectRatio: "none", "aria-hidden": "true" },
    ...shown, SVG("line", { x1: 50, x2: 50, y1: 0, y2: 24, class: "axis" }));
}
