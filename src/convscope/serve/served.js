// The page of a network that a server runs: the playground, and a panel per family of methods.

import { framesOf, send } from "./frames.js";
import { MethodPanel } from "./forms.js";
import { toGray } from "./images.js";
import { enlarged } from "./methods.js";
import { element, number, paintMap, short, signed } from "./paint.js";
import { Playground } from "./playground.js";
import { Remote } from "./remote.js";
import { toHash, writeHash } from "./state.js";
import { openByPointing } from "./terms.js";
import { startTour } from "./tour.js";

const PANELS = [
  ["explain", "Explain it with any method", "Runs on the image above, on the server, with the settings of the command line."],
  ["attack", "Attack it with any method", "Starts from the image above. A method that needs many images takes them from the data set."],
  ["visualize", "An image of a class", "An image that the network takes for a member of the class, made by one of the recipes."],
];

const LONGEST = 20000; // Numbers of an image that is part of the address.

class ServedPlayground extends Playground {
  // The server reads files, as `convscope predict` reads them.
  async open(file) {
    if (!file) return;
    this.say(`Reading ${short(file.name || "the image", 60)}.`);
    try {
      const response = await send(`${this.data.api}/image?name=${encodeURIComponent(file.name || "image")}`, { body: file });
      for await (const { header, arrays } of framesOf(response)) {
        this.notes = header.notes;
        this.setImage(arrays.image.values, null);
        this.pad.show(this.image, this.shape);
      }
    } catch (error) {
      this.say(`${short(file.name || "The file", 60)} cannot be read: ${error.message}`);
    }
  }

  show_failed({ why }) {
    this.say(`Refused: ${why}`);
  }

  setImage(image, name) {
    if (name !== null) this.notes = [];
    super.setImage(image, name);
  }

  sawFact() {
    return [super.sawFact(), ...(this.notes ?? [])].join(" ");
  }

  show_cam({ coarse, height, width, explained, layer }) {
    this.cam.root.hidden = coarse === null;
    if (coarse === null) return;
    const [, rows, columns] = this.shape;
    this.camMap = enlarged(coarse, height, width, rows, columns);
    const most = paintMap(this.cam.canvas, this.camMap, rows, columns, signed, toGray(this.image, this.shape));
    this.cam.tell(most === 0 ? `Empty: nothing of ${layer} speaks for or against it.` : `For ${short(this.classes[explained])}, at ${layer}, ${height} × ${width}: blue −${number(most)}, orange ${number(most)}.`,
      `Grad-CAM for ${this.classes[explained]} at ${layer}`);
  }

  // A photo is too long for an address: its state is kept without it.
  write() {
    if (this.state.image !== null || this.image.length <= LONGEST) { super.write(); return; }
    clearTimeout(this.writing);
    this.writing = setTimeout(() => {
      this.written = writeHash(toHash({ ...this.state, epsilon: Number(this.state.epsilon.toFixed(4)) }));
    }, 250);
  }

  // What this network cannot show is not there.
  leaveOut() {
    const hide = (node) => { node.closest("section").hidden = true; };
    if (!this.data.gradients) {
      for (const picture of [this.saliency, this.cam]) picture.root.hidden = true;
      hide(this.attacked.root);
    }
    if (this.layers.layers.length === 0) {
      hide(this.layers.root);
      hide(this.arithmetic.root);
    }
  }
}

function partsOf(data) {
  const gradients = data.gradients ? ["saliency", "maps", "cam"] : [];
  return ["prediction", ...gradients, "transforms", ...(data.gradients ? ["attack"] : []), "occlusion"];
}

async function begin() {
  // The token has become a cookie; a copied address does not hold it.
  const root = document.getElementById("playground-root");
  const api = `/api/${root.dataset.number}`;
  const panel = crypto.getRandomValues(new Uint32Array(3)).join("");
  const wait = document.getElementById("waiting");
  let data;
  try {
    data = await (await send(`${api}/page`, { method: "GET" })).json();
  } catch (error) {
    wait.textContent = `This page cannot begin: ${error.message}`;
    return;
  }
  data.api = api;
  const shape = data.graph.nodes[0].shape;
  wait.remove();
  root.hidden = false;
  const playground = new ServedPlayground(root, { data, weights: null,
    start: () => new Remote({ api, panel, shape, parts: partsOf(data) }) });
  // There is no second engine to fall back to, however long the server needs.
  clearTimeout(playground.client.timer);
  playground.client.watch = () => {};
  playground.client.lose = () => {};
  playground.leaveOut();
  globalThis.playground = playground;
  const about = [`${data.size.toLocaleString("en-US")} parameters`, `${shape[1]} × ${shape[2]} ${shape[0] === 1 ? "gray" : "color"} pixels`, `${data.graph.classes.length.toLocaleString("en-US")} classes`];
  if (data.layers) about.push(`layers are not shown: ${data.layers}`);
  document.getElementById("about").textContent = about.join(" · ");
  const place = document.getElementById("panels");
  globalThis.panels = {};
  for (const [family, title, lead] of PANELS) {
    const methods = data.methods.filter((method) => method.family === family);
    if (methods.every(({ why_not: why }) => why)) continue;
    const made = new MethodPanel({ family, title, lead, methods, api, panel, shape, classes: data.graph.classes,
      image: () => playground.image });
    globalThis.panels[family] = made;
    place.append(element("section", { id: family, "aria-label": title }, made.root));
  }
  openByPointing();
  startTour(playground, data.tour);
  document.documentElement.dataset.ready = "true";
}

begin();
