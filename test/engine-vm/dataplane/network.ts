/**
 * A network in memory for data-plane tests: one production segment, engines with a protected segment each whose
 * members are isolated from each other, and scripted hosts. Deterministic: the clock and the dice are the test's.
 */

import assert from 'node:assert/strict';
import {
  Dataplane,
  type DataplaneOptions,
  PORT_IN,
  PORT_OUT,
  PORT_SELF,
} from '../../../src/engine-vm/dataplane/dataplane.ts';
import type { FlowSliceQuestion } from '../../../src/engine-vm/dataplane/flow-listing.ts';
import {
  BUCKET_BYTES,
  bucketsFor,
  CONFIG_BYTES,
  FlowSlots,
  SLOT_BYTES,
} from '../../../src/engine-vm/fastpath/flow-slots.ts';
import { TUNNEL_BYTES, TUNNELS } from '../../../src/engine-vm/fastpath/tunnel-heads.ts';
import { FlowMemory, flowMemoryBytes } from '../../../src/engine-vm/flow/flow-memory.ts';
import { formatAddress, formatMac } from '../../../src/packet/address.ts';
import {
  checksumOffset,
  fold,
  ipv4HeaderChecksum,
  pseudoHeaderSum,
  transportChecksum,
  writeChecksums,
} from '../../../src/packet/checksum.ts';
import { HEADROOM, Packet } from '../../../src/packet/packet.ts';
import { parse } from '../../../src/packet/parse.ts';
import type {
  GraphComponent,
  GraphMember,
  GraphPool,
  GraphService,
  ServiceGraph,
} from '../../../src/policy/graph.ts';
import { addressBytes, arp, type FrameSpec, frame, mac } from '../../packet/frames.ts';

type Four = [number, number, number, number];

/** Asks for every flow of a small table. */
export const ALL_FLOWS: FlowSliceQuestion = {
  service: null,
  client: null,
  member: null,
  state: null,
  protocol: null,
  sort: 'age',
  limit: 1000,
  from: 0,
  above: null,
};

/** A frame as a host saw it, in words. */
export interface Seen {
  bytes: Uint8Array;
  packet: Packet;
  fromMac: string;
  toMac: string;
  from: string;
  to: string;
  sport: number;
  dport: number;
  flags: string;
}

export class Host {
  readonly seen: Seen[] = [];
  readonly mac: string;
  /** The engine it stands behind, or null on the production segment. */
  engine: TestEngine | null = null;
  /** Which production segment it is on. */
  site = '';
  isAnsweringArp = true;
  constructor(mac: string) {
    this.mac = mac;
  }
  /** The frames seen since the last call. */
  take(): Seen[] {
    return this.seen.splice(0);
  }
  /** The only frame seen since the last call. */
  one(): Seen {
    const all = this.take();
    assert.equal(all.length, 1, `expected one frame at ${this.mac}, saw ${all.length}`);
    return all[0]!;
  }
}

export class TestEngine {
  readonly id: string;
  readonly mac: string;
  readonly dataplane: Dataplane;
  readonly members: Host[] = [];
  /** What its own kernel stack received. */
  readonly self = new Host('self');
  isDead = false;
  /** Which production segment its `out` is on. */
  site = '';
  constructor(network: Network, id: string, mac: string) {
    this.id = id;
    this.mac = mac;
    this.dataplane = network.newDataplane(this);
  }
}

/** A router between production segments: the same MAC and the address of each on them. */
export class Router {
  mac = '02:dd:00:00:00:01';
  /** Its own addresses by segment. */
  readonly addresses: Record<string, readonly string[]>;
  /** Where each address is. */
  readonly hosts = new Map<string, { site: string; mac: string }>();
  /** What it has passed on. */
  readonly seen: Seen[] = [];
  /** The largest IP packet that it passes on. */
  mtu = 1500;
  site = '';
  constructor(addresses: Record<string, readonly string[]>) {
    this.addresses = addresses;
  }
}

