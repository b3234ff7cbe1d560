/** A hub on loopback with a real CA, and engines that reach it through a wire that can be cut. */
import type { KeyObject } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Authority, type AuthorityOptions, openAuthority } from '../../src/pki/authority.ts';
import { generateKey, keyPem } from '../../src/pki/certificate.ts';
import { createRequest } from '../../src/pki/certificate-request.ts';
import { type EmbeddedHub, type HubOptions, openHub } from '../../src/state/embedded-hub.ts';
import type { Identity } from '../../src/state/identity.ts';
import type { SharedState } from '../../src/state/shared.ts';
import { connectShared, type SharedClientOptions } from '../../src/state/shared-client.ts';

/** A TCP relay that can be cut (and heals at once), or held: connections stay up and nothing passes. */
export class Wire {
  readonly #server: Server;
  readonly #pairs = new Set<[Socket, Socket]>();
  #isHeld = false;
  #isDown = false;

  static async to(port: () => number): Promise<Wire> {
    const server = createServer();
    const wire = new Wire(server, port);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return wire;
  }

  constructor(server: Server, port: () => number) {
    this.#server = server;
    server.on('connection', (near) => {
      near.on('error', () => {});
      if (this.#isDown) return near.destroy();
      const far = connect(port(), '127.0.0.1');
      far.on('error', () => {});
      const pair: [Socket, Socket] = [near, far];
      this.#pairs.add(pair);
      near.pipe(far);
      far.pipe(near);
      for (const socket of pair) {
        if (this.#isHeld) socket.pause();
        socket.on('close', () => {
          for (const one of pair) one.destroy();
          this.#pairs.delete(pair);
        });
      }
    });
  }

  get url(): string {
    const address = this.#server.address();
    return `https://127.0.0.1:${(address as { port: number }).port}`;
  }

  cut(): void {
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy();
  }

  /** Cuts, and lets nobody through until `heal`. */
  takeDown(): void {
    this.#isDown = true;
    this.cut();
  }

  /** Swallows everything, without a word to either end, until `heal`. */
  hold(): void {
    this.#isHeld = true;
    for (const [near, far] of this.#pairs) {
      near.unpipe(far).pause();
      far.unpipe(near).pause();
    }
  }

  heal(): void {
    this.#isDown = false;
    if (this.#isHeld) this.cut();
    this.#isHeld = false;
  }

  close(): void {
    this.#server.close();
    this.cut();
  }
}

let sharedKey: Promise<KeyObject> | undefined;

export class HubFixture {
  readonly directory: string;
  readonly authority: Authority;
  readonly wires = new Map<string, Wire>();
  hub: EmbeddedHub;
  readonly #options: Partial<HubOptions>;
  readonly #identities = new Map<string, Identity>();
  readonly #clients: SharedState[] = [];
  #port: number;

  static async open(options: Partial<HubOptions> = {}, pki: AuthorityOptions = {}): Promise<HubFixture> {
    const directory = await mkdtemp(join(tmpdir(), 'weft-hub-'));
    const authority = await openAuthority(directory, pki);
    const hub = await openHub({ authority, host: '127.0.0.1', ...options });
    return new HubFixture(directory, authority, hub, options);
  }

  constructor(directory: string, authority: Authority, hub: EmbeddedHub, options: Partial<HubOptions>) {
    this.directory = directory;
    this.authority = authority;
    this.hub = hub;
    this.#options = options;
    this.#port = hub.address().port;
  }

  get url(): string {
    return `https://127.0.0.1:${this.#port}`;
  }

  /** A certificate for the engine. All engines of the tests use one key: making keys is slow. */
  async identity(engine: string): Promise<Identity> {
    const known = this.#identities.get(engine);
    if (known !== undefined) return known;
    const identity = await issueIdentity(this.authority, engine);
    this.#identities.set(engine, identity);
    return identity;
  }

  async connect(engine: string, epoch = 1, options: Partial<SharedClientOptions> = {}): Promise<SharedState> {
    let wire = this.wires.get(engine);
    if (wire === undefined) {
      wire = await Wire.to(() => this.#port);
      this.wires.set(engine, wire);
    }
    const identity = await this.identity(engine);
    const client = connectShared({ url: wire.url, identity, writer: engine, epoch, ...options });
    this.#clients.push(client);
    return client;
  }

  /** A new, empty hub at the same place. */
  async restartHub(): Promise<EmbeddedHub> {
    await this.hub.close();
    this.hub = await openHub({
      authority: this.authority,
      host: '127.0.0.1',
      ...this.#options,
      port: this.#port,
    });
    return this.hub;
  }

  async dispose(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.close()));
    for (const wire of this.wires.values()) wire.close();
    await this.hub.close();
    await this.authority.close();
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** Enrols an engine with the authority directly. */
export async function issueIdentity(authority: Authority, engine: string): Promise<Identity> {
  sharedKey ??= generateKey(2048);
  const key = await sharedKey;
  const token = await authority.createToken(engine, 60_000);
  const issued = await authority.enrol({ token, engine, csrPem: createRequest(engine, key) });
  return { certificate: issued.certificate, key: keyPem(key), ca: issued.ca };
}
