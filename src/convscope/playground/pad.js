// A canvas to draw on with pen, finger, mouse or keyboard, and where an image file arrives.

import { element } from "./paint.js";

const LONGEST = 8192;

export class Pad {
  // shape: [channels, height, width] of the network; onChange: called with nothing.
  constructor({ shape, onChange, say }) {
    Object.assign(this, { shape, onChange, say });
    const scale = Math.max(1, Math.floor(280 / Math.max(shape[1], shape[2])));
    this.pen = { width: shape[0] === 1 ? 20 : 14, color: "#ffffff" };
    this.down = false;
    this.canvas = element("canvas", {
      class: "pad", width: shape[2] * scale, height: shape[1] * scale, tabindex: 0, role: "application",
      "aria-label": "Drawing pad. Arrow keys move the pen, space puts it down or lifts it, Escape clears.",
    });
    this.cursor = element("i", { class: "cursor", hidden: true, "aria-hidden": "true" });
    this.holder = element("div", { class: "padholder" }, this.canvas, this.cursor);
    this.context = this.canvas.getContext("2d", { willReadFrequently: true });
    this.at = [this.canvas.width / 2, this.canvas.height / 2];
    this.listen();
    this.blank();
  }

  listen() {
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      canvas.setPointerCapture(event.pointerId);
      this.stroking = event.pointerId;
      this.at = this.place(event);
      this.line(this.at, this.at, event.pressure);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (this.stroking !== event.pointerId) return;
      const some = event.getCoalescedEvents?.() ?? [];
      for (const each of some.length ? some : [event]) {
        const to = this.place(each);
        this.line(this.at, to, each.pressure);
        this.at = to;
      }
    });
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { this.stroking = null; });
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("blur", () => { this.cursor.hidden = true; this.down = false; });
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [
      ((event.clientX - box.left) * this.canvas.width) / box.width,
      ((event.clientY - box.top) * this.canvas.height) / box.height,
    ];
  }

  key(event) {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const move = moves[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (move) {
      const step = event.shiftKey ? 2 : 10;
      const to = [0, 1].map((axis) => {
        const most = axis ? this.canvas.height : this.canvas.width;
        return Math.min(most, Math.max(0, this.at[axis] + move[axis] * step));
      });
      if (this.down) this.line(this.at, to, 0.5);
      this.at = to;
    } else if (event.key === " ") {
      this.down = !this.down;
      if (this.down) this.line(this.at, this.at, 0.5);
      this.say(this.down ? "Pen down." : "Pen up.");
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
    this.cursor.hidden = false;
    this.cursor.classList.toggle("down", this.down);
    this.cursor.style.left = `${(100 * this.at[0]) / this.canvas.width}%`;
    this.cursor.style.top = `${(100 * this.at[1]) / this.canvas.height}%`;
  }

  line(from, to, pressure) {
    const { context } = this;
    context.strokeStyle = this.pen.color;
    context.lineWidth = this.pen.width * (pressure > 0 && pressure !== 0.5 ? 0.6 + 0.8 * pressure : 1);
    context.lineCap = "round";
    context.beginPath();
    context.moveTo(...from);
    context.lineTo(to[0] + 0.01, to[1]);
    context.stroke();
    this.onChange();
  }

  blank() {
    this.context.fillStyle = "#000000";
    this.context.fillRect(0, 0, this.canvas.width, this.canvas.height);
  }

  clear() {
    this.blank();
    this.onChange();
  }

  // Shows an image of the network's own size without reporting a change.
  show(image, shape) {
    const small = element("canvas", { width: shape[2], height: shape[1] });
    const pixels = new ImageData(shape[2], shape[1]);
    const area = shape[1] * shape[2];
    for (let i = 0; i < area; i++) {
      for (let c = 0; c < 3; c++) pixels.data[4 * i + c] = Math.round(255 * image[(shape[0] === 3 ? c : 0) * area + i]);
      pixels.data[4 * i + 3] = 255;
    }
    small.getContext("2d").putImageData(pixels, 0, 0);
    this.context.imageSmoothingEnabled = false;
    this.context.drawImage(small, 0, 0, this.canvas.width, this.canvas.height);
  }

  // The drawing: three channels, pixels in [0, 1].
  read() {
    return this.pixels(this.context, this.canvas.width, this.canvas.height);
  }

  pixels(context, width, height) {
    const { data } = context.getImageData(0, 0, width, height);
    const area = width * height;
    const image = new Float32Array(3 * area);
    for (let i = 0; i < area; i++) {
      for (let c = 0; c < 3; c++) image[c * area + i] = data[4 * i + c] / 255;
    }
    return { image, shape: [3, height, width] };
  }

  // An image file, on white where it is transparent; rejects what no browser can decode.
  async open(file) {
    const bitmap = await createImageBitmap(file);
    const share = Math.min(1, 1024 / Math.max(bitmap.width, bitmap.height));
    if (Math.max(bitmap.width, bitmap.height) > LONGEST) throw new Error("more than 8,192 pixels a side");
    const width = Math.max(1, Math.round(bitmap.width * share));
    const height = Math.max(1, Math.round(bitmap.height * share));
    const canvas = element("canvas", { width, height });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.imageSmoothingQuality = "high";
    context.fillStyle = "#ffffff";
    context.fillRect(0, 0, width, height);
    context.drawImage(bitmap, 0, 0, width, height);
    bitmap.close();
    return this.pixels(context, width, height);
  }
}
