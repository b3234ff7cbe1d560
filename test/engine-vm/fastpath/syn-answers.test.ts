/** SYNs that the XDP program answers, beside what TypeScript answers. */
import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { requireRoot } from '../../root.ts';
import { Namespaces } from '../kernel/namespaces.ts';

const program = fileURLToPath(new URL('syn-answer-program.ts', import.meta.url));
const SYNS = 20_000;
/** WEFT_FASTPATH_SEED repeats a run. */
const SEED = Number(process.env.WEFT_FASTPATH_SEED ?? Date.now() % 1_000_000);

interface Outcome {
  answered: number;
  dropped: number;
  counted: number;
  guarded: string[];
  wrong: object | null;
}

describe('SYNs over the share of a service with SYN cookies', () => {
  const spaces = new Namespaces();

  after(() => spaces.close());

  it('are answered by the XDP program as by TypeScript, to the byte, and not past a firewall', function () {
    this.timeout(60_000);
    requireRoot(this, 'tests of the fast path');
    const space = spaces.add('syns');
    for (const scope of ['all', 'default']) spaces.sysctl(space, `net/ipv6/conf/${scope}/disable_ipv6`, 1);
    for (const name of ['out', 'in']) spaces.link(space, name, space, `far-${name}`);
    console.log(`      seed ${SEED}`);
    const node = ['--disable-warning=ExperimentalWarning', program, String(SYNS), String(SEED)];
    const outcome = JSON.parse(spaces.run(space, process.execPath, node)) as Outcome;
    assert.equal(outcome.wrong, null, JSON.stringify(outcome.wrong));
    assert.ok(outcome.answered > SYNS / 2, `${outcome.answered} of ${SYNS} were answered`);
    assert.ok(outcome.dropped > SYNS / 50, `${outcome.dropped} of ${SYNS} were not to be answered`);
    assert.equal(outcome.counted, outcome.answered);
    assert.deepEqual(outcome.guarded, []);
  });
});
