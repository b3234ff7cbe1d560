import assert from 'node:assert/strict';
import { fateOf } from '../../../src/lab/vcenter/fault-rules.ts';
import type { Fault } from '../../../src/lab/world/faults.ts';

type Rule = Extract<Fault, { kind: 'vcenter' }>;

function rule(given: Partial<Rule>): Fault {
  const whole = { id: 'f', kind: 'vcenter', call: '*', effect: 'none', object: null, percent: 100 };
  return { ...whole, count: null, delayMs: 0, ...given } as Fault;
}

describe('fault rules of the simulated vCenter', () => {
  it('keeps what is meant for one call until a call has a session', () => {
    const faults = [
      rule({ call: 'PowerOnVM_Task', effect: 'refuse', count: 1 }),
      rule({ effect: 'expire-session', count: 1 }),
    ];
    const [first, second, third] = [0, 1, 2].map(() => fateOf(faults, 'PowerOnVM_Task', 'vm-1'));
    assert.deepEqual([first!.isSessionLost, first!.fault], [true, null]);
    assert.deepEqual([second!.isSessionLost, second!.fault?.type], [false, 'SystemError']);
    assert.deepEqual([third!.isSessionLost, third!.fault, faults], [false, null, []]);
  });

  it('adds up the delays of all rules that a call meets', () => {
    const faults = [
      rule({ delayMs: 5 }),
      rule({ call: 'Login', delayMs: 7 }),
      rule({ object: 'vm-2', delayMs: 9 }),
    ];
    assert.equal(fateOf(faults, 'Login', 'vm-1').delayMs, 12);
  });
});
