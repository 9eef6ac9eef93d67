// Words of the glossary in what scripts have made. The page holds what each means, as popovers
// with the forms in which the word is written; the browser opens and closes them by itself.

import { element } from "./paint.js";

const LEFT_ALONE = "a, button, summary, label, select, code, dialog, output, [role=status]";

// Marks each word where it stands first in `root`, unless it is marked there already.
export function markTerms(root) {
  const { pattern, tips } = forms();
  if (pattern === null) return;
  const marked = new Set([...root.querySelectorAll("button.term")].map((button) => button.getAttribute("popovertarget")));
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  const texts = [];
  while (walker.nextNode()) if (!walker.currentNode.parentElement.closest(LEFT_ALONE)) texts.push(walker.currentNode);
  for (const text of texts) {
    const parts = [];
    let end = 0;
    for (const { 0: word, index } of text.data.matchAll(pattern)) {
      const tip = tips.get(word);
      if (marked.has(tip)) continue;
      marked.add(tip);
      parts.push(text.data.slice(end, index), element("button", { type: "button", class: "term", popovertarget: tip, popovertargetaction: "show",
        interestfor: tip, "aria-describedby": tip }, word));
      end = index + word.length;
    }
    if (end > 0) text.replaceWith(...parts, text.data.slice(end));
  }
}

function forms() {
  const tips = new Map();
  for (const tip of document.querySelectorAll("[popover][data-forms]")) {
    for (const form of tip.dataset.forms.split("|")) {
      tips.set(form, tip.id);
      tips.set(form[0].toUpperCase() + form.slice(1), tip.id);
    }
  }
  const longestFirst = [...tips.keys()].sort((a, b) => b.length - a.length).map((form) => form.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  const pattern = longestFirst.length ? new RegExp(`(?<![\\w-])(?:${longestFirst.join("|")})(?![\\w-])`, "gu") : null;
  return { pattern, tips };
}

// Browsers that open a popover for a click alone get it for a resting pointer and the focus, too.
export function openByPointing() {
  if ("interestForElement" in HTMLButtonElement.prototype) return;
  let waiting = null;
  const wait = (what) => { clearTimeout(waiting); waiting = setTimeout(what, 300); };
  const begin = ({ target }) => {
    const button = target.closest?.("button.term");
    if (button) wait(() => document.getElementById(button.getAttribute("popovertarget")).showPopover({ source: button }));
    else if (target.closest?.("[popover]")) clearTimeout(waiting);
  };
  const end = ({ target }) => {
    if (target.closest?.("button.term, [popover]")) wait(() => document.querySelector("[popover]:popover-open")?.hidePopover());
  };
  for (const kind of ["pointerover", "focusin"]) document.addEventListener(kind, begin);
  for (const kind of ["pointerout", "focusout"]) document.addEventListener(kind, end);
}
