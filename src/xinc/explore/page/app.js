// The page: what is looked at, who answers, and what follows when it changes.

import { announce, choices, copy, csv, fill, make, save, select, toast, written } from "./dom.js";
import { State, chosenOf, placeOf, textOf } from "./state.js";
import { Live, Local } from "./sources.js";
import { FINEST, Stage, VIEWS } from "./stage.js";
import { TABS } from "./panels.js";
import { linesOf } from "./python.js";
import { kept, recalled, tour } from "./tour.js";

const $ = (id) => document.getElementById(id);

class App {
  constructor(source, runs) {
    this.source = source;
    this.runs = runs;
    this.state = new State();
    this.hovered = null;
    this.past = [];
    this.wanted = new Set();
    this.outlines = new Map();
    this.stages = [new Stage(this, () => this.how()), new Stage(this, () => this.beside())];
    this.settle();
    this.state.watch((changed) => this.changed(changed));
    this.buttons();
    this.keys();
    this.changed(new Set(["run", "t", "layer", "method", "view", "tab", "b"]));
  }

  // What the address says, made to fit this run.
  settle() {
    const { state } = this, run = this.runs.find((one) => one.key === state.get("run")) ?? this.runs[0];
    const names = run.layers.map((layer) => layer.name), methods = this.source.methods(run), changes = { run: run.key };
    if (!names.includes(state.get("layer"))) changes.layer = names[Math.max(0, names.length - 2)];
    if (!methods.includes(state.get("method"))) changes.method = methods[0];
    if (!(state.get("t") >= 0 && state.get("t") < run.frames)) changes.t = 0;
    if (!VIEWS[state.get("view")] || (run.reference === false && ["original", "error"].includes(state.get("view")))) changes.view = run.reference === false ? "network" : "original";
    if (!TABS[state.get("tab")]) changes.tab = "place";
    const off = chosenOf(state.get("off")), known = Object.entries(off).filter(([layer]) => names.includes(layer));
    if (known.length < Object.keys(off).length) changes.off = textOf(Object.fromEntries(known));
    state.set(changes);
  }

  how() {
    const { state } = this, run = this.runs.find((one) => one.key === state.get("run"));
    return { run, t: state.get("t"), layer: state.get("layer"), method: state.get("method") };
  }

  // What the second picture shows: another method, layer or run.
  beside() {
    const how = this.how(), [kind, value] = this.state.get("b").split(/:(.*)/s);
    if (kind !== "run") return { ...how, [kind]: value };
    const run = this.runs.find((one) => one.key === value) ?? how.run, names = run.layers.map((layer) => layer.name);
    return { ...how, run, t: Math.min(how.t, run.frames - 1), layer: names.includes(how.layer) ? how.layer : names[Math.max(0, names.length - 2)] };
  }

  layerOf({ run, layer }) {
    return run.layers.find((one) => one.name === layer);
  }

  coloured({ method }) {
    return method === "exact";
  }

  shortOf(how, k) {
    const { kind, outputs } = this.layerOf(how) ?? {};
    return kind === "linear" ? `feature ${k}` : `${k} (${Math.floor(k / outputs)}→${k % outputs})`;
  }

  nameOf(how, k) {
    const { kind, outputs } = this.layerOf(how) ?? {};
    return kind === "linear" ? `${how.layer}, feature ${k}` : `${how.layer}, neuron ${k}: kernel ${Math.floor(k / outputs)} → ${k % outputs}`;
  }

  placed() {
    return this.hovered ?? placeOf(this.state.get("place"));
  }

  grouping() {
    const { run, t } = this.how(), known = [...(run.annotated.includes(t) ? ["segments"] : []),
      ...run.groupings.filter((one) => one.frames.includes(t)).map((one) => one.name)];
    return known.includes(this.state.get("regions")) ? this.state.get("regions") : known[0] ?? "";
  }

