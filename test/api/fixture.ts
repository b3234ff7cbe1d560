/** An API over a real store in a temporary file, and requests with or without its token. */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FastifyInstance, LightMyRequestResponse } from 'fastify';
import pino from 'pino';
import { createApi } from '../../src/api/api.ts';
import type { ConsoleAddress } from '../../src/policy/answers.ts';
import { parseDocuments } from '../../src/policy/parse.ts';
import { openEmbeddedStore } from '../../src/state/embedded-store.ts';
import { sealerOf } from '../../src/state/sealer.ts';
import type { Store } from '../../src/state/store.ts';
import { InMemoryBackend } from './in-memory-backend.ts';

export const TOKEN = 'a-token-for-tests-0123456789';

export const SAMPLE = `
kind: cloud
name: lab
spec: { platform: lab, address: /run/lab.sock }
---
kind: engine-group
name: edge
spec:
  cloud: lab
  dataAddresses: [{ prefix: 10.77.0.0/24, first: 10.77.0.201, last: 10.77.0.230 }]
---
kind: pool
name: shop
spec: { cloud: lab, members: { tags: [app=shop] }, port: 8080 }
---
kind: virtual-service
name: web
spec:
  engineGroup: edge
  tiers: [{ name: shop, addresses: [10.77.0.101], port: 80, pool: shop }]
`;

export interface ApiFixture {
  api: FastifyInstance;
  store: Store;
  backend: InMemoryBackend;
  /** Everything that was logged, as text. */
  logged(): string;
  clock: { ms: number };
  call(
    method: Method,
    url: string,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<LightMyRequestResponse>;
  applySample(): Promise<void>;
  close(): Promise<void>;
}

type Method = 'GET' | 'PUT' | 'POST' | 'DELETE';

export async function openApi(
  options: { historyLimit?: number; console?: () => ConsoleAddress | null } = {},
): Promise<ApiFixture> {
  const directory = await mkdtemp(join(tmpdir(), 'weft-api-'));
  const { console: consoleAddress = () => null, ...storeOptions } = options;
  const store = await openEmbeddedStore(join(directory, 'store.json'), storeOptions);
  const backend = new InMemoryBackend();
  const lines: string[] = [];
  const clock = { ms: 1000 };
  const log = pino({ level: 'info' }, { write: (line: string) => void lines.push(line) });
  const api = createApi({
    store,
    sealer: sealerOf(Buffer.alloc(32, 7)),
    backend,
    token: TOKEN,
    log,
    now: () => clock.ms,
    console: consoleAddress,
  });
  await api.ready();
  const call: ApiFixture['call'] = (method, url, body, headers = {}) =>
    api.inject({
      method,
      url,
      headers: { authorization: `Bearer ${TOKEN}`, ...headers },
      ...(body === undefined ? {} : { payload: body as object }),
    });
  return {
    api,
    store,
    backend,
    clock,
    call,
    logged: () => lines.join(''),
    async applySample() {
      const answer = await call(
        'POST',
        '/api/v1/apply',
        parseDocuments(SAMPLE, 'sample').map(({ where: _, ...one }) => one),
      );
      if (answer.statusCode !== 200) throw new Error(answer.body);
    },
    async close() {
      await api.close();
      await store.close();
      await rm(directory, { recursive: true });
    },
  };
}
