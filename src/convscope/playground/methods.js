// Explanations and attacks of one image, with the definitions of convscope's own.

import { argmax, softmax } from "./functions.js";
import { blurred } from "./images.js";

const oneHot = (length, index) => {
  const out = new Float32Array(length);
  out[index] = 1;
  return out;
};

// Largest absolute gradient of a logit over the channels (Simonyan et al., 2013).
export function saliency(network, tape, target) {
  const gradient = network.backward(tape, oneHot(tape.logits.length, target));
  const [channels, height, width] = network.nodes[0].shape;
  const area = height * width;
  const map = new Float32Array(area);
  for (let c = 0; c < channels; c++) {
    for (let i = 0; i < area; i++) map[i] = Math.max(map[i], Math.abs(gradient[c * area + i]));
  }
  return map;
}

// Ascent of one value inside the network: steps, their root mean square per pixel, how often what
// was made is blurred and by how much, and the noise that it starts from.
const ASCENT = { steps: 40, size: 0.02, every: 5, blur: 0.6, noise: 0.1 };
const PASSING = new Set(["relu", "max_pool"]);

// The value in the middle of map `unit` of a node: its place, and a gradient that is one there.
function middle(node, unit) {
  const [channels, height, width] = node.shape;
  const at = (unit * height + Math.floor(height / 2)) * width + Math.floor(width / 2);
  return { at, one: oneHot(channels * height * width, at) };
}

// An image that drives the value in the middle of map `unit` of node `layer`: from gray with a
// little noise, along the normalized gradient; the best of all steps, or null if none is higher than
// the first. While a ReLU holds the value at zero, what comes before the ReLU is driven. Yields the
// share that is done.
export function* maximize(network, layer, unit) {
  const { nodes } = network;
  const shape = nodes[0].shape;
  let source = layer;
  while (PASSING.has(nodes[source].op)) source = nodes[source].from[0];
  const { at, one } = middle(nodes[layer], unit);
  const before = middle(nodes[source], unit);
  let state = unit + 1;
  const noise = () => { state = (Math.imul(state, 1664525) + 1013904223) >>> 0; return state / 2 ** 31 - 1; };
  let image = new Float32Array(shape[0] * shape[1] * shape[2]).map(() => 0.5 + ASCENT.noise * noise());
  let best = null, value = -Infinity, start = null;
  for (let step = 0; ; step++) {
    const tape = network.forward(image);
    const now = tape.values[layer][at];
    start ??= now;
    if (now > value) { value = now; best = image; }
    yield step / ASCENT.steps;
    if (step === ASCENT.steps) break;
    let gradient = network.backward(tape, one, 0, layer);
    if (gradient.every((each) => each === 0)) gradient = network.backward(tape, before.one, 0, source);
    const length = Math.sqrt(gradient.reduce((sum, each) => sum + each * each, 0));
    if (length === 0) break;
    const scale = (ASCENT.size * Math.sqrt(image.length)) / length;
    image = image.map((pixel, i) => Math.min(1, Math.max(0, pixel + scale * gradient[i])));
    if ((step + 1) % ASCENT.every === 0 && step + 1 < ASCENT.steps) image = blurred(image, shape, ASCENT.blur);
  }
  return { image: value > start ? best : null, value, start, steps: ASCENT.steps };
}

// Maps of a layer, each weighted by the mean of its gradient (Selvaraju et al., 2017): raw, signed,
// in the layer's own size.
export function gradCam(network, tape, target, layer) {
  const gradient = network.backward(tape, oneHot(tape.logits.length, target), layer);
  const [channels, height, width] = network.nodes[layer].shape;
  const area = height * width;
  const maps = tape.values[layer];
  const coarse = new Float64Array(area);
  for (let c = 0; c < channels; c++) {
    let weight = 0;
    for (let i = 0; i < area; i++) weight += gradient[c * area + i];
    weight /= area;
    for (let i = 0; i < area; i++) coarse[i] += weight * maps[c * area + i];
  }
  return { coarse: Float32Array.from(coarse), height, width };
}