  async regionName(how, { grouping, region }) {
    const { names } = await this.source.ask("labels", { run: how.run, t: how.t, grouping });
    return names[region] ?? `region ${region}`;
  }

  // ---- what people do

  hover(at) {
    if (this.state.get("tab") !== "place" || this.state.get("place") || this.state.get("tool") !== "point") return;
    if ((at ? at.join() : "") === (this.hovered?.pixel?.join() ?? "")) return;
    this.hovered = at && { ...placeOf(at.join(",")) };
    cancelAnimationFrame(this.soon);
    this.soon = requestAnimationFrame(() => {
      this.stages.forEach((stage) => stage.mark());
      this.panel();
    });
  }

  pick(place) {
    this.hovered = null;
    const tab = this.state.get("tab");
    this.state.set({ place: place === this.state.get("place") ? "" : place, tab: tab === "neuron" || tab === "off" || tab === "layer" || tab === "cloud" || tab === "trust" ? "place" : tab });
  }

  async pickObject([y, x]) {
    const how = this.how(), grouping = this.grouping();
    if (!grouping) return toast("Nobody marked objects in this frame");
    const { labels } = await this.source.ask("labels", { run: how.run, t: how.t, grouping });
    const region = labels[y * how.run.size[1] + x];
    if (region < 0) toast("There is no object here");
    else this.pick(`${grouping}:${region}`);
  }

  look(k) {
    const view = this.state.get("view");
    this.state.set({ k, tab: "neuron", view: ["original", "network", "error", "heat", "density", "group", "principal"].includes(view) ? "neuron" : view });
  }

  async order(how) {
    const heat = await this.source.ask("heat", { ...how, finest: FINEST });
    return Array.from(heat.totals.keys()).sort((a, b) => heat.totals[b] - heat.totals[a]);
  }

  async step(by) {
    const how = this.how(), k = this.state.get("k");
    toast("Ranking the layer …");
    const order = await this.order(how);
    const next = order[(order.indexOf(k) + by + order.length) % order.length];
    this.look(next);
    announce(this.nameOf(how, next));
  }

  remember() {
    this.past.push({ off: this.state.get("off"), only: this.state.get("only") });
    if (this.past.length > 100) this.past.shift();
  }

  switchOff(chosen, only = this.state.get("only")) {
    this.remember();
    const off = textOf(chosen), view = this.state.get("view"), gone = !off && ["without", "lost", "predicted"].includes(view);
    this.state.set({ off, only: off ? only : 0, tab: "off", view: off ? (["lost", "predicted"].includes(view) ? view : "without") : gone ? "network" : view });
  }

  toggle(layer, k) {
    const chosen = chosenOf(this.state.get("off")), held = chosen[layer] ?? [];
    chosen[layer] = held.includes(k) ? held.filter((one) => one !== k) : [...held, k].sort((a, b) => a - b);
    this.remember();
    const off = textOf(chosen), view = this.state.get("view");
    this.state.set({ off, only: off ? this.state.get("only") : 0, view: !off && ["without", "lost", "predicted"].includes(view) ? "network" : view });
    announce(held.includes(k) ? `${k} switched on` : `${k} switched off`);
  }

  undo() {
    const before = this.past.pop();
    if (!before) return;
    const view = this.state.get("view");
    this.state.set({ ...before, view: !before.off && ["without", "lost", "predicted"].includes(view) ? "network" : view });
  }

  offButton(layer, k, off, long) {
    if (this.how().run.still) return null; // nothing here could run without it
    const press = () => { this.toggle(layer, k); if (long && !off) this.state.set({ view: "without", tab: "off" }); };
    if (long) return make("button", { type: "button", id: `off-${layer}-${k}`, "aria-pressed": String(off), text: off ? "Switch it on again" : "Switch it off", onclick: press });
    return make("button", { type: "button", class: "switch", role: "switch", id: `off-${layer}-${k}`, "aria-checked": String(!off), title: off ? "It is off: switch it on again" : "It is on: switch it off",
      "aria-label": `neuron ${k}`, onclick: press }, make("i", {}), off ? "off" : "on");
  }

