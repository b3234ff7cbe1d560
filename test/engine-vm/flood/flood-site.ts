/**
 * For tests and the bench of floods: a client, an engine with two services, and a server behind it, in namespaces.
 *
 *   client eth0 ── out [ engine ] in ── eth0 server      flooded 10.99.0.50:80, spared 10.99.0.51:80
 *
 * What floods comes from addresses that do not exist (10.64.0.0/10); answers to them go to a MAC that is nobody's.
 */
import { type ChildProcess, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { setPriority, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { FromDataplane } from '../../../src/engine-vm/messages.ts';
import type { FastPathChoice } from '../../../src/policy/engine-group.ts';
import type { ServiceGraph } from '../../../src/policy/graph.ts';
import { line, Namespaces } from '../kernel/namespaces.ts';

const file = (name: string) => fileURLToPath(new URL(name, import.meta.url));

export const FLOODED = '10.99.0.50';
export const SPARED = '10.99.0.51';
const NOBODY = '02:cc:00:00:00:99';
/** Addresses are announced once nobody else may own them. */
const ANNOUNCE_MS = 1500;

export type Counted = Extract<FromDataplane, { type: 'counters' }>;

/** What clients of a service went through. */
export interface Outcome {
  requests: number;
  failed: number;
  p50Ms: number;
  p99Ms: number;
}

export class FloodSite {
  readonly spaces = new Namespaces();
  readonly client: string;
  readonly engineSpace: string;
  readonly server: string;
  readonly #directory = mkdtempSync(join(tmpdir(), 'weft-flood-'));
  readonly #cpus: Readonly<Record<'engine' | 'server' | 'client' | 'flood', number | null>>;
  #engine: ChildProcess | null = null;

  /**
   * `cpus`: on which processor each part shall run, where that is to be told. `hasOwnQueue`: the flood, which is to run on
   * processor 0, has a queue of the link for itself, as on a switch with a queue for each port.
   */
  constructor(
    cpus: Partial<Record<'engine' | 'server' | 'client' | 'flood', number>> = {},
    hasOwnQueue = false,
  ) {
    this.#cpus = { engine: null, server: null, client: null, flood: null, ...cpus };
    const { spaces } = this;
    this.client = spaces.add('client');
    this.engineSpace = spaces.add('engine');
    this.server = spaces.add('server');
    for (const [space, port, address] of [
      [this.client, 'out', '10.99.0.1'],
      [this.server, 'in', '10.99.0.2'],
    ] as const) {
      for (const one of [space, this.engineSpace])
        for (const scope of ['all', 'default']) spaces.sysctl(one, `net/ipv6/conf/${scope}/disable_ipv6`, 1);
      spaces.link(space, 'eth0', this.engineSpace, port, hasOwnQueue && port === 'out' ? 2 : 1);
      spaces.ip(space, `addr add ${address}/24 dev eth0`);
    }
    // What XDP redirects into a veth goes by the queue of its processor.
    if (hasOwnQueue) spaces.sendBy(this.client, 'eth0', 1);
    spaces.ip(this.server, 'route add 10.64.0.0/10 via 10.99.0.254');
    spaces.ip(this.server, `neigh add 10.99.0.254 lladdr ${NOBODY} dev eth0`);
  }

  /** Starts engine and server; resolves when the services answer. */
  async start(kind: FastPathChoice, change: (graph: ServiceGraph) => void = () => {}): Promise<void> {
    this.#offload(kind);
    const graph = this.#graph(kind);
    change(graph);
    writeFileSync(join(this.#directory, 'graph.json'), JSON.stringify(graph));
    this.#engine = this.#run(this.engineSpace, 'engine', file('engine-program.ts'), [
      join(this.#directory, 'graph.json'),
    ]);
    await line(this.#engine, (text) => text === 'ready');
    await line(this.#run(this.server, 'server', file('web-program.ts'), ['serve', '8001', '8002']));
    await delay(ANNOUNCE_MS);
  }

  /**
   * Begins to send SYNs to the flooded service as fast as can be, or to nowhere: a link whose other end nobody looks at.
   * Returns how to end it, which answers how many were sent.
   */
  async flood(isToNowhere = false): Promise<() => Promise<number>> {
    const mac = this.macOf(this.engineSpace, 'out');
    const nic = isToNowhere ? this.#nowhere() : 'eth0';
    const child = this.#run(this.client, 'flood', file('flood-program.ts'), [nic, mac, NOBODY, FLOODED]);
    await line(child);
    let sent = 0;
    child.stdout!.on('data', (data: Buffer) => {
      sent = Number(data.toString());
    });
    return async () => {
      const ended = new Promise((resolve) => child.once('close', resolve));
      child.kill('SIGTERM');
      await ended;
      return sent;
    };
  }

  /** Requests to a service, each in a connection of its own, for some time; the first `uncounted` are not timed. */
  async request(address: string, milliseconds: number, pauseMs = 0, uncounted = 0): Promise<Outcome> {
    const child = this.#run(this.client, 'client', file('web-program.ts'), [
      'request',
      address,
      String(milliseconds),
      String(pauseMs),
      String(uncounted),
    ]);
    return JSON.parse(await line(child)) as Outcome;
  }

  /** What the engine counts next; it does so four times a second. */
  async counted(): Promise<Counted> {
    return JSON.parse(await line(this.#engine!, (text) => text.startsWith('{'))) as Counted;
  }

  /** Frames that the client's link dropped for want of room, the flood's and others'. */
  linkLost(): number {
    const [link] = JSON.parse(this.spaces.ip(this.client, '-s -json link show eth0')) as {
      stats64: { tx: { dropped: number } };
    }[];
    return link!.stats64.tx.dropped;
  }

  get enginePid(): number {
    return this.#engine!.pid!;
  }

  macOf(space: string, nic: string): string {
    return (JSON.parse(this.spaces.ip(space, `-json link show ${nic}`)) as { address: string }[])[0]!.address;
  }

  async close(): Promise<void> {
    await this.spaces.close();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #nowhere(): string {
    this.spaces.ip(this.client, 'link add nowhere type veth peer name void');
    for (const nic of ['nowhere', 'void']) this.spaces.ip(this.client, `link set ${nic} up`);
    this.spaces.run(this.client, 'ethtool', ['-K', 'void', 'gro', 'on']);
    return 'nowhere';
  }

  /** A veth takes redirected frames only where its other end polls; and XDP finishes nothing that one left undone. */
  #offload(kind: FastPathChoice): void {
    const finished = kind === 'xdp' ? ['tx', 'off'] : [];
    for (const space of [this.client, this.server])
      this.spaces.run(space, 'ethtool', ['-K', 'eth0', 'gro', 'on', ...finished]);
    for (const port of ['out', 'in']) this.spaces.run(this.engineSpace, 'ethtool', ['-K', port, 'gro', 'on']);
  }

  #run(
    space: string,
    part: 'engine' | 'server' | 'client' | 'flood',
    program: string,
    args: string[],
  ): ChildProcess {
    const child = this.spaces.start(space, program, args);
    const cpu = this.#cpus[part];
    if (part === 'flood') setPriority(child.pid!, 19);
    // In a bench it stands for other machines and yields at once; in a test it would starve beside whatever else runs.
    if (part === 'flood' && cpu !== null)
      execFileSync('chrt', ['-a', '-i', '-p', '0', String(child.pid)], { stdio: 'ignore' });
    if (cpu !== null)
      execFileSync('taskset', ['-a', '-c', '-p', String(cpu), String(child.pid)], { stdio: 'ignore' });
    return child;
  }

  #graph(fastPath: FastPathChoice): ServiceGraph {
    const service = (name: string, pool: number, address: string): ServiceGraph['services'][number] => ({
      name,
      protocol: 'tcp',
      tiers: [{ name: 'front', port: 80, pool, addresses: [{ address, announcers: ['A'] }] }],
      components: [{ type: 'load-balancer', method: 'topological', persistence: { type: 'none' } }],
    });
    return {
      revision: 1,
      engine: {
        id: 'A',
        host: 'A',
        mac: this.macOf(this.engineSpace, 'out'),
        failMode: 'open',
        dataAddresses: ['10.99.0.201/24'],
        probeIntervalMs: 100,
        deadAfterMs: 500,
        maxFlows: 65_536,
        fastPath,
        groupKey: Buffer.alloc(32, 1).toString('base64'),
      },
      peers: [],
      members: [
        {
          id: 'm',
          vm: 'm',
          host: 'A',
          mac: this.macOf(this.server, 'eth0'),
          ipv4: '10.99.0.2',
          ipv6: null,
          hops: 0,
          engine: 'A',
        },
      ],
      pools: [8001, 8002].map((port) => ({
        name: `p${port}`,
        port,
        healthMonitors: [],
        members: [{ member: 0, weight: 1, isDraining: false }],
      })),
      services: [service('flooded', 0, FLOODED), service('spared', 1, SPARED)],
    };
  }
}
