// The most probable classes before and after an attack, as a table of bars.

import { element, percent, short } from "./paint.js";

const SHOWN = 5;

function best(probabilities, count) {
  return [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a]).slice(0, count);
}

export class Bars {
  constructor(classes) {
    this.classes = classes;
    this.before = null;
    this.after = null;
    this.body = element("tbody");
    this.root = element("table", { class: "probabilities" },
      element("caption", {}, "The most probable classes"),
      element("thead", {}, element("tr", {},
        element("th", { scope: "col" }, "class"),
        element("th", { scope: "col" }, "before"),
        element("th", { scope: "col" }, "after the attack"))),
      this.body);
  }

  show({ before = this.before, after = this.after }) {
    Object.assign(this, { before, after });
    if (before === null) return;
    const few = this.classes.length <= 10;
    const rows = few ? this.classes.map((_, i) => i)
      : [...new Set([...best(before, SHOWN), ...(after ? best(after, SHOWN) : [])])];
    const top = [before, after].map((p) => (p === null ? -1 : best(p, 1)[0]));
    this.body.replaceChildren(...rows.map((index) => element("tr", {},
      element("th", { scope: "row", title: this.classes[index] }, short(this.classes[index])),
      this.cell(before[index], index === top[0], ""),
      after === null ? element("td") : this.cell(after[index], index === top[1], top[0] !== top[1] ? "changed" : ""))));
  }

  cell(share, most, tone) {
    const bar = element("i", { class: `bar ${most ? `most ${tone}` : ""}` });
    bar.style.width = `${Math.max(0.5, 100 * share)}%`;
    return element("td", {}, element("span", { class: "track", "aria-hidden": "true" }, bar),
      element(most ? "b" : "span", { class: "share" }, percent(share)));
  }
}
