/** What the engines that proxy a service have done for it: each is asked. */
import { WeftError } from '../policy/errors.ts';
import type { ServiceFigures, ServiceFiguresAnswer } from '../policy/service-figures.ts';
import type { LabelledFigures } from '../policy/service-metrics.ts';
import type { Desired } from './desired.ts';
import { enginesOf } from './flows.ts';
import type { Ask } from './trace.ts';

/** What an engine answers: figures by service, of that one or of all it proxies. */
export type EngineServiceFigures = Record<string, ServiceFigures>;

/**
 * Of one service, by engine. Throws ERR_NOT_FOUND (no engine proxies it: it has no `http`), ERR_ENGINE_UNREACHABLE;
 * where no engine answers, the error of one of them.
 */
export async function serviceFigures(
  service: string,
  names: boolean,
  desired: Desired,
  ask: Ask,
  isConnected: (engine: string) => boolean,
  signal: AbortSignal,
): Promise<ServiceFiguresAnswer> {
  if (desired.policies.services.get(service)?.http === undefined) {
    throw new WeftError(
      'ERR_NOT_FOUND',
      `engines do not proxy virtual-service ${service}: it has no "http"; "weft flows --service ${service}" shows its connections`,
    );
  }
  const engines = enginesOf(null, service, desired, isConnected);
  const answers = await Promise.allSettled(
    engines.map(
      async ({ id }) => (await ask(id, 'serviceFigures', { service, names })) as EngineServiceFigures,
    ),
  );
  signal.throwIfAborted();
  const all: ServiceFiguresAnswer = { service, engines: [], failures: [] };
  for (const [index, { id, hostName }] of engines.entries()) {
    const answer = answers[index]!;
    if (answer.status === 'rejected') {
      all.failures.push({ engine: id, message: (answer.reason as Error).message });
      continue;
    }
    const figures = answer.value[service];
    if (figures === undefined) all.failures.push({ engine: id, message: 'does not proxy the service yet' });
    else all.engines.push({ engine: id, host: hostName, figures });
  }
  const failed = answers.find((answer) => answer.status === 'rejected');
  if (all.engines.length === 0 && failed) throw failed.reason;
  return all;
}

/** Of all services, for Prometheus; engines that do not answer are left out. */
export async function allFigures(
  desired: Desired,
  ask: Ask,
  isConnected: (engine: string) => boolean,
  signal: AbortSignal,
): Promise<LabelledFigures[]> {
  const proxied = new Set(
    [...desired.policies.services].filter(([, spec]) => spec.http !== undefined).map(([name]) => name),
  );
  const engines = [...desired.engines.values()].filter(
    ({ id, services }) => isConnected(id) && services.some((service) => proxied.has(service)),
  );
  const answers = await Promise.allSettled(
    engines.map(
      async ({ id }) =>
        (await ask(id, 'serviceFigures', { service: null, names: false })) as EngineServiceFigures,
    ),
  );
  signal.throwIfAborted();
  return answers.flatMap((answer, index) =>
    answer.status === 'rejected'
      ? []
      : Object.entries(answer.value).map(([service, figures]) => ({
          labels: { service, engine: engines[index]!.id },
          figures,
        })),
  );
}
