/**
 * For the test of the fast path: gives random packets to the kernel's program, and what it leaves to TypeScript to a
 * data plane with kernel slots; and all of them to a data plane without. Both must say the same, to the byte.
 * `compare-program.ts <xdp|tc|xsk> <packets> <seed>` in a namespace with the interfaces out, in and self, whose other ends
 * are far-out, far-in and far-self; prints one JSON line. `xsk`: as xdp, but what is for TypeScript is taken from AF_XDP sockets,
 * and what it sends leaves by them and is looked at on the other side.
 */
import { Dataplane, PORT_IN, PORT_OUT, PORT_SELF } from '../../../src/engine-vm/dataplane/dataplane.ts';
import { FastPath, type FastPathKind } from '../../../src/engine-vm/fastpath/fast-path.ts';
import { addressOf, bpf } from '../../../src/engine-vm/kernel/bpf.ts';
import { libc } from '../../../src/engine-vm/kernel/libc.ts';
import { PacketMemory } from '../../../src/engine-vm/kernel/packet-memory.ts';
import { NIC_MEMORY, Nic } from '../../../src/engine-vm/kernel/packet-ring.ts';
import { Umem, XskSocket, xskMemory } from '../../../src/engine-vm/kernel/xsk.ts';
import { STACK_GATEWAY_MAC } from '../../../src/engine-vm/stack-gateway.ts';
import { HEADROOM } from '../../../src/packet/packet.ts';
import { HttpService } from '../../../src/policy/http-service.ts';
import { type FrameSpec, frame } from '../../packet/frames.ts';
import {
  ALL_FLOWS,
  BALANCER,
  engineMac,
  graphFor,
  memberIp,
  memberIp6,
  memberMac,
  VIP,
  VIP6,
} from '../dataplane/network.ts';
import { type TestRun, testRun } from './test-run.ts';
import { inTunnel, routerAnswers, withTunnel } from './tunnel-frames.ts';

const [way, count, seed] = process.argv.slice(2) as [FastPathKind | 'xsk', string, string];
const kind: FastPathKind = way === 'tc' ? 'tc' : 'xdp';
const PROG_TEST_RUN = 10;
const LIVE_FRAMES = 2;
const PATIENCE_MS = 10_000;
const NAMES = ['out', 'in', 'self'] as const;
/** Whose program a port has. The kernel takes no shorter test frames for tc than an Ethernet and an IPv6 header. */
const kindOf = (port: number): FastPathKind => (port === PORT_SELF ? 'tc' : kind);
const shortestFor = (port: number) => (kindOf(port) === 'tc' ? 54 : 14);
const verdictsOf = (port: number) => (kindOf(port) === 'xdp' ? [1, 3, 4] : [2, -2, 7]);

function dice(from: number): () => number {
  let state = from;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return (state >>> 0) / 0x1_0000_0000;
  };
}

interface Sent {
  port: number;
  bytes: string;
}

/** One engine, and what it has sent since the last look. */
function engineOf(
  openSlots?: FastPath['openSlots'],
  also?: (port: number, buffer: Uint8Array, start: number, length: number) => void,
): {
  dataplane: Dataplane;
  take(): Sent[];
  clock: { now: number };
} {
  let sent: Sent[] = [];
  const clock = { now: 1000 };
  const dataplane = new Dataplane({
    wire: {
      send(port, buffer, start, length) {
        sent.push({ port, bytes: Buffer.from(buffer.subarray(start, start + length)).toString('hex') });
        also?.(port, buffer, start, length);
        return true;
      },
    },
    nowMs: () => clock.now,
    wallMs: () => 1_700_000_000_000,
    onSession: () => {},
    random: dice(7),
    ...(openSlots ? { openSlots } : {}),
  });
  return {
    dataplane,
    clock,
    take() {
      const all = sent;
      sent = [];
      return all;
    },
  };
}

const fast = new FastPath(kind);
const ifindex = NAMES.map((name) => libc.if_nametoindex(name));
for (const port of [0, 1, 2]) fast.attach(port, NAMES[port]!, kindOf(port) === 'tc' ? NAMES[port]! : null);

/** Runs the program on a frame. The answer of tc for TypeScript is a redirect too: told apart by the upcall counter. */
function run(port: number, bytes: Uint8Array): TestRun {
  const context = new DataView(new ArrayBuffer(kindOf(port) === 'xdp' ? 24 : 192));
  if (kindOf(port) === 'xdp') {
    context.setUint32(4, bytes.length, true);
    context.setUint32(12, ifindex[port]!, true);
  } else context.setUint32(40, ifindex[port]!, true);
  const contextBytes = new Uint8Array(context.buffer);
  return testRun(fast.programOf(port).fd, bytes, contextBytes);
}