export class Network {
  /** Between the production segments, where there are several. */
  router: Router | null = null;
  now = 1000;
  /** Whether flows are entrusted to slots; no program reads them. */
  hasSlots = false;
  readonly hosts: Host[] = [];
  readonly engines: TestEngine[] = [];
  readonly sessions: { service: string; client: string; member: string; time: number; engine: string }[] = [];
  /** Hosts check the checksums of what they see; off where frames are damaged on purpose. */
  isVerifying = true;
  /** Frames sent since the last reset: bounded output is part of the contract. */
  sent = 0;
  /** Source MACs of the reverse ARP requests that went over the production segment. */
  readonly reverseRequests: string[] = [];
  private readonly queue: (() => void)[] = [];
  private seed = 12345;
  private isRunning = false;

  /** What the engines that are added entrust to a kernel that is not there. */
  openSlots: DataplaneOptions['openSlots'];

  random = (): number => {
    this.seed = (Math.imul(this.seed, 1103515245) + 12345) & 0x7fffffff;
    return this.seed / 0x80000000;
  };

  newDataplane(engine: TestEngine): Dataplane {
    return new Dataplane({
      wire: {
        send: (port, buffer, start, length) => {
          this.sent++;
          const copy = Uint8Array.from(buffer.subarray(start - HEADROOM, start + length));
          this.queue.push(() => this.carry(engine, port, copy));
          return true;
        },
      },
      nowMs: () => this.now,
      wallMs: () => 1_700_000_000_000 + this.now,
      onSession: (service, client, member, time) =>
        this.sessions.push({ service, client, member, time, engine: engine.id }),
      random: this.random,
      openSlots: (capacity, seed) =>
        this.openSlots?.(capacity, seed) ?? (this.hasSlots ? slotsInMemory(capacity, seed) : null),
    });
  }

  addEngine(id: string, mac: string): TestEngine {
    const engine = new TestEngine(this, id, mac);
    this.engines.push(engine);
    return engine;
  }

  /** A restarted engine: an empty data plane in the same place. */
  restart(engine: TestEngine): void {
    (engine as { dataplane: Dataplane }).dataplane = this.newDataplane(engine);
  }

  addHost(mac: string, engine: TestEngine | null = null): Host {
    const host = new Host(mac);
    host.engine = engine;
    this.hosts.push(host);
    if (engine !== null) engine.members.push(host);
    return host;
  }

  /** A host sends a frame; everything that follows from it happens before this returns. */
  send(host: Host, bytes: Uint8Array): void {
    if (host.engine === null) this.production(bytes, host);
    else this.receive(host.engine, PORT_IN, bytes);
    this.run();
  }

  /** A host sends what the spec says, from its own MAC. */
  emit(host: Host, spec: FrameSpec): void {
    this.send(host, frame({ fromMac: host.mac, ...spec }));
  }

  /** Something arrives at one port of an engine. */
  inject(engine: TestEngine, port: number, bytes: Uint8Array): void {
    this.receive(engine, port, bytes);
    this.run();
  }

  /** Time passes, with ticks. */
  pass(ms: number, stepMs = 10): void {
    for (let passed = 0; passed < ms; passed += stepMs) {
      this.now += stepMs;
      for (const engine of this.engines) if (!engine.isDead) engine.dataplane.tick();
      this.run();
    }
  }

  /** Exchanges the connection reports of all engines, as the controller's hub does. */
  share(): void {
    for (const engine of this.engines) {
      const report = engine.dataplane.connectionReport();
      for (const other of this.engines) {
        if (other !== engine) other.dataplane.applyConnections(engine.id, structuredClone(report));
      }
    }
  }

  private run(): void {
    if (this.isRunning) return;
    this.isRunning = true;
    let steps = 0;
    for (let next = this.queue.shift(); next !== undefined; next = this.queue.shift()) {
      next();
      assert.ok(++steps < 10_000, 'frames go in circles');
    }
    this.isRunning = false;
  }

  private carry(engine: TestEngine, port: number, bytes: Uint8Array): void {
    if (engine.isDead) return;
    if (port === PORT_OUT) this.production(bytes, engine);
    else if (port === PORT_SELF) engine.self.seen.push(see(bytes, this.isVerifying));
    else {
      const to = macAt(bytes, 0);
      for (const host of engine.members) if (isGroup(bytes) || host.mac === to) this.deliver(host, bytes);
    }
  }