  // An outline shown while somebody points at a region's name.
  outlined(region) {
    this.pointed = region;
    this.stages.forEach((stage) => stage.mark());
  }

  // ---- what is drawn

  changed(changed) {
    const any = (...keys) => keys.some((key) => changed.has(key));
    if (any("run")) this.settle();
    if (any("layer") && !any("k") && this.state.get("k") >= this.layerOf(this.how()).neurons) this.state.set({ k: -1 });
    if (any("run", "layer", "method", "b")) this.subject();
    if (any("run", "t", "tab", "view", "k", "off", "group")) this.views();
    if (any("run", "t")) this.time();
    if (any("run", "t", "tool", "regions")) this.tools();
    if (any("run", "t", "layer", "method", "view", "k", "off", "only", "size", "b", "area", "group", "n")) this.pictures();
    else if (any("place")) this.stages.forEach((stage) => stage.mark());
    if (any("run", "t", "layer", "method", "tab", "regions") || any(...TABS[this.state.get("tab")][2])) this.panel();
  }

  subject() {
    const { state } = this, { run, layer, method } = this.how();
    const methods = this.source.methods(run), others = [
      ...methods.filter((name) => name !== method).map((name) => [`method:${name}`, `method ${name}`]),
      ...run.layers.filter((one) => one.name !== layer).map((one) => [`layer:${one.name}`, `layer ${one.name}`]),
      ...this.runs.filter((one) => one !== run).map((one) => [`run:${one.key}`, one.title])];
    fill($("subject"),
      this.runs.length > 1 ? select("Network", this.runs.map((one) => [one.key, one.title]), run.key, (key) => state.set({ run: key })) : null,
      select("Layer", run.layers.map((one) => [one.name, `${one.name} · ${written(one.neurons)}`]), layer, (name) => state.set({ layer: name })),
      methods.length > 1 ? select("Maps by", methods.map((name) => [name, name]), method, (name) => state.set({ method: name })) : null,
      others.length ? select("Beside it", [["", "nothing"], ...others], state.get("b"), (b) => state.set({ b })) : null,
      this.trusted(run, layer, method),
      run.still ? make("p", { class: "quiet", text: "This page holds pictures and the strongest neurons' maps: it cannot run this network, which is no plain chain of layers." }) : null);
    $("title").textContent = `${run.title}${run.psnr ? ` · ${run.psnr.toFixed(1)} dB` : ""}`;
    document.title = `${run.title}: point at a pixel`;
  }

  // What was measured for this layer and method, always in sight.
  trusted(run, layer, method) {
    const row = run.trust.rows.find((one) => one.layer === layer && one.method === method), r = row?.correlation_median;
    const known = r !== null && r !== undefined;
    const text = method === "ablation" ? "the truth: each neuron removed, the network run" : known
      ? `agrees with removal by ${r.toFixed(2)}, ${r >= 0.95 ? "so trust it" : "so trust ablation more"}` : "not compared with removal yet";
    return make("button", { type: "button", class: `trusted ${method === "ablation" || (known && r >= 0.95) ? "good" : known ? "poor" : ""}`, title: "How far to trust these maps",
      text, onclick: () => this.state.set({ tab: "trust" }) });
  }

  views() {
    const { state } = this, shown = Object.entries(VIEWS).filter(([name, [, , needs]]) => !needs || needs(state, this.how().run) || name === state.get("view"));
    fill($("views"), choices("Show", shown.map(([name, [text, why]]) => [name, text, why]), state.get("view"), (view) => state.set({ view })));
    fill($("tabs"), Object.entries(TABS).map(([name, [text]]) => make("button", { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": "body", "aria-selected": String(name === state.get("tab")),
      tabindex: name === state.get("tab") ? 0 : -1, text: name === "off" && state.get("off") ? `${text} · ${this.offCount()}` : text, onclick: () => state.set({ tab: name }) })));
  }

