/**
 * The networks of a lab before any VM is in it: top-of-rack switches and spine, the bridges of every host, the
 * management network, and the client outside.
 *
 *   weft-<lab>-phys   spine ── tor-a ── h1, h2      weft-<lab>-h1   prod ── uplink ──► tor-a
 *                           └─ tor-b ── h3                          mgmt ── uplink-mgmt ──► weft-<lab>-mgmt
 *                                                                   void-a ── void-b   (where lost packets go)
 *   weft-<lab>-client eth0 ──► spine
 *   weft-<lab>-router site-a ──► spine, site-b ──► tor-b: only in a routed lab, where tor-b has no cable to the spine
 *
 * Every cable is made between two namespaces; the root namespace never sees one.
 */
import {
  CLIENT_EXTRA_STATIONS,
  CLIENT_STATION,
  GATEWAY,
  HOSTS,
  type LabNetwork,
  MANAGEMENT_PREFIX_LENGTH,
  MANAGEMENT_SEGMENT,
  PRODUCTION_SEGMENT,
  productionAddresses,
  RACKS,
  routerAddresses,
  SITE_B_RACK,
  type Site,
  SPINE,
} from './blueprint.ts';
import { ip, settings } from './iproute.ts';
import { namespaceOf } from './names.ts';

/** Names of the ends of a host's cables, inside the host. */
export const UPLINK = 'uplink';
const MANAGEMENT_UPLINK = 'uplink-mgmt';
/** Lost packets are sent out of `void-a`; nobody reads `void-b`. */
export const VOID = 'void-a';

/** No address, no answers, no chatter: what is true of every switch. */
export const NO_IPV6 = { 'ipv6/conf/all/disable_ipv6': '1', 'ipv6/conf/default/disable_ipv6': '1' };
/** Passes on between its sites, whatever the source address, and tells nobody of shorter ways. */
const ROUTER = {
  'ipv4/ip_forward': '1',
  'ipv4/conf/all/rp_filter': '0',
  'ipv4/conf/default/rp_filter': '0',
  'ipv4/conf/all/send_redirects': '0',
  'ipv4/conf/default/send_redirects': '0',
  // Of several ways of equal cost each flow takes one, ports included.
  'ipv4/fib_multipath_hash_policy': '1',
  'ipv6/fib_multipath_hash_policy': '1',
  'ipv6/conf/all/forwarding': '1',
  'ipv6/conf/default/accept_dad': '0',
};
/** Guests use an address at once, and nobody but the lab gives them any. */
export const GUEST_IPV6 = {
  'ipv6/conf/all/accept_ra': '0',
  'ipv6/conf/default/accept_ra': '0',
  'ipv6/conf/default/router_solicitations': '0',
  'ipv6/conf/all/accept_dad': '0',
  'ipv6/conf/default/accept_dad': '0',
};

/** The batch line that makes a virtual switch: no spanning tree, no waiting, no multicast snooping. */
export function newBridge(name: string): string[] {
  return [`link add ${name} type bridge stp_state 0 forward_delay 0 mcast_snooping 0`, `link set ${name} up`];
}

/** Lines that give a guest NIC its addresses (canonical text, any family) and bring it up. */
export function addressLines(device: string, addresses: readonly string[], prefixLength4: number): string[] {
  return [
    ...addresses.map((address) =>
      address.includes(':')
        ? `addr add ${address}/64 dev ${device} nodad`
        : `addr add ${address}/${prefixLength4} dev ${device}`,
    ),
    `link set ${device} up`,
  ];
}

/** Lines by which a guest of a routed lab reaches the other site. */
export function defaultRoutes(site: Site): string[] {
  return routerAddresses(site).map((address) => `route add default via ${address}`);
}

