/** The firewall: against an oracle that walks the rules one by one, and its own promises. */
import assert from 'node:assert/strict';
import { isIPv6 } from 'node:net';
import fc from 'fast-check';
import { AddressClasses } from '../../../src/engine-vm/component/address-classes.ts';
import { type Decision, DROP, PASS, REJECT } from '../../../src/engine-vm/component/component.ts';
import { BARE_CONTEXT, Firewall } from '../../../src/engine-vm/component/firewall.ts';
import { FirewallLog, LOG_ENTRIES } from '../../../src/engine-vm/component/firewall-log.ts';
import { RuleClassifier } from '../../../src/engine-vm/component/rule-classifier.ts';
import { RuleSchedule } from '../../../src/engine-vm/component/rule-schedule.ts';
import { dropIndex } from '../../../src/engine-vm/drops.ts';
import { parseAddress } from '../../../src/packet/address.ts';
import { packPrefixes } from '../../../src/packet/packed-prefixes.ts';
import { Packet } from '../../../src/packet/packet.ts';
import type { RateLimit } from '../../../src/policy/firewall-policy.ts';
import type { GraphFirewallRule } from '../../../src/policy/graph.ts';

interface Shape {
  from: string;
  to: string;
  protocol: number;
  sourcePort: number;
  port: number;
}

function packetOf(shape: Shape): Packet {
  const words = new Int32Array(8);
  assert.ok(parseAddress(shape.from, words, 0) && parseAddress(shape.to, words, 4));
  const packet = new Packet();
  packet.ipVersion = isIPv6(shape.from) ? 6 : 4;
  packet.protocol = shape.protocol;
  [packet.s0, packet.s1, packet.s2, packet.s3, packet.d0, packet.d1, packet.d2, packet.d3] = words;
  packet.sourcePort = shape.sourcePort;
  packet.destinationPort = shape.port;
  return packet;
}

/** What rules of the oracle may name besides: prefixes and members by set, tiers by position. */
interface Surroundings {
  sets: string[][];
  memberSets: number[][];
  tiers: string[];
  tier: number;
  member: number;
  isResting: boolean[];
}

const NOWHERE: Surroundings = { sets: [], memberSets: [], tiers: [], tier: 0, member: -1, isResting: [] };

/** The policy's words, rule by rule, over BigInt addresses: shares no code with the firewall. */
function oracle(rules: Partial<GraphFirewallRule>[], shape: Shape, around: Surroundings = NOWHERE): number {
  const numberOf = (text: string): { bits: number; value: bigint } => {
    if (!text.includes(':')) {
      return { bits: 32, value: text.split('.').reduce((sum, part) => sum * 256n + BigInt(part), 0n) };
    }
    const [head, tail] = text.split('::').map((side) => (side === '' ? [] : side.split(':')));
    const groups =
      tail === undefined ? head : [...head, ...new Array(8 - head.length - tail.length).fill('0'), ...tail];
    return { bits: 128, value: groups.reduce((sum, group) => sum * 65536n + BigInt(`0x${group}`), 0n) };
  };
  const isInPrefix = (prefix: string, address: string) => {
    const [base, length] = prefix.split('/');
    const network = numberOf(base);
    const host = numberOf(address);
    if (network.bits !== host.bits) return false;
    const ignored = BigInt(network.bits - (length === undefined ? network.bits : Number(length)));
    return network.value >> ignored === host.value >> ignored;
  };
  const isInRange = (range: string, port: number) => {
    const [from, to = from] = range.split('-').map(Number);
    return port >= from && port <= to;
  };
  const names: Record<number, string> = { 6: 'tcp', 17: 'udp', 1: 'icmp', 58: 'icmp' };
  const isInAny = (prefixes: string[] | undefined, sets: number[] | undefined, address: string) =>
    (prefixes === undefined && sets === undefined) ||
    [...(prefixes ?? []), ...(sets ?? []).flatMap((set) => around.sets[set]!)].some((prefix) =>
      isInPrefix(prefix, address),
    );
  return rules.findIndex((rule, index) => {
    const protocol = names[shape.protocol];
    if (around.isResting[index]) return false;
    if (rule.tiers && !rule.tiers.some((name) => around.tiers[around.tier] === name)) return false;
    if (rule.memberSet !== undefined && !around.memberSets[rule.memberSet]!.includes(around.member))
      return false;
    if (rule.protocol !== undefined && rule.protocol !== 'any' && rule.protocol !== protocol) return false;
    if (!isInAny(rule.from, rule.fromSets, shape.from)) return false;
    if (!isInAny(rule.to, rule.toSets, shape.to)) return false;
    if ((rule.ports || rule.sourcePorts) && protocol !== 'tcp' && protocol !== 'udp') return false;
    if (rule.ports && !rule.ports.some((range) => isInRange(range, shape.port))) return false;
    return !rule.sourcePorts || rule.sourcePorts.some((range) => isInRange(range, shape.sourcePort));
  });
}

