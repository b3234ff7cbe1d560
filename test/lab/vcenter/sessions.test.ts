/** The tickets of the simulated vCenter, by a clock that is turned by hand. */
import assert from 'node:assert/strict';
import { IDLE_LIMIT_MS, SessionTable } from '../../../src/lab/vcenter/sessions.ts';

describe('clone tickets of the simulated vCenter', () => {
  let ms: number;
  let table: SessionTable;
  const open = () => table.open('jane@vsphere.local', { userAgent: 'browser', address: '127.0.0.1' });
  beforeEach(() => {
    ms = 0;
    table = new SessionTable(() => ms);
  });

  it('are good once, for the session that they were issued for', () => {
    const [jane, other] = [open(), open()];
    const tickets = [table.ticketFor(jane), table.ticketFor(other)] as const;
    assert.equal(table.redeem(tickets[1])?.key, other.key);
    assert.equal(table.redeem(tickets[0])?.key, jane.key);
    assert.equal(table.redeem(tickets[0]), undefined);
  });

  it('are not made up', () => {
    const ticket = table.ticketFor(open());
    for (const false_ of ['', 'cst-VCT-1', ticket.slice(0, -1), `${ticket}0`]) {
      assert.equal(table.redeem(false_), undefined);
    }
    assert.ok(table.redeem(ticket));
  });

  it('expire after five minutes, or with their session', () => {
    const session = open();
    const late = table.ticketFor(session);
    ms = 5 * 60_000;
    assert.ok(table.redeem(table.ticketFor(session)));
    assert.ok(table.redeem(late), 'up to the last moment');
    const later = table.ticketFor(session);
    ms += 5 * 60_000 + 1;
    assert.equal(table.redeem(later), undefined);
    const orphan = table.ticketFor(session);
    table.end(session);
    assert.equal(table.redeem(orphan), undefined);
  });

  it('do not bring back a session that was idle for too long', () => {
    const session = open();
    ms = IDLE_LIMIT_MS - 1;
    const ticket = table.ticketFor(session);
    ms += 2;
    assert.equal(table.redeem(ticket), undefined);
  });
});
