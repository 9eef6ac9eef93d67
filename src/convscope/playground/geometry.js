// Which pixels of the image a place in a layer can depend on.

const UNTOUCHED = new Set(["input"]);

// Boxes are {top, left, bottom, right}, ends not included.
function union(a, b) {
  if (a === null) return b;
  return {
    top: Math.min(a.top, b.top), left: Math.min(a.left, b.left),
    bottom: Math.max(a.bottom, b.bottom), right: Math.max(a.right, b.right),
  };
}

const whole = (shape) => ({ top: 0, left: 0, bottom: shape[1], right: shape[2] });

function along(node, from, first, end, axis) {
  if (node.adaptive) {
    const size = from[axis + 1], count = node.shape[axis + 1];
    return [Math.floor((first * size) / count), Math.ceil((end * size) / count)];
  }
  const reach = (node.kernel[axis] - 1) * (node.dilation?.[axis] ?? 1) + 1;
  const start = first * node.stride[axis] - node.padding[axis];
  return [start, (end - 1) * node.stride[axis] - node.padding[axis] + reach];
}

function before(node, from, box) {
  if (from.length < 3) return null;
  if (node.shape.length < 3 || from[1] * from[2] === 1) return whole(from);
  if (node.op === "slice") {
    const [, y, x] = node.start;
    const [, dy, dx] = node.step;
    return { top: y + box.top * dy, left: x + box.left * dx, bottom: y + (box.bottom - 1) * dy + 1, right: x + (box.right - 1) * dx + 1 };
  }
  if (node.op === "pad") {
    const [, y, x] = node.before;
    return { top: box.top - y, left: box.left - x, bottom: box.bottom - y, right: box.right - x };
  }
  if (node.kernel || node.adaptive) {
    const [top, bottom] = along(node, from, box.top, box.bottom, 0);
    const [left, right] = along(node, from, box.left, box.right, 1);
    return { top, left, bottom, right };
  }
  return node.op === "reshape" ? whole(from) : box;
}

function clipped(box, shape) {
  const clip = (value, most) => Math.min(most, Math.max(0, value));
  return {
    top: clip(box.top, shape[1]), left: clip(box.left, shape[2]),
    bottom: clip(box.bottom, shape[1]), right: clip(box.right, shape[2]),
  };
}

// The box of the image that the place (row, column) of node `index` depends on.
export function receptiveField(nodes, index, row, column) {
  const boxes = new Array(nodes.length).fill(null);
  boxes[index] = { top: row, left: column, bottom: row + 1, right: column + 1 };
  for (let i = index; i > 0; i--) {
    if (boxes[i] === null || UNTOUCHED.has(nodes[i].op)) continue;
    for (const k of nodes[i].from) {
      const box = before(nodes[i], nodes[k].shape, boxes[i]);
      if (box !== null) boxes[k] = union(boxes[k], clipped(box, nodes[k].shape));
      else boxes[k] = union(boxes[k], { top: 0, left: 0, bottom: 1, right: 1 });
    }
  }
  return boxes[0] ?? whole(nodes[0].shape);
}

// Layers with maps that are worth looking at: the outputs of whatever has weights or pools, named.
export function layersOf(nodes) {
  const out = [];
  nodes.forEach((node, index) => {
    if (index > 0 && node.shape.length === 3 && node.name && node.shape[1] * node.shape[2] > 1) {
      out.push({ index, name: node.name, op: node.op, shape: node.shape });
    }
  });
  return out;
}
