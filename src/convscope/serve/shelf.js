// The experiments of a folder: a list, one run or two over each other, and runs in progress live.

import { byImages, chart } from "./curves.js";
import { send } from "./frames.js";
import { element, short } from "./paint.js";

const OFTEN = 2000, SELDOM = 10000;
const TONES = ["first", "second"];
const CHARTS = [
  { title: "Loss (log scale)", log: true, train: "train_loss", validation: "validation_loss", format: (value) => value.toPrecision(2) },
  { title: "Accuracy", log: false, train: "train_accuracy", validation: "validation_accuracy", format: (value) => `${(100 * value).toFixed(value > 0.9 ? 1 : 0)} %` },
];

class ShelfPage {
  constructor() {
    this.runs = new Map();
    this.chosen = this.fromHash();
    this.items = [];
    this.status = document.getElementById("status");
    addEventListener("hashchange", () => { this.chosen = this.fromHash(); this.follow(); this.list(); });
    let width = innerWidth;
    addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; this.paint(); } });
    this.load();
    this.follow();
    setInterval(() => { if (!document.hidden) this.load(); }, SELDOM);
    setInterval(() => { if (!document.hidden) this.follow(); }, OFTEN);
  }

  fromHash() {
    const text = location.hash.startsWith("#runs:") ? location.hash.slice(6) : "";
    try { return text.split("&").filter(Boolean).map(decodeURIComponent).slice(0, 2); } catch { return []; }
  }

  choose(name, on) {
    this.chosen = on ? [...this.chosen.filter((other) => other !== name), name].slice(-2) : this.chosen.filter((other) => other !== name);
    history.replaceState(null, "", this.chosen.length ? `#runs:${this.chosen.map(encodeURIComponent).join("&")}` : "#");
    this.list();
    this.follow();
  }

  async load() {
    try {
      const { items } = await (await send("/api/shelf", { method: "GET" })).json();
      this.items = items;
      this.status.textContent = items.length ? `${items.length} on the shelf, newest first.` : "Nothing here yet: runs, reports and studies below the folder appear by themselves.";
    } catch (error) {
      this.status.textContent = `The list cannot be read: ${error.message}`;
    }
    this.list();
  }

  list() {
    const key = JSON.stringify([this.items, this.chosen]);
    if (key === this.listed) return;
    this.listed = key;
    const focused = document.activeElement?.dataset?.name;
    const rows = this.items.map((item) => {
      const at = this.chosen.indexOf(item.name);
      const pick = item.kind === "run" ? element("input", { type: "checkbox", checked: at >= 0, "aria-label": `Curves of ${item.name}`, "data-name": item.name, onchange: (event) => this.choose(item.name, event.target.checked) }) : "";
      const name = item.kind === "run" ? element("span", {}, short(item.name, 80))
        : element("a", { href: `/shelf/show?name=${encodeURIComponent(item.name)}`, target: "_blank", rel: "noopener" }, short(item.name, 80));
      return element("tr", {}, element("td", {}, pick), element("td", {}, name, " ", element("span", { class: `kind${item.live ? " live" : ""}` }, item.live ? "run in progress" : item.kind)),
        element("td", {}, short(item.about, 200)), element("td", { class: "when" }, new Date(1000 * item.changed).toLocaleString()));
    });
    document.getElementById("items").replaceChildren(rows.length === 0 ? "" : element("table", { class: "shelf" },
      element("thead", {}, element("tr", {}, ...["Curves", "Name", "What it is", "Changed"].map((text) => element("th", { scope: "col" }, text)))),
      element("tbody", {}, ...rows)));
    if (focused) [...document.querySelectorAll("[data-name]")].find(({ dataset }) => dataset.name === focused)?.focus();
  }

  // What the chosen runs have measured since the last look.
  async follow() {
    if (this.following) return;
    this.following = true;
    for (const name of this.chosen) {
      const known = this.runs.get(name);
      try {
        const found = await (await send(`/api/shelf/run?name=${encodeURIComponent(name)}&after=${known?.rows.length ?? 0}&mark=${known?.mark ?? ""}`, { method: "GET" })).json();
        // If the run was begun again, all of its rows come, and none of before is kept.
        this.runs.set(name, { ...found, rows: [...(known?.rows.slice(0, found.after) ?? []), ...found.rows] });
      } catch (error) {
        // What was measured stays.
        this.runs.set(name, { ...(known ?? { name, rows: [], settings: {} }), owner: "", error: error.message });
      }
    }
    this.following = false;
    this.paint();
  }

  paint() {
    const runs = this.chosen.map((name) => this.runs.get(name)).filter(Boolean);
    const place = document.getElementById("curves");
    place.hidden = runs.length === 0;
    const key = JSON.stringify([innerWidth, runs.map(({ name, mark, owner, error }) => [name, mark, owner, error])]);
    if (runs.length === 0 || key === this.painted) return;
    this.painted = key;
    const names = runs.length > 1 ? ["A", "B"] : [""];
    const legend = element("ul", { class: "legend" }, ...runs.map((run, i) => element("li", { class: TONES[i] },
      element("b", {}, `${names[i]} ${run.name}`.trim()), ` ${this.progress(run)}`)),
    element("li", {}, `solid: validation, dashed: training${runs.some((run) => byImages(run.rows)[1].rows.length) ? ", pale: validation on a part of the images" : ""}`));
    const room = document.getElementById("compared");
    const width = Math.min(620, Math.max(300, room.clientWidth < 880 ? room.clientWidth : (room.clientWidth - 18) / 2));
    const charts = CHARTS.map(({ title, log, train, validation, format }) => {
      const series = runs.flatMap((run, i) => [
        { tone: TONES[i], train: true, name: names[i], points: run.rows.map((row) => [row.epoch, row[train]]) },
        ...byImages(run.rows).map(({ rows, part }) => ({ tone: TONES[i], train: false, part, name: names[i], points: rows.map((row) => [row.epoch, row[validation]]) })),
      ]);
      return element("figure", {}, chart({ title, series, width, log, format }));
    });
    room.replaceChildren(legend, element("div", { class: "charts" }, ...charts), ...this.settings(runs, names));
    room.dataset.rows = runs.map(({ rows }) => rows.length).join(",");
  }

  progress(run) {
    if (run.error) return `cannot be read: ${run.error}`;
    const last = run.rows.at(-1);
    const epoch = last ? `epoch ${Number(last.epoch.toPrecision(4))}${typeof run.epochs === "number" ? ` of ${run.epochs}` : ""}` : "nothing measured yet";
    return `${epoch}${run.owner ? `, in progress (${run.owner})` : ""}`;
  }

  // What differs between two runs; all settings of one.
  settings(runs, names) {
    const keys = [...new Set(runs.flatMap(({ settings }) => Object.keys(settings)))];
    const differ = runs.length > 1 ? keys.filter((key) => runs[0].settings[key] !== runs[1].settings[key]) : keys;
    if (differ.length === 0) return runs.length > 1 ? [element("p", { class: "fact" }, "The settings are the same.")] : [];
    const table = element("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": "Settings" }, element("table", { class: "differs" },
      element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "setting"), ...names.map((name) => element("th", { scope: "col" }, name || "value")))),
      element("tbody", {}, ...differ.map((key) => element("tr", {}, element("th", { scope: "row" }, key), ...runs.map(({ settings }) => element("td", {}, String(settings[key] ?? ""))))))));
    return [element("details", { open: runs.length > 1 }, element("summary", {}, runs.length > 1 ? `Settings that differ (${differ.length})` : `Settings (${differ.length})`), table)];
  }
}

globalThis.shelf = new ShelfPage();
