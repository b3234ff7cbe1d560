/**
 * The 32-bit hashes that every engine must compute alike, so that the hashing methods agree without talking:
 * MurmurHash3 x86_32 (Austin Appleby, public domain), and its finalizer as a mixer of integers.
 */

/** Spreads every bit of `value` over 32 bits: the MurmurHash3 finalizer, a bijection. */
export function mix(value: number): number {
  let h = value | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** Hash of a client address given as the four words of a Packet (IPv4 as ::ffff:a.b.c.d). */
export function hashAddress(w0: number, w1: number, w2: number, w3: number): number {
  let h = round(0, w0);
  h = round(h, w1);
  h = round(h, w2);
  h = round(h, w3);
  return mix(h ^ 16);
}

/** Hash of a text, over its UTF-8 bytes; for member ids. Not for the hot path: it allocates. */
export function hashText(text: string): number {
  const bytes = new TextEncoder().encode(text);
  const whole = bytes.length & ~3;
  let h = 0;
  for (let at = 0; at < whole; at += 4) {
    h = round(h, bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24));
  }
  let tail = 0;
  for (let at = bytes.length - 1; at >= whole; at--) tail = (tail << 8) | bytes[at];
  h ^= scramble(tail);
  return mix(h ^ bytes.length);
}

function round(h: number, word: number): number {
  const mixed = h ^ scramble(word);
  return (Math.imul((mixed << 13) | (mixed >>> 19), 5) + 0xe6546b64) | 0;
}

function scramble(word: number): number {
  const k = Math.imul(word, 0xcc9e2d51);
  return Math.imul((k << 15) | (k >>> 17), 0x1b873593);
}