  /** A frame on the router's segment: it answers for its addresses and passes on what is for elsewhere. */
  private route(router: Router, bytes: Uint8Array, site: string): void {
    const { packet, to } = see(bytes, false);
    const own = router.addresses[site] ?? [];
    const isNeighbour = packet.icmpType === 135;
    const asked =
      packet.etherType === 0x0806
        ? formatAddress(0, 0, 0xffff, packet.view.getInt32(packet.l3 + 24))
        : isNeighbour
          ? formatAddress(...([8, 12, 16, 20].map((at) => packet.view.getInt32(packet.l4 + at)) as Four))
          : '';
    const answer = (reply: Uint8Array): void => {
      this.queue.push(() => {
        router.site = site;
        this.production(reply, router);
      });
    };
    if (packet.etherType === 0x0806 && own.includes(asked) && packet.view.getUint16(packet.l3 + 6) === 1) {
      const sender = formatAddress(0, 0, 0xffff, packet.view.getInt32(packet.l3 + 14));
      answer(
        arp({
          operation: 2,
          fromMac: router.mac,
          toMac: macAt(bytes, 6),
          sender: asked,
          target: sender,
        }),
      );
      return;
    }
    if (isNeighbour && own.includes(asked)) {
      const reply = Uint8Array.from(bytes);
      const at = HEADROOM + 54;
      reply.copyWithin(HEADROOM, HEADROOM + 6, HEADROOM + 12);
      reply.set(mac(router.mac), HEADROOM + 6);
      reply.copyWithin(HEADROOM + 38, HEADROOM + 22, HEADROOM + 38);
      reply.set(addressBytes(asked), HEADROOM + 22);
      reply.set([136, 0, 0, 0, 0x60, 0, 0, 0], at);
      reply.set([2, 1, ...mac(router.mac)], at + 24);
      const made = new Packet();
      parse(made, reply, HEADROOM, reply.length - HEADROOM);
      writeChecksums(made);
      answer(reply);
      return;
    }
    if (macAt(bytes, 0) !== router.mac || packet.ipVersion === 0) return;
    assert.ok(packet.end - packet.l3 <= router.mtu, `${packet.end - packet.l3} bytes for the router`);
    const target = router.hosts.get(to);
    assert.ok(target !== undefined, `nobody has ${to}`);
    router.seen.push(see(bytes, this.isVerifying));
    const on = Uint8Array.from(bytes);
    on.set(mac(target.mac), HEADROOM);
    on.set(mac(router.mac), HEADROOM + 6);
    this.queue.push(() => {
      router.site = target.site;
      this.production(on, router);
    });
  }

  private production(bytes: Uint8Array, sender: Host | TestEngine | Router): void {
    const site = sender.site;
    if (this.router !== null && sender !== this.router) this.route(this.router, bytes, site);
    if (bytes[HEADROOM + 12] === 0x80 && bytes[HEADROOM + 13] === 0x35) {
      this.reverseRequests.push(macAt(bytes, 6));
    }
    const to = macAt(bytes, 0);
    const isForAll = isGroup(bytes);
    for (const host of this.hosts) {
      if (host.site === site && host.engine === null && host !== sender && (isForAll || host.mac === to))
        this.deliver(host, bytes);
    }
    for (const engine of this.engines) {
      if (engine === sender || engine.isDead || engine.site !== site) continue;
      const isBehind = engine.mac === to || engine.members.some((host) => host.mac === to);
      if (isForAll || isBehind) this.receive(engine, PORT_OUT, bytes);
    }
  }

  private receive(engine: TestEngine, port: number, bytes: Uint8Array): void {
    if (engine.isDead) return;
    const copy = Uint8Array.from(bytes);
    engine.dataplane.receive(port, copy, HEADROOM, copy.length - HEADROOM);
  }

