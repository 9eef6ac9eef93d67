// The page: what the reader does becomes a state, the state a request, the answers pictures.

import { Arithmetic } from "./arithmetic.js";
import { Bars } from "./bars.js";
import { Client } from "./client.js";
import { argmax } from "./functions.js";
import { prepare, toGray } from "./images.js";
import { Layers } from "./layers.js";
import { enlarged } from "./methods.js";
import { control, element, largest, number, paintChange, paintImage, paintMap, percent, positive, short, signed } from "./paint.js";
import { Pad } from "./pad.js";
import { Picture } from "./pictures.js";
import { markTerms } from "./terms.js";
import { UnitImage } from "./unit.js";
import { bytesOf } from "./weights.js";
import { fromHash, isState, packPixels, toHash, unpackPixels, whole, writeHash } from "./state.js";

const TIMES = 10;

const KEYS = [
  ["?", "this list"], ["Esc", "clear the drawing"], ["[ and ]", "previous and next image"],
  ["− and +", "weaker and stronger attack"], ["0 to 9", "target of the attack: class 0 to 9"], ["x", "no target: any other class"],
  ["arrow keys", "on the drawing pad: move the pen; on a map: move from place to place"],
  ["space", "on the drawing pad: pen down or up"],
  ["t", "the tour of this page"], ["n and p", "on the tour, also → and ←: next and previous step; Esc ends it"],
];

export class Playground {
  // data: {graph, examples: [{name, label, pixels}], epsilon: {start, most, step, unit}}.
  constructor(root, { data, weights, start }) {
    this.root = root;
    this.data = data;
    this.graph = data.graph;
    this.shape = this.graph.nodes[0].shape;
    this.classes = this.graph.classes;
    this.serial = 0;
    this.image = new Float32Array(this.shape[0] * this.shape[1] * this.shape[2]);
    this.state = { image: null, epsilon: data.epsilon.start, target: null, explained: null, layer: null, unit: 0, place: null,
      window: Math.max(1, Math.floor(Math.min(this.shape[1], this.shape[2]) / 4)), stride: null, channel: 0, product: null };
    this.state.stride = Math.max(1, Math.floor(this.state.window / 2));
    this.build();
    this.client = new Client({ start, graph: this.graph, weights,
      onPart: (part) => this.show(part),
      onPlace: (place, lost) => this.computing(place, lost) });
    this.restore(location.hash);
    addEventListener("hashchange", () => {
      clearTimeout(this.writing); // The address that was opened is not written over.
      if (isState(location.hash) && location.hash !== this.written) this.restore(location.hash);
    });
  }

  // ---- What is on the page -------------------------------------------------------------------

