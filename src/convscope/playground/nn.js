// A network as a list of nodes: forward for one image, and gradients back to any node.
//
// A node is {op, from: [indices of nodes], shape, name, ...settings}; node 0 is the image, pixels in
// [0, 1], the last node the logits. Shapes are those of one image: [channels, height, width], or
// [length] behind a flattening. Values are flat Float32Arrays.

import { Convolution } from "./convolution.js";
import { FUNCTIONS, softmax } from "./functions.js";
import { timesVector, transposedTimesVector } from "./matrix.js";
import { averagePool, averagePoolBackward, maxPool, maxPoolBackward } from "./pooling.js";

export const size = (shape) => shape.reduce((product, side) => product * side, 1);

const copied = { forward: (_, [x]) => x, backward: (_, g) => [g] };

function logSoftmax(x) {
  let most = -Infinity, sum = 0;
  for (const value of x) most = Math.max(most, value);
  for (const value of x) sum += Math.exp(value - most);
  return x.map((value) => value - most - Math.log(sum));
}

// Positions in `from`'s array of what a strided slice keeps, in order.
function kept(node, shape) {
  const [channels, rows, columns] = node.shape;
  const [c0, y0, x0] = node.start;
  const [dc, dy, dx] = node.step;
  const index = new Int32Array(channels * rows * columns);
  let at = 0;
  for (let c = 0; c < channels; c++) {
    for (let y = 0; y < rows; y++) {
      for (let x = 0; x < columns; x++) {
        index[at++] = ((c0 + c * dc) * shape[1] + y0 + y * dy) * shape[2] + x0 + x * dx;
      }
    }
  }
  return index;
}

// Where each value of the unpadded array stands in the padded one; -1 where it was cut off.
function padded(node, shape) {
  const [before, top, left] = node.before;
  const index = new Int32Array(size(shape));
  let at = 0;
  for (let c = 0; c < shape[0]; c++) {
    for (let y = 0; y < shape[1]; y++) {
      for (let x = 0; x < shape[2]; x++, at++) {
        const to = [c + before, y + top, x + left];
        const inside = to.every((value, axis) => value >= 0 && value < node.shape[axis]);
        index[at] = inside ? (to[0] * node.shape[1] + to[1]) * node.shape[2] + to[2] : -1;
      }
    }
  }
  return index;
}

// How often each value of the smaller factor is repeated: once, or once per pixel of its channel.
const repeats = (node, x) => size(node.shape) / x.length;

// op: forward(node, inputs) and backward(node, gradient, inputs, output, saved); `saved` is what
// forward returned beside `out`.
const OPERATIONS = {
  conv2d: {
    forward: (node, [x]) => node.convolution.forward(x),
    backward: (node, g) => [node.convolution.backward(g)],
  },
  linear: {
    forward: (node, [x]) => timesVector(node.weight, x, node.bias, node.shape[0], x.length),
    backward: (node, g, [x]) => [transposedTimesVector(node.weight, g, node.shape[0], x.length)],
  },
  affine: {
    forward: (node, [x]) => {
      const area = x.length / node.scale.length;
      return x.map((value, i) => value * node.scale[(i / area) | 0] + node.shift[(i / area) | 0]);
    },
    backward: (node, g) => {
      const area = g.length / node.scale.length;
      return [g.map((value, i) => value * node.scale[(i / area) | 0])];
    },
  },
  scale: {
    forward: (node, [x]) => x.map((value) => value * node.factor + node.offset),
    backward: (node, g) => [g.map((value) => value * node.factor)],
  },
  max_pool: {
    forward: (node, [x], [shape]) => {
      const { out, where } = maxPool(node, x, shape);
      return { out, saved: where };
    },
    backward: (node, g, [x], out, where) => [maxPoolBackward(g, where, x.length)],
  },
  average_pool: {
    forward: (node, [x], [shape]) => averagePool(node, x, shape),
    backward: (node, g, inputs, out, saved, [shape]) => [averagePoolBackward(node, g, shape)],
  },
  add: {
    forward: (node, [a, b]) => {
      const [big, small] = a.length >= b.length ? [a, b] : [b, a];
      const times = repeats(node, small);
      return times === 1
        ? big.map((value, i) => value + small[i])
        : big.map((value, i) => value + small[(i / times) | 0]);
    },
    backward: (node, g, inputs) => inputs.map((x) => summed(g, repeats(node, x))),
  },
  multiply: {
    forward: (node, [a, b]) => {
      const big = a.length >= b.length ? a : b;
      const small = big === a ? b : a;
      const times = repeats(node, small);
      return big.map((value, i) => value * small[(i / times) | 0]);
    },
    backward: (node, g, [a, b]) => [[a, b], [b, a]].map(([x, other]) => {
      const times = repeats(node, other);
      return summed(g.map((value, i) => value * other[(i / times) | 0]), repeats(node, x));
    }),
  },
  concatenate: {
    forward: (node, inputs) => {
      const out = new Float32Array(size(node.shape));
      let at = 0;
      for (const x of inputs) { out.set(x, at); at += x.length; }
      return out;
    },
    backward: (node, g, inputs) => {
      let at = 0;
      return inputs.map((x) => g.slice(at, (at += x.length)));
    },
  },
  slice: {
    forward: (node, [x], [shape]) => {
      node.index ??= kept(node, shape);
      return Float32Array.from(node.index, (place) => x[place]);
    },
    backward: (node, g, [x]) => {
      const out = new Float32Array(x.length);
      for (let i = 0; i < g.length; i++) out[node.index[i]] += g[i];
      return [out];
    },
  },
  pad: {
    forward: (node, [x], [shape]) => {
      node.index ??= padded(node, shape);
      const out = new Float32Array(size(node.shape)).fill(node.value);
      for (let i = 0; i < x.length; i++) if (node.index[i] >= 0) out[node.index[i]] = x[i];
      return out;
    },
    backward: (node, g, [x]) => [x.map((_, i) => (node.index[i] >= 0 ? g[node.index[i]] : 0))],
  },
  reshape: copied,
  softmax: {
    forward: (_, [x]) => softmax(x),
    backward: (_, g, inputs, p) => {
      let mean = 0;
      for (let i = 0; i < p.length; i++) mean += g[i] * p[i];
      return [g.map((value, i) => p[i] * (value - mean))];
    },
  },
  log_softmax: {
    forward: (_, [x]) => logSoftmax(x),
    backward: (_, g, inputs, out) => {
      let sum = 0;
      for (const value of g) sum += value;
      return [g.map((value, i) => value - Math.exp(out[i]) * sum)];
    },
  },
};

