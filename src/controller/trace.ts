/** Follows one packet from engine to engine: asks each what it would do, and puts the answers together. */
import { isIPv6 } from 'node:net';
import type { TraceRequest } from '../api/backend.ts';
import type { Trace, TraceAnswer, TraceQuestion } from '../policy/answers.ts';
import { WeftError } from '../policy/errors.ts';
import type { VirtualServiceSpec } from '../policy/virtual-service.ts';
import { type Actual, isForwarding } from './actual.ts';
import { announcersOf, isNear } from './announce.ts';
import type { Desired, WantedEngine } from './desired.ts';

/** Asks an engine; the hub's request. */
export type Ask = (engine: string, method: string, params: unknown) => Promise<unknown>;

/** More engines than a packet can meet: every tier's entry and member engine. */
const MOST_HOPS = 20;

/** Throws ERR_NOT_FOUND (service, address, engine), ERR_ENGINE_UNREACHABLE, ERR_TIMEOUT. */
export async function traceFlow(
  request: TraceRequest,
  desired: Desired,
  actual: Actual,
  ask: Ask,
  signal: AbortSignal,
): Promise<Trace> {
  const spec = desired.policies.services.get(request.service);
  if (!spec) throw new WeftError('ERR_NOT_FOUND', `there is no virtual-service ${request.service}`);
  const { to, port } = destination(request, spec);
  const question: TraceQuestion = {
    service: request.service,
    from: request.from,
    // From the dynamic range (RFC 6335 section 6); which one hardly matters, as nothing is sent.
    fromPort: request.fromPort ?? 49_152 + Math.floor(Math.random() * 16_384),
    to,
    port,
    balancedTo: null,
  };
  let engine = request.engine ?? entryEngine(request.service, to, desired, actual);
  const trace: Trace = { service: request.service, packet: '', hops: [], outcome: '' };
  for (let count = 0; count < MOST_HOPS; count++) {
    signal.throwIfAborted();
    const answer = asAnswer(await ask(engine, 'trace', question), engine);
    trace.packet ||= answer.packet;
    trace.hops.push(answer.hop);
    if (answer.next === null) {
      trace.outcome = answer.outcome ?? 'the engine does not say';
      return trace;
    }
    question.balancedTo = answer.next.member;
    engine = answer.next.engine;
  }
  trace.outcome = `dropped: it met ${MOST_HOPS} engines and would go on`;
  return trace;
}

/** The engine that a packet to the address meets first. Throws ERR_NOT_FOUND where there is none. */
export function entryEngine(service: string, to: string, desired: Desired, actual: Actual): string {
  const carriers = [...desired.engines.values()].filter((engine) => engine.services.includes(service));
  const owner = actual.world.owners.get(to);
  if (owner) {
    const beside = carriers.find((e) => e.cloud === owner.cloud && e.host === owner.host.id);
    if (beside && isForwarding(actual.engines.get(beside.id))) return beside.id;
    throw new WeftError(
      'ERR_NOT_FOUND',
      `address ${to} belongs to ${owner.vm.name} on host ${owner.host.name}, where no engine is in service: its packets are not balanced; name an engine with --engine to ask it anyway`,
    );
  }
  const [first] = liveAnnouncers(service, to, carriers, desired, actual);
  if (first !== undefined) return first;
  throw new WeftError(
    'ERR_NOT_FOUND',
    `no engine in service announces ${to} for virtual-service ${service}: see weft status`,
  );
}

function liveAnnouncers(
  service: string,
  to: string,
  carriers: readonly WantedEngine[],
  desired: Desired,
  actual: Actual,
): string[] {
  const existing = carriers
    .filter((e) => actual.world.engineVms.get(e.id)?.some(({ vm }) => vm.host === e.host) === true)
    .map((engine) => engine.id)
    .sort();
  const isRouted = desired.policies.services.get(service)?.attraction === 'bgp';
  const tier = desired.policies.services.get(service)?.tiers.find((t) => t.addresses.includes(to));
  const announced = tier?.addresses.filter((address) => !actual.world.owners.has(address)) ?? [];
  const order = announcersOf(announced, existing, isRouted ? () => false : isNear(desired)).get(to) ?? [];
  return order.filter((engine) => isForwarding(actual.engines.get(engine)));
}

function destination(request: TraceRequest, spec: VirtualServiceSpec): { to: string; port: number } {
  const wantsIpv6 = isIPv6(request.from);
  const to = request.to ?? spec.tiers[0]?.addresses.find((address) => isIPv6(address) === wantsIpv6);
  if (to === undefined) {
    throw new WeftError(
      'ERR_NOT_FOUND',
      `virtual-service ${request.service} has no address in the family of ${request.from}: name one with --to`,
    );
  }
  const tiers = spec.tiers.filter((tier) => tier.addresses.includes(to));
  const tier = tiers.find((candidate) => candidate.port === request.port) ?? tiers[0];
  if (!tier && request.port === undefined) {
    const known = spec.tiers.flatMap((candidate) => candidate.addresses).join(', ');
    throw new WeftError(
      'ERR_NOT_FOUND',
      `${to} is no address of virtual-service ${request.service}; it has ${known}`,
    );
  }
  return { to, port: request.port ?? tier?.port ?? 0 };
}

function asAnswer(value: unknown, engine: string): TraceAnswer {
  const answer = value as Partial<TraceAnswer> | null;
  if (typeof answer !== 'object' || answer === null || answer.hop === undefined) {
    throw new WeftError('ERR_INTERNAL', `engine ${engine} answered a trace with something unknown`);
  }
  return {
    packet: answer.packet ?? '',
    hop: answer.hop,
    outcome: answer.outcome ?? null,
    next: answer.next ?? null,
  };
}
