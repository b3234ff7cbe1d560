/** A backend that answers from memory and notes what it was asked. */
import type {
  Backend,
  CaptureRequest,
  FlowsRequest,
  ProposedChange,
  TraceRequest,
} from '../../src/api/backend.ts';
import type {
  Adoption,
  FirewallView,
  FlowsAnswer,
  HostExplanation,
  HostView,
  MembershipExplanation,
  PurgeAnswer,
  SystemStatus,
  VmView,
} from '../../src/policy/answers.ts';
import type { PurgeQuestion } from '../../src/policy/purge.ts';
import { noFigures, type ServiceFiguresAnswer } from '../../src/policy/service-figures.ts';
import { metricsText } from '../../src/policy/service-metrics.ts';

export const STATUS: SystemStatus = {
  controller: { version: '0.1.0', uptimeMs: 61_000, revision: 7, reconciling: null, lastError: null },
  clouds: [{ name: 'lab', state: 'connected', message: '' }],
  hosts: [
    {
      name: 'h1',
      cloud: 'lab',
      isConnected: true,
      maintenance: null,
      vms: 3,
      engine: 'edge-h1',
      uplinkPath: ['spine', 'tor-a'],
      uplinkSource: 'hints',
    },
  ],
  engines: [
    {
      id: 'edge-h1',
      host: 'h1',
      group: 'edge',
      state: 'ready',
      message: '',
      datapath: 'AF_PACKET',
      graphRevision: 4,
      wantedRevision: 5,
      flows: 12,
      newFlows: 100,
      evictedFlows: 0,
      receivedPackets: 1_234_567,
      sentPackets: 99,
      path: {
        kernelPackets: 900,
        kernelBytes: 90_000,
        typescriptPackets: 100,
        upcalls: 100,
        refused: 0,
        held: 0,
        bypassed: 0,
      },
      drops: { 'firewall-deny': 3, malformed: 0 },
      rules: {},
    },
  ],
  services: [{ name: 'web', state: 'serving', addresses: ['10.77.0.101', 'fd77::101'], message: '' }],
  pools: [
    {
      name: 'shop',
      min: 1,
      max: 8,
      state: 'growing',
      wanted: 3,
      message: '19 connections per member, target 10',
      figures: { size: 3, serving: 2, coming: 1, leaving: 0, connectionsPerMember: 19, cpuPercent: null },
      clones: [{ vm: 'shop-1', host: 'h1', phase: 'starting', since: '', message: 'it is not up yet' }],
      decisions: [],
    },
  ],
  members: [
    {
      member: 'lab/1/eth0',
      vm: 'app1\u001b[2J',
      host: 'h1',
      pool: 'shop',
      health: 'up',
      reason: '',
      isIntercepted: true,
      cpuPercent: 12,
      memoryBytes: 96_000_000,
      receivedBytesPerSecond: null,
      sentBytesPerSecond: null,
      connections: 5,
      views: { 'edge-h1': { hops: 0, load: 5 } },
    },
  ],
  operations: [
    { step: 'deploy-engine', object: 'host h2', state: 'retrying', attempts: 2, message: 'no room' },
  ],
};

export class InMemoryBackend implements Backend {
  readonly planned: (readonly ProposedChange[])[] = [];
  readonly traced: TraceRequest[] = [];
  readonly listed: FlowsRequest[] = [];
  readonly explained: [string, string | null][] = [];
  readonly adopted: [string, string][] = [];
  /** Part of the answer of `adoption`. */
  found: Partial<Adoption> = {};
  /** Thrown by every method, where set. */
  error: Error | null = null;

  async plan(changes: readonly ProposedChange[]) {
    if (this.error) throw this.error;
    this.planned.push(changes);
    return changes.map(({ kind, name }) => ({
      step: 'push-graph',
      object: `${kind} ${name}`,
      reason: 'the policy changed',
      undo: null,
    }));
  }

  async explain(service: string, from: string | null) {
    this.explained.push([service, from]);
    return [];
  }

  async explainPool(pool: string, vm: string | null): Promise<MembershipExplanation> {
    this.explained.push([pool, vm]);
    return { pool, cloud: 'lab', cloudMessage: '', considered: 0, members: 0, vms: [], omitted: 0 };
  }

