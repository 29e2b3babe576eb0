// The answers beside the picture, one function a tab. Each fills its body and stops when it is no longer wanted.

import { choices, copy, empty, fill, make, percent, save, waiting, written } from "./dom.js";
import { absolute, decibels, draw, heated, peak, pictured, signed } from "./colours.js";
import { chosenOf } from "./state.js";
import { cloudPanel } from "./cloud.js";
import { FINEST } from "./stage.js";

const LISTED = 12;
// Neurons of a layer up to which the page offers to measure how much of each is unique: some seconds.
const UNIQUE = 4096;

export const TABS = {
  place: ["Here", placePanel, ["place", "off", "k"]],
  neuron: ["Neuron", neuronPanel, ["k", "off", "size"]],
  off: ["Switched off", offPanel, ["off", "only"]],
  layer: ["Layer", layerPanel, ["area", "n"]],
  cloud: ["Cloud", cloudPanel, ["colour", "group"]],
  trust: ["Trust", trustPanel, []],
};

// A map as a small picture; filled when it is known.
export function tile(app, how, neuron, width, signal, scale) {
  const canvas = make("canvas", { width: 64, height: 36, role: "img", "aria-label": `map of ${app.nameOf(how, neuron)}` });
  app.source.ask("map", { ...how, neuron, width }, { signal }).then(({ map, height, width: columns }) => {
    const flat = map.length === height * columns;
    draw(canvas, flat ? heated(map, height, columns, scale ?? peak(map)) : signed(map, height, columns, scale ?? peak(map)));
  }, () => {});
  return canvas;
}

const SVG = (tag, attributes, ...children) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};

// Three bars about zero: what is added to red, green and blue.
function bars(values, most) {
  const shown = ["#d33", "#2a2", "#46f"].map((fill, c) => {
    const to = 50 + 49 * Math.max(-1, Math.min(1, values[c] / most));
    return SVG("rect", { x: Math.min(50, to), y: 2 + 7 * c, width: Math.abs(to - 50) || 0.3, height: 6, fill });
  });
  return SVG("svg", { viewBox: "0 0 100 24", preserveAspectRatio: "none", "aria-hidden": "true" },
    ...shown, SVG("line", { x1: 50, x2: 50, y1: 0, y2: 24, class: "axis" }));
}

const signedText = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;
const rgb = (values) => `red ${written(values[0])}, green ${written(values[1])}, blue ${written(values[2])}`;

// Everything about who paints a place, from an answer: neurons by size, sums, what is left.
export function ranking(answer) {
  const coloured = Boolean(answer.terms), count = coloured ? answer.terms.length / 3 : answer.sizes.length;
  const sizes = coloured ? new Float32Array(count) : answer.sizes, sums = [0, 0, 0];
  for (let k = 0; coloured && k < count; k++) {
    for (let c = 0; c < 3; c++) {
      sizes[k] += Math.abs(answer.terms[3 * k + c]);
      sums[c] += answer.terms[3 * k + c];
    }
  }
  if (answer.known !== undefined) sums.splice(0, 3, ...(answer.sums ?? sums)); // the others are not all here
  const order = Array.from(sizes.keys()).sort((a, b) => sizes[b] - sizes[a] || a - b);
  const total = answer.size ?? sizes.reduce((sum, size) => sum + size, 0), cumulative = new Float32Array(count);
  let held = 0, half = count;
  order.forEach((k, rank) => {
    held += sizes[k];
    cumulative[rank] = held / (total || 1);
    if (half === count && held >= total / 2) half = rank + 1;
  });
  return { coloured, count, sizes, order, total, cumulative, half, sums };
}

