// The teacher's tour: step by step through what is on the page, by keys, buttons and address.

import { element } from "./paint.js";
import { replaceHash, TOUR } from "./state.js";

const DIGITS = "0,1,2,3,4,5,6,7,8,9";

export class Tour {
  // steps: {title, target, look, task, digits}; onEnd() is called when it is over.
  constructor({ steps, classes, onEnd }) {
    this.all = steps;
    this.digits = classes.join() === DIGITS;
    this.onEnd = onEnd;
    this.at = -1;
    this.build();
    this.choose();
    addEventListener("hashchange", () => this.follow());
    document.addEventListener("keydown", (event) => this.key(event), true);
    this.follow();
  }

  build() {
    this.count = element("p", { class: "fact" });
    this.title = element("h2", { id: "tour-title" });
    this.look = element("p", { id: "tour-look" });
    this.task = element("p", { id: "tour-task" });
    const button = (words, onclick) => element("button", { type: "button", onclick }, words);
    this.back = button("Back", () => this.go(this.at - 1));
    this.next = button("Next", () => (this.at + 1 < this.steps.length ? this.go(this.at + 1) : this.end()));
    this.card = element("div", { class: "playground tour", tabindex: -1, role: "dialog", hidden: true,
      "aria-labelledby": "tour-title", "aria-describedby": "tour-look tour-task" },
      this.count, this.title, this.look, this.task,
      element("div", { class: "buttons" }, this.back, this.next, button("Go there", () => this.enter()), button("End the tour", () => this.end())));
    this.link = element("a", { href: `${TOUR}1` });
    document.querySelector("header > div").append(element("p", { class: "tour-link" }, this.link));
    document.body.append(this.card);
  }

  // The steps whose thing is on this page, and not hidden.
  choose() {
    this.steps = this.all.filter(({ target }) => document.querySelector(target)?.closest("[hidden]") === null);
    this.link.textContent = `Take the tour: ${this.steps.length} steps`;
    this.link.parentElement.hidden = this.steps.length === 0;
  }

  follow() {
    const { hash } = location;
    const asked = hash.startsWith(TOUR) ? Number(hash.slice(TOUR.length)) : 0;
    if (Number.isInteger(asked) && asked > 0) this.go(asked - 1);
    else if (this.at >= 0) this.end();
  }

  go(step) {
    if (this.at < 0) {
      this.choose();
      this.before = document.activeElement;
    }
    if (this.steps.length === 0) return;
    this.at = Math.min(Math.max(step, 0), this.steps.length - 1);
    const { title, target, look, task, digits } = this.steps[this.at];
    this.count.textContent = `Step ${this.at + 1} of ${this.steps.length}`;
    this.title.textContent = title;
    this.look.textContent = look;
    this.task.replaceChildren(element("b", {}, "Try it: "), (this.digits && digits) || task);
    this.back.disabled = this.at === 0;
    this.next.textContent = this.at + 1 < this.steps.length ? "Next" : "Finish";
    this.card.hidden = false;
    document.body.classList.add("touring");
    this.mark(document.querySelector(target));
    replaceHash(`${TOUR}${this.at + 1}`);
    this.card.focus({ preventScroll: true });
  }

  mark(thing) {
    this.thing?.classList.remove("toured");
    this.thing = thing;
    if (thing === null) return;
    thing.classList.add("toured");
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    (thing.closest(".part") ?? thing).scrollIntoView({ block: "start", behavior: still ? "instant" : "smooth" });
  }

  // The focus goes to the first control of the thing.
  enter() {
    const first = this.thing?.querySelector("canvas[tabindex], select, input:not(.file), button:not(.term), a, [tabindex='0']");
    if (first) { first.focus({ preventScroll: true }); return; }
    this.thing?.setAttribute("tabindex", -1);
    this.thing?.focus({ preventScroll: true });
  }

  end() {
    if (this.at < 0) return;
    this.at = -1;
    this.mark(null);
    this.card.hidden = true;
    document.body.classList.remove("touring");
    if (location.hash.startsWith(TOUR)) replaceHash("");
    (this.before?.isConnected && this.before !== document.body ? this.before : this.link).focus({ preventScroll: true });
    this.onEnd();
  }

  key(event) {
    if (this.at < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const { target, key } = event;
    if (document.querySelector("dialog[open], :popover-open")) return;
    const own = this.card.contains(target) || target === document.body;
    if (key === "Escape") this.end();
    else if (target.matches("select, input:not([type=range]), textarea")) return;
    else if (key === "n" || (own && key === "ArrowRight")) this.go(this.at + 1);
    else if (key === "p" || (own && key === "ArrowLeft")) this.go(this.at - 1);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

export function startTour(playground, steps) {
  playground.tour = new Tour({ steps, classes: playground.classes, onEnd: () => playground.write() });
}
