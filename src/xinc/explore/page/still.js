// A network that the page cannot run: a few frames, with the maps of each layer's strongest neurons.

// Answers from what the page holds, or null where only the network could answer.
export function held(data, { key, still, size }, question, { t, layer, neuron, neurons, box, mask }) {
  const at = `${key}/still/${t}/`, of = (name) => data[`${at}${layer}/${name}`], known = still[t]?.[layer] ?? [];
  if (question === "picture") return { picture: Float32Array.from(data[`${at}picture`]) };
  if (!of("maps")) return null;
  const [count, , h, w] = of("maps").shape, cells = h * w, total = of("totals").length;
  // Signed values of a held map over cells of pixels.
  const map = (n) => {
    const values = new Float32Array(3 * cells), step = of("scale")[n] / 127, bytes = of("maps");
    for (let p = 0; p < values.length; p++) values[p] = (bytes[n * 3 * cells + p] - 128) * step;
    return values;
  };
  const index = (k) => known.indexOf(k);
  if (question === "map") {
    const n = index(neuron);
    return n < 0 ? null : { map: map(n), height: h, width: w };
  }
  if (question === "group") {
    if (neurons.some((k) => index(k) < 0)) return null;
    const sum = new Float32Array(3 * cells);
    for (const k of neurons) map(index(k)).forEach((value, p) => { sum[p] += value; });
    return { map: sum, height: h, width: w };
  }
  if (question === "heat") return { totals: of("totals"), heat: of("heat") && Float32Array.from(of("heat")), rows: h, columns: w, step: Math.ceil(size[1] / w) };
  if (question === "gram") {
    const own = index(neuron), products = new Float32Array(total);
    if (own < 0) return null;
    const one = map(own);
    for (let n = 0; n < count; n++) products[known[n]] = map(n).reduce((sum, value, p) => sum + value * one[p], 0);
    return { products };
  }
  if (question !== "at") return null;
  const step = Math.ceil(size[1] / w), weights = new Float32Array(cells), picture = data[`${at}picture`], value = [0, 0, 0];
  let pixels = 0;
  for (let y = box.y0; y < box.y1; y++) {
    for (let x = box.x0; x < box.x1; x++) {
      if (mask && !mask[(y - box.y0) * (box.x1 - box.x0) + (x - box.x0)]) continue;
      weights[Math.floor(y / step) * w + Math.floor(x / step)] += 1;
      pixels += 1;
      for (let c = 0; c < 3; c++) value[c] += picture[(c * size[0] + y) * size[1] + x];
    }
  }
  const mean = (values, c) => weights.reduce((sum, weight, p) => sum + weight * values[c * cells + p], 0) / pixels;
  const terms = new Float32Array(3 * total);
  for (let n = 0; n < count; n++) {
    const own = map(n);
    for (let c = 0; c < 3; c++) terms[3 * known[n] + c] = mean(own, c);
  }
  const sum = of("sum"), heat = of("heat");
  return { terms, value: Float32Array.from(value, (one) => one / pixels), known: count,
    sums: sum && [0, 1, 2].map((c) => mean(sum, c)), size: heat && mean(heat, 0) };
}
