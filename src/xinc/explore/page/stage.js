// A picture that is looked at: what its views show, and how one points at it.

import { announce, make, percent, written } from "./dom.js";
import { absolute, decibels, draw, gradient, heated, peak, pictured, signed } from "./colours.js";
import { chosenOf, placeOf } from "./state.js";

// Each view: what it is called, why, and whether the state has what it needs.
export const VIEWS = {
  original: ["Original", "The frame as it was recorded", (state, run) => run.reference !== false],
  network: ["Network", "The frame as the network paints it"],
  error: ["Error", "Sum over colours of the difference between the two", (state, run) => run.reference !== false],
  heat: ["Heatmap", "How much all neurons of the layer contribute to each pixel, whatever the sign"],
  density: ["Neurons per pixel", "Which share of the layer's neurons matters at each pixel", (state, run) => !run.still],
  neuron: ["Neuron", "What one neuron paints", (state) => state.get("k") >= 0],
  group: ["Group", "What the chosen neurons paint together", (state) => state.get("group")],
  principal: ["Principal", "One of the few independent pictures that the layer paints", (state) => state.get("tab") === "layer" || state.get("view") === "principal"],
  without: ["Without", "The true picture without the neurons that are switched off", (state) => state.get("off")],
  lost: ["What is lost", "The network's picture minus the picture without them", (state) => state.get("off")],
  predicted: ["Predicted", "The picture without them as the maps predict it, to first order", (state) => state.get("off")],
};

// Pixels that the network in the page takes first, one in so many each way, and for ranking; a server takes all.
export const FINEST = 8;

// Share of the neurons of each sampled pixel above the value that keeps `area` of everything (section 4.4).
export function densityOf(heat, area) {
  const bins = heat.sums.length;
  const total = heat.sums.reduce((sum, value) => sum + value, 0);
  let held = 0, first = bins;
  while (first > 0 && held < area * total) held += heat.sums[--first];
  const share = new Float32Array(heat.rows * heat.columns);
  for (let p = 0; p < share.length; p++) {
    let count = 0;
    for (let bin = first; bin < bins; bin++) count += heat.bins[p * bins + bin];
    share[p] = count / heat.neurons;
  }
  return share;
}

export class Stage {
  // `looks` gives what is looked at: { run, t, layer, method }, often the state's own, in a second picture not quite.
  constructor(app, looks) {
    this.app = app;
    this.looks = looks;
    this.canvas = make("canvas", { tabindex: 0, role: "img" });
    this.marks = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    this.marks.setAttribute("preserveAspectRatio", "none");
    this.frame = make("div", { class: "frame" }, this.canvas, this.marks);
    this.caption = make("figcaption", {});
    this.element = make("figure", { class: "stage" }, this.frame, this.caption);
    this.pointing();
  }

  async show() {
    const { app } = this, how = this.looks(), view = app.state.get("view");
    const before = this.asked, { signal } = (this.asked = new AbortController());
    this.element.classList.add("busy");
    this.element.setAttribute("aria-busy", "true");
    try {
      const painting = this.paint(view, how, signal);
      before?.abort(); // after the new question, which may wait for the same answer
      await painting;
    } catch (fault) {
      if (signal.aborted) return;
      this.caption.replaceChildren(make("span", { role: "alert", text: String(fault.message || fault) }));
    }
    if (signal.aborted) return;
    this.element.classList.remove("busy");
    this.element.removeAttribute("aria-busy");
    this.mark();
  }

