// Regions of a frame: objects that somebody marked, or what the analysis found by colour, texture or place.

import { draw } from "./colours.js";
import { make } from "./dom.js";

// The regions of a frame: labels (H, W), their names, and which are there, the largest first.
export async function regionsOf(app, how, grouping, signal) {
  if (!grouping) return null;
  const { labels, names } = await app.source.ask("labels", { run: how.run, t: how.t, grouping }, { signal });
  if (!labels) return null;
  const sizes = new Map();
  for (const label of labels) if (label >= 0) sizes.set(label, (sizes.get(label) ?? 0) + 1);
  const largest = [...sizes].sort((a, b) => b[1] - a[1]).map(([label]) => label);
  return { grouping, labels, largest, nameOf: (label) => names[label] ?? `region ${label}` };
}

// A region by its name and its look; pointing at it shows its outline in the picture, choosing it asks who paints it.
export function regionButton(app, how, regions, label, signal) {
  const canvas = make("canvas", { width: 1, height: 1, "aria-hidden": "true" });
  app.source.ask("picture", { ...how }, { signal }).then(({ original }) => draw(canvas, alone(original, how.run.size, regions.labels, label)), () => {});
  const shown = (on) => () => app.outlined(on && { grouping: regions.grouping, region: label });
  return make("button", { type: "button", class: "region", title: "Who paints it?", onpointerenter: shown(true), onpointerleave: shown(false), onfocus: shown(true), onblur: shown(false),
    onclick: () => { app.outlined(null); app.pick(`${regions.grouping}:${label}`); } }, canvas, regions.nameOf(label));
}

// A frame in which one region stands out.
function alone(picture, [H, W], labels, label) {
  const step = Math.max(1, Math.ceil(W / 56)), h = Math.ceil(H / step), w = Math.ceil(W / step), image = new ImageData(w, h), n = H * W;
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) {
      const colour = [0, 0, 0];
      let count = 0, own = 0;
      for (let yy = y * step; yy < Math.min(H, (y + 1) * step); yy++) {
        for (let xx = x * step; xx < Math.min(W, (x + 1) * step); xx++, count++) {
          const p = yy * W + xx;
          own += labels[p] === label ? 1 : 0;
          for (let c = 0; c < 3; c++) colour[c] += picture[c * n + p];
        }
      }
      const share = own / count, grey = 0.7 + (0.2 * (colour[0] + colour[1] + colour[2])) / (3 * count);
      for (let c = 0; c < 3; c++) image.data[4 * (y * w + x) + c] = 255 * Math.min(1, Math.max(0, (share * colour[c]) / count + (1 - share) * grey));
      image.data[4 * (y * w + x) + 3] = 255;
    }
  }
  return image;
}

// Which pixels of a frame a place means, (H, W) of ones and zeros.
export async function pixelsOf(app, how, place, signal) {
  const [H, W] = how.run.size, inside = new Uint8Array(H * W);
  if (place.box) {
    const [y0, x0, y1, x1] = place.box.split(",").map(Number);
    for (let y = y0; y < y1; y++) inside.fill(1, y * W + x0, y * W + x1);
    return inside;
  }
  const { labels } = await app.source.ask("labels", { run: how.run, t: how.t, grouping: place.grouping }, { signal });
  labels?.forEach((label, p) => { inside[p] = label === place.region ? 1 : 0; });
  return inside;
}
