/** What one rewriting makes of a target, and what it makes of a member's path: as properties over all spellings. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Rewrite } from '../../../../../src/engine-vm/http/component/rewrites/rewrite.ts';
import { Head } from '../../../../../src/engine-vm/http/head.ts';
import { JudgedTarget } from '../../../../../src/engine-vm/http/judged-target.ts';
import { MemberTarget, MOST_TARGET_BYTES } from '../../../../../src/engine-vm/http/member-target.ts';
import { parseRequestHead } from '../../../../../src/engine-vm/http/parse-head.ts';
import { HttpRewrite } from '../../../../../src/policy/http-rewrites.ts';

const head = new Head();
const judged = new JudgedTarget(false);
const limits = { headBytes: 14_336, fields: 100, allowsEncodedSlash: false };

function read(target: string): boolean {
  const bytes = Buffer.from(`GET ${target} HTTP/1.1\r\nHost: a\r\n\r\n`, 'latin1');
  return parseRequestHead(bytes, 0, bytes.length, head, limits) > 0 && judged.read(head) === 0;
}

const compile = (spec: Record<string, unknown>): Rewrite => new Rewrite(HttpRewrite.parse(spec));

/** What a member is asked for; null where the rewriting is not for that, or nobody may ask so. */
function rewritten(rewrite: Rewrite, target: string): string | null {
  if (!read(target)) return null;
  const made = new MemberTarget(rewrite);
  if (!rewrite.write(made, head, judged)) return null;
  return made.isTooLong ? 'too long' : Buffer.from(made.bytes.subarray(0, made.end)).toString('latin1');
}

/** A path in its one spelling; null where it has none. */
function spelling(path: string): string | null {
  return read(path) ? Buffer.from(judged.bytes.subarray(0, judged.pathEnd)).toString('latin1') : null;
}

