/** For the comparison of program and TypeScript: engine C of the test network behind a router, and datagrams from it. */
import { tunnelVni } from '../../../src/engine-vm/dataplane/compiled-graph.ts';
import { PORT_OUT } from '../../../src/engine-vm/dataplane/dataplane.ts';
import { macHigh, macLow, parseAddress } from '../../../src/packet/address.ts';
import { HEADROOM } from '../../../src/packet/packet.ts';
import { VXLAN_HEADERS, writeVxlan } from '../../../src/packet/vxlan.ts';
import type { ServiceGraph } from '../../../src/policy/graph.ts';
import { addressBytes, arp, mac } from '../../packet/frames.ts';
import { dataIp, engineMac } from '../dataplane/network.ts';

const ROUTER_MAC = '02:dd:00:00:00:01';
const ROUTER = ['10.0.0.1', 'fd00::1'] as const;
const FAR = { 4: '10.1.0.203', 6: 'fd01::203' } as const;
const OWN = { 4: dataIp('A'), 6: 'fd00::201' } as const;
const GROUP_KEY = Buffer.alloc(32, 7);

/** The graph of engine A with engine C behind a router, reached over IPv4 or IPv6. */
export function withTunnel(graph: ServiceGraph, family: 4 | 6): ServiceGraph {
  return {
    ...graph,
    engine: { ...graph.engine, gateways: [...ROUTER] },
    peers: graph.peers.map((peer) =>
      peer.id === 'C' ? { ...peer, dataAddresses: [`${FAR[family]}/${family === 4 ? 24 : 64}`] } : peer,
    ),
  };
}

/** What the router says, so that its MAC is known: frames for `out`. */
export function routerAnswers(): { port: number; bytes: Uint8Array }[] {
  const advertisement = new Uint8Array(HEADROOM + 86);
  const at = HEADROOM;
  advertisement.set(
    [...mac(engineMac('A')), ...mac(ROUTER_MAC), 0x86, 0xdd, 0x60, 0, 0, 0, 0, 32, 58, 255],
    at,
  );
  advertisement.set(addressBytes(ROUTER[1]), at + 22);
  advertisement.set(addressBytes(OWN[6]), at + 38);
  advertisement.set(
    [136, 0, 0, 0, 0x60, 0, 0, 0, ...addressBytes(ROUTER[1]), 2, 1, ...mac(ROUTER_MAC)],
    at + 54,
  );
  return [
    arp({
      operation: 2,
      fromMac: ROUTER_MAC,
      toMac: engineMac('A'),
      sender: ROUTER[0],
      target: OWN[4],
    }),
    advertisement,
  ].map((bytes) => ({ port: PORT_OUT, bytes }));
}

/** The datagram from engine C with a frame in it (both behind HEADROOM); now and then something is wrong with it. */
export function inTunnel(inner: Uint8Array, family: 4 | 6, random: () => number): Uint8Array {
  const isWrong = random() < 0.08;
  const what = isWrong ? Math.floor(random() * 5) : -1;
  const length = inner.length - HEADROOM;
  const headers = family === 4 ? VXLAN_HEADERS.ipv4 : VXLAN_HEADERS.ipv6;
  const frame = new Uint8Array(HEADROOM + headers + length);
  frame.set(inner.subarray(HEADROOM), HEADROOM + headers);
  const addresses = new Int32Array(8);
  parseAddress(what === 0 ? (family === 4 ? '10.1.0.204' : 'fd01::204') : FAR[family], addresses, 0);
  parseAddress(OWN[family], addresses, 4);
  const toMac = what === 1 ? '02:ee:00:00:00:77' : engineMac('A');
  writeVxlan(
    new DataView(frame.buffer),
    HEADROOM + headers,
    length,
    {
      isIpv4: family === 4,
      fromHigh: macHigh(ROUTER_MAC),
      fromLow: macLow(ROUTER_MAC),
      toHigh: macHigh(toMac),
      toLow: macLow(toMac),
      addresses,
      sourceAt: 0,
      destinationAt: 4,
      vni: what === 2 ? tunnelVni(GROUP_KEY, 'A', 'C') : tunnelVni(GROUP_KEY, 'C', 'A'),
    },
    49_152 + Math.floor(random() * 16_000),
  );
  // A bit of the outer headers.
  if (what === 3) frame[HEADROOM + Math.floor(random() * headers)] ^= 1 << Math.floor(random() * 8);
  return frame;
}
