// A picture with its name, what it shows and what it does not, and a line that changes with it.

import { element } from "./paint.js";

export class Picture {
  // level: of its heading; shows, not: a sentence each; hover(row, column) or null gives the words for a pixel.
  constructor({ title, level = 4, shows, not = "", hover = null, keyboard = false, onPoint = null }) {
    this.hover = hover;
    this.onPoint = onPoint;
    this.canvas = element("canvas", { width: 1, height: 1, role: "img", "aria-label": title });
    this.frames = element("div", { class: "frames", "aria-hidden": "true" });
    this.fact = element("p", { class: "fact" });
    this.holder = element("div", { class: "frameholder" }, this.canvas, this.frames);
    const about = element("details", { class: "about" }, element("summary", {}, "What is this?"),
      element("p", {}, shows, not ? ` ${not}` : ""));
    this.root = element("figure", { class: "tile" }, element(`h${level}`, {}, title), this.holder, this.fact, about);
    this.point = null;
    if (hover) this.listen(keyboard);
  }

  listen(keyboard) {
    const { canvas } = this;
    const where = (event) => {
      const box = canvas.getBoundingClientRect();
      const inside = (value, count) => Math.min(count - 1, Math.max(0, Math.floor(value * count)));
      return [inside((event.clientY - box.top) / box.height, canvas.height), inside((event.clientX - box.left) / box.width, canvas.width)];
    };
    canvas.addEventListener("pointermove", (event) => this.pointAt(...where(event)));
    canvas.addEventListener("pointerdown", (event) => this.pointAt(...where(event), true));
    canvas.addEventListener("pointerleave", () => { if (document.activeElement !== canvas) this.leave(); });
    if (!keyboard) return;
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "application");
    canvas.addEventListener("keydown", (event) => {
      const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
      const move = moves[event.key];
      if (!move) return;
      event.preventDefault();
      event.stopPropagation();
      const [row, column] = this.point ?? [Math.floor(canvas.height / 2), Math.floor(canvas.width / 2)];
      const inside = (value, count) => Math.min(count - 1, Math.max(0, value));
      this.pointAt(inside(row + move[0], canvas.height), inside(column + move[1], canvas.width), true);
    });
    canvas.addEventListener("blur", () => this.leave());
  }

  pointAt(row, column, chosen = false) {
    this.point = [row, column];
    const words = this.hover(row, column);
    if (words !== null) this.fact.textContent = words;
    if (chosen) this.onPoint?.(row, column);
  }

  leave() {
    this.point = null;
    this.fact.textContent = this.words ?? "";
    this.onLeave?.();
  }

  // The line under the picture, and its name for those who cannot see it.
  tell(words, label = "") {
    this.words = words;
    if (this.point === null) this.fact.textContent = words;
    else { const said = this.hover?.(...this.point); if (said) this.fact.textContent = said; }
    if (label) this.canvas.setAttribute("aria-label", label);
  }

  // A frame around a box of pixels, or none.
  frame(box, rows, columns) {
    this.frames.replaceChildren();
    if (box === null) return;
    const made = element("i");
    const share = (value, count) => `${(100 * value) / count}%`;
    made.style.left = share(box.left, columns);
    made.style.top = share(box.top, rows);
    made.style.width = share(box.right - box.left, columns);
    made.style.height = share(box.bottom - box.top, rows);
    this.frames.append(made);
  }
}
