/**
 * Many prefixes as one short text: how an address set travels and is kept. Base64 of a count (4 bytes, little endian)
 * of IPv4 prefixes, these as 5 bytes each (address, length), then IPv6 ones as 17 bytes each. Prefixes ascend, and
 * none lies within another.
 */
import { parseAddress, parsePrefix } from './address.ts';

/** Packs prefixes and addresses. Text that is no prefix is left out: the schema has refused it before. */
export function packPrefixes(texts: readonly string[]): string {
  const four: number[] = [];
  const six: { key: bigint; length: number }[] = [];
  const words = new Int32Array(4);
  for (const text of texts) {
    const isIpv6 = text.includes(':');
    const whole = isIpv6 ? 128 : 32;
    const length = text.includes('/') ? parsePrefix(text, words) : parseAddress(text, words) ? whole : -1;
    if (length < 0) continue;
    if (!isIpv6) {
      const mask = length === 0 ? 0 : (-1 << (32 - length)) >>> 0;
      // Sorted as one number: the address, then the length, so that a prefix comes before what lies within it.
      four.push(((words[3]! & mask) >>> 0) * 64 + length);
      continue;
    }
    let key = 0n;
    for (const word of words) key = (key << 32n) | BigInt(word >>> 0);
    const free = BigInt(128 - length);
    six.push({ key: (key >> free) << free, length });
  }
  const sorted = Float64Array.from(four).sort();
  six.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : a.length - b.length));
  const bytes = Buffer.alloc(4 + sorted.length * 5 + six.length * 17);
  let at = 4;
  let free = 0;
  for (const entry of sorted) {
    const address = Math.floor(entry / 64);
    const length = entry % 64;
    if (address < free) continue;
    free = address + 2 ** (32 - length);
    at = bytes.writeUInt32BE(address, at);
    at = bytes.writeUInt8(length, at);
  }
  bytes.writeUInt32LE((at - 4) / 5, 0);
  let freeSix = 0n;
  for (const { key, length } of six) {
    if (key < freeSix) continue;
    freeSix = key + (1n << BigInt(128 - length));
    at = bytes.writeBigUInt64BE(key >> 64n, at);
    at = bytes.writeBigUInt64BE(key & 0xffff_ffff_ffff_ffffn, at);
    at = bytes.writeUInt8(length, at);
  }
  return bytes.subarray(0, at).toString('base64');
}

/** Ranges of addresses that ascend and do not touch: first and last of each. IPv6 addresses are four words. */
export interface AddressRanges {
  ipv4: Uint32Array;
  ipv6: Uint32Array;
}

/** Reads what `packPrefixes` wrote. Throws an Error that says what is wrong with the text. */
export function unpackPrefixes(text: string): AddressRanges {
  const bytes = Buffer.from(text, 'base64');
  const count = bytes.length < 4 ? 0 : bytes.readUInt32LE(0);
  const sixAt = 4 + count * 5;
  const countSix = (bytes.length - sixAt) / 17;
  if (bytes.length < 4 || countSix < 0 || !Number.isInteger(countSix)) throw new Error('it is cut off');
  const ipv4 = new Uint32Array(count * 2);
  let last = -1;
  for (let i = 0; i < count; i++) {
    const first = bytes.readUInt32BE(4 + i * 5);
    const length = bytes[8 + i * 5]!;
    if (length > 32 || first <= last) throw new Error('its IPv4 prefixes are not in order');
    last = first + 2 ** (32 - length) - 1;
    ipv4[i * 2] = first;
    ipv4[i * 2 + 1] = last;
  }
  const ipv6 = new Uint32Array(countSix * 8);
  for (let i = 0; i < countSix; i++) {
    const at = sixAt + i * 17;
    const length = bytes[at + 16]!;
    if (length > 128) throw new Error('it holds an IPv6 prefix that is too long');
    for (let word = 0; word < 4; word++) {
      const bits = Math.min(32, Math.max(0, length - 32 * word));
      const free = bits === 0 ? 0xffff_ffff : bits === 32 ? 0 : 2 ** (32 - bits) - 1;
      const first = bytes.readUInt32BE(at + word * 4);
      ipv6[i * 8 + word] = (first & ~free) >>> 0;
      ipv6[i * 8 + 4 + word] = (first | free) >>> 0;
    }
    if (i > 0 && compareWords(ipv6, i * 8, ipv6, i * 8 - 4) <= 0) {
      throw new Error('its IPv6 prefixes are not in order');
    }
  }
  return { ipv4, ipv6 };
}

/** Compares two IPv6 addresses of four words. */
export function compareWords(a: Uint32Array, at: number, b: Uint32Array, bt: number): number {
  for (let word = 0; word < 4; word++) {
    if (a[at + word] !== b[bt + word]) return a[at + word]! < b[bt + word]! ? -1 : 1;
  }
  return 0;
}
