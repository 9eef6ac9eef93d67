// Convolution of one image and its gradient by the input, as products of matrices.
//
// Columns of the right matrix are output pixels, rows are the places under the kernel. The gradient
// is again a convolution: of the output's gradient, spread by the stride, with the kernel turned by
// half a turn and input and output channels exchanged.

import { TILE, packRows, panels, multiplyPacked } from "./matrix.js";

let columnMemory = new Float64Array(0);

// What is under the kernel at every output pixel, packed in panels of four pixels.
function columnsOf(x, from, channels, height, width, window, outHeight, outWidth) {
  const { kernel, stride, dilation, padding } = window;
  const depth = channels * kernel[0] * kernel[1];
  const pixels = outHeight * outWidth;
  const size = panels(pixels) * TILE * depth;
  if (columnMemory.length < size) columnMemory = new Float64Array(size);
  const packed = columnMemory;
  if (pixels % TILE) packed.fill(0, (pixels - (pixels % TILE)) * depth, size);
  let k = 0;
  for (let c = 0; c < channels; c++) {
    for (let u = 0; u < kernel[0]; u++) {
      const dy = u * dilation[0] - padding[0];
      for (let v = 0; v < kernel[1]; v++, k++) {
        const dx = v * dilation[1] - padding[1];
        let pixel = 0;
        for (let oy = 0; oy < outHeight; oy++) {
          const y = oy * stride[0] + dy;
          const inside = y >= 0 && y < height;
          const line = from + (c * height + y) * width;
          for (let ox = 0; ox < outWidth; ox++, pixel++) {
            const column = ox * stride[1] + dx;
            const lane = pixel & 3;
            packed[(pixel - lane) * depth + k * TILE + lane] =
              inside && column >= 0 && column < width ? x[line + column] : 0;
          }
        }
      }
    }
  }
  return packed;
}

function convolve(x, shape, packedByGroup, bias, window, outShape, groups) {
  const [channels, height, width] = shape;
  const [filters, outHeight, outWidth] = outShape;
  const inGroup = channels / groups;
  const outGroup = filters / groups;
  const depth = inGroup * window.kernel[0] * window.kernel[1];
  const pixels = outHeight * outWidth;
  const out = new Float32Array(filters * pixels);
  for (let g = 0; g < groups; g++) {
    const columns = columnsOf(x, g * inGroup * height * width, inGroup, height, width, window, outHeight, outWidth);
    const some = bias === null ? null : bias.subarray(g * outGroup, (g + 1) * outGroup);
    multiplyPacked(packedByGroup[g], columns, some, out, g * outGroup * pixels, outGroup, pixels, depth);
  }
  return out;
}

// One filter per channel: nothing is gained by matrices of one row.
function depthwise(x, shape, weight, bias, window, outShape) {
  const [channels, height, width] = shape;
  const [, outHeight, outWidth] = outShape;
  const { kernel, stride, dilation, padding } = window;
  const out = new Float32Array(channels * outHeight * outWidth);
  const sums = new Float64Array(outHeight * outWidth);
  for (let c = 0; c < channels; c++) {
    sums.fill(bias === null ? 0 : bias[c]);
    for (let u = 0; u < kernel[0]; u++) {
      for (let v = 0; v < kernel[1]; v++) {
        const w = weight[(c * kernel[0] + u) * kernel[1] + v];
        const dx = v * dilation[1] - padding[1];
        const first = Math.max(0, Math.ceil(-dx / stride[1]));
        const last = Math.min(outWidth, Math.floor((width - 1 - dx) / stride[1]) + 1);
        for (let oy = 0; oy < outHeight; oy++) {
          const y = oy * stride[0] + u * dilation[0] - padding[0];
          if (y < 0 || y >= height) continue;
          let at = (c * height + y) * width + first * stride[1] + dx;
          for (let ox = first; ox < last; ox++, at += stride[1]) sums[oy * outWidth + ox] += w * x[at];
        }
      }
    }
    out.set(sums, c * sums.length);
  }
  return out;
}

function spread(g, shape, stride) {
  if (stride[0] === 1 && stride[1] === 1) return { g, height: shape[1], width: shape[2] };
  const height = (shape[1] - 1) * stride[0] + 1;
  const width = (shape[2] - 1) * stride[1] + 1;
  const out = new Float32Array(shape[0] * height * width);
  let at = 0;
  for (let c = 0; c < shape[0]; c++) {
    for (let y = 0; y < shape[1]; y++) {
      let to = (c * height + y * stride[0]) * width;
      for (let x = 0; x < shape[2]; x++, to += stride[1]) out[to] = g[at++];
    }
  }
  return { g: out, height, width };
}

// A convolution with its weights packed once, forward and, when first asked for, backward.
export class Convolution {
  // weight: (filters, channels / groups, kernel height, kernel width), flat.
  constructor({ weight, bias, shape, outShape, kernel, stride, padding, dilation, groups }) {
    Object.assign(this, { weight, bias, shape, outShape, groups });
    this.window = { kernel, stride, padding, dilation };
    this.perChannel = groups === shape[0] && outShape[0] === shape[0] && groups > 1;
    this.forwardPacked = null;
    this.backwardPacked = null;
  }

  forward(x) {
    if (this.perChannel) return depthwise(x, this.shape, this.weight, this.bias, this.window, this.outShape);
    this.forwardPacked ??= this.packForward();
    return convolve(x, this.shape, this.forwardPacked, this.bias, this.window, this.outShape, this.groups);
  }

  backward(g) {
    const { kernel, stride, padding, dilation } = this.window;
    const wide = spread(g, this.outShape, stride);
    const shape = [this.outShape[0], wide.height, wide.width];
    const window = {
      kernel, dilation, stride: [1, 1],
      padding: [dilation[0] * (kernel[0] - 1) - padding[0], dilation[1] * (kernel[1] - 1) - padding[1]],
    };
    this.backwardPacked ??= this.perChannel ? this.turned() : this.packBackward();
    if (this.perChannel) return depthwise(wide.g, shape, this.backwardPacked, null, window, this.shape);
    return convolve(wide.g, shape, this.backwardPacked, null, window, this.shape, this.groups);
  }

  packForward() {
    const rows = this.outShape[0] / this.groups;
    const depth = this.weight.length / this.outShape[0];
    return Array.from({ length: this.groups }, (_, g) =>
      packRows(this.weight.subarray(g * rows * depth, (g + 1) * rows * depth), rows, depth));
  }

  packBackward() {
    const area = this.window.kernel[0] * this.window.kernel[1];
    const filters = this.outShape[0] / this.groups;
    const channels = this.shape[0] / this.groups;
    return Array.from({ length: this.groups }, (_, g) => {
      const turned = new Float32Array(filters * channels * area);
      for (let f = 0; f < filters; f++) {
        for (let c = 0; c < channels; c++) {
          for (let k = 0; k < area; k++) {
            turned[(c * filters + f) * area + area - 1 - k] = this.weight[((g * filters + f) * channels + c) * area + k];
          }
        }
      }
      return packRows(turned, channels, filters * area);
    });
  }

  turned() {
    const area = this.window.kernel[0] * this.window.kernel[1];
    return this.weight.map((_, i) => this.weight[i - (i % area) + area - 1 - (i % area)]);
  }
}
