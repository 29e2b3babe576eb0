// The network in the page, off the page's own thread: one question at a time, the newest first; long ones answer in
// parts and stop when they are no longer wanted.

const QUESTIONS = {
  *picture(chain, { t }) {
    return { picture: chain.frame(t).picture.slice() };
  },

  // What every neuron adds to the mean colour of some pixels, and the stage's bias: terms[k * 3 + c].
  *at(chain, { t, layer, box, mask }) {
    const [h, w] = [box.y1 - box.y0, box.x1 - box.x0], cotangents = new Float32Array(9 * h * w);
    const inside = mask ?? new Uint8Array(h * w).fill(1), picture = chain.frame(t).picture;
    const count = inside.reduce((sum, one) => sum + (one ? 1 : 0), 0), value = new Float32Array(3);
    for (let n = 0; n < h * w; n++) {
      if (!inside[n]) continue;
      const pixel = (box.y0 + Math.floor(n / w)) * chain.W + box.x0 + (n % w);
      for (let c = 0; c < 3; c++) {
        cotangents[(c * 3 + c) * h * w + n] = 1 / count;
        value[c] += picture[c * chain.H * chain.W + pixel] / count;
      }
    }
    return { ...chain.pull(t, chain.position(layer), box, cotangents, 3), value };
  },

  *map(chain, { t, layer, neuron, width }) {
    const map = chain.map(t, chain.position(layer), neuron);
    return width ? shrunk(map, chain.H, chain.W, width) : { map, height: chain.H, width: chain.W };
  },

  *without(chain, { t, chosen, only }) {
    const picture = chain.without(t, chosen, only), predicted = chain.frame(t).picture.slice();
    for (const [layer, neurons] of Object.entries(chosen)) {
      const s = chain.position(layer), gone = scales(chain.stages[s], neurons, only).map((one) => one - 1);
      const change = chain.push(t, s, gone);
      for (let n = 0; n < change.length; n++) predicted[n] += change[n];
      yield null;
    }
    return { picture: picture.slice(), predicted };
  },

  *group(chain, { t, layer, neurons }) {
    return { map: chain.push(t, chain.position(layer), scales(chain.stages[chain.position(layer)], neurons, true)) };
  },

  // <T_k, T_l> of one neuron with all others of its layer.
  *gram(chain, { t, layer, neuron }) {
    const s = chain.position(layer), whole = { y0: 0, y1: chain.H, x0: 0, x1: chain.W };
    const { terms } = chain.pull(t, s, whole, chain.map(t, s, neuron), 1);
    return { products: terms };
  },

  // A neuron's total in each of some frames.
  *course(chain, { layer, neuron }) {
    const count = chain.count, frames = new Set();
    for (let n = 0; n < Math.min(count, 24); n++) frames.add(Math.round((n * (count - 1)) / Math.max(1, Math.min(count, 24) - 1)));
    const totals = [];
    for (const t of frames) {
      totals.push(chain.map(t, chain.position(layer), neuron).reduce((sum, value) => sum + Math.abs(value), 0));
      yield null;
    }
    return { frames: Int32Array.from(frames), totals: Float32Array.from(totals) };
  },

  // sum_k |C_k| at every step-th pixel, coarse to fine; totals, and a histogram of |C| of each sampled pixel.
  *heat(chain, { t, layer, finest }) {
    const s = chain.position(layer), K = chain.stages[s].neurons, BINS = 96;
    const one = new Float32Array(9);
    one[0] = one[4] = one[8] = 1;
    for (let step = 16; step >= finest; step /= 2) {
      const rows = Math.ceil(chain.H / step), columns = Math.ceil(chain.W / step), half = step >> 1;
      const heat = new Float32Array(rows * columns), totals = new Float64Array(K), bins = new Uint16Array(rows * columns * BINS);
      const sums = new Float64Array(BINS);
      for (let row = 0; row < rows; row++) {
        for (let column = 0; column < columns; column++) {
          const y = Math.min(row * step + half, chain.H - 1), x = Math.min(column * step + half, chain.W - 1);
          const { terms } = chain.pull(t, s, { y0: y, y1: y + 1, x0: x, x1: x + 1 }, one, 3), at = row * columns + column;
          for (let k = 0; k < K; k++) {
            const size = Math.abs(terms[3 * k]) + Math.abs(terms[3 * k + 1]) + Math.abs(terms[3 * k + 2]);
            heat[at] += size;
            totals[k] += size;
            const bin = Math.max(0, Math.min(BINS - 1, Math.floor(4 * (Math.log2(size + 1e-12) + 22))));
            bins[at * BINS + bin]++;
            sums[bin] += size;
          }
        }
        yield { part: (row + 1) / rows, step };
      }
      const scale = (chain.H * chain.W) / (rows * columns);
      const done = { heat, rows, columns, step, totals: Float32Array.from(totals, (sum) => sum * scale), bins, sums, neurons: K };
      if (step === finest) return done;
      yield done;
    }
  },

  // The leading independent pictures of a layer: subspace iteration on the signed maps, never holding them.
  *principal(chain, { t, layer, count }) {
    const s = chain.position(layer), stage = chain.stages[s], whole = { y0: 0, y1: chain.H, x0: 0, x1: chain.W };
    const random = generator(1);
    let vectors = Array.from({ length: count + 4 }, () => Float32Array.from({ length: stage.neurons }, random));
    let pictures = [], squares = [];
    const rounds = 6;
    for (let round = 0; round < rounds; round++) {
      vectors = orthonormal(vectors);
      pictures = [];
      for (const vector of vectors) {
        pictures.push(chain.push(t, s, vector));
        yield { part: (round + pictures.length / vectors.length / 2) / rounds };
      }
      squares = pictures.map((picture) => picture.reduce((sum, value) => sum + value * value, 0));
      if (round === rounds - 1) break;
      vectors = vectors.map((_, n) => chain.pull(t, s, whole, pictures[n], 1).terms);
      yield { part: (round + 1) / rounds };
    }
    const order = squares.map((_, n) => n).sort((a, b) => squares[b] - squares[a]).slice(0, count);
    return { pictures: order.map((n) => pictures[n]), squares: order.map((n) => squares[n]), vectors: order.map((n) => vectors[n]) };
  },
};

