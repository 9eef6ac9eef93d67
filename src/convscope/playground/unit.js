// An image for one feature map: that of the report, if it has one; else one that is made here.

import { element, number, paintImage } from "./paint.js";
import { Picture } from "./pictures.js";

export class UnitImage {
  // shape: of images; ask(layer, unit) brings `show` an image.
  constructor({ shape, ask }) {
    Object.assign(this, { shape, ask });
    this.picture = new Picture({ title: "An image for this map",
      shows: "An image that was made, step by step along the gradient, to drive the value in the middle of this map as high as it gets.",
      not: "It is one of many such images, and says what drives the map, not what the map is for." });
    this.link = element("p", { class: "fact" });
    this.picture.root.querySelector(".fact").after(this.link);
    this.root = this.picture.root;
    this.root.classList.add("large");
    this.clear();
  }

  clear() {
    this.root.hidden = true;
    this.wanted = null;
  }

  // The reader chose a map.
  choose(layer, unit) {
    this.wanted = { layer, unit };
    this.root.hidden = false;
    this.link.replaceChildren();
    this.root.querySelector("h4").textContent = `An image for ${layer.name}, map ${unit}`;
    const address = `${layer.name}/${unit}`;
    const image = document.getElementById(address)?.querySelector("img");
    this.root.dataset.from = image ? "report" : "here";
    if (image) {
      const { canvas } = this.picture;
      Object.assign(canvas, { width: image.naturalWidth, height: image.naturalHeight });
      canvas.getContext("2d").drawImage(image, 0, 0);
      this.picture.tell("From this report.", `An image for ${layer.name}, map ${unit}`);
      this.link.append(element("a", { href: `#${address}` }, "See it in its section"));
      return;
    }
    paintImage(this.picture.canvas, new Float32Array(this.shape[0] * this.shape[1] * this.shape[2]).fill(0.5), this.shape);
    this.picture.tell("Being made.");
    this.ask(layer.index, unit);
  }

  // image: pixels; null: there is no way up; undefined: it could not be made, and why.
  show({ layer, unit, image, value, here, steps, why }) {
    if (this.wanted === null || this.wanted.layer.index !== layer || this.wanted.unit !== unit || this.root.dataset.from !== "here") return;
    const { name } = this.wanted.layer;
    const label = `An image for ${name}, map ${unit}`;
    if (image) {
      paintImage(this.picture.canvas, image, this.shape);
      this.picture.tell(`Made here in ${steps} steps. In the middle of the map: ${number(value)}; for your image: ${number(here)}.`, label);
    } else if (image === null) {
      this.picture.tell(`None: in ${steps} steps from gray the value never rose above ${number(value)}. The map may be dead.`, label);
    } else {
      this.picture.tell(`It could not be made: ${why}`, label);
    }
    if (!image) this.link.append(element("code", {}, `convscope inspect MODEL --units ${name}:${unit} --data DATA`));
    this.root.dataset.shown = `${name}/${unit}`;
  }
}
