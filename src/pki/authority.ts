/**
 * The controller's own certificate authority: one-time tokens, enrolment, renewal, revocation, the hub's certificate.
 *
 * Keys in the store: `pki/ca` certificate and private key; `pki/token/<SHA-256 of the token>` whom it enrols, until
 * when, and which key used it; `pki/engine/<id>` the generation below which the engine's certificates are refused.
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  randomBytes,
  X509Certificate,
} from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { isWeftError, WeftError } from '../policy/errors.ts';
import { openEmbeddedStore } from '../state/embedded-store.ts';
import type {
  EnrolRequest,
  HubAuthority,
  IssuedCertificate,
  ServerCredentials,
} from '../state/hub-authority.ts';
import { engineOfCertificate, isEngineId } from '../state/identity.ts';
import type { Condition, Store, Write } from '../state/store.ts';
import {
  buildAuthorityCertificate,
  buildEngineCertificate,
  buildServerCertificate,
  generateKey,
  generationOf,
  type Issuer,
  keyPem,
} from './certificate.ts';
import { type CertificateRequest, readRequest } from './certificate-request.ts';

export interface AuthorityOptions {
  /** DNS names and addresses of the controller, besides the URI that engines check. */
  serverNames?: readonly string[];
  /** Life of an engine's certificate. Default 24 h. */
  engineLifeMs?: number;
  /** Life of the hub's certificate; it is due for renewal after two thirds. Default 30 days. */
  serverLifeMs?: number;
  /** Wall clock, milliseconds. */
  now?: () => number;
}

export interface Authority extends HubAuthority {
  /** The CA's certificate, PEM: what engines are given to pin. */
  readonly ca: string;
  /** A one-time secret with which `engine` may enrol within `ttlMs`; it outlives a restart of the controller. */
  createToken(engine: string, ttlMs: number): Promise<string>;
  /** Refuses, from now on, every certificate and token that the engine has. A later token lets it enrol anew. */
  revoke(engine: string): Promise<void>;
  close(): Promise<void>;
}

/**
 * Opens the CA kept in the store under `pki/`, or in a store of its own in a directory; makes it at the first call.
 * A store that was handed in stays open at `close`.
 */
export async function openAuthority(
  place: Store | string,
  options: AuthorityOptions = {},
): Promise<Authority> {
  const store = typeof place === 'string' ? await openEmbeddedStore(join(place, 'pki.store')) : place;
  try {
    const now = options.now ?? Date.now;
    const record = await loadOrCreate(store, now);
    const authority = new StoredAuthority(store, record, { ...options, now }, typeof place === 'string');
    await authority.start();
    return authority;
  } catch (error) {
    if (typeof place === 'string') await store.close();
    throw error;
  }
}

const DAY_MS = 24 * 3600_000;
const AUTHORITY_LIFE_MS = 3650 * DAY_MS;
/** Where the store keeps the CA. */
export const AUTHORITY_KEY = 'pki/ca';
const TOKENS = 'pki/token/';
const ENGINES = 'pki/engine/';
/** TLS client authentication, RFC 5280 section 4.2.1.12. */
const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';
const MAX_TOKEN_CHARACTERS = 256;

/** What stands there. */
export interface AuthorityRecord {
  certificate: string;
  /** PKCS #8 PEM. */
  key: string;
}

interface TokenRecord {
  engine: string;
  expiresAt: number;
  /** Fingerprint of the key that it was used for; the same key may repeat, for a reply may be lost. */
  usedBy?: string;
}

interface EngineRecord {
  /** Certificates of a lower generation are refused. */
  generation: number;
  /** Of the latest certificate. */
  fingerprint?: string;
  expiresAt?: number;
}

async function loadOrCreate(store: Store, now: () => number): Promise<AuthorityRecord> {
  const found = await store.get<AuthorityRecord>(AUTHORITY_KEY);
  if (found !== undefined) return found.value;
  const key = await generateKey(3072);
  const record = {
    certificate: buildAuthorityCertificate(key, now(), AUTHORITY_LIFE_MS),
    key: keyPem(key),
  };
  try {
    await store.write([{ key: AUTHORITY_KEY, value: record }], [{ key: AUTHORITY_KEY, revision: 0 }]);
    return record;
  } catch (error) {
    // Another controller was first.
    if (!isWeftError(error, 'ERR_REVISION_CONFLICT')) throw error;
    return (await store.get<AuthorityRecord>(AUTHORITY_KEY))!.value;
  }
}

