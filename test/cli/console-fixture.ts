/** The console as `weft controller` puts it together, over an API in memory; and clouds that are paper vCenters. */
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { type ConsoleServer, startConsole } from '../../src/cli/console-server.ts';
import { type ApiFixture, openApi, TOKEN } from '../api/fixture.ts';

export interface Answer {
  status: number;
  /** The body, where it is JSON. */
  body: { code?: string; message?: string } & Record<string, unknown>;
  text: string;
}

export interface ConsoleFixture extends ApiFixture {
  console: ConsoleServer;
  directory: string;
  /** The environment in which the CLI finds the API. */
  env: Record<string, string>;
  /** Everything that the console logged, as text. */
  consoleLogged(): string;
  /** Makes a vCenter a cloud. Answers the file of its credentials. */
  addCloud(name: string, vcenter: VcenterAt): Promise<string>;
  /** A page's request to the console; `path` without a slash at its beginning. */
  ask(path: string, headers?: Record<string, string>, body?: unknown): Promise<Answer>;
}

export interface VcenterAt {
  url: string;
  thumbprint: string;
  user: string;
  password: string;
}

/** Opens it on free ports of loopback. */
export async function openConsole(): Promise<ConsoleFixture> {
  const directory = await mkdtemp(join(tmpdir(), 'weft-console-fixture-'));
  let shown: ConsoleServer | null = null;
  const fixture = await openApi({ console: () => shown?.address ?? null });
  await fixture.api.listen({ host: '127.0.0.1', port: 0 });
  const lines: string[] = [];
  const log = pino({ level: 'debug' }, { write: (line: string) => void lines.push(line) });
  const opened = await startConsole({
    state: directory,
    listen: { host: '127.0.0.1', port: 0 },
    advertise: null,
    files: null,
    store: fixture.store,
    api: fixture.api,
    token: TOKEN,
    log,
  });
  shown = opened;
  const { port } = fixture.api.server.address() as AddressInfo;
  return {
    ...fixture,
    console: opened,
    directory,
    env: { WEFT_URL: `http://127.0.0.1:${port}`, WEFT_TOKEN: TOKEN },
    consoleLogged: () => lines.join(''),
    async addCloud(name, { url, thumbprint, user, password }) {
      const credentials = join(directory, `${name}.yaml`);
      await writeFile(credentials, `user: ${user}\npassword: ${password}\n`);
      await chmod(credentials, 0o600);
      const spec = {
        ...{ platform: 'vcenter', address: url, thumbprint, credentials, managementNetwork: 'mgmt' },
        ...{ ova: '/none.ova', shadowVlans: { first: 3000, last: 3010 } },
      };
      const { statusCode, body } = await fixture.call('PUT', `/api/v1/cloud/${name}`, { spec });
      if (statusCode >= 300) throw new Error(body);
      return credentials;
    },
    ask: (path, headers = {}, body) =>
      new Promise<Answer>((resolve, reject) => {
        const url = new URL(path, `${opened.address.url}/`);
        const method = body === undefined ? 'GET' : 'POST';
        const outgoing = request(url, { method, headers, rejectUnauthorized: false }, (incoming) => {
          const parts: Buffer[] = [];
          incoming.on('data', (part: Buffer) => parts.push(part));
          incoming.once('error', reject);
          incoming.once('end', () => {
            const text = Buffer.concat(parts).toString('utf8');
            const isJson = /json/.test(incoming.headers['content-type'] ?? '');
            resolve({ status: incoming.statusCode ?? 0, text, body: isJson ? JSON.parse(text) : {} });
          });
        });
        outgoing.once('error', reject);
        outgoing.end(body === undefined ? undefined : JSON.stringify(body));
      }),
    async close() {
      await opened.close();
      await fixture.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
