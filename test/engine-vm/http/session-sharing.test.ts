/** Sessions that proxies on several engines share: as many tables, of the same key, each with its reader. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { memberKey, memberSessionId } from '../../../src/engine-vm/http/member.ts';
import type { ServiceSettings } from '../../../src/engine-vm/http/service.ts';
import { SessionSharing, type ToldSession } from '../../../src/engine-vm/http/session-sharing.ts';
import { SessionTable } from '../../../src/engine-vm/http/session-table.ts';

const MEMBERS = [1, 2, 3].map((n) => ({
  name: `vm-${n}`,
  address: `10.0.0.${n}`,
  port: 80,
  weight: 1,
  isDraining: false,
}));
const KEYS = MEMBERS.map((member) => memberKey(member));
const nowMs = () => Number(process.hrtime.bigint()) / 1e6;

class Engine {
  readonly table: SessionTable;
  readonly sharing: SessionSharing;
  constructor(key: Uint8Array, timeoutMs = 60_000) {
    const sessionMemory = SessionTable.allocate(1024, key);
    this.table = new SessionTable(sessionMemory);
    const settings = { members: MEMBERS, persistence: { type: 'source-address', timeoutMs }, sessionMemory };
    this.sharing = SessionSharing.of(settings as unknown as ServiceSettings)!;
    this.told();
  }
  use(client: string, member: number, tellMs = 1000, atMs = nowMs()): void {
    const { high, low } = this.#hash(client);
    this.table.keep(high, low, memberSessionId(KEYS[member]!), atMs, tellMs);
  }
  memberOf(client: string): number {
    const { high, low } = this.#hash(client);
    const id = this.table.find(high, low, nowMs(), 60_000);
    return KEYS.findIndex((key) => memberSessionId(key) === id);
  }
  told(): ToldSession[] {
    const all: ToldSession[] = [];
    this.sharing.tell((session) => all.push(session));
    return all;
  }
  #hash(client: string): { high: number; low: number } {
    const bytes = new TextEncoder().encode(client);
    this.table.hash.hash(bytes, 0, bytes.length);
    return this.table.hash;
  }
}

describe('sessions that engines share', () => {
  const key = new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]);

  it('bring a client to its member on another engine, and by no key but the same', () => {
    const [one, two, stranger] = [new Engine(key), new Engine(key), new Engine(new Uint8Array(8))];
    one!.use('ann', 2);
    const told = one!.told();
    assert.deepEqual(
      told.map(({ member }) => member),
      ['vm-3 10.0.0.3 80'],
    );
    assert.ok(Math.abs(told[0]!.time - Date.now()) < 1000);
    for (const session of told) {
      two!.sharing.learn(session);
      stranger!.sharing.learn(session);
    }
    assert.equal(two!.memberOf('ann'), 2);
    assert.equal(two!.memberOf('bob'), -1);
    assert.equal(stranger!.memberOf('ann'), -1);
    // What was learned is no news.
    assert.deepEqual(two!.told(), []);
  });

  it('are news when they begin, when they move, and once in a while', () => {
    const one = new Engine(key);
    const from = Math.ceil(nowMs() / 1000) * 1000;
    const counts = [
      ['begun', 0, from],
      ['kept', 0, from + 900],
      ['moved', 1, from + 950],
      ['kept for long', 1, from + 1000],
    ].map(([, member, at]) => {
      one.use('ann', member as number, 1000, at as number);
      return one.told().length;
    });
    assert.deepEqual(counts, [1, 0, 1, 1]);
  });

  it('end alike, whatever the order in which engines hear of each other', () => {
    const step = fc.record({
      engine: fc.nat(2),
      client: fc.constantFrom('a', 'b', 'c'),
      member: fc.nat(2),
    });
    fc.assert(
      fc.property(
        fc.array(step, { minLength: 1, maxLength: 30 }),
        fc.infiniteStream(fc.nat(99)),
        (steps, dice) => {
          const engines = [0, 1, 2].map(() => new Engine(key));
          const mail: ToldSession[] = [];
          const model = new Map<string, number>();
          const from = nowMs() - 20_000;
          steps.forEach(({ engine, client, member }, n) => {
            engines[engine]!.use(client, member, 1000, from + n * 200);
            model.set(client, member);
            mail.push(...engines[engine]!.told());
          });
          // What is contested is told again, so it takes a second round.
          for (let round = 0; round < 2; round++) {
            for (const engine of engines) {
              const order = [...mail].sort(() => (dice.next().value as number) - 50);
              for (const session of order) engine.sharing.learn(session);
            }
            mail.push(...engines.flatMap((engine) => engine.told()));
          }
          for (const [client, member] of model) {
            const found = engines.map((engine) => engine.memberOf(client));
            assert.deepEqual(found, [member, member, member], client);
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  it('are not lost for good where more begin than anybody looks at', () => {
    const one = new Engine(key);
    for (let n = 0; n < 5000; n++) one.use(`client ${n}`, n % 3);
    assert.ok(one.told().length <= 4096);
    assert.equal(one.sharing.lost, 5000 - 4096);
    one.use('client 0', 1);
    assert.equal(one.told().length, 1);
  });

  it('are refused where they are none, and never last longer by a clock that runs ahead', () => {
    const one = new Engine(key);
    for (const client of ['', 'zz', '00000000000000AA', `${'0'.repeat(17)}`]) {
      assert.throws(() => one.sharing.learn({ client, member: KEYS[0]!, time: 1 }), TypeError);
    }
    assert.throws(
      () => one.sharing.learn({ client: '0'.repeat(16), member: KEYS[0]!, time: Number.NaN }),
      TypeError,
    );
    const two = new Engine(key);
    one.use('ann', 1);
    for (const session of one.told()) two.sharing.learn({ ...session, time: session.time + 1e9 });
    // A use here is later all the same.
    two.use('ann', 2, 1000, nowMs() + 200);
    assert.equal(two.memberOf('ann'), 2);
  });
});
