/** Addresses as numbers: membership in a prefix, and the lowest free address of a range. */
import { BlockList, isIP } from 'node:net';

/** A test for addresses in any of the prefixes (a single address counts as a prefix of its own). */
export function prefixMatcher(prefixes: readonly string[]): (address: string) => boolean {
  const list = new BlockList();
  for (const prefix of prefixes) {
    const [network = '', bits] = prefix.split('/');
    const family = isIP(network) === 6 ? 'ipv6' : 'ipv4';
    if (bits === undefined) list.addAddress(network, family);
    else list.addSubnet(network, Number(bits), family);
  }
  return (address) => {
    const version = isIP(address);
    return version !== 0 && list.check(address, version === 6 ? 'ipv6' : 'ipv4');
  };
}

export interface AddressRange {
  prefix: string;
  first: string;
  last: string;
}

/** The lowest address of the range that `isTaken` does not refuse, with the prefix's length; null where none is left. */
export function allocateAddress(range: AddressRange, isTaken: (address: string) => boolean): string | null {
  const bits = prefixLength(range.prefix);
  const version = isIP(range.first);
  const inPrefix = prefixMatcher([range.prefix]);
  const last = toNumber(range.last);
  // A range may hold 2^64 addresses; nobody has more engines than this, so the search ends.
  const limit = toNumber(range.first) + 65_536n;
  for (let number = toNumber(range.first); number <= last && number < limit; number++) {
    const address = toText(number, version);
    if (inPrefix(address) && !isTaken(address)) return `${address}/${bits}`;
  }
  return null;
}

/** Whether an allocated address (`10.77.0.201/24`) still lies in the range. */
export function isInRange(allocated: string, range: AddressRange): boolean {
  const [address = '', bits] = allocated.split('/');
  if (isIP(address) === 0 || isIP(address) !== isIP(range.first)) return false;
  const number = toNumber(address);
  return (
    Number(bits) === prefixLength(range.prefix) &&
    number >= toNumber(range.first) &&
    number <= toNumber(range.last)
  );
}

function prefixLength(prefix: string): number {
  const [network = '', bits] = prefix.split('/');
  return bits === undefined ? (isIP(network) === 6 ? 128 : 32) : Number(bits);
}

function toNumber(address: string): bigint {
  if (isIP(address) === 4) {
    return address.split('.').reduce((sum, part) => (sum << 8n) | BigInt(part), 0n);
  }
  // The URL parser writes any IPv6 text in its canonical form, an embedded IPv4 tail as two groups.
  const canonical = new URL(`http://[${address}]`).hostname.slice(1, -1);
  const [head = '', tail] = canonical.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : 8 - left.length - right.length;
  return [...left, ...new Array<string>(zeros).fill('0'), ...right].reduce(
    (sum, group) => (sum << 16n) | BigInt(`0x${group}`),
    0n,
  );
}

function toText(number: bigint, version: number): string {
  if (version === 4) return [24n, 16n, 8n, 0n].map((shift) => String((number >> shift) & 255n)).join('.');
  const groups: string[] = [];
  for (let shift = 112n; shift >= 0n; shift -= 16n) groups.push(((number >> shift) & 0xffffn).toString(16));
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1);
}
