// Who answers: a local server with the package behind it, or the network in this page. Both take the same questions,
// ask(question, how, { signal, part }): how has run, t, layer, method and what the question needs.

import { held } from "./still.js";
import { bytesOf, unpack } from "./wire.js";

export class Refused extends Error {}

// Answers that were given, the last used last; at most so many bytes.
class Kept {
  constructor(most) {
    this.most = most;
    this.bytes = 0;
    this.held = new Map();
  }

  get(key) {
    const found = this.held.get(key);
    if (found) {
      this.held.delete(key);
      this.held.set(key, found);
    }
    return found;
  }

  put(key, answer) {
    let bytes = 1000;
    for (const value of Object.values(answer)) bytes += value?.byteLength ?? 0;
    this.held.set(key, answer);
    answer.bytes = bytes;
    this.bytes += bytes;
    for (const [old, one] of this.held) {
      if (this.bytes <= this.most || old === key) break;
      this.held.delete(old);
      this.bytes -= one.bytes;
    }
  }
}

const keyOf = (question, how) => question + JSON.stringify({ ...how, run: how.run.key });

class Source {
  constructor() {
    this.kept = new Kept(2 ** 28);
    this.asking = new Map();
  }

  // An answer. Who asks what another waits for already waits with them; the work stops when nobody does. What is asked
  // ahead, nobody looks at yet: it makes way for all else.
  async ask(question, how, { signal, part, ahead } = {}) {
    signal?.throwIfAborted();
    const known = this.known(question, how);
    if (known) return known;
    const key = keyOf(question, how), asked = this.asking.get(key) ?? this.begin(key, question, how, ahead);
    asked.waiting += 1;
    if (part) asked.parts.add(part);
    if (part && asked.latest) part(asked.latest);
    return new Promise((give, fail) => {
      const leave = () => {
        asked.parts.delete(part);
        asked.waiting -= 1;
        if (!asked.waiting) {
          if (this.asking.get(key) === asked) this.asking.delete(key);
          asked.stop.abort(signal.reason);
        }
        fail(signal.reason);
      };
      signal?.addEventListener("abort", leave, { once: true });
      asked.answer.then(give, fail).finally(() => signal?.removeEventListener("abort", leave));
    });
  }

  begin(key, question, how, ahead) {
    const asked = { stop: new AbortController(), parts: new Set(), waiting: 0 };
    const tell = (one) => {
      asked.latest = one?.heat ? one : asked.latest;
      asked.parts.forEach((part) => part(one));
    };
    asked.answer = this.answer(question, how, asked.stop.signal, tell, ahead).then((answer) => {
      if (!answer.coarse || how.width) this.kept.put(keyOf(question, { ...how, quick: undefined }), answer);
      return answer;
    }).finally(() => { if (this.asking.get(key) === asked) this.asking.delete(key); });
    this.asking.set(key, asked);
    return asked;
  }

  known(question, how) {
    return this.kept.get(keyOf(question, { ...how, quick: undefined }));
  }

  // A neuron's map: a coarse one first, where the exact one takes long.
  async *maps(how, neuron, signal) {
    if (how.run.live && !this.known("map", { ...how, neuron })) {
      const first = await this.ask("map", { ...how, neuron, quick: 1 }, { signal });
      yield first;
      if (!first.coarse) return;
    }
    yield await this.ask("map", { ...how, neuron }, { signal });
  }

  // Maps that somebody may want to see next, one after the other.
  async ahead(how, neurons, signal) {
    if (!how.run.live) return; // in the page they take milliseconds
    for (const neuron of neurons) await this.ask("map", { ...how, neuron }, { signal, ahead: true }).catch(() => {});
  }
}

export class Live extends Source {
  constructor(token) {
    super();
    this.token = token;
  }

  async runs() {
    return (await this.answer("runs", {})).runs;
  }

  methods(run) {
    return run.methods;
  }

  async answer(question, { run, t, place, chosen, ...more }, signal, _, ahead) {
    const asked = new URLSearchParams(ahead ? { ahead: 1 } : {});
    if (run !== undefined) asked.set("run", run.key);
    if (t !== undefined) asked.set("frame", t);
    for (const [name, value] of Object.entries({ ...more, ...place })) if (value !== undefined) asked.set(name, value);
    if (chosen) asked.set("chosen", Object.entries(chosen).map(([layer, neurons]) => `${layer}:${neurons.join(",")}`).join(";"));
    let response;
    try {
      response = await fetch(`/api/${question}?${asked}`, { headers: { "X-Xinc-Token": this.token }, signal });
    } catch (fault) {
      if (fault.name === "AbortError") throw fault;
      throw new Refused("The server does not answer. Is xinc explore still running?");
    }
    if (!response.ok) throw new Refused((await response.json().catch(() => ({}))).error ?? `The server says ${response.status}.`);
    const answer = unpack(await response.arrayBuffer());
    if (question === "heat") [answer.rows, answer.columns] = answer.heat.shape;
    if (question === "map") [, answer.height, answer.width] = answer.map.shape;
    if (question === "principal") {
      const size = answer.pictures.length / answer.pictures.shape[0];
      answer.pictures = Array.from(answer.squares, (_, n) => answer.pictures.subarray(n * size, (n + 1) * size));
    }
    return answer;
  }
}

export class Local extends Source {
  constructor(data, engine) {
    super();
    this.data = data;
    this.waiting = new Map();
    this.next = 0;
    this.engine = engine;
  }

  static async open() {
    const text = (id) => document.getElementById(id)?.textContent ?? "";
    return new Local(unpack(bytesOf(text("data")).buffer), text("engine"));
  }

  async runs() {
    return this.data.runs;
  }

  methods() {
    return ["exact"];
  }

