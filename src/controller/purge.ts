/** Takes stored responses out of the caches of all engines that carry a service. */
import type { EnginePurge, PurgeAnswer } from '../policy/answers.ts';
import { WeftError } from '../policy/errors.ts';
import type { PurgeQuestion } from '../policy/purge.ts';
import type { Desired } from './desired.ts';
import type { Ask } from './trace.ts';

/**
 * Engines that do not answer are named in `failures`: what they have stored stays. Throws ERR_ENGINE_UNREACHABLE where
 * none carries the service.
 */
export async function purgeEngines(
  question: PurgeQuestion,
  desired: Desired,
  ask: Ask,
  isConnected: (engine: string) => boolean,
  signal: AbortSignal,
): Promise<PurgeAnswer> {
  const { service } = question;
  const engines = [...desired.engines.values()].filter(({ services }) => services.includes(service));
  if (engines.length === 0) {
    throw new WeftError(
      'ERR_ENGINE_UNREACHABLE',
      `no engine carries virtual-service ${service}: see weft status`,
    );
  }
  const answers = await Promise.allSettled(
    engines.map(async ({ id }) => {
      if (!isConnected(id)) throw new Error('is not connected to the controller');
      return (await ask(id, 'purge', question)) as EnginePurge;
    }),
  );
  signal.throwIfAborted();
  const all: PurgeAnswer = { purged: 0, engines: [], failures: [] };
  for (const [index, { id, hostName }] of engines.entries()) {
    const answer = answers[index]!;
    if (answer.status === 'rejected') {
      all.failures.push({ engine: id, message: (answer.reason as Error).message });
      continue;
    }
    all.purged += answer.value.purged;
    all.engines.push({ engine: id, host: hostName, purged: answer.value.purged });
  }
  return all;
}