/** Builds it all. The lab must not exist. Throws ERR_KERNEL; what was made by then is found again by its name. */
export async function buildFabric(lab: string, network: LabNetwork): Promise<void> {
  const phys = namespaceOf(lab, 'phys');
  const mgmt = namespaceOf(lab, 'mgmt');
  const client = namespaceOf(lab, 'client');
  const hosts = HOSTS.map((host) => ({ ...host, namespace: namespaceOf(lab, host.id) }));

  await ip(
    null,
    [phys, mgmt, client, ...hosts.map((host) => host.namespace)].map((name) => `netns add ${name}`),
  );
  await Promise.all([
    ...[phys, mgmt, ...hosts.map((host) => host.namespace)].map((name) => settings(name, NO_IPV6)),
    settings(client, GUEST_IPV6),
  ]);

  await ip(phys, [
    ...[SPINE, ...RACKS].flatMap(newBridge),
    ...RACKS.filter((rack) => network === 'flat' || rack !== SITE_B_RACK).flatMap((rack) => [
      `link add up-${rack} type veth peer name down-${rack}`,
      `link set up-${rack} master ${rack} up`,
      `link set down-${rack} master ${SPINE} up`,
    ]),
    ...hosts.flatMap((host) => [
      `link add ${host.id} type veth peer name ${UPLINK} netns ${host.namespace}`,
      `link set ${host.id} master ${host.rack} up`,
    ]),
    `link add client type veth peer name eth0 address 02:57:ff:00:00:09 netns ${client}`,
    `link set client master ${SPINE} up`,
  ]);
  if (network === 'routed') await buildRouter(lab, phys);
  await ip(mgmt, [
    'link set lo up',
    ...newBridge(MANAGEMENT_SEGMENT),
    `addr add ${GATEWAY.address}/${MANAGEMENT_PREFIX_LENGTH} dev ${MANAGEMENT_SEGMENT}`,
    ...hosts.flatMap((host) => [
      `link add ${host.id} type veth peer name ${MANAGEMENT_UPLINK} netns ${host.namespace}`,
      `link set ${host.id} master ${MANAGEMENT_SEGMENT} up`,
    ]),
  ]);
  await Promise.all([
    ...hosts.map((host) =>
      ip(host.namespace, [
        ...newBridge(PRODUCTION_SEGMENT),
        ...newBridge(MANAGEMENT_SEGMENT),
        `link set ${UPLINK} master ${PRODUCTION_SEGMENT} up`,
        `link set ${MANAGEMENT_UPLINK} master ${MANAGEMENT_SEGMENT} up`,
        `link add ${VOID} type veth peer name void-b`,
        `link set ${VOID} up`,
        'link set void-b up',
      ]),
    ),
    ip(client, [
      'link set lo up',
      ...addressLines('eth0', clientAddresses(), 24),
      // Deprecated addresses are used by those who bind to them, and by nobody else.
      ...clientAddresses()
        .slice(2)
        .filter((address) => address.includes(':'))
        .map((address) => `addr change ${address}/64 dev eth0 preferred_lft 0`),
      ...(network === 'routed' ? defaultRoutes('a') : []),
    ]),
  ]);
}

/** A router between the spine, with all that hangs on it, and the rack of site b. */
async function buildRouter(lab: string, phys: string): Promise<void> {
  const router = namespaceOf(lab, 'router');
  await ip(null, [`netns add ${router}`]);
  await settings(router, ROUTER);
  for (const [site, bridge] of [
    ['a', SPINE],
    ['b', SITE_B_RACK],
  ] as const) {
    await ip(phys, [
      `link add router-${site} type veth peer name site-${site} netns ${router}`,
      `link set router-${site} master ${bridge} up`,
    ]);
    await ip(router, addressLines(`site-${site}`, routerAddresses(site), 24));
  }
}

/** The first two are the client's own; the others stand for more clients. */
export function clientAddresses(): string[] {
  const addresses = productionAddresses(CLIENT_STATION);
  for (let station = CLIENT_EXTRA_STATIONS.first; station <= CLIENT_EXTRA_STATIONS.last; station++) {
    addresses.push(...productionAddresses(station));
  }
  return addresses;
}