  worker(run) {
    if (run.worker) return run.worker;
    const url = URL.createObjectURL(new Blob([this.engine], { type: "text/javascript" })), { data } = this, at = `${run.key}/`;
    const array = (name) => data[at + name]?.slice(); // a copy: what is sent is gone
    const stages = run.stages.map((stage, n) => ({ ...stage, weight: array(`weight${n}`), bias: array(`bias${n}`) }));
    const input = { ...run.input, rows: array("rows"), columns: array("columns"), frequencies: array("frequencies") };
    if (run.input.kind === "tensor") {
      const inputs = data[`${at}inputs`], size = inputs.length / inputs.shape[0];
      input.values = Array.from({ length: inputs.shape[0] }, (_, t) => inputs.slice(t * size, (t + 1) * size));
    }
    run.worker = new Worker(url);
    run.worker.postMessage({ network: { stages, input } });
    run.worker.onmessage = ({ data: { id, answer, fault, done } }) => {
      const asked = this.waiting.get(id);
      if (!asked) return;
      if (!done) return asked.part?.(answer);
      this.waiting.delete(id);
      if (fault) asked.fail(new Refused(fault));
      else asked.give(answer);
    };
    return run.worker;
  }

  async answer(question, { run, t, place, ...more }, signal, part) {
    signal?.throwIfAborted();
    if (question === "unique") return { shares: this.data[`${run.key}/unique/${more.layer}/${t}`] };
    if (run.still && question !== "labels") return this.still(question, run, t, place, more);
    if (question === "labels") return this.labels(run, more.grouping, t);
    if (question === "kernel") return this.kernel(run, more.layer, more.neuron);
    const how = { t, ...more };
    if (question === "at") Object.assign(how, this.pixels(run, t, place));
    const found = await this.computed(question, how, run, signal, part);
    if (question === "picture") found.original = run.reference === false ? found.picture : await this.original(run, t);
    return found;
  }

  async still(question, run, t, place, more) {
    const found = held(this.data, run, question, { t, ...more, ...(question === "at" ? this.pixels(run, t, place) : {}) });
    if (!found) throw new Refused(`This page holds pictures, not the network: maps of the ${run.still[t]?.[more.layer]?.length ?? 0} strongest neurons of each layer. A server (xinc explore) answers the rest.`);
    if (question === "picture") found.original = run.reference === false ? found.picture : await this.original(run, t);
    return found;
  }

  computed(question, how, run, signal, part) {
    const worker = this.worker(run), id = this.next++;
    return new Promise((give, fail) => {
      this.waiting.set(id, { give, fail, part });
      signal?.addEventListener("abort", () => {
        if (!this.waiting.delete(id)) return;
        worker.postMessage({ cancel: id });
        fail(signal.reason);
      });
      worker.postMessage({ id, question, how });
    });
  }

  async original(run, t) {
    const bytes = this.data[`${run.key}/frame${t}`], image = await createImageBitmap(new Blob([bytes], { type: "image/webp" }), { colorSpaceConversion: "none" });
    const canvas = new OffscreenCanvas(image.width, image.height), paint = canvas.getContext("2d", { willReadFrequently: true });
    paint.drawImage(image, 0, 0);
    const { data } = paint.getImageData(0, 0, image.width, image.height), n = image.width * image.height, out = new Float32Array(3 * n);
    for (let p = 0; p < n; p++) for (let c = 0; c < 3; c++) out[c * n + p] = data[4 * p + c] / 255;
    return out;
  }

  labels(run, grouping, t) {
    const at = `${run.key}/labels/${grouping}/${t}`, kept = this.data[at];
    if (!kept) return { names: [] };
    if (kept instanceof Uint16Array) this.data[at] = Int32Array.from(kept, (label) => (label === 65535 ? -1 : label));
    return { labels: this.data[at], names: run.regions[grouping] };
  }

  kernel(run, layer, neuron) {
    const n = run.stages.findIndex((stage) => stage.name === layer), stage = run.stages[n], weight = this.data[`${run.key}/weight${n}`];
    const taps = stage.kh * stage.kw, kernel = new Float32Array(stage.kind === "linear" ? stage.cout : taps);
    if (stage.kind === "linear") for (let o = 0; o < stage.cout; o++) kernel[o] = weight[o * stage.cin + neuron];
    else {
      const base = ((neuron % stage.cout) * stage.cin + Math.floor(neuron / stage.cout)) * taps;
      kernel.set(weight.subarray(base, base + taps));
    }
    kernel.shape = stage.kind === "linear" ? [1, stage.cout] : [stage.kh, stage.kw];
    return { kernel };
  }

  // The box around a place, and which of its pixels are meant.
  pixels(run, t, { box, grouping, region }) {
    const [H, W] = run.size;
    if (box) {
      const [y0, x0, y1, x1] = box.split(",").map(Number);
      return { box: { y0, x0, y1, x1 } };
    }
    const { labels } = this.labels(run, grouping, t);
    const found = { y0: H, y1: 0, x0: W, x1: 0 };
    for (let p = 0; labels && p < labels.length; p++) {
      if (labels[p] !== region) continue;
      const y = Math.floor(p / W), x = p % W;
      found.y0 = Math.min(found.y0, y);
      found.y1 = Math.max(found.y1, y + 1);
      found.x0 = Math.min(found.x0, x);
      found.x1 = Math.max(found.x1, x + 1);
    }
    if (found.y1 <= found.y0) throw new Refused("This frame does not show that region.");
    const w = found.x1 - found.x0, mask = new Uint8Array((found.y1 - found.y0) * w);
    for (let n = 0; n < mask.length; n++) mask[n] = labels[(found.y0 + Math.floor(n / w)) * W + found.x0 + (n % w)] === region ? 1 : 0;
    return { box: found, mask };
  }
}
