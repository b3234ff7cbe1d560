/** The order of components: as the policy lists them, and refused by name where it could not work. */
import assert from 'node:assert/strict';
import { Service } from '../../../../src/engine-vm/http/service.ts';
import { HTTP_COMPONENTS } from '../../../../src/policy/http-order.ts';
import { HttpService } from '../../../../src/policy/http-service.ts';
import { settingsOf } from '../proxy-site.ts';

const ALL = {
  requestId: {},
  accessRules: {},
  rateLimits: { limits: [{ name: 'each', requests: 1 }] },
  redirects: [{ paths: ['/old'], to: 'http://new.example/' }],
  requestFields: { set: [{ name: 'X-Seen', value: '1' }] },
  rewrites: [{ to: { host: 'inner.example' } }],
  decompression: {},
  compression: {},
  cache: { maxBytes: 2 ** 20, maxObjectBytes: 2 ** 16 },
};

describe('order of components', () => {
  const chain = (http: Record<string, unknown>): string[] =>
    new Service(settingsOf(1, [2], http)).components.map(({ type }) => type);
  const problems = (order: readonly string[]): string[] => {
    const result = HttpService.safeParse({ order });
    return result.success ? [] : result.error.issues.map(({ message }) => message);
  };

  it('is the usual one where the policy says nothing', () => {
    assert.deepEqual(chain(ALL), [...HTTP_COMPONENTS]);
    assert.deepEqual(chain({}), []);
  });

  it('is that of the policy, with the others behind', () => {
    const [first, second] = ['field-changes', 'redirects'];
    assert.deepEqual(chain({ ...ALL, order: [first, second] }).slice(0, 2), [first, second]);
    const coded = chain({ ...ALL, order: ['decompression', 'compression'] });
    assert.deepEqual([coded[0], coded[1], coded.at(-1)], ['decompression', 'compression', 'cache']);
  });

  it('is refused by name where it cannot work', () => {
    assert.match(problems(['compression'])[0]!, /^must name decompression before compression: /);
    assert.match(problems(['redirects', 'cache'])[0]!, /^must name [a-z-]+ before cache: stored /);
    assert.match(problems(['redirects', 'redirects'])[0]!, /^names redirects again/);
    assert.match(problems(['mirror'])[0]!, /redirects/);
    assert.deepEqual(problems([...HTTP_COMPONENTS]), []);
  });
});
