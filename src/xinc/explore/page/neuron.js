// One neuron: what it paints, its numbers, its course, and its neighbours.

import { absolute, draw, heated, peak, signed } from "./colours.js";
import { choices, empty, explained, fill, make, percent, waiting, written } from "./dom.js";
import { regionButton, regionsOf } from "./regions.js";
import { SVG, tile } from "./small.js";
import { chosenOf } from "./state.js";

// Neurons of a layer up to which the page offers to measure how much of each is unique: some seconds.
const UNIQUE = 4096;
// Values of all maps of a layer up to which they are ranked, and one followed over time, without being asked to.
const CHEAP = 2 ** 28;

const fact = (term, value, why) => make("div", {}, make("dt", {}, why ? explained(term, why) : term), make("dd", { text: value }));

export async function neuronPanel(app, body, signal) {
  const how = app.how(), k = app.state.get("k"), layer = app.layerOf(how);
  if (k < 0 || k >= layer.neurons) return fill(body, empty(`Choose a neuron of ${how.layer}: from the list under Here, by its number, or from the cloud.`),
    numberField(app, how));
  const looks = app.source.maps(how, k, signal), kernel = app.source.ask("kernel", { ...how, neuron: k }, { signal }).catch(() => ({}));
  let { value: look } = await looks.next();
  const coloured = look.map.length === 3 * look.height * look.width, off = (chosenOf(app.state.get("off"))[how.layer] ?? []).includes(k);
  const picture = make("canvas", { role: "img", "aria-label": `map of ${app.nameOf(how, k)}` });
  const facts = {
    total: fact("total Σ|C|", "…", "How much it paints: the size of its contribution, summed over pixels and colours."),
    reached: fact("pixels reached", "…", "Pixels where it paints more than a tenth of its most."),
    rank: fact("rank in the layer", "…", "Its place when the neurons of the layer are sorted by their totals in this frame."),
    unique: fact("unique part", "–", "The share of its map's energy that the other neurons of the layer, however they were mixed, could not paint in its place."),
  };
  const course = make("div", {}), places = make("div", {}), neighbours = make("div", {}, waiting("Looking for its like …"));
  const shown = () => {
    const { map, height, width } = look, sizes = absolute(map, height, width), most = peak(sizes);
    draw(picture, coloured && !app.state.get("size") ? signed(map, height, width, peak(map)) : heated(sizes, height, width, most));
    return { sizes, most };
  };
  shown();
  fill(body,
    make("div", { class: "row" }, make("h2", { text: app.nameOf(how, k) }), make("span", { class: "pair" },
      make("button", { type: "button", text: "‹", title: "Previous by rank", "aria-label": "Previous neuron by rank", onclick: () => app.step(-1) }),
      make("button", { type: "button", text: "›", title: "Next by rank", "aria-label": "Next neuron by rank", onclick: () => app.step(1) }))),
    make("div", { class: "tiles" }, make("button", { type: "button", title: "Show it large", onclick: () => app.state.set({ view: "neuron" }) }, picture, make("span", { text: "what it paints" })), weights(await kernel)),
    coloured ? choices("Show", [["0", "signed colour", "grey is nothing"], ["1", "absolute", "sum over colours"]], String(app.state.get("size")), (value) => app.state.set({ size: Number(value) })) : null,
    make("dl", { class: "facts" }, Object.values(facts)), places,
    make("div", { class: "row" }, app.offButton(how.layer, k, off, true),
      how.run.still ? null : make("button", { type: "button", text: "Only this one", title: "Switch all others of the layer off", onclick: () => app.switchOff({ [how.layer]: [k] }, 1) }), numberField(app, how)),
    course, make("h3", { text: "Neighbours" }), neighbours);
  for await (look of looks) shown(); // the exact one, where the first was coarse
  if (signal.aborted) return;
  const { sizes, most } = shown(), total = sizes.reduce((sum, value) => sum + value, 0), reached = sizes.filter((value) => value > most / 10).length / sizes.length;
  facts.total.lastChild.textContent = written(total);
  facts.reached.lastChild.textContent = percent(reached);
  app.numbers = () => ["neuron.csv", ["what", "value"], [["layer", how.layer], ["neuron", k], ["frame", how.t], ["method", how.method], ["total", total], ["pixels reached", reached], ["unique part", facts.unique.lastChild.textContent], ...(app.course ?? []).map(([t, value]) => [`total of frame ${t}`, value])]];
  await strongest(app, how, sizes, look.width, places, signal);
  unique(app, how, k, facts.unique.lastChild, signal);
  const cheap = layer.neurons * look.height * look.width < CHEAP, ranked = () => rank(app, how, k, facts.rank.lastChild, signal);
  if (!cheap) facts.rank.lastChild.replaceChildren(make("button", { type: "button", text: "Rank it", title: "Goes through all neurons of the layer, which takes a while", onclick: ranked }));
  if (!cheap && how.run.frames > 1) fill(course, make("button", { type: "button", text: "Follow it over time", onclick: () => { fill(course, waiting()); over(app, how, k, course, signal); } }));
  await Promise.allSettled([near(app, how, k, neighbours, signal), cheap ? over(app, how, k, course, signal) : null]);
  if (cheap && !signal.aborted) await ranked();
}

