// Addresses of single things: a unit, an image, an attack. Browsers go to them by themselves, most of
// them into what is folded, too; this script sees to it in all of them, and copies an address.

const SHOWN = 1600; // Milliseconds for which a link says that it was copied.

export class Addresses {
  constructor() {
    this.said = document.createElement("p");
    this.said.className = "aside";
    this.said.setAttribute("role", "status");
    document.body.append(this.said);
    for (const link of document.querySelectorAll(".here")) link.addEventListener("click", () => this.copy(link));
    addEventListener("hashchange", () => this.go());
    // What is made by scripts above moves the place; so the page goes there once more.
    addEventListener("load", () => requestAnimationFrame(() => this.go()));
  }

  go() {
    const place = location.hash.includes("/") ? document.getElementById(location.hash.slice(1)) : null;
    if (place === null || place.matches(".cell")) return;
    for (let around = place.closest("details"); around; around = around.parentElement.closest("details")) around.open = true;
    place.scrollIntoView({ block: "center", behavior: "instant" });
  }

  async copy(link) {
    try {
      await navigator.clipboard.writeText(link.href);
    } catch {
      return; // The address bar has it.
    }
    link.dataset.copied = "";
    this.said.textContent = `${link.getAttribute("href")} copied`;
    setTimeout(() => delete link.dataset.copied, SHOWN);
  }
}