function summed(g, times) {
  if (times === 1) return g;
  const out = new Float32Array(g.length / times);
  for (let i = 0; i < g.length; i++) out[(i / times) | 0] += g[i];
  return out;
}

for (const [name, [value, slope]] of Object.entries(FUNCTIONS)) {
  OPERATIONS[name] = {
    forward: (node, [x]) => {
      const out = new Float32Array(x.length);
      for (let i = 0; i < x.length; i++) out[i] = value(x[i], node);
      return out;
    },
    backward: (node, g, [x]) => {
      const out = new Float32Array(x.length);
      for (let i = 0; i < x.length; i++) if (g[i] !== 0) out[i] = g[i] * slope(x[i], node);
      return [out];
    },
  };
}

// The two that most networks spend their time in, without a call per number.
OPERATIONS.relu = {
  forward: (_, [x]) => {
    const out = new Float32Array(x.length);
    for (let i = 0; i < x.length; i++) out[i] = x[i] > 0 ? x[i] : 0;
    return out;
  },
  backward: (_, g, [x]) => {
    const out = new Float32Array(x.length);
    for (let i = 0; i < x.length; i++) out[i] = x[i] > 0 ? g[i] : 0;
    return [out];
  },
};
OPERATIONS.add.forward = ((general) => (node, [a, b]) => {
  if (a.length !== b.length) return general(node, [a, b]);
  const out = new Float32Array(a.length);
  for (let i = 0; i < a.length; i++) out[i] = a[i] + b[i];
  return out;
})(OPERATIONS.add.forward);

export const KNOWN_OPERATIONS = Object.keys(OPERATIONS);

const WEIGHTS = ["weight", "bias", "scale", "shift"];

export class Network {
  // graph: {nodes, classes, input, ...}; tensors: Float32Arrays, which nodes name by number.
  constructor(graph, tensors) {
    this.graph = graph;
    this.classes = graph.classes;
    this.nodes = graph.nodes.map((raw) => {
      const node = { ...raw };
      for (const key of WEIGHTS) if (key in node) node[key] = node[key] === null ? null : tensors[node[key]];
      return node;
    });
    for (const node of this.nodes.slice(1)) {
      if (!(node.op in OPERATIONS)) throw new Error(`this page knows no operation ${node.op}`);
      if (node.op === "conv2d") {
        const shape = this.nodes[node.from[0]].shape;
        node.convolution = new Convolution({ ...node, shape, outShape: node.shape });
      }
    }
  }

  // All values of the nodes for one image, pixels in [0, 1]; a tape for `backward`.
  forward(image) {
    const values = [image];
    const saved = [null];
    for (let i = 1; i < this.nodes.length; i++) {
      const node = this.nodes[i];
      const made = OPERATIONS[node.op].forward(node, node.from.map((k) => values[k]), this.shapes(node));
      values.push(made.out ?? made);
      saved.push(made.saved ?? null);
    }
    return { values, saved, logits: values[values.length - 1] };
  }

  shapes(node) {
    return node.from.map((k) => this.nodes[k].shape);
  }

  probabilities(image) {
    return softmax(this.forward(image).logits);
  }

  // The gradient at node `to` of the sum of the values of node `of`, by default the logits, weighted
  // by `weights`.
  backward(tape, weights, to = 0, of = this.nodes.length - 1) {
    const gradients = new Array(this.nodes.length).fill(null);
    gradients[of] = Float32Array.from(weights);
    for (let i = of; i > to; i--) {
      const g = gradients[i];
      const node = this.nodes[i];
      if (g === null || node.from.every((k) => k < to)) continue;
      const inputs = node.from.map((k) => tape.values[k]);
      const parts = OPERATIONS[node.op].backward(node, g, inputs, tape.values[i], tape.saved[i], this.shapes(node));
      node.from.forEach((k, slot) => { gradients[k] = plus(gradients[k], parts[slot]); });
      gradients[i] = null;
    }
    return gradients[to] ?? new Float32Array(size(this.nodes[to].shape));
  }
}

function plus(a, b) {
  if (a === null) return b;
  const out = new Float32Array(a.length);
  for (let i = 0; i < a.length; i++) out[i] = a[i] + b[i];
  return out;
}
