/** The firewall: against an oracle that walks the rules one by one, and its own promises. */
import assert from 'node:assert/strict';
import { isIPv6 } from 'node:net';
import fc from 'fast-check';
import { type Decision, DROP, PASS, REJECT } from '../../../src/engine-vm/component/component.ts';
import { Firewall } from '../../../src/engine-vm/component/firewall.ts';
import { RuleClassifier } from '../../../src/engine-vm/component/rule-classifier.ts';
import { dropIndex } from '../../../src/engine-vm/drops.ts';
import { parseAddress } from '../../../src/packet/address.ts';
import { Packet } from '../../../src/packet/packet.ts';
import type { FirewallRule } from '../../../src/policy/firewall-policy.ts';

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

/** The policy's words, rule by rule, over BigInt addresses: shares no code with the firewall. */
function oracle(rules: Partial<FirewallRule>[], shape: Shape): number {
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
  return rules.findIndex((rule) => {
    const protocol = names[shape.protocol];
    if (rule.protocol !== undefined && rule.protocol !== 'any' && rule.protocol !== protocol) return false;
    if (rule.from && !rule.from.some((prefix) => isInPrefix(prefix, shape.from))) return false;
    if (rule.to && !rule.to.some((prefix) => isInPrefix(prefix, shape.to))) return false;
    if ((rule.ports || rule.sourcePorts) && protocol !== 'tcp' && protocol !== 'udp') return false;
    if (rule.ports && !rule.ports.some((range) => isInRange(range, shape.port))) return false;
    return !rule.sourcePorts || rule.sourcePorts.some((range) => isInRange(range, shape.sourcePort));
  });
}

function rule(name: string, parts: Partial<FirewallRule> = {}): FirewallRule {
  return { name, action: 'allow', protocol: 'any', ...parts };
}

function decision(isTrace = false): Decision {
  return { service: 0, tier: 0, isNewFlow: true, member: -1, reason: -1, rule: -1, isTrace };
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
) as fc.Arbitrary<Partial<FirewallRule>>;
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
  const large: [string, (n: number) => Partial<FirewallRule>][] = [
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
    assert.equal(firewall.describe(state), 'policy edge, rule noisy (2 of 3): reject');
    assert.equal(firewall.process(from('192.0.2.7', 81), state), PASS);
    assert.equal(firewall.describe(state), 'policy edge, no rule fits: allow by default');
    assert.deepEqual(firewall.counters(), { office: 0, noisy: 0, bad: 0, default: 0 });
  });

  it('judges established flows, and keeps its counters in a new graph', () => {
    const firewall = new Firewall(spec);
    assert.equal(firewall.judgesEstablished, true);
    firewall.process(from('10.0.0.1', 80), decision());
    firewall.process(from('192.0.2.2', 80), decision());
    const next = new Firewall({ ...spec, rules: [rules[2], rules[0]] }, firewall);
    assert.deepEqual(next.counters(), { bad: 0, office: 1, default: 1 });
  });
});
