// A chain of convolutions (a linear layer over pixels is one of 1×1) as it runs in the page: forwards once a frame,
// backwards from a few pixels, and a change of some neurons forwards. Tensors are (channels, rows, columns), flat.
//
// A stage: name, cin, cout, kh, kw, ph, pw (padding), rh, rw (pixel shuffle), h, w (grid of the convolution), weight
// (cout, cin, kh, kw), bias (cout), activation, parameters, kind: "convolution" (a neuron is a kernel, index
// input * cout + output) or "linear" (a neuron is an input feature).

class Chain {
  constructor(stages, inputOf) {
    this.stages = stages;
    this.inputOf = inputOf;
    this.frames = new Map(); // the last few frames' values
    for (const stage of stages) {
      [stage.value, stage.derivative] = ACTIVATIONS[stage.activation](stage.parameters);
      stage.H = stage.h * stage.rh;
      stage.W = stage.w * stage.rw;
      stage.channels = stage.cout / (stage.rh * stage.rw);
      stage.neurons = stage.kind === "linear" ? stage.cin : stage.cin * stage.cout;
    }
    const last = stages[stages.length - 1];
    this.H = last.H;
    this.W = last.W;
  }

  position(name) {
    return this.stages.findIndex((stage) => stage.name === name);
  }

  // Values of a frame: what reaches each stage, what enters each activation, the picture.
  frame(t) {
    let values = this.frames.get(t);
    if (!values) {
      values = { inputs: [], pre: [], slopes: [], picture: null };
      let x = this.inputOf(t);
      for (const stage of this.stages) {
        values.inputs.push(x);
        const pre = shuffled(stage, convolve(stage, x, stage.weight, stage.bias));
        values.pre.push(pre);
        x = each(pre, stage.value);
      }
      values.picture = x;
    }
    this.frames.delete(t);
    this.frames.set(t, values);
    if (this.frames.size > 3) this.frames.delete(this.frames.keys().next().value);
    return values;
  }

  slope(values, s) {
    return (values.slopes[s] ??= each(values.pre[s], this.stages[s].derivative));
  }

  // The picture without some neurons: { layer: [neurons] }; with only, without all others of those layers.
  without(t, chosen, only) {
    const values = this.frame(t);
    const first = this.stages.findIndex((stage) => chosen[stage.name]);
    if (first < 0) return values.picture;
    let x = values.inputs[first];
    for (const stage of this.stages.slice(first)) {
      const scale = chosen[stage.name] && scales(stage, chosen[stage.name], only);
      x = each(shuffled(stage, convolve(stage, x, scale ? scaled(stage, scale) : stage.weight, stage.bias)), stage.value);
    }
    return x;
  }

  // Sum of T_k times scale_k over all neurons of a stage, carried to the picture: (3, H, W).
  push(t, s, scale) {
    const stage = this.stages[s], values = this.frame(t);
    return this.carry(values, s, shuffled(stage, convolve(stage, values.inputs[s], scaled(stage, scale), null)), null);
  }

  // T_k of one neuron in colour, (3, H, W): its term meets one channel of the next convolution only.
  map(t, s, k) {
    const stage = this.stages[s], values = this.frame(t);
    if (stage.kind === "linear") {
      const scale = new Float32Array(stage.neurons);
      scale[k] = 1;
      return this.push(t, s, scale);
    }
    const i = Math.floor(k / stage.cout), o = k % stage.cout, size = stage.h * stage.w, taps = stage.kh * stage.kw;
    const one = { ...stage, cin: 1, cout: 1 };
    const plane = convolve(one, values.inputs[s].subarray(i * size, (i + 1) * size),
      stage.weight.subarray((o * stage.cin + i) * taps, (o * stage.cin + i + 1) * taps), null);
    const placed = new Float32Array(stage.H * stage.W), phase = o % (stage.rh * stage.rw);
    const a = Math.floor(phase / stage.rw), b = phase % stage.rw;
    for (let y = 0; y < stage.h; y++) {
      for (let x = 0; x < stage.w; x++) placed[(y * stage.rh + a) * stage.W + x * stage.rw + b] = plane[y * stage.w + x];
    }
    return this.carry(values, s, placed, Math.floor(o / (stage.rh * stage.rw)));
  }

