// Neurons as points in two dimensions, and a line drawn round some of them.

import { choices, copy, empty, fill, make } from "./dom.js";
import { hues } from "./colours.js";
import { FINEST } from "./stage.js";
import { chosenOf, textOf } from "./state.js";

export async function cloudPanel(app, body, signal) {
  const how = app.how(), seeds = app.state.get("colour") === "seed", layouts = how.run.positions.filter((one) => one.layers.includes(how.layer));
  const fitting = layouts.filter((one) => Boolean(one.members) === seeds);
  const layout = fitting.find((one) => one.method === how.method) ?? fitting[0] ?? layouts[0];
  if (!layout) return fill(body, empty("No layout of the neurons is known yet. xinc analyse, and then xinc report, lay them out."));
  app.numbers = () => ["cloud.csv", ["layer", "neuron", "x", "y", "cluster", "network"], Array.from(layout.x, (x, n) => [layout.layers[layout.layer[n]], layout.index[n], x, layout.y[n], layout.cluster?.[n] ?? "", layout.members?.[layout.member[n]] ?? ""])];
  const totals = app.state.get("colour") === "total" ? (await app.source.ask("heat", { ...how, finest: FINEST }, { signal })).totals : null;
  const canvas = make("canvas", { class: "cloud", tabindex: 0, role: "img", "aria-label": `Cloud of ${layout.x.length} neurons by UMAP; draw round some with the mouse` });
  const said = make("p", { class: "quiet", text: `Neurons that paint alike lie together (UMAP, ${layout.method}, frame ${layout.frame}). Draw round some of ${how.layer} to see what they paint together.` });
  const group = chosenOf(app.state.get("group"));
  const colours = hues(), ways = [["layer", "layer"], ["total", "total"], ...(layouts.some((one) => one.cluster) ? [["cluster", "texture", "The cluster of textures that each serves most"]] : []),
    ...(layouts.some((one) => one.members) ? [["seed", "network", "Networks of a kind, laid out together: seeds say"]] : [])];
  const by = { cluster: layout.cluster, seed: layout.member }[app.state.get("colour")] ?? layout.layer;
  const names = by === layout.layer ? layout.layers : by === layout.member ? layout.members : null;
  fill(body, make("div", { class: "row" }, choices("Colour", ways, app.state.get("colour"), (colour) => app.state.set({ colour }))),
    canvas, make("div", { class: "keys" }, totals ? make("span", { text: "dark: little, bright: much" }) : names ? names.map((name, n) => {
      const dot = make("i", {});
      dot.style.background = colours[n % colours.length];
      return make("span", {}, dot, name);
    }) : make("span", { text: `${new Set(by).size} textures, a colour each` })), said,
    Object.keys(group).length ? make("div", { class: "row" },
      make("button", { type: "button", text: "Show what they paint", onclick: () => app.state.set({ view: "group" }) }),
      make("button", { type: "button", text: "Switch them off", onclick: () => app.switchOff(group) }),
      make("button", { type: "button", text: "Copy as JSON", onclick: () => copy(JSON.stringify(group), "Selection") })) : null);
  cloud(app, how, canvas, layout, group, totals, by, colours, said);
}

function cloud(app, how, canvas, layout, group, totals, by, colours, said) {
  const ratio = Math.min(2, devicePixelRatio || 1), width = canvas.clientWidth || 400, height = canvas.clientHeight || 320;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const paint = canvas.getContext("2d"), own = layout.layers.indexOf(how.layer), inside = new Set(group[how.layer] ?? []);
  const [left, right, top, bottom] = [Math.min(...layout.x), Math.max(...layout.x), Math.min(...layout.y), Math.max(...layout.y)];
  const at = (n) => [12 + ((layout.x[n] - left) / (right - left || 1)) * (width - 24), 12 + ((layout.y[n] - top) / (bottom - top || 1)) * (height - 24)];
  const most = totals ? Math.max(...totals) : 1;
  const ours = (n) => layout.layer[n] === own && !layout.member?.[n]; // a layout of several networks is kept with the first
  let line = [];
  const redraw = () => {
    paint.setTransform(ratio, 0, 0, ratio, 0, 0);
    paint.clearRect(0, 0, width, height);
    for (let n = 0; n < layout.x.length; n++) {
      const mine = ours(n), [x, y] = at(n), chosen = mine && inside.has(layout.index[n]);
      paint.globalAlpha = mine ? 0.9 : 0.22;
      paint.fillStyle = totals && mine ? `hsl(265 60% ${15 + 70 * Math.sqrt(totals[layout.index[n]] / most)}%)` : by[n] < 0 ? "#888" : colours[by[n] % colours.length];
      paint.beginPath();
      paint.arc(x, y, chosen ? 4.5 : mine ? 2.4 : 1.7, 0, 7);
      paint.fill();
      if (chosen || (mine && layout.index[n] === app.state.get("k"))) {
        paint.globalAlpha = 1;
        paint.lineWidth = 1.5;
        paint.strokeStyle = getComputedStyle(canvas).color;
        paint.stroke();
      }
    }
    paint.globalAlpha = 1;
    if (line.length > 1) {
      paint.strokeStyle = getComputedStyle(canvas).color;
      paint.setLineDash([4, 3]);
      paint.beginPath();
      line.forEach(([x, y], n) => (n ? paint.lineTo(x, y) : paint.moveTo(x, y)));
      paint.stroke();
      paint.setLineDash([]);
    }
  };
  const where = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    line = [where(event)];
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!line.length) return;
    line.push(where(event));
    redraw();
  });
  canvas.addEventListener("pointerup", () => {
    const drawn = line;
    line = [];
    const mine = Array.from(layout.x.keys()).filter(ours);
    if (drawn.length < 5) {
      const [x, y] = drawn[0] ?? [0, 0], gap = (n) => (at(n)[0] - x) ** 2 + (at(n)[1] - y) ** 2;
      const nearest = mine.reduce((best, n) => (gap(n) < gap(best) ? n : best), mine[0]);
      if (gap(nearest) < 200) app.look(layout.index[nearest]);
      else redraw();
      return;
    }
    const chosen = mine.filter((n) => within(at(n), drawn)).map((n) => layout.index[n]);
    if (!chosen.length) {
      said.textContent = `No neuron of ${how.layer} lies inside.`;
      return redraw();
    }
    app.state.set({ group: textOf({ [how.layer]: chosen }), view: "group" });
  });
  redraw();
}

// Whether a point lies inside a closed line.
export function within([x, y], line) {
  let inside = false;
  for (let a = 0, b = line.length - 1; a < line.length; b = a++) {
    const [[xa, ya], [xb, yb]] = [line[a], line[b]];
    if (ya > y !== yb > y && x < ((xb - xa) * (y - ya)) / (yb - ya) + xa) inside = !inside;
  }
  return inside;
}
