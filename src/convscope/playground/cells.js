// The cells of a confusion matrix open a panel with their images. Without this script they are links
// into the list of all cells, which stands below the matrix.

export class Cells {
  constructor() {
    this.links = new Map([...document.querySelectorAll(".matrix td a")].map((link) => [link.getAttribute("href"), link]));
    if (!this.links.size) return;
    this.panel = document.createElement("dialog");
    this.panel.className = "cell";
    document.body.append(this.panel);
    for (const [hash, link] of this.links) {
      link.setAttribute("aria-haspopup", "dialog");
      link.addEventListener("click", (event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey) return;
        event.preventDefault();
        this.open(hash);
      });
    }
    for (const table of new Set([...this.links.values()].map((link) => link.closest("table")))) this.arrows(table);
    this.panel.addEventListener("close", () => this.closed());
    this.panel.addEventListener("click", (event) => { if (event.target === this.panel) this.panel.close(); });
    addEventListener("hashchange", () => this.restore());
    this.restore();
    // A browser that follows the address into the list does so by now; the panel is over the matrix.
    if (this.panel.open) addEventListener("load", () => setTimeout(() => this.show(), 0));
  }

  // One cell of a table is reached by Tab, the others by arrow keys.
  arrows(table) {
    const cells = [...table.querySelectorAll("td a")];
    cells.forEach((cell, i) => { cell.tabIndex = i ? -1 : 0; });
    table.addEventListener("focusin", (event) => {
      if (cells.includes(event.target)) cells.forEach((cell) => { cell.tabIndex = cell === event.target ? 0 : -1; });
    });
    table.addEventListener("keydown", (event) => {
      const at = cells.indexOf(event.target);
      const to = at < 0 ? undefined : this.beside(cells, at, event.key);
      if (to === undefined) return;
      event.preventDefault();
      to.focus();
    });
  }

  // Left and right in reading order, as most cells of a good network are empty; up and down to the
  // nearest column of the next row that has any.
  beside(cells, at, key) {
    const place = (cell) => [cell.closest("tr").rowIndex, cell.closest("td").cellIndex];
    const [row, column] = place(cells[at]);
    const near = (row) => cells.filter((cell) => place(cell)[0] === row)
      .sort((a, b) => Math.abs(place(a)[1] - column) - Math.abs(place(b)[1] - column))[0];
    switch (key) {
      case "ArrowRight": return cells[at + 1];
      case "ArrowLeft": return cells[at - 1];
      case "ArrowDown": return near(place(cells.find((cell) => place(cell)[0] > row) ?? cells[at])[0]);
      case "ArrowUp": return near(place(cells.findLast((cell) => place(cell)[0] < row) ?? cells[at])[0]);
      case "Home": return cells[0];
      case "End": return cells.at(-1);
      default: return undefined;
    }
  }

  restore() {
    if (this.links.has(location.hash)) this.open(location.hash);
    else if (this.panel.open) this.panel.close();
  }

  open(hash) {
    this.hash = hash;
    const list = document.getElementById(hash.slice(1));
    const copy = list.cloneNode(true);
    for (const named of copy.querySelectorAll("[id]")) named.removeAttribute("id");
    const title = copy.querySelector("b");
    title.id = "cell-title";
    this.panel.setAttribute("aria-labelledby", title.id);
    const close = document.createElement("button");
    close.type = "button";
    close.textContent = "Close";
    close.addEventListener("click", () => this.panel.close());
    this.panel.replaceChildren(...copy.childNodes, close);
    if (!this.panel.open) this.panel.showModal();
    close.focus();
    this.show();
    this.address(hash);
  }

  // The matrix behind the panel, the list of all cells folded.
  show() {
    const figure = this.links.get(this.hash).closest("figure");
    figure.querySelector("details.cells").open = false;
    figure.scrollIntoView({ block: "nearest", behavior: "instant" });
  }

  closed() {
    const link = this.links.get(this.hash);
    link.focus();
    if (location.hash === this.hash) this.address(`#${link.closest("figure").id}`);
  }

  address(hash) {
    try { history.replaceState(null, "", hash); } catch { /* a frame without an address */ }
  }
}
