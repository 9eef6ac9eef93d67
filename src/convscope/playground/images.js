// Images: planes of pixels in [0, 1], flat (channel, row, column), and what is done to them before
// a network sees them. Everything here gives what convscope gives in Python.

// ---- Any size to the size that a network takes ------------------------------------------------

const sinc = (x) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));

// Pillow's filters: half width and weight at a distance.
const FILTERS = {
  box: [0.5, (x) => (x > -0.5 && x <= 0.5 ? 1 : 0)],
  bilinear: [1, (x) => Math.max(0, 1 - Math.abs(x))],
  hamming: [1, (x) => (Math.abs(x) >= 1 ? 0 : sinc(x) * (0.54 + 0.46 * Math.cos(Math.PI * x)))],
  bicubic: [2, (x) => {
    const a = -0.5, d = Math.abs(x);
    if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
    return d < 2 ? (((d - 5) * d + 8) * d - 4) * a : 0;
  }],
  lanczos: [3, (x) => (Math.abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0)],
};

// Which of `count` pixels, from `from` on over `length` of them, make up each of `size` new ones.
function tapsOf(from, length, count, size, filter) {
  const scale = length / size;
  if (filter === "nearest") {
    // Added up step by step as Pillow does, whose rounding decides between two pixels equally near.
    let at = from + scale * 0.5;
    return Array.from({ length: size }, () => {
      const first = Math.floor(at);
      at += scale;
      return { first, weights: [1] };
    });
  }
  const [reach, weigh] = FILTERS[filter];
  const wide = Math.max(1, scale);
  return Array.from({ length: size }, (_, i) => {
    const center = from + (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - reach * wide + 0.5));
    const end = Math.min(count, Math.trunc(center + reach * wide + 0.5));
    const weights = [];
    for (let k = first; k < end; k++) weights.push(weigh((k - center + 0.5) / wide));
    const sum = weights.reduce((a, b) => a + b, 0);
    return { first, weights: weights.map((w) => w / sum) };
  });
}

// The part `box` = {top, left, height, width} of an image, resampled to `height` x `width`.
export function resample(image, shape, box, height, width, filter = "bilinear") {
  const [channels, rows, columns] = shape;
  const across = tapsOf(box.left, box.width, columns, width, filter);
  const down = tapsOf(box.top, box.height, rows, height, filter);
  const out = new Float32Array(channels * height * width);
  const line = new Float64Array(rows * width);
  for (let c = 0; c < channels; c++) {
    for (let y = 0; y < rows; y++) {
      for (let x = 0; x < width; x++) {
        let sum = 0;
        const { first, weights } = across[x];
        for (let k = 0; k < weights.length; k++) sum += weights[k] * image[(c * rows + y) * columns + first + k];
        // Pillow keeps 8 bits between the two directions.
        line[y * width + x] = Math.round(255 * Math.min(1, Math.max(0, sum))) / 255;
      }
    }
    for (let y = 0; y < height; y++) {
      const { first, weights } = down[y];
      for (let x = 0; x < width; x++) {
        let sum = 0;
        for (let k = 0; k < weights.length; k++) sum += weights[k] * line[(first + k) * width + x];
        out[(c * height + y) * width + x] = Math.min(1, Math.max(0, sum));
      }
    }
  }
  return out;
}

export const wholeBox = (shape) => ({ top: 0, left: 0, height: shape[1], width: shape[2] });

function cut(image, shape, top, left, height, width) {
  const out = new Float32Array(shape[0] * height * width);
  for (let c = 0; c < shape[0]; c++) {
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const row = y + top, column = x + left;
        if (row >= 0 && row < shape[1] && column >= 0 && column < shape[2]) {
          out[(c * height + y) * width + x] = image[(c * shape[1] + row) * shape[2] + column];
        }
      }
    }
  }
  return out;
}

const halfToEven = (value) => {
  const low = Math.floor(value);
  return value - low === 0.5 ? low + (low % 2) : Math.round(value);
};

