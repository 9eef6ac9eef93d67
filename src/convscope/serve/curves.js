// A chart of curves as SVG, drawn for the width that it has; every line says at its end what it is.

const SVG = "http://www.w3.org/2000/svg";
const LEFT = 52, RIGHT = 92, TOP = 26, BOTTOM = 46, HEIGHT = 276;

function svg(tag, settings, text = "") {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(settings)) made.setAttribute(name, value);
  if (text) made.textContent = text;
  return made;
}

// Round numbers between two ends.
export function ticks(low, high, count = 5) {
  if (!(high > low)) return [low];
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw);
  const out = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-9; value += step) out.push(Number(value.toPrecision(12)));
  return out;
}

function decades(low, high) {
  const out = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
    for (const m of high / low < 30 ? [1, 2, 5] : [1]) {
      const value = m * 10 ** power;
      if (value >= low * 0.999 && value <= high * 1.001) out.push(value);
    }
  }
  return out.length >= 2 ? out : [low, high];
}

// Rows validated on the most images, and those on a part of them, which no line may join.
export function byImages(rows) {
  const most = Math.max(0, ...rows.map((row) => row.validation_images));
  return [false, true].map((part) => ({ part, rows: rows.filter(({ validation_images: n }) => n > 0 && (n < most) === part) }));
}

// series: [{tone: "first" | "second", train: boolean, part: boolean, name, points: [[x, y]]}].
export function chart({ title, series, width, log = false, format, unit = "epoch" }) {
  const points = series.flatMap((each) => each.points).filter(([, y]) => Number.isFinite(y) && (!log || y > 0));
  const root = svg("svg", { class: "chart", viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": title });
  root.append(svg("text", { x: LEFT, y: 14, class: "name" }, title));
  if (points.length === 0) {
    root.append(svg("text", { x: LEFT, y: HEIGHT / 2 }, "Nothing is measured yet."));
    return root;
  }
  const [xs, ys] = [0, 1].map((axis) => points.map((point) => point[axis]));
  const x0 = 0, x1 = Math.max(...xs, 1e-9);
  let y0 = Math.min(...ys), y1 = Math.max(...ys);
  if (y0 === y1) { y0 = log ? y0 / 2 : y0 - 0.05; y1 = log ? y1 * 2 : y1 + 0.05; }
  const place = log ? Math.log10 : (value) => value;
  const toX = (x) => LEFT + ((x - x0) / (x1 - x0)) * (width - LEFT - RIGHT);
  const toY = (y) => HEIGHT - BOTTOM - ((place(y) - place(y0)) / (place(y1) - place(y0))) * (HEIGHT - TOP - BOTTOM);
  for (const y of log ? decades(y0, y1) : ticks(y0, y1)) {
    root.append(svg("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: toY(y), y2: toY(y) }),
      svg("text", { x: LEFT - 6, y: toY(y) + 4, "text-anchor": "end" }, format(y)));
  }
  for (const x of ticks(x0, x1, Math.max(2, Math.floor((width - LEFT - RIGHT) / 70)))) {
    root.append(svg("text", { x: toX(x), y: HEIGHT - BOTTOM + 17, "text-anchor": "middle" }, String(x)));
  }
  root.append(svg("text", { x: (LEFT + width - RIGHT) / 2, y: HEIGHT - 8, "text-anchor": "middle" }, unit));
  const ends = [];
  for (const { tone, train, part = false, name, points: own } of series) {
    const shown = own.filter(([, y]) => Number.isFinite(y) && (!log || y > 0));
    if (shown.length === 0) continue;
    const d = shown.map(([x, y], i) => `${i ? "L" : "M"}${toX(x).toFixed(1)} ${toY(y).toFixed(1)}`).join("");
    root.append(svg("path", { class: `${tone}${train ? " train" : ""}${part ? " part" : ""}`, d }));
    const [x, y] = shown.at(-1);
    if (shown.length === 1) root.append(svg("circle", { class: tone, cx: toX(x), cy: toY(y), r: 3 }));
    if (!train && !part) ends.push({ tone, x: toX(x) + 6, y: toY(y) + (x < x1 ? -7 : 4), text: `${name} ${format(y)}` });
  }
  // A name that stands within the chart is above its line.
  ends.sort((a, b) => a.y - b.y);
  // Two names keep a line's height apart, and above the axis.
  if (ends.length === 2 && ends[1].y - ends[0].y < 14) {
    ends[1].y = Math.min(HEIGHT - BOTTOM, ends[0].y + 14);
    ends[0].y = ends[1].y - 14;
  }
  for (const { tone, x, y, text } of ends) root.append(svg("text", { class: `name ${tone}`, x, y }, text));
  return root;
}
