// A laboratory behind messages: in a worker, or on the page's own thread through the same door.

import { Laboratory } from "./laboratory.js";
import { decodeWeights } from "./weights.js";

const SLICE = 12; // Milliseconds of work between looks at what came in.

const pause = () => new Promise((resolve) => setTimeout(resolve, 0));

// Answers {kind: "load" | "run" | "ask" | "unit"} with `post`, at last with the part "over"; returns
// the function that takes messages.
export function serve(post) {
  let laboratory = null;
  let waiting = null;
  let busy = false;
  let asked = 0;

  async function work() {
    busy = true;
    while (waiting !== null) {
      const { id, request } = waiting;
      waiting = null;
      const start = performance.now();
      let slice = start;
      for (const part of laboratory.run(request)) {
        if (part !== null) post({ ...part, id, serial: request.serial, ms: performance.now() - start });
        if (performance.now() - slice > SLICE) {
          post({ id, part: "alive" });
          await pause();
          if (waiting !== null) break;
          slice = performance.now();
        }
      }
    }
    busy = false;
  }

  // Beside the work on the image, in slices; the newest question wins.
  async function unit({ layer, unit: map }) {
    const mine = ++asked;
    const steps = laboratory.unit(layer, map);
    for (let slice = performance.now(); ; ) {
      const { done, value } = steps.next();
      if (done) { post({ part: "unit", ...value }); return; }
      if (performance.now() - slice < SLICE) continue;
      post({ part: "alive" });
      await pause();
      if (mine !== asked) return;
      slice = performance.now();
    }
  }

  return async function receive(message) {
    try {
      if (message.kind === "load") {
        laboratory = new Laboratory(message.graph, await decodeWeights(message.weights, message.graph.tensors));
        post({ part: "loaded" });
      } else if (message.kind === "run") {
        waiting = message;
        if (!busy && laboratory !== null) await work();
      } else if (message.kind === "unit" && laboratory?.tape) {
        await unit(message);
      } else if (message.kind === "ask" && laboratory?.tape) {
        const { layer, unit, row, column } = message;
        post({ id: message.id, serial: laboratory.serial, part: "arithmetic", ...laboratory.arithmetic(layer, unit, row, column) });
      }
    } catch (error) {
      busy = false;
      post({ part: "failed", why: String(error?.message ?? error) });
    } finally {
      post({ part: "over" });
    }
  };
}
