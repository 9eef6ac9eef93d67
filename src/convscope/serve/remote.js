// A laboratory on the server, with the manners of a Worker: `client.js` does not know the difference.

import { TRANSFORMS } from "./images.js";
import { framesOf, pack, send, wordsOf } from "./frames.js";

// What each part is made with; a part that is shown for the same is not asked for again.
const KEYS = {
  prediction: () => [],
  saliency: (r) => [r.explained],
  maps: (r) => [r.layer],
  cam: (r) => [r.explained],
  transforms: () => [],
  attack: (r) => [r.target, r.epsilon],
  occlusion: (r) => [r.explained, r.window, r.stride],
};
const SLOW = ["attack", "transforms", "occlusion"];

const pause = () => new Promise((resolve) => setTimeout(resolve, 0));

export class Remote {
  // api: address of the network; panel: name of this page; shape: of its images;
  // parts: names of what the network can show.
  constructor({ api, panel, shape, parts }) {
    Object.assign(this, { api, panel, shape, parts });
    this.kept = new Map();
    this.serial = null;
    this.waiting = null;
    this.flight = null;
    this.onmessage = null;
    this.onerror = null;
  }

  postMessage(message) {
    if (message.kind === "load") setTimeout(() => this.tell({ part: "loaded" }));
    else if (message.kind === "run") this.run(message);
    else if (message.kind === "ask") this.ask(message);
    else if (message.kind === "unit") this.unit(message);
  }

  terminate() {
    this.flight?.controller.abort();
    this.question?.abort();
    this.driven?.abort();
  }

  tell(data) {
    this.onmessage?.({ data });
  }

  // The newest request wins. The quick parts of one that is under way may come first, so that a
  // slider that never rests is followed all the same; its slow parts give way.
  run(message) {
    this.image = message.request.image;
    this.waiting = message;
    if (this.flight === null) this.work();
    else if (this.flight.slow) this.flight.controller.abort();
  }

  async work() {
    while (this.waiting !== null) {
      const { id, request } = this.waiting;
      this.waiting = null;
      const start = performance.now();
      if (this.serial !== request.serial) this.kept.clear();
      this.serial = request.serial;
      const wanted = this.parts.filter((part) => this.kept.get(part) !== keyOf(part, request) && !(part === "maps" && request.layer === null));
      this.flight = { controller: new AbortController(), slow: false, start };
      try {
        await this.fetchParts(wanted.filter((part) => !SLOW.includes(part)), id, request);
        this.flight.slow = true;
        if (this.waiting === null) await this.fetchParts(wanted.filter((part) => SLOW.includes(part)), id, request);
        if (this.waiting === null) this.tell({ id, serial: request.serial, part: "done", ms: performance.now() - start });
      } catch (error) {
        if (error.name !== "AbortError") this.tell({ id, part: "failed", why: String(error.message ?? error) });
      }
      this.flight = null;
    }
  }

  async fetchParts(want, id, request) {
    if (want.length === 0) return;
    const { controller, start } = this.flight;
    const arrays = { image: { shape: this.shape, values: request.image } };
    const transforms = TRANSFORMS.filter(({ onlyColor }) => !onlyColor || this.shape[0] === 3);
    const changed = [];
    if (want.includes("transforms")) {
      const values = new Float32Array(transforms.length * request.image.length);
      for (const { apply } of transforms) {
        const made = apply(request.image, this.shape);
        values.set(made.map((v) => Math.min(1, Math.max(0, v))), changed.length * made.length);
        changed.push(made);
        await pause();
        if (this.waiting !== null) return;
      }
      arrays.changed = { shape: [changed.length, ...this.shape], values };
    }
    const { explained, layer, window, stride, epsilon, target } = request;
    const response = await send(`${this.api}/run?panel=${this.panel}`, {
      body: pack({ want, explained, layer, window, stride, epsilon, target }, arrays), signal: controller.signal,
    });
    for await (const { header, arrays: came } of framesOf(response)) {
      const { part } = header;
      if (part === "canceled" || part === "done") return;
      if (part === "failed") throw new Error(wordsOf(header.error));
      if (KEYS[part]) this.kept.set(part, keyOf(part, request));
      const answer = { ...header, id, serial: request.serial, ms: performance.now() - start };
      for (const [name, { values }] of Object.entries(came)) answer[name] = values;
      if (part === "transforms") answer.rows = this.rows(transforms, changed, came.probabilities);
      if (part === "occlusion") answer.probabilities = rowsOf(came.probabilities);
      this.tell(answer);
    }
  }

  rows(transforms, changed, probabilities) {
    const each = rowsOf(probabilities);
    return transforms.map(({ name, about }, i) => ({ name, about, image: changed[i], probabilities: each[i] }));
  }

  async ask({ id, layer, unit, row, column }) {
    this.question?.abort();
    this.question = new AbortController();
    const serial = this.serial;
    try {
      const body = pack({ layer, unit, row, column }, { image: { shape: this.shape, values: this.image } });
      const response = await send(`${this.api}/arithmetic?panel=${this.panel}`, { body, signal: this.question.signal });
      this.tell({ ...(await response.json()), id, serial, part: "arithmetic" });
    } catch (error) {
      if (error.name !== "AbortError") this.tell({ id, part: "failed", why: String(error.message ?? error) });
    }
  }

  // An image for a map; the newest choice wins.
  async unit({ layer, unit }) {
    this.driven?.abort();
    this.driven = new AbortController();
    try {
      const body = pack({ layer, unit }, { image: { shape: this.shape, values: this.image } });
      const response = await send(`${this.api}/unit?panel=${this.panel}`, { body, signal: this.driven.signal });
      for await (const { header, arrays } of framesOf(response)) {
        if (header.part === "failed") throw new Error(wordsOf(header.error));
        if (header.part === "unit") this.tell({ ...header, image: arrays.image?.values ?? null });
      }
    } catch (error) {
      if (error.name !== "AbortError") this.tell({ part: "unit", layer, unit, why: String(error.message ?? error) });
    }
  }
}

const keyOf = (part, request) => JSON.stringify(KEYS[part](request));

function rowsOf({ shape, values }) {
  return Array.from({ length: shape[0] }, (_, i) => values.subarray(i * shape[1], (i + 1) * shape[1]));
}