describe('a rewriting', () => {
  const prefix = { path: '/shop/{rest*}', to: { path: '/app/{rest*}' } };
  const root = { path: '/shop/{rest*}', to: { path: '/{rest*}' } };
  const parts = { path: '/users/{id}/orders/{rest*}', to: { path: '/o/{id}/{rest*}' } };
  const exact = { path: '/a%20b/', to: { path: '/c' } };
  const cases: [Record<string, unknown>, string, string | null][] = [
    [prefix, '/shop/', '/app/'],
    [prefix, '/shop', null],
    [prefix, '/shopping/x', null],
    [prefix, '/shop/a/b?c=d&e', '/app/a/b?c=d&e'],
    [prefix, '/shop/a?', '/app/a?'],
    [prefix, '//sh%6fp///a//b;v=1/%20', '/app/a//b;v=1/%20'],
    [prefix, '/shop;v=1/a', '/app/a'],
    [prefix, '/Shop/a', null],
    [root, '/shop//evil.example/', '/evil.example/'],
    [root, '/shop/;x//evil.example/', '/evil.example/'],
    [root, '/shop/;x', '/'],
    [parts, '/users/5/orders/', '/o/5/'],
    [parts, '/users/%35;a=b/orders/x/y', '/o/%35;a=b/x/y'],
    [parts, '/users//orders/', null],
    [parts, '/users/;x/orders/', null],
    [exact, '/a%20b/', '/c'],
    [exact, '/a%20b//', '/c'],
    [exact, '/a%20b', null],
    [{ to: { host: 'inner' } }, '/x//y?z', '/x//y?z'],
    [{ to: { query: { remove: ['a', 'c[]'] } } }, '/?a=1&b&%61=2&a&c%5b%5d=3&aa=4&=a', '/?b&aa=4&=a'],
    [{ to: { query: { remove: ['*'] } } }, '/x?a&b', '/x'],
    [{ to: { query: { remove: ['a'] } } }, '/x?a', '/x'],
    [{ to: { query: { set: [{ name: 'a b', value: 'c&d=+' }] } } }, '/?a+b=1&c', '/?c&a%20b=c%26d%3D%2B'],
    [
      { path: '/u/{id}', to: { path: '/user', query: { set: [{ name: 'id', value: '<{id}>' }] } } },
      '/u/5&admin=1;x?id=7&y',
      '/user?y&id=%3C5%26admin%3D1%3E',
    ],
    [
      { path: '/u/{rest*}', to: { query: { set: [{ name: 'p', value: '{rest}' }], remove: ['*'] } } },
      '/u/a%26//%20b;c/%25',
      '/u/a%26//%20b;c/%25?p=a%26%2F%20b%2F%25',
    ],
  ];
  for (const [spec, target, expected] of cases) {
    it(`makes ${expected} of ${target} by ${JSON.stringify(spec)}`, () =>
      assert.equal(rewritten(compile(spec), target), expected));
  }

  it('refuses what becomes too long', () => {
    const set = [{ name: 'a', value: '{id}{id}{id}' }];
    const rewrite = compile({ path: '/{id}', to: { query: { set } } });
    assert.equal(rewritten(rewrite, `/${'!'.repeat(MOST_TARGET_BYTES / 3)}`), 'too long');
  });

  const name = fc.constantFrom('a', 'b', 'shop', 'x-y', '%20', 'c!');
  const segments = fc.array(fc.oneof(name, fc.constantFrom('{p}', '{q}', '{r}')), { maxLength: 4 });
  /** Two templates with the same parts, each once, in any order. */
  const specs = fc
    .tuple(segments, fc.array(name, { maxLength: 3 }), fc.boolean(), fc.nat(), fc.boolean())
    .map(([from, more, hasRest, order, isBare]) => {
      const once = from.filter((one, n) => !one.startsWith('{') || from.indexOf(one) === n);
      const open = once.filter((one) => one.startsWith('{'));
      if (order % 2 === 1) open.reverse();
      const to = isBare ? open : [...more, ...open];
      const end = hasRest ? ['{rest*}'] : [];
      return { path: `/${[...once, ...end].join('/')}`, to: { path: `/${[...to, ...end].join('/')}` } };
    });
  const piece = fc.string({
    unit: fc.constantFrom(...'abXz09-_~!$&()+,=:@', '%20', '%C3%A4', '%25'),
    minLength: 1,
    maxLength: 4,
  });
  const fill = (template: string, values: readonly string[], rest: string): string =>
    template.replace(/\{[pqr]\}/g, (one) => values['pqr'.indexOf(one[1]!)]!).replace('{rest*}', rest);

  it('is undone by mapping back, for every path that it is for', () => {
    fc.assert(
      fc.property(
        specs,
        fc.array(piece, { minLength: 3, maxLength: 3 }),
        fc.array(piece, { maxLength: 3 }),
        (spec, values, rest) => {
          const rewrite = compile(spec);
          const path = fill(spec.path, values, rest.join('/'));
          fc.pre(spelling(path) !== null);
          const there = rewritten(rewrite, path);
          assert.notEqual(there, null, path);
          assert.equal(there, fill(spec.to.path, values, rest.join('/')));
          assert.equal(rewrite.pathBack(there!), path);
        },
      ),
      { numRuns: 2000 },
    );
  });

  /** Other spellings of a path: encoded letters, more slashes, parameters. */
  const spell = (path: string, how: readonly number[]): string => {
    let n = 0;
    const next = (): number => how[n++ % how.length]!;
    return path.replace(/%..|\/|[A-Za-z0-9]/g, (one) => {
      const choice = next();
      if (one === '/') return choice === 1 ? '//' : choice === 2 ? ';v=1/' : choice === 3 ? '/;w/' : '/';
      if (one.length === 3) return choice === 1 ? one.toLowerCase() : one;
      return choice === 1 ? `%${one.charCodeAt(0).toString(16)}` : one;
    });
  };

  it('makes the same of all spellings of a path that rules take for one', () => {
    fc.assert(
      fc.property(
        specs,
        fc.array(piece, { minLength: 3, maxLength: 3 }),
        fc.array(piece, { maxLength: 3 }),
        fc.array(fc.nat(8), { minLength: 1, maxLength: 12 }),
        (spec, values, rest, how) => {
          const rewrite = compile(spec);
          const plain = fill(spec.path, values, rest.join('/'));
          const other = `/${spell(plain.slice(1), how)}`;
          const [one, two] = [spelling(plain), spelling(other)];
          fc.pre(one !== null && one === two);
          const [made, madeOfOther] = [rewritten(rewrite, plain), rewritten(rewrite, other)];
          assert.notEqual(madeOfOther, null, other);
          assert.equal(spelling(madeOfOther!), spelling(made!), other);
          assert.ok(!madeOfOther!.startsWith('//'), madeOfOther!);
        },
      ),
      { numRuns: 3000 },
    );
  });

  it('gives members nothing that the parser would refuse of clients', () => {
    const bits = fc.array(
      fc.oneof(
        piece,
        fc.constantFrom('/', '//', ';', '..', '.', '%2e', '%2f', '%5c', '?', '&', '=', '#', '%'),
      ),
      { maxLength: 12 },
    );
    fc.assert(
      fc.property(specs, bits, fc.boolean(), (spec, more, isBelow) => {
        const rewrite = compile(spec);
        const target = `${isBelow ? fill(spec.path, ['a', 'b', 'c'], '') : '/'}${more.join('')}`;
        const made = rewritten(rewrite, target);
        if (made !== null) assert.ok(read(made), `${target} -> ${made}`);
      }),
      { numRuns: 3000 },
    );
  });

  it('maps the paths of cookies back', () => {
    const cookies: [Record<string, unknown>, string, string | null][] = [
      [prefix, '/app', '/shop'],
      [prefix, '/app/', '/shop/'],
      [prefix, '/app/x', '/shop/x'],
      [prefix, '/other', null],
      [prefix, '/', null],
      [root, '/', '/shop/'],
      [root, '/x', '/shop/x'],
      [parts, '/o/5', '/users/5/orders'],
      [{ path: '/{rest*}', to: { path: '/app/{rest*}' } }, '/app', '/'],
    ];
    for (const [spec, path, expected] of cookies) {
      assert.equal(compile(spec).cookiePathBack(path), expected, `${JSON.stringify(spec)} ${path}`);
    }
  });

  it('is refused where it says nothing, or what it does not know', () => {
    const problems = (spec: unknown): string[] =>
      HttpRewrite.safeParse(spec).error?.issues.map(({ path, message }) => `${path.join('.')}: ${message}`) ??
      [];
    assert.deepEqual(problems(prefix), []);
    assert.match(problems({ path: '/a', to: {} }).join(), /^to: changes nothing/);
    assert.match(problems({ path: '/{a}', to: { path: '/{b}' } }).join(), /to\.path: has \{b\}/);
    assert.match(problems({ path: '/{a}', to: { path: '/{a*}' } }).join(), /to\.path: has \{a\*\}/);
    assert.match(problems({ path: '/{a*}/b', to: { path: '/' } }).join(), /at its end only/);
    assert.match(problems({ path: '/{a}/{a}', to: { path: '/' } }).join(), /names a part twice/);
    for (const bad of ['a', '/a//b', '/a/../b', '/a;b', '/a?b', '/%61', '/{a}b', '/{', '/a b', '/é', '/%2F'])
      assert.notDeepEqual(problems({ path: bad, to: { host: 'x' } }), [], bad);
    for (const bad of ['a/b', 'a:0', '*.x', 'a b', '', 'a@b', 'a\r\nX: y'])
      assert.notDeepEqual(problems({ to: { host: bad } }), [], bad);
    const set = (value: string): unknown => ({
      path: '/{a}',
      to: { query: { set: [{ name: 'x', value }] } },
    });
    assert.deepEqual(problems(set('{a} & {a}')), []);
    assert.match(problems(set('{b}')).join(), /has \{b\}/);
    for (const bad of ['{', '}', '{a', 'a\n', '{a*}']) assert.notDeepEqual(problems(set(bad)), [], bad);
  });
});
