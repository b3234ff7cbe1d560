/**
 * For tests: sends random and mutated frames through a real NIC. Run inside a namespace:
 * `frame-storm.ts <nic> <seed> <frames> <source MACs> <destination MACs> <addresses>`, lists separated by commas.
 */
import { Nic } from '../../src/engine-vm/kernel/packet-ring.ts';
import { HEADROOM } from '../../src/packet/packet.ts';
import { type FrameSpec, frame } from '../packet/frames.ts';

const [nicName, seed, count, sources, destinations, addresses] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
  string,
  string,
];
let state = Number(seed);
const random = (): number => {
  state = (Math.imul(state, 1664525) + 1013904223) | 0;
  return (state >>> 0) / 0x1_0000_0000;
};
const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
const fromMacs = sources.split(',');
const toMacs = destinations.split(',');
const families = [
  addresses.split(',').filter((address) => !address.includes(':')),
  addresses.split(',').filter((address) => address.includes(':')),
];

const corpus = Array.from({ length: 2000 }, () => {
  const family = pick(families);
  const spec: FrameSpec = {
    from: pick(family),
    to: pick(family),
    fromMac: pick(fromMacs),
    toMac: pick(toMacs),
    protocol: pick(['tcp', 'tcp', 'udp', 'icmp']),
    // Often the same ones, so that connections come about.
    sport: random() < 0.5 ? pick([1001, 1002, 1003]) : Math.floor(random() * 65536),
    dport: pick([80, 81, 8080, 53, 40000]),
    flags: pick(['S', 'SA', 'A', 'FA', 'R', 'PA', 'SF', '']),
    payload: new Uint8Array(Math.floor(random() * 200)),
    vlans: random() < 0.1 ? [5] : [],
    hasHopByHop: random() < 0.1,
    icmpType: pick([0, 3, 8, 128, 129, 135, 136]),
    ...(random() < 0.15
      ? { fragment: { id: pick([1, 2]), offset: pick([0, 8, 32]), hasMore: random() < 0.5 } }
      : {}),
  };
  return frame(spec);
});

const nic = new Nic(nicName);
const total = Number(count);
let sent = 0;
for (let index = 0; index < total; index++) {
  const bytes = Uint8Array.from(pick(corpus));
  // The MACs stay as they are: what a switch would not deliver tests the switch, not the engine.
  const from = HEADROOM + 12;
  if (random() < 0.1) for (let at = from; at < bytes.length; at++) bytes[at] = random() * 256;
  else
    for (let n = Math.floor(random() * 4); n > 0; n--)
      bytes[from + Math.floor(random() * (bytes.length - from))] = random() * 256;
  const length =
    random() < 0.1 ? 14 + Math.floor(random() * (bytes.length - HEADROOM - 14)) : bytes.length - HEADROOM;
  bytes.fill(0, 0, HEADROOM);
  if (nic.send(bytes, HEADROOM, length)) sent++;
  if (index % 32 === 31) nic.flush();
}
nic.flush();
nic.close();
console.log(JSON.stringify({ sent }));
