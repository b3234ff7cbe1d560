/**
 * What the decisions of the packet path cost, without any kernel: established flows through the data plane, translated
 * to a member beside the engine and back, or sent on to a peer; new flows through a firewall of 21 rules and the
 * topological balancer; and the bridge beside them as the floor.
 *
 *   npm run bench -- dataplane [packets per measurement]
 */
import { Dataplane, PORT_IN, PORT_OUT } from '../src/engine-vm/dataplane/dataplane.ts';
import { HEADROOM } from '../src/packet/packet.ts';
import type { GraphMember, ServiceGraph } from '../src/policy/graph.ts';
import { frame } from '../test/packet/frames.ts';

const PACKETS = Number(process.argv[2] ?? 2_000_000);
const ROUNDS = 3;
const OWN = '02:ee:00:00:00:01';
const PEER = '02:ee:00:00:00:02';
const CLIENT_MAC = '02:cc:00:00:00:01';
const VIP = '10.0.0.100';

function member(name: string, engine: string, index: number): GraphMember {
  const mac = `02:aa:00:00:00:0${index}`;
  return {
    id: name,
    vm: name,
    host: engine,
    mac,
    ipv4: `10.0.1.${index}`,
    ipv6: null,
    hops: engine === 'A' ? 0 : 1,
    engine,
  };
}

function graphOf(engine: 'A' | 'B', maxFlows: number): ServiceGraph {
  return {
    revision: 1,
    engine: {
      id: 'A',
      host: 'A',
      mac: OWN,
      failMode: 'open',
      dataAddresses: ['10.0.0.201/24'],
      probeIntervalMs: 100,
      deadAfterMs: 500,
      maxFlows,
      groupKey: Buffer.alloc(32, 1).toString('base64'),
    },
    peers: [{ id: 'B', host: 'B', mac: PEER, dataAddresses: ['10.0.0.202/24'] }],
    members: [member('m1', engine, 1), member('m2', engine, 2)],
    pools: [
      {
        name: 'p',
        port: 80,
        healthMonitors: [],
        members: [0, 1].map((index) => ({ member: index, weight: 1, isDraining: false })),
      },
    ],
    services: [
      {
        name: 's',
        protocol: 'tcp',
        tiers: [{ name: 't', port: 80, pool: 0, addresses: [{ address: VIP, announcers: ['A', 'B'] }] }],
        components: [
          {
            type: 'firewall',
            policy: 'f',
            defaultAction: 'allow',
            rules: Array.from({ length: 21 }, (_, index) => ({
              name: `r${index}`,
              action: 'deny' as const,
              from: [`192.168.${index}.0/24`],
              protocol: 'any' as const,
            })),
          },
          { type: 'load-balancer', method: 'topological', persistence: { type: 'none' } },
        ],
      },
    ],
  };
}

/** Frames of `flows` clients, each with its own template, so that the caches see what they would see. */
function clientFrames(flows: number, flags: string, toMac: string, to: string): Uint8Array[] {
  return Array.from({ length: flows }, (_, flow) =>
    frame({
      from: `10.${1 + (flow >> 16)}.${(flow >> 8) & 255}.${flow & 255}`,
      to,
      fromMac: CLIENT_MAC,
      toMac,
      sport: 1024 + (flow % 60_000),
      dport: 80,
      flags,
      payload: 'x'.repeat(6),
    }),
  );
}

interface Bench {
  name: string;
  /** Nanoseconds per packet. */
  run: () => number;
}

/** Sends every template in turn, through a buffer of the size and kind of a ring slot. */
function timed(dataplane: Dataplane, port: number, frames: readonly Uint8Array[], packets: number): number {
  const buffer = new Uint8Array(2048);
  const length = frames[0]!.length;
  const begin = process.hrtime.bigint();
  for (let i = 0, next = 0; i < packets; i++) {
    buffer.set(frames[next]!);
    next = next + 1 < frames.length ? next + 1 : 0;
    dataplane.receive(port, buffer, HEADROOM, length - HEADROOM);
  }
  return Number(process.hrtime.bigint() - begin) / packets;
}

function newDataplane(engine: 'A' | 'B', maxFlows: number, onFrame?: (bytes: Uint8Array) => void): Dataplane {
  let now = 0;
  const dataplane = new Dataplane({
    wire: {
      send: (port, buffer, start, length) => {
        if (onFrame && port === PORT_IN) onFrame(buffer.subarray(start - HEADROOM, start + length));
        return true;
      },
    },
    nowMs: () => now,
    wallMs: () => now,
    onSession: () => undefined,
  });
  dataplane.load(graphOf(engine, maxFlows));
  now = 10_000;
  return dataplane;
}

function established(engine: 'A' | 'B', flows: number): Bench {
  const dataplane = newDataplane(engine, flows * 4);
  for (const bytes of clientFrames(flows, 'S', OWN, VIP))
    dataplane.receive(PORT_OUT, bytes, HEADROOM, bytes.length - HEADROOM);
  const frames = clientFrames(flows, 'A', OWN, VIP);
  const where = engine === 'A' ? 'translated to a member here' : 'sent on to a peer (MACs only)';
  return {
    name: `established, ${where}, ${flows} flows`,
    run: () => timed(dataplane, PORT_OUT, frames, PACKETS),
  };
}

function fresh(): Bench {
  const flows = 60_000;
  return {
    name: `new flows, 21 rules, topological balancer, table of ${flows * 4}`,
    run: () => {
      const dataplane = newDataplane('A', flows * 4);
      return timed(dataplane, PORT_OUT, clientFrames(flows, 'S', OWN, VIP), flows);
    },
  };
}

function bridged(): Bench {
  const dataplane = newDataplane('A', 1024);
  const frames = clientFrames(1000, 'A', '02:aa:00:00:00:09', '10.0.0.77');
  return { name: 'bridged, no policy names it', run: () => timed(dataplane, PORT_OUT, frames, PACKETS) };
}

const benches = [
  bridged(),
  established('A', 1000),
  established('A', 60_000),
  established('B', 1000),
  fresh(),
];
const results = benches.map((): number[] => []);
for (let round = 0; round < ROUNDS; round++)
  benches.forEach((bench, index) => void results[index]!.push(bench.run()));
const summary: Record<string, number> = {};
benches.forEach((bench, index) => {
  const median = results[index]!.sort((a, b) => a - b)[Math.floor(ROUNDS / 2)]!;
  summary[bench.name] = Math.round(median);
  console.log(`${median.toFixed(0).padStart(6)} ns/packet  ${bench.name}`);
});
console.log(JSON.stringify({ bench: 'dataplane', packets: PACKETS, nsPerPacket: summary }));
