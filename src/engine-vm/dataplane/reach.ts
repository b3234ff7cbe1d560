/**
 * Who is on the link of an engine's own addresses and who is behind a router: decided by prefixes, and only where the
 * graph names a router; without one everybody is taken to be on the link. Text in, text out: asked when a graph is
 * loaded, never for a packet.
 */
import { BlockList, isIP } from 'node:net';
import { formatAddress, parseAddress } from '../../packet/address.ts';
import type { GraphEngine, GraphPeer } from '../../policy/graph.ts';

/** The two ends of a tunnel, and the router by which the other one is reached. */
export interface TunnelEnds {
  own: string;
  peer: string;
  gateway: string;
}

/** The router to an address; null where it is on the link, or no router of its family is known. */
export function routerTo(
  engine: Pick<GraphEngine, 'dataAddresses' | 'gateways'>,
  address: string,
): string | null {
  const gateway = engine.gateways?.find((one) => isIP(one) === isIP(address));
  if (gateway === undefined) return null;
  const own = engine.dataAddresses.filter((one) => isIP(bare(one)) === isIP(address));
  return own.length === 0 || own.some((prefix) => contains(prefix, address)) ? null : gateway;
}

/** How a peer is reached across a router; null where it is on the link, by any of its addresses. */
export function tunnelTo(
  engine: Pick<GraphEngine, 'dataAddresses' | 'gateways'>,
  peer: Pick<GraphPeer, 'dataAddresses'>,
): TunnelEnds | null {
  let ends: TunnelEnds | null = null;
  for (const address of peer.dataAddresses.map(bare)) {
    const own = engine.dataAddresses.map(bare).find((one) => isIP(one) === isIP(address));
    if (own === undefined) continue;
    const gateway = routerTo(engine, address);
    if (gateway === null) return null;
    ends ??= { own, peer: address, gateway };
  }
  return ends;
}

/**
 * What the engine's own stack reaches by a router: the networks of peers across it, and members outside of them.
 * Prefix to router.
 */
export function routesOf(
  engine: Pick<GraphEngine, 'dataAddresses' | 'gateways'>,
  peers: readonly Pick<GraphPeer, 'dataAddresses'>[],
  members: readonly { ipv4: string | null; ipv6: string | null }[],
): Map<string, string> {
  const routes = new Map<string, string>();
  for (const prefix of new Set(peers.flatMap(({ dataAddresses }) => dataAddresses.map(networkOf)))) {
    const gateway = routerTo(engine, bare(prefix));
    if (gateway !== null) routes.set(prefix, gateway);
  }
  const networks = [...routes.keys()];
  for (const address of members.flatMap(({ ipv4, ipv6 }) => [ipv4, ipv6])) {
    if (address === null || networks.some((network) => contains(network, address))) continue;
    const gateway = routerTo(engine, address);
    if (gateway !== null) routes.set(`${address}/${isIP(address) === 4 ? 32 : 128}`, gateway);
  }
  return routes;
}

function contains(prefix: string, address: string): boolean {
  const [network = '', bits = ''] = prefix.split('/');
  const family = isIP(network) === 6 ? 'ipv6' : 'ipv4';
  if (isIP(address) !== isIP(network)) return false;
  const list = new BlockList();
  list.addSubnet(network, Number(bits), family);
  return list.check(address, family);
}

/** `10.78.0.201/24` as `10.78.0.0/24`. */
function networkOf(allocated: string): string {
  const [address = '', bits = ''] = allocated.split('/');
  const words = new Int32Array(4);
  if (!parseAddress(address, words)) return allocated;
  const length = Number(bits) + (isIP(address) === 4 ? 96 : 0);
  for (let i = 0; i < 4; i++) {
    const kept = Math.max(0, Math.min(32, length - i * 32));
    words[i] = kept === 0 ? 0 : words[i]! & (-1 << (32 - kept));
  }
  return `${formatAddress(words[0]!, words[1]!, words[2]!, words[3]!)}/${bits}`;
}

function bare(address: string): string {
  return address.split('/')[0] ?? address;
}
