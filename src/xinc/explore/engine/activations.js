// Elementwise functions and their derivatives, by the names that the canvas's plan gives them.

function erf(x) {
  // Abramowitz and Stegun 7.1.26: off by 1.5e-7 at most.
  const a = Math.abs(x), t = 1 / (1 + 0.3275911 * a);
  const y = 1 - ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t * Math.exp(-a * a);
  return x < 0 ? -y : y;
}

const sigmoid = (x) => 1 / (1 + Math.exp(-x));
const normal = (x) => 0.5 * (1 + erf(x * Math.SQRT1_2));
const CUBE = 0.044715, ROOT = Math.sqrt(2 / Math.PI);
const inner = (x) => Math.tanh(ROOT * (x + CUBE * x * x * x));

// Each row: parameters to [value, derivative].
const ACTIVATIONS = {
  identity: () => [(x) => x, () => 1],
  relu: () => [(x) => (x > 0 ? x : 0), (x) => (x > 0 ? 1 : 0)],
  relu6: () => [(x) => Math.min(Math.max(x, 0), 6), (x) => (x > 0 && x < 6 ? 1 : 0)],
  leaky_relu: ([slope]) => [(x) => (x > 0 ? x : slope * x), (x) => (x > 0 ? 1 : slope)],
  gelu: () => [(x) => x * normal(x), (x) => normal(x) + x * Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI)],
  gelu_tanh: () => [
    (x) => 0.5 * x * (1 + inner(x)),
    (x) => { const t = inner(x); return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * ROOT * (1 + 3 * CUBE * x * x); },
  ],
  silu: () => [(x) => x * sigmoid(x), (x) => { const s = sigmoid(x); return s * (1 + x * (1 - s)); }],
  sigmoid: () => [sigmoid, (x) => { const s = sigmoid(x); return s * (1 - s); }],
  tanh: () => [Math.tanh, (x) => { const t = Math.tanh(x); return 1 - t * t; }],
  tanh_unit: () => [(x) => Math.tanh(x) / 2 + 0.5, (x) => { const t = Math.tanh(x); return (1 - t * t) / 2; }],
  softplus: () => [(x) => (x > 20 ? x : Math.log1p(Math.exp(x))), sigmoid],
  hardswish: () => [(x) => (x * Math.min(Math.max(x + 3, 0), 6)) / 6, (x) => (x <= -3 ? 0 : x >= 3 ? 1 : (2 * x + 3) / 6)],
  elu: () => [(x) => (x > 0 ? x : Math.expm1(x)), (x) => (x > 0 ? 1 : Math.exp(x))],
  sin: ([rate]) => [(x) => Math.sin(rate * x), (x) => rate * Math.cos(rate * x)],
  cos: () => [Math.cos, (x) => -Math.sin(x)],
  affine: ([scale, shift]) => [(x) => scale * x + shift, () => scale],
};

function each(values, fn) {
  const out = new Float32Array(values.length);
  for (let n = 0; n < values.length; n++) out[n] = fn(values[n]);
  return out;
}
