import assert from 'node:assert/strict';
import { TableAlarm } from '../../../src/engine-vm/table-alarm.ts';

describe('alarm of a full flow table', () => {
  it('begins with the first flow without room, counts on, and ends when it has been quiet', () => {
    const alarm = new TableAlarm();
    const look = (now: number, hashed: number, refused: number) =>
      alarm.note(new Map([['web', { hashed, refused }]]), now, 1_000_000 + now);
    alarm.note(new Map(), 0, 1_000_000);
    assert.deepEqual(alarm.services(), {});
    look(250, 1, 0);
    look(500, 3, 2);
    assert.deepEqual(alarm.services(), { web: { since: 1_000_250, hashed: 3, refused: 2 } });
    look(5400, 3, 2);
    assert.ok(alarm.services().web, 'a pause is no end');
    look(5500, 3, 2);
    assert.deepEqual(alarm.services(), {});
    look(6000, 4, 2);
    assert.deepEqual(alarm.services(), { web: { since: 1_006_000, hashed: 1, refused: 0 } });
    alarm.note(new Map(), 6250, 1_006_250);
    assert.deepEqual(alarm.services(), {}, 'the service is gone');
  });
});