function rule(name: string, parts: Partial<GraphFirewallRule> = {}): GraphFirewallRule {
  return { name, action: 'allow', protocol: 'any', ...parts };
}

function classesOf(sets: string[][]): AddressClasses {
  return new AddressClasses(
    sets.map((prefixes, index) => ({ name: `s${index}`, hash: '', prefixes: packPrefixes(prefixes) })),
  );
}

function decision(isTrace = false): Decision {
  return {
    service: 0,
    tier: 0,
    isNewFlow: true,
    member: -1,
    reason: -1,
    rule: -1,
    isMetered: false,
    isByHash: false,
    isTrace,
  };
}

// Few distinct bytes, so that random packets do meet random rules.
const byte = fc.constantFrom(0, 1, 10, 127, 128, 255);
const ipv4 = fc.tuple(fc.constantFrom(10, 192), byte, byte, byte).map((bytes) => bytes.join('.'));
const group = fc.constantFrom('0', '1', '8000', 'ffff');
const ipv6 = fc
  .tuple(fc.constantFrom('fd00', '2001', '0'), group, group, group)
  .map(([a, b, c, d]) => `${a}:${b}::${c}:${d}`);
const prefix = fc.oneof(
  ipv4,
  fc.tuple(ipv4, fc.nat(32)).map(([address, bits]) => `${address}/${bits}`),
  ipv6,
  fc.tuple(ipv6, fc.nat(128)).map(([address, bits]) => `${address}/${bits}`),
  fc.constantFrom('0.0.0.0/0', '::/0', '::ffff:0:0/96'),
);
const port = fc.oneof(
  fc.constantFrom(1, 53, 80, 443, 1023, 1024, 8080, 65535),
  fc.integer({ min: 1, max: 65535 }),
);
const range = fc.oneof(
  port.map(String),
  fc.tuple(port, port).map(([a, b]) => `${Math.min(a, b)}-${Math.max(a, b)}`),
);
const list = <T>(item: fc.Arbitrary<T>) => fc.array(item, { minLength: 1, maxLength: 4 });
const anyRule = fc.record(
  {
    from: list(prefix),
    to: list(prefix),
    protocol: fc.constantFrom('any', 'tcp', 'udp', 'icmp'),
    ports: list(range),
    sourcePorts: list(range),
  },
  { requiredKeys: [] },
) as fc.Arbitrary<Partial<GraphFirewallRule>>;
const ports = fc.oneof(fc.constant(0), port);
const shape: fc.Arbitrary<Shape> = fc
  .tuple(
    fc.oneof(fc.tuple(ipv4, ipv4), fc.tuple(ipv6, ipv6)),
    fc.constantFrom(6, 6, 17, 1, 58, 47),
    ports,
    ports,
  )
  .map(([[from, to], protocol, sourcePort, destination]) => ({
    from,
    to,
    protocol,
    sourcePort,
    port: destination,
  }));

