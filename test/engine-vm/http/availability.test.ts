/** Which members take requests, by a clock of the test: pauses, trials, ejection, slow starts, limits. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { ALL_BUSY, Availability, NO_MEMBER } from '../../../src/engine-vm/http/availability.ts';
import { Member } from '../../../src/engine-vm/http/member.ts';
import { settingsOf } from './proxy-site.ts';

const NOBODY = new Uint8Array();

class Pool {
  nowMs = 1000;
  readonly availability = new Availability(this);
  readonly members: Member[];
  settings;

  constructor(count: number, http: Record<string, unknown> = {}, method = 'least-connections') {
    const ports = Array.from({ length: count }, (_, n) => n + 1);
    this.settings = { ...settingsOf(1, ports, http), method: method as 'least-connections' };
    this.members = this.settings.members.map((one) => new Member(one.name, one.name, one, NOBODY, 0));
    this.availability.update(this.settings, this.members);
  }

  change(position: number, change: { isDown?: boolean; isDraining?: boolean }): void {
    const members = this.settings.members.map((one, n) => (n === position ? { ...one, ...change } : one));
    this.settings = { ...this.settings, members };
    this.availability.update(this.settings, this.members);
  }

  choose(except: Member | null = null): number {
    return this.availability.choose(0, except);
  }

  /** A request, answered with that status. */
  ask(status = 200): number {
    const chosen = this.choose();
    const member = this.members[chosen]!;
    this.availability.began(member);
    this.availability.answered(member, status, 1);
    this.availability.ended(member);
    return chosen;
  }

  /** How many of so many requests, all under way at once, each member gets. */
  spread(count: number): number[] {
    const counts = this.members.map(() => 0);
    for (let n = 0; n < count; n++) {
      const chosen = this.choose();
      counts[chosen]!++;
      this.availability.began(this.members[chosen]!);
    }
    for (const [n, requests] of counts.entries()) {
      for (let m = 0; m < requests; m++) this.availability.ended(this.members[n]!);
    }
    return counts;
  }
}

describe('members that take requests', () => {
  it('are not those that have just refused; they come back on trial, one request at a time', () => {
    const pool = new Pool(2);
    const { availability, members } = pool;
    const [refusing] = members as [Member, Member];
    availability.failed(refusing);
    assert.deepEqual(pool.spread(4), [0, 4]);
    pool.nowMs += 501;
    assert.deepEqual(pool.spread(4), [1, 3]);
    // The trial fails: twice as long.
    availability.failed(refusing);
    pool.nowMs += 999;
    assert.deepEqual(pool.spread(4), [0, 4]);
    pool.nowMs += 2;
    assert.deepEqual(pool.spread(4), [1, 3]);
    assert.deepEqual([pool.ask(), pool.ask()].sort(), [0, 1]);
    assert.deepEqual(pool.spread(4), [2, 2]);
  });

  it('are any again where all have refused', () => {
    const pool = new Pool(3);
    for (const member of pool.members) pool.availability.failed(member);
    assert.deepEqual([pool.ask(), pool.ask(), pool.ask()].sort(), [0, 1, 2]);
    pool.change(1, { isDown: true });
    for (let n = 0; n < 9; n++) assert.notEqual(pool.choose(), 1);
    assert.equal(pool.choose(pool.members[0]!), 2);
    pool.change(0, { isDraining: true });
    pool.change(2, { isDraining: true });
    assert.equal(pool.choose(), NO_MEMBER);
  });

  it('on trial take more where there is nobody else', () => {
    const pool = new Pool(1);
    pool.availability.failed(pool.members[0]!);
    pool.nowMs += 501;
    assert.deepEqual(pool.spread(5), [5]);
  });

  it('are not at their limit; where all are, they are said to be busy', () => {
    const pool = new Pool(2, { memberConnections: { max: 2 } });
    const [first, second] = pool.members as [Member, Member];
    const connect = (member: Member, count: number): void => {
      member.connections += count;
      pool.availability.judge(member);
    };
    connect(first, 2);
    assert.deepEqual(pool.spread(3), [0, 3]);
    connect(second, 2);
    assert.equal(pool.choose(), ALL_BUSY);
    pool.change(0, { isDraining: true });
    assert.equal(pool.choose(), ALL_BUSY);
    pool.change(1, { isDraining: true });
    assert.equal(pool.choose(), NO_MEMBER);
    pool.change(0, { isDraining: false });
    connect(first, -1);
    assert.equal(pool.choose(), 0);
  });

  it('get their share bit by bit after they were down, and not at the start', () => {
    const pool = new Pool(2, { slowStartMs: 10_000 });
    assert.deepEqual(pool.spread(20), [10, 10]);
    pool.change(0, { isDown: true });
    pool.change(0, { isDown: false });
    const shares = [];
    for (let n = 0; n < 6; n++) {
      const counts = pool.spread(1000);
      shares.push(Math.round((counts[0]! / counts[1]!) * 100));
      pool.nowMs += 2000;
    }
    assert.deepEqual(shares, [10, 20, 40, 60, 80, 100]);
  });

  it('get their share bit by bit in turns, too', () => {
    const pool = new Pool(3, { slowStartMs: 1000 }, 'round-robin');
    pool.change(2, { isDown: true });
    for (let n = 0; n < 7; n++) pool.ask();
    pool.change(2, { isDown: false });
    pool.nowMs += 500;
    const counts = [0, 0, 0];
    for (let n = 0; n < 100; n++) counts[pool.ask()]!++;
    assert.ok(counts[2]! >= 18 && counts[2]! <= 21, counts.join());
    pool.nowMs += 600;
    assert.deepEqual(Array.from({ length: 6 }, () => pool.ask()).sort(), [0, 0, 1, 1, 2, 2]);
  });
});

