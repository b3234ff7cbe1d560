/**
 * What the REST API asks of the rest of the controller. The API never imports controller or engine code: the
 * program that starts both (cli/controller.ts) hands it an implementation of this.
 */
import type {
  Adoption,
  Explanation,
  FirewallView,
  FlowQuestion,
  FlowsAnswer,
  HostExplanation,
  HostView,
  MembershipExplanation,
  PurgeAnswer,
  StepSummary,
  SystemStatus,
  TakeOver,
  Trace,
  VmView,
} from '../policy/answers.ts';
import type { PurgeQuestion } from '../policy/purge.ts';
import type { ServiceFiguresAnswer } from '../policy/service-figures.ts';

/** A change that a user considers: an object as it would be, or its deletion. */
export type ProposedChange =
  | { kind: string; name: string; spec: unknown }
  | { kind: string; name: string; delete: true };

export interface Backend {
  /** The steps that the changes would cause, performing none. Without changes: what is still to be done. */
  plan(changes: readonly ProposedChange[], signal: AbortSignal): Promise<StepSummary[]>;
  /** Every concerned engine's view of a service. `from` is the client address the choice is explained for. */
  explain(service: string, from: string | null, signal: AbortSignal): Promise<Explanation[]>;
  /** Why VMs are members of a pool or are not: one VM by name or id, or the members and those that nearly fit. */
  explainPool(pool: string, vm: string | null, signal: AbortSignal): Promise<MembershipExplanation>;
  /** Hosts of that name or id: their place in the network, and where it is known from. */
  explainHost(host: string, signal: AbortSignal): Promise<HostExplanation[]>;
  /** What the rules of a firewall policy do, with at most `limit` entries of their log. */
  firewall(policy: string, limit: number, signal: AbortSignal): Promise<FirewallView>;
  /** The way of a packet from an address to a service. */
  trace(request: TraceRequest, signal: AbortSignal): Promise<Trace>;
  /** The flows of every engine, or of one. Throws ERR_NOT_FOUND for an engine or a member that there is not. */
  flows(request: FlowsRequest, signal: AbortSignal): Promise<FlowsAnswer>;
  /**
   * What the engines see of a service, as chunks of a pcapng file. `ending` ends it in good order, `signal` at once.
   * Its errors come before the first chunk.
   */
  capture(request: CaptureRequest, ending: AbortSignal, signal: AbortSignal): AsyncIterable<Uint8Array>;
  /** What the engines that proxy a service have done for it. Throws ERR_NOT_FOUND where it has no `http`. */
  serviceFigures(service: string, names: boolean, signal: AbortSignal): Promise<ServiceFiguresAnswer>;
  /** What the engines do for all services that they proxy, as Prometheus reads it. */
  metrics(signal: AbortSignal): Promise<string>;
  /** Takes stored responses of a service, which has a cache, out at all engines. */
  purge(question: PurgeQuestion, signal: AbortSignal): Promise<PurgeAnswer>;
  status(): Promise<SystemStatus>;
  /** Makes a cloud this controller's that another one drives, which lets go first. */
  takeOver(cloud: string, signal: AbortSignal): Promise<TakeOver>;
  /** What Weft is to a VM or a host, by its id in its cloud. Throws ERR_NOT_FOUND. */
  vm(cloud: string, id: string, signal: AbortSignal): Promise<VmView>;
  host(cloud: string, id: string, signal: AbortSignal): Promise<HostView>;
  /** What an earlier controller left in a cloud, and what adopting it would do. */
  adoption(cloud: string, signal: AbortSignal): Promise<Adoption>;
  /** Adopts it, where it is still what bears the fingerprint; else ERR_REVISION_CONFLICT. */
  adopt(cloud: string, fingerprint: string, signal: AbortSignal): Promise<Adoption>;
}

/** Which flows, and of which engine; null: of all. */
export interface FlowsRequest extends FlowQuestion {
  engine: string | null;
}

/** What is captured, and how much at most. */
export interface CaptureRequest {
  service: string;
  /** Null: at every engine that carries the service. */
  engine: string | null;
  /** An address or prefix of clients; null: all. */
  client: string | null;
  seconds: number;
  /** Frames. */
  packets: number;
  /** Bytes of each frame. */
  snap: number;
}

export interface TraceRequest {
  service: string;
  from: string;
  /** Source port; an unused one is taken where none is named. */
  fromPort?: number | undefined;
  /** Service address; the first of the first tier, in the family of `from`, where none is named. */
  to?: string | undefined;
  port?: number | undefined;
  /** The engine the packet enters by; the one that the address leads to where none is named. */
  engine?: string | undefined;
}
