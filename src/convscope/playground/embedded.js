// The playground inside a report: network and images lie in the page, the worker is made of its text.

import { Playground } from "./playground.js";
import { keepLinksInside } from "./state.js";
import { openByPointing } from "./terms.js";
import { startTour } from "./tour.js";

const text = (id) => document.getElementById(id).textContent;

// The engine's own script as an address; `require-trusted-types-for` lets only this one through. The
// policy of the page allows it to be made once.
function ownWorker() {
  const source = `${text("playground-engine")}\nconst receive = playgroundEngine.serve((part) => postMessage(part));\nonmessage = (event) => receive(event.data);`;
  let address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  if (globalThis.trustedTypes) {
    const own = address;
    address = trustedTypes.createPolicy("convscope-playground", {
      createScriptURL: (asked) => { if (asked !== own) throw new TypeError("not the playground's own worker"); return asked; },
    }).createScriptURL(own);
  }
  return address;
}

let address = null;
const startWorker = () => new Worker(address ??= ownWorker());

const root = document.getElementById("playground-root");
root.hidden = false;
document.getElementById("playground-missing")?.remove();
openByPointing();
keepLinksInside();
globalThis.playground = new Playground(root, { data: JSON.parse(text("playground-data")), weights: text("playground-weights"), start: startWorker });
startTour(globalThis.playground, JSON.parse(text("playground-tour")));