function weights({ kernel }) {
  if (!kernel) return null;
  const [h, w] = kernel.shape, drawn = draw(make("canvas", { class: "kernel", role: "img", "aria-label": "its weights" }), signed(kernel, h, w, peak(kernel)));
  return make("figure", {}, drawn, make("figcaption", { text: h * w === 1 ? "its weight" : h === 1 ? "its outgoing weights" : "its kernel" }));
}

async function rank(app, how, k, shown, signal) {
  shown.textContent = "…";
  const order = await app.order(how).catch(() => []), at = order.indexOf(k);
  shown.textContent = at < 0 ? "–" : `${how.run.live ? "" : "about "}${written(at + 1)} of ${written(order.length)}`; // the page in a file samples pixels
  if (at >= 0) await app.source.ahead(how, [order[at + 1], order[at - 1]].filter((one) => one !== undefined), signal);
}

function unique(app, how, k, shown, signal) {
  const measured = () => app.source.ask("unique", { run: how.run, t: how.t, layer: how.layer }, { signal }).then(({ shares }) => { shown.textContent = percent(shares[k]); }, () => { shown.textContent = "–"; });
  if (!app.coloured(how)) return;
  if (how.run.unique[how.layer]?.includes(how.t)) measured();
  else if (how.run.live && app.layerOf(how).neurons <= UNIQUE) shown.replaceChildren(make("button", { type: "button", text: "Measure it", id: "unique", onclick: () => { shown.textContent = "…"; measured(); } }));
}

// The regions that it is strongest in, by mean |C|.
async function strongest(app, how, sizes, columns, body, signal) {
  const regions = await regionsOf(app, how, app.grouping(), signal);
  if (!regions) return;
  const sums = new Map(), W = how.run.size[1], step = Math.ceil(W / columns);
  regions.labels.forEach((label, p) => {
    if (label < 0) return;
    const [sum, count] = sums.get(label) ?? [0, 0], cell = step === 1 ? p : Math.floor(Math.floor(p / W) / step) * columns + Math.floor((p % W) / step);
    sums.set(label, [sum + sizes[cell], count + 1]);
  });
  const best = [...sums].sort((a, b) => b[1][0] / b[1][1] - a[1][0] / a[1][1]).slice(0, 3);
  fill(body, make("div", { class: "chips" }, make("span", { class: "quiet", text: "Strongest in" }), best.map(([label]) => regionButton(app, how, regions, label, signal))));
}

// Neurons that paint alike, and those that cancel it.
async function near(app, how, k, body, signal) {
  if (!app.coloured(how)) return fill(body, empty("Likeness needs signed maps: choose the method exact."));
  const { products } = await app.source.ask("gram", { ...how, neuron: k }, { signal });
  const own = products[k] || 1e-30, others = Array.from(products.keys()).filter((n) => n !== k).sort((a, b) => products[b] - products[a]);
  const shown = [...others.slice(0, 4), ...others.slice(-4).reverse()].filter((n) => Math.abs(products[n]) > 1e-9 * Math.abs(own));
  fill(body, make("p", { class: "quiet", text: "Others of the layer that paint the same, or the opposite, at the same pixels; 100\u202f% is as much as it paints itself." }),
    make("div", { class: "tiles" }, shown.map((n) => {
      const share = products[n] / own;
      return make("button", { type: "button", onclick: () => app.look(n) }, tile(app, how, n, 128, signal),
        make("span", { text: `${app.shortOf(how, n)}: ${share > 0 ? "repeats" : "cancels"} ${percent(Math.abs(share))} of it` }));
    })));
  await app.source.ahead(how, shown, signal);
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
    make("p", { class: "quiet", text: `Its total in ${frames.length} frames, between ${percent(Math.min(...totals) / most)} and 100\u202f% of its most.` }));
}

function numberField(app, how) {
  const last = app.layerOf(how).neurons - 1;
  const field = make("input", { type: "number", min: 0, max: last, value: Math.max(0, app.state.get("k")), "aria-label": `number of a neuron, 0 to ${last}`, id: "number" });
  return make("form", { class: "row", onsubmit: (event) => { event.preventDefault(); app.look(Math.max(0, Math.min(last, Math.round(Number(field.value) || 0)))); } },
    field, make("button", { text: "Go" }));
}
