// Functions of single numbers, each with its derivative where PyTorch has one.

const SQRT_HALF = Math.SQRT1_2;
const DENSITY = 1 / Math.sqrt(2 * Math.PI);
const TANH_SCALE = Math.sqrt(2 / Math.PI);

// The error function: its series for small |x|, else the continued fraction of its complement.
export function erf(x) {
  const size = Math.abs(x);
  if (size > 6) return Math.sign(x);
  if (size < 2.5) {
    let term = x, sum = x;
    for (let n = 1; n < 60; n++) {
      term *= (-x * x) / n;
      const part = term / (2 * n + 1);
      sum += part;
      if (Math.abs(part) < 1e-17) break;
    }
    return (2 / Math.sqrt(Math.PI)) * sum;
  }
  let fraction = 0;
  for (let n = 40; n > 0; n--) fraction = n / 2 / (size + fraction);
  return Math.sign(x) * (1 - Math.exp(-size * size) / Math.sqrt(Math.PI) / (size + fraction));
}

const sigmoid = (x) => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x)));

function tanhInner(x) {
  return TANH_SCALE * (x + 0.044715 * x * x * x);
}

// name: [function, derivative], both of (x, node); the node holds settings such as `slope`.
export const FUNCTIONS = {
  relu: [(x) => (x > 0 ? x : 0), (x) => (x > 0 ? 1 : 0)],
  leaky_relu: [(x, n) => (x > 0 ? x : n.slope * x), (x, n) => (x > 0 ? 1 : n.slope)],
  elu: [
    (x, n) => (x > 0 ? x : n.alpha * Math.expm1(x)),
    (x, n) => (x > 0 ? 1 : n.alpha * Math.exp(x)),
  ],
  // `inclusive`: whether the derivative at the bounds is one (torch.clamp) or zero (ReLU6, Hardtanh).
  clamp: [
    (x, n) => Math.min(n.max, Math.max(n.min, x)),
    (x, n) => ((n.inclusive ? x >= n.min && x <= n.max : x > n.min && x < n.max) ? 1 : 0),
  ],
  gelu: [
    (x) => 0.5 * x * (1 + erf(x * SQRT_HALF)),
    (x) => 0.5 * (1 + erf(x * SQRT_HALF)) + x * DENSITY * Math.exp(-0.5 * x * x),
  ],
  gelu_tanh: [
    (x) => 0.5 * x * (1 + Math.tanh(tanhInner(x))),
    (x) => {
      const t = Math.tanh(tanhInner(x));
      return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * TANH_SCALE * (1 + 3 * 0.044715 * x * x);
    },
  ],
  silu: [
    (x) => x * sigmoid(x),
    (x) => { const s = sigmoid(x); return s * (1 + x * (1 - s)); },
  ],
  sigmoid: [sigmoid, (x) => { const s = sigmoid(x); return s * (1 - s); }],
  tanh: [Math.tanh, (x) => { const t = Math.tanh(x); return 1 - t * t; }],
  hardsigmoid: [
    (x) => Math.min(1, Math.max(0, x / 6 + 0.5)),
    (x) => (x > -3 && x < 3 ? 1 / 6 : 0),
  ],
  hardswish: [
    (x) => x * Math.min(1, Math.max(0, x / 6 + 0.5)),
    (x) => (x <= -3 ? 0 : x < 3 ? x / 3 + 0.5 : 1),
  ],
  log: [(x) => Math.log(Math.max(x, 1.1754943508222875e-38)), (x) => (x >= 1.1754943508222875e-38 ? 1 / x : 0)],
};

export function softmax(scores) {
  let most = -Infinity;
  for (const score of scores) most = Math.max(most, score);
  const out = new Float32Array(scores.length);
  let sum = 0;
  for (let i = 0; i < out.length; i++) sum += Math.exp(scores[i] - most);
  for (let i = 0; i < out.length; i++) out[i] = Math.exp(scores[i] - most) / sum;
  return out;
}

export function argmax(values) {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}
