// Numbers as pictures. The colour maps and their reasons are the report's (show/style.py).

const MAPS = {
  magma: "0000040a08221d114736106b51127c6a1c818326819c2e7fb73779d0416fe75263f56b5cfc8961fea772fec488fde2a3fcfdbf",
  cividis: "00224e002e6a1a386f32436d434e6c535a6d61656f6f70737d7c788c88789b9476aba072bcae6ccdbb63dec958f0d846fee838",
  viridis: "44015448186a472d7b4240863b528b33638d2c728e26828e21918c1fa08828ae803fbc735ec96284d44baddc30d8e219fde725",
};

const TABLES = Object.fromEntries(Object.entries(MAPS).map(([name, hex]) => {
  const points = hex.match(/../g).map((pair) => parseInt(pair, 16)), table = new Uint8Array(3 * 256);
  for (let n = 0; n < 256; n++) {
    const at = (n / 255) * 16, low = Math.min(15, Math.floor(at)), part = at - low;
    for (let c = 0; c < 3; c++) table[3 * n + c] = Math.round(points[3 * low + c] * (1 - part) + points[3 * low + 3 + c] * part);
  }
  return [name, table];
}));

export const gradient = (name) => `linear-gradient(to right, ${Array.from({ length: 9 }, (_, n) => {
  const at = 3 * Math.round((n / 8) * 255), table = TABLES[name];
  return `rgb(${table[at]} ${table[at + 1]} ${table[at + 2]})`;
}).join(", ")})`;

const byte = (value) => Math.max(0, Math.min(255, Math.round(255 * value)));

// Colours (3, H, W) in [0, 1].
export function pictured(values, height, width) {
  const image = new ImageData(width, height), n = height * width;
  for (let p = 0; p < n; p++) {
    for (let c = 0; c < 3; c++) image.data[4 * p + c] = byte(values[c * n + p]);
    image.data[4 * p + 3] = 255;
  }
  return image;
}

// Signed colours (C, H, W): grey is nothing; scale is what becomes full.
export function signed(values, height, width, scale) {
  const image = new ImageData(width, height), n = height * width, colours = values.length / n;
  for (let p = 0; p < n; p++) {
    for (let c = 0; c < 3; c++) image.data[4 * p + c] = byte(0.5 + values[(colours === 3 ? c * n : 0) + p] / (2 * scale));
    image.data[4 * p + 3] = 255;
  }
  return image;
}

// Numbers (H, W) from zero to scale.
export function heated(values, height, width, scale, name = "magma") {
  const image = new ImageData(width, height), table = TABLES[name];
  for (let p = 0; p < height * width; p++) {
    const at = 3 * Math.max(0, Math.min(255, Math.round((255 * values[p]) / scale)));
    image.data.set(table.subarray(at, at + 3), 4 * p);
    image.data[4 * p + 3] = 255;
  }
  return image;
}

// Sum over colours of |values|, (H, W).
export function absolute(values, height, width) {
  const n = height * width, out = new Float32Array(n);
  for (let m = 0; m < values.length; m++) out[m % n] += Math.abs(values[m]);
  return out;
}

// The greatest |value|, a few outliers aside.
export function peak(values) {
  const step = Math.max(1, Math.floor(values.length / 20000)), sizes = [];
  let most = 0;
  for (let n = 0; n < values.length; n += step) sizes.push(Math.abs(values[n]));
  for (let n = 0; n < values.length; n++) most = Math.max(most, Math.abs(values[n]));
  sizes.sort((a, b) => a - b);
  return Math.max(sizes[Math.floor(0.998 * (sizes.length - 1))] || 0, most / 4) || 1e-12;
}

export function draw(canvas, image) {
  canvas.width = image.width;
  canvas.height = image.height;
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

// The hues that tell layers and clusters apart, from the page's style.
export function hues() {
  const style = getComputedStyle(document.documentElement);
  return ["blue", "rust", "green", "violet", "ochre", "grey"].map((name) => style.getPropertyValue(`--${name}`).trim());
}

export function decibels(a, b) {
  let sum = 0;
  const clip = (value) => Math.min(1, Math.max(0, value));
  for (let n = 0; n < a.length; n++) sum += (clip(a[n]) - clip(b[n])) ** 2;
  return -10 * Math.log10(Math.max(1e-10, sum / a.length));
}
