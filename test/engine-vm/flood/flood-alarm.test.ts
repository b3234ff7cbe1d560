import assert from 'node:assert/strict';
import { FloodAlarm } from '../../../src/engine-vm/flood-alarm.ts';

const LOOK_MS = 250;

describe('alarm of a flood', () => {
  it('begins with many refusals, counts them, and ends when it has been quiet', () => {
    const alarm = new FloodAlarm();
    let refused = 0;
    let now = 0;
    const look = (newly: number, evicted = 0) => {
      refused += newly;
      now += LOOK_MS;
      alarm.note(
        new Map([
          ['web', { refused, evicted, answered: 0 }],
          ['mail', { refused: 0, evicted: 0, answered: 0 }],
        ]),
        now,
        1_000_000 + now,
      );
    };
    look(3);
    look(5);
    assert.deepEqual(alarm.floods(), {}, 'a few are a burst');
    look(1000);
    look(500, 40);
    assert.deepEqual(alarm.floods(), { web: { since: 1_000_750, refused: 1500, evicted: 40 } });
    for (let n = 0; n < 8; n++) look(0, 40);
    assert.ok(alarm.floods().web, 'a pause is no end');
    look(200, 40);
    for (let n = 0; n < 19; n++) look(0, 40);
    assert.equal(alarm.floods().web?.refused, 1700);
    look(0, 40);
    assert.deepEqual(alarm.floods(), {});
    look(0, 400);
    assert.deepEqual(alarm.floods(), { web: { since: 1_000_000 + now, refused: 0, evicted: 360 } });
    alarm.note(new Map(), now, now);
    assert.deepEqual(alarm.floods(), {}, 'the service is gone');
  });

  it('goes on while SYNs are answered with cookies, although nothing is refused or makes room any more', () => {
    const alarm = new FloodAlarm();
    let now = 0;
    let answered = 0;
    const look = (newly: number, evicted: number) => {
      answered += newly;
      now += LOOK_MS;
      alarm.note(new Map([['web', { refused: 0, evicted, answered }]]), now, 1_000_000 + now);
    };
    look(0, 40);
    for (let n = 0; n < 40; n++) look(100, 40);
    assert.deepEqual(alarm.floods(), { web: { since: 1_000_250, refused: 0, evicted: 40, answered: 4000 } });
    assert.deepEqual([...alarm.flooded()], ['web']);
    for (let n = 0; n < 20; n++) look(1, 40);
    assert.deepEqual([...alarm.flooded()], []);
  });
});
