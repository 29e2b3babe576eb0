// The convolution of a stage: by WebAssembly, four numbers at a time, where the browser has it; else plainly.

const CONVOLUTION = // wat2wasm convolution.wat
  "AGFzbQEAAAABEgFgDn9/f39/f39/f39/f39/AAIQAQRwYWdlBm1lbW9yeQIAAQMCAQAHDAEIY29udm9sdmUAAAr2AwHzAwILfwt7A0BBACEPA0" +
  "BBACEQA0AgAv0JAgAhHCAcIR0gAv0JAgQhHiAeIR8gAv0JAgghICAgISEgAv0JAgwhIiAiISMgASEUIAAgDyAKbCAQQQV0amohFyAEIREDQCAX" +
  "IRYgBiESA0AgFiEVIAchEwNAIBX9AAQAIRkgFf0ABBAhGiAU/QkCACEbIBwgGSAb/eYB/eQBIRwgHSAaIBv95gH95AEhHSAU/QkCBCEbIB4gGS" +
  "Ab/eYB/eQBIR4gHyAaIBv95gH95AEhHyAU/QkCCCEbICAgGSAb/eYB/eQBISAgISAaIBv95gH95AEhISAU/QkCDCEbICIgGSAb/eYB/eQBISIg" +
  "IyAaIBv95gH95AEhIyAUQRBqIRQgFUEEaiEVIBNBAWsiEw0ACyAWIApqIRYgEkEBayISDQALIBcgC2ohFyARQQFrIhENAAsgAyAPIAxsIBBBBX" +
  "RqaiEYIBggHP0LBAAgGCAd/QsEECAYIA1qIRggGCAe/QsEACAYIB/9CwQQIBggDWohGCAYICD9CwQAIBggIf0LBBAgGCANaiEYIBggIv0LBAAg" +
  "GCAj/QsEECAQQQFqIRAgECAJSQ0ACyAPQQFqIQ8gDyAISQ0ACyAUIQEgAkEQaiECIAMgDUECdGohAyAOQQFqIQ4gDiAFSQ0ACws=";

function compiled() {
  try {
    const memory = new WebAssembly.Memory({ initial: 64 });
    const bytes = Uint8Array.from(atob(CONVOLUTION), (letter) => letter.charCodeAt(0));
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { page: { memory } });
    return (stage, x, weight, bias) => {
      if (stage.kh * stage.kw === 1) stage = { ...stage, h: 1, w: stage.h * stage.w };
      return inBands(stage, x, weight, bias, memory, exports.convolve);
    };
  } catch {
    return null;
  }
}

const BAND_BYTES = 2 ** 27;

// Rows of the picture at a time, so that the copies stay small.
function inBands(stage, x, weight, bias, memory, run) {
  const { cin, cout, kh, kw, ph, pw, h, w } = stage, out = new Float32Array(cout * h * w);
  const blocks = Math.ceil(Math.min(w, 65536) / 8), quads = Math.ceil(cout / 4), span = blocks * 8;
  const width = span + 2 * pw, packed = quads * 4 * cin * kh * kw;
  for (let x0 = 0; x0 < w; x0 += span) {
    const columns = Math.min(span, w - x0);
    const band = Math.max(1, Math.min(h, Math.floor(BAND_BYTES / 4 / (cin * width + quads * 4 * span)) - 2 * ph));
    for (let y0 = 0; y0 < h; y0 += band) {
      const rows = Math.min(band, h - y0), high = rows + 2 * ph;
      const at = { weights: 0, bias: packed, input: packed + quads * 4 };
      at.output = at.input + cin * high * width + 8;
      const bytes = 4 * (at.output + quads * 4 * rows * span);
      if (bytes > memory.buffer.byteLength) memory.grow(Math.ceil((bytes - memory.buffer.byteLength) / 65536));
      const values = new Float32Array(memory.buffer);
      pack(stage, weight, bias, values, at);
      values.fill(0, at.input, at.output);
      for (let i = 0; i < cin; i++) {
        for (let y = Math.max(0, ph - y0); y < Math.min(high, h + ph - y0); y++) {
          const from = Math.max(0, x0 - pw), to = Math.min(w, x0 + columns + pw), row = (i * h + y0 + y - ph) * w;
          values.set(x.subarray(row + from, row + to), at.input + (i * high + y) * width + from - x0 + pw);
        }
      }
      run(4 * at.input, 4 * at.weights, 4 * at.bias, 4 * at.output, cin, quads, kh, kw, rows, blocks,
        4 * width, 4 * high * width, 4 * span, 4 * rows * span);
      for (let o = 0; o < cout; o++) {
        for (let y = 0; y < rows; y++) {
          const from = at.output + (o * rows + y) * span;
          out.set(values.subarray(from, from + columns), (o * h + y0 + y) * w + x0);
        }
      }
    }
  }
  return out;
}

// Weights of four output channels side by side.
function pack({ cin, cout, kh, kw }, weight, bias, values, at) {
  const taps = cin * kh * kw;
  values.fill(0, at.weights, at.input);
  for (let o = 0; o < cout; o++) {
    const to = (o >> 2) * taps * 4 + (o & 3);
    for (let n = 0; n < taps; n++) values[to + 4 * n] = weight[o * taps + n];
    if (bias) values[at.bias + o] = bias[o];
  }
}

const convolve = compiled() ?? convolvePlainly;
