/** RFC 9111 as a table: what is stored, and for how long. */
import assert from 'node:assert/strict';
import type { EntryTerms } from '../../../../../src/engine-vm/http/component/cache/cache-store.ts';
import {
  type FreshnessRules,
  parseDate,
  readDirectives,
  type StorableInput,
  termsOf,
} from '../../../../../src/engine-vm/http/component/cache/freshness.ts';

const NOW = Date.parse('2026-11-26T12:00:00Z');
const at = (seconds: number): string => new Date(NOW + seconds * 1000).toUTCString();
const rules: FreshnessRules = { heuristicSeconds: 0, staleWhileRevalidateSeconds: 0, staleIfErrorSeconds: 0 };
const input: StorableInput = {
  status: 200,
  cacheControl: '',
  expires: undefined,
  date: undefined,
  age: undefined,
  lastModified: undefined,
  hasEtag: true,
  setsCookie: false,
  hasSecret: false,
  hasQuery: false,
  nowMs: NOW,
};

const TABLE: [Partial<StorableInput>, Partial<EntryTerms> | string, Partial<FreshnessRules>?][] = [
  [{ cacheControl: 'max-age=60' }, { lifetimeS: 60, ageS: 0, isNoCache: false, storedMs: NOW }],
  [{ cacheControl: 'MAX-AGE="60"' }, { lifetimeS: 60 }],
  [{ cacheControl: 'max-age=60, max-age=5' }, { lifetimeS: 60 }],
  [{ cacheControl: 'max-age=60, s-maxage=5' }, { lifetimeS: 5 }],
  [{ cacheControl: 'max-age=99999999999999' }, { lifetimeS: 2 ** 31 }],
  [{ cacheControl: 'max-age=soon' }, { lifetimeS: 0 }],
  [{ cacheControl: 'max-age=-1' }, { lifetimeS: 0 }],
  [{ cacheControl: 'max-age=60', expires: at(-5) }, { lifetimeS: 60 }],
  [{ expires: at(90) }, { lifetimeS: 90 }],
  [
    { expires: at(90), date: at(-10) },
    { lifetimeS: 100, ageS: 10 },
  ],
  [{ expires: '0' }, { lifetimeS: 0 }],
  [{ expires: '0', hasEtag: false }, 'stale'],
  [
    { cacheControl: 'max-age=60', age: '50' },
    { lifetimeS: 60, ageS: 50 },
  ],
  [{ cacheControl: 'max-age=60', age: '60', hasEtag: false }, 'stale'],
  [{ cacheControl: 'max-age=60', age: 'x' }, { ageS: 0 }],
  [{ cacheControl: 'max-age=60', age: '5', date: at(-20) }, { ageS: 20 }],
  [{ cacheControl: 'max-age=60', date: at(+20) }, { ageS: 0 }],
  [{}, 'no-lifetime'],
  [{ cacheControl: 'public' }, 'no-lifetime'],
  [{ lastModified: at(-1000) }, 'no-lifetime'],
  [{ lastModified: at(-1000) }, { lifetimeS: 100 }, { heuristicSeconds: 500 }],
  [{ lastModified: at(-1_000_000) }, { lifetimeS: 500 }, { heuristicSeconds: 500 }],
  [{ lastModified: at(-1000), hasQuery: true }, 'no-lifetime', { heuristicSeconds: 500 }],
  [{ lastModified: at(-1000), status: 302 }, 'no-lifetime', { heuristicSeconds: 500 }],
  [{ cacheControl: 'no-store, max-age=60' }, 'no-store'],
  [{ cacheControl: 'ext="no-store", max-age=60' }, { lifetimeS: 60 }],
  [{ cacheControl: 'private, max-age=60' }, 'private'],
  [{ cacheControl: 'private="set-cookie", max-age=60' }, 'private'],
  [{ cacheControl: 'no-cache' }, { lifetimeS: 0, isNoCache: true }],
  [{ cacheControl: 'no-cache', hasEtag: false }, 'stale'],
  [{ cacheControl: 'no-cache="x", max-age=60' }, { lifetimeS: 60, isNoCache: true }],
  [{ cacheControl: 'max-age=60', setsCookie: true }, 'set-cookie'],
  [{ cacheControl: 'max-age=60', hasSecret: true }, 'secret'],
  [{ cacheControl: 'max-age=60, public', hasSecret: true }, { lifetimeS: 60 }],
  [{ cacheControl: 's-maxage=60', hasSecret: true }, { lifetimeS: 60 }],
  [{ cacheControl: 'max-age=60', status: 404 }, { lifetimeS: 60 }],
  [{ cacheControl: 'max-age=60', status: 302 }, { lifetimeS: 60 }],
  [{ cacheControl: 'max-age=60', status: 206 }, 'status'],
  [{ cacheControl: 'max-age=60', status: 304 }, 'status'],
  [{ cacheControl: 'max-age=60', status: 503 }, 'status'],
  [
    { cacheControl: 'max-age=60, stale-while-revalidate=5, stale-if-error=7' },
    { whileRevalidateS: 5, ifErrorS: 7 },
  ],
  [{ cacheControl: 'max-age=60' }, { ifErrorS: 9 }, { staleIfErrorSeconds: 9 }],
  [{ cacheControl: 's-maxage=60' }, { ifErrorS: 0 }, { staleIfErrorSeconds: 9 }],
  [{ cacheControl: 's-maxage=60, stale-if-error=7' }, { ifErrorS: 7 }],
  [{ cacheControl: 'max-age=60, must-revalidate, stale-if-error=7' }, { ifErrorS: 0, whileRevalidateS: 0 }],
  [
    { cacheControl: 'max-age=60, proxy-revalidate' },
    { whileRevalidateS: 0 },
    { staleWhileRevalidateSeconds: 9 },
  ],
];

describe('freshness', () => {
  for (const [given, wanted, more] of TABLE) {
    it(`judges ${JSON.stringify(given)}${more === undefined ? '' : ` by ${JSON.stringify(more)}`}`, () => {
      const terms = termsOf({ ...input, ...given }, { ...rules, ...more });
      if (typeof wanted === 'string') assert.equal(terms, wanted);
      else assert.partialDeepStrictEqual(terms, wanted);
    });
  }

  it('reads dates in their three forms, and no others', () => {
    const ms = Date.parse('1994-11-06T08:49:37Z');
    assert.equal(parseDate('Sun, 06 Nov 1994 08:49:37 GMT'), ms);
    assert.equal(parseDate('Sunday, 06-Nov-94 08:49:37 GMT'), ms);
    assert.equal(parseDate('Sun Nov  6 08:49:37 1994'), ms);
    for (const text of ['0', '-1', '', '1994-11-06', 'tomorrow', '3', 'Sun, 06 Nov 1994 28:49:37 GMT']) {
      assert.equal(parseDate(text), null, text);
    }
  });

  it('reads directives whatever is between them', () => {
    const text = ' a , ,b=1,c = "x, y=\\"2" ;d,,E';
    assert.deepEqual(
      [...readDirectives(text)],
      [
        ['a', ''],
        ['b', '1'],
        ['c', 'x, y=\\"2'],
        ['d', ''],
        ['e', ''],
      ],
    );
  });
});
