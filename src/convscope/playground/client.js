// The page's side of a laboratory: a worker, a fresh one if it is lost, and this thread if there is
// no worker or they are lost one after the other.

import { serve } from "./serve.js";

const SILENCE = 6000; // Milliseconds without a word after which a worker that owes one is given up.
const CALM = 30000; // Milliseconds that a fresh worker has to last, or there is no other one.

export class Client {
  // start: () => Worker, or throws; graph, weights: what the laboratory is made of;
  // onPart: called with each part of the newest request; onPlace: with "worker" or "page", and
  // whether workers were lost.
  constructor({ start, graph, weights, onPart, onPlace }) {
    Object.assign(this, { start, graph, weights, onPart, onPlace });
    this.newest = 0;
    this.silence = SILENCE;
    this.calm = CALM;
    this.request = null;
    this.wanted = null;
    this.timer = null;
    this.lost = -Infinity;
    this.workers = 0;
    this.begin();
  }

  begin() {
    this.loaded = false;
    this.owed = 0;
    try {
      const worker = this.start();
      const own = (what) => (event) => { if (worker === this.worker) what(event); };
      worker.onmessage = own(({ data }) => this.hear(data));
      worker.onerror = own((event) => { event.preventDefault?.(); this.lose(); });
      worker.onmessageerror = own(() => this.lose());
      this.worker = worker;
    } catch {
      this.fallBack();
      return;
    }
    this.workers++;
    this.onPlace?.("worker", this.workers > 1);
    this.post({ kind: "load", graph: this.graph, weights: this.weights });
  }

  post(message) {
    this.owed++;
    if (this.worker === null) this.receive(message);
    else this.worker.postMessage(message);
    this.watch();
  }

  run(request) {
    this.request = request;
    this.newest++;
    if (this.loaded) this.post({ kind: "run", id: this.newest, request });
  }

  ask(question) {
    if (this.loaded) this.post({ kind: "ask", id: this.newest, ...question });
  }

  // An image for map `unit` of node `layer`: comes as the part "unit".
  unit(layer, unit) {
    this.wanted = { layer, unit };
    if (this.loaded) this.post({ kind: "unit", ...this.wanted });
  }

  hear(message) {
    const { part } = message;
    if (part === "over") this.owed--;
    this.watch();
    if (part === "over" || part === "alive") return;
    if (part === "failed" && !this.loaded && this.worker !== null) { this.fallBack(); return; }
    if (part === "loaded") {
      this.loaded = true;
      this.onPart(message);
      if (this.request !== null) this.run(this.request);
      if (this.wanted) this.unit(this.wanted.layer, this.wanted.unit);
      return;
    }
    if (part === "unit") this.wanted = null;
    // A part of an older request about the same image is still true, or replaced in a moment.
    if (message.serial !== undefined && message.serial !== this.request.serial) return;
    this.onPart(message);
  }

  // Every message is answered in the end by "over"; until then a worker may not be silent for long.
  watch() {
    clearTimeout(this.timer);
    if (this.worker !== null && this.owed > 0) this.timer = setTimeout(() => this.lose(), this.silence);
  }

  lose() {
    const now = performance.now();
    const soon = now - this.lost < this.calm;
    this.lost = now;
    if (soon) { this.fallBack(true); return; }
    this.end();
    this.begin();
  }

  end() {
    clearTimeout(this.timer);
    this.worker?.terminate();
    this.worker = null;
  }

  // From now on, work is done here, in short slices.
  fallBack(lost = false) {
    this.end();
    this.loaded = false;
    this.receive = serve((message) => this.hear(message));
    this.onPlace?.("page", lost);
    this.post({ kind: "load", graph: this.graph, weights: this.weights });
  }
}