  private deliver(host: Host, bytes: Uint8Array): void {
    // Switches learn from it; hosts do not look at it.
    if (bytes[HEADROOM + 12] === 0x80 && bytes[HEADROOM + 13] === 0x35) return;
    const seen = see(bytes, this.isVerifying);
    const { packet } = seen;
    const isRequest =
      packet.etherType === 0x0806 &&
      bytes.length >= HEADROOM + 42 &&
      packet.view.getUint16(packet.l3 + 6) === 1 &&
      macAt(bytes, 0) === host.mac &&
      macAt(bytes, 6) === host.engine?.mac;
    if (isRequest && host.engine !== null) {
      // The engine asks whether the member lives.
      if (host.isAnsweringArp) {
        const reply = Uint8Array.from(bytes);
        reply.set(bytes.subarray(HEADROOM + 6, HEADROOM + 12), HEADROOM);
        reply.set(
          host.mac.split(':').map((part) => Number.parseInt(part, 16)),
          HEADROOM + 6,
        );
        reply[HEADROOM + 21] = 2;
        const engine = host.engine;
        this.queue.push(() => this.receive(engine, PORT_IN, reply));
      }
      return;
    }
    host.seen.push(seen);
  }
}

function slotsInMemory(capacity: number, seed: number): FlowSlots {
  const memory = {
    config: new ArrayBuffer(CONFIG_BYTES),
    index: new ArrayBuffer(BUCKET_BYTES * bucketsFor(capacity)),
    slots: new ArrayBuffer(SLOT_BYTES * capacity),
    tunnels: new ArrayBuffer(TUNNEL_BYTES * TUNNELS),
    records: new FlowMemory(new ArrayBuffer(flowMemoryBytes(capacity >> 1)), capacity >> 1),
  };
  return new FlowSlots(memory, capacity, seed);
}

/** Reads a frame, and checks that its checksums are right where asked to. */
function see(bytes: Uint8Array, isVerifying: boolean): Seen {
  const packet = new Packet();
  parse(packet, bytes, HEADROOM, bytes.length - HEADROOM);
  if (isVerifying && packet.malformed === null && packet.ipVersion !== 0) {
    if (packet.ipVersion === 4)
      assert.equal(packet.view.getUint16(packet.l3 + 10), ipv4HeaderChecksum(packet));
    const at = checksumOffset(packet);
    if (at >= 0 && !packet.isFragment) {
      const field = packet.view.getUint16(at);
      const isAbsent = packet.protocol === 17 && field === 0;
      if (packet.isChecksumPartial) assert.equal(field, fold(pseudoHeaderSum(packet)), 'partial checksum');
      else if (!isAbsent) assert.equal(field, transportChecksum(packet), 'transport checksum');
    }
  }
  const letters = [
    [2, 'S'],
    [16, 'A'],
    [1, 'F'],
    [4, 'R'],
    [8, 'P'],
  ] as const;
  return {
    bytes,
    packet,
    toMac: macAt(bytes, 0),
    fromMac: macAt(bytes, 6),
    from: formatAddress(packet.s0, packet.s1, packet.s2, packet.s3),
    to: formatAddress(packet.d0, packet.d1, packet.d2, packet.d3),
    sport: packet.sourcePort,
    dport: packet.destinationPort,
    flags: letters.map(([bit, letter]) => ((packet.tcpFlags & bit) !== 0 ? letter : '')).join(''),
  };
}

function macAt(bytes: Uint8Array, at: number): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return formatMac(view.getUint16(HEADROOM + at), view.getInt32(HEADROOM + at + 2));
}

function isGroup(bytes: Uint8Array): boolean {
  return (bytes[HEADROOM]! & 1) === 1;
}

export const BALANCER: GraphComponent = {
  type: 'load-balancer',
  method: 'topological',
  persistence: { type: 'none' },
};

export interface GraphParts {
  components?: GraphComponent[];
  services?: GraphService[];
  pools?: GraphPool[];
  /** Members by name to the engine in front of them. */
  engineOf?: Record<string, string | null>;
  revision?: number;
  maxFlows?: number;
  without?: string[];
  deadAfterMs?: number;
  hasSlots?: boolean;
  openSlots?: DataplaneOptions['openSlots'];
}

/** What a test network looks like: three engines with two members each, addresses of both families. */
export const NAMES = ['a1', 'a2', 'b1', 'b2', 'c1', 'c2'];
export const ENGINES = ['A', 'B', 'C'];
export const VIP = '10.0.0.100';
export const VIP6 = 'fd00::100';
/** The address of member a1, which serves as a service address as well, port 8080. */
export const OWNED = '10.0.0.11';