class StoredAuthority implements Authority {
  readonly ca: string;
  readonly #certificate: X509Certificate;
  readonly #issuer: Issuer;
  readonly #store: Store;
  readonly #isStoreOwned: boolean;
  readonly #serverNames: readonly string[];
  readonly #engineLifeMs: number;
  readonly #serverLifeMs: number;
  readonly #now: () => number;
  /** Engine to generation, as in the store; other controllers on the same store may raise it. */
  readonly #generations = new Map<string, number>();
  readonly #callbacks = new Set<(engine: string) => void>();
  readonly #closing = new AbortController();
  #following: Promise<void> = Promise.resolve();

  constructor(
    store: Store,
    record: AuthorityRecord,
    options: AuthorityOptions & { now: () => number },
    isStoreOwned: boolean,
  ) {
    this.ca = record.certificate;
    this.#certificate = new X509Certificate(record.certificate);
    this.#issuer = { certificate: record.certificate, key: createPrivateKey(record.key) };
    this.#store = store;
    this.#isStoreOwned = isStoreOwned;
    this.#serverNames = options.serverNames ?? [];
    this.#engineLifeMs = options.engineLifeMs ?? DAY_MS;
    this.#serverLifeMs = options.serverLifeMs ?? 30 * DAY_MS;
    this.#now = options.now;
  }

  /** Loads what is revoked and follows it from then on. */
  async start(): Promise<void> {
    const revision = await this.#loadGenerations();
    this.#following = this.#follow(revision);
  }

