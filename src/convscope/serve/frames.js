// Numbers on the way to the server and back: a JSON header and float32 arrays, as in `_frames.py`.

const encoder = new TextEncoder();
const decoder = new TextDecoder();

// arrays: {name: {shape, values}}.
export function pack(header, arrays = {}) {
  const named = Object.entries(arrays);
  const text = encoder.encode(JSON.stringify({ ...header, arrays: named.map(([name, { shape }]) => [name, [...shape]]) }));
  const size = named.reduce((sum, [, { values }]) => sum + 4 * values.length, 0);
  const bytes = new Uint8Array(4 + text.length + size);
  new DataView(bytes.buffer).setUint32(0, text.length, true);
  bytes.set(text, 4);
  let at = 4 + text.length;
  for (const [, { values }] of named) {
    const own = values instanceof Float32Array ? values : Float32Array.from(values);
    bytes.set(new Uint8Array(own.buffer, own.byteOffset, own.byteLength), at);
    at += own.byteLength;
  }
  return bytes;
}

// The first frame of `bytes` as {header, arrays: {name: {shape, values}}, size}; null if it is cut off.
export function unpack(bytes) {
  if (bytes.length < 4) return null;
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  if (bytes.length < 4 + length) return null;
  const header = JSON.parse(decoder.decode(bytes.subarray(4, 4 + length)));
  const arrays = {};
  let at = 4 + length;
  for (const [name, shape] of header.arrays) {
    const count = shape.reduce((a, b) => a * b, 1);
    if (bytes.length < at + 4 * count) return null;
    arrays[name] = { shape, values: new Float32Array(bytes.slice(at, at + 4 * count).buffer) };
    at += 4 * count;
  }
  return { header, arrays, size: at };
}

// What the browser says of a server that is gone ("Failed to fetch", "network error") helps nobody.
function lost(error) {
  throw error.name === "AbortError" ? error : new Error("the server does not answer; to do: see whether convscope serve still runs");
}

// All frames of an answer as they come.
export async function* framesOf(response) {
  const reader = response.body.getReader();
  let bytes = new Uint8Array(0);
  for (;;) {
    const { done, value } = await reader.read().catch(lost);
    if (done) return;
    const joined = new Uint8Array(bytes.length + value.length);
    joined.set(bytes);
    joined.set(value, bytes.length);
    bytes = joined;
    for (let frame = unpack(bytes); frame !== null; frame = unpack(bytes)) {
      bytes = bytes.subarray(frame.size);
      yield frame;
    }
  }
}

// A request to the server; throws an Error with the server's words where it refuses.
export async function send(address, { body = null, method = "POST", signal = undefined } = {}) {
  const response = await fetch(address, { method, body, signal, credentials: "same-origin", cache: "no-store" }).catch(lost);
  if (response.ok) return response;
  let error = null;
  try { ({ error } = await response.json()); } catch { /* no words came */ }
  throw new Error(error ? wordsOf(error) : `the server answers ${response.status}`);
}

export function wordsOf({ code, what, expected, fix }) {
  return [`${what}${code ? ` (${code})` : ""}`, expected && `expected: ${expected}`, fix && `to do: ${fix}`].filter(Boolean).join("; ");
}
