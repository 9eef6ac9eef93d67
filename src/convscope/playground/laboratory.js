// The work behind the page: everything about one image, in parts, the quick ones first.
//
// A request is {image, serial, explained, layer, cam, window, stride, epsilon, target}; `serial`
// changes with the image. A part that was made with the same settings is not made again.

import { argmax, softmax } from "./functions.js";
import { TRANSFORMS } from "./images.js";
import { attack, gradCam, maximize, occlusion, saliency } from "./methods.js";
import { Network } from "./nn.js";

export class Laboratory {
  constructor(graph, tensors) {
    this.network = new Network(graph, tensors);
    this.kept = new Map();
    this.tape = null;
    this.serial = null;
  }

  // Yields parts {part, ...}, and null wherever the work may be left for something newer.
  *run(request) {
    const { network } = this;
    const { image, serial } = request;
    if (this.serial !== serial) {
      this.serial = null;
      this.kept.clear();
      this.tape = network.forward(image);
      this.serial = serial;
    }
    const logits = this.tape.logits;
    const predicted = argmax(logits);
    const explained = request.explained ?? predicted;
    yield* this.part("prediction", [], () => ({ probabilities: softmax(logits), predicted }));
    yield* this.part("saliency", [explained], () => ({ map: saliency(network, this.tape, explained), explained }));
    yield* this.part("maps", [request.layer], () => this.maps(request.layer));
    yield* this.part("cam", [explained, request.cam], () =>
      request.cam === null ? { coarse: null } : { ...gradCam(network, this.tape, explained, request.cam), explained });
    yield* this.slowPart("attack", [request.target, request.epsilon], () =>
      attack(network, image, predicted, request.target, request.epsilon));
    yield* this.slowPart("transforms", [], () => this.transforms(image));
    yield* this.slowPart("occlusion", [explained, request.window, request.stride], () =>
      occlusion(network, image, logits, explained, request.window, request.stride));
    yield { part: "done" };
  }

  *part(part, settings, make) {
    const key = JSON.stringify(settings);
    if (this.kept.get(part) === key) return;
    const made = make();
    this.kept.set(part, key);
    yield { part, ...made };
  }

  // As `part`, of a generator whose steps are shares of the work.
  *slowPart(part, settings, make) {
    const key = JSON.stringify(settings);
    if (this.kept.get(part) === key) return;
    this.kept.delete(part);
    const work = make();
    for (;;) {
      const { done, value } = work.next();
      if (done) {
        this.kept.set(part, key);
        yield { part, ...value };
        return;
      }
      yield null;
    }
  }

  maps(layer) {
    if (layer === null) return { values: null };
    return { layer, values: this.tape.values[layer].slice() };
  }

  // An image that drives a map up, and how high the same place is in the image at hand.
  *unit(layer, unit) {
    const [, height, width] = this.network.nodes[layer].shape;
    const here = this.tape.values[layer][(unit * height + Math.floor(height / 2)) * width + Math.floor(width / 2)];
    return { layer, unit, here, ...(yield* maximize(this.network, layer, unit)) };
  }

  *transforms(image) {
    const shape = this.network.nodes[0].shape;
    const rows = [];
    for (const transform of TRANSFORMS) {
      if (transform.onlyColor && shape[0] !== 3) continue;
      const changed = transform.apply(image, shape);
      const probabilities = this.network.probabilities(changed);
      rows.push({ name: transform.name, about: transform.about, image: changed, probabilities });
      yield rows.length / TRANSFORMS.length;
    }
    return { rows };
  }

  // One output value of a convolution: what lies under the kernel, the weights, and the sum.
  arithmetic(layer, unit, row, column) {
    const node = this.network.nodes[layer];
    const { kernel, stride, padding, dilation } = node;
    const shape = this.network.nodes[node.from[0]].shape;
    const x = this.tape.values[node.from[0]];
    const inGroup = shape[0] / node.groups;
    const first = Math.floor(unit / (node.shape[0] / node.groups)) * inGroup;
    const area = kernel[0] * kernel[1];
    const channels = [];
    for (let c = 0; c < inGroup; c++) {
      const values = [], inside = [];
      const weights = node.weight.slice((unit * inGroup + c) * area, (unit * inGroup + c + 1) * area);
      let sum = 0;
      for (let u = 0; u < kernel[0]; u++) {
        for (let v = 0; v < kernel[1]; v++) {
          const y = row * stride[0] + u * dilation[0] - padding[0];
          const z = column * stride[1] + v * dilation[1] - padding[1];
          const known = y >= 0 && y < shape[1] && z >= 0 && z < shape[2];
          const value = known ? x[((first + c) * shape[1] + y) * shape[2] + z] : 0;
          values.push(value);
          inside.push(known);
          sum += value * weights[u * kernel[1] + v];
        }
      }
      channels.push({ values, inside, weights, sum });
    }
    const bias = node.bias === null ? 0 : node.bias[unit];
    const total = this.tape.values[layer][(unit * node.shape[1] + row) * node.shape[2] + column];
    return { layer, unit, row, column, first, kernel, channels, bias, total };
  }
}