  build() {
    const { classes, shape, data } = this;
    this.status = element("p", { class: "status", role: "status", "aria-live": "polite" }, "Loading the network.");
    this.place = element("p", { class: "fact" });
    this.pad = new Pad({ shape, onChange: () => this.drawn(), say: (words) => this.say(words) });
    this.file = element("input", { id: "pg-file", type: "file", accept: "image/*", class: "file", onchange: () => { this.open(this.file.files[0]); this.file.value = ""; } });
    this.examples = element("div", { class: "examples", role: "group", "aria-label": "Images of the data set" });
    data.examples.forEach((example, index) => {
      const canvas = element("canvas", { "aria-hidden": "true" });
      paintImage(canvas, this.examplePixels(index), shape);
      this.examples.append(element("button", { type: "button", "aria-label": `${example.name}, ${classes[example.label] ?? "no label"}`,
        title: `${example.name}: ${classes[example.label] ?? ""}`, onclick: () => this.pickExample(index) }, canvas));
    });
    const pen = shape[0] === 3
      ? [element("label", { for: "pg-color" }, "Pen"), element("input", { id: "pg-color", type: "color", value: "#ffffff", oninput: (event) => { this.pad.pen.color = event.target.value; } })]
      : [];
    const source = element("div", { class: "source" },
      this.pad.holder,
      element("div", { class: "buttons" },
        element("button", { type: "button", onclick: () => this.clear() }, "Clear"),
        element("label", { for: "pg-file", class: "button" }, "Choose an image"), this.file, ...pen),
      element("p", { class: "fact" }, "Draw, drop or paste an image, or pick one:"), this.examples);

    this.saw = new Picture({ title: "What the network saw", shows: this.sawWords(),
      not: "It is all that the network knows of your image.", hover: (row, column) => this.pixelWords(row, column) });
    this.bars = new Bars(classes);
    this.saliency = new Picture({ title: "Saliency",
      shows: "How much a tiny change of each pixel would change the score of the explained class (largest absolute gradient over the channels).",
      not: "It does not show what the network recognizes, and on photos it is noisy.",
      hover: (row, column) => this.valueWords(this.saliencyMap, row, column, "logits per unit of pixel") });
    this.cam = new Picture({ title: "Grad-CAM",
      shows: "Where a late layer responds with maps that speak for the explained class (orange) or against it (blue), laid over the image.",
      not: "It is as coarse as the layer, and says nothing about shapes inside a blob.",
      hover: (row, column) => this.valueWords(this.camMap, row, column, "logits") });
    this.occlusion = new Picture({ title: "Occlusion", keyboard: true,
      shows: "How far the score of the explained class falls while a window around each pixel is hidden by the image's mean color: orange where hiding hurts.",
      not: "It sees one window at a time: what is shown twice looks unimportant.",
      hover: (row, column) => this.windowWords(row, column) });
    this.saw.root.id = "pg-saw";
    this.occlusion.root.id = "pg-occlusion";
    this.occlusion.onLeave = () => this.saw.frame(null);
    const smaller = Math.min(shape[1], shape[2]);
    this.window = this.slider("pg-window", "Window", 1, smaller, 1, () => this.change({ window: Number(this.window.input.value), stride: Math.min(this.state.stride, Number(this.window.input.value)) }));
    this.stride = this.slider("pg-stride", "Stride", 1, smaller, 1, () => this.change({ stride: Math.min(this.state.window, Number(this.stride.input.value)) }));
    this.explained = element("select", { id: "pg-explained", onchange: () => this.change({ explained: this.explained.value === "" ? null : Number(this.explained.value) }) },
      element("option", { value: "" }, "the predicted class"), ...classes.map((name, i) => element("option", { value: i }, short(name, 40))));

    const { most, step } = data.epsilon;
    this.epsilon = this.slider("pg-epsilon", "Epsilon", 0, most, step, () => this.change({ epsilon: Number(this.epsilon.input.value) }));
    this.target = element("select", { id: "pg-target", onchange: () => this.change({ target: this.target.value === "" ? null : Number(this.target.value) }) },
      element("option", { value: "" }, "any other class"), ...classes.map((name, i) => element("option", { value: i }, short(name, 40))));
    this.original = new Picture({ title: "Before", shows: "What the network saw, for comparison.", hover: (row, column) => this.pixelWords(row, column) });
    this.attacked = new Picture({ title: "After the attack",
      shows: "The image after 20 steps along the sign of the gradient (PGD); no pixel is further than epsilon from where it was.",
      not: "It is one attack: that it fails does not prove that the network is robust.", hover: (row, column) => this.attackedWords(row, column) });
    this.noise = new Picture({ title: `What was added, ${TIMES} times`,
      shows: `The difference between the two images, ${TIMES} times as strong; gray is no change.`,
      not: "The pattern is made for this image and this network.", hover: (row, column) => this.attackedWords(row, column) });
    this.verdict = element("p", { class: "verdict" });
    this.transforms = element("div", { class: "tiles small" });

    this.unit = new UnitImage({ shape, ask: (layer, unit) => this.client.unit(layer, unit) });
    this.layers = new Layers({ nodes: this.graph.nodes, below: this.unit.root,
      onUnit: (layer, unit) => this.unit.choose(layer, unit),
      onChoose: ({ layer, unit }) => { this.unit.clear(); this.change({ layer: layer.name, unit, place: layer.name === this.state.layer ? this.state.place : null, channel: 0, product: null }); },
      onPlace: (row, column) => this.change({ place: [row, column] }),
      onField: (box) => this.saw.frame(box, shape[1], shape[2]) });
    this.arithmetic = new Arithmetic({ nodes: this.graph.nodes, onChange: (step) => { Object.assign(this.state, step); this.write(); } });

    this.help = element("dialog", { "aria-label": "Keys" }, element("h3", {}, "Keys"),
      element("dl", {}, ...KEYS.map(([key, words]) => element("div", {}, element("dt", {}, element("kbd", {}, key)), element("dd", {}, words)))),
      element("p", {}, "They work while the focus is in the playground."),
      element("button", { type: "button", onclick: () => this.help.close() }, "Close"));

    const part = (id, title, ...children) => element("section", { id: `pg-part-${id}`, class: "part", "aria-label": title }, element("h3", {}, title), ...children);
    this.root.replaceChildren(
      element("div", { id: "pg-part-image", class: "top" }, source, element("div", { class: "answer" }, this.status, this.bars.root, this.place,
        element("button", { type: "button", class: "keys", "aria-haspopup": "dialog", onclick: () => this.help.showModal() }, "Keys (?)"))),
      part("why", "Why", element("div", { class: "controls" }, control("pg-explained", "Explain", this.explained), this.window.root, this.stride.root),
        element("div", { class: "tiles" }, this.saw.root, this.saliency.root, this.cam.root, this.occlusion.root)),
      part("fool", "Fool it", element("div", { class: "controls" }, this.epsilon.root, control("pg-target", "Toward", this.target)),
        element("p", { class: "fact" }, "An attack (PGD, 20 steps) looks for the worst image in which no pixel differs by more than epsilon."),
        this.verdict, element("div", { class: "tiles" }, this.original.root, this.attacked.root, this.noise.root)),
      part("change", "Change the image", element("p", { class: "fact" }, "The same image, transformed: what the network predicts then. A network that has learned the object, not the picture, keeps its answer, where the change leaves the object what it is."), this.transforms),
      part("maps", "Feature maps", this.layers.root),
      part("sum", "One convolution, step by step", this.arithmetic.root),
      this.help);
    for (const each of this.root.querySelectorAll(":scope > .top, :scope > .part")) markTerms(each);
    this.listen();
  }