  // A change of what enters the activation of stage s (of one channel, or of all) as the change of the picture.
  carry(values, s, change, channel) {
    for (let at = s; ; at++) {
      const stage = this.stages[at], slope = this.slope(values, at);
      const offset = channel === null ? 0 : channel * stage.H * stage.W;
      for (let n = 0; n < change.length; n++) change[n] *= slope[offset + n];
      if (at === this.stages.length - 1) {
        if (channel === null) return change;
        const full = new Float32Array(stage.channels * stage.H * stage.W);
        full.set(change, offset);
        return full;
      }
      const next = this.stages[at + 1];
      const met = channel === null ? next : { ...next, cin: 1 };
      const weight = channel === null ? next.weight : ofChannel(next, channel);
      change = shuffled(next, convolve(met, change, weight, null));
      channel = null;
    }
  }

  // Pairings of pictures with every neuron's T: pull(...)[k * rows + r] = <cotangent_r, T_k>. The cotangents are
  // (rows, 3, h, w) over a box of the picture. Also <cotangent_r, what the stage's bias adds>.
  pull(t, s, box, cotangents, rows) {
    const values = this.frame(t);
    let g = cotangents, window = box;
    for (let at = this.stages.length - 1; ; at--) {
      const stage = this.stages[at];
      g = g.slice();
      bend(stage, g, rows, window, this.slope(values, at));
      if (at === s) return this.pair(values, s, window, g, rows);
      [g, window] = backwards(stage, g, rows, window);
    }
  }

  pair(values, s, window, g, rows) {
    const stage = this.stages[s], input = values.inputs[s], taps = stage.kh * stage.kw, phases = stage.rh * stage.rw;
    const terms = new Float32Array(stage.neurons * rows), bias = new Float32Array(rows);
    const [hw, ww] = [window.y1 - window.y0, window.x1 - window.x0], patch = new Float32Array(stage.cin * taps);
    const share = new Float32Array(rows);
    for (let y = Math.floor(window.y0 / stage.rh); y < Math.ceil(window.y1 / stage.rh); y++) {
      for (let x = Math.floor(window.x0 / stage.rw); x < Math.ceil(window.x1 / stage.rw); x++) {
        gather(stage, input, y, x, patch);
        for (let o = 0; o < stage.cout; o++) {
          const c = Math.floor(o / phases), phase = o % phases;
          const py = y * stage.rh + Math.floor(phase / stage.rw) - window.y0, px = x * stage.rw + (phase % stage.rw) - window.x0;
          if (py < 0 || py >= hw || px < 0 || px >= ww) continue;
          let any = false;
          for (let r = 0; r < rows; r++) {
            share[r] = g[((r * stage.channels + c) * hw + py) * ww + px];
            any ||= share[r] !== 0;
            bias[r] += share[r] * stage.bias[o];
          }
          if (!any) continue;
          for (let i = 0; i < stage.cin; i++) {
            const base = (o * stage.cin + i) * taps;
            let z = 0;
            for (let n = 0; n < taps; n++) z += stage.weight[base + n] * patch[i * taps + n];
            const k = (stage.kind === "linear" ? i : i * stage.cout + o) * rows;
            for (let r = 0; r < rows; r++) terms[k + r] += share[r] * z;
          }
        }
      }
    }
    return { terms, bias };
  }
}

function scales(stage, neurons, only) {
  const scale = new Float32Array(stage.neurons).fill(only ? 0 : 1);
  for (const k of neurons) scale[k] = only ? 1 : 0;
  return scale;
}

// The weight with each neuron's share scaled.
function scaled(stage, scale) {
  const taps = stage.kh * stage.kw, weight = stage.weight.slice();
  for (let o = 0; o < stage.cout; o++) {
    for (let i = 0; i < stage.cin; i++) {
      const by = scale[stage.kind === "linear" ? i : i * stage.cout + o];
      if (by !== 1) for (let n = 0; n < taps; n++) weight[(o * stage.cin + i) * taps + n] *= by;
    }
  }
  return weight;
}

function ofChannel(stage, i) {
  const taps = stage.kh * stage.kw, weight = new Float32Array(stage.cout * taps);
  for (let o = 0; o < stage.cout; o++) weight.set(stage.weight.subarray((o * stage.cin + i) * taps, (o * stage.cin + i + 1) * taps), o * taps);
  return weight;
}