export function engineMac(id: string): string {
  return `02:ee:00:00:00:0${ENGINES.indexOf(id) + 1}`;
}

export function memberMac(name: string): string {
  return `02:aa:00:00:00:0${NAMES.indexOf(name) + 1}`;
}

export function memberIp(name: string): string {
  return `10.0.0.1${NAMES.indexOf(name) + 1}`;
}

export function memberIp6(name: string): string {
  return `fd00::1${NAMES.indexOf(name) + 1}`;
}

export function dataIp(id: string): string {
  return `10.0.0.20${ENGINES.indexOf(id) + 1}`;
}

/** The graph as the controller would compile it for one engine of the test network. */
export function graphFor(id: string, parts: GraphParts = {}): ServiceGraph {
  const home = (name: string) => name[0]!.toUpperCase();
  const names = NAMES.filter((name) => !parts.without?.includes(name));
  const members: GraphMember[] = names.map((name) => ({
    id: `cloud/${name}/nic0`,
    vm: name,
    host: `host${home(name)}`,
    mac: memberMac(name),
    ipv4: memberIp(name),
    ipv6: memberIp6(name),
    hops: home(name) === id ? 0 : 1,
    engine: parts.engineOf && name in parts.engineOf ? parts.engineOf[name]! : home(name),
  }));
  const components = parts.components ?? [BALANCER];
  const announcers = [...ENGINES];
  return {
    revision: parts.revision ?? 1,
    engine: {
      id,
      host: `host${id}`,
      mac: engineMac(id),
      failMode: 'open',
      dataAddresses: [`${dataIp(id)}/24`, `fd00::20${ENGINES.indexOf(id) + 1}/64`],
      probeIntervalMs: 100,
      deadAfterMs: parts.deadAfterMs ?? 500,
      maxFlows: parts.maxFlows ?? 1024,
      groupKey: Buffer.alloc(32, 7).toString('base64'),
    },
    peers: ENGINES.filter((peer) => peer !== id).map((peer) => ({
      id: peer,
      host: `host${peer}`,
      mac: engineMac(peer),
      dataAddresses: [`${dataIp(peer)}/24`, `fd00::20${ENGINES.indexOf(peer) + 1}/64`],
    })),
    members,
    pools: parts.pools ?? [
      {
        name: 'web',
        port: 80,
        healthMonitors: [],
        members: names.map((_name, member) => ({ member, weight: 1, isDraining: false })),
      },
    ],
    services: parts.services ?? [
      {
        name: 'shop',
        protocol: 'tcp',
        components,
        tiers: [
          {
            name: 'front',
            port: 8080,
            pool: 0,
            addresses: [
              { address: VIP, announcers },
              { address: VIP6, announcers },
              { address: OWNED, announcers: [] },
            ],
          },
        ],
      },
      {
        name: 'dns',
        protocol: 'udp',
        components,
        tiers: [{ name: 'front', port: 53, pool: 0, addresses: [{ address: VIP, announcers }] }],
      },
    ],
  };
}

/** The test network, graphs loaded and settled, with a client on the production segment. */
export function settled(parts: GraphParts = {}): {
  network: Network;
  engines: Record<string, TestEngine>;
  hosts: Record<string, Host>;
  client: Host;
} {
  const network = new Network();
  network.hasSlots = parts.hasSlots === true;
  network.openSlots = parts.openSlots;
  const engines: Record<string, TestEngine> = {};
  const hosts: Record<string, Host> = {};
  for (const id of ENGINES) engines[id] = network.addEngine(id, engineMac(id));
  for (const name of NAMES) {
    const engine = parts.engineOf && name in parts.engineOf ? parts.engineOf[name]! : name[0]!.toUpperCase();
    hosts[name] = network.addHost(memberMac(name), engine === null ? null : engines[engine]!);
  }
  const client = network.addHost('02:cc:00:00:00:01');
  for (const id of ENGINES) engines[id]!.dataplane.load(graphFor(id, parts));
  network.pass(4000);
  for (const host of [...network.hosts, ...network.engines.map((engine) => engine.self)]) host.take();
  return { network, engines, hosts, client };
}
