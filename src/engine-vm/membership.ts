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

/** What the appliance was told at first boot, or since. Throws ERR_BODY_INVALID or ERR_NOT_FOUND, naming the file. */
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
/** How often it is looked whether the engine has been told something else. */
const TOLD_MS = 1000;
/** An enrolment that has not worked by then is begun again with what the engine is told by now. */
const ENROL_MS = 20_000;
const RENEWAL_LOOK_MS = 60_000;
const RENEWAL_LOOK_MIN_MS = 500;

/**
 * Enrols where that was not done yet, repeating until it succeeds, and returns the link to the shared state, which
 * then connects in the background. From then on the certificate is renewed at two thirds of its life; the link that
 * is up stays up, and the next connection uses the new one. Where the properties name another controller or authority
 * (its store was lost, and what runs was adopted), the engine enrols there, and the link goes there; what it forwards is
 * not touched. Rejects with the signal's reason only.
 */
export async function joinSystem(options: MembershipOptions): Promise<SharedState> {
  const { epoch, log, signal } = options;
  let membership = await enrolForever(options);
  log.info({ expiresAt: new Date(membership.identity.expiresAt).toISOString() }, 'enrolled');
  const shared = connectShared({
    url: () => membership.properties.controller,
    identity: () => membership.identity,
    writer: membership.properties.engine,
    epoch,
    log,
  });
  void keepMembership(options, membership, (next) => {
    membership = next;
  }).catch((error: Error) => {
    if (!signal.aborted) log.error({ err: error }, 'the certificate is no longer renewed');
  });
  return shared;
}

interface Membership {
  identity: EngineIdentity;
  properties: Properties;
}

async function enrolForever(options: MembershipOptions): Promise<Membership> {
  const { configPath, stateDir, log, signal } = options;
  for (;;) {
    const limit = AbortSignal.timeout(ENROL_MS);
    try {
      // Read each time: the way out of a refusal is another token in the file.
      const properties = await readProperties(configPath);
      const identity = await enrol({
        ...properties,
        stateDir,
        signal: AbortSignal.any([signal, limit]),
        onRetry: (error) => log.warn({ reason: error.message }, 'the controller cannot be reached to enrol'),
      });
      return { identity, properties };
    } catch (error) {
      signal.throwIfAborted();
      if (limit.aborted) continue;
      log.error({ err: error }, 'enrolment failed; the data plane goes on without');
      await pause(REFUSED_MS, signal);
    }
  }
}

async function keepMembership(
  options: MembershipOptions,
  first: Membership,
  use: (membership: Membership) => void,
): Promise<void> {
  const { log, signal } = options;
  let { identity, properties } = first;
  let renewalLookAt = 0;
  const lookLater = (): void => {
    const left = identity.expiresAt - Date.now();
    const ms = Math.max(RENEWAL_LOOK_MIN_MS, Math.min(RENEWAL_LOOK_MS, left / 20));
    renewalLookAt = performance.now() + ms * jitter();
  };
  lookLater();
  for (;;) {
    const untilLookMs = Math.max(renewalLookAt - performance.now(), 0);
    await delay(Math.min(untilLookMs, TOLD_MS * jitter()), undefined, { signal });
    if (await isToldOtherwise(options.configPath, properties)) {
      log.info('told of another controller: enrolling there');
      ({ identity, properties } = await enrolForever(options));
      use({ identity, properties });
      log.info({ controller: properties.controller }, 'enrolled anew');
      lookLater();
      continue;
    }
    if (performance.now() < renewalLookAt) continue;
    lookLater();
    if (!renewalDue(identity, Date.now())) continue;
    const renewed = await renewOrEnrol(options, { identity, properties });
    if (!renewed) continue;
    ({ identity, properties } = renewed);
    use(renewed);
    log.info({ expiresAt: new Date(identity.expiresAt).toISOString() }, 'certificate renewed');
  }
}

/** Null where the engine has been told of another controller meanwhile. */
async function renewOrEnrol(
  options: MembershipOptions,
  { identity, properties }: Membership,
): Promise<Membership | null> {
  const { configPath, stateDir, log, signal } = options;
  const { controller } = properties;
  const told = new AbortController();
  const looking = setInterval(async () => {
    if (await isToldOtherwise(configPath, properties)) told.abort();
  }, TOLD_MS);
  try {
    const renewed = await renew({
      controller,
      identity,
      stateDir,
      signal: AbortSignal.any([signal, told.signal]),
      onRetry: (error) => log.warn({ reason: error.message }, 'the controller cannot be reached to renew'),
    });
    return { identity: renewed, properties };
  } catch (error) {
    signal.throwIfAborted();
    if (told.signal.aborted) return null;
    // Expired or revoked. What helps is what helped at first: a token, if somebody has put a new one there.
    log.error({ err: error }, 'the certificate was not renewed');
    await pause(REFUSED_MS, signal);
    return enrolForever(options);
  } finally {
    clearInterval(looking);
  }
}

/** Another token alone is nothing new: it is for an engine that has yet to enrol. */
async function isToldOtherwise(configPath: string, { controller, ca }: Properties): Promise<boolean> {
  // Half written, or gone: what the engine has goes on.
  const told = await readProperties(configPath).catch(() => null);
  return told !== null && (told.controller !== controller || told.ca !== ca);
}

/** Waits with a quarter of jitter, so that a thousand engines do not move in step. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return delay(ms * jitter(), undefined, { signal });
}

function jitter(): number {
  return 0.75 + Math.random() / 2;
}