async function placePanel(app, body, signal) {
  const place = app.placed(), how = app.how();
  if (!place) return fill(body, empty("Point at a pixel of the picture, drag a box over it, or choose an object: here stands who paints it."),
    await objects(app, how, signal));
  const answer = await app.source.ask("at", { ...how, place }, { signal });
  const found = ranking(answer), { coloured, count, sizes, order, sums } = found;
  const off = chosenOf(app.state.get("off"))[how.layer] ?? [], few = order.slice(0, Math.min(LISTED, answer.known ?? LISTED));
  const colour = Array.from(answer.value, (value) => Math.round(255 * Math.max(0, Math.min(1, value))));
  const swatch = make("span", { class: "swatch" });
  swatch.style.background = `rgb(${colour.join(" ")})`;
  const where = place.pixel ? `Pixel ${place.pixel[0]}, ${place.pixel[1]}` : place.grouping ? await app.regionName(how, place) : "A box";
  const most = coloured ? Math.max(...few.flatMap((k) => [0, 1, 2].map((c) => Math.abs(answer.terms[3 * k + c]))), 1e-12) : 0;
  let sumsMost = 1;
  const three = (k) => Array.from(answer.terms.subarray(3 * k, 3 * k + 3));
  const row = (k) => make("li", { class: k === app.state.get("k") ? "now" : "" },
    app.hovered ? make("span", { class: "blank" }) : tile(app, how, k, 64, signal),
    make("button", { type: "button", class: "name", text: app.shortOf(how, k), title: "What else does it paint?", onclick: () => app.look(k) }),
    coloured ? make("span", { role: "img", "aria-label": rgb(three(k)) }, bars(three(k), most)) : make("span", { class: "number", text: written(sizes[k]) }),
    make("span", { class: "number", text: percent(sizes[k] / (found.total || 1)) }),
    app.offButton(how.layer, k, off.includes(k)));
  const whole = (text, values, last) => make("li", { class: last ? "whole sum" : "whole" }, make("span", { text }),
    make("span", { role: "img", "aria-label": rgb(values) }, bars(values, sumsMost)), make("span", { class: "three", "aria-hidden": "true" }, values.map((value) => make("span", { text: signedText(value) }))));
  const rest = sums.map((sum, c) => sum - few.reduce((part, k) => part + (coloured ? answer.terms[3 * k + c] : 0), 0));
  const list = make("ol", { class: coloured ? "ranked" : "ranked plain", "aria-label": "Neurons by what they add here" }, few.map(row));
  if (coloured) {
    const led = sums.map((sum, c) => sum - rest[c]), bias = answer.bias ?? [0, 0, 0], bent = Array.from(answer.value, (value, c) => value - sums[c] - bias[c]);
    const parts = [[`these ${few.length} together`, led], ...(count > few.length && !(answer.known && !answer.sums) ? [[`the ${written(count - few.length)} others`, rest]] : []),
      ...(answer.bias ? [["the layer's bias", Array.from(bias)]] : []), [answer.bias ? "later layers' own part" : "everything else", bent], ["what stands here", Array.from(answer.value)]];
    sumsMost = Math.max(...parts.flatMap(([, values]) => values.map(Math.abs)), 1e-12);
    list.append(...parts.map(([text, values], n) => whole(text, values, n === parts.length - 1)));
  }
  fill(body,
    make("h2", {}, swatch, `${where}, frame ${how.t}`),
    make("p", { class: "sentence", text: answer.known && !answer.size ? `The strongest of the ${answer.known} neurons of ${how.layer} whose maps this page holds.`
      : `${few.length} of ${written(count)} neurons of ${how.layer} make ${percent(found.cumulative[few.length - 1])} of what is painted here${found.half <= (answer.known ?? count) ? `; ${written(found.half)} make half of it` : ""}.` }),
    list, answer.known === undefined ? curve(found) : null,
    make("div", { class: "row" },
      ...(how.run.still ? [] : [make("button", { type: "button", text: `Switch these ${few.length} off`, onclick: () => app.switchOff({ [how.layer]: few }) }),
        make("button", { type: "button", text: "Only these", title: "Switch all others of the layer off", onclick: () => app.switchOff({ [how.layer]: few }, 1) })]),
      make("button", { type: "button", text: "Save as CSV", onclick: () => app.saveNumbers() })),
    app.hovered ? null : await objects(app, how, signal));
  app.numbers = () => ["neurons.csv", coloured ? ["layer", "neuron", "red", "green", "blue", "size"] : ["layer", "neuron", "size"],
    order.map((k) => [how.layer, k, ...(coloured ? three(k) : []), sizes[k]])];
}

