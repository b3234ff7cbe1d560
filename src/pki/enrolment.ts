/**
 * The engine's side of the PKI: obtaining a certificate with a one-time token, keeping it on disk, renewing it.
 *
 * TLS 1.3 to the one CA the engine was given; the controller is known by the URI in its certificate.
 */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { chmod, mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { request } from 'node:https';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { WeftError } from '../policy/errors.ts';
import { checkControllerIdentity, engineOfCertificate, type Identity } from '../state/identity.ts';
import { generateKey, keyPem } from './certificate.ts';
import { createRequest } from './certificate-request.ts';

export interface EngineIdentity extends Identity {
  /** Wall clock, milliseconds. */
  expiresAt: number;
}

export interface EnrolOptions {
  /** `https://host:port` of the controller's hub. */
  controller: string;
  /** PEM of the controller's CA: the only one trusted. */
  ca: string;
  engine: string;
  token: string;
  /** Where the identity is kept (made 0700). */
  stateDir: string;
  signal: AbortSignal;
  /** Told of each failed attempt. */
  onRetry?: (error: Error) => void;
}

export interface RenewOptions {
  controller: string;
  identity: EngineIdentity;
  stateDir: string;
  signal: AbortSignal;
  onRetry?: (error: Error) => void;
}

/**
 * The stored identity where it is valid for this engine and CA; otherwise enrols, repeating for as long as the
 * controller is out of reach. Rejects with ERR_ENROLMENT_REFUSED, which is final, or the signal's reason.
 */
export async function enrol(options: EnrolOptions): Promise<EngineIdentity> {
  const { engine, stateDir, ca } = options;
  await mkdir(stateDir, { recursive: true, mode: 0o700 });
  await chmod(stateDir, 0o700);
  const stored = await loadIdentity(stateDir);
  if (stored !== undefined && fits(stored, engine, ca)) return stored;

  // The key is kept before it is used: where a reply is lost, even over a crash, the same key may ask again.
  const key = await pendingKey(stateDir);
  const issued = await persevere(options, () =>
    post(options.controller, '/enrol', ca, undefined, options.signal, {
      token: options.token,
      engine,
      csr: createRequest(engine, key),
    }),
  );
  return keep(stateDir, engine, ca, key, issued);
}

/** True once two thirds of the certificate's life are over. */
export function renewalDue(identity: EngineIdentity, nowMs: number): boolean {
  const from = new X509Certificate(identity.certificate).validFromDate.getTime();
  return nowMs >= from + ((identity.expiresAt - from) * 2) / 3;
}

/**
 * A new certificate for a new key, stored in place of the old one. Rejects with ERR_ENROLMENT_REFUSED where the old
 * one is expired or revoked (enrol with a new token), or the signal's reason.
 */
export async function renew(options: RenewOptions): Promise<EngineIdentity> {
  const { identity, stateDir } = options;
  const engine = engineOfCertificate(new X509Certificate(identity.certificate));
  if (engine === undefined) throw refused('the stored certificate names no engine: enrol with a new token');
  const key = await pendingKey(stateDir);
  const issued = await persevere(options, () =>
    post(options.controller, '/renew', identity.ca, identity, options.signal, {
      csr: createRequest(engine, key),
    }),
  );
  return keep(stateDir, engine, identity.ca, key, issued);
}

const IDENTITY_FILE = 'identity.json';
const PENDING_KEY_FILE = 'pending-key.pem';
const ATTEMPT_TIMEOUT_MS = 10_000;
const BACK_OFF_MS = { first: 200, most: 10_000 };
const MAX_REPLY_BYTES = 64 * 1024;

const issuedSchema = z.object({ certificate: z.string(), ca: z.string() });
const refusalSchema = z.object({ error: z.object({ code: z.string(), message: z.string() }) });
const identitySchema = z.object({
  certificate: z.string(),
  key: z.string(),
  ca: z.string(),
  expiresAt: z.number(),
});

type Issued = z.infer<typeof issuedSchema>;

async function persevere(
  options: { signal: AbortSignal; onRetry?: (error: Error) => void },
  attempt: () => Promise<Issued>,
): Promise<Issued> {
  let waitMs = BACK_OFF_MS.first;
  for (;;) {
    options.signal.throwIfAborted();
    try {
      return await attempt();
    } catch (error) {
      if (options.signal.aborted) throw options.signal.reason;
      if (error instanceof WeftError && error.code === 'ERR_ENROLMENT_REFUSED') throw error;
      options.onRetry?.(error as Error);
    }
    // A host full of engines that boot at once must not knock at once.
    await delay(waitMs * (0.5 + Math.random()), undefined, { signal: options.signal }).catch(() => {});
    waitMs = Math.min(waitMs * 2, BACK_OFF_MS.most);
  }
}

/** One request. Rejects with ERR_ENROLMENT_REFUSED (final) or ERR_UNREACHABLE (worth repeating). */
function post(
  controller: string,
  path: string,
  ca: string,
  identity: EngineIdentity | undefined,
  signal: AbortSignal,
  body: object,
): Promise<Issued> {
  return new Promise((resolve, reject) => {
    const payload = Buffer.from(JSON.stringify(body));
    const unreachable = (cause: Error) =>
      reject(
        new WeftError(
          'ERR_UNREACHABLE',
          `the controller at ${controller} does not answer as it should (${cause.message}): check the address, the network and the pinned CA`,
          { cause },
        ),
      );
    const outgoing = request(new URL(path, controller), {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'content-length': payload.length },
      ca,
      ...(identity && { cert: identity.certificate, key: identity.key }),
      minVersion: 'TLSv1.3',
      rejectUnauthorized: true,
      checkServerIdentity: checkControllerIdentity,
      agent: false,
      signal: AbortSignal.any([signal, AbortSignal.timeout(ATTEMPT_TIMEOUT_MS)]),
    });
    outgoing.on('error', unreachable);
    outgoing.on('response', (response) => {
      const parts: Buffer[] = [];
      let length = 0;
      response.on('error', unreachable);
      response.on('data', (part: Buffer) => {
        length += part.length;
        if (length > MAX_REPLY_BYTES) outgoing.destroy(new Error('its reply is too long'));
        else parts.push(part);
      });
      response.on('end', () => {
        try {
          const reply: unknown = JSON.parse(Buffer.concat(parts).toString('utf8'));
          const status = response.statusCode ?? 0;
          if (status === 200) return resolve(issuedSchema.parse(reply));
          const { error } = refusalSchema.parse(reply);
          if (status >= 500 || status === 429) return unreachable(new Error(error.message));
          reject(refused(error.message));
        } catch {
          unreachable(new Error(`it answered status ${response.statusCode ?? 0} with something unknown`));
        }
      });
    });
    outgoing.end(payload);
  });
}

