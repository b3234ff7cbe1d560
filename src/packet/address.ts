/**
 * Addresses as text and as words. An IP address is four signed 32-bit words (an IPv4 address is ::ffff:a.b.c.d, so
 * that both families share one key); a MAC is its upper 16 bits and its lower 32 bits.
 */

/** Third word of an IPv4 address in the common form. */
export const IPV4_MARK = 0xffff;

/** True where the words are those of an IPv4 address. */
export function isIpv4(w0: number, w1: number, w2: number): boolean {
  return w0 === 0 && w1 === 0 && w2 === IPV4_MARK;
}

/** Writes the four words of an IPv4 or IPv6 address to `words[at..at+3]`; false, and nothing written, where the text is none. */
export function parseAddress(text: string, words: Int32Array, at = 0): boolean {
  if (!text.includes(':')) {
    const word = ipv4Word(text);
    if (word === null) return false;
    words[at] = 0;
    words[at + 1] = 0;
    words[at + 2] = IPV4_MARK;
    words[at + 3] = word;
    return true;
  }
  const groups = ipv6Groups(text);
  if (groups === null) return false;
  for (let i = 0; i < 4; i++) words[at + i] = (groups[2 * i]! << 16) | groups[2 * i + 1]!;
  return true;
}

/** Splits `address/length` and returns the prefix length, or -1 where the text is no prefix; the words as above. */
export function parsePrefix(text: string, words: Int32Array, at = 0): number {
  const slash = text.indexOf('/');
  if (slash < 0 || !/^\d{1,3}$/.test(text.slice(slash + 1))) return -1;
  const address = text.slice(0, slash);
  const bits = Number(text.slice(slash + 1));
  if (bits > (address.includes(':') ? 128 : 32) || !parseAddress(address, words, at)) return -1;
  return bits;
}

/** Canonical text: dotted quad for IPv4, RFC 5952 for IPv6. */
export function formatAddress(w0: number, w1: number, w2: number, w3: number): string {
  if (isIpv4(w0, w1, w2)) {
    return `${w3 >>> 24}.${(w3 >>> 16) & 255}.${(w3 >>> 8) & 255}.${w3 & 255}`;
  }
  const groups: number[] = [];
  for (const word of [w0, w1, w2, w3]) groups.push(word >>> 16, word & 0xffff);
  let bestAt = -1;
  let best = 1;
  for (let i = 0; i < 8; i++) {
    let run = 0;
    while (i + run < 8 && groups[i + run] === 0) run++;
    if (run > best) {
      best = run;
      bestAt = i;
    }
  }
  const hex = groups.map((group) => group.toString(16));
  if (bestAt < 0) return hex.join(':');
  return `${hex.slice(0, bestAt).join(':')}::${hex.slice(bestAt + best).join(':')}`;
}

/** Upper 16 bits of a MAC written as six two-digit hexadecimal groups with colons; -1 where the text is no MAC. */
export function macHigh(text: string): number {
  return /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)
    ? (Number.parseInt(text.slice(0, 2), 16) << 8) | Number.parseInt(text.slice(3, 5), 16)
    : -1;
}

/** Lower 32 bits, signed, of a MAC for which `macHigh` is not -1. */
export function macLow(text: string): number {
  return Number.parseInt(text.slice(6).replaceAll(':', ''), 16) | 0;
}

/** Lower-case text with colons. */
export function formatMac(high: number, low: number): string {
  const digits = (high & 0xffff).toString(16).padStart(4, '0') + (low >>> 0).toString(16).padStart(8, '0');
  return digits.match(/../g)!.join(':');
}

function ipv4Word(text: string): number | null {
  const parts = text.split('.');
  if (parts.length !== 4) return null;
  let word = 0;
  for (const part of parts) {
    if (!/^(0|[1-9]\d{0,2})$/.test(part) || Number(part) > 255) return null;
    word = (word << 8) | Number(part);
  }
  return word;
}

function ipv6Groups(text: string): number[] | null {
  let rest = text;
  const tail: number[] = [];
  const dot = rest.lastIndexOf('.');
  if (dot >= 0) {
    const colon = rest.lastIndexOf(':');
    const word = ipv4Word(rest.slice(colon + 1));
    if (word === null) return null;
    tail.push(word >>> 16, word & 0xffff);
    rest = rest.slice(0, colon + 1);
    if (!rest.endsWith('::')) rest = rest.slice(0, -1);
  }
  const halves = rest.split('::');
  if (halves.length > 2) return null;
  const sides: number[][] = [];
  for (const half of halves) {
    const groups: number[] = [];
    if (half !== '') {
      for (const group of half.split(':')) {
        if (!/^[0-9a-f]{1,4}$/i.test(group)) return null;
        groups.push(Number.parseInt(group, 16));
      }
    }
    sides.push(groups);
  }
  const head = sides[0]!;
  const end = [...(sides[1] ?? []), ...tail];
  if (halves.length === 1) {
    const all = [...head, ...end];
    return all.length === 8 ? all : null;
  }
  const gap = 8 - head.length - end.length;
  return gap < 1 ? null : [...head, ...new Array<number>(gap).fill(0), ...end];
}