// Bilinear enlargement, centers of pixels aligned as torch aligns them without `align_corners`.
export function enlarged(map, height, width, tall, wide) {
  const out = new Float32Array(tall * wide);
  for (let y = 0; y < tall; y++) {
    const sy = Math.max(0, ((y + 0.5) * height) / tall - 0.5);
    const top = Math.floor(sy), below = Math.min(height - 1, top + 1);
    for (let x = 0; x < wide; x++) {
      const sx = Math.max(0, ((x + 0.5) * width) / wide - 0.5);
      const left = Math.floor(sx), right = Math.min(width - 1, left + 1);
      const upper = map[top * width + left] * (1 - (sx - left)) + map[top * width + right] * (sx - left);
      const lower = map[below * width + left] * (1 - (sx - left)) + map[below * width + right] * (sx - left);
      out[y * wide + x] = upper * (1 - (sy - top)) + lower * (sy - top);
    }
  }
  return out;
}

// Where a window begins along one side; the last one is moved back to the border.
export function positions(length, side, stride) {
  const out = [];
  for (let at = 0; at < length - side; at += stride) out.push(at);
  out.push(length - side);
  return out;
}

// One window after the other hidden by the image's mean color; yields the share that is done.
// Returns the probabilities of all classes at every position and the mean fall of the logit.
export function* occlusion(network, image, logits, target, window, stride) {
  const [channels, height, width] = network.nodes[0].shape;
  const area = height * width;
  const tops = positions(height, window, stride);
  const lefts = positions(width, window, stride);
  const fill = Array.from({ length: channels }, (_, c) => {
    let sum = 0;
    for (let i = 0; i < area; i++) sum += image[c * area + i];
    return sum / area;
  });
  const fall = new Float64Array(area);
  const covers = new Int32Array(area);
  const probabilities = [];
  for (const top of tops) {
    for (const left of lefts) {
      const hidden = image.slice();
      for (let c = 0; c < channels; c++) {
        for (let y = top; y < top + window; y++) {
          hidden.fill(fill[c], c * area + y * width + left, c * area + y * width + left + window);
        }
      }
      const scores = network.forward(hidden).logits;
      probabilities.push(softmax(scores));
      for (let y = top; y < top + window; y++) {
        for (let x = left; x < left + window; x++) {
          fall[y * width + x] += logits[target] - scores[target];
          covers[y * width + x]++;
        }
      }
      yield probabilities.length / (tops.length * lefts.length);
    }
  }
  return { map: Float32Array.from(fall, (value, i) => value / covers[i]), probabilities, tops, lefts, window };
}

// Weights of the logits in the gradient of the log-odds of a class.
function logOddsWeights(logits, label) {
  const others = softmax(Float32Array.from(logits, (value, i) => (i === label ? -Infinity : value)));
  return others.map((value, i) => (i === label ? 1 : -value));
}

function logOdds(logits, label) {
  let most = -Infinity, sum = 0;
  logits.forEach((value, i) => { if (i !== label) most = Math.max(most, value); });
  logits.forEach((value, i) => { if (i !== label) sum += Math.exp(value - most); });
  return logits[label] - most - Math.log(sum);
}

export const ATTACK_STEPS = 20;

// Projected gradient descent with sign steps of 2.5 epsilon / steps inside the epsilon-ball and
// [0, 1]; of all points the best is kept. Toward `target`, or away from `label` if target is null.
export function* attack(network, image, label, target, epsilon, steps = ATTACK_STEPS) {
  const goal = target ?? label;
  const sign = target === null ? -1 : 1;
  const size = (2.5 * epsilon) / steps;
  const low = image.map((value) => Math.max(0, value - epsilon));
  const high = image.map((value) => Math.min(1, value + epsilon));
  let x = image.slice();
  let best = null;
  for (let step = 0; step <= steps; step++) {
    const tape = network.forward(x);
    const score = sign * logOdds(tape.logits, goal);
    if (best === null || score > best.score) best = { score, image: x, logits: tape.logits, step };
    if (step === steps || epsilon === 0) break;
    const gradient = network.backward(tape, logOddsWeights(tape.logits, goal));
    const next = new Float32Array(x.length);
    for (let i = 0; i < x.length; i++) {
      next[i] = Math.min(high[i], Math.max(low[i], x[i] + sign * size * Math.sign(gradient[i])));
    }
    x = next;
    yield (step + 1) / steps;
  }
  const probabilities = softmax(best.logits);
  const predicted = argmax(best.logits);
  return { image: best.image, probabilities, predicted, success: target === null ? predicted !== label : predicted === target };
}

// A generator's result, all at once.
export function finish(generator) {
  for (;;) {
    const { done, value } = generator.next();
    if (done) return value;
  }
}