// The share of everything that the leading neurons hold.
function curve({ cumulative, count }) {
  const points = [], log = Math.log(count || 1) || 1;
  for (let n = 0; n <= 60; n++) {
    const rank = Math.min(count - 1, Math.round(Math.exp((n / 60) * log)) - 1);
    points.push(`${(100 * Math.log(rank + 1)) / log},${60 - 58 * cumulative[rank]}`);
  }
  const half = cumulative.findIndex((share) => share >= 0.5), chart = SVG("svg", { viewBox: "0 0 100 60", preserveAspectRatio: "none", class: "chart", role: "img",
    "aria-label": `${half + 1} neurons hold half` }, SVG("line", { x1: 0, x2: 100, y1: 31, y2: 31 }), SVG("path", { d: `M${points.join("L")}` }));
  return make("figure", { class: "tiles-one" }, chart, make("figcaption", { class: "quiet", text: `Share held by the first 1 to ${written(count)} neurons (logarithmic); the line is one half.` }));
}

async function objects(app, how, signal) {
  const grouping = app.grouping();
  if (!grouping) return null;
  const { labels, names } = await app.source.ask("labels", { run: how.run, t: how.t, grouping }, { signal });
  if (!labels) return null;
  const sizes = new Map();
  for (const label of labels) if (label >= 0) sizes.set(label, (sizes.get(label) ?? 0) + 1);
  const largest = [...sizes].sort((a, b) => b[1] - a[1]).slice(0, 14);
  return make("div", {}, make("h3", { text: grouping === "segments" ? "Objects of this frame" : `Regions by ${grouping}` }),
    make("div", { class: "chips" }, largest.map(([label]) => make("button", { type: "button", text: names[label] ?? `region ${label}`,
      onclick: () => app.pick(`${grouping}:${label}`) }))));
}

