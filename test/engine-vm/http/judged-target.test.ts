/** The one spelling of a target: what members take for the same path is the same, and what they may not agree on is refused. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Head } from '../../../src/engine-vm/http/head.ts';
import { JudgedTarget } from '../../../src/engine-vm/http/judged-target.ts';
import { parseRequestHead } from '../../../src/engine-vm/http/parse-head.ts';
import { REFUSALS } from '../../../src/engine-vm/http/refusals.ts';

const head = new Head();

/** The name of the refusal, of the parser or of the judged target, or the path and query in their one spelling. */
function read(target: string, ignoresCase = false): string {
  const bytes = Buffer.from(`GET ${target} HTTP/1.1\r\nHost: a\r\n\r\n`, 'latin1');
  const limits = { headBytes: 8192, fields: 100, allowsEncodedSlash: true };
  const status = parseRequestHead(bytes, 0, bytes.length, head, limits);
  if (status <= 0) return REFUSALS[-status]!.name;
  const judged = new JudgedTarget(ignoresCase);
  const refused = judged.read(head);
  if (refused !== 0) return REFUSALS[refused]!.name;
  const text = Buffer.from(judged.bytes.buffer, 0, judged.end).toString('latin1');
  return judged.end === judged.pathEnd
    ? text
    : `${text.slice(0, judged.pathEnd)}?${text.slice(judged.pathEnd)}`;
}

describe('the judged target', () => {
  for (const [target, expected] of [
    ['/admin', '/admin'],
    ['//admin///x', '/admin/x'],
    ['/%61dmin', '/admin'],
    ['/%41dmin', '/Admin'],
    ['/a%21b%2b', '/a!b+'],
    ['/admin;jsessionid=1/x', '/admin/x'],
    ['/;/admin', '/admin'],
    ['/a%3bb', '/a%3Bb'],
    ['/a%20b%c3%a4', '/a%20b%C3%A4'],
    ['/a%3fb', '/a%3Fb'],
    ['/50%25', '/50%25'],
    ['/50%25a', '/50%25a'],
    ['/a?b=%61+c%26', '/a?b=a%20c%26'],
    ['/a?%2561', '/a?%2561'],
    ['/%2561dmin', 'target-ambiguous'],
    ['/a%2fb', 'target-ambiguous'],
    ['/a%5Cb', 'target-ambiguous'],
    ['/a%0a', 'target-ambiguous'],
    ['/a%7f', 'target-ambiguous'],
    ['/a;%2f/b', 'target-ambiguous'],
    ['/a/../b', 'target-dot-segment'],
    ['/a/%2e%2E/b', 'target-dot-segment'],
    ['/a/..;x/b', 'target-dot-segment'],
  ] as const) {
    it(`of ${target} is ${expected}`, () => assert.equal(read(target), expected));
  }

  it('has lower case alone where case counts for nothing', () => {
    assert.equal(read('/AdMin%4A%C3?X=Y', true), '/adminj%c3?x=y');
  });

  const segment = fc.string({
    unit: fc.constantFrom(..."abcXYZ019-_~!$'()*+,=:@"),
    minLength: 1,
    maxLength: 6,
  });

  it('is the same however a path is spelled', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(segment, fc.array(fc.nat(3), { minLength: 6, maxLength: 6 }))),
        (parts) => {
          const plain = parts.map(([text]) => `/${text}`).join('') || '/';
          const spelled = parts
            .map(([text, how]) => {
              const letters = [...text].map((letter, n) => {
                const hex = letter.charCodeAt(0).toString(16);
                return how[n] === 1 ? `%${hex}` : how[n] === 2 ? `%${hex.toUpperCase()}` : letter;
              });
              return `${'/'.repeat(1 + how[0]!)}${letters.join('')}${how[1] === 3 ? ';v=%61' : ''}`;
            })
            .join('');
          assert.equal(read(spelled || '/'), plain);
        },
      ),
    );
  });

  it('is the spelling of itself, and never holds what a rule could not name', () => {
    const piece = fc.oneof(
      segment,
      fc.constantFrom('/', '//', ';', '%25', '%2f', '%20', '%0a', '%c3%a4', '.', '..', '%2e', '%3b'),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        const once = read(`/${pieces.join('')}`);
        if (!once.startsWith('/')) return;
        assert.doesNotMatch(once, /\/\/|;|\\|\/\.{1,2}(\/|$)/);
        assert.equal(read(once), once);
      }),
      { numRuns: 2000 },
    );
  });
});
