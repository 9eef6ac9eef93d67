// One output value of a convolution, product by product.

import { control, element, largest, number, signed } from "./paint.js";

const tint = (cell, share) => {
  const [red, green, blue, alpha] = signed(share);
  cell.style.backgroundColor = `rgb(${red} ${green} ${blue} / ${((alpha / 255) * 0.55).toFixed(2)})`;
};

function grid(values, columns, { most, chosen, inside = null, name }) {
  const rows = [];
  for (let i = 0; i < values.length; i += columns) {
    rows.push(element("tr", {}, ...Array.from({ length: columns }, (_, v) => {
      const k = i + v;
      const outside = inside !== null && !inside[k];
      const cell = element("td", { class: `${k === chosen ? "chosen" : ""} ${outside ? "outside" : ""}`, title: outside ? "padding" : null }, number(values[k]));
      tint(cell, most > 0 ? values[k] / most : 0);
      return cell;
    })));
  }
  return element("div", { class: "kernel" }, element("h5", {}, name),
    element("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": name }, element("table", {}, element("tbody", {}, ...rows))));
}

export class Arithmetic {
  // onChange({channel, product}) reports the reader's step.
  constructor({ nodes, onChange }) {
    Object.assign(this, { nodes, onChange });
    this.found = null;
    this.channel = 0;
    this.product = null;
    this.pick = element("input", { id: "pg-channel", type: "range", min: 0, value: 0, oninput: () => this.step(Number(this.pick.value), this.product) });
    this.slide = element("input", { id: "pg-product", type: "range", min: 0, value: 0, oninput: () => this.step(this.channel, Number(this.slide.value)) });
    this.channelName = element("output", { for: "pg-channel" });
    this.productName = element("output", { for: "pg-product" });
    this.body = element("div", { class: "kernels" });
    this.words = element("p", { class: "sum" });
    this.controls = element("div", { class: "controls" },
      control("pg-channel", "Input channel", this.pick, this.channelName),
      control("pg-product", "Product", this.slide, this.productName));
    this.note = element("p", { class: "fact" });
    this.root = element("div", { class: "arithmetic" }, this.note, this.controls, this.body, this.words);
    this.hide("Choose a layer that is a convolution, then point at a place of its map.");
  }

  hide(why) {
    this.found = null;
    this.note.textContent = why;
    this.note.hidden = false;
    this.controls.hidden = this.body.hidden = this.words.hidden = true;
  }

  step(channel, product) {
    this.channel = channel;
    this.product = product;
    this.onChange({ channel, product });
    this.paint();
  }

  set({ channel, product }) {
    this.channel = channel ?? 0;
    this.product = product ?? null;
    if (this.found) this.paint();
  }

  show(found) {
    this.found = found;
    this.note.hidden = true;
    this.controls.hidden = this.body.hidden = this.words.hidden = false;
    this.paint();
  }

  sourceOf(layer) {
    const from = this.nodes[layer].from[0];
    if (from === 0) return "image";
    return this.nodes[from].name || (this.nodes[from].from[0] === 0 ? "normalized image" : "values");
  }

  paint() {
    const { channels, kernel, bias, total, unit, row, column, layer, first } = this.found;
    const c = Math.min(this.channel, channels.length - 1);
    const { values, inside, weights, sum } = channels[c];
    const last = values.length - 1;
    const k = Math.min(this.product ?? last, last);
    this.pick.max = channels.length - 1;
    this.pick.value = c;
    this.pick.disabled = channels.length === 1;
    this.slide.max = last;
    this.slide.value = k;
    this.channelName.textContent = `${first + c} (${c + 1} of ${channels.length})`;
    this.productName.textContent = `${k + 1} of ${values.length}`;
    const products = values.map((value, i) => value * weights[i]);
    const soFar = products.slice(0, k + 1).reduce((a, b) => a + b, 0);
    const most = Math.max(...channels.map((channel) => largest(channel.values)));
    this.body.replaceChildren(
      grid(values, kernel[1], { most, chosen: k, inside, name: `Input: ${this.sourceOf(layer)}, channel ${first + c}` }),
      element("span", { class: "sign", "aria-hidden": "true" }, "×"),
      grid([...weights], kernel[1], { most: Math.max(...channels.map((channel) => largest(channel.weights))), chosen: k, name: "Weights" }),
      element("span", { class: "sign", "aria-hidden": "true" }, "="),
      grid(products, kernel[1], { most: largest(products), chosen: k, name: "Products" }));
    const others = channels.reduce((all, channel, i) => all + (i === c ? 0 : channel.sum), 0);
    this.words.replaceChildren(
      element("span", {}, `Product ${k + 1}: ${number(values[k])} × ${number(weights[k])} = ${number(products[k])}; sum so far ${number(soFar)}. `),
      element("span", {}, `This channel ${number(sum)}`),
      channels.length > 1 ? element("span", {}, ` + the ${channels.length - 1} other channels ${number(others)}`) : "",
      element("span", {}, ` + bias ${number(bias)} = `), element("b", {}, number(total)),
      element("span", {}, `, the output of ${this.nodes[layer].name}, map ${unit}, at row ${row}, column ${column}`),
      element("span", {}, this.nodes[layer].folded ? " (batch normalization is inside the weights and the bias)." : "."));
  }
}
