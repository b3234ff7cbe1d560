/** Firewall policies and address sets as users write them: what is refused, and what is said then. */
import assert from 'node:assert/strict';
import { firewallProblems } from '../../src/policy/firewall-use.ts';
import { checkSpec, parseDocuments } from '../../src/policy/parse.ts';
import { missingReferences } from '../../src/policy/refs.ts';
import { kindNamed } from '../../src/policy/registry.ts';
import { isOpen, minuteOfDay } from '../../src/policy/time-window.ts';

describe('a firewall policy', () => {
  const problemsOf = (rule: object) =>
    checkSpec(kindNamed('firewall-policy'), {
      rules: [{ name: 'r', action: 'allow', ...rule }],
    }).problems.map(({ path, message }) => `${path} ${message}`);

  it('says what is wrong with a rule, and the remedy', () => {
    for (const [rule, expected] of [
      [{ action: 'rate-limit' }, /rules\[0\]\.limit is required .* connectionsPerSecond: 100/],
      [
        { limit: { packetsPerSecond: 1 } },
        /rules\[0\]\.limit belongs to the action rate-limit, not to allow/,
      ],
      [{ action: 'rate-limit', limit: {} }, /limit needs at least one of packetsPerSecond, bytesPerSecond/],
      [
        { times: { timeZone: 'Europe/Berln', windows: [{}] } },
        /timeZone is no time zone .*did you mean Europe\/Berlin\?/,
      ],
      [
        { times: { windows: [{ from: '25:00' }] } },
        /windows\[0\]\.from must be a time from "00:00" to "24:00"/,
      ],
      [{ times: { windows: [{ from: '08:00', to: '08:00' }] } }, /windows\[0\]\.to must differ from "from"/],
      [{ times: { windows: [{ days: ['monday'] }] } }, /did you mean mon|sun/],
      [{ fromSets: ['No Good'] }, /fromSets\[0\] must be lower-case/],
      [{ from: ['10.0.0.0/33'] }, /from\[0\] must be an address or a prefix/],
    ] as const) {
      const problems = problemsOf(rule);
      assert.ok(problems.length > 0, JSON.stringify(rule));
      assert.match(problems.join('\n'), expected);
    }
    assert.deepEqual(
      problemsOf({ times: { timeZone: 'Asia/Kolkata', windows: [{ to: '06:30' }] }, log: {} }),
      [],
    );
  });

  it('names the address set that was probably meant', () => {
    const spec = kindNamed('firewall-policy').spec.parse({
      rules: [{ name: 'r', action: 'allow', fromSets: ['blocklst'] }],
    });
    const [problem] = missingReferences(
      [{ kind: 'firewall-policy', name: 'edge', spec }],
      () => false,
      (kind) => (kind === 'address-set' ? ['blocklist', 'office'] : []),
    );
    assert.equal(problem?.path, '$.spec.rules[0].fromSets[0]');
    assert.match(
      problem?.message ?? '',
      /address-set "blocklst", which does not exist: did you mean blocklist\?/,
    );
  });

  it('is held against the services that use it: their tiers, and the place of the firewall', () => {
    const policy = (rule: object) => ({
      kind: 'firewall-policy',
      name: 'edge',
      spec: kindNamed('firewall-policy').spec.parse({ rules: [{ name: 'r', action: 'deny', ...rule }] }),
    });
    const service = (isBehind: boolean) => {
      const components = [{ type: 'firewall', policy: 'edge' }, { type: 'load-balancer' }];
      return {
        kind: 'virtual-service',
        name: 'shop',
        spec: kindNamed('virtual-service').spec.parse({
          engineGroup: 'g',
          tiers: [{ name: 'front', addresses: ['10.0.0.1'], port: 80, pool: 'p' }],
          components: isBehind ? components.reverse() : components,
        }),
      };
    };
    const [tier] = firewallProblems([policy({ tiers: ['frnt'] }), service(false)]);
    assert.match(
      tier?.message ?? '',
      /no service that uses the policy has a tier "frnt": did you mean front\?/,
    );
    assert.deepEqual(firewallProblems([policy({ tiers: ['frnt'] })]), [], 'nobody uses it yet');
    const [member] = firewallProblems([policy({ memberTags: ['a=b'] }), service(false)]);
    assert.equal(member?.path, '$.spec.components[0]');
    assert.match(member?.message ?? '', /put the firewall behind it/);
    assert.deepEqual(firewallProblems([policy({ memberTags: ['a=b'] }), service(true)]), []);
  });
});

describe('an address set', () => {
  it('holds 100,000 prefixes and refuses more, and what is no prefix by its place', function () {
    this.timeout(30_000);
    const prefixes = Array.from(
      { length: 100_000 },
      (_each, n) => `10.${n >> 15}.${(n >> 7) & 255}.${(n & 127) * 2}/32`,
    );
    const text = `kind: address-set\nname: large\nspec:\n  prefixes:\n${prefixes.map((one) => `    - ${one}\n`).join('')}`;
    const [document] = parseDocuments(text, 'large.yaml');
    assert.deepEqual(document?.spec, { description: '', prefixes });
    const check = (spec: object) =>
      checkSpec(kindNamed('address-set'), spec).problems.map((one) => `${one.path} ${one.message}`);
    assert.match(
      check({ prefixes: [...prefixes, '10.0.0.1'] }).join(),
      /prefixes expected a list of at most 100000, found a list of 100001/,
    );
    assert.match(
      check({ prefixes: ['10.0.0.1', '10.0.0.0/8/8'] }).join(),
      /prefixes\[1\] must be an address or a prefix/,
    );
  });
});

describe('a weekly window', () => {
  it('reads times of the day', () => {
    assert.deepEqual(
      ['00:00', '24:00', '23:59', '24:01', '9:00', '10:60', ''].map(minuteOfDay),
      [0, 1440, 1439, -1, -1, -1, -1],
    );
  });

  it('that passes midnight belongs to the day on which it begins', () => {
    const night = { timeZone: 'UTC', windows: [{ days: ['sat' as const], from: '23:00', to: '01:00' }] };
    assert.deepEqual(
      [
        isOpen(night, 6, 1380),
        isOpen(night, 0, 59),
        isOpen(night, 0, 60),
        isOpen(night, 0, 1400),
        isOpen(night, 6, 30),
      ],
      [true, true, false, false, false],
    );
    const day = { timeZone: 'UTC', windows: [{ days: ['mon' as const], from: '08:00', to: '24:00' }] };
    assert.deepEqual([isOpen(day, 1, 1439), isOpen(day, 2, 0), isOpen(day, 1, 479)], [true, false, false]);
  });
});