  offCount() {
    return written(Object.values(chosenOf(this.state.get("off"))).reduce((sum, neurons) => sum + neurons.length, 0));
  }

  time() {
    const { run, t } = this.how();
    if (run.frames < 2) return fill($("time"));
    const slider = make("input", { type: "range", id: "frame", min: 0, max: run.frames - 1, value: t, "aria-label": "frame", oninput: () => this.state.set({ t: Number(slider.value) }) });
    fill($("time"), make("button", { type: "button", id: "play", text: this.playing ? "Pause" : "Play", "aria-label": this.playing ? "Pause" : "Play the clip", onclick: () => this.play() }),
      slider, make("output", { for: "frame", text: `${t} of ${run.frames - 1}` }));
  }

  play() {
    clearInterval(this.playing);
    this.playing = this.playing ? 0 : setInterval(() => {
      if (this.stages[0].element.classList.contains("busy")) return;
      this.state.set({ t: (this.state.get("t") + 1) % this.how().run.frames });
    }, 1000 / Math.min(12, this.how().run.fps || 12));
    this.time();
  }

  tools() {
    const { state } = this, { run, t } = this.how(), known = [...(run.annotated.includes(t) ? [["segments", "objects"]] : []),
      ...run.groupings.filter((one) => one.frames.includes(t)).map((one) => [one.name, one.word])];
    const tools = [["point", "a pixel", "Click a pixel; dragging makes a box"], ["box", "a box", "Drag a box"], ...(known.length ? [["object", "an object", "Click an object or a region"]] : [])];
    fill($("tools"), choices("Point at", tools, state.get("tool"), (tool) => state.set({ tool })),
      state.get("tool") === "object" && known.length > 1 ? select("Regions", known, this.grouping(), (regions) => state.set({ regions })) : null);
    for (const { frame } of this.stages) frame.style.touchAction = state.get("tool") === "box" ? "none" : "";
  }

  pictures() {
    const two = Boolean(this.state.get("b"));
    $("stages").classList.toggle("two", two);
    const wanted = two ? this.stages.map((stage) => stage.element) : [this.stages[0].element];
    if ($("stages").childElementCount !== wanted.length) $("stages").replaceChildren(...wanted);
    this.stages[0].show();
    if (two) this.stages[1].show();
  }

  async panel() {
    this.asked?.abort();
    this.numbers = this.course = null;
    const { signal } = (this.asked = new AbortController()), body = $("body"), tab = this.state.get("tab");
    const slow = setTimeout(() => { if (!signal.aborted) body.setAttribute("aria-busy", "true"); }, 200);
    try {
      const fresh = make("div", {});
      if (body.dataset.tab !== tab) body.replaceChildren(make("p", { class: "waiting", text: "Working …" }));
      await TABS[tab][1](this, this.filling(body, tab, signal, fresh), signal);
    } catch (fault) {
      if (!signal.aborted) fill(body, make("div", { class: "failed", role: "alert" }, make("p", { text: String(fault.message || fault) }),
        make("button", { type: "button", text: "Try again", onclick: () => this.panel() })));
    } finally {
      clearTimeout(slow);
      if (!signal.aborted) body.removeAttribute("aria-busy");
    }
  }