function generator(seed) {
  return () => {
    seed = (seed * 1664525 + 1013904223) >>> 0;
    return seed / 2 ** 31 - 1;
  };
}

function orthonormal(vectors) {
  const done = [];
  for (const vector of vectors) {
    for (const other of done) {
      let dot = 0;
      for (let n = 0; n < vector.length; n++) dot += vector[n] * other[n];
      for (let n = 0; n < vector.length; n++) vector[n] -= dot * other[n];
    }
    let square = 0;
    for (const value of vector) square += value * value;
    const by = 1 / Math.sqrt(square || 1);
    for (let n = 0; n < vector.length; n++) vector[n] *= by;
    done.push(vector);
  }
  return done;
}

// A signed map averaged over cells, at most width columns.
function shrunk(map, H, W, wanted) {
  const step = Math.max(1, Math.ceil(W / wanted)), h = Math.ceil(H / step), w = Math.ceil(W / step);
  const out = new Float32Array(3 * h * w);
  for (let c = 0; c < 3; c++) {
    for (let y = 0; y < h; y++) {
      for (let x = 0; x < w; x++) {
        let sum = 0, count = 0;
        for (let yy = y * step; yy < Math.min(H, (y + 1) * step); yy++) {
          for (let xx = x * step; xx < Math.min(W, (x + 1) * step); xx++, count++) sum += map[(c * H + yy) * W + xx];
        }
        out[(c * h + y) * w + x] = sum / count;
      }
    }
  }
  return { map: out, height: h, width: w };
}

// What a frame feeds the first stage: kept values, or coordinates with or without Fourier features.
function inputOf(input) {
  if (input.kind === "tensor") return (t) => input.values[t];
  const { rows, columns, order, frequencies } = input;
  return () => {
    const H = rows.length, W = columns.length, N = H * W, count = frequencies ? frequencies.length / 2 : 0;
    const out = new Float32Array(N * (frequencies ? 2 * count : 2));
    for (let y = 0; y < H; y++) {
      for (let x = 0; x < W; x++) {
        const first = order === "yx" ? rows[y] : columns[x], second = order === "yx" ? columns[x] : rows[y], n = y * W + x;
        if (!frequencies) [out[n], out[N + n]] = [first, second];
        for (let f = 0; f < count; f++) {
          const angle = 2 * Math.PI * (first * frequencies[2 * f] + second * frequencies[2 * f + 1]);
          out[f * N + n] = Math.sin(angle);
          out[(count + f) * N + n] = Math.cos(angle);
        }
      }
    }
    return out;
  };
}

function serve() {
  let chain = null;
  const jobs = [];
  let busy = false;
  const next = new MessageChannel();
  next.port1.onmessage = turn;

  function turn() {
    // Quick questions go before long ones, and later ones before earlier ones.
    const job = jobs.filter((one) => !one.long).pop() ?? jobs[jobs.length - 1];
    if (!job) {
      busy = false;
      return;
    }
    try {
      const until = performance.now() + 15;
      let step;
      do step = job.steps.next(); while (!step.done && !(step.value && step.value.heat) && performance.now() < until);
      if (step.done) {
        jobs.splice(jobs.indexOf(job), 1);
        postMessage({ id: job.id, done: true, answer: step.value });
      } else if (step.value) postMessage({ id: job.id, answer: step.value });
    } catch (fault) {
      jobs.splice(jobs.indexOf(job), 1);
      postMessage({ id: job.id, done: true, fault: String(fault && fault.message ? fault.message : fault) });
    }
    next.port2.postMessage(null);
  }

  onmessage = ({ data }) => {
    if (data.network) {
      chain = new Chain(data.network.stages, inputOf(data.network.input));
      chain.count = data.network.input.kind === "tensor" ? data.network.input.values.length : 1;
      return;
    }
    if (data.cancel !== undefined) {
      const at = jobs.findIndex((job) => job.id === data.cancel);
      if (at >= 0) jobs.splice(at, 1);
      return;
    }
    jobs.push({ id: data.id, long: ["heat", "principal", "course"].includes(data.question), steps: QUESTIONS[data.question](chain, data.how) });
    if (!busy) {
      busy = true;
      next.port2.postMessage(null);
    }
  };
}

if (typeof WorkerGlobalScope !== "undefined") serve();