/** AF_XDP on both ports, and who sees what arrives at their other ends. */
class Sockets {
  /** What the sockets gave to the far ends, of what they were given; frames with tags, which the far end untags, aside. */
  sent: string[] = [];
  seen: string[] = [];
  /** Frames that came up by a socket. */
  received = 0;
  readonly #sockets: XskSocket[];
  readonly #far: Nic[];

  constructor() {
    const memory = new PacketMemory(xskMemory(2) + 2 * NIC_MEMORY);
    const umem = new Umem(memory, 2);
    this.#sockets = NAMES.slice(0, 2).map((name) => new XskSocket(name, 0, umem));
    for (const [port, socket] of this.#sockets.entries()) fast.addSocket(port, socket);
    this.#far = NAMES.slice(0, 2).map((name) => new Nic(`far-${name}`, memory));
  }

  /** Runs the program on a frame as on one that has arrived; the data plane then gets it from the socket. */
  bringUp(port: number, bytes: Uint8Array, into: Dataplane): void {
    const context = new DataView(new ArrayBuffer(24));
    context.setUint32(4, bytes.length, true);
    context.setUint32(12, ifindex[port]!, true);
    const contextBytes = new Uint8Array(context.buffer);
    const result = bpf(PROG_TEST_RUN, (view) => {
      view.setUint32(0, fast.programOf(port).fd, true);
      view.setUint32(8, bytes.length, true);
      view.setBigUint64(16, addressOf(bytes), true);
      view.setUint32(32, 1, true);
      view.setUint32(40, contextBytes.length, true);
      view.setBigUint64(48, addressOf(contextBytes), true);
      view.setUint32(64, LIVE_FRAMES, true);
    });
    if (result < 0) throw new Error(`BPF_PROG_TEST_RUN failed for a live frame of ${bytes.length} bytes`);
    const count = this.#sockets[port]!.receive(into, port, 64);
    if (count !== 1) throw new Error(`${count} frames came up where there was one`);
    this.received++;
    this.flush();
  }

  flush(): void {
    for (const socket of this.#sockets) socket.flush();
  }

  /** Waits for what was sent: the kernel may deliver it a moment later. */
  settle(): void {
    const note = {
      receive: (far: number, buffer: Uint8Array, start: number, length: number): void => {
        const hex = Buffer.from(buffer.subarray(start, start + length)).toString('hex');
        if (!isTagged(hex)) this.seen.push(`${far} ${hex}`);
      },
    };
    const end = Date.now() + PATIENCE_MS;
    do {
      for (const [far, nic] of this.#far.entries()) nic.receive(note, far, 64);
    } while (this.seen.length < this.sent.length && Date.now() < end);
  }

  send(port: number, buffer: Uint8Array, start: number, length: number): void {
    const socket = this.#sockets[port];
    if (socket === undefined) return;
    if (!socket.takes(buffer, start, length) || !socket.send(buffer, start, length)) {
      throw new Error('the socket did not take a frame');
    }
    const hex = Buffer.from(buffer.subarray(start, start + length)).toString('hex');
    if (!isTagged(hex)) this.sent.push(`${port} ${hex}`);
  }
}

function isTagged(hex: string): boolean {
  return ['8100', '88a8'].includes(hex.slice(24, 28));
}

const sockets = way === 'xsk' ? new Sockets() : null;
const random = dice(Number(seed));
const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
const firewall = {
  type: 'firewall' as const,
  policy: 'p',
  rules: [{ name: 'r', action: 'deny' as const, from: ['10.0.0.66/32'], protocol: 'any' as const }],
  defaultAction: 'allow' as const,
};
const components = [firewall, { ...BALANCER, method: 'round-robin' as const }];
const PROXIED_PORT = 8081;
/** Engine C is behind a router, over IPv4 and IPv6 by turns. */
const familyOf = (revision: number): 4 | 6 => (revision % 2 === 1 ? 4 : 6);
const graph = (revision: number) => {
  const bare = graphFor('A', { components, engineOf: { c2: null }, revision, maxFlows: 4096 });
  const [shop] = bare.services;
  // One that ends in the engine's own stack.
  const tiers = [{ ...shop!.tiers[0]!, port: PROXIED_PORT }];
  return withTunnel(
    { ...bare, services: [...bare.services, { ...shop!, name: 'web', tiers, http: HttpService.parse({}) }] },
    familyOf(revision),
  );
};
const quick = engineOf(
  (capacity, by) => fast.openSlots(capacity, by),
  (...frame) => sockets?.send(...frame),
);
const slow = engineOf();
for (const one of [quick, slow]) {
  one.dataplane.load(graph(1));
  for (const { port, bytes } of routerAnswers()) {
    one.dataplane.receive(port, Uint8Array.from(bytes), HEADROOM, bytes.length - HEADROOM);
  }
}
sockets?.settle();
if (sockets !== null) sockets.sent = sockets.seen = [];

const clientMac = '02:cc:00:00:00:01';
const clients = ['10.0.0.9', '10.0.0.8', '10.0.0.66', '192.168.7.7'];
const clients6 = ['fd00::9', 'fd00::8'];
const members = ['a1', 'a2', 'b1', 'c2'];
/** Frames that reached members or the stack, by whose ports their answers come, which are made of them. */
const delivered: { port: number; spec: FrameSpec }[] = [];

function randomSpec(): { port: number; spec: FrameSpec; isTunnelled?: boolean } {
  const isIpv6 = random() < 0.3;
  const protocol = random() < 0.65 ? ('tcp' as const) : ('udp' as const);
  const flags =
    random() < 0.1 ? 'S' : random() < 0.03 ? pick(['FA', 'R', 'SA', '', 'SF']) : pick(['A', 'PA']);
  const payload = new Uint8Array(Math.floor(random() * (random() < 0.05 ? 1400 : 64))).map(() =>
    Math.floor(random() * 256),
  );
  const rare: FrameSpec | object =
    random() < 0.06
      ? pick<object>([
          { vlans: [7] },
          { options: new Uint8Array(4).fill(1) },
          { hasHopByHop: true },
          { fragment: { id: 7, offset: 0, hasMore: true } },
          { fragment: { id: 7, offset: 64, hasMore: false } },
          { hasNoChecksum: true },
          { protocol: 'icmp' },
        ])
      : {};
  const answered = random() < 0.45 && delivered.length > 0 ? pick(delivered) : null;
  if (answered !== null) {
    const { port, spec } = answered;
    return {
      port,
      spec: {
        ...spec,
        from: spec.to,
        to: spec.from,
        fromMac: spec.toMac!,
        toMac: port === PORT_SELF ? STACK_GATEWAY_MAC : spec.fromMac!,
        sport: spec.dport!,
        dport: spec.sport!,
        flags: flags === 'S' ? 'SA' : flags,
        payload,
        ...rare,
      },
    };
  }
  const isFromPeer = random() < 0.3;
  // Mostly, a flow keeps its way.
  const isUsual = random() < 0.95;
  const sport = 2000 + Math.floor(random() * 6) + (isFromPeer === isUsual ? 1000 : 0);
  const isTunnelled = isFromPeer ? (isUsual ? sport % 3 > 0 : random() < 0.5) : random() < 0.01;
  const member = pick(members);
  const isToService = random() < 0.85;
  const memberAddress = isIpv6 ? memberIp6(member) : memberIp(member);
  const isFromMember = random() < 0.1;
  return {
    port: isFromMember && !isTunnelled ? PORT_IN : PORT_OUT,
    isTunnelled,
    spec: {
      protocol,
      from: isFromMember ? (isIpv6 ? memberIp6('a1') : memberIp('a1')) : pick(isIpv6 ? clients6 : clients),
      to: isToService ? (isIpv6 ? VIP6 : VIP) : memberAddress,
      fromMac: isFromMember
        ? memberMac('a1')
        : isFromPeer
          ? engineMac(isTunnelled !== random() < 0.02 ? 'C' : 'B')
          : clientMac,
      toMac: isFromPeer
        ? memberMac(isUsual ? `a${1 + (sport % 2)}` : pick(['a1', 'a2']))
        : isToService
          ? engineMac('A')
          : memberMac(member),
      sport,
      dport: isToService ? (protocol === 'udp' ? 53 : random() < 0.3 ? PROXIED_PORT : 8080) : 80,
      flags,
      payload,
      ...rare,
    },
  };
}

/** What arrived at a member or the stack, as the frame that its answer turns round. */
function remember({ port, bytes }: Sent): void {
  if (port === PORT_OUT || bytes.length < 2 * 54) return;
  const raw = Buffer.from(bytes, 'hex');
  const type = raw.readUInt16BE(12);
  const macText = (at: number) =>
    raw
      .subarray(at, at + 6)
      .toString('hex')
      .replaceAll(/(..)(?=.)/g, '$1:');
  const isIpv4 = type === 0x0800 && raw[14] === 0x45;
  const isIpv6 = type === 0x86dd && (raw[20] === 6 || raw[20] === 17);
  if (!isIpv4 && !isIpv6) return;
  const protocol = isIpv4 ? raw[23] : raw[20];
  const l4 = isIpv4 ? 34 : 54;
  if ((protocol !== 6 && protocol !== 17) || raw.length < l4 + 8) return;
  const address = (at: number) =>
    isIpv4
      ? raw.subarray(at, at + 4).join('.')
      : Array.from({ length: 8 }, (_, i) => raw.readUInt16BE(at + i * 2).toString(16)).join(':');
  const answerable = {
    protocol: protocol === 6 ? 'tcp' : 'udp',
    from: address(isIpv4 ? 26 : 22),
    to: address(isIpv4 ? 30 : 38),
    fromMac: macText(6),
    toMac: macText(0),
    sport: raw.readUInt16BE(l4),
    dport: raw.readUInt16BE(l4 + 2),
  } as const;
  // The stack answers for services alone.
  if (port === PORT_SELF && answerable.dport !== PROXIED_PORT) return;
  delivered[delivered.length < 200 ? delivered.length : Math.floor(random() * 200)] = {
    port,
    spec: answerable,
  };
}

let forwarded = 0;
/** Of those: into a tunnel, and out of one. */
let into = 0;
let outOf = 0;
/** To the engine's own stack, and from it. */
let toStack = 0;
let fromStack = 0;
let mismatch: object | null = null;
let revision = 1;
for (let n = 0; n < Number(count) && mismatch === null; n++) {
  const { port, spec, isTunnelled } = randomSpec();
  let whole = frame(spec);
  // Some are damaged, cut or padded; a frame that is shorter than a header is no frame to the kernel.
  if (random() < 0.05)
    whole[HEADROOM + 12 + Math.floor(random() * (whole.length - HEADROOM - 12))] ^=
      1 << Math.floor(random() * 8);
  if (isTunnelled) whole = inTunnel(whole, familyOf(revision), random);
  let bytes = whole.subarray(HEADROOM);
  const shortest = shortestFor(port);
  if (random() < 0.03 && bytes.length > shortest)
    bytes = bytes.subarray(0, shortest + Math.floor(random() * (bytes.length - shortest)));
  else if (random() < 0.1) bytes = Buffer.concat([bytes, Buffer.alloc(Math.floor(random() * 20))]);
  const clone = (): Uint8Array => Buffer.concat([Buffer.alloc(HEADROOM), bytes]);
  if (random() < 0.001) {
    revision++;
    for (const one of [quick, slow]) one.dataplane.load(graph(revision));
  }
  if (random() < 0.01) {
    for (const one of [quick, slow]) one.clock.now += 5;
    fast.tick(quick.clock.now);
  }
  for (const one of [quick, slow]) one.take();
  const forSlow = clone();
  slow.dataplane.receive(port, forSlow, HEADROOM, bytes.length);
  const expected = slow.take();
  const before = fast.counters();
  const ran = run(port, Uint8Array.from(bytes));
  const after = fast.counters();
  const [DROP, TX, REDIRECT] = verdictsOf(port);
  const isUp = after.upcalls > before.upcalls;
  let seen: Sent[];
  if (isUp) {
    if (sockets === null || port === PORT_SELF) {
      quick.dataplane.receive(port, clone(), HEADROOM, bytes.length);
      sockets?.flush();
    } else sockets.bringUp(port, Uint8Array.from(bytes), quick.dataplane);
    seen = quick.take();
  } else if (ran.verdict === REDIRECT || ran.verdict === TX) {
    forwarded++;
    if (isTunnelled) outOf++;
    if (ran.bytes.length / 2 > bytes.length + 30) into++;
    const left = after.sentPackets.findIndex((packets, at) => packets > before.sentPackets[at]!);
    if (left === PORT_SELF) toStack++;
    if (port === PORT_SELF) fromStack++;
    seen = [{ port: left, bytes: ran.bytes }];
  } else seen = ran.verdict === DROP ? [] : [{ port: -1, bytes: `verdict ${ran.verdict}` }];
  if (JSON.stringify(seen) !== JSON.stringify(expected)) {
    mismatch = { n, port, spec, frame: Buffer.from(bytes).toString('hex'), isUp, seen, expected };
  }
  if (sockets !== null && mismatch === null) {
    sockets.settle();
    const [given, arrived] = [sockets.sent.sort(), sockets.seen.sort()].map((list) => list.join('\n'));
    if (given !== arrived) mismatch = { n, port, given, arrived };
    sockets.sent = [];
    sockets.seen = [];
  }
  for (const one of expected) remember(one);
}
// Both tables must have counted the same, too.
const listings = [quick, slow].map((one) =>
  // Who forwards is what must differ.
  one.dataplane.flows(ALL_FLOWS).flows.map(({ kernel: _, ...flow }) => JSON.stringify(flow)),
);
const unlike = listings[0]!.findIndex((flow, index) => flow !== listings[1]![index]);
console.log(
  JSON.stringify({
    forwarded,
    into,
    outOf,
    toStack,
    fromStack,
    received: sockets?.received ?? 0,
    mismatch,
    flows: listings[1]!.length,
    unlike: unlike < 0 ? null : [listings[0]![unlike], listings[1]![unlike]],
  }),
);
fast.close();