async function neuronPanel(app, body, signal) {
  const how = app.how(), k = app.state.get("k");
  if (k < 0 || k >= app.layerOf(how).neurons) return fill(body, empty(`Choose a neuron of ${how.layer}: from the list under Here, by its number, or from the cloud.`),
    numberField(app, how));
  const [{ map, height, width }, { kernel }] = await Promise.all([
    app.source.ask("map", { ...how, neuron: k }, { signal }),
    app.source.ask("kernel", { ...how, neuron: k }, { signal }).catch(() => ({})),
  ]);
  const sizes = absolute(map, height, width), most = peak(sizes), coloured = map.length === 3 * height * width;
  const total = sizes.reduce((sum, value) => sum + value, 0), reached = sizes.filter((value) => value > most / 10).length / sizes.length;
  const off = (chosenOf(app.state.get("off"))[how.layer] ?? []).includes(k);
  const picture = draw(make("canvas", { role: "img", "aria-label": `map of ${app.nameOf(how, k)}` }),
    coloured && !app.state.get("size") ? signed(map, height, width, peak(map)) : heated(sizes, height, width, most));
  const drawn = kernel && draw(make("canvas", { class: "kernel", role: "img", "aria-label": "its weights" }), signed(kernel, kernel.shape[0], kernel.shape[1], peak(kernel)));
  const fact = (term, value) => make("div", {}, make("dt", { text: term }), make("dd", { text: value }));
  const rank = fact("rank in the layer", "…"), alone = fact("its own", "–"), neighbours = make("div", {}, waiting("Looking for its like …")), course = make("div", {});
  fill(body,
    make("div", { class: "row" }, make("h2", { text: app.nameOf(how, k) }),
      make("button", { type: "button", text: "‹", title: "Previous by rank", "aria-label": "Previous neuron by rank", onclick: () => app.step(-1) }),
      make("button", { type: "button", text: "›", title: "Next by rank", "aria-label": "Next neuron by rank", onclick: () => app.step(1) })),
    make("div", { class: "tiles" }, make("button", { type: "button", title: "Show it large", onclick: () => app.state.set({ view: "neuron" }) }, picture, make("span", { text: "what it paints" })),
      drawn ? make("figure", {}, drawn, make("figcaption", { text: kernel.shape[0] * kernel.shape[1] === 1 ? "its weight" : kernel.shape[0] === 1 ? "its outgoing weights" : "its kernel" })) : null),
    coloured ? choices("Show", [["0", "signed colour", "grey is nothing"], ["1", "absolute", "sum over colours"]], String(app.state.get("size")), (value) => app.state.set({ size: Number(value) })) : null,
    make("dl", { class: "facts" }, fact("total Σ|C|", written(total)), fact("pixels reached", percent(reached)), rank, alone,
      ...(await strongest(app, how, sizes, width, signal))),
    make("div", { class: "row" }, app.offButton(how.layer, k, off, true),
      how.run.still ? null : make("button", { type: "button", text: "Only this one", onclick: () => app.switchOff({ [how.layer]: [k] }, 1) }), numberField(app, how)),
    course, make("h3", { text: "Neighbours" }), neighbours);
  const ranked = () => {
    rank.lastChild.textContent = "…";
    return app.order(how).then((found) => { rank.lastChild.textContent = `${written(found.indexOf(k) + 1)} of ${written(found.length)}`; }, () => { rank.lastChild.textContent = "–"; });
  };
  alone.title = "Share of its energy that no other neurons of the layer make up for";
  const measured = () => app.source.ask("unique", { run: how.run, t: how.t, layer: how.layer }, { signal }).then(({ shares }) => { alone.lastChild.textContent = percent(shares[k]); }, () => { alone.lastChild.textContent = "–"; });
  if (app.coloured(how) && how.run.unique[how.layer]?.includes(how.t)) measured();
  else if (app.coloured(how) && how.run.live && app.layerOf(how).neurons <= UNIQUE) alone.lastChild.replaceChildren(make("button", { type: "button", text: "Measure it", id: "unique", onclick: () => { alone.lastChild.textContent = "…"; measured(); } }));
  app.numbers = () => ["neuron.csv", ["what", "value"], [["layer", how.layer], ["neuron", k], ["frame", how.t], ["method", how.method], ["total", total], ["pixels reached", reached], ["its own", alone.lastChild.textContent], ...(app.course ?? []).map(([t, value]) => [`total of frame ${t}`, value])]];
  const cheap = app.layerOf(how).neurons * height * width < 2 ** 28;
  if (!cheap) rank.lastChild.replaceChildren(make("button", { type: "button", text: "Rank it", title: "Goes through all neurons of the layer, which takes a while", onclick: ranked }));
  if (!cheap && how.run.frames > 1) fill(course, make("button", { type: "button", text: "Follow it over time", onclick: () => { fill(course, waiting()); over(app, how, k, course, signal); } }));
  await Promise.allSettled([near(app, how, k, neighbours, signal), cheap ? over(app, how, k, course, signal) : null]);
  if (cheap && !signal.aborted) await ranked();
}

