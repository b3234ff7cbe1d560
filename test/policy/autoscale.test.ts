/** What may be asked of a pool that scales, and what is refused with which remedy. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { WeftError } from '../../src/policy/errors.ts';
import { parseDocuments } from '../../src/policy/parse.ts';
import { PoolSpec } from '../../src/policy/pool.ts';

const text = (autoscale: string): string =>
  `kind: pool\nname: shop\nspec:\n  cloud: lab\n  members: { tags: [app=shop] }\n  port: 8080\n  autoscale: ${autoscale}\n`;

function refused(autoscale: string): string {
  try {
    parseDocuments(text(autoscale), 'pool.yaml');
  } catch (error) {
    assert.ok(error instanceof WeftError && error.code === 'ERR_POLICY_INVALID', String(error));
    return error.problems.map(({ path, message }) => `${path} ${message}`).join('; ');
  }
  assert.fail(`accepted: ${autoscale}`);
}

describe('the autoscale attribute of a pool', () => {
  it('asks for little and has defaults for the rest', () => {
    const spec = PoolSpec.parse({
      cloud: 'lab',
      members: { tags: ['app=shop'] },
      port: 8080,
      autoscale: { max: 8, targets: { cpuPercent: 60 } },
    });
    const { min, source, scaleOut, scaleIn, drainTimeoutMs, tolerancePercent } = spec.autoscale ?? {};
    assert.deepEqual([min, source, tolerancePercent, drainTimeoutMs], [1, { kind: 'full' }, 10, 300_000]);
    assert.deepEqual(scaleOut, { afterMs: 15_000, cooldownMs: 60_000, step: 2 });
    assert.deepEqual(scaleIn, { afterMs: 300_000, cooldownMs: 300_000, step: 1 });
  });

  it('has a sample, which differs from the pool of the lab in nothing else', () => {
    const read = (name: string) => {
      const file = join(import.meta.dirname, '../../templates', name);
      return parseDocuments(readFileSync(file, 'utf8'), name).find(({ kind }) => kind === 'pool')!;
    };
    const { autoscale, ...rest } = read('autoscale.yaml').spec as PoolSpec;
    assert.deepEqual(rest, read('lab.yaml').spec);
    assert.deepEqual([autoscale?.min, autoscale?.max], [6, 9]);
  });

  it('refuses bounds and sizes that cannot be, and says what may', () => {
    assert.match(
      refused('{ min: 5, max: 2, targets: { cpuPercent: 50 } }'),
      /autoscale\.min must not be more than max \(2\)/,
    );
    assert.match(
      refused('{ min: 2, max: 4, size: 5 }'),
      /autoscale\.size must lie between min \(2\) and max \(4\)/,
    );
    assert.match(refused('{ max: 0, targets: { cpuPercent: 50 } }'), /autoscale\.max/);
    assert.match(refused('{ targets: { cpuPercent: 50 } }'), /autoscale\.max/);
  });

  it('refuses a pool of which nothing says how large it shall be', () => {
    assert.match(refused('{ max: 4 }'), /autoscale\.targets needs connectionsPerMember, cpuPercent or both/);
    for (const enough of [
      '{ min: 4, max: 4 }',
      '{ max: 4, size: 2 }',
      '{ max: 4, targets: { cpuPercent: 5 } }',
    ]) {
      assert.equal(parseDocuments(text(enough), 'pool.yaml').length, 1, enough);
    }
  });

  it('refuses sources and targets that make no sense, and names what was probably meant', () => {
    assert.match(refused('{ max: 4, size: 2, source: { kind: ful } }'), /autoscale\.source/);
    assert.match(refused('{ max: 4, size: 2, source: { kind: template } }'), /autoscale\.source\.template/);
    assert.match(refused('{ max: 4, targets: { cpuPercent: 200 } }'), /autoscale\.targets\.cpuPercent/);
    assert.match(refused('{ max: 4, size: 2, namePrefix: "Shop " }'), /namePrefix must be lower-case/);
    assert.match(refused('{ max: 4, size: 2, drainTimeout: 5 }'), /drainTimeoutMs/);
  });
});
