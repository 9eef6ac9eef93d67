// What is on the page as text behind "#playground:", and back. Everything here is text of strangers.

const PREFIX = "#playground:";
export const TOUR = "#tour/";

const KEYS = { image: "i", epsilon: "e", target: "t", explained: "c", layer: "l", unit: "u", place: "p", window: "w", stride: "s", channel: "k", product: "m" };

export function toHash(state) {
  const parts = [];
  for (const [name, key] of Object.entries(KEYS)) {
    const value = state[name];
    if (value === null || value === undefined || value === "") continue;
    parts.push(`${key}=${encodeURIComponent(Array.isArray(value) ? value.join(",") : String(value))}`);
  }
  return PREFIX + parts.join("&");
}

export function fromHash(hash) {
  if (!hash.startsWith(PREFIX)) return null;
  const found = {};
  const names = Object.fromEntries(Object.entries(KEYS).map(([name, key]) => [key, name]));
  for (const part of hash.slice(PREFIX.length).split("&")) {
    const at = part.indexOf("=");
    const name = names[part.slice(0, at)];
    if (at < 0 || name === undefined) continue;
    try { found[name] = decodeURIComponent(part.slice(at + 1)); } catch { /* not ours */ }
  }
  return found;
}

// The address shows the state, but not while it shows a step of the tour. Returns what it shows.
export function writeHash(hash) {
  if (location.hash.startsWith(TOUR)) return location.hash;
  replaceHash(hash);
  return hash;
}

// Relative addresses would not do: those of a page in a frame are relative to what is around it.
export function replaceHash(hash) {
  try { history.replaceState(null, "", location.href.split("#")[0] + hash); } catch { /* a frame without an address */ }
}

// Inside of a frame, links to places of the page would lead to the page around it.
export function keepLinksInside() {
  if (location.protocol !== "about:") return;
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[href^='#']");
    if (!link) return;
    event.preventDefault();
    location.hash = link.getAttribute("href");
  });
}

export function isState(hash) {
  return hash.startsWith(PREFIX);
}

// A whole number of `text` between two bounds, or `otherwise`.
export function whole(text, low, high, otherwise) {
  const value = Number(text);
  return text !== undefined && text !== "" && Number.isInteger(value) && value >= low && value <= high ? value : otherwise;
}

// Pixels as bytes in base64 that needs no escapes; runs of zeros, as drawings have them, are short.
export function packPixels(image) {
  const bytes = [];
  for (let i = 0; i < image.length; i++) {
    const byte = Math.round(image[i] * 255);
    bytes.push(byte);
    if (byte === 0) {
      let run = 1;
      while (run < 256 && i + 1 < image.length && Math.round(image[i + 1] * 255) === 0) { run++; i++; }
      bytes.push(run - 1);
    }
  }
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

export function unpackPixels(text, length) {
  let bytes;
  try { bytes = atob(text.replaceAll("-", "+").replaceAll("_", "/")); } catch { return null; }
  const out = new Float32Array(length);
  let at = 0;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes.charCodeAt(i);
    if (byte === 0) at += (i + 1 < bytes.length ? bytes.charCodeAt(++i) : 0) + 1;
    else if (at < length) out[at++] = byte / 255;
    if (at > length) return null;
  }
  return at === length ? out : null;
}
