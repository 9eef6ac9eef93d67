// Feature maps: a layer's outputs as small pictures, one of them large, value by value.

import { layersOf, receptiveField } from "./geometry.js";
import { control, element, gray, largest, number, paintMap, positive, signed } from "./paint.js";
import { Picture } from "./pictures.js";

const MOST = 256;

export class Layers {
  // onChoose({layer, unit}) and onPlace(row, column) report what the reader picked, onUnit(layer,
  // unit) that the reader asked for more of a map; below: what is shown then.
  // onField(box) shows a part of the image.
  constructor({ nodes, onChoose, onPlace, onField, onUnit, below }) {
    Object.assign(this, { nodes, onChoose, onPlace, onField, onUnit });
    this.layers = layersOf(nodes);
    this.values = null;
    this.layer = this.layers[0] ?? null;
    this.unit = 0;
    this.select = element("select", { id: "pg-layer", onchange: () => this.choose(this.layers[this.select.selectedIndex], 0) },
      ...this.layers.map((layer) => element("option", {}, `${layer.name}: ${layer.shape[0]} maps of ${layer.shape[1]} × ${layer.shape[2]}`)));
    this.number = element("input", { id: "pg-unit", type: "number", min: 0, inputmode: "numeric", placeholder: "0",
      onchange: () => this.choose(this.layer, Math.min(this.layer.shape[0] - 1, Math.max(0, Math.round(Number(this.number.value) || 0)))) });
    this.grid = element("div", { class: "maps" });
    this.large = new Picture({
      title: "Map", keyboard: true,
      shows: "The outputs of one filter, place by place; the frame on the image is the receptive field, all pixels that the value under the pointer can depend on.",
      not: "A bright place says that the filter responds there, not that the response matters for the class.",
      hover: (row, column) => this.describe(row, column),
      onPoint: (row, column) => this.onPlace(row, column),
    });
    this.large.onLeave = () => this.onField(null);
    this.large.root.classList.add("large");
    this.root = element("div", { class: "layers" },
      element("div", { class: "controls" },
        control("pg-layer", "Layer", this.select), control("pg-unit", "Map", this.number)),
      element("div", { class: "mapsplit" }, element("div", {}, this.large.root, below), element("div", {}, this.grid, this.legend = element("p", { class: "fact" }))));
  }

  choose(layer, unit) {
    this.onChoose({ layer, unit }); // Comes back by `set`, as any other state does.
  }

  set(layer, unit) {
    const same = layer === this.layer && unit === this.unit;
    this.layer = layer;
    this.unit = unit;
    if (layer === null || (same && this.number.value !== "")) return;
    this.select.selectedIndex = this.layers.indexOf(layer);
    this.number.max = layer.shape[0] - 1;
    this.number.value = unit;
    if (this.shown === layer.index) this.paint();
  }

  show({ layer, values }) {
    if (values === null || layer !== this.layer?.index) return;
    this.values = values;
    this.shown = layer;
    this.paint();
  }

  map(unit) {
    const area = this.layer.shape[1] * this.layer.shape[2];
    return this.values.subarray(unit * area, (unit + 1) * area);
  }

  paint() {
    const [count, height, width] = this.layer.shape;
    const shown = Math.min(MOST, count);
    while (this.grid.children.length > shown) this.grid.lastChild.remove();
    while (this.grid.children.length < shown) {
      const unit = this.grid.children.length;
      const button = element("button", { type: "button", tabindex: -1, onclick: () => { this.choose(this.layer, unit); this.onUnit(this.layer, unit); } },
        element("canvas", { "aria-hidden": "true" }));
      this.grid.append(button);
    }
    const most = largest(this.values);
    const hasSign = this.values.some((value) => value < 0);
    const scale = hasSign ? signed : gray;
    this.scale = scale;
    [...this.grid.children].forEach((button, unit) => {
      const map = this.map(unit);
      paintMap(button.firstChild, map.map((value) => (most > 0 ? value / most : 0)), height, width, (t) => scale(t * largest(map) / (most || 1)));
      button.setAttribute("aria-label", `map ${unit}`);
      button.setAttribute("aria-pressed", unit === this.unit);
      button.classList.toggle("chosen", unit === this.unit);
      button.tabIndex = unit === this.unit ? 0 : -1;
    });
    this.legend.textContent = `${count > shown ? `The first ${shown} of ${count} maps. ` : ""}All maps share one scale: ${
      hasSign ? `blue −${number(most)}, no color 0, orange ${number(most)}` : `black 0, white ${number(most)}`}.`;
    const map = this.map(this.unit);
    const own = largest(map);
    paintMap(this.large.canvas, map, height, width, hasSign ? signed : positive);
    this.large.root.querySelector("h4").textContent = `${this.layer.name}, map ${this.unit}`;
    this.large.tell(own === 0 ? "All values of this map are 0 for this image." : `Largest value ${number(own)}. Point at a place.`,
      `Map ${this.unit} of ${this.layer.name}; arrow keys read its values`);
  }

  describe(row, column) {
    if (this.values === null) return "";
    const value = this.map(this.unit)[row * this.layer.shape[2] + column];
    const box = receptiveField(this.nodes, this.layer.index, row, column);
    this.onField(box);
    return `Row ${row}, column ${column}: ${number(value)}. Sees rows ${box.top} to ${box.bottom - 1} and columns ${box.left} to ${box.right - 1} of the image.`;
  }
}
