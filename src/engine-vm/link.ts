/**
 * The engine's interfaces: makes the ports of the data plane ready, and the link between the data plane and this
 * machine's own IP stack.
 *
 *   wire ── out ─┐
 *                ├─ data plane ── weft-self-dp ══ weft-self ── IP stack (health probes)
 *   members ─ in ┘
 *
 * `weft-self` bears the MAC of `out` and the engine's addresses on the production network: what the stack sends comes
 * to the data plane as a third port, and the data plane hands it what is for the engine itself.
 *
 * The ports must not reach the stack in any other way, or it would answer what is merely passing. Each is therefore
 * enslaved to a bridge of its own that is never up: after packet sockets have seen a frame, such a bridge drops it,
 * before IP, ARP or IPv6 spend anything on it.
 */
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { WeftError } from '../policy/errors.ts';
import { takeRedirects } from './kernel/ethtool.ts';

/** Interface names in the order of the data plane's port numbers. */
export const PORT_NAMES = ['out', 'in', 'weft-self-dp'];
export const SELF = 'weft-self';
const SELF_PEER = 'weft-self-dp';
/**
 * Links by which the kernel's program hands packets of virtual interfaces up, by port: it sends to `down`, we read `up`.
 */
const UPS = [
  { port: 'out', down: 'weft-dn-out', up: 'weft-up-out' },
  { port: 'in', down: 'weft-dn-in', up: 'weft-up-in' },
  { port: SELF_PEER, down: 'weft-dn-self', up: 'weft-up-self' },
] as const;
const VOID: Readonly<Record<string, string>> = {
  out: 'weft-void-out',
  in: 'weft-void-in',
  [SELF_PEER]: 'weft-void-self',
  'weft-up-out': 'weft-void-upout',
  'weft-up-in': 'weft-void-upin',
  'weft-up-self': 'weft-void-upslf',
};
/**
 * Source ports of the stack's own connections. The data plane translates connections to members that have no engine
 * from ports above these.
 */
const LOCAL_PORTS = '10000 39999';

interface Interface {
  ifname: string;
  address?: string;
  mtu: number;
  master?: string;
  linkinfo?: { info_kind?: string };
}

/** How the kernel's program can be attached (fastpath/fast-path.ts says what is better where). */
export interface FastPathPlan {
  /** What these interfaces are best served by. */
  best: 'xdp' | 'tc';
  /** For tc, by port: the interface that packets for TypeScript are sent to, and the one that they come from. */
  ups: readonly { down: string; up: string }[];
  /** A directory for what shall outlive the process (fastpath/pins.ts). Default: nothing does. */
  pins?: string;
}

export interface Links {
  /** MAC of `out`. */
  mac: string;
  fastPath: FastPathPlan;
}

interface InterfaceAddresses {
  addr_info?: { family: string; local: string; prefixlen: number; scope: string }[];
}

const run = promisify(execFile);

/** Runs `ip` and gives what it prints. Throws ERR_KERNEL, or the signal's reason. */
export async function ip(signal: AbortSignal, ...args: string[]): Promise<string> {
  try {
    return (await run('ip', args, { signal })).stdout;
  } catch (cause) {
    if (signal.aborted) throw signal.reason;
    const { stderr, code } = cause as { stderr?: string; code?: unknown };
    const what = code === 'ENOENT' ? 'the program ip is not installed: install iproute2' : stderr?.trim();
    throw new WeftError('ERR_KERNEL', `ip ${args.join(' ')}: ${what ?? String(cause)}`, { cause });
  }
}

/** Writes a setting below /proc/sys. One that this kernel does not have (no IPv6) needs no setting. */
async function set(key: string, value: string | number): Promise<void> {
  const path = `/proc/sys/${key}`;
  const text = String(value);
  try {
    // Where it is right already, read-only /proc (containers) is no obstacle.
    if ((await readFile(path, 'utf8')).trim().replaceAll(/\s+/g, ' ') === text) return;
    await writeFile(path, text);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw new WeftError('ERR_KERNEL', `write ${path}: ${(cause as Error).message}`, { cause });
  }
}

async function interfaces(signal: AbortSignal): Promise<Map<string, Interface>> {
  const list = JSON.parse(await ip(signal, '-json', '-details', 'link', 'show')) as Interface[];
  return new Map(list.map((one) => [one.ifname, one]));
}

/**
 * Makes the links, or repairs what is left of them; safe to repeat.
 * Throws ERR_KERNEL where `out` or `in` is missing or the kernel refuses.
 */
