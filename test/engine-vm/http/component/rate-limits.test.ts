/** Rate limits: never more than the rate allows, nothing refused that it does, whoever counts. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { RateTable } from '../../../../src/engine-vm/http/component/rate-limits/rate-table.ts';
import { KeyedHash } from '../../../../src/engine-vm/http/keyed-hash.ts';
import { HttpService } from '../../../../src/policy/http-service.ts';
import { ProxySite, request } from '../proxy-site.ts';
import { RecordingOrigin } from '../recording-origin.ts';

describe('the keyed hash', () => {
  it('is that of the reference code', () => {
    const key = Buffer.from([0, 1, 2, 3, 4, 5, 6, 7]);
    const hash = new KeyedHash(key.readInt32LE(0), key.readInt32LE(4));
    const text = Uint8Array.from({ length: 64 }, (_, n) => n);
    const of = (length: number): string => {
      hash.hash(text, 0, length);
      const bytes = Buffer.alloc(8);
      bytes.writeInt32LE(hash.low, 0);
      bytes.writeInt32LE(hash.high, 4);
      return bytes.toString('hex');
    };
    assert.equal(of(0), '218d1f59b9b83cc8');
  });
});

describe('the table of rates', () => {
  const of = (table: RateTable, key: string): void => table.hash.hash(Buffer.from(key), 0, key.length);

  it('lets through what an exact bucket lets through', () => {
    const request = fc.record({ pauseMs: fc.nat(3000), key: fc.constantFrom('a', 'b', 'c') });
    fc.assert(
      fc.property(
        fc.array(request, { maxLength: 200 }),
        fc.constantFrom(125, 250, 1000),
        fc.integer({ min: 1, max: 5 }),
        (requests, intervalMs, burst) => {
          const table = new RateTable(RateTable.allocate(1024));
          const buckets = new Map<string, { left: number; atMs: number }>();
          let nowMs = 1e9;
          for (const { pauseMs, key } of requests) {
            nowMs += pauseMs;
            const bucket = buckets.get(key) ?? { left: burst, atMs: nowMs };
            buckets.set(key, bucket);
            bucket.left = Math.min(burst, bucket.left + (nowMs - bucket.atMs) / intervalMs);
            bucket.atMs = nowMs;
            of(table, key);
            const isFree = table.take(intervalMs, burst, nowMs);
            assert.equal(isFree, bucket.left >= 1 - 1e-9);
            if (isFree) bucket.left -= 1;
            else {
              // After what it says to wait the next one passes, and not before.
              assert.ok(Math.abs(table.waitMs - (1 - bucket.left) * intervalMs) < 1e-3);
            }
          }
        },
      ),
    );
  });

  it('forgets no key that used much while others used little, and counts what it forgets', () => {
    const table = new RateTable(RateTable.allocate(1024));
    for (let n = 0; n < 10; n++) {
      of(table, 'greedy');
      table.take(1000, 10, 1e6);
    }
    for (let n = 0; n < 20_000; n++) {
      of(table, `once ${n}`);
      assert.ok(table.take(1000, 10, 1e6));
    }
    assert.ok(table.evicted > 10_000);
    of(table, 'greedy');
    assert.ok(!table.take(1000, 10, 1e6 + 500));
    of(table, 'greedy');
    assert.ok(table.take(1000, 10, 1e6 + 1001));
  });

  it('is not led astray by a thread whose clock is behind', () => {
    const table = new RateTable(RateTable.allocate(1024));
    of(table, 'key');
    for (let n = 0; n < 3; n++) assert.ok(table.take(1000, 3, 5e6 + 50));
    assert.ok(!table.take(1000, 3, 5e6));
  });

  it('goes by the latest clock, whichever thread asks', () => {
    const table = new RateTable(RateTable.allocate(1024));
    of(table, 'other');
    for (const behindMs of [0, 30, 20, 10]) assert.ok(table.take(100_000, 4, 4e6 - behindMs), `${behindMs}`);
    assert.ok(!table.take(100_000, 4, 4e6 - 30));
    assert.equal(table.waitMs, 100_000);
    of(table, 'key');
    assert.ok(table.take(1000, 1, 5e6));
    assert.ok(!table.take(1000, 1, 5e6 - 30));
    assert.equal(table.waitMs, 1000);
    assert.ok(!table.take(1000, 1, 5e6 + 400));
    assert.equal(table.waitMs, 600);
  });

  it('is one for all that have its memory', () => {
    const memory = RateTable.allocate(1024);
    const tables = [new RateTable(memory), new RateTable(memory)];
    const passed = Array.from({ length: 10 }, (_, n) => {
      of(tables[n % 2]!, 'key');
      return tables[n % 2]!.take(1000, 3, 5e6);
    });
    assert.deepEqual(passed.filter(Boolean).length, 3);
  });
});

describe('rate limits', () => {
  const origin = new RecordingOrigin();
  let port: number;
  before(async () => {
    port = await origin.listen();
  });
  after(() => origin.close());
  afterEach(() => origin.take());

  const start = (limits: unknown[], workers = 1, more = {}): Promise<ProxySite> =>
    ProxySite.start([port], { rateLimits: { limits }, ...more }, undefined, workers);
  const ask = async (site: ProxySite, text: string, fields: readonly string[] = []): Promise<string> =>
    (await site.talk(request(text, fields))).slice(9, 12);

  it('refuse an address by 429 that says when to come again, on whichever thread it asks', async () => {
    const site = await start([{ name: 'each', requests: 1, withinMs: 100_000, burst: 4 }], 3);
    const answers = await Promise.all(Array.from({ length: 12 }, () => site.talk(request('GET /a'))));
    const refused = answers.filter((one) => one.startsWith('HTTP/1.1 429 Too Many Requests\r\n'));
    assert.equal(answers.filter((one) => one.startsWith('HTTP/1.1 200')).length, 4);
    assert.equal(refused.length, 8);
    for (const one of refused) assert.match(one, /\r\nRetry-After: (9\d|100)\r\n/);
    assert.equal(origin.take().length, 4);
    const figures = await site.workers.figures();
    const limited = figures.map(({ components }) => components['rate-limits']!['limited each']!);
    assert.equal(
      limited.reduce((sum, n) => sum + n),
      8,
    );
    // A reload forgets nothing.
    await site.workers.reload(site.settings);
    assert.equal(await ask(site, 'GET /a'), '429');
    await site.stop();
  });

  it('count by field, cookie, path or all together', async () => {
    const limit = { requests: 1, withinMs: 100_000 };
    const site = await start([
      { name: 'field', per: 'field', key: 'X-Key', paths: ['/f'], ...limit },
      { name: 'cookie', per: 'cookie', key: 'user', paths: ['/c'], ...limit },
      { name: 'path', per: 'path', paths: ['/p/*'], ...limit },
      { name: 'all', per: 'all', methods: ['PUT'], ...limit },
    ]);
    const cases: [string, string[], string][] = [
      ['GET /f', ['X-Key: a'], '200'],
      ['GET /f', ['x-key: b'], '200'],
      ['GET /f', ['x-KEY: a'], '429'],
      ['GET /f', [], '200'],
      ['GET //f', [], '429'],
      ['GET /c', ['Cookie: a=b; user=1'], '200'],
      ['GET /c', ['Cookie: user=2;user=1'], '200'],
      ['GET /c', ['Cookie: xuser=2; user=1; a'], '429'],
      ['GET /p/1', [], '200'],
      ['GET /p/2', [], '200'],
      ['GET /p/%31', [], '429'],
      ['PUT /x', ['Content-Length: 0'], '200'],
      ['PUT /y', ['Content-Length: 0'], '429'],
      ['GET /y', [], '200'],
    ];
    for (const [text, fields, status] of cases)
      assert.equal(await ask(site, text, fields), status, text + fields);
    await site.stop();
  });

  it('stand before or behind access rules, as the policy says', async () => {
    for (const [order, expected] of [
      [
        ['access-rules', 'rate-limits'],
        ['403', '403', '200'],
      ],
      [
        ['rate-limits', 'access-rules'],
        ['403', '429', '429'],
      ],
    ] as const) {
      const site = await start([{ name: 'one', requests: 1, withinMs: 100_000 }], 1, {
        order,
        accessRules: { rules: [{ name: 'no', action: 'deny', paths: ['/no'] }] },
      });
      const answers = [await ask(site, 'GET /no'), await ask(site, 'GET /no'), await ask(site, 'GET /')];
      assert.deepEqual(answers, expected);
      await site.stop();
    }
  });

  it('need a key where they count by one, and none elsewhere', () => {
    const isRefused = (limit: unknown): boolean =>
      !HttpService.safeParse({ rateLimits: { limits: [limit] } }).success;
    assert.ok(isRefused({ name: 'x', requests: 1, per: 'cookie' }));
    assert.ok(isRefused({ name: 'x', requests: 1, key: 'a' }));
    assert.ok(isRefused({ name: 'x', requests: 0 }));
    assert.ok(!isRefused({ name: 'x', requests: 1, per: 'field', key: 'Authorization' }));
  });
});