describe('firewall rule classifier', () => {
  it('finds the rule that walking all of them finds, over 20,000 random packets', function () {
    this.timeout(60_000);
    fc.assert(
      fc.property(
        fc.array(anyRule, { maxLength: 60 }),
        fc.array(shape, { minLength: 100, maxLength: 100 }),
        (rules, shapes) => {
          const classifier = new RuleClassifier(rules.map((parts, index) => rule(`r${index}`, parts)));
          for (const each of shapes) {
            assert.equal(classifier.find(packetOf(each)), oracle(rules, each), JSON.stringify(each));
          }
        },
      ),
      { numRuns: 200 },
    );
  });

  it('does so with address sets, tiers, members and rules that rest, over 20,000 random packets', function () {
    this.timeout(60_000);
    const setIndex = fc.array(fc.nat(4), { minLength: 1, maxLength: 3 });
    const fullRule = fc
      .tuple(
        anyRule,
        fc.record(
          {
            fromSets: setIndex,
            toSets: setIndex,
            memberSet: fc.nat(2),
            tiers: fc.uniqueArray(fc.constantFrom('web', 'app', 'gone'), { minLength: 1 }),
          },
          { requiredKeys: [] },
        ),
      )
      .map(([one, other]) => ({ ...one, ...other })) as fc.Arbitrary<Partial<GraphFirewallRule>>;
    const places = fc.record({ tier: fc.nat(1), member: fc.integer({ min: -1, max: 5 }) });
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fullRule, fc.boolean()), { maxLength: 60 }),
        fc.array(fc.array(prefix, { maxLength: 12 }), { minLength: 5, maxLength: 5 }),
        fc.array(fc.uniqueArray(fc.nat(5)), { minLength: 3, maxLength: 3 }),
        fc.array(fc.tuple(shape, places), { minLength: 100, maxLength: 100 }),
        (drawn, sets, memberSets, shapes) => {
          const rules = drawn.map(([parts]) => parts);
          const isResting = drawn.map(([, rests]) => rests);
          const tiers = ['web', 'app'];
          const times = { timeZone: 'UTC', windows: [] };
          const classifier = new RuleClassifier(
            rules.map((parts, index) =>
              rule(`r${index}`, { ...parts, ...(isResting[index] ? { times } : {}) }),
            ),
            { tiers, addressSets: classesOf(sets), memberSets },
            Uint8Array.from(isResting, Number),
          );
          for (const [each, place] of shapes) {
            assert.equal(
              classifier.find(packetOf(each), place.tier, place.member),
              oracle(rules, each, { sets, memberSets, tiers, isResting, ...place }),
              JSON.stringify([each, place]),
            );
          }
        },
      ),
      { numRuns: 200 },
    );
  });

  it('does not let an IPv4 prefix fit an IPv6 packet that carries a mapped address, nor the reverse', () => {
    const classifier = new RuleClassifier([
      rule('four', { from: ['0.0.0.0/0'] }),
      rule('six', { from: ['::/0'] }),
    ]);
    const base = { to: '10.0.0.1', protocol: 6, sourcePort: 1, port: 1 };
    assert.equal(classifier.find(packetOf({ ...base, from: '10.0.0.1' })), 0);
    assert.equal(classifier.find(packetOf({ ...base, from: 'fd00::1', to: 'fd00::2' })), 1);
    const mapped = packetOf({ ...base, from: '10.0.0.1' });
    mapped.ipVersion = 6;
    assert.equal(classifier.find(mapped), 1);
  });

  it('does not take the identifier of an ICMP echo for a port', () => {
    const classifier = new RuleClassifier([
      rule('web', { ports: ['80'] }),
      rule('odd', { protocol: 'icmp', ports: ['80'] }),
    ]);
    const echo = packetOf({ from: '10.0.0.1', to: '10.0.0.2', protocol: 1, sourcePort: 80, port: 80 });
    assert.equal(classifier.find(echo), -1);
  });

  it('names the rule that cannot be read', () => {
    for (const parts of [{ from: ['10.0.0.0/33'] }, { to: ['web'] }, { ports: ['0'] }, { ports: ['9-8'] }]) {
      assert.throws(() => new RuleClassifier([rule('odd', parts)]), {
        code: 'ERR_POLICY_INVALID',
        message: /odd/,
      });
    }
  });

  const address = (n: number) => `10.${(n >> 16) & 255}.${(n >> 8) & 255}.${n & 255}`;
  const large: [string, (n: number) => Partial<GraphFirewallRule>][] = [
    ['differ by source', (n) => ({ from: [`${address(n)}/32`] })],
    ['differ by destination port', (n) => ({ protocol: 'tcp', ports: [String(n + 1)] })],
    ['share the source and differ by port', (n) => ({ from: ['10.0.0.0/8'], ports: [String(n + 1)] })],
    [
      'differ by destination and source port',
      (n) => ({ to: [address(n >> 4)], sourcePorts: [String(n + 1)] }),
    ],
    [
      'name a range of ports and a source each',
      (n) => ({ from: [address(n)], ports: ['1-1000', `${n + 1}`] }),
    ],
  ];
  for (const [what, parts] of large) {
    it(`decides among 10,000 rules that ${what} in microseconds`, () => {
      const rules = Array.from({ length: 10_000 }, (_rule, n) => rule(`r${n}`, parts(n)));
      const classifier = new RuleClassifier(rules);
      const packet = packetOf({
        from: '10.0.0.9',
        to: '10.0.200.9',
        protocol: 6,
        sourcePort: 9,
        port: 60_000,
      });
      const startedAt = performance.now();
      for (let n = 0; n < 20_000; n++) {
        packet.s3 = 0x0a000000 + n;
        packet.destinationPort = n;
        classifier.find(packet);
      }
      const microseconds = ((performance.now() - startedAt) * 1000) / 20_000;
      // Walking 10,000 rules takes 30 and more; generous, because machines differ.
      assert.ok(microseconds < 15, `${microseconds} us a packet`);
    });
  }

  it('holds one rule with 10,000 prefixes on both sides', () => {
    const many = Array.from({ length: 10_000 }, (_prefix, n) => address(n * 2));
    const classifier = new RuleClassifier([rule('block', { from: many, to: many })]);
    const find = (from: number, to: number) =>
      classifier.find(
        packetOf({ from: address(from), to: address(to), protocol: 6, sourcePort: 1, port: 1 }),
      );
    assert.deepEqual([find(4000, 6000), find(4001, 6000), find(4000, 6001)], [0, -1, -1]);
  });
});

