// Methods of one family: a form made of their records, progress, and what they found.

import { Bars } from "./bars.js";
import { framesOf, pack, send, wordsOf } from "./frames.js";
import { argmax } from "./functions.js";
import { toGray } from "./images.js";
import { element, largest, number, paintChange, paintImage, paintMap, percent, positive, short, signed } from "./paint.js";
import { Picture } from "./pictures.js";
import { markTerms } from "./terms.js";

export class MethodPanel {
  // methods: records of the server; image: () => Float32Array, what the page shows now.
  constructor({ family, title, lead, methods, classes, api, panel, shape, image }) {
    Object.assign(this, { family, methods, classes, api, panel, shape, image });
    this.flight = null;
    const id = (name) => `${family}-${name}`;
    const groups = new Map();
    for (const method of methods) groups.set(method.group, [...(groups.get(method.group) ?? []), method]);
    this.select = element("select", { id: id("method"), onchange: () => this.choose() },
      ...[...groups].map(([group, several]) => element("optgroup", { label: group },
        ...several.map(({ name, why_not: why }) => element("option", { value: name, disabled: Boolean(why), title: why || null }, why ? `${name} (${why})` : name)))));
    this.select.value = methods.find(({ why_not: why }) => !why).name;
    this.target = element("select", { id: id("target") });
    this.targetLabel = element("label", { for: id("target") }, "Class");
    this.seed = element("input", { id: id("seed"), type: "number", min: 0, step: 1, value: 0 });
    this.about = element("p", { class: "about-method" });
    this.settings = element("div", { class: "settings" });
    this.count = element("summary", {}, "Settings");
    this.folded = element("details", { class: "fold" }, this.count, this.settings);
    this.start = element("button", { type: "submit", class: "primary" }, "Run");
    this.stop = element("button", { type: "button", disabled: true, onclick: () => this.cancel() }, "Cancel");
    this.bar = element("progress", { max: 1, value: 0, "aria-label": `Progress of ${title}`, hidden: true });
    this.status = element("p", { class: "status", role: "status", "aria-live": "polite" });
    this.found = element("div", { class: "found" });
    const form = element("form", { onsubmit: (event) => { event.preventDefault(); this.run(); } },
      element("div", { class: "controls" }, element("label", { for: id("method") }, "Method"), this.select,
        this.targetLabel, this.target, element("label", { for: id("seed") }, "Seed"), this.seed),
      this.about, this.folded,
      element("div", { class: "controls" }, this.start, this.stop, this.bar));
    this.root = element("div", { class: "playground panel" }, element("h2", {}, title), element("p", { class: "fact" }, lead),
      form, this.status, this.found);
    this.choose();
  }

  get method() {
    return this.methods.find(({ name }) => name === this.select.value);
  }

  choose() {
    const { method, family } = this;
    this.about.textContent = method.about;
    this.target.hidden = this.targetLabel.hidden = method.target === "";
    const kept = this.target.value;
    const none = family === "explain" ? "the predicted class" : method.takes === "images" ? "each class in turn" : "any other class";
    this.target.replaceChildren(...(method.target === "required" ? [] : [element("option", { value: "" }, none)]),
      ...this.classes.map((name, i) => element("option", { value: i }, short(name, 50))));
    if ([...this.target.options].some(({ value }) => value === kept)) this.target.value = kept;
    this.inputs = method.fields.map((field) => [field, this.input(field)]);
    this.settings.replaceChildren(...this.inputs.map(([field, input]) => element("div", { class: "setting" },
      element("label", { for: input.id }, field.option), input,
      element("p", { class: "fact" }, field.meaning || field.takes))));
    this.folded.hidden = method.fields.length === 0;
    this.count.textContent = `Settings (${method.fields.length})`;
    if (method.fields.some(({ required }) => required)) this.folded.open = true;
    markTerms(this.root);
  }

  input(field) {
    const id = `${this.family}-set-${field.option}`;
    if (field.widget === "switch") return element("input", { id, type: "checkbox", checked: field.default === "on" });
    if (field.widget === "choice") {
      const none = field.choices.includes(field.default) ? [] : [field.default];
      const select = element("select", { id }, ...[...none, ...field.choices].map((value) => element("option", { value }, value)));
      select.value = field.default;
      return select;
    }
    const whole = field.widget === "whole";
    return element("input", { id, type: whole ? "number" : "text", step: whole ? 1 : null, value: field.default,
      required: field.required, maxlength: 200, placeholder: field.takes, autocomplete: "off", spellcheck: "false" });
  }

  // What differs from the defaults, as words of a command.
  words() {
    return this.inputs.flatMap(([field, input]) => {
      const value = field.widget === "switch" ? (input.checked ? "on" : "off") : input.value.trim();
      if (value === field.default || (value === "" && !field.required)) return [];
      return [`--${field.option}=${field.widget === "switch" ? String(input.checked) : value}`];
    });
  }

