/** The seeded 32-bit hash of a flow key (MurmurHash3's rounds): a seed per boot keeps others from aiming at one slot. */

/** `ports` holds the source port in its upper and the destination port in its lower half. */
export function hashFlow(
  seed: number,
  protocol: number,
  s0: number,
  s1: number,
  s2: number,
  s3: number,
  d0: number,
  d1: number,
  d2: number,
  d3: number,
  ports: number,
): number {
  let h = seed ^ protocol;
  h = round(h, s0 ^ Math.imul(s1, 0x9e3779b1));
  h = round(h, s2);
  h = round(h, s3);
  h = round(h, d0 ^ Math.imul(d1, 0x9e3779b1));
  h = round(h, d2);
  h = round(h, d3);
  return finish(round(h, ports));
}

/** The same for the flow table's own index, which no other engine sees: of IPv4 keys only the words that differ. */
export function hashKey(
  seed: number,
  protocol: number,
  s0: number,
  s1: number,
  s2: number,
  s3: number,
  d0: number,
  d1: number,
  d2: number,
  d3: number,
  ports: number,
): number {
  if (s2 !== 0xffff || (s0 | s1) !== 0) {
    return hashFlow(seed, protocol, s0, s1, s2, s3, d0, d1, d2, d3, ports);
  }
  return hashIpv4Key(seed, protocol, s3, d3, ports);
}

/** `hashKey` of an IPv4 key: its addresses, one word each. */
export function hashIpv4Key(
  seed: number,
  protocol: number,
  source: number,
  destination: number,
  ports: number,
): number {
  let h = round(seed ^ protocol, source);
  h = round(h, destination);
  return finish(round(h, ports));
}

function finish(mixed: number): number {
  let h = mixed;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}

function round(h: number, word: number): number {
  let k = Math.imul(word, 0xcc9e2d51);
  k = Math.imul((k << 15) | (k >>> 17), 0x1b873593);
  const mixed = h ^ k;
  return (Math.imul((mixed << 13) | (mixed >>> 19), 5) + 0xe6546b64) | 0;
}