// As `convscope.resizing.Resize`; without a rule, the largest center window of the right proportions.
function resized(image, shape, rule, target) {
  const [channels, rows, columns] = shape;
  const [height, width] = target;
  if (rule.shortest === null && rule.size === null && rule.crop === null) {
    const scale = Math.min(rows / height, columns / width);
    const box = { height: height * scale, width: width * scale };
    box.top = (rows - box.height) / 2;
    box.left = (columns - box.width) / 2;
    return resample(image, shape, box, height, width, rule.filter);
  }
  let tall = rows, wide = columns;
  if (rule.size !== null) [tall, wide] = rule.size;
  else if (rule.shortest !== null) {
    const longer = Math.trunc((rule.shortest * Math.max(rows, columns)) / Math.min(rows, columns));
    [tall, wide] = columns <= rows ? [longer, rule.shortest] : [rule.shortest, longer];
  }
  const same = tall === rows && wide === columns;
  const scaled = same ? image : resample(image, shape, wholeBox(shape), tall, wide, rule.filter);
  if (rule.crop === null) return scaled;
  const half = rule.center === "floor" ? (n) => Math.floor(n / 2) : (n) => halfToEven(n / 2);
  return cut(scaled, [channels, tall, wide], half(tall - rule.crop[0]), half(wide - rule.crop[1]), ...rule.crop);
}

export const LUMA = [0.299, 0.587, 0.114];

export function toGray(image, shape) {
  const [channels, rows, columns] = shape;
  if (channels !== 3) return image.slice(0, rows * columns);
  const area = rows * columns;
  const out = new Float32Array(area);
  for (let i = 0; i < area; i++) out[i] = LUMA[0] * image[i] + LUMA[1] * image[area + i] + LUMA[2] * image[2 * area + i];
  return out;
}

function withChannels(image, shape, channels) {
  if (shape[0] === channels) return image;
  const gray = toGray(image, shape);
  if (channels === 1) return gray;
  const out = new Float32Array(gray.length * channels);
  for (let c = 0; c < channels; c++) out.set(gray, c * gray.length);
  return out;
}

const INK = 0.1;
const PAPER = 0.5;

// Dark ink on bright paper becomes bright ink on black: the border tells which it is.
export function isOnPaper(gray, rows, columns) {
  let sum = 0, count = 0;
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      if (y === 0 || x === 0 || y === rows - 1 || x === columns - 1) { sum += gray[y * columns + x]; count++; }
    }
  }
  return sum / count > PAPER;
}

// As MNIST was made (LeCun et al.): the ink in a box of 20 x 20, proportions kept, and its center of
// mass in the middle of 28 x 28. `rule.box` and `target` are these sizes.
function centered(gray, shape, rule, target) {
  const [, rows, columns] = shape;
  let top = rows, bottom = -1, left = columns, right = -1;
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      if (gray[y * columns + x] > INK) {
        top = Math.min(top, y); bottom = Math.max(bottom, y);
        left = Math.min(left, x); right = Math.max(right, x);
      }
    }
  }
  const out = new Float32Array(target[0] * target[1]);
  if (bottom < 0) return out;
  const box = { top, left, height: bottom - top + 1, width: right - left + 1 };
  const scale = rule.box / Math.max(box.height, box.width);
  const tall = Math.max(1, Math.round(box.height * scale));
  const wide = Math.max(1, Math.round(box.width * scale));
  const small = resample(gray, shape, box, tall, wide, "bilinear");
  let mass = 0, sumY = 0, sumX = 0;
  for (let y = 0; y < tall; y++) {
    for (let x = 0; x < wide; x++) {
      const value = small[y * wide + x];
      mass += value; sumY += value * (y + 0.5); sumX += value * (x + 0.5);
    }
  }
  const dy = Math.min(target[0] - tall, Math.max(0, Math.round(target[0] / 2 - sumY / mass)));
  const dx = Math.min(target[1] - wide, Math.max(0, Math.round(target[1] / 2 - sumX / mass)));
  for (let y = 0; y < tall; y++) {
    out.set(small.subarray(y * wide, (y + 1) * wide), (y + dy) * target[1] + dx);
  }
  return out;
}

