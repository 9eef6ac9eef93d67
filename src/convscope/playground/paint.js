// Numbers to pixels, and small helpers for elements. No text is ever read as HTML.

export function element(tag, settings = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(settings)) {
    if (name === "class") made.className = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// A control with its label, which stay together where lines break.
export function control(id, name, ...parts) {
  return element("span", { class: "control" }, element("label", { for: id }, name), ...parts);
}

// Cividis (Nunez, Anderton, Renslow, 2018), nine of its colors; between them straight lines.
const CIVIDIS = [
  [0, 34, 78], [18, 53, 112], [59, 73, 108], [87, 93, 109], [112, 113, 115],
  [138, 134, 120], [165, 156, 116], [195, 179, 105], [254, 232, 56],
];
const AGAINST = [43, 130, 217];
const FOR = [226, 113, 29];

export const positive = (t) => {
  const at = Math.min(1, Math.max(0, t)) * (CIVIDIS.length - 1);
  const i = Math.min(CIVIDIS.length - 2, Math.floor(at));
  return [0, 1, 2].map((c) => CIVIDIS[i][c] + (CIVIDIS[i + 1][c] - CIVIDIS[i][c]) * (at - i)).concat(255);
};

// From -1 (against, blue) over 0 (no color) to 1 (for, orange).
export const signed = (t) => [...(t < 0 ? AGAINST : FOR), Math.min(255, Math.round(255 * Math.abs(t)))];

export const gray = (t) => {
  const level = 255 * Math.min(1, Math.max(0, t));
  return [level, level, level, 255];
};

function draw(canvas, width, height, colorOf) {
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  const pixels = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) pixels.data.set(colorOf(i), i * 4);
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

// An image (channel, row, column) with one or three channels; others show their first one.
export function paintImage(canvas, image, shape) {
  const [channels, height, width] = shape;
  const area = height * width;
  const planes = channels === 3 ? [0, area, 2 * area] : [0, 0, 0];
  const pixels = new ImageData(width, height);
  const { data } = pixels; // clamps to 0 to 255
  for (let i = 0; i < area; i++) {
    for (let c = 0; c < 3; c++) data[4 * i + c] = 255 * image[planes[c] + i];
    data[4 * i + 3] = 255;
  }
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

// What was added to an image, `times` times: gray is nothing.
export function paintChange(canvas, change, shape, times) {
  paintImage(canvas, change.map((value) => 0.5 + 0.5 * times * value), shape);
}

export function largest(values) {
  let most = 0;
  for (const value of values) most = Math.max(most, Math.abs(value));
  return most;
}

// A map in its color scale, alone, or over a pale gray copy of the image. Returns its largest value.
export function paintMap(canvas, map, height, width, scale, under = null) {
  const most = largest(map);
  draw(canvas, width, height, (i) => {
    const t = most > 0 ? map[i] / most : 0;
    const color = scale(t);
    if (under === null) return color;
    const share = scale === signed ? (color[3] / 255) * 0.85 : 0.25 + 0.55 * Math.abs(t);
    const level = 40 + 160 * under[i];
    return [0, 1, 2].map((c) => color[c] * share + level * (1 - share)).concat(255);
  });
  return most;
}

export const percent = (share) => `${(100 * share).toFixed(1)}\u00a0%`;

export const number = (value) => {
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.001 || size >= 10000)) return value.toExponential(1);
  return value.toFixed(size >= 100 ? 1 : 3).replace("-", "−");
};

// Names of files and classes: characters that turn or hide text become escapes.
const plain = (text) => text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g,
  (letter) => `\\u${letter.codePointAt(0).toString(16).padStart(4, "0")}`);

export const short = (text, limit = 24) => {
  const shown = plain(text);
  return shown.length > limit ? `${shown.slice(0, limit - 1).trimEnd()}…` : shown;
};
