/**
 * What a new lab consists of: hosts and their place in the physical network, VMs, addresses. The daemon builds this
 * once; from then on its record (record.ts) is the truth.
 */

/** A segment that every host has from the start. */
export const PRODUCTION_SEGMENT = 'prod';
export const MANAGEMENT_SEGMENT = 'mgmt';

/** Top-of-rack switches below the spine. */
export const RACKS: readonly string[] = ['tor-a', 'tor-b'];
export const SPINE = 'spine';

/** Hosts and the rack each stands in: h1 and h2 are 1 hop apart, h3 is 3 hops from both. */
export const HOSTS: readonly { id: string; rack: string }[] = [
  { id: 'h1', rack: 'tor-a' },
  { id: 'h2', rack: 'tor-a' },
  { id: 'h3', rack: 'tor-b' },
];

/** Application VMs at the start. `station` is the last number of their addresses, `owner` a custom attribute. */
export const APPLICATION_VMS: readonly { name: string; host: string; station: number; owner: string }[] = [
  { name: 'app1', host: 'h1', station: 11, owner: 'storefront' },
  { name: 'app2', host: 'h1', station: 12, owner: 'checkout' },
  { name: 'app3', host: 'h2', station: 13, owner: 'storefront' },
  { name: 'app4', host: 'h2', station: 14, owner: 'checkout' },
  { name: 'app5', host: 'h3', station: 15, owner: 'storefront' },
  { name: 'app6', host: 'h3', station: 16, owner: 'checkout' },
];
export const APPLICATION_TAGS: readonly string[] = ['app=shop'];
export const APPLICATION_FOLDER = '/lab/shop';
export const ENGINE_FOLDER = '/lab/weft';
export const APPLICATION_PORT = 8080;

/** Stations that clones get, first free first. */
export const CLONE_STATIONS = { first: 60, last: 99 };
/** The client's own station, and more that tests and `weft lab exec client` can bind to. */
export const CLIENT_STATION = 9;
export const CLIENT_EXTRA_STATIONS = { first: 20, last: 59 };
/** Nobody has this address: asking for it is how a port announces a MAC (see announce in switch.ts). */
export const ABSENT_ADDRESS = '10.77.0.254';

/** The management network: the controller's gateway, and the addresses that engines get. */
export const GATEWAY = { address: '192.0.2.1', port: 7443 };
export const MANAGEMENT_PREFIX_LENGTH = 24;
export const ENGINE_STATIONS = { first: 10, last: 250 };

/**
 * The production network of a lab: `flat` is one link; in `routed` the rack of h3 is a network of its own, with a
 * router between the two.
 */
export type LabNetwork = 'flat' | 'routed';

/** The networks of a routed lab; a flat one is all site a. */
export const SITES = ['a', 'b'] as const;
export type Site = (typeof SITES)[number];

/** The rack that is site b of a routed lab. */
export const SITE_B_RACK = 'tor-b';

export function siteOf(network: LabNetwork, host: string): Site {
  const rack = HOSTS.find(({ id }) => id === host)?.rack;
  return network === 'routed' && rack === SITE_B_RACK ? 'b' : 'a';
}

/** Addresses of a station on the production network of a site. */
export function productionAddresses(station: number, site: Site = 'a'): string[] {
  const network = site === 'a' ? 77 : 78;
  return [`10.${network}.0.${station}`, `fd${network}::${station}`];
}

/** The router's, on each site of a routed lab. */
export function routerAddresses(site: Site): string[] {
  return productionAddresses(1, site);
}

/** Address of an engine on the management network. */
export function managementAddress(station: number): string {
  return `192.0.2.${station}`;
}

/** Locally administered; `57` is a W. */
export function macOf(vmNumber: number, nicNumber: number): string {
  const byte = (value: number) => (value & 0xff).toString(16).padStart(2, '0');
  return `02:57:${byte(nicNumber)}:00:${byte(vmNumber >> 8)}:${byte(vmNumber)}`;
}