  async paint(view, how, signal) {
    const { app } = this, { state } = app, [H, W] = how.run.size;
    const ask = (question, more, part) => app.source.ask(question, { ...how, ...more }, { signal, part });
    const only = state.get("only"), chosen = chosenOf(state.get("off"));
    const named = `${VIEWS[view][0]} of frame ${how.t}`;
    const put = (image, ...caption) => {
      if (signal.aborted) return;
      draw(this.canvas, image);
      this.size = [H, W];
      this.frame.classList.toggle("grainy", image.width < 320);
      this.canvas.setAttribute("aria-label", `${named}. Arrow keys move the point, Enter keeps it.`);
      this.caption.replaceChildren(...caption.filter(Boolean).map((one) => (typeof one === "string" ? make("span", { text: one }) : one)));
    };
    const scaled = (values, h, w, text, map = "magma") => {
      const most = peak(values);
      put(heated(values, h, w, most, map), text, legend(gradient(map), "0", written(most)));
    };
    const coloured = (values, h, w, text) => {
      if (values.length === h * w || state.get("size")) return scaled(absolute(values, h, w), h, w, text);
      const most = peak(values);
      return put(signed(values, h, w, most), text, legend("linear-gradient(to right, #000, #808080, #fff)", `−${written(most)}`, `+${written(most)}`));
    };
    if (view === "original" || view === "network" || view === "error") {
      const { original, picture } = await ask("picture");
      const psnr = how.run.reference === false ? "what the network paints" : `the network reaches ${decibels(original, picture).toFixed(2)} dB here`;
      if (view !== "error") return put(pictured(view === "original" ? original : picture, H, W), psnr);
      const gap = picture.map((value, n) => Math.min(1, Math.max(0, value)) - original[n]);
      return scaled(absolute(gap, H, W), H, W, psnr, "cividis");
    }
    if (view === "heat" || (view === "density" && !how.run.live)) {
      const area = state.get("area");
      const shown = (heat) => {
        if (how.run.still && !heat?.heat) throw new Error("This page holds no heatmap of so large a layer.");
        if (!heat?.heat) return;
        if (!signal.aborted) this.element.classList.remove("busy");
        const fine = heat.step === 1 ? "every pixel" : how.run.still ? `means of ${heat.step ** 2} pixels` : `one pixel in ${heat.step ** 2} so far, finer while you look`;
        if (view === "heat") return scaled(heat.heat, heat.rows, heat.columns, `Σ|C| over ${written(how.run.layers.find((one) => one.name === how.layer).neurons)} neurons, ${fine}`);
        return scaled(densityOf(heat, area), heat.rows, heat.columns, `share of neurons that hold ${percent(area)} of everything, ${fine}`, "viridis");
      };
      return shown(await ask("heat", { finest: how.run.live ? FINEST : 1 }, shown));
    }
    if (view === "density") {
      const { share } = await ask("density", { area: state.get("area") });
      return scaled(share, H, W, `share of neurons that hold ${percent(state.get("area"))} of everything`, "viridis");
    }
    if (view === "neuron") {
      const neuron = state.get("k"), text = `${app.nameOf(how, neuron)}: what it adds`;
      for await (const { map, height, width, coarse } of app.source.maps(how, neuron, signal)) {
        coloured(map, height, width, coarse ? `${text}, coarsely; the exact map follows …` : text);
        if (coarse && !signal.aborted) this.element.classList.remove("busy");
      }
      return undefined;
    }
    if (view === "group") {
      const group = chosenOf(state.get("group")), [layer] = Object.keys(group);
      if (!layer) throw new Error("No group is chosen; draw round some neurons in the cloud.");
      const { map, height = H, width = W } = await ask("group", { layer, neurons: group[layer] });
      return coloured(map, height, width, `${written(group[layer].length)} neurons of ${layer} together`);
    }
    if (view === "principal") {
      const { pictures, squares } = await ask("principal", { count: 6 });
      const n = Math.min(state.get("n"), pictures.length - 1);
      return coloured(pictures[n], H, W, `principal contribution ${n + 1}, energy ${percent(squares[n] / squares[0])} of the first`);
    }
    if (!state.get("off")) throw new Error("No neuron is switched off.");
    const [{ original, picture: full }, { picture, predicted }] = await Promise.all([ask("picture"), ask("without", { chosen, only })]);
    if (view === "lost") return coloured(full.map((value, n) => value - picture[n]), H, W, "the network's picture minus the one without them");
    const shown = view === "without" ? picture : predicted;
    const text = how.run.reference === false ? `${decibels(full, shown).toFixed(2)} dB to the whole picture`
      : `${decibels(original, shown).toFixed(2)} dB to the frame, before ${decibels(original, full).toFixed(2)}`;
    return put(pictured(shown, H, W), view === "without" ? text : `predicted: ${text}`);
  }

