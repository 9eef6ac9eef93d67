// Matrix products on packed operands: four rows by four columns at a time, so that sixteen sums
// stay in registers. A packed matrix holds panels of four rows (or columns); a panel holds, for
// each k, its four numbers side by side, zeros where the matrix ends.

export const TILE = 4;

export function panels(count) {
  return Math.ceil(count / TILE);
}

// `values[row * depth + k]` to panels of four rows.
export function packRows(values, rows, depth) {
  const packed = new Float64Array(panels(rows) * TILE * depth);
  for (let row = 0; row < rows; row++) {
    let at = (row - (row % TILE)) * depth + (row % TILE);
    for (let k = 0; k < depth; k++, at += TILE) packed[at] = values[row * depth + k];
  }
  return packed;
}

// out[row * columns + column] = bias[row] + sum over k of a[row][k] * b[k][column].
export function multiplyPacked(a, b, bias, out, outAt, rows, columns, depth) {
  const whole = depth * TILE;
  for (let j = 0; j < columns; j += TILE) {
    const bStart = j * depth;
    const bEnd = bStart + whole;
    for (let i = 0; i < rows; i += TILE) {
      let p = i * depth;
      let c00 = 0, c01 = 0, c02 = 0, c03 = 0, c10 = 0, c11 = 0, c12 = 0, c13 = 0;
      let c20 = 0, c21 = 0, c22 = 0, c23 = 0, c30 = 0, c31 = 0, c32 = 0, c33 = 0;
      for (let q = bStart; q < bEnd; q += 4, p += 4) {
        const b0 = b[q], b1 = b[q + 1], b2 = b[q + 2], b3 = b[q + 3];
        const a0 = a[p], a1 = a[p + 1], a2 = a[p + 2], a3 = a[p + 3];
        c00 += a0 * b0; c01 += a0 * b1; c02 += a0 * b2; c03 += a0 * b3;
        c10 += a1 * b0; c11 += a1 * b1; c12 += a1 * b2; c13 += a1 * b3;
        c20 += a2 * b0; c21 += a2 * b1; c22 += a2 * b2; c23 += a2 * b3;
        c30 += a3 * b0; c31 += a3 * b1; c32 += a3 * b2; c33 += a3 * b3;
      }
      const wide = Math.min(TILE, columns - j);
      const tall = Math.min(TILE, rows - i);
      writeRow(out, outAt + i * columns + j, wide, bias === null ? 0 : bias[i], c00, c01, c02, c03);
      if (tall > 1) writeRow(out, outAt + (i + 1) * columns + j, wide, bias === null ? 0 : bias[i + 1], c10, c11, c12, c13);
      if (tall > 2) writeRow(out, outAt + (i + 2) * columns + j, wide, bias === null ? 0 : bias[i + 2], c20, c21, c22, c23);
      if (tall > 3) writeRow(out, outAt + (i + 3) * columns + j, wide, bias === null ? 0 : bias[i + 3], c30, c31, c32, c33);
    }
  }
}

function writeRow(out, at, wide, bias, c0, c1, c2, c3) {
  out[at] = bias + c0;
  if (wide > 1) out[at + 1] = bias + c1;
  if (wide > 2) out[at + 2] = bias + c2;
  if (wide > 3) out[at + 3] = bias + c3;
}

// out[row] = bias[row] + sum over k of a[row * depth + k] * x[k].
export function timesVector(a, x, bias, rows, depth) {
  const out = new Float32Array(rows);
  let row = 0;
  for (; row + 3 < rows; row += 4) {
    let p0 = row * depth, p1 = p0 + depth, p2 = p1 + depth, p3 = p2 + depth;
    let s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    for (let k = 0; k < depth; k++) {
      const value = x[k];
      s0 += a[p0++] * value; s1 += a[p1++] * value; s2 += a[p2++] * value; s3 += a[p3++] * value;
    }
    out[row] = s0; out[row + 1] = s1; out[row + 2] = s2; out[row + 3] = s3;
  }
  for (; row < rows; row++) {
    let sum = 0;
    for (let k = 0, p = row * depth; k < depth; k++) sum += a[p++] * x[k];
    out[row] = sum;
  }
  if (bias !== null) for (let i = 0; i < rows; i++) out[i] += bias[i];
  return out;
}

// out[k] = sum over rows of a[row * depth + k] * g[row]; rows of zero gradient cost nothing.
export function transposedTimesVector(a, g, rows, depth) {
  const sums = new Float64Array(depth);
  const live = [];
  for (let row = 0; row < rows; row++) if (g[row] !== 0) live.push(row);
  let i = 0;
  for (; i + 3 < live.length; i += 4) {
    const g0 = g[live[i]], g1 = g[live[i + 1]], g2 = g[live[i + 2]], g3 = g[live[i + 3]];
    let p0 = live[i] * depth, p1 = live[i + 1] * depth, p2 = live[i + 2] * depth, p3 = live[i + 3] * depth;
    for (let k = 0; k < depth; k++) sums[k] += a[p0++] * g0 + a[p1++] * g1 + a[p2++] * g2 + a[p3++] * g3;
  }
  for (; i < live.length; i++) {
    const value = g[live[i]];
    for (let k = 0, p = live[i] * depth; k < depth; k++) sums[k] += a[p++] * value;
  }
  return Float32Array.from(sums);
}