  async explainHost(host: string): Promise<HostExplanation[]> {
    if (this.error) throw this.error;
    this.explained.push([host, null]);
    return [];
  }

  async firewall(policy: string, limit: number): Promise<FirewallView> {
    this.explained.push([policy, String(limit)]);
    return {
      policy,
      services: ['web'],
      rules: [
        { rule: 'banned', action: 'deny', packets: 7, limited: 0 },
        { rule: 'logins', action: 'rate-limit', packets: 90, limited: 40 },
        { rule: 'default', action: 'allow', packets: 1, limited: 0 },
      ],
      log: [
        {
          time: '2026-01-02T03:04:05.000Z',
          engine: 'edge-h1',
          service: 'web',
          policy,
          rule: 'banned',
          verdict: 'denied',
          protocol: 'tcp',
          from: '192.0.2.1',
          fromPort: 40000,
          to: '10.0.0.1',
          toPort: 80,
          member: null,
        },
      ],
      silent: [],
    };
  }

  async trace(request: TraceRequest) {
    this.traced.push(request);
    return { service: request.service, packet: 'p', hops: [], outcome: 'bridged' };
  }

  async flows(request: FlowsRequest): Promise<FlowsAnswer> {
    if (this.error) throw this.error;
    this.listed.push(request);
    return { flows: [], matched: 0, total: 0, engines: [], failures: [] };
  }

  async serviceFigures(service: string): Promise<ServiceFiguresAnswer> {
    return { service, engines: [{ engine: 'e1', host: 'h1', figures: noFigures() }], failures: [] };
  }

  async metrics(): Promise<string> {
    return metricsText([{ labels: { service: 'web', engine: 'e1' }, figures: noFigures() }]);
  }

  readonly purged: PurgeQuestion[] = [];

  async purge(question: PurgeQuestion): Promise<PurgeAnswer> {
    if (this.error) throw this.error;
    this.purged.push(question);
    return { purged: 0, engines: [], failures: [] };
  }

  /** Chunks that a capture gives one after another, as long as nobody ends it. */
  chunks: Uint8Array[] = [];
  lastChunk: Uint8Array = Buffer.from('end');
  readonly captured: CaptureRequest[] = [];
  /** How captures came to their end. */
  readonly captureEnds: ('over' | 'ended' | 'gone')[] = [];

  async *capture(request: CaptureRequest, ending: AbortSignal, signal: AbortSignal) {
    if (this.error) throw this.error;
    this.captured.push(request);
    try {
      yield* this.chunks;
      const either = AbortSignal.any([ending, signal]);
      if (request.seconds > 1 && !either.aborted) {
        await new Promise((resolve) => either.addEventListener('abort', resolve, { once: true }));
      }
      if (!signal.aborted) yield this.lastChunk;
    } finally {
      this.captureEnds.push(signal.aborted ? 'gone' : ending.aborted ? 'ended' : 'over');
    }
  }

  async takeOver(cloud: string) {
    return { cloud, waitsFor: null };
  }

  async vm(cloud: string, vm: string): Promise<VmView> {
    const nothing = { services: [], others: [], path: [] };
    return { cloud, vm, name: 'app1', host: 'h1', power: 'on', ownEngine: null, ...nothing };
  }

  async host(cloud: string, host: string): Promise<HostView> {
    const nothing = { engines: [], operations: [], why: '' };
    return { cloud, host, name: 'h1', isConnected: true, isInMaintenance: false, ...nothing };
  }

  async adoption(cloud: string): Promise<Adoption> {
    const nothing = {
      engines: [],
      nics: [],
      segments: [],
      clones: [],
      allowances: [],
      warnings: [],
      steps: [],
    };
    return {
      ...nothing,
      keptPolicy: null,
      ...this.found,
      cloud,
      isHeld: true,
      fingerprint: '0123456789abcdef',
    };
  }

  async adopt(cloud: string, fingerprint: string) {
    this.adopted.push([cloud, fingerprint]);
    return this.adoption(cloud);
  }

  async status() {
    if (this.error) throw this.error;
    return STATUS;
  }
}
