/**
 * The engine's place in the system: enrolment with the one-time token, the link to the shared state, and a certificate
 * that is renewed in time. All of it in the background and for ever: the data plane waits for none of it.
 */
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { z } from 'zod';
import { type EngineIdentity, enrol, renew, renewalDue } from '../pki/enrolment.ts';
import { WeftError } from '../policy/errors.ts';
import { isEngineId } from '../state/identity.ts';
import type { SharedState } from '../state/shared.ts';
import { connectShared } from '../state/shared-client.ts';

/** As `EngineProperties` of the hypervisor contract, which this folder does not know. */
const Properties = z.object({
  engine: z.string().refine(isEngineId, 'is no engine id'),
  controller: z.url({ protocol: /^https$/ }),
  ca: z.string().includes('BEGIN CERTIFICATE'),
  token: z.string().min(1),
});

type Properties = z.output<typeof Properties>;

/** What the appliance was told at first boot. Throws ERR_BODY_INVALID or ERR_NOT_FOUND, naming the file. */
export async function readProperties(configPath: string): Promise<Properties> {
  let text: string;
  try {
    text = await readFile(configPath, 'utf8');
  } catch (cause) {
    throw new WeftError('ERR_NOT_FOUND', `${configPath} cannot be read: ${(cause as Error).message}`, {
      cause,
    });
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    // The parser quotes the text, and the text holds the token: so no cause.
    void cause;
    throw new WeftError('ERR_BODY_INVALID', `${configPath} is not JSON`);
  }
  const parsed = Properties.safeParse(value);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(({ path, message }) => ({ path: `$.${path.join('.')}`, message }));
  const list = problems.map(({ path, message }) => `${path}: ${message}`).join('; ');
  throw new WeftError('ERR_BODY_INVALID', `${configPath} does not describe an engine: ${list}`, { problems });
}

export interface MembershipOptions {
  configPath: string;
  stateDir: string;
  epoch: number;
  log: Logger;
  signal: AbortSignal;
}

/** A refusal is not repeated at once: nothing changes until somebody gives the engine another token. */
const REFUSED_MS = 10_000;
const RENEWAL_LOOK_MS = 60_000;
const RENEWAL_LOOK_MIN_MS = 500;

/**
 * Enrols where that was not done yet, repeating until it succeeds, and returns the link to the shared state, which
 * then connects in the background. From then on the certificate is renewed at two thirds of its life; the link that
 * is up stays up, and the next connection uses the new one. Rejects with the signal's reason only.
 */
export async function joinSystem(options: MembershipOptions): Promise<SharedState> {
  const { epoch, log, signal } = options;
  const { identity, properties } = await enrolForever(options);
  let current = identity;
  log.info({ expiresAt: new Date(current.expiresAt).toISOString() }, 'enrolled');
  const shared = connectShared({
    url: properties.controller,
    identity: () => current,
    writer: properties.engine,
    epoch,
    log,
  });
  void keepRenewed(options, properties.controller, current, (renewed) => {
    current = renewed;
  }).catch((error: Error) => {
    if (!signal.aborted) log.error({ err: error }, 'the certificate is no longer renewed');
  });
  return shared;
}

async function enrolForever(
  options: MembershipOptions,
): Promise<{ identity: EngineIdentity; properties: Properties }> {
  const { configPath, stateDir, log, signal } = options;
  for (;;) {
    try {
      // Read each time: the way out of a refusal is another token in the file.
      const properties = await readProperties(configPath);
      const identity = await enrol({
        ...properties,
        stateDir,
        signal,
        onRetry: (error) => log.warn({ reason: error.message }, 'the controller cannot be reached to enrol'),
      });
      return { identity, properties };
    } catch (error) {
      signal.throwIfAborted();
      log.error({ err: error }, 'enrolment failed; the data plane goes on without');
      await pause(REFUSED_MS, signal);
    }
  }
}

async function keepRenewed(
  { configPath, stateDir, log, signal }: MembershipOptions,
  controller: string,
  first: EngineIdentity,
  use: (identity: EngineIdentity) => void,
): Promise<void> {
  let identity = first;
  for (;;) {
    const left = identity.expiresAt - Date.now();
    await pause(Math.max(RENEWAL_LOOK_MIN_MS, Math.min(RENEWAL_LOOK_MS, left / 20)), signal);
    if (!renewalDue(identity, Date.now())) continue;
    try {
      identity = await renew({
        controller,
        identity,
        stateDir,
        signal,
        onRetry: (error) => log.warn({ reason: error.message }, 'the controller cannot be reached to renew'),
      });
    } catch (error) {
      signal.throwIfAborted();
      // Expired or revoked. What helps is what helped at first: a token, if somebody has put a new one there.
      log.error({ err: error }, 'the certificate was not renewed');
      await pause(REFUSED_MS, signal);
      identity = (await enrolForever({ configPath, stateDir, log, signal, epoch: 0 })).identity;
    }
    use(identity);
    log.info({ expiresAt: new Date(identity.expiresAt).toISOString() }, 'certificate renewed');
  }
}

/** Waits with a quarter of jitter, so that a thousand engines do not move in step. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return delay(ms * (0.75 + Math.random() / 2), undefined, { signal });
}