  slider(id, name, min, max, step, oninput) {
    const input = element("input", { id, type: "range", min, max, step, oninput });
    const output = element("output", { for: id });
    return { input, output, root: control(id, name, input, output) };
  }

  listen() {
    const { root } = this;
    root.addEventListener("keydown", (event) => this.key(event));
    root.addEventListener("dragover", (event) => { event.preventDefault(); root.classList.add("dropping"); });
    root.addEventListener("dragleave", () => root.classList.remove("dropping"));
    root.addEventListener("drop", (event) => {
      event.preventDefault();
      root.classList.remove("dropping");
      this.open([...event.dataTransfer.files].find((file) => file.type.startsWith("image/")) ?? event.dataTransfer.files[0]);
    });
    addEventListener("paste", (event) => {
      const file = [...(event.clipboardData?.files ?? [])].find((each) => each.type.startsWith("image/"));
      if (file) { event.preventDefault(); this.open(file); }
    });
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || this.help.open) return;
    const typing = event.target.matches("select, input:not([type=range])");
    const { most, step } = this.data.epsilon;
    const louder = (by) => this.change({ epsilon: Math.min(most, Math.max(0, Math.round((this.state.epsilon + by) / step) * step)) });
    const count = this.data.examples.length;
    const current = /^\d+$/.test(this.state.image ?? "") ? Number(this.state.image) : -1;
    if (event.key === "Escape") {
      if (document.querySelector(":popover-open")) return;
      this.clear();
    } else if (typing) return;
    else if (event.key === "?") this.help.showModal();
    else if (event.key === "t" && this.tour) this.tour.go(0);
    else if (event.key === "+" || event.key === "=") louder(step);
    else if (event.key === "-" || event.key === "−") louder(-step);
    else if (event.key === "x") this.change({ target: null });
    else if (/^[0-9]$/.test(event.key) && Number(event.key) < this.classes.length) this.change({ target: Number(event.key) });
    else if (event.key === "]" && count) this.pickExample((current + 1) % count);
    else if (event.key === "[" && count) this.pickExample((Math.max(current, 0) - 1 + count) % count);
    else return;
    event.preventDefault();
  }

  // ---- Images --------------------------------------------------------------------------------

  examplePixels(index) {
    const bytes = bytesOf(this.data.examples[index].pixels);
    return Float32Array.from(bytes, (byte) => byte / 255);
  }

  pickExample(index) {
    this.setImage(this.examplePixels(index), String(index));
    this.pad.show(this.image, this.shape);
  }

  clear() {
    this.pad.clear();
  }

  drawn() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      const { image, shape } = this.pad.read();
      this.setImage(prepare(image, shape, this.graph.input), null);
    });
  }

  async open(file) {
    if (!file) return;
    try {
      const { image, shape } = await this.pad.open(file);
      this.setImage(prepare(image, shape, this.graph.input), null);
      this.pad.show(this.image, this.shape);
    } catch {
      this.say(`${short(file.name || "The file", 60)} cannot be shown: it is damaged, or no picture that this browser knows.`);
    }
  }

  setImage(image, name) {
    this.image = image;
    this.serial++;
    this.state.image = name;
    for (const picture of [this.saw, this.original]) paintImage(picture.canvas, image, this.shape);
    this.refresh();
  }

  // ---- State ---------------------------------------------------------------------------------

  change(what) {
    Object.assign(this.state, what);
    this.refresh();
  }

  restore(hash) {
    const found = fromHash(hash) ?? {};
    const { data, shape, classes, state } = this;
    const { most, step } = data.epsilon;
    const epsilon = Number(found.epsilon);
    state.epsilon = found.epsilon !== undefined && epsilon >= 0 && epsilon <= most ? Math.round(epsilon / step) * step : data.epsilon.start;
    state.target = whole(found.target, 0, classes.length - 1, null);
    state.explained = whole(found.explained, 0, classes.length - 1, null);
    const smaller = Math.min(shape[1], shape[2]);
    state.window = whole(found.window, 1, smaller, Math.max(1, Math.floor(smaller / 4)));
    state.stride = whole(found.stride, 1, state.window, Math.max(1, Math.floor(state.window / 2)));
    const layer = this.layers.layers.find(({ name }) => name === found.layer) ?? this.layers.layers[0] ?? null;
    state.layer = layer?.name ?? null;
    state.unit = layer ? whole(found.unit, 0, layer.shape[0] - 1, 0) : 0;
    const at = (found.place ?? "").split(",");
    const row = whole(at[0], 0, (layer?.shape[1] ?? 0) - 1, null), column = whole(at[1], 0, (layer?.shape[2] ?? 0) - 1, null);
    state.place = row !== null && column !== null ? [row, column] : null;
    state.channel = whole(found.channel, 0, 65535, 0);
    state.product = whole(found.product, 0, 65535, null);
    const index = whole(found.image, 0, data.examples.length - 1, null);
    const pixels = found.image !== undefined && index === null ? unpackPixels(found.image, this.image.length) : null;
    if (pixels !== null) this.setImage(pixels, null);
    else if (data.examples.length) this.setImage(this.examplePixels(index ?? 0), String(index ?? 0));
    else this.setImage(this.image, null);
    this.pad.show(this.image, shape);
    if (isState(hash)) this.root.scrollIntoView({ block: "start" });
    this.restored = true;
  }

  write() {
    clearTimeout(this.writing);
    this.writing = setTimeout(() => {
      const state = { ...this.state, image: this.state.image ?? packPixels(this.image), epsilon: Number(this.state.epsilon.toFixed(4)) };
      this.written = writeHash(toHash(state));
    }, 250);
  }

  // The controls as the state has them, and a request for what is missing.
  refresh() {
    const { state, data } = this;
    const layer = this.layers.layers.find(({ name }) => name === state.layer) ?? null;
    this.epsilon.input.value = state.epsilon;
    this.epsilon.output.textContent = data.epsilon.unit === "levels" ? `${Math.round(state.epsilon * 255)}/255` : state.epsilon.toFixed(2);
    this.target.value = state.target ?? "";
    this.explained.value = state.explained ?? "";
    this.window.input.value = state.window;
    this.window.output.textContent = `${state.window} px`;
    this.stride.input.max = state.window;
    this.stride.input.value = state.stride;
    this.stride.output.textContent = `${state.stride} px`;
    [...this.examples.children].forEach((button, i) => {
      button.setAttribute("aria-pressed", String(i) === state.image);
      button.classList.toggle("chosen", String(i) === state.image);
    });
    this.layers.set(layer, state.unit);
    this.arithmetic.set(state);
    this.askSoon(layer);
    if (this.restored) this.write();
  }

  // At most one request per frame, however fast a slider moves.
  askSoon(layer) {
    this.requested = { layer };
    if (this.asking) return;
    this.asking = true;
    requestAnimationFrame(() => {
      this.asking = false;
      this.request(this.requested.layer);
    });
  }

  request(layer) {
    const { state } = this;
    this.client.run({ image: this.image, serial: this.serial, explained: state.explained, layer: layer?.index ?? null,
      cam: this.graph.cam, window: state.window, stride: state.stride, epsilon: state.epsilon, target: state.target });
    this.askArithmetic(layer);
  }

  askArithmetic(layer) {
    const { place, unit } = this.state;
    if (layer === null || layer.op !== "conv2d") {
      this.arithmetic.hide("Choose a layer that is a convolution, then point at a place of its map.");
      return;
    }
    const [row, column] = place ?? [Math.floor(layer.shape[1] / 2), Math.floor(layer.shape[2] / 2)];
    this.client?.ask({ layer: layer.index, unit, row, column });
  }

  // ---- Answers -------------------------------------------------------------------------------

  show(part) {
    this.shown = (this.shown ?? 0) + 1;
    this[`show_${part.part}`]?.(part);
  }

  computing(place, lost) {
    this.root.dataset.engine = place;
    this.place.textContent = place === "worker" ? ""
      : lost ? "The background process of this page ended, twice in a short time. The network now runs in the page itself, which may react more slowly; reload the page to try again."
        : "The network runs in the page itself, without a background process.";
  }

  show_failed({ why }) {
    this.say(`The network cannot run here: ${why}`);
  }

  show_prediction({ probabilities, predicted, ms }) {
    this.before = { probabilities, predicted };
    this.bars.show({ before: probabilities });
    const example = this.data.examples[Number(this.state.image)];
    const label = this.state.image !== null && example?.label >= 0 ? ` Its label is ${short(this.classes[example.label])}.` : "";
    this.say(`Predicted: ${short(this.classes[predicted], 40)}, ${percent(probabilities[predicted])}.${label}`);
    this.saw.tell(this.sawFact(), `What the network saw, predicted ${this.classes[predicted]}`);
    this.original.tell(`Predicted: ${short(this.classes[predicted], 40)}, ${percent(probabilities[predicted])}.`, "The image before the attack");
    this.root.dataset.prediction = this.classes[predicted];
    this.root.dataset.ms = ms.toFixed(1);
    this.askArithmetic(this.layers.layer);
  }

  show_saliency({ map, explained }) {
    this.saliencyMap = map;
    const most = paintMap(this.saliency.canvas, map, this.shape[1], this.shape[2], positive);
    this.saliency.tell(most === 0 ? "Empty: every gradient is 0." : `For ${short(this.classes[explained])}: dark 0, yellow ${number(most)}.`,
      `Saliency map for ${this.classes[explained]}`);
  }

  show_cam({ coarse, height, width, explained }) {
    this.cam.root.hidden = coarse === null;
    if (coarse === null) return;
    const [, rows, columns] = this.shape;
    this.camMap = enlarged(coarse, height, width, rows, columns);
    const most = paintMap(this.cam.canvas, this.camMap, rows, columns, signed, toGray(this.image, this.shape));
    const name = this.graph.nodes[this.graph.cam].name;
    this.cam.tell(most === 0 ? `Empty: nothing of ${name} speaks for or against it.` : `For ${short(this.classes[explained])}, at ${name}, ${height} × ${width}: blue −${number(most)}, orange ${number(most)}.`,
      `Grad-CAM for ${this.classes[explained]} at ${name}`);
  }

  show_maps(part) {
    this.layers.show(part);
  }

  show_unit(part) {
    this.unit.show(part);
  }

  show_attack({ image, probabilities, predicted, success }) {
    this.after = image;
    this.bars.show({ after: probabilities });
    const change = image.map((value, i) => value - this.image[i]);
    paintImage(this.attacked.canvas, image, this.shape);
    paintChange(this.noise.canvas, change, this.shape, TIMES);
    const { epsilon, target } = this.state;
    const was = this.before?.predicted;
    const answer = `${short(this.classes[predicted], 40)}, ${percent(probabilities[predicted])}`;
    this.verdict.textContent = epsilon === 0 ? "Epsilon is 0: nothing is changed."
      : target !== null && target === was ? `${short(this.classes[was], 40)} is what the network predicts without an attack: choose another class.`
      : success ? `Fooled: ${answer}${target === null && was !== undefined ? ` instead of ${short(this.classes[was], 40)}` : ""}.`
        : `Not fooled within epsilon: ${answer}.`;
    this.verdict.dataset.success = success && epsilon > 0 && target !== was;
    this.attacked.tell(`Predicted: ${answer}.`, `The attacked image, predicted ${answer}`);
    this.noise.tell(epsilon === 0 ? "Nothing was added." : `At most ${number(largest(change))} per pixel.`, `What was added, ${TIMES} times`);
    this.root.dataset.attack = this.classes[predicted];
  }

  show_transforms({ rows }) {
    this.transforms.replaceChildren(...rows.map(({ name, about, image, probabilities }) => {
      const canvas = element("canvas", { role: "img", "aria-label": `The image, ${about}` });
      paintImage(canvas, image, this.shape);
      const predicted = argmax(probabilities);
      const same = predicted === this.before?.predicted;
      return element("figure", { class: "tile" }, element("h4", { title: about }, name), canvas,
        element("p", { class: `chip ${same ? "good" : "bad"}` }, `${same ? "✓" : "✗"} ${short(this.classes[predicted], 18)}`, element("span", {}, percent(probabilities[predicted]))));
    }));
  }

  show_occlusion({ map, probabilities, tops, lefts, window }) {
    this.windows = { map, probabilities, tops, lefts, window };
    const [, rows, columns] = this.shape;
    const most = paintMap(this.occlusion.canvas, map, rows, columns, signed, toGray(this.image, this.shape));
    const explained = this.state.explained ?? this.before.predicted;
    this.windows.explained = explained;
    const lowest = Math.min(...probabilities.map((p) => p[explained]));
    this.occlusion.tell(`${probabilities.length} windows; ${short(this.classes[explained])} falls to ${percent(lowest)} at worst. Scale ±${number(most)} logits.`,
      `Occlusion map for ${this.classes[explained]}; arrow keys move the window`);
    this.root.dataset.windows = probabilities.length;
  }

  show_arithmetic(found) {
    if (found.layer === this.layers.layer?.index && found.unit === this.state.unit) this.arithmetic.show(found);
  }

  show_done({ id, ms }) {
    this.root.dataset.done = id;
    this.root.dataset.total = (ms ?? 0).toFixed(1);
  }

  // ---- Words ---------------------------------------------------------------------------------

  say(words) {
    this.status.textContent = words;
  }

  sawWords() {
    const [channels, height, width] = this.shape;
    const size = `${height} × ${width} ${channels === 1 ? "gray" : "color"} pixels`;
    return this.graph.input.rule.kind === "center"
      ? `The drawing as digits of MNIST are: bright ink, at most ${this.graph.input.rule.box} pixels large, its center of mass in the middle of ${size}.`
      : `The image brought to ${size}.`;
  }

  sawFact() {
    return `${this.shape[1]} × ${this.shape[2]} pixels.`;
  }

  pixelWords(row, column) {
    const [channels, height, width] = this.shape;
    const values = Array.from({ length: channels }, (_, c) => Math.round(255 * this.image[(c * height + row) * width + column]));
    return `Row ${row}, column ${column}: ${values.join(", ")} of 255.`;
  }

  valueWords(map, row, column, unit) {
    return map ? `Row ${row}, column ${column}: ${number(map[row * this.shape[2] + column])} ${unit}.` : null;
  }

  attackedWords(row, column) {
    if (!this.after) return null;
    const [channels, height, width] = this.shape;
    const parts = Array.from({ length: channels }, (_, c) => {
      const at = (c * height + row) * width + column;
      return `${this.image[at].toFixed(2)} → ${this.after[at].toFixed(2)}`;
    });
    return `Row ${row}, column ${column}: ${parts.join(", ")}.`;
  }

  windowWords(row, column) {
    if (!this.windows) return null;
    const { tops, lefts, window, probabilities, explained } = this.windows;
    const nearest = (starts, at) => starts.reduce((best, start, i) => (Math.abs(start + window / 2 - at - 0.5) < Math.abs(starts[best] + window / 2 - at - 0.5) ? i : best), 0);
    const i = nearest(tops, row), j = nearest(lefts, column);
    this.saw.frame({ top: tops[i], left: lefts[j], bottom: tops[i] + window, right: lefts[j] + window }, this.shape[1], this.shape[2]);
    const p = probabilities[i * lefts.length + j];
    const predicted = argmax(p);
    return `Hidden at row ${tops[i]}, column ${lefts[j]}: ${short(this.classes[explained])} ${percent(p[explained])}${predicted === explained ? "" : `, predicted ${short(this.classes[predicted])}`}.`;
  }
}