  async createToken(engine: string, ttlMs: number): Promise<string> {
    if (!isEngineId(engine)) {
      throw new WeftError(
        'ERR_INTERNAL',
        `"${engine}" cannot name an engine: letters, digits, dot, _ and - only`,
      );
    }
    const token = randomBytes(32).toString('base64url');
    const now = this.#now();
    const expired = (await this.#store.list<TokenRecord>(TOKENS)).filter(
      ({ value }) => value.expiresAt < now,
    );
    const record: TokenRecord = { engine, expiresAt: now + ttlMs };
    await this.#store.write([
      ...expired.map(({ key }) => ({ key, delete: true as const })),
      { key: tokenKey(token), value: record },
    ]);
    return token;
  }

  async enrol(request: EnrolRequest): Promise<IssuedCertificate> {
    const { token, engine, csrPem } = request;
    // The token comes first: who has none learns nothing and costs one hash.
    const isPlausible = token.length <= MAX_TOKEN_CHARACTERS && isEngineId(engine);
    const found = isPlausible ? await this.#store.get<TokenRecord>(tokenKey(token)) : undefined;
    if (found === undefined || found.value.engine !== engine || found.value.expiresAt < this.#now()) {
      throw refused(engine, 'its token is unknown, expired, or for another engine', 'give it a new token');
    }
    const csr = acceptableRequest(engine, csrPem);
    for (;;) {
      const current = await this.#store.get<TokenRecord>(tokenKey(token));
      const usedBy = current?.value.usedBy;
      if (current === undefined || (usedBy !== undefined && usedBy !== csr.fingerprint)) {
        throw refused(
          engine,
          'its token was used already',
          'give it a new token, and find out who used the first',
        );
      }
      const issued = await this.#issue(
        engine,
        csr,
        [{ key: current.key, value: { ...current.value, usedBy: csr.fingerprint } satisfies TokenRecord }],
        [{ key: current.key, revision: current.revision }],
      );
      if (issued !== undefined) return issued;
    }
  }

  async renew(peerCertificate: X509Certificate, csrPem: string): Promise<IssuedCertificate> {
    const engine = engineOfCertificate(peerCertificate);
    if (engine === undefined) throw refused('a peer', 'its certificate names no engine', 'enrol it');
    const now = this.#now();
    const isValid =
      peerCertificate.checkIssued(this.#certificate) &&
      peerCertificate.verify(this.#certificate.publicKey) &&
      peerCertificate.keyUsage?.includes(CLIENT_AUTH) === true &&
      peerCertificate.validFromDate.getTime() <= now &&
      peerCertificate.validToDate.getTime() >= now;
    if (!isValid || this.isRevoked(engine, peerCertificate)) {
      throw refused(engine, 'its certificate is expired, revoked or not of this controller', 'enrol it anew');
    }
    const csr = acceptableRequest(engine, csrPem);
    for (;;) {
      // Read again at each turn: the engine may be revoked meanwhile.
      if (this.isRevoked(engine, peerCertificate)) throw refused(engine, 'it was revoked', 'enrol it anew');
      const issued = await this.#issue(engine, csr, [], [], generationOf(peerCertificate.serialNumber));
      if (issued !== undefined) return issued;
    }
  }

  async revoke(engine: string): Promise<void> {
    for (;;) {
      const record = await this.#store.get<EngineRecord>(ENGINES + engine);
      const generation = (record?.value.generation ?? 0) + 1;
      const tokens = (await this.#store.list<TokenRecord>(TOKENS)).filter(
        ({ value }) => value.engine === engine,
      );
      try {
        await this.#store.write(
          [
            { key: ENGINES + engine, value: { generation } satisfies EngineRecord },
            ...tokens.map(({ key }) => ({ key, delete: true as const })),
          ],
          [
            { key: ENGINES + engine, revision: record?.revision ?? 0 },
            ...tokens.map(({ key, revision }) => ({ key, revision })),
          ],
        );
      } catch (error) {
        if (isWeftError(error, 'ERR_REVISION_CONFLICT')) continue;
        throw error;
      }
      this.#raise(engine, generation);
      return;
    }
  }

  isRevoked(engine: string, certificate: X509Certificate): boolean {
    return generationOf(certificate.serialNumber) < (this.#generations.get(engine) ?? 0);
  }

  onRevoked(callback: (engine: string) => void): () => void {
    this.#callbacks.add(callback);
    return () => this.#callbacks.delete(callback);
  }

  async serverCredentials(): Promise<ServerCredentials> {
    const key: KeyObject = await generateKey(2048);
    const now = this.#now();
    return {
      certificate: buildServerCertificate(
        this.#issuer,
        createPublicKey(key),
        this.#serverNames,
        now,
        this.#serverLifeMs,
      ),
      key: keyPem(key),
      ca: this.ca,
      expiresAt: now + this.#serverLifeMs,
      renewAt: now + (this.#serverLifeMs * 2) / 3,
    };
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#following;
    if (this.#isStoreOwned) await this.#store.close();
  }

  /**
   * Issues a certificate together with the writes that pay for it, in one revision. Undefined where somebody else
   * changed one of these entries meanwhile: look again.
   */
  async #issue(
    engine: string,
    csr: CertificateRequest,
    writes: readonly Write[],
    conditions: readonly Condition[],
    ofGeneration?: number,
  ): Promise<IssuedCertificate | undefined> {
    const record = await this.#store.get<EngineRecord>(ENGINES + engine);
    const generation = record?.value.generation ?? 0;
    if (ofGeneration !== undefined && ofGeneration < generation) {
      throw refused(engine, 'it was revoked', 'enrol it anew');
    }
    const now = this.#now();
    const certificate = buildEngineCertificate(
      this.#issuer,
      csr.publicKey,
      engine,
      generation,
      now,
      this.#engineLifeMs,
    );
    const value: EngineRecord = {
      generation,
      fingerprint: csr.fingerprint,
      expiresAt: now + this.#engineLifeMs,
    };
    try {
      await this.#store.write(
        [...writes, { key: ENGINES + engine, value }],
        [...conditions, { key: ENGINES + engine, revision: record?.revision ?? 0 }],
      );
    } catch (error) {
      if (isWeftError(error, 'ERR_REVISION_CONFLICT')) return undefined;
      throw error;
    }
    return { certificate, ca: this.ca };
  }

  async #loadGenerations(): Promise<number> {
    const revision = this.#store.revision;
    for (const { key, value } of await this.#store.list<EngineRecord>(ENGINES)) {
      this.#raise(key.slice(ENGINES.length), value.generation);
    }
    return revision;
  }

  async #follow(from: number): Promise<void> {
    const { signal } = this.#closing;
    let revision = from;
    while (!signal.aborted) {
      try {
        for await (const change of this.#store.watch(ENGINES, revision, signal)) {
          revision = change.revision;
          const record = change.value as EngineRecord | undefined;
          if (record !== undefined) this.#raise(change.key.slice(ENGINES.length), record.generation);
        }
        return;
      } catch {
        // Compacted, or a clustered store out of reach: what is known stays in force until it answers again.
        await delay(1000, undefined, { signal }).catch(() => {});
        revision = await this.#loadGenerations().catch(() => revision);
      }
    }
  }

  #raise(engine: string, generation: number): void {
    const known = this.#generations.get(engine) ?? 0;
    if (generation <= known) return;
    this.#generations.set(engine, generation);
    for (const callback of this.#callbacks) callback(engine);
  }
}

function tokenKey(token: string): string {
  return TOKENS + createHash('sha256').update(token).digest('hex');
}

function acceptableRequest(engine: string, csrPem: string): CertificateRequest {
  let csr: CertificateRequest;
  try {
    csr = readRequest(csrPem);
  } catch (cause) {
    throw refused(engine, (cause as Error).message, 'repeat with a certificate request made by weft', cause);
  }
  if (csr.commonName !== engine) {
    throw refused(engine, 'its certificate request names somebody else', 'request a certificate for itself');
  }
  return csr;
}

function refused(engine: string, why: string, remedy: string, cause?: unknown): WeftError {
  return new WeftError('ERR_ENROLMENT_REFUSED', `${engine} is refused: ${why}; ${remedy}`, { cause });
}
