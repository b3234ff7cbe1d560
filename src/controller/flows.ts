/** The flows of all engines as one list: asks each for its first ones, and puts the answers together. */
import type { FlowsRequest } from '../api/backend.ts';
import type { EngineFlows, FlowListing, FlowSort, FlowsAnswer } from '../policy/answers.ts';
import { WeftError } from '../policy/errors.ts';
import { nearestName } from '../policy/nearest-name.ts';
import type { Desired, WantedEngine } from './desired.ts';
import type { Ask } from './trace.ts';

/** Throws ERR_NOT_FOUND (engine, member), ERR_ENGINE_UNREACHABLE; where no engine answers, the error of one of them. */
export async function gatherFlows(
  request: FlowsRequest,
  desired: Desired,
  ask: Ask,
  isConnected: (engine: string) => boolean,
  signal: AbortSignal,
): Promise<FlowsAnswer> {
  const { engine, ...question } = request;
  if (question.member !== null) checkMember(question.member, desired);
  const engines = enginesOf(engine, question.service, desired, isConnected);
  const answers = await Promise.allSettled(engines.map(({ id }) => ask(id, 'flows', question)));
  signal.throwIfAborted();
  const gathered: FlowsAnswer = { flows: [], matched: 0, total: 0, engines: [], failures: [] };
  for (const [index, { id, hostName }] of engines.entries()) {
    const answer = answers[index]!;
    if (answer.status === 'rejected') {
      gathered.failures.push({ engine: id, message: (answer.reason as Error).message });
      continue;
    }
    const { flows, matched, total } = answer.value as EngineFlows;
    gathered.matched += matched;
    gathered.total += total;
    gathered.engines.push({ engine: id, host: hostName, matched, total });
    for (const flow of flows) gathered.flows.push({ engine: id, host: hostName, ...flow });
  }
  const failed = answers.find((answer) => answer.status === 'rejected');
  if (gathered.engines.length === 0 && failed) throw failed.reason;
  gathered.flows.sort((a, b) => figureOf(b, question.sort) - figureOf(a, question.sort));
  gathered.flows.length = Math.min(gathered.flows.length, question.limit);
  return gathered;
}

/**
 * The engine of that name, or those that carry the service, or all: those that are connected. Throws ERR_NOT_FOUND,
 * and ERR_ENGINE_UNREACHABLE where none is.
 */
export function enginesOf(
  engine: string | null,
  service: string | null,
  desired: Desired,
  isConnected: (engine: string) => boolean,
): WantedEngine[] {
  if (engine !== null && !desired.engines.has(engine)) {
    const near = nearestName(engine, [...desired.engines.keys()]);
    const hint = near === undefined ? '"weft status" lists the engines' : `did you mean "${near}"?`;
    throw new WeftError('ERR_NOT_FOUND', `there is no engine "${engine}"; ${hint}`);
  }
  const meant = [...desired.engines.values()].filter(
    ({ id, services }) =>
      engine === id || (engine === null && (service === null || services.includes(service))),
  );
  const engines = meant.filter(({ id }) => isConnected(id));
  if (engines.length > 0) return engines;
  const which =
    engine !== null
      ? `engine ${engine} is not connected`
      : service !== null
        ? `no engine that carries virtual-service ${service} is connected`
        : 'no engine is connected';
  throw new WeftError('ERR_ENGINE_UNREACHABLE', `${which} to the controller: see weft status`);
}

function checkMember(name: string, desired: Desired): void {
  const members = [...desired.members.values()];
  if (desired.members.has(name) || members.some(({ vm }) => vm.name === name)) return;
  const near = nearestName(name, [...new Set(members.map(({ vm }) => vm.name))]);
  const hint = near === undefined ? '"weft status" lists the members' : `did you mean "${near}"?`;
  throw new WeftError('ERR_NOT_FOUND', `no VM "${name}" is a member of any pool; ${hint}`);
}

function figureOf(flow: FlowListing, sort: FlowSort): number {
  const { bytes, packets, idleMs, ageMs } = flow;
  return { bytes, packets, idle: idleMs, age: ageMs }[sort];
}
