/** Persistence by address and by field: the table against a model, and a proxy with two threads. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import fc from 'fast-check';
import type { SessionPolicy } from '../../../src/engine-vm/http/service.ts';
import {
  SESSION_BEGUN,
  SESSION_KEPT,
  SESSION_MOVED,
  SessionTable,
} from '../../../src/engine-vm/http/session-table.ts';
import { VirtualServiceSpec } from '../../../src/policy/virtual-service.ts';
import { ProxySite, request } from './proxy-site.ts';
import { RecordingOrigin } from './recording-origin.ts';

describe('the table of sessions', () => {
  it('has what was noted last, for as long as it may, and forgets the one used longest ago', () => {
    const event = fc.record({
      key: fc.nat(14),
      member: fc.integer({ min: 1, max: 5 }),
      afterMs: fc.nat(1500),
      isKept: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(event, { maxLength: 120 }), (events) => {
        // One bucket of eight.
        const table = new SessionTable(SessionTable.allocate(8));
        const model = new Map<number, { member: number; tick: number }>();
        let nowMs = 100;
        for (const { key, member, afterMs, isKept } of events) {
          nowMs += 100 + afterMs;
          const known = model.get(key);
          if (isKept) {
            const expected =
              known === undefined ? SESSION_BEGUN : known.member === member ? SESSION_KEPT : SESSION_MOVED;
            assert.equal(table.keep(key, key, member, nowMs), expected);
            if (known === undefined && model.size === 8) {
              const [oldest] = [...model].sort(([, a], [, b]) => a.tick - b.tick)[0]!;
              model.delete(oldest);
            }
            model.set(key, { member, tick: Math.floor(nowMs / 100) });
          } else {
            const isLive = known !== undefined && nowMs - known.tick * 100 < 5000;
            assert.equal(table.find(key, key, nowMs, 5000), isLive ? known.member : 0);
          }
        }
      }),
    );
  });

  it('takes as many clients as it was made for, nearly', () => {
    const table = new SessionTable(SessionTable.allocate(4096));
    const bytes = new Uint8Array(4);
    for (const isFound of [false, true]) {
      let found = 0;
      for (let n = 0; n < 2048; n++) {
        new DataView(bytes.buffer).setUint32(0, n);
        table.hash.hash(bytes, 0, 4);
        const { high, low } = table.hash;
        if (isFound) found += table.find(high, low, 200, 1000) === n + 1 ? 1 : 0;
        else table.keep(high, low, n + 1, 100);
      }
      if (isFound) assert.ok(found > 2000, `${found}`);
    }
  });
});

describe('persistence without a cookie', () => {
  const origins = [0, 1, 2, 3].map(() => new RecordingOrigin());
  let ports: number[];
  let site: ProxySite;

  before(async () => {
    ports = await Promise.all(origins.map((origin) => origin.listen()));
    site = await ProxySite.start(ports, {}, undefined, 2);
  });
  after(async () => {
    await site.stop();
    await Promise.all(origins.map((origin) => origin.close()));
  });

  const use = (persistence: SessionPolicy): Promise<void> =>
    site.workers.reload({ ...site.settings, method: 'round-robin', persistence });
  const taken = (): number[] => origins.map((origin) => origin.take().length);
  const sessions = async () => {
    const sum = { kept: 0, moved: 0, begun: 0 };
    for (const report of await site.workers.figures()) {
      for (const name of Object.keys(sum) as (keyof typeof sum)[]) sum[name] += report.sessions[name];
    }
    return sum;
  };
  const ask = (user: string | null): Promise<string> =>
    site.talk(request('GET /', user === null ? [] : [`X-User: ${user}`]));

  it('brings requests with the same value of a field to one member, in all threads', async () => {
    await use({ type: 'header', name: 'X-User', timeoutMs: 60_000 });
    const homes = new Set<number>();
    for (const user of ['ann', 'bob', 'cleo', 'dora', 'emil', 'fred', 'gus', 'hal']) {
      taken();
      for (let n = 0; n < 6; n++) await ask(user);
      const counts = taken();
      assert.ok(counts.includes(6), `${user}: ${counts.join()}`);
      homes.add(counts.indexOf(6));
    }
    assert.ok(homes.size > 1);
    assert.deepEqual(await sessions(), { begun: 8, kept: 40, moved: 0 });
    for (let n = 0; n < 8; n++) await ask(null);
    assert.ok(Math.max(...taken()) < 8);
    assert.equal((await sessions()).begun, 8);
  });

  it('moves a client whose member drains, for good, and stays over reloads', async () => {
    const persistence: SessionPolicy = { type: 'header', name: 'x-user', timeoutMs: 60_000 };
    await use(persistence);
    taken();
    await ask('ida');
    const home = taken().indexOf(1);
    const drained = site.settings.members.map((one, n) => ({ ...one, isDraining: n === home }));
    await site.workers.reload({ ...site.settings, persistence, members: drained });
    for (let n = 0; n < 4; n++) await ask('ida');
    const other = taken().indexOf(4);
    assert.ok(other >= 0 && other !== home);
    await use(persistence);
    for (let n = 0; n < 4; n++) await ask('ida');
    assert.equal(taken()[other], 4);
  });

  it('goes by the address of the client', async () => {
    await use({ type: 'source-address', timeoutMs: 60_000 });
    const homes = new Set<number>();
    for (let client = 2; client < 12; client++) {
      taken();
      for (let n = 0; n < 4; n++) {
        const socket = connect({ port: site.port, host: '127.0.0.1', localAddress: `127.0.0.${client}` });
        socket.write(request('GET /'));
        socket.resume();
        await once(socket, 'close');
      }
      const counts = taken();
      assert.ok(counts.includes(4), counts.join());
      homes.add(counts.indexOf(4));
    }
    assert.ok(homes.size > 1);
  });

  it('ends with its time', async () => {
    await use({ type: 'header', name: 'X-User', timeoutMs: 200 });
    const homes = new Set<number>();
    for (let n = 0; n < 6; n++) {
      taken();
      await ask('kim');
      homes.add(taken().indexOf(1));
      await new Promise((resolve) => setTimeout(resolve, 320));
    }
    assert.ok(homes.size > 1);
  });

  it('is refused by header without http, and beside a cookie', () => {
    const spec = (persistence: object, http?: object) =>
      VirtualServiceSpec.safeParse({
        engineGroup: 'edge',
        tiers: [{ name: 't', addresses: ['10.0.0.1'], port: 80, pool: 'p' }],
        components: [{ type: 'load-balancer', persistence }],
        ...(http === undefined ? {} : { http }),
      }).error?.issues[0]?.message;
    assert.match(spec({ type: 'header', name: 'X-User' }) ?? '', /must not be by header without http/);
    assert.equal(spec({ type: 'header', name: 'X-User' }, {}), undefined);
    assert.match(spec({ type: 'source-address' }, { sessionCookie: {} }) ?? '', /must be none with http/);
  });
});