export async function prepareLinks(signal: AbortSignal): Promise<Links> {
  let present = await interfaces(signal);
  for (const name of ['out', 'in']) {
    if (!present.has(name)) {
      throw new WeftError(
        'ERR_KERNEL',
        `the engine has no interface ${name}: it needs out (to the wire) and in (to the members)`,
      );
    }
  }
  const out = present.get('out')!;
  const mac = out.address ?? '';
  if (!present.has(SELF)) {
    await ip(signal, 'link', 'add', SELF, 'address', mac, 'type', 'veth', 'peer', 'name', SELF_PEER);
  } else if (present.get(SELF)!.address !== mac) {
    await ip(signal, 'link', 'set', SELF, 'address', mac);
  }
  const isVirtual = ['out', 'in'].some((name) => present.get(name)!.linkinfo?.info_kind === 'veth');
  const mtu = Math.max(out.mtu, present.get('in')!.mtu);
  for (const { down, up } of UPS) {
    if (!present.has(up)) await ip(signal, 'link', 'add', down, 'type', 'veth', 'peer', 'name', up);
    await set(`net/ipv6/conf/${down}/disable_ipv6`, 1);
    await ip(signal, 'link', 'set', down, 'mtu', String(mtu), 'up');
    await ip(signal, 'link', 'set', up, 'mtu', String(mtu));
  }
  present = await interfaces(signal);
  for (const [port, bridge] of Object.entries(VOID)) {
    if (!present.has(bridge)) await ip(signal, 'link', 'add', bridge, 'type', 'bridge');
    await set(`net/ipv6/conf/${bridge}/disable_ipv6`, 1);
    await set(`net/ipv6/conf/${port}/disable_ipv6`, 1);
  }
  await prepareStack();
  present = await interfaces(signal);
  for (const [port, bridge] of Object.entries(VOID)) {
    await ip(signal, 'link', 'set', bridge, 'down');
    if (present.get(port)!.master !== bridge) await ip(signal, 'link', 'set', port, 'master', bridge);
    if (port === SELF_PEER) await ip(signal, 'link', 'set', port, 'mtu', String(out.mtu));
    await ip(signal, 'link', 'set', port, 'up');
  }
  await ip(signal, 'link', 'set', SELF, 'mtu', String(out.mtu), 'up');
  takeRedirects(SELF);
  return {
    mac,
    fastPath: { best: isVirtual ? 'tc' : 'xdp', ups: UPS },
  };
}

/** The stack behind weft-self: no address of its own making, no answer for addresses of other interfaces. */
async function prepareStack(): Promise<void> {
  const settings: Record<string, string | number> = {
    [`net/ipv6/conf/${SELF}/accept_ra`]: 0,
    [`net/ipv6/conf/${SELF}/autoconf`]: 0,
    [`net/ipv6/conf/${SELF}/accept_dad`]: 0,
    [`net/ipv6/conf/${SELF}/dad_transmits`]: 0,
    [`net/ipv6/conf/${SELF}/router_solicitations`]: 0,
    // IPv6 was perhaps switched off for all: health probes need it here.
    [`net/ipv6/conf/${SELF}/disable_ipv6`]: 0,
    'net/ipv4/conf/all/arp_ignore': 1,
    'net/ipv4/conf/all/arp_announce': 2,
    'net/ipv4/ip_forward': 0,
    // Clients of proxied services come from anywhere; where a listener is closed, another one takes what waits in it.
    'net/ipv4/conf/all/rp_filter': 0,
    [`net/ipv4/conf/${SELF}/rp_filter`]: 0,
    'net/ipv4/tcp_migrate_req': 1,
    'net/ipv4/ip_local_port_range': LOCAL_PORTS,
  };
  for (const [key, value] of Object.entries(settings)) await set(key, value);
  // A clone may get the address of one that is just gone: by default the stack would ask the old MAC for most of a
  // minute. Members that answer confirm theirs with every probe, so this costs no ARP.
  for (const family of ['ipv4', 'ipv6']) {
    const neighbours = `net/${family}/neigh/${SELF}`;
    await set(`${neighbours}/base_reachable_time_ms`, 2000);
    await set(`${neighbours}/delay_first_probe_time`, 1);
    await set(`${neighbours}/ucast_solicit`, 1);
    await set(`${neighbours}/retrans_time_ms`, 250);
  }
}

/** Marks the routes that are ours (`ip route show proto 87`): nobody else's are touched. */
const ROUTE_PROTOCOL = '87';

interface Route {
  dst: string;
  gateway?: string;
}

/** Gives the stack exactly these routes by weft-self: prefix to router. Its addresses must be set. */
export async function setRoutes(routes: ReadonlyMap<string, string>, signal: AbortSignal): Promise<void> {
  for (const family of ['-4', '-6']) {
    const isOfFamily = (prefix: string): boolean => prefix.includes(':') === (family === '-6');
    const ours = ['dev', SELF, 'proto', ROUTE_PROTOCOL];
    const shown = await ip(signal, family, '-json', 'route', 'show', ...ours);
    const present = new Map(
      (JSON.parse(shown === '' ? '[]' : shown) as Route[]).map(({ dst, gateway }) => [dst, gateway ?? '']),
    );
    const wanted = [...routes].filter(([prefix]) => isOfFamily(prefix));
    // The kernel shows a host's route without its length.
    const names = new Map(wanted.map(([prefix, gateway]) => [prefix.replace(/\/(32|128)$/, ''), gateway]));
    for (const dst of present.keys()) {
      if (!names.has(dst)) await ip(signal, family, 'route', 'del', dst, ...ours);
    }
    for (const [dst, gateway] of names) {
      if (present.get(dst) === gateway) continue;
      await ip(signal, family, 'route', 'replace', dst, 'via', gateway, ...ours);
    }
  }
}

/**
 * Gives weft-self exactly these addresses (`10.77.0.201/24`), and takes others away. Addresses that stay are not
 * touched, so connections from them live on.
 */
export async function setDataAddresses(addresses: readonly string[], signal: AbortSignal): Promise<void> {
  const shown = JSON.parse(await ip(signal, '-json', 'address', 'show', 'dev', SELF)) as InterfaceAddresses[];
  const present = (shown[0]?.addr_info ?? [])
    .filter(({ scope }) => scope === 'global')
    .map(({ local, prefixlen }) => `${local}/${prefixlen}`);
  for (const address of present) {
    if (!addresses.includes(address)) await ip(signal, 'address', 'del', address, 'dev', SELF);
  }
  for (const address of addresses) {
    if (present.includes(address)) continue;
    const flags = address.includes(':') ? ['nodad'] : [];
    await ip(signal, 'address', 'replace', address, 'dev', SELF, ...flags);
  }
}