  async run() {
    this.flight?.abort();
    const controller = new AbortController();
    this.flight = controller;
    const { method } = this;
    const image = Float32Array.from(this.image());
    this.busy(true);
    this.status.textContent = `${method.name} is at work.`;
    const header = { method: method.name, words: this.words(), seed: Number(this.seed.value) || 0,
      target: this.target.hidden || this.target.value === "" ? null : Number(this.target.value) };
    try {
      const response = await send(`${this.api}/method?panel=${this.panel}`, { signal: controller.signal,
        body: pack(header, method.takes === "image" ? { image: { shape: this.shape, values: image } } : {}) });
      for await (const frame of framesOf(response)) {
        if (this.flight !== controller) return;
        this.hear(frame, image);
      }
    } catch (error) {
      if (this.flight === controller && error.name !== "AbortError") this.status.textContent = `Refused: ${error.message}`;
    }
    if (this.flight === controller) { this.flight = null; this.busy(false); }
  }

  async cancel() {
    const family = this.family;
    try { await send(`/api/cancel?panel=${this.panel}`, { body: JSON.stringify({ family }) }); } catch { this.flight?.abort(); }
  }

  busy(is) {
    this.stop.disabled = !is;
    this.bar.hidden = !is;
    this.bar.value = 0;
    this.root.dataset.busy = is;
  }

  hear({ header, arrays }, image) {
    if (header.part === "alive") {
      this.bar.value = header.share;
      if (header.doing) this.status.textContent = `${header.doing}: ${percent(header.share)}`;
    } else if (header.part === "canceled") {
      this.status.textContent = "Canceled.";
    } else if (header.part === "failed") {
      this.status.textContent = `Refused: ${wordsOf(header.error)}`;
    } else if (header.part === "result") {
      this.show(header, arrays, image);
    }
  }

  show(header, arrays, image) {
    this.root.dataset.shown = header.name;
    const facts = element("ul", { class: "facts" }, ...header.facts.map((fact) => element("li", {}, fact)));
    if (header.kind === "map") this.found.replaceChildren(this.map(header, arrays.map.values, image), facts);
    else if (header.kind === "attack") this.found.replaceChildren(...this.attack(header, arrays, image), facts);
    else {
      const words = `${header.name}: ${this.method.about}`;
      this.found.replaceChildren(element("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": words },
        element("img", { class: "drawn", src: `data:image/png;base64,${header.picture}`, alt: words })), facts);
      this.status.textContent = `${header.name} is done.`;
    }
  }

  map({ name, signed: hasSign, explained, layer }, values, image) {
    const [, rows, columns] = this.shape;
    const scale = hasSign === false ? positive : signed;
    const words = (row, column) => `Row ${row}, column ${column}: ${number(values[row * columns + column])}.`;
    const alone = new Picture({ level: 3, title: "The map", shows: this.method.about, hover: words });
    const over = new Picture({ level: 3, title: "Over the image", shows: "The same map over a pale copy of the image.", hover: words });
    const most = paintMap(alone.canvas, values, rows, columns, scale);
    paintMap(over.canvas, values, rows, columns, scale, toGray(image, this.shape));
    const legend = scale === signed ? `blue −${number(most)}, no color 0, orange ${number(most)}` : `dark 0, yellow ${number(most)}`;
    alone.tell(most === 0 ? "Empty: every value is 0." : `Scale: ${legend}.`);
    this.status.textContent = `${name}${layer ? ` at ${layer}` : ""}, for ${short(this.classes[explained], 40)}.`;
    return element("div", { class: "tiles" }, alone.root, over.root);
  }

  attack(header, arrays, image) {
    const after = arrays.image.values;
    const change = after.map((value, i) => value - image[i]);
    const most = largest(change);
    const factor = most > 0 ? 0.5 / most : 1;
    const attacked = new Picture({ level: 3, title: "After the attack", shows: this.method.about });
    const noise = new Picture({ level: 3, title: "The change", shows: "The difference of the two images at full range; gray is no change." });
    paintImage(attacked.canvas, after, this.shape);
    paintChange(noise.canvas, change, this.shape, 2 * factor);
    const bars = new Bars(this.classes);
    bars.show({ before: arrays.before.values, after: arrays.after.values });
    const answer = `${short(this.classes[header.predicted], 40)}, ${percent(arrays.after.values[header.predicted])}`;
    attacked.tell(`Predicted: ${answer}.`);
    noise.tell(most > 0 ? `${(2 * factor).toFixed(1)} times as strong. L∞ ${number(header.linf)}, L2 ${number(header.l2)}.` : "Nothing was changed.");
    const was = short(this.classes[argmax(arrays.before.values)], 40);
    this.status.textContent = header.success
      ? `Fooled: ${answer} instead of ${was}.${header.saved ? "" : " An 8-bit file of it does not fool any more."}`
      : `Not fooled: ${answer}.`;
    return [element("div", { class: "tiles" }, attacked.root, noise.root), bars.root];
  }
}