// What one position of the convolution sees, (cin, kh, kw), zeros outside.
function gather(stage, input, y, x, patch) {
  let n = 0;
  for (let i = 0; i < stage.cin; i++) {
    for (let ky = 0; ky < stage.kh; ky++) {
      for (let kx = 0; kx < stage.kw; kx++) {
        const yy = y + ky - stage.ph, xx = x + kx - stage.pw;
        patch[n++] = yy < 0 || xx < 0 || yy >= stage.h || xx >= stage.w ? 0 : input[(i * stage.h + yy) * stage.w + xx];
      }
    }
  }
}

function bend(stage, g, rows, window, slope) {
  let n = 0;
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < stage.channels; c++) {
      for (let y = window.y0; y < window.y1; y++) {
        for (let x = window.x0; x < window.x1; x++) g[n++] *= slope[(c * stage.H + y) * stage.W + x];
      }
    }
  }
}

// Through a stage's shuffle and convolution backwards: cotangents over the window of its input that was read.
function backwards(stage, g, rows, window) {
  const coarse = { y0: Math.floor(window.y0 / stage.rh), y1: Math.ceil(window.y1 / stage.rh), x0: Math.floor(window.x0 / stage.rw), x1: Math.ceil(window.x1 / stage.rw) };
  const seen = { y0: Math.max(0, coarse.y0 - stage.ph), y1: Math.min(stage.h, coarse.y1 + stage.ph), x0: Math.max(0, coarse.x0 - stage.pw), x1: Math.min(stage.w, coarse.x1 + stage.pw) };
  const [hw, ww] = [window.y1 - window.y0, window.x1 - window.x0], [hs, ws] = [seen.y1 - seen.y0, seen.x1 - seen.x0];
  const out = new Float32Array(rows * stage.cin * hs * ws), { weight, cin, kh, kw } = stage, phases = stage.rh * stage.rw;
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < stage.channels; c++) {
      for (let py = 0; py < hw; py++) {
        for (let px = 0; px < ww; px++) {
          const value = g[((r * stage.channels + c) * hw + py) * ww + px];
          if (value === 0) continue;
          const fy = window.y0 + py, fx = window.x0 + px, y = Math.floor(fy / stage.rh), x = Math.floor(fx / stage.rw);
          const o = c * phases + (fy - y * stage.rh) * stage.rw + (fx - x * stage.rw);
          for (let ky = 0; ky < kh; ky++) {
            const sy = y + ky - stage.ph - seen.y0;
            if (sy < 0 || sy >= hs) continue;
            for (let kx = 0; kx < kw; kx++) {
              const sx = x + kx - stage.pw - seen.x0;
              if (sx < 0 || sx >= ws) continue;
              for (let i = 0; i < cin; i++) out[((r * cin + i) * hs + sy) * ws + sx] += value * weight[((o * cin + i) * kh + ky) * kw + kx];
            }
          }
        }
      }
    }
  }
  return [out, seen];
}

// (cout, h, w) to (channels, H, W).
function shuffled(stage, x) {
  const { rh, rw, h, w, H, W } = stage;
  if (rh * rw === 1) return x;
  const out = new Float32Array(x.length);
  let n = 0;
  for (let c = 0; c < stage.channels; c++) {
    for (let a = 0; a < rh; a++) {
      for (let b = 0; b < rw; b++) {
        for (let y = 0; y < h; y++) {
          let to = (c * H + y * rh + a) * W + b;
          for (let xx = 0; xx < w; xx++, to += rw) out[to] = x[n++];
        }
      }
    }
  }
  return out;
}

// The stage's convolution, plainly: the twin of the fast one, and what runs where there is no WebAssembly with SIMD.
function convolvePlainly(stage, x, weight, bias) {
  const { cin, cout, kh, kw, ph, pw, h, w } = stage, out = new Float32Array(cout * h * w);
  for (let o = 0; o < cout; o++) {
    const base = o * h * w;
    if (bias) out.fill(bias[o], base, base + h * w);
    for (let i = 0; i < cin; i++) {
      for (let ky = 0; ky < kh; ky++) {
        const dy = ky - ph, y0 = Math.max(0, -dy), y1 = Math.min(h, h - dy);
        for (let kx = 0; kx < kw; kx++) {
          const by = weight[((o * cin + i) * kh + ky) * kw + kx];
          if (by === 0) continue;
          const dx = kx - pw, x0 = Math.max(0, -dx), x1 = Math.min(w, w - dx);
          for (let y = y0; y < y1; y++) {
            const to = base + y * w, from = (i * h + y + dy) * w + dx;
            for (let xx = x0; xx < x1; xx++) out[to + xx] += by * x[from + xx];
          }
        }
      }
    }
  }
  return out;
}
