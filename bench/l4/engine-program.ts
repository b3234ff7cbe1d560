/**
 * The engine's data plane as `weft engine` runs it, without a controller: links, packet loop, program and a graph with
 * one UDP and one TCP service, a firewall and one member, which with ACROSS is beside an engine behind the router
 * 10.99.0.1. `engine-program.ts KIND RULES MAX-FLOWS MEMBER-MAC [ACROSS]`.
 */

import { Dataplane } from '../../src/engine-vm/dataplane/dataplane.ts';
import { EventFd } from '../../src/engine-vm/kernel/event-fd.ts';
import { PORT_NAMES, prepareLinks } from '../../src/engine-vm/link.ts';
import type { ToDataplane } from '../../src/engine-vm/messages.ts';
import { PacketLoop } from '../../src/engine-vm/packet-loop.ts';
import type { FastPathChoice } from '../../src/policy/engine-group.ts';
import type { ServiceGraph } from '../../src/policy/graph.ts';

const [kind, rules, maxFlows, memberMac, across] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
  string?,
];
const home = across === undefined ? 'A' : 'B';
const { mac, fastPath } = await prepareLinks(new AbortController().signal);
const service = (name: string, protocol: 'udp' | 'tcp', port: number): ServiceGraph['services'][number] => ({
  name,
  protocol,
  tiers: [{ name: 't', port, pool: 0, addresses: [{ address: '10.99.0.100', announcers: ['A'] }] }],
  components: [
    {
      type: 'firewall',
      policy: 'f',
      defaultAction: 'allow',
      rules: Array.from({ length: Number(rules) }, (_, index) => ({
        name: `r${index}`,
        action: 'deny' as const,
        from: [`172.${16 + (index >> 8)}.${index & 255}.0/24`],
        protocol: 'any' as const,
      })),
    },
    { type: 'load-balancer', method: 'topological', persistence: { type: 'none' } },
  ],
});
const graph: ServiceGraph = {
  revision: 1,
  engine: {
    id: 'A',
    host: 'A',
    mac,
    failMode: 'open',
    dataAddresses: ['10.99.0.201/24'],
    probeIntervalMs: 100,
    // The engine behind the router answers no probes.
    deadAfterMs: across === undefined ? 500 : 3_600_000,
    ...(across === undefined ? {} : { gateways: ['10.99.0.1'] }),
    maxFlows: Number(maxFlows),
    fastPath: kind as FastPathChoice,
    groupKey: Buffer.alloc(32, 1).toString('base64'),
  },
  peers:
    across === undefined
      ? []
      : [{ id: 'B', host: 'B', mac: '02:ee:00:00:00:09', dataAddresses: ['10.98.0.202/24'] }],
  members: [
    { id: 'm', vm: 'm', host: home, mac: memberMac, ipv4: '10.99.0.2', ipv6: null, hops: 0, engine: home },
  ],
  pools: [
    { name: 'p', port: 9000, healthMonitors: [], members: [{ member: 0, weight: 1, isDraining: false }] },
  ],
  services: [service('u', 'udp', 9000), service('t', 'tcp', 5201)],
};
// The TCP service is iperf3's, whose member serves the same port.
graph.pools.push({ ...graph.pools[0]!, name: 'iperf', port: 5201 });
graph.services[1]!.tiers[0]!.pool = 1;
const messages: ToDataplane[] = [{ type: 'graph', graph }];
const wake = new EventFd();
wake.signal();
let isReady = false;
new PacketLoop({
  ports: PORT_NAMES,
  fastPath,
  wake,
  nextMessage: () => messages.shift(),
  post: (message) => {
    if (message.type === 'graph-applied')
      process.stdout.write(message.error ? `${message.error}\n` : 'ready\n');
    if (message.type === 'ready' && !isReady) isReady = true;
    if (message.type === 'counters' && process.env.WEFT_BENCH_LOG) {
      process.stderr.write(`${JSON.stringify({ ...message, components: undefined })}\n`);
    }
    if (message.type === 'fault' || message.type === 'failed' || message.type === 'unready')
      process.stderr.write(`${JSON.stringify(message)}\n`);
  },
  makeDataplane: (environment) => new Dataplane(environment),
}).run();
