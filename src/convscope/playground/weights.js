// From the text that a page carries to bytes and weights.

const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%.()*+-;,=>?@^_`{|}~";

// Base 85: five letters are four bytes, the highest digit first; at the end, n + 1 letters n bytes.
export function bytesOf(text) {
  const digits = new Uint8Array(128);
  for (let i = 0; i < 85; i++) digits[ALPHABET.charCodeAt(i)] = i;
  const whole = Math.floor(text.length / 5);
  const rest = text.length % 5;
  const out = new Uint8Array(whole * 4 + (rest ? rest - 1 : 0));
  for (let i = 0; i * 5 < text.length; i++) {
    let value = 0;
    for (let k = 0; k < 5; k++) value = value * 85 + (i * 5 + k < text.length ? digits[text.charCodeAt(i * 5 + k)] : 84);
    for (let k = 0; k < 4 && i * 4 + k < out.length; k++) out[i * 4 + k] = Math.floor(value / 256 ** (3 - k)) & 255;
  }
  return out;
}

// All tensors of the text, which is a raw deflate stream.
export async function decodeWeights(text, tensors) {
  const stream = new Blob([bytesOf(text.trim())]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  const data = await new Response(stream).arrayBuffer();
  return readTensors(data, tensors);
}

// Numbers of four bytes, or of a few bits each: a row of a tensor has a scale, and its weights are
// whole multiples of it. Of each multiple the high byte comes first, for all of the tensor, then the
// bits that are left over.
export function readTensors(data, tensors) {
  const view = new DataView(data);
  let at = 0;
  const floats = (count) => {
    const out = new Float32Array(count);
    for (let i = 0; i < count; i++, at += 4) out[i] = view.getFloat32(at, true);
    return out;
  };
  return tensors.map(({ count, rows, bits }) => {
    if (bits === 32) return floats(count);
    const scales = floats(rows);
    const high = new Uint8Array(data, at, count);
    const rest = bits - 8;
    at += count;
    const low = new Uint8Array(data, at, Math.ceil((count * rest) / 8));
    at += low.length;
    const out = new Float32Array(count);
    const width = count / rows;
    const zero = 2 ** (bits - 1);
    const mask = 2 ** rest - 1;
    let held = 0, have = 0, next = 0;
    for (let i = 0; i < count; i++) {
      while (have < rest) { held = ((held & 0xff) << 8) | low[next++]; have += 8; }
      have -= rest;
      out[i] = ((high[i] << rest) + ((held >> have) & mask) - zero) * scales[(i / width) | 0];
    }
    return out;
  });
}