  // The pixel under an event.
  pixel(event) {
    const { left, top, width, height } = this.canvas.getBoundingClientRect(), [H, W] = this.size ?? [1, 1];
    const within = (value, most) => Math.max(0, Math.min(most - 1, Math.floor(value)));
    return [within(((event.clientY - top) / height) * H, H), within(((event.clientX - left) / width) * W, W)];
  }

  pointing() {
    const { app, frame } = this;
    let from = null;
    frame.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || !this.size) return;
      from = this.pixel(event);
      if (event.pointerType === "mouse" || app.state.get("tool") === "box") frame.setPointerCapture(event.pointerId);
    });
    frame.addEventListener("pointermove", (event) => {
      if (!this.size) return;
      const at = this.pixel(event);
      if (from && (app.state.get("tool") === "box" || event.pointerType === "mouse") && far(from, at)) {
        this.box = spanned(from, at);
        this.mark();
      } else if (!from && event.pointerType === "mouse") app.hover(at);
    });
    frame.addEventListener("pointerup", (event) => {
      if (!from) return;
      const at = this.pixel(event), box = this.box;
      from = this.box = null;
      if (box) app.pick(box.join(","));
      else if (app.state.get("tool") === "object") app.pickObject(at);
      else app.pick(at.join(","));
    });
    frame.addEventListener("pointercancel", () => { from = this.box = null; });
    frame.addEventListener("pointerleave", () => app.hover(null));
    this.canvas.addEventListener("keydown", (event) => {
      const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      if (!step || !this.size) return;
      event.preventDefault();
      const [H, W] = this.size, by = event.shiftKey ? 8 : 1;
      const now = placeOf(app.state.get("place"))?.pixel ?? [H >> 1, W >> 1];
      const next = [now[0] + by * step[0], now[1] + by * step[1]].map((value, axis) => Math.max(0, Math.min([H, W][axis] - 1, value)));
      app.pick(next.join(","));
      announce(`row ${next[0]}, column ${next[1]}`);
    });
  }

  // Where one points: a cross, a box, or the outline of a region.
  mark() {
    if (!this.size) return;
    const [H, W] = this.size, place = this.box ? { box: this.box.join(",") } : this.app.pointed ?? this.app.placed();
    this.marks.setAttribute("viewBox", `0 0 ${W} ${H}`);
    let path = "";
    if (place?.pixel) {
      const [y, x] = place.pixel, r = Math.max(1.5, W / 60), [cy, cx] = [y + 0.5, x + 0.5];
      path = `M${cx - 2 * r},${cy}h${r}M${cx + r},${cy}h${r}M${cx},${cy - 2 * r}v${r}M${cx},${cy + r}v${r}`;
    } else if (place?.box) {
      const [y0, x0, y1, x1] = place.box.split(",").map(Number);
      path = `M${x0},${y0}H${x1}V${y1}H${x0}Z`;
    } else if (place?.grouping) path = this.app.outline(place);
    this.marks.replaceChildren(...(path ? ["under", "over"].map((name) => {
      const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
      line.setAttribute("class", name);
      line.setAttribute("d", path);
      return line;
    }) : []));
  }
}

const far = (a, b) => Math.abs(a[0] - b[0]) + Math.abs(a[1] - b[1]) > 2;
const spanned = ([y0, x0], [y1, x1]) => [Math.min(y0, y1), Math.min(x0, x1), Math.max(y0, y1) + 1, Math.max(x0, x1) + 1];

function legend(ramp, low, high) {
  const bar = make("i", {});
  bar.style.background = ramp;
  return make("span", { class: "legend" }, make("span", { text: low }), bar, make("span", { text: high }));
}