describe('firewall', () => {
  const rules = [
    rule('office', { from: ['10.0.0.0/8'], ports: ['80'] }),
    rule('noisy', { action: 'reject', from: ['10.0.0.0/8'] }),
    rule('bad', { action: 'deny', from: ['192.0.2.1'] }),
  ];
  const spec = { type: 'firewall' as const, policy: 'edge', rules, defaultAction: 'deny' as const };
  const from = (source: string, destinationPort: number) =>
    packetOf({ from: source, to: '10.0.9.1', protocol: 6, sourcePort: 1000, port: destinationPort });

  it('lets the first rule that fits decide, else the default, and counts by rule', () => {
    const firewall = new Firewall(spec);
    const verdict = (source: string, destinationPort: number) => {
      const state = decision();
      return [firewall.process(from(source, destinationPort), state), state.reason, state.rule];
    };
    assert.deepEqual(verdict('10.0.0.1', 80), [PASS, -1, 0]);
    assert.deepEqual(verdict('10.0.0.1', 81), [REJECT, dropIndex('firewall-reject'), 1]);
    assert.deepEqual(verdict('192.0.2.1', 80), [DROP, dropIndex('firewall-deny'), 2]);
    assert.deepEqual(verdict('192.0.2.2', 80), [DROP, dropIndex('firewall-deny'), -1]);
    assert.deepEqual(verdict('192.0.2.3', 80), [DROP, dropIndex('firewall-deny'), -1]);
    assert.deepEqual(firewall.counters(), { office: 1, noisy: 1, bad: 1, default: 2 });
  });

  it('says which rule decided, and counts no traces', () => {
    const firewall = new Firewall({ ...spec, defaultAction: 'allow' });
    const state = decision(true);
    firewall.process(from('10.0.0.1', 81), state);
    assert.equal(
      firewall.describe(state),
      'policy edge, rule noisy (2 of 3): reject; 0 packets judged by it so far',
    );
    assert.equal(firewall.process(from('192.0.2.7', 81), state), PASS);
    assert.equal(
      firewall.describe(state),
      'policy edge, no rule fits: allow by default; 0 packets judged by it so far',
    );
    assert.deepEqual(firewall.counters(), {});
  });

  it('judges established flows, and keeps its counters in a new graph', () => {
    const firewall = new Firewall(spec);
    assert.equal(firewall.judgesEstablished, true);
    firewall.process(from('10.0.0.1', 80), decision());
    firewall.process(from('192.0.2.2', 80), decision());
    const next = new Firewall({ ...spec, rules: [rules[2], rules[0]] }, undefined, firewall);
    assert.deepEqual(next.counters(), { office: 1, default: 1 });
  });
});