describe('members that err', () => {
  const ejection = { consecutiveErrors: 3, pauseMs: 1000, maxPercent: 100 };
  const err = (pool: Pool, count: number): void => {
    for (let n = 0; n < count; n++) pool.availability.answered(pool.members[0]!, 500, 1);
  };

  it('are left out twice as long where they fail on trial, and come back by one good answer', () => {
    const pool = new Pool(2, { ejection });
    err(pool, 3);
    assert.equal(pool.availability.ejections, 1);
    assert.deepEqual(pool.spread(2), [0, 2]);
    pool.nowMs += 1001;
    assert.deepEqual(pool.spread(4), [1, 3]);
    err(pool, 1);
    assert.equal(pool.availability.ejections, 2);
    pool.nowMs += 1900;
    assert.deepEqual(pool.spread(4), [0, 4]);
    pool.nowMs += 101;
    assert.equal([pool.ask(), pool.ask()].includes(0), true);
    assert.deepEqual(pool.spread(4), [2, 2]);
    err(pool, 2);
    assert.equal(pool.availability.ejections, 2);
  });

  it('are left out by their share of errors, among enough requests', () => {
    const policy = {
      ...ejection,
      consecutiveErrors: 1000,
      errorPercent: 50,
      minRequests: 10,
      windowMs: 5000,
    };
    const pool = new Pool(2, { ejection: policy });
    const [member] = pool.members as [Member, Member];
    for (let n = 0; n < 4; n++) {
      pool.availability.answered(member, 500, 1);
      pool.availability.answered(member, 200, 1);
    }
    pool.availability.answered(member, 404, 1);
    assert.equal(pool.availability.ejections, 0);
    pool.availability.erred(member);
    assert.equal(pool.availability.ejections, 1);
  });

  it('are not left out by errors of another time', () => {
    const policy = {
      ...ejection,
      consecutiveErrors: 1000,
      errorPercent: 50,
      minRequests: 10,
      windowMs: 5000,
    };
    const pool = new Pool(2, { ejection: policy });
    for (let n = 0; n < 5; n++) {
      err(pool, 8);
      pool.nowMs += 5000;
    }
    assert.equal(pool.availability.ejections, 0);
  });

  it('draw no requests by erring quickly', () => {
    const pool = new Pool(2, {}, 'least-response-time');
    const [bad, good] = pool.members as [Member, Member];
    pool.availability.answered(bad, 200, 20);
    pool.availability.answered(good, 200, 10);
    for (let n = 0; n < 100; n++) {
      pool.nowMs += 10;
      pool.availability.answered(good, 200, 10);
      pool.availability.answered(bad, 503, 0.1);
    }
    assert.equal(pool.choose(), 1);
  });
});

describe('availability', () => {
  it('holds, whatever happens, that a member is chosen where one may be, and none that may not', () => {
    const event = fc.record({
      kind: fc.constantFrom(
        'failed',
        'bad',
        'good',
        'down',
        'drain',
        'back',
        'connect',
        'close',
        'wait',
        'ask',
        'end',
      ),
      position: fc.nat(4),
      ms: fc.nat(3000),
    });
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5 }),
        fc.constantFrom('least-connections', 'round-robin', 'peak-ewma'),
        fc.array(event, { maxLength: 150 }),
        (count, method, events) => {
          const pool = new Pool(
            count,
            {
              memberConnections: { max: 3 },
              slowStartMs: 2000,
              ejection: { consecutiveErrors: 2, maxPercent: 100 },
            },
            method,
          );
          const { availability, members } = pool;
          for (const { kind, position: any, ms } of events) {
            const member = members[any % count]!;
            if (kind === 'failed') availability.failed(member);
            else if (kind === 'bad') availability.answered(member, 502, ms);
            else if (kind === 'good') availability.answered(member, 200, ms);
            else if (kind === 'down') pool.change(member.position, { isDown: true });
            else if (kind === 'drain') pool.change(member.position, { isDraining: true });
            else if (kind === 'back') pool.change(member.position, { isDown: false, isDraining: false });
            else if (kind === 'wait') pool.nowMs += ms;
            else if (kind === 'ask') availability.began(member);
            else if (kind === 'end' && member.active > 0) availability.ended(member);
            else if (kind === 'connect' || (kind === 'close' && member.connections > 0)) {
              member.connections += kind === 'connect' ? 1 : -1;
              availability.judge(member);
            }
            const chosen = availability.choose(0, null);
            const mayServe = ({ settings, connections }: Member): boolean =>
              !settings.isDraining && settings.isDown !== true && connections < 3;
            const isWell = (one: Member): boolean =>
              mayServe(one) && one.pausedUntilMs === 0 && !(one.isOnTrial && one.active > 0);
            const well = members.filter(isWell);
            if (chosen >= 0) assert.ok(mayServe(members[chosen]!));
            if (well.length > 0) assert.ok(chosen >= 0 && isWell(members[chosen]!), `${chosen}`);
            for (const one of members) assert.equal(availability.takes(one), isWell(one));
            const busy = members.filter(
              ({ settings, connections, pausedUntilMs }) =>
                !settings.isDraining && settings.isDown !== true && pausedUntilMs === 0 && connections >= 3,
            );
            if (well.length === 0 && busy.length > 0) assert.equal(chosen, ALL_BUSY);
            if (!members.some(mayServe) && busy.length === 0) assert.equal(chosen, NO_MEMBER);
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});
