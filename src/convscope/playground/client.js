// The page's side of a laboratory: a worker, and this thread if there is no worker or it is lost.

import { serve } from "./serve.js";

const SILENCE = 6000; // Milliseconds without a word after which a busy worker is given up.

export class Client {
  // start: () => Worker, or throws; graph, weights: what the laboratory is made of;
  // onPart: called with each part of the newest request.
  constructor({ start, graph, weights, onPart, onPlace }) {
    Object.assign(this, { graph, weights, onPart, onPlace });
    this.newest = 0;
    this.silence = SILENCE;
    this.request = null;
    this.wanted = null;
    this.loaded = false;
    this.timer = null;
    this.worker = null;
    try {
      this.worker = start();
      this.worker.onmessage = ({ data }) => this.hear(data);
      this.worker.onerror = (event) => { event.preventDefault?.(); this.fallBack(); };
      this.worker.onmessageerror = () => this.fallBack();
      this.post = (message) => this.worker.postMessage(message);
      this.onPlace?.("worker");
      this.post({ kind: "load", graph, weights });
      this.watch();
    } catch {
      this.fallBack();
    }
  }

  run(request) {
    this.request = request;
    this.newest++;
    if (!this.loaded) return;
    this.post({ kind: "run", id: this.newest, request });
    this.watch();
  }

  ask(question) {
    this.question = question;
    if (!this.loaded) return;
    this.post({ kind: "ask", id: this.newest, ...question });
  }

  // An image for map `unit` of node `layer`: comes as the part "unit".
  unit(layer, unit) {
    this.wanted = { layer, unit };
    if (this.loaded) this.post({ kind: "unit", ...this.wanted });
  }

  hear(message) {
    if (message.part === "failed" && !this.loaded && this.worker !== null) { this.fallBack(); return; }
    if (message.part === "loaded") {
      this.loaded = true;
      clearTimeout(this.timer);
      this.onPart(message);
      if (this.request !== null) this.run(this.request);
      if (this.wanted) this.unit(this.wanted.layer, this.wanted.unit);
      return;
    }
    if (message.part === "failed" || (message.part === "done" && message.id === this.newest)) clearTimeout(this.timer);
    else if (message.part === "unit") this.wanted = null;
    else if (message.part !== "arithmetic") this.watch();
    // A part of an older request about the same image is still true, or replaced in a moment.
    if (message.serial !== undefined && message.serial !== this.request.serial) return;
    if (message.part !== "alive") this.onPart(message);
  }

  watch() {
    clearTimeout(this.timer);
    if (this.worker !== null) this.timer = setTimeout(() => this.fallBack(), this.silence);
  }

  // From now on, work is done here, in short slices.
  fallBack() {
    clearTimeout(this.timer);
    this.worker?.terminate();
    this.worker = null;
    this.loaded = false;
    const receive = serve((message) => this.hear(message));
    this.post = (message) => { receive(message); };
    this.onPlace?.("page");
    this.post({ kind: "load", graph: this.graph, weights: this.weights });
  }
}
