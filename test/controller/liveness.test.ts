/** Whom the controller believes. */
import assert from 'node:assert/strict';
import { TIMING } from '../../src/controller/actual.ts';
import { type Judgement, Liveness, type Signs } from '../../src/controller/liveness.ts';

interface Script {
  id: string;
  isConnected?: boolean;
  isMute?: boolean;
  isStill?: boolean;
  isReady?: boolean;
  isOff?: boolean;
  isNew?: boolean;
  isBeingMade?: boolean;
  /** Connected in a new life, of which there is no report yet. */
  isUnheard?: boolean;
  /** Engines it says it cannot see. */
  accuses?: string[];
}

describe('liveness', () => {
  let now = 0;
  let liveness: Liveness;
  const heartbeats = new Map<string, number>();
  const reportedAt = new Map<string, number>();
  beforeEach(() => {
    now = 1000;
    liveness = new Liveness(now, TIMING);
    heartbeats.clear();
    reportedAt.clear();
  });

  const judge = (scripts: Script[]): Map<string, Judgement> => {
    const signs = scripts.map((script): Signs => {
      if (!script.isStill) heartbeats.set(script.id, (heartbeats.get(script.id) ?? 0) + 1);
      if (!script.isMute) reportedAt.set(script.id, now);
      const peers = Object.fromEntries(
        scripts
          .filter((other) => other.id !== script.id)
          .map((other) => [
            other.id,
            { isAlive: !script.accuses?.includes(other.id), isInsideAlive: null, silentMs: 0 },
          ]),
      );
      const isConnected = script.isConnected ?? true;
      return {
        id: script.id,
        group: 'edge',
        deadAfterMs: 500,
        vm: { id: `vm-${script.id}`, power: script.isOff ? 'off' : 'on' },
        isNew: script.isNew ?? false,
        isDeployed: !(script.isBeingMade ?? false),
        isInLine: true,
        isConnected,
        reportedAt: script.isUnheard ? Number.NEGATIVE_INFINITY : (reportedAt.get(script.id) ?? 0),
        report:
          isConnected && !script.isUnheard
            ? {
                host: '',
                graphRevision: 1,
                graphError: null,
                isReady: script.isReady ?? true,
                heartbeat: heartbeats.get(script.id) ?? 0,
                datapath: '',
                peers,
                ports: {},
                drops: {},
                flows: 0,
                newFlows: 0,
                components: {},
              }
            : null,
      };
    });
    return liveness.judge(signs, now);
  };
  const pass = (ms: number, scripts: Script[]): Record<string, string> => {
    let result = new Map<string, Judgement>();
    for (let passed = 0; passed < ms; passed += 100) {
      now += 100;
      result = judge(scripts);
    }
    return Object.fromEntries([...result].map(([id, { verdict }]) => [id, verdict]));
  };

  it('gives a new process of an engine the time to report, and no longer', () => {
    // The peer has not been well for long enough to be asked.
    for (let i = 0; i < 80; i++) {
      now += 100;
      judge([{ id: 'a' }, { id: 'b', isReady: false }]);
    }
    now += 100;
    assert.notEqual(judge([{ id: 'a', isUnheard: true }, { id: 'b' }]).get('a')!.verdict, 'silent');
    for (let i = 0; i < 100; i++) {
      now += 100;
      judge([
        { id: 'a', isUnheard: true, isStill: true },
        { id: 'b', accuses: ['a'] },
      ]);
    }
    assert.equal(
      judge([
        { id: 'a', isUnheard: true, isStill: true },
        { id: 'b', accuses: ['a'] },
      ]).get('a')!.verdict,
      'silent',
    );
  });

  it('believes the majority of live peers against an engine that speaks for itself', () => {
    const healthy = [{ id: 'a' }, { id: 'b' }, { id: 'c' }];
    pass(6000, healthy);
    const verdicts = pass(1500, [{ id: 'a' }, { id: 'b', accuses: ['c'] }, { id: 'c' }]);
    assert.deepEqual(verdicts, { a: 'alive', b: 'alive', c: 'alive' }, 'one of two is no majority');
    const all = pass(1500, [
      { id: 'a', accuses: ['c'] },
      { id: 'b', accuses: ['c'] },
      { id: 'c', accuses: ['a', 'b'] },
    ]);
    assert.deepEqual(all, { a: 'alive', b: 'alive', c: 'silent' });
  });

  it('does not take the last words of an engine that was switched off for those of the one that boots', () => {
    pass(6000, [{ id: 'a' }, { id: 'b' }]);
    const lingering: Script = { id: 'b', isMute: true, isStill: true };
    assert.equal(pass(100, [{ id: 'a' }, { ...lingering, isOff: true }]).b, 'silent');
    assert.equal(
      pass(500, [{ id: 'a' }, lingering]).b,
      'starting',
      'its old link is not noticed to be dead yet',
    );
    assert.equal(pass(500, [{ id: 'a' }, { id: 'b' }]).b, 'alive');
  });

  it('hears the accusers that are accused themselves last', () => {
    const ids = ['a', 'b', 'c', 'd'];
    pass(
      6000,
      ids.map((id) => ({ id })),
    );
    const verdicts = pass(1500, [
      { id: 'a', accuses: ['b', 'c', 'd'] },
      { id: 'b', accuses: ['a', 'c', 'd'] },
      { id: 'c', accuses: ['a', 'b'] },
      { id: 'd', accuses: ['a', 'b'] },
    ]);
    assert.deepEqual(verdicts, { a: 'silent', b: 'silent', c: 'alive', d: 'alive' });
  });

  it('believes nobody when two engines accuse each other, or all do', () => {
    pass(6000, [{ id: 'a' }, { id: 'b' }]);
    const verdicts = pass(5000, [
      { id: 'a', accuses: ['b'] },
      { id: 'b', accuses: ['a'] },
    ]);
    assert.deepEqual(verdicts, { a: 'alive', b: 'alive' });
  });

  it('does not let an engine that has just come up condemn its peer', () => {
    pass(6000, [{ id: 'a' }]);
    assert.equal(pass(800, [{ id: 'a' }, { id: 'b', isNew: true, accuses: ['a'] }]).a, 'alive');
  });

  it('sees a data-plane thread that stands still behind a main thread that talks', () => {
    pass(6000, [{ id: 'a' }]);
    assert.equal(pass(900, [{ id: 'a', isStill: true }]).a, 'alive');
    assert.equal(pass(500, [{ id: 'a', isStill: true }]).a, 'silent');
    assert.equal(pass(700, [{ id: 'a' }]).a, 'alive', 'and takes it back when it turns again');
  });

  it('gives an engine without peers a second of a broken link', () => {
    pass(6000, [{ id: 'a' }]);
    assert.equal(pass(900, [{ id: 'a', isConnected: false }]).a, 'alive');
    assert.equal(pass(600, [{ id: 'a', isConnected: false }]).a, 'silent');
  });

  it('decides at once on a VM that is off', () => {
    pass(100, [{ id: 'a' }, { id: 'b' }]);
    assert.equal(pass(100, [{ id: 'a' }, { id: 'b', isOff: true, isConnected: false }]).b, 'silent');
  });

  it('takes a VM that is off because it is still being made for no failure', () => {
    const made: Script = { id: 'a', isNew: true, isBeingMade: true, isOff: true, isConnected: false };
    assert.equal(pass(500, [made]).a, 'starting');
    assert.equal(pass(500, [{ ...made, isOff: false, isBeingMade: false }]).a, 'starting');
    assert.equal(pass(100, [{ ...made, isBeingMade: false }]).a, 'silent');
    assert.equal(
      pass(500, [{ ...made, isOff: false, isBeingMade: false }]).a,
      'starting',
      'switched on again, it boots',
    );
  });

  it('lets a new engine boot, but not for ever', () => {
    const boot: Script = { id: 'a', isNew: true, isConnected: false };
    assert.equal(pass(TIMING.bootTimeoutMs, [boot]).a, 'starting');
    assert.equal(pass(500, [boot]).a, 'silent');
  });

  it('counts one lost link among several as lost, but not all at once', () => {
    const ids = ['a', 'b', 'c'];
    pass(
      6000,
      ids.map((id) => ({ id })),
    );
    const gone = pass(
      5000,
      ids.map((id) => ({ id, isConnected: false })),
    );
    assert.deepEqual(gone, { a: 'headless', b: 'headless', c: 'headless' });
    const mute = pass(
      5000,
      ids.map((id) => ({ id, isMute: true, isStill: true })),
    );
    assert.deepEqual(mute, { a: 'headless', b: 'headless', c: 'headless' });
  });

  it('does not hold its own pause against engines', () => {
    pass(6000, [{ id: 'a' }]);
    now += 60_000;
    assert.equal(pass(1500, [{ id: 'a', isMute: true, isStill: true }]).a, 'headless');
    assert.equal(pass(2500, [{ id: 'a', isMute: true, isStill: true }]).a, 'silent');
  });
});
