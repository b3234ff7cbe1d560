/** Figures of services: what sums and differences of them are, their quantiles, and the text that Prometheus reads. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Histogram } from '../../src/engine-vm/http/histogram.ts';
import {
  figuresBetween,
  type MemberUse,
  noFigures,
  quantile,
  type ServiceFigures,
  sumFigures,
  sumThreads,
} from '../../src/policy/service-figures.ts';
import { metricsText } from '../../src/policy/service-metrics.ts';

const member = (name: string, requests: number, errors = 0): MemberUse => ({
  pool: '',
  name,
  address: `${name}:80`,
  requests,
  errors,
  active: 1,
  waits: [0, requests],
});

const some = (more: Partial<ServiceFigures>): ServiceFigures => ({ ...noFigures(), ...more });

describe('figures of a service', () => {
  it('are summed by member, component and bucket, whatever either side lacks', () => {
    const a = some({
      requests: 3,
      statuses: [0, 0, 3, 0, 0, 0],
      members: [member('m1', 3)],
      components: { cache: { hits: 1 } },
      shared: { cache: { entries: 7 } },
      times: { total: [1, 2], client: [], engine: [3], member: [] },
      paths: { '/a': 2, '/b': 1 },
    });
    const b = some({
      requests: 5,
      statuses: [0, 0, 4, 0, 0, 1],
      members: [member('m2', 4, 1), member('m1', 1)],
      components: { cache: { hits: 2, misses: 1 }, compression: { responses: 1 } },
      shared: { cache: { entries: 7 } },
      times: { total: [0, 1, 5], client: [1], engine: [], member: [] },
      paths: { '/b': 4 },
    });
    const sum = sumFigures([a, b]);
    assert.equal(sum.requests, 8);
    assert.deepEqual(sum.statuses, [0, 0, 7, 0, 0, 1]);
    assert.deepEqual(
      sum.members.map(({ name, requests, errors, waits }) => ({ name, requests, errors, waits })),
      [
        { name: 'm1', requests: 4, errors: 0, waits: [0, 4] },
        { name: 'm2', requests: 4, errors: 1, waits: [0, 4] },
      ],
    );
    assert.deepEqual(sum.components, { cache: { hits: 3, misses: 1 }, compression: { responses: 1 } });
    assert.deepEqual(sum.times.total, [1, 3, 5]);
    assert.deepEqual(Object.entries(sum.paths), [
      ['/b', 5],
      ['/a', 2],
    ]);
    assert.equal(sum.shared.cache!.entries, 14);
    assert.equal(sumThreads([a, b]).shared.cache!.entries, 7);
    assert.deepEqual(sumFigures([]), noFigures());
  });

  it('between two answers are what was done, and all of it where the threads began anew', () => {
    const before = some({ requests: 10, connections: 4, open: 2, members: [member('m1', 10)] });
    const after = some({
      requests: 14,
      connections: 4,
      open: 1,
      members: [member('m1', 12), member('m2', 2)],
    });
    const between = figuresBetween(before, after);
    assert.equal(between.requests, 4);
    assert.equal(between.connections, 0);
    assert.equal(between.open, 1);
    assert.deepEqual(
      between.members.map(({ name, requests, active }) => [name, requests, active]),
      [
        ['m1', 2, 1],
        ['m2', 2, 1],
      ],
    );
    assert.deepEqual(figuresBetween(after, before), before);
  });

  it('have quantiles that are above the true ones by no more than a quarter', () => {
    const times = fc.array(fc.integer({ min: 5, max: 20_000_000 }), { minLength: 1, maxLength: 200 });
    fc.assert(
      fc.property(times, fc.constantFrom(0.5, 0.9, 0.99, 1), (micros, share) => {
        const histogram = new Histogram();
        for (const one of micros) histogram.add(one / 1000);
        const sorted = micros.toSorted((a, b) => a - b);
        const exact = sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)]! / 1000;
        const found = quantile(histogram.list(), share);
        // A microsecond is cut off where fractions of milliseconds are not exact.
        assert.ok(found >= exact - 0.001 && found <= (exact + 0.001) * 1.26, `${found} for ${exact}`);
      }),
    );
    assert.equal(quantile([], 0.5), 0);
  });

  it('are text that Prometheus reads: each metric once, buckets that grow, labels that are quoted', () => {
    const histogram = new Histogram();
    for (const ms of [0.05, 1, 1, 200, 100_000]) histogram.add(ms);
    const times = { total: histogram.list(), client: [], engine: [], member: [] };
    const figures = some({ requests: 5, statuses: [0, 0, 5, 0, 0, 0], times });
    const text = metricsText([
      { labels: { service: 'a"b\\c' }, figures },
      { labels: { service: 'web', engine: 'e1' }, figures },
    ]);
    const lines = text.trimEnd().split('\n');
    const types = lines.filter((line) => line.startsWith('# TYPE '));
    assert.equal(new Set(types).size, types.length);
    for (const line of lines) {
      assert.match(
        line,
        /^(# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{[a-z]+="(\\.|[^"\\])*"(,[a-z]+="(\\.|[^"\\])*")*\})? [0-9.e+-]+)$/,
      );
    }
    assert.ok(lines.includes('weft_http_requests_total{service="a\\"b\\\\c",status="2xx"} 5'));
    const buckets = lines
      .filter((line) =>
        line.startsWith('weft_http_request_duration_seconds_bucket{service="web",engine="e1",share="total"'),
      )
      .map((line) => Number(line.split(' ')[1]));
    assert.equal(buckets.length, 20);
    assert.deepEqual(
      buckets,
      buckets.toSorted((a, b) => a - b),
    );
    assert.equal(buckets[0], 1);
    assert.equal(buckets.at(-2), 4);
    assert.equal(buckets.at(-1), 5);
    const sum = Number(
      lines
        .find((line) => line.includes('_sum{service="web"') && line.includes('share="total"'))!
        .split(' ')[1],
    );
    assert.ok(Math.abs(sum / 100.202_05 - 1) < 0.13, String(sum));
    assert.equal(metricsText([]), '\n');
  });
});
