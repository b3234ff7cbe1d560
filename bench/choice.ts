/**
 * Which member gets the next request: what a choice costs, by method and by the number of members, beside a walk over all
 * of them, which the balancers of flows make (balance/). One thread; a request is chosen, begins, is answered and ends.
 *
 *   npm run bench -- choice [ms per measurement] [members, such as 3,10000]
 *
 * The last line is JSON.
 */
import { createBalancer } from '../src/engine-vm/balance/registry.ts';
import { Availability } from '../src/engine-vm/http/availability.ts';
import { Member } from '../src/engine-vm/http/member.ts';
import type { MemberSettings, ServiceSettings } from '../src/engine-vm/http/service.ts';
import { BALANCING_METHODS, type BalancingMethod, isFlowMethod } from '../src/policy/balancing-methods.ts';
import { HttpService } from '../src/policy/http-service.ts';
import { candidatesOf } from '../test/engine-vm/balance/candidates.ts';

const ms = Number(process.argv[2] ?? 300);
const counts = (process.argv[3] ?? '3,100,10000').split(',').map(Number);
if (!(ms > 0) || !counts.every((count) => Number.isInteger(count) && count > 0)) {
  console.error('a number of milliseconds and a list of numbers: npm run bench -- choice --help');
  process.exit(2);
}
/** Requests that are under way at a time. */
const UNDER_WAY = 64;

/** Nanoseconds that each of many calls takes: the least of five measurements, behind one that warms up. */
function nanoseconds(call: (n: number) => void): number {
  let least = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 6; round++) {
    const begin = performance.now();
    let n = 0;
    while (performance.now() - begin < ms / 5) for (let end = n + 100; n < end; n++) call(n);
    if (round > 0) least = Math.min(least, ((performance.now() - begin) * 1e6) / n);
  }
  return Math.round(least);
}

function byTold(method: BalancingMethod, count: number): number {
  const clock = { nowMs: 1 };
  const members = Array.from({ length: count }, (_, n): MemberSettings => {
    return { name: `m${n}`, address: '127.0.0.1', port: n, weight: 1 + (n % 3), isDraining: false };
  });
  const http = HttpService.parse({});
  const settings: ServiceSettings = { name: 'bench', tier: 'web', listeners: [], method, members, http };
  const availability = new Availability(clock);
  const list = members.map((one) => new Member(one.name, one.name, one, new Uint8Array(), 0));
  availability.update(settings, list);
  const underWay = Array.from({ length: UNDER_WAY }, () => list[0]!);
  for (const member of underWay) availability.began(member);
  return nanoseconds((n) => {
    const done = underWay[n % UNDER_WAY]!;
    clock.nowMs += 0.02;
    availability.answered(done, 200, 1 + (n % 7));
    availability.ended(done);
    const member = list[availability.choose(Math.imul(n, 0x9e3779b9), null)]!;
    availability.began(member);
    underWay[n % UNDER_WAY] = member;
  });
}

function byWalk(method: BalancingMethod, count: number): number {
  if (!isFlowMethod(method)) return Number.NaN;
  const candidates = candidatesOf(Array.from({ length: count }, (_, n) => ({ weight: 1 + (n % 3) })));
  const balancer = createBalancer(method);
  const underWay = new Int32Array(UNDER_WAY);
  candidates.connections[0] = UNDER_WAY;
  return nanoseconds((n) => {
    candidates.connections[underWay[n % UNDER_WAY]!]!--;
    const chosen = balancer.choose(candidates, Math.imul(n, 0x9e3779b9), false);
    candidates.connections[chosen]!++;
    underWay[n % UNDER_WAY] = chosen;
  });
}

const results: Record<string, Record<number, number>> = {};
const rows: Record<string, unknown>[] = [];
for (const method of BALANCING_METHODS) {
  results[method] = {};
  for (const count of counts) {
    const told = byTold(method, count);
    const walk = byWalk(method, count);
    results[method][count] = told;
    rows.push({ method, members: count, 'ns a request': told, 'by a walk': Number.isNaN(walk) ? '' : walk });
  }
}
console.table(rows);
console.log(JSON.stringify({ bench: 'choice', nanoseconds: results }));
