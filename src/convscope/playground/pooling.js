// Pooling of one image over windows or over the regions of adaptive pooling.

// The rows (or columns) that each output row (or column) looks at, as [first, end) pairs.
// Regions of windows may begin before 0 and end behind `size`: that is padding.
function windows(size, count, kernel, stride, padding, dilation) {
  return Array.from({ length: count }, (_, i) => {
    const first = i * stride - padding;
    return { first, end: first + (kernel - 1) * dilation + 1, step: dilation };
  });
}

function regions(size, count) {
  return Array.from({ length: count }, (_, i) => ({
    first: Math.floor((i * size) / count),
    end: Math.ceil(((i + 1) * size) / count),
    step: 1,
  }));
}

function spans(node, shape, axis) {
  const size = shape[axis + 1];
  const count = node.shape[axis + 1];
  if (node.adaptive) return regions(size, count);
  return windows(size, count, node.kernel[axis], node.stride[axis], node.padding[axis], node.dilation?.[axis] ?? 1);
}

export function maxPool(node, x, shape) {
  const [channels, height, width] = shape;
  const rows = spans(node, shape, 0);
  const columns = spans(node, shape, 1);
  const out = new Float32Array(channels * rows.length * columns.length);
  const where = new Int32Array(out.length);
  let at = 0;
  for (let c = 0; c < channels; c++) {
    for (const row of rows) {
      for (const column of columns) {
        let best = -Infinity;
        let place = -1;
        for (let y = row.first; y < row.end; y += row.step) {
          if (y < 0 || y >= height) continue;
          for (let z = column.first; z < column.end; z += column.step) {
            if (z < 0 || z >= width) continue;
            const index = (c * height + y) * width + z;
            if (x[index] > best || place < 0) { best = x[index]; place = index; }
          }
        }
        out[at] = best;
        where[at++] = place;
      }
    }
  }
  return { out, where };
}

export function maxPoolBackward(g, where, length) {
  const out = new Float32Array(length);
  for (let i = 0; i < g.length; i++) out[where[i]] += g[i];
  return out;
}

function averages(node, shape, visit) {
  const [channels, height, width] = shape;
  const rows = spans(node, shape, 0);
  const columns = spans(node, shape, 1);
  let at = 0;
  for (let c = 0; c < channels; c++) {
    for (const row of rows) {
      for (const column of columns) {
        const top = Math.max(0, row.first), bottom = Math.min(height, row.end);
        const left = Math.max(0, column.first), right = Math.min(width, column.end);
        let count = (bottom - top) * (right - left);
        if (!node.adaptive && node.countPadding) {
          // As torch counts: what lies behind the padding is not counted.
          count = (Math.min(row.end, height + node.padding[0]) - row.first)
            * (Math.min(column.end, width + node.padding[1]) - column.first);
        }
        visit(at++, c, top, bottom, left, right, node.divisor || count);
      }
    }
  }
}

export function averagePool(node, x, shape) {
  const width = shape[2];
  const out = new Float32Array(node.shape[0] * node.shape[1] * node.shape[2]);
  averages(node, shape, (at, c, top, bottom, left, right, count) => {
    let sum = 0;
    for (let y = top; y < bottom; y++) {
      for (let z = left, index = (c * shape[1] + y) * width + left; z < right; z++) sum += x[index++];
    }
    out[at] = sum / count;
  });
  return out;
}

export function averagePoolBackward(node, g, shape) {
  const out = new Float32Array(shape[0] * shape[1] * shape[2]);
  averages(node, shape, (at, c, top, bottom, left, right, count) => {
    const share = g[at] / count;
    for (let y = top; y < bottom; y++) {
      for (let z = left, index = (c * shape[1] + y) * shape[2] + left; z < right; z++) out[index++] += share;
    }
  });
  return out;
}