// The regions that it is strongest in, by mean |C|.
async function strongest(app, how, sizes, columns, signal) {
  const grouping = app.grouping();
  if (!grouping) return [];
  const { labels, names } = await app.source.ask("labels", { run: how.run, t: how.t, grouping }, { signal });
  if (!labels) return [];
  const sums = new Map(), W = how.run.size[1], step = Math.ceil(W / columns);
  labels.forEach((label, p) => {
    if (label < 0) return;
    const [sum, count] = sums.get(label) ?? [0, 0], cell = step === 1 ? p : Math.floor(Math.floor(p / W) / step) * columns + Math.floor((p % W) / step);
    sums.set(label, [sum + sizes[cell], count + 1]);
  });
  const best = [...sums].sort((a, b) => b[1][0] / b[1][1] - a[1][0] / a[1][1]).slice(0, 2);
  return best.map(([label], n) => make("div", {}, make("dt", { text: n ? "then in" : "strongest in" }), make("dd", { text: names[label] ?? `region ${label}` })));
}

// Neurons that paint alike, and those that cancel it.
async function near(app, how, k, body, signal) {
  if (!app.coloured(how)) return fill(body, empty("Likeness needs signed maps: choose the method exact."));
  const { products } = await app.source.ask("gram", { ...how, neuron: k }, { signal });
  const own = products[k] || 1e-30, others = Array.from(products.keys()).filter((n) => n !== k).sort((a, b) => products[b] - products[a]);
  const shown = [...others.slice(0, 4), ...others.slice(-4).reverse()].filter((n) => Math.abs(products[n]) > 1e-9 * Math.abs(own));
  fill(body, make("div", { class: "tiles" }, shown.map((n) => {
    const share = products[n] / own;
    return make("button", { type: "button", onclick: () => app.look(n) }, tile(app, how, n, 128, signal),
      make("span", { text: `${app.shortOf(how, n)}: ${share > 0 ? "repeats" : "cancels"} ${percent(Math.abs(share))} of it` }));
  })));
}

// Its course over the frames of a clip.
async function over(app, how, k, body, signal) {
  if (how.run.frames < 2) return;
  const { frames, totals } = await app.source.ask("course", { ...how, neuron: k }, { signal });
  if (frames.length < 2) return;
  app.course = Array.from(frames, (t, n) => [t, totals[n]]);
  const most = Math.max(...totals, 1e-12), last = how.run.frames - 1;
  const points = Array.from(frames, (t, n) => [(100 * t) / last, 58 - (56 * totals[n]) / most]);
  const now = points.reduce((best, point, n) => (Math.abs(frames[n] - how.t) < Math.abs(frames[best] - how.t) ? n : best), 0);
  fill(body, make("h3", { text: "Over time" }), SVG("svg", { viewBox: "0 0 100 60", preserveAspectRatio: "none", class: "chart", role: "img",
    "aria-label": `total from ${written(Math.min(...totals))} to ${written(most)}` }, SVG("path", { d: `M${points.map((point) => point.join(",")).join("L")}` }),
    SVG("line", { x1: points[now][0], x2: points[now][0], y1: 0, y2: 60 })),
    make("p", { class: "quiet", text: `Its total in ${frames.length} frames, between ${percent(Math.min(...totals) / most)} and 100\u2009% of its most.` }));
}

function numberField(app, how) {
  const last = app.layerOf(how).neurons - 1;
  const field = make("input", { type: "number", min: 0, max: last, value: Math.max(0, app.state.get("k")), "aria-label": `number of a neuron, 0 to ${last}`, id: "number" });
  return make("form", { class: "row", onsubmit: (event) => { event.preventDefault(); app.look(Math.max(0, Math.min(last, Math.round(Number(field.value) || 0)))); } },
    field, make("button", { text: "Go" }));
}