describe('address sets', () => {
  it('hold addresses up to the borders of their prefixes, and at both ends of the address space', () => {
    const classes = classesOf([
      ['0.0.0.0/32', '10.0.0.0/8', '10.1.0.0/16', '255.255.255.255', '::', 'ffff::/16'],
      ['10.1.0.0/16', '10.2.3.4', 'fd00::/8', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
    ]);
    const sets = (text: string) => {
      const words = new Int32Array(4);
      assert.ok(parseAddress(text, words));
      const [a, b, c, d] = words as unknown as [number, number, number, number];
      return [...classes.find(isIPv6(text) ? 6 : 4, a, b, c, d)].join();
    };
    const found = ['0.0.0.0', '0.0.0.1', '9.255.255.255', '10.0.0.0', '10.1.0.0', '10.1.255.255', '10.2.3.4']
      .concat(['10.2.3.5', '10.255.255.255', '11.0.0.0', '255.255.255.254', '255.255.255.255'])
      .map(sets);
    assert.deepEqual(found, ['0', '', '', '0', '0,1', '0,1', '0,1', '0', '0', '', '', '0']);
    const six = ['::', '::1', 'fcff:ffff::', 'fd00::', 'fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', 'fe00::']
      .concat([
        'ffff::1',
        'ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe',
        'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff',
      ])
      .map(sets);
    assert.deepEqual(six, ['0', '', '', '1', '1', '', '0', '0', '0,1']);
  });

  it('are refused by name where they are damaged or not here', () => {
    const set = { name: 'bad', hash: '' };
    assert.throws(() => new AddressClasses([set]), /address set bad is not here/);
    assert.throws(() => new AddressClasses([{ ...set, prefixes: 'AQAA' }]), /address set bad: it is cut off/);
    const twice = Buffer.concat([Buffer.from([2, 0, 0, 0]), Buffer.from([9, 0, 0, 0, 8, 1, 0, 0, 0, 8])]);
    assert.throws(
      () => new AddressClasses([{ ...set, prefixes: twice.toString('base64') }]),
      /address set bad: its IPv4 prefixes are not in order/,
    );
  });

  it('of 100,000 prefixes each take a few bytes a prefix', () => {
    const four = Array.from(
      { length: 100_000 },
      (_each, n) => `10.${n >> 15}.${(n >> 7) & 255}.${(n & 127) * 2}`,
    );
    const classes = classesOf([four]);
    assert.ok(classes.bytes < 100_000 * 17 + 300_000, `${classes.bytes} bytes`);
    assert.deepEqual([...classes.find(4, 0, 0, 0xffff, 0x0a000004)], [0]);
    assert.deepEqual([...classes.find(4, 0, 0, 0xffff, 0x0a000005)], []);
  });
});

describe('a rate limit', () => {
  const limitedBy = (limit: Partial<RateLimit>, now: { ms: number }) =>
    new Firewall(
      {
        type: 'firewall',
        policy: 'edge',
        rules: [rule('slow', { action: 'rate-limit', limit: { burstMs: 1000, per: 'rule', ...limit } })],
        defaultAction: 'deny',
      },
      { ...BARE_CONTEXT, nowMs: () => now.ms },
    );
  const from = (source: string, length = 100) => {
    const packet = packetOf({
      from: source,
      to: source.includes(':') ? 'fd00::1' : '10.0.9.1',
      protocol: 6,
      sourcePort: 1000,
      port: 80,
    });
    packet.length = length;
    return packet;
  };
  const passed = (firewall: Firewall, packet: Packet, count: number, isNewFlow = true) => {
    let sum = 0;
    for (let n = 0; n < count; n++) {
      if (firewall.process(packet, { ...decision(), isNewFlow }) === PASS) sum++;
    }
    return sum;
  };

  it('lets a burst pass, then the rate, and says why it drops the rest', () => {
    const now = { ms: 5000 };
    const firewall = limitedBy({ packetsPerSecond: 100, burstMs: 500 }, now);
    const packet = from('10.0.0.1');
    assert.equal(passed(firewall, packet, 200), 50);
    const state = decision();
    assert.equal(firewall.process(packet, state), DROP);
    assert.deepEqual([state.reason, state.isMetered], [dropIndex('firewall-limit'), true]);
    now.ms += 100;
    assert.equal(passed(firewall, packet, 200), 10);
    now.ms += 60_000;
    assert.equal(passed(firewall, packet, 200), 50);
    assert.deepEqual(firewall.counters(), { slow: 601, 'slow:limited': 491 });
  });

  it('counts bytes so that the mean holds, also where a frame is larger than the burst', () => {
    const now = { ms: 0 };
    const firewall = limitedBy({ bytesPerSecond: 10_000, burstMs: 100 }, now);
    let bytes = 0;
    for (; now.ms < 100_000; now.ms += 10) bytes += 3000 * passed(firewall, from('10.0.0.1', 3000), 1);
    assert.ok(Math.abs(bytes - 1_000_000) < 10_000, `${bytes} bytes in 100 s`);
  });

  it('of connections leaves flows alone that have begun', () => {
    const now = { ms: 0 };
    const firewall = limitedBy({ connectionsPerSecond: 3 }, now);
    assert.equal(passed(firewall, from('10.0.0.1'), 10), 3);
    assert.equal(passed(firewall, from('10.0.0.1'), 10, false), 10);
    const state = decision();
    firewall.process(from('10.0.0.1'), state);
    assert.equal(state.isMetered, false, 'the kernel may have its flows');
  });

  it('per source counts each address by itself, and IPv6 by its first 64 bits', () => {
    const now = { ms: 0 };
    const firewall = limitedBy({ packetsPerSecond: 2, per: 'source' }, now);
    assert.equal(passed(firewall, from('10.0.0.1'), 5), 2);
    assert.equal(passed(firewall, from('10.0.0.2'), 5), 2);
    assert.equal(passed(firewall, from('fd00:1::1'), 5), 2);
    assert.equal(passed(firewall, from('fd00:1::2'), 5), 0);
    assert.equal(passed(firewall, from('fd00:1:0:1::2'), 5), 2);
    // More sources than there is room for: memory stays, and each of them still gets no more than its burst at once.
    const packet = from('10.0.0.9');
    for (let n = 0; n < 100_000; n++) {
      packet.s3 = n;
      assert.ok(passed(firewall, packet, 3) <= 2);
    }
  });

  it('goes on through a new graph with what is left, unless it is changed', () => {
    const now = { ms: 0 };
    const context = { ...BARE_CONTEXT, nowMs: () => now.ms };
    const spec = (packetsPerSecond: number, per: 'rule' | 'source') => ({
      type: 'firewall' as const,
      policy: 'edge',
      rules: [
        ...(packetsPerSecond === 5 ? [rule('other', { from: ['192.0.2.0/24'] })] : []),
        rule('slow', { action: 'rate-limit', limit: { packetsPerSecond: 4, burstMs: 1000, per } }),
      ],
      defaultAction: 'deny' as const,
    });
    for (const per of ['rule', 'source'] as const) {
      const first = new Firewall(spec(4, per), context);
      assert.equal(passed(first, from('10.0.0.1'), 9), 4);
      const moved = new Firewall(spec(5, per), context, first);
      assert.equal(passed(moved, from('10.0.0.1'), 9), 0, `${per}: another place in the list`);
      const other = limitedBy({ packetsPerSecond: 7, per }, now);
      assert.equal(passed(other, from('10.0.0.1'), 9), 7);
    }
  });

  it('takes nothing for a trace', () => {
    const firewall = limitedBy({ packetsPerSecond: 1 }, { ms: 0 });
    for (let n = 0; n < 5; n++) assert.equal(firewall.process(from('10.0.0.1'), decision(true)), PASS);
    assert.equal(passed(firewall, from('10.0.0.1'), 3), 1);
  });
});

describe('a rule with windows of time', () => {
  const officeHours = {
    timeZone: 'Europe/Berlin',
    windows: [{ days: ['mon' as const, 'fri' as const], from: '22:00', to: '06:00' }],
  };
  const at = (text: string) =>
    new RuleSchedule([{ times: officeHours }], Date.parse(text)).isResting[0] === 0;

  it('is in force in its own time zone, past midnight, in summer and in winter', () => {
    // Monday, the 6th of July 2026: Berlin is at UTC+2; Monday, the 5th of January: UTC+1.
    assert.deepEqual(
      [
        '2026-07-06T19:59Z',
        '2026-07-06T20:00Z',
        '2026-07-07T03:59Z',
        '2026-07-07T04:00Z',
        '2026-07-07T20:30Z',
      ].map(at),
      [false, true, true, false, false],
    );
    assert.deepEqual(['2026-01-05T20:59Z', '2026-01-05T21:00Z', '2026-01-06T05:00Z'].map(at), [
      false,
      true,
      false,
    ]);
  });

  it('begins and ends by itself, and says so once', () => {
    let wall = Date.parse('2026-07-06T19:59:59.990Z');
    const firewall = new Firewall(
      {
        type: 'firewall',
        policy: 'edge',
        rules: [rule('night', { action: 'allow', times: officeHours })],
        defaultAction: 'deny',
      },
      { ...BARE_CONTEXT, wallMs: () => wall },
    );
    const packet = packetOf({ from: '10.0.0.1', to: '10.0.0.2', protocol: 6, sourcePort: 1, port: 80 });
    assert.equal(firewall.process(packet, decision()), DROP);
    assert.equal(firewall.advance(), false);
    wall += 10;
    assert.equal(firewall.advance(), true);
    assert.equal(firewall.advance(), false);
    assert.equal(firewall.process(packet, decision()), PASS);
    wall += 8 * 3_600_000;
    assert.equal(firewall.advance(), true);
    assert.equal(firewall.process(packet, decision()), DROP);
  });
});

describe('a rule that logs', () => {
  it('writes first packets and what is refused, sampled and bounded, and never more than there is room for', () => {
    const log = new FirewallLog();
    const now = { ms: 0 };
    const firewall = new Firewall(
      {
        type: 'firewall',
        policy: 'edge',
        rules: [
          rule('seen', { ports: ['80'], log: { every: 2, perSecond: 3 } }),
          rule('bad', { action: 'deny', ports: ['81'], log: { every: 1, perSecond: 100 } }),
        ],
        defaultAction: 'deny',
      },
      {
        ...BARE_CONTEXT,
        service: 'shop',
        members: ['m0'],
        log,
        nowMs: () => now.ms,
        wallMs: () => 86_400_000 + now.ms,
      },
    );
    const packet = (destination: number) =>
      packetOf({ from: 'fd00::9', to: 'fd00::1', protocol: 6, sourcePort: 1000, port: destination });
    for (let n = 0; n < 5; n++) firewall.process(packet(80), { ...decision(), member: 0 });
    firewall.process(packet(80), { ...decision(), isNewFlow: false });
    firewall.process(packet(82), decision());
    firewall.process(packet(81), decision(true));
    firewall.process(packet(81), { ...decision(), isNewFlow: false });
    const taken = log.take();
    assert.deepEqual(
      taken.map(({ rule, verdict }) => [rule, verdict]),
      [
        ['seen', 'allowed'],
        ['seen', 'allowed'],
        ['seen', 'allowed'],
        ['bad', 'denied'],
      ],
    );
    assert.deepEqual(taken[0], {
      time: '1970-01-02T00:00:00.000Z',
      service: 'shop',
      policy: 'edge',
      rule: 'seen',
      verdict: 'allowed',
      protocol: 'tcp',
      from: 'fd00::9',
      fromPort: 1000,
      to: 'fd00::1',
      toPort: 80,
      member: 'm0',
    });
    for (let n = 0; n < 10; n++) firewall.process(packet(80), decision());
    assert.equal(log.take().length, 0, 'three lines a second and no more');
    for (let second = 0; second < 100; second++) {
      now.ms += 1000;
      for (let n = 0; n < 200; n++) firewall.process(packet(81), decision());
    }
    assert.equal(log.take().length, LOG_ENTRIES);
    assert.equal(log.list(5, 'edge').length, 5);
    assert.equal(log.list(5, 'other').length, 0);
  });
});