  // The tab's body, which takes nothing from an answer that is no longer wanted.
  filling(body, tab, signal, fresh) {
    return new Proxy(body, {
      get(target, name) {
        if (name === "replaceChildren") return (...children) => {
          if (signal.aborted) return;
          target.dataset.tab = tab;
          target.replaceChildren(...children);
        };
        const value = target[name];
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
  }

  // The outline of a region as a path.
  outline({ grouping, region }) {
    const { run, t } = this.how(), key = `${run.key} ${t} ${grouping} ${region}`;
    if (this.outlines.has(key)) return this.outlines.get(key);
    this.source.ask("labels", { run, t, grouping }).then(({ labels }) => {
      if (!labels) return;
      const [H, W] = run.size, parts = [], inside = (y, x) => y >= 0 && x >= 0 && y < H && x < W && labels[y * W + x] === region;
      for (let y = 0; y < H; y++) {
        for (let x = 0; x < W; x++) {
          if (!inside(y, x)) continue;
          if (!inside(y - 1, x)) parts.push(`M${x},${y}h1`);
          if (!inside(y + 1, x)) parts.push(`M${x},${y + 1}h1`);
          if (!inside(y, x - 1)) parts.push(`M${x},${y}v1`);
          if (!inside(y, x + 1)) parts.push(`M${x + 1},${y}v1`);
        }
      }
      this.outlines.set(key, parts.join(""));
      this.stages.forEach((stage) => stage.mark());
    }, () => {});
    return "";
  }

  // The numbers of the tab that is open, as a table.
  async saveNumbers() {
    if (!this.numbers) return toast("There are no numbers here yet");
    const [name, columns, rows] = await this.numbers();
    save(name, csv(columns, rows), "text/csv");
  }

  buttons() {
    $("link").hidden = location.protocol === "about:";
    $("link").addEventListener("click", () => copy(location.href, "Link"));
    $("python").addEventListener("click", () => copy(linesOf(this), "Python"));
    $("save").addEventListener("click", () => this.stages[0].canvas.toBlob((blob) => save(`${this.state.get("view")}-${this.state.get("t")}.png`, blob)));
    $("numbers").addEventListener("click", () => this.saveNumbers());
    $("help").addEventListener("click", () => tour());
    const theme = $("theme"), dark = matchMedia("(prefers-color-scheme: dark)"), root = document.documentElement;
    const shown = () => root.dataset.theme || (dark.matches ? "dark" : "light");
    const label = () => { theme.textContent = shown() === "dark" ? "Light" : "Dark"; };
    root.dataset.theme = recalled("xinc-theme") ?? "";
    theme.addEventListener("click", () => {
      root.dataset.theme = shown() === "dark" ? "light" : "dark";
      kept("xinc-theme", root.dataset.theme);
      label();
      this.panel();
    });
    label();
    if (!recalled("xinc-toured")) tour();
  }

  keys() {
    const names = Object.keys(TABS);
    $("tabs").addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!by) return;
      const at = names.indexOf(this.state.get("tab")), next = names[(at + by + names.length) % names.length];
      this.state.set({ tab: next });
      $(`tab-${next}`).focus();
    });
    addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, dialog")) return;
      const k = this.state.get("k"), { run, t } = this.how(), act = {
        Escape: () => this.state.set({ place: "" }),
        ",": () => this.state.set({ t: Math.max(0, t - 1) }),
        ".": () => this.state.set({ t: Math.min(run.frames - 1, t + 1) }),
        n: () => k >= 0 && this.step(1),
        p: () => k >= 0 && this.step(-1),
        o: () => k >= 0 && this.toggle(this.state.get("layer"), k),
        u: () => this.undo(),
        "?": () => tour(),
      }[event.key];
      if (act) act();
      else if (names[event.key - 1]) this.state.set({ tab: names[event.key - 1] });
    });
  }
}

async function open() {
  const token = document.querySelector('meta[name="xinc-token"]')?.content;
  fill($("body"), make("p", { class: "waiting", text: "Opening …" }));
  try {
    const source = token ? new Live(token) : await Local.open();
    const runs = await source.runs();
    globalThis.xinc = new App(source, runs);
    document.documentElement.dataset.ready = "yes";
  } catch (fault) {
    fill($("body"), make("div", { class: "failed", role: "alert" }, make("p", { text: String(fault.message || fault) }), make("button", { type: "button", text: "Try again", onclick: open })));
  }
}

open();