async function offPanel(app, body, signal) {
  const how = app.how(), chosen = chosenOf(app.state.get("off")), only = app.state.get("only");
  const layers = Object.entries(chosen);
  if (!layers.length) return fill(body, empty("Nothing is switched off. Switch neurons off under Here or Neuron, or a group from the cloud: the network is run without them."), undo(app));
  const count = layers.reduce((sum, [, neurons]) => sum + neurons.length, 0);
  const [{ original, picture: full }, { picture, predicted }] = await Promise.all([
    app.source.ask("picture", how, { signal }), app.source.ask("without", { ...how, chosen, only }, { signal })]);
  const [H, W] = how.run.size, before = decibels(original, full), after = decibels(original, picture), foreseen = decibels(original, predicted);
  const lost = full.map((value, n) => value - picture[n]);
  const tile = (text, image, view) => make("button", { type: "button", onclick: () => app.state.set({ view }) }, draw(make("canvas", { role: "img", "aria-label": text }), image), make("span", { text }));
  const fact = (term, value) => make("div", {}, make("dt", { text: term }), make("dd", { text: value }));
  const json = JSON.stringify(chosen);
  app.numbers = () => ["switched-off.csv", ["what", "value"], [["frame", how.t], ["all but these", only], ...(how.run.reference === false ? [] : [["PSNR before in dB", before]]), ["PSNR without in dB", after], ["PSNR predicted in dB", foreseen],
    ...layers.map(([layer, neurons]) => [layer, neurons.join(" ")])]];
  fill(body,
    make("h2", { text: only ? `Only ${written(count)} neurons stay of their layers` : `${written(count)} neuron${count === 1 ? "" : "s"} switched off` }),
    make("p", { class: "sentence", text: how.run.reference === false
      ? `${after.toFixed(2)} dB to the whole picture; to first order, ${foreseen.toFixed(2)} dB was to be expected.`
      : `The frame goes from ${before.toFixed(2)} to ${after.toFixed(2)} dB; to first order, ${foreseen.toFixed(2)} dB was to be expected.` }),
    make("div", { class: "tiles" }, tile("without them, the network run", pictured(picture, H, W), "without"), tile("what is lost", signed(lost, H, W, peak(lost)), "lost"), tile("as predicted", pictured(predicted, H, W), "predicted")),
    make("dl", { class: "facts" }, how.run.reference === false ? null : fact("PSNR before", `${before.toFixed(2)} dB`), fact("without", `${after.toFixed(2)} dB`), fact("predicted", `${foreseen.toFixed(2)} dB`)),
    make("label", { class: "row" }, make("input", { type: "checkbox", checked: Boolean(only), onchange: (event) => app.state.set({ only: Number(event.target.checked) }) }), "all but these"),
    layers.map(([layer, neurons]) => make("div", {}, make("h3", { text: layer }), make("div", { class: "chips" },
      neurons.slice(0, 60).map((k) => make("button", { type: "button", title: "Switch it on again", text: `${app.shortOf({ ...how, layer }, k)} ×`, onclick: () => app.toggle(layer, k) })),
      neurons.length > 60 ? make("span", { class: "quiet", text: `and ${written(neurons.length - 60)} more` }) : null))),
    make("div", { class: "row" }, undo(app), make("button", { type: "button", text: "Switch all on", onclick: () => app.switchOff({}, 0) }),
      make("button", { type: "button", text: "Copy as JSON", onclick: () => copy(json, "Selection") }),
      make("button", { type: "button", text: "Save as JSON", onclick: () => save("selection.json", json, "application/json") })));
}

const undo = (app) => make("button", { type: "button", text: "Undo", id: "undo", disabled: !app.past.length, onclick: () => app.undo() });

