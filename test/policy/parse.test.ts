import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { stringify } from 'yaml';
import { type ErrorCode, isWeftError, type WeftError } from '../../src/policy/errors.ts';
import { parseJson } from '../../src/policy/json-text.ts';
import { MAX_TEXT_BYTES, parseDocuments, parseObjectNames } from '../../src/policy/parse.ts';
import { KINDS } from '../../src/policy/registry.ts';
import { specsOf } from './objects.ts';

const POOL = `kind: pool
name: shop
spec:
  cloud: lab
  members: { tags: [app=shop] }
  port: 8080
`;

function failure(text: string): WeftError {
  try {
    parseDocuments(text, 'f.yaml');
  } catch (error) {
    assert.ok(isWeftError(error), String(error));
    return error;
  }
  return assert.fail(`was accepted: ${text.slice(0, 80)}`);
}

describe('policy text', () => {
  it('reads the sample policy of the lab, several documents in one file', () => {
    const file = new URL('../../templates/lab.yaml', import.meta.url);
    const documents = parseDocuments(readFileSync(file, 'utf8'), 'lab.yaml');
    assert.deepEqual(
      documents.map(({ kind, name }) => `${kind}/${name}`),
      [
        'cloud/lab',
        'engine-group/edge',
        'pool/shop',
        'firewall-policy/shop-clients',
        'virtual-service/web',
        'virtual-service/basket',
      ],
    );
  });

  it('fills defaults in', () => {
    const [document] = parseDocuments(POOL, 'f.yaml');
    assert.deepEqual((document!.spec as { weights: unknown }).weights, []);
    assert.equal(document!.where, 'f.yaml:1');
  });

  it('reads JSON, lists of documents, and what `weft get -o yaml` prints', () => {
    const object = {
      kind: 'cloud',
      name: 'lab',
      revision: 7,
      spec: { platform: 'lab', address: '/x' },
      status: { state: 'x' },
    };
    for (const text of [
      JSON.stringify(object),
      JSON.stringify([object]),
      stringify(object),
      stringify([object]),
    ]) {
      const [document] = parseDocuments(text, 'f');
      assert.equal(document!.revision, 7);
      assert.ok(!('status' in document!));
    }
  });

  it('reads back every valid object of every kind from YAML and JSON', () => {
    for (const kind of KINDS) {
      fc.assert(
        fc.property(specsOf(kind), (spec) => {
          const object = { kind: kind.name, name: 'x', spec };
          const wanted = kind.spec.parse(spec);
          assert.deepEqual(parseDocuments(JSON.stringify(object), 'j')[0]!.spec, wanted);
          assert.deepEqual(parseDocuments(stringify(object), 'y')[0]!.spec, wanted);
        }),
        { numRuns: 30 },
      );
    }
  });

  it('names file, line, path, what was expected, and what was probably meant', () => {
    const error = failure(
      `${POOL}  prot: 80\n  healthMonitors:\n    - { type: htp }\n    - { type: tcp, rise: many }\n`,
    );
    assert.equal(error.code, 'ERR_POLICY_INVALID');
    assert.deepEqual(error.problems, [
      {
        path: '$.spec.healthMonitors[0].type',
        message: 'expected one of ping, tcp, http, found "htp"; did you mean http?',
        where: 'f.yaml:9',
      },
      {
        path: '$.spec.healthMonitors[1].rise',
        message: 'expected a whole number from 1 to 100, found "many"',
        where: 'f.yaml:10',
      },
      { path: '$.spec.prot', message: 'is an unknown field; did you mean port?', where: 'f.yaml:7' },
    ]);
    assert.match(
      error.message,
      /^f\.yaml:9: pool "shop" is not valid: \$\.spec\.healthMonitors\[0\]\.type .*and 2 more/,
    );
  });

  it('says to quote a number where text is wanted', () => {
    const error = failure(POOL.replace('[app=shop]', '[1]'));
    assert.match(error.problems[0]!.message, /write it in quotes: "1"/);
  });

  it('refuses unknown kinds, wrong shapes and wrong envelopes', () => {
    const cases: [string, ErrorCode, RegExp][] = [
      ['kind: poll\nname: x\nspec: {}', 'ERR_KIND_UNKNOWN', /f\.yaml:1.*poll.*virtual-service/],
      ['[1]', 'ERR_POLICY_INVALID', /\$\[0\] expected a mapping/],
      ['kind: pool\nname: x', 'ERR_POLICY_INVALID', /\$\.spec is required/],
      ['kind: pool\nspec: {}', 'ERR_POLICY_INVALID', /\$\.name is required/],
      ['kind: 3\nname: x', 'ERR_POLICY_INVALID', /\$\.kind expected one of/],
      ['kind: cloud\nname: x\nspc: {}', 'ERR_POLICY_INVALID', /spc is an unknown field; did you mean spec/],
      [
        'kind: cloud\nname: x\nrevision: -1\nspec: {platform: lab, address: x}',
        'ERR_POLICY_INVALID',
        /revision/,
      ],
      ['', 'ERR_BODY_INVALID', /holds no policy document/],
      ['---\n---\n', 'ERR_BODY_INVALID', /holds no policy document/],
    ];
    for (const [text, code, message] of cases) {
      const error = failure(text);
      assert.equal(error.code, code, text);
      assert.match(error.message, message);
    }
  });

  it('says what tiers need that hand packets on', () => {
    const tier = (name: string, rest: string) => `    - { name: ${name}, pool: ${name}, ${rest} }\n`;
    const service = (...tiers: string[]) =>
      `kind: virtual-service\nname: s\nspec:\n  engineGroup: e\n  tiers:\n${tiers.join('')}`;
    const first = tier('a', 'port: 80, addresses: [10.0.0.1], handsOn: {}');
    const [document] = parseDocuments(service(first, tier('b', 'port: 80')), 'f.yaml');
    const { tiers } = document!.spec as { tiers: { addresses: string[]; handsOn?: { failMode: string } }[] };
    assert.deepEqual([tiers[0]!.handsOn, tiers[1]!.addresses], [{ failMode: 'closed' }, []]);
    const sample = readFileSync(new URL('../../templates/inspection.yaml', import.meta.url), 'utf8');
    assert.equal(parseDocuments(sample, 'inspection.yaml').length, 3);
    const accelerated = readFileSync(new URL('../../templates/accelerated.yaml', import.meta.url), 'utf8');
    assert.equal(parseDocuments(accelerated, 'accelerated.yaml').length, 2);
    const tls = readFileSync(new URL('../../templates/tls.yaml', import.meta.url), 'utf8');
    assert.equal(parseDocuments(tls, 'tls.yaml').length, 2);
    for (const [name, count] of [
      ['guarded.yaml', 3],
      ['rewrites.yaml', 3],
      ['proxy-protocol.yaml', 2],
      ['lab-tls.yaml', 1],
    ] as const) {
      const text = readFileSync(new URL(`../../templates/${name}`, import.meta.url), 'utf8');
      assert.equal(parseDocuments(text, name).length, count);
    }
    assert.throws(
      () => parseDocuments(tls.replace('serverName:', 'keyFile: /k, serverName:'), 'tls.yaml'),
      /tls\.certificateFile.*is missing: a certificate and its key go together/s,
    );
    const cases: [string, string, RegExp][] = [
      [service(first), 'tiers[0].handsOn', /needs a tier behind this one/],
      [service(first, tier('b', 'port: 81')), 'tiers[1].port', /must be 80, the port of tier "a"/],
      [service(tier('a', 'port: 80')), 'tiers[0].addresses', /must name an address/],
      [
        service(
          first,
          first.replace(/name: a.*10/, 'name: b, pool: a, port: 80, addresses: [11'),
          tier('c', 'port: 80'),
        ),
        'tiers[1].pool',
        /must not be that of tier "a"/,
      ],
    ];
    for (const [text, path, message] of cases) {
      const [problem] = failure(text).problems;
      assert.equal(problem!.path, `$.spec.${path}`);
      assert.match(problem!.message, message);
    }
  });

  it('refuses malformed YAML with file, line and column', () => {
    for (const text of [
      'a: [1',
      'a: b: c',
      '\t- x',
      '!tag x',
      '%YAML 3.0\n---\nx',
      '*a',
      '? [a]\n: b',
      '"\\q"',
    ]) {
      const error = failure(text);
      assert.equal(error.code, 'ERR_BODY_INVALID', text);
      assert.match(error.message, /^f\.yaml:\d+:\d+: /);
    }
  });

  it('refuses duplicate keys and names that reach a prototype', () => {
    assert.match(failure('kind: pool\nkind: pool').message, /f\.yaml:2:1: holds the key "kind" twice/);
    for (const name of ['__proto__', 'constructor', 'prototype']) {
      assert.equal(failure(`${POOL}  ${name}: { x: 1 }`).code, 'ERR_BODY_INVALID');
      assert.throws(() => parseJson(`{"a":{"${name}":1}}`, 'body'), { code: 'ERR_BODY_INVALID' });
      assert.throws(() => parseJson('{"\\u005f_proto__":1}', 'body'), { code: 'ERR_BODY_INVALID' });
    }
    assert.match(failure('kind: pool\nname: constructor\nspec: {}').message, /reserved/);
    assert.equal(({} as Record<string, unknown>).x, undefined);
  });

  it('refuses control characters in names and values, and does not repeat them', () => {
    for (const text of [
      'kind: pool\nname: "a\\r\\nHost: evil"\nspec: {}',
      'kind: cloud\nname: x\nspec: { platform: lab, address: "a\\r\\n\\u001b[2J" }',
    ]) {
      const error = failure(text);
      assert.equal(error.code, 'ERR_POLICY_INVALID');
      assert.doesNotMatch(error.message + error.problems.map(({ message }) => message).join(), /\p{Cc}/u);
    }
  });

  it('survives bombs: depth, aliases, size, and slow texts, each in bounded time', () => {
    const aliases = `a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n${[...'bcdefgh']
      .map((name, index) => `${name}: &${name} [${Array(9).fill(`*${'abcdefgh'[index]}`).join(', ')}]`)
      .join('\n')}`;
    const bombs: [string, ErrorCode][] = [
      ['['.repeat(10_000), 'ERR_BODY_INVALID'],
      ['{"a":'.repeat(10_000), 'ERR_BODY_INVALID'],
      ['- '.repeat(10_000), 'ERR_BODY_INVALID'],
      [aliases, 'ERR_BODY_INVALID'],
      ['a: &a [*a]', 'ERR_BODY_INVALID'],
      [`x: "${'y'.repeat(MAX_TEXT_BYTES)}"`, 'ERR_BODY_TOO_LARGE'],
      [Array.from({ length: 20_000 }, (_, index) => `k${index}: 1`).join('\n'), 'ERR_POLICY_INVALID'],
    ];
    for (const [text, code] of bombs) {
      const startedAt = performance.now();
      assert.equal(failure(text).code, code, text.slice(0, 20));
      assert.ok(performance.now() - startedAt < 3000, text.slice(0, 20));
    }
  });

  it('never throws anything but its own errors, whatever the text', () => {
    const fragment = fc.constantFrom(
      'kind',
      'pool',
      ': ',
      '\n',
      '  ',
      '- ',
      '[',
      ']',
      '{',
      '}',
      '&a ',
      '*a',
      '"',
      "'",
      '|',
      '>',
      '#',
      '---\n',
      '!!',
      '%',
      '\u0000',
      '\ufeff',
      '?',
      ',',
      'x',
    );
    fc.assert(
      fc.property(fc.array(fragment, { maxLength: 40 }), (parts) => {
        for (const parse of [parseDocuments, parseObjectNames]) {
          try {
            parse(parts.join(''), 'f');
          } catch (error) {
            assert.ok(isWeftError(error), `${JSON.stringify(parts.join(''))}: ${error}`);
          }
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('JSON text', () => {
  it('is read as JSON.parse reads it, where it is harmless', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 3 }), (text) => {
        let wanted: unknown;
        try {
          wanted = parseJson(text, 'body');
        } catch (error) {
          assert.match((error as Error).message, /must not hold|twice/);
          return;
        }
        assert.deepEqual(wanted, JSON.parse(text));
      }),
    );
  });

  it('is refused when nested 10,000 deep, truncated, or with a key twice', () => {
    for (const text of [
      '['.repeat(10_000) + ']'.repeat(10_000),
      '{"a":',
      '{"a":1,"a":2}',
      '{"a":1,"\\u0061":2}',
      '"',
      '{]}',
      '',
    ]) {
      assert.throws(() => parseJson(text, 'body'), { code: 'ERR_BODY_INVALID' });
    }
    assert.deepEqual(parseJson('[{"a":1},{"a":2},"a","a"]', 'body'), [{ a: 1 }, { a: 2 }, 'a', 'a']);
  });
});