// What the network gets of an image of any size, in whole gray levels; `input` is the graph's rule.
export function prepare(image, shape, input) {
  const target = input.shape.slice(1);
  let out;
  if (input.rule.kind === "center") {
    let gray = toGray(image, shape);
    if (isOnPaper(gray, shape[1], shape[2])) gray = gray.map((value) => 1 - value);
    out = centered(gray, [1, shape[1], shape[2]], input.rule, target);
  } else {
    out = resized(withChannels(image, shape, input.shape[0]), [input.shape[0], shape[1], shape[2]], input.rule, target);
  }
  return out.map((value) => Math.round(value * 255) / 255);
}

// ---- Transforms of an image that keep its size ------------------------------------------------

function warped(image, shape, degrees, scale) {
  const [channels, rows, columns] = shape;
  const turn = (degrees * Math.PI) / 180;
  const sine = Math.sin(turn), cosine = Math.cos(turn);
  const out = new Float32Array(image.length);
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      const dy = y - (rows - 1) / 2, dx = x - (columns - 1) / 2;
      const fromX = scale * (cosine * dx - sine * dy) + (columns - 1) / 2;
      const fromY = scale * (sine * dx + cosine * dy) + (rows - 1) / 2;
      const left = Math.floor(fromX), top = Math.floor(fromY);
      for (let c = 0; c < channels; c++) {
        let sum = 0;
        for (let v = 0; v < 2; v++) {
          for (let u = 0; u < 2; u++) {
            const row = top + v, column = left + u;
            if (row < 0 || row >= rows || column < 0 || column >= columns) continue;
            sum += (1 - Math.abs(fromX - column)) * (1 - Math.abs(fromY - row)) * image[(c * rows + row) * columns + column];
          }
        }
        out[(c * rows + y) * columns + x] = sum;
      }
    }
  }
  return out;
}

function mirrored(position, size) {
  const at = Math.abs(position);
  return at < size ? at : 2 * (size - 1) - at;
}

export function blurred(image, shape, std) {
  const [channels, rows, columns] = shape;
  let from = image;
  for (const [length, step] of [[columns, 1], [rows, columns]]) {
    const radius = Math.min(Math.max(1, Math.round(3 * std)), length - 1);
    const kernel = Array.from({ length: 2 * radius + 1 }, (_, i) => Math.exp(-((i - radius) ** 2) / (2 * std * std)));
    const sum = kernel.reduce((a, b) => a + b, 0);
    const out = new Float32Array(image.length);
    for (let i = 0; i < out.length; i++) {
      const inPlane = i % (rows * columns);
      const place = step === 1 ? inPlane % columns : Math.floor(inPlane / columns);
      let value = 0;
      for (let k = -radius; k <= radius; k++) {
        value += kernel[k + radius] * from[i + (mirrored(place + k, length) - place) * step];
      }
      out[i] = value / sum;
    }
    from = out;
  }
  return from;
}

function flipped(image, shape) {
  const width = shape[2];
  return image.map((_, i) => image[i - (i % width) + width - 1 - (i % width)]);
}

function grayed(image, shape) {
  return withChannels(toGray(image, shape), [1, shape[1], shape[2]], shape[0]);
}

export const TRANSFORMS = [
  { name: "flip", about: "mirrored left to right", apply: flipped },
  { name: "crop", about: "the middle 80 % of each side, enlarged", apply: (image, shape) => warped(image, shape, 0, 0.8) },
  { name: "rotate 30°", about: "turned counter-clockwise by 30 degrees, black corners", apply: (image, shape) => warped(image, shape, 30, 1) },
  { name: "gray", about: "without color", apply: grayed, onlyColor: true },
  { name: "blur", about: "Gaussian blur, standard deviation of 1 pixel", apply: (image, shape) => blurred(image, shape, 1) },
  { name: "threshold", about: "pixels above one half white, the rest black", apply: (image) => image.map((v) => (v > 0.5 ? 1 : 0)) },
];
