// The answers beside the picture, one function a tab. Each fills its body and stops when it is no longer wanted.

import { copy, empty, explained, fill, make, percent, save, waiting, written } from "./dom.js";
import { decibels, draw, peak, pictured, signed } from "./colours.js";
import { chosenOf, placeOf } from "./state.js";
import { cloudPanel } from "./cloud.js";
import { neuronPanel } from "./neuron.js";
import { pixelsOf, regionButton, regionsOf } from "./regions.js";
import { SVG, bars, tile } from "./small.js";
import { FINEST } from "./stage.js";

const LISTED = 12;
const REGIONS = 14;

export const TABS = {
  place: ["Here", placePanel, ["place", "off", "k"]],
  neuron: ["Neuron", neuronPanel, ["k", "off", "size"]],
  off: ["Switched off", offPanel, ["off", "only", "place"]],
  layer: ["Layer", layerPanel, ["area", "n"]],
  cloud: ["Cloud", cloudPanel, ["colour", "group"]],
  trust: ["Trust", trustPanel, []],
};

const signedText = (value, digits = 2) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(digits)}`;
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
  const whole = (text, values, last, why) => make("li", { class: last ? "whole sum" : "whole" }, why ? explained(text, why) : make("span", { text }),
    make("span", { role: "img", "aria-label": rgb(values) }, bars(values, sumsMost)), make("span", { class: "three", "aria-hidden": "true" }, values.map((value) => make("span", { text: signedText(value) }))));
  const rest = sums.map((sum, c) => sum - few.reduce((part, k) => part + (coloured ? answer.terms[3 * k + c] : 0), 0));
  const list = make("ol", { class: coloured ? "ranked" : "ranked plain", "aria-label": "Neurons by what they add here" }, few.map(row));
  if (coloured) {
    const led = sums.map((sum, c) => sum - rest[c]), bias = answer.bias ?? [0, 0, 0], bent = Array.from(answer.value, (value, c) => value - sums[c] - bias[c]);
    const parts = [[`these ${few.length} together`, led], ...(count > few.length && !(answer.known && !answer.sums) ? [[`the ${written(count - few.length)} others`, rest]] : []),
      ...(answer.bias ? [["the layer's bias", Array.from(bias), "Constants that the layer adds to its outputs, whatever the frame."]] : []),
      [answer.bias ? "added by later layers" : "everything else", bent, "What is left: constants of later layers and the bends of their activations. The bars of neurons are straight lines (first order) through a network that bends; this makes up for it, so that the sum is right."],
      ["what stands here", Array.from(answer.value)]];
    sumsMost = Math.max(...parts.flatMap(([, values]) => values.map(Math.abs)), 1e-12);
    list.append(...parts.map(([text, values, why], n) => whole(text, values, n === parts.length - 1, why)));
  }
  fill(body,
    make("h2", {}, swatch, `${where}, frame ${how.t}`),
    make("p", { class: "sentence", text: answer.known && !answer.size ? `The strongest of the ${answer.known} neurons of ${how.layer} whose maps this page holds.`
      : `${few.length} of ${written(count)} neurons of ${how.layer} make ${percent(found.cumulative[few.length - 1])} of what is painted here${found.half <= (answer.known ?? count) ? `; ${written(found.half)} make half of it` : ""}.` }),
    make("p", { class: "quiet", text: tied(found, answer.known ?? count) }), list, answer.known === undefined ? curve(found) : null,
    make("div", { class: "row" },
      ...(how.run.still ? [] : [make("button", { type: "button", text: `Switch these ${few.length} off`, onclick: () => app.switchOff({ [how.layer]: few }) }),
        make("button", { type: "button", text: "Only these", title: "Switch all others of the layer off", onclick: () => app.switchOff({ [how.layer]: few }, 1) })]),
      make("button", { type: "button", text: "Save as CSV", onclick: () => app.saveNumbers() })),
    app.hovered ? null : await objects(app, how, signal));
  if (!app.hovered) app.source.ahead(how, few, signal);
  app.numbers = () => ["neurons.csv", coloured ? ["layer", "neuron", "red", "green", "blue", "size"] : ["layer", "neuron", "size"],
    order.map((k) => [how.layer, k, ...(coloured ? three(k) : []), sizes[k]])];
}

// Whether there is a strongest one: those within a tenth of the first are as strong as it.
function tied({ sizes, order }, count) {
  let near = 1;
  while (near < count && sizes[order[near]] >= 0.9 * sizes[order[0]]) near++;
  if (near === 1 && count > 1) return `The first stands out: it adds ${percent(sizes[order[0]] / (sizes[order[1]] || 1e-30) - 1)} more than the second.`;
  return near > 1 ? `The first ${written(near)} are within a tenth of each other: take them as equally strong.` : "";
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
  const regions = await regionsOf(app, how, app.grouping(), signal);
  if (!regions) return null;
  const { grouping, largest } = regions, chips = make("div", { class: "chips" });
  const list = (labels) => labels.map((label) => regionButton(app, how, regions, label, signal));
  chips.append(...list(largest.slice(0, REGIONS)));
  if (largest.length > REGIONS) chips.append(make("button", { type: "button", text: `All ${written(largest.length)}`, onclick: () => fill(chips, list(largest)) }));
  return make("div", {}, make("h3", { text: grouping === "segments" ? "Objects of this frame" : `Regions by ${how.run.groupings.find((one) => one.name === grouping).word}` }), chips);
}

async function offPanel(app, body, signal) {
  const how = app.how(), chosen = chosenOf(app.state.get("off")), only = app.state.get("only");
  const layers = Object.entries(chosen);
  if (!layers.length) return fill(body, empty("Nothing is switched off. Switch neurons off under Here or Neuron, or a group from the cloud: the network is run without them."), undo(app));
  const count = layers.reduce((sum, [, neurons]) => sum + neurons.length, 0);
  const [{ original, picture: full }, { picture, predicted }] = await Promise.all([
    app.source.ask("picture", how, { signal }), app.source.ask("without", { ...how, chosen, only }, { signal })]);
  const [H, W] = how.run.size, lost = full.map((value, n) => value - picture[n]), json = JSON.stringify(chosen), still = how.run.reference === false;
  const [before, after, foreseen] = [full, picture, predicted].map((one) => decibels(original, one));
  const tile = (text, image, view) => make("button", { type: "button", onclick: () => app.state.set({ view }) }, draw(make("canvas", { role: "img", "aria-label": text }), image), make("span", { text }));
  const fact = (term, value, why) => make("div", {}, make("dt", {}, why ? explained(term, why) : term), make("dd", { text: value }));
  const place = placeOf(app.state.get("place")), there = place && (await effect(app, how, place, { original, full, picture, lost }, signal));
  app.numbers = () => ["switched-off.csv", ["what", "value"], [["frame", how.t], ["all but these", only], ...(still ? [] : [["PSNR before in dB", before]]), ["PSNR without in dB", after], ["PSNR predicted in dB", foreseen],
    ...(there ? [["place", app.state.get("place")], ...Object.entries(there.numbers)] : []), ...layers.map(([layer, neurons]) => [layer, neurons.join(" ")])]];
  fill(body,
    make("h2", { text: only ? `Only ${written(count)} neurons stay of their layers` : `${written(count)} neuron${count === 1 ? "" : "s"} switched off` }),
    make("p", { class: "sentence", text: still ? `${after.toFixed(2)} dB to the whole picture.` : `The frame goes from ${before.toFixed(2)} to ${after.toFixed(2)} dB.` }),
    there ? make("p", { class: "sentence", text: there.says }) : make("p", { class: "quiet", text: "Point at a place, and here stands what changes there." }),
    make("div", { class: "tiles" }, tile("the network run without them", pictured(picture, H, W), "without"), tile("what is lost", signed(lost, H, W, peak(lost)), "lost"), tile("as predicted", pictured(predicted, H, W), "predicted")),
    make("dl", { class: "facts" }, still ? null : fact("PSNR before", `${before.toFixed(2)} dB`), fact("without", `${after.toFixed(2)} dB`),
      fact("predicted", `${foreseen.toFixed(2)} dB`, "What the maps alone say: the picture minus the neurons' maps. Maps are straight lines through a network that bends, so this is good for a few weak neurons and poor for many or strong ones.")),
    make("label", { class: "row" }, make("input", { type: "checkbox", checked: Boolean(only), onchange: (event) => app.state.set({ only: Number(event.target.checked) }) }), "all but these"),
    layers.map(([layer, neurons]) => make("div", {}, make("h3", { text: layer }), make("div", { class: "chips" },
      neurons.slice(0, 60).map((k) => make("button", { type: "button", title: "Switch it on again", text: `${app.shortOf({ ...how, layer }, k)} ×`, onclick: () => app.toggle(layer, k) })),
      neurons.length > 60 ? make("span", { class: "quiet", text: `and ${written(neurons.length - 60)} more` }) : null))),
    make("div", { class: "row" }, undo(app), make("button", { type: "button", text: "Switch all on", onclick: () => app.switchOff({}, 0) }),
      make("button", { type: "button", text: "Copy as JSON", onclick: () => copy(json, "Selection") }),
      make("button", { type: "button", text: "Save as JSON", onclick: () => save("selection.json", json, "application/json") })));
}

// What changes at a place: its colour, its error, and how much of the whole change lies there.
async function effect(app, how, place, { original, full, picture, lost }, signal) {
  const inside = await pixelsOf(app, how, place, signal), n = inside.length, count = inside.reduce((sum, one) => sum + one, 0);
  if (!count) return null;
  const sums = { change: 0, all: 0, before: 0, after: 0 }, clip = (value) => Math.min(1, Math.max(0, value)), shift = [0, 0, 0];
  for (let m = 0; m < lost.length; m++) {
    sums.all += Math.abs(lost[m]);
    if (!inside[m % n]) continue;
    sums.change += Math.abs(lost[m]);
    shift[Math.floor(m / n)] -= lost[m] / count;
    sums.before += (clip(full[m]) - clip(original[m])) ** 2;
    sums.after += (clip(picture[m]) - clip(original[m])) ** 2;
  }
  const name = place.grouping ? await app.regionName(how, place) : place.pixel ? `pixel ${place.pixel.join(", ")}` : "the box", part = sums.change / (sums.all || 1e-30);
  const [before, after] = [sums.before, sums.after].map((sum) => -10 * Math.log10(Math.max(1e-10, sum / (3 * count))));
  const errors = how.run.reference === false ? "" : ` It goes from ${before.toFixed(2)} to ${after.toFixed(2)} dB.`;
  return { numbers: { "share of the change there": part, "share of the pixels there": count / n, "PSNR there before in dB": before, "PSNR there without in dB": after },
    says: `In ${name}: ${shift.map((value, c) => `${["red", "green", "blue"][c]} ${signedText(255 * value, 1)}`).join(", ")} of 255 levels.${errors} ${percent(part)} of all that changes lies there, on ${percent(count / n)} of the picture.` };
}

const undo = (app) => make("button", { type: "button", text: "Undo", id: "undo", disabled: !app.past.length, onclick: () => app.undo() });

async function layerPanel(app, body, signal) {
  const how = app.how(), layer = app.layerOf(how), area = app.state.get("area");
  const scores = how.run.groupings.flatMap(({ word, scores }) => scores.filter((one) => one.layer === how.layer && one.method === how.method).map((one) => [word, one.score]));
  const principal = make("div", {});
  app.numbers = async () => {
    const { totals, step } = await app.source.ask("heat", { ...how, finest: FINEST });
    return ["layer.csv", ["layer", "neuron", step > 1 ? `total by one pixel in ${step ** 2}` : "total"], Array.from(totals, (value, k) => [how.layer, k, value])];
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