/** Checks what was issued and stores it, then forgets the pending key. */
async function keep(
  stateDir: string,
  engine: string,
  ca: string,
  key: KeyObject,
  issued: Issued,
): Promise<EngineIdentity> {
  const identity: EngineIdentity = {
    certificate: issued.certificate,
    key: keyPem(key),
    // The CA stays the one that was given, whatever the reply says.
    ca,
    expiresAt: new X509Certificate(issued.certificate).validToDate.getTime(),
  };
  if (!fits(identity, engine, ca)) {
    throw refused('the controller issued a certificate that does not fit: check the clocks of both ends');
  }
  await replaceFile(join(stateDir, IDENTITY_FILE), JSON.stringify(identity));
  await rm(join(stateDir, PENDING_KEY_FILE), { force: true });
  return identity;
}

function fits(identity: EngineIdentity, engine: string, ca: string): boolean {
  try {
    const certificate = new X509Certificate(identity.certificate);
    const authority = new X509Certificate(ca);
    return (
      new X509Certificate(identity.ca).fingerprint256 === authority.fingerprint256 &&
      engineOfCertificate(certificate) === engine &&
      certificate.checkPrivateKey(createPrivateKey(identity.key)) &&
      certificate.checkIssued(authority) &&
      certificate.verify(authority.publicKey) &&
      // Not when it begins: a clock that is behind must not make a fresh certificate useless for good.
      certificate.validToDate.getTime() > Date.now()
    );
  } catch {
    return false;
  }
}

async function loadIdentity(stateDir: string): Promise<EngineIdentity | undefined> {
  try {
    return identitySchema.parse(JSON.parse(await readFile(join(stateDir, IDENTITY_FILE), 'utf8')));
  } catch {
    // Missing or damaged: the engine enrols again.
    return undefined;
  }
}

async function pendingKey(stateDir: string): Promise<KeyObject> {
  const file = join(stateDir, PENDING_KEY_FILE);
  try {
    return createPrivateKey(await readFile(file, 'utf8'));
  } catch {
    const key = await generateKey(2048);
    await replaceFile(file, keyPem(key));
    return key;
  }
}

/** Replaces a secret file as a whole, durably. */
async function replaceFile(file: string, content: string): Promise<void> {
  const temporary = `${file}.new`;
  await rm(temporary, { force: true });
  const handle = await open(temporary, 'wx', 0o600);
  try {
    await handle.writeFile(content);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(temporary, file);
}

function refused(message: string): WeftError {
  return new WeftError('ERR_ENROLMENT_REFUSED', message);
}