async function layerPanel(app, body, signal) {
  const how = app.how(), layer = app.layerOf(how), area = app.state.get("area");
  const scores = how.run.groupings.flatMap(({ name, scores }) => scores.filter((one) => one.layer === how.layer && one.method === how.method).map((one) => [name, one.score]));
  const principal = make("div", {});
  app.numbers = async () => {
    const { totals } = await app.source.ask("heat", { ...how, finest: how.run.live ? FINEST : 8 });
    return ["layer.csv", ["layer", "neuron", "total"], Array.from(totals, (value, k) => [how.layer, k, value])];
  };
  const slider = make("input", { type: "range", id: "area", min: 0.02, max: 0.98, step: 0.02, value: area, "aria-label": "share of everything that the counted neurons hold",
    onchange: () => app.state.set({ area: Number(slider.value), view: "density" }), oninput: () => { shown.textContent = percent(Number(slider.value)); } });
  const shown = make("output", { for: "area", text: percent(area) });
  fill(body,
    make("h2", { text: `${how.layer}: ${written(layer.neurons)} neurons` }),
    make("p", { class: "quiet", text: layer.kind === "linear" ? "A neuron is an input feature of this linear layer." : `A neuron is one kernel: ${written(layer.neurons / layer.outputs)} inputs × ${written(layer.outputs)} outputs.` }),
    make("div", { class: "row" }, make("button", { type: "button", text: "Show its heatmap", onclick: () => app.state.set({ view: "heat" }) })),
    make("h3", { text: "Neurons per pixel" }),
    make("label", { class: "row" }, slider, shown),
    make("p", { class: "quiet", text: "How many neurons it takes at each pixel to hold this share of everything the layer paints." }),
    scores.length ? [make("h3", { text: "What it groups by" }), make("div", { class: "scrolled" }, table(["grouping", "median score"], scores.map(([name, score]) => [name, written(score)])))] : null,
    make("h3", { text: "Principal contributions" }), principal);
  if (!app.coloured(how)) return fill(principal, empty("They need signed maps: choose the method exact."));
  const known = app.wanted.has(`principal ${how.layer}`);
  if (!known) {
    return fill(principal, make("p", { class: "quiet", text: "The few independent pictures that the layer really paints." }),
      make("button", { type: "button", text: "Compute them", id: "principal", onclick: () => { app.wanted.add(`principal ${how.layer}`); app.panel(); } }));
  }
  fill(principal, waiting());
  const { pictures, squares } = await app.source.ask("principal", { ...how, count: 6 }, { signal,
    part: (answer) => answer?.part && fill(principal, waiting(`Working, ${percent(answer.part)} …`)) });
  const [H, W] = how.run.size;
  fill(principal, make("div", { class: "tiles" }, pictures.map((picture, n) => make("button", { type: "button", onclick: () => app.state.set({ view: "principal", n }) },
    draw(make("canvas", { role: "img", "aria-label": `principal contribution ${n + 1}` }), signed(picture, H, W, peak(picture))),
    make("span", { text: `${n + 1}: energy ${percent(squares[n] / squares[0])} of the first` })))));
}

const table = (columns, rows) => make("table", {}, make("thead", {}, make("tr", {}, columns.map((text) => make("th", { text })))),
  make("tbody", {}, rows.map((row) => make("tr", {}, row.map((text) => make("td", { text }))))));

async function trustPanel(app, body) {
  const { run, layer } = app.how(), { rows, says } = run.trust;
  if (!rows.length) return fill(body, empty("Nobody has compared these maps with the truth yet. xinc verify removes neurons one by one, runs the network, and says which maps to trust."));
  app.numbers = () => ["trust.csv", ["layer", "method", "correlation_median", "low", "high", "totals_rank"], rows.map((row) => [row.layer, row.method, row.correlation_median ?? "", row.low ?? "", row.high ?? "", row.totals_rank ?? ""])];
  const number = (value) => (value === null || value === undefined ? "–" : value.toFixed(3));
  fill(body, make("h2", { text: "How far to trust the maps" }),
    says.map((text) => make("p", { class: "sentence" }, text.split("`").map((part, n) => (n % 2 ? make("code", { text: part }) : part)))),
    make("div", { class: "scrolled" }, table(["layer", "method", "median r", "95 % from", "to", "ranks of totals"],
      rows.map((row) => [row.layer === layer ? `${row.layer} ◂` : row.layer, row.method, number(row.correlation_median), number(row.low), number(row.high), number(row.totals_rank)]))),
    make("p", { class: "quiet", text: "r: correlation of a neuron's map with what the picture loses when the neuron is removed, median over neurons." }));
}
