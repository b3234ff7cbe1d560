/**
 * The component `rate-limits`: answers 429 where the requests of an address, of a value or of all come faster than
 * `rateLimits` allows. All threads count in one table (rate-table.ts).
 */
import { isIpv4, parseAddress } from '../../../../packet/address.ts';
import type { HttpRateLimit, HttpRateLimits } from '../../../../policy/http-rate-limits.ts';
import { ANSWERED, type HttpComponent } from '../../component.ts';
import type { Exchange } from '../../exchange.ts';
import { FIELD } from '../../field-names.ts';
import type { Head } from '../../head.ts';
import { line } from '../../head-writer.ts';
import { JudgedTarget } from '../../judged-target.ts';
import { refusal } from '../../refusals.ts';
import { Router } from '../../router.ts';
import type { ServiceSettings } from '../../service.ts';
import { RateTable } from './rate-table.ts';

const LIMITED = refusal('rate-limited');
const NO_SETS = new Int32Array(0);
/** Longer values are told apart by so many bytes, and by their length. */
const MOST_KEY_BYTES = 4096;
const SOURCE = 1;
const VALUE = 2;
/** What Retry-After says, by seconds. */
const RETRY = Array.from({ length: 61 }, (_, seconds) => [line(`Retry-After: ${seconds}\r\n`)]);

interface Count {
  limited: number;
}

interface Limit {
  readonly per: HttpRateLimit['per'];
  /** In lower case for a field. */
  readonly key: Uint8Array;
  readonly ipv4Bits: number;
  readonly ipv6Bits: number;
  readonly intervalMs: number;
  readonly burst: number;
  /** Null where it is for all requests. */
  readonly router: Router | null;
  /** Begins each of its keys. */
  readonly name: Uint8Array;
  readonly count: Count;
}

export class RateLimits implements HttpComponent {
  readonly type = 'rate-limits';
  readonly #limits: readonly Limit[];
  readonly #table: RateTable;
  readonly #target = new JudgedTarget(false);
  readonly #readsTarget: boolean;
  readonly #key = new Uint8Array(MOST_KEY_BYTES + 128);
  readonly #words = new Int32Array(4);
  readonly #counts = new Map<string, Count>();
  /** From the clock of the thread to one that all threads share. */
  readonly #clockMs = Number(process.hrtime.bigint()) / 1e6 - performance.now();

  private constructor(
    policy: HttpRateLimits,
    memory: SharedArrayBuffer | undefined,
    before: RateLimits | null,
  ) {
    this.#table = new RateTable(memory ?? RateTable.allocate(policy.entries));
    this.#limits = policy.limits.map((limit) => {
      const { name, per, key = '', ipv4Bits, ipv6Bits, requests, withinMs, burst } = limit;
      const count = (before === null ? undefined : before.#counts.get(name)) ?? { limited: 0 };
      this.#counts.set(name, count);
      const { hosts, paths, methods, fields, cookies, query } = limit;
      const isForAll = [hosts, paths, methods, fields, cookies, query].every(({ length }) => length === 0);
      return {
        per,
        key: line(per === 'field' ? key.toLowerCase() : key),
        ipv4Bits,
        ipv6Bits,
        intervalMs: withinMs / requests,
        burst: burst ?? requests,
        router: isForAll ? null : Router.of([{ ...limit, ...comparedQuery(limit), pool: '' }], []),
        name: line(`${name} `),
        count,
      };
    });
    this.#readsTarget = this.#limits.some(({ per, router }) => per === 'path' || router !== null);
  }

  /** Null where the service has none. `before`: in whose place it comes. */
  static of(settings: ServiceSettings, before: HttpComponent | undefined): RateLimits | null {
    const { rateLimits } = settings.http;
    if (rateLimits === undefined) return null;
    return new RateLimits(rateLimits, settings.rateMemory, before instanceof RateLimits ? before : null);
  }

  onRequest(exchange: Exchange): number {
    const { request, context } = exchange;
    if (this.#readsTarget) {
      const ambiguous = this.#target.read(request);
      if (ambiguous !== 0) return ambiguous;
    }
    const nowMs = context.nowMs + this.#clockMs;
    for (const limit of this.#limits) {
      if (limit.router !== null && limit.router.find(request, -1, this.#target, NO_SETS) < 0) continue;
      this.#table.hash.hash(this.#key, 0, this.#keyOf(limit, exchange));
      if (this.#table.take(limit.intervalMs, limit.burst, nowMs)) continue;
      limit.count.limited++;
      const seconds = Math.max(1, Math.ceil(this.#table.waitMs / 1000));
      exchange.refusal = LIMITED;
      exchange.answer(429, 'rate-limited', RETRY[seconds] ?? [line(`Retry-After: ${seconds}\r\n`)]);
      return ANSWERED;
    }
    return 0;
  }

  /** Writes the key of a request under that limit, and returns its length. */
  #keyOf(limit: Limit, exchange: Exchange): number {
    const { name, per } = limit;
    const { request } = exchange;
    this.#key.set(name, 0);
    const at = name.length;
    if (per === 'all') return at;
    if (per === 'path') return this.#value(this.#target.bytes, 0, this.#target.pathEnd, at);
    if (per === 'field') {
      for (let n = 0; n < request.count; n++) {
        if (!request.isNamed(n, limit.key)) continue;
        return this.#value(request.bytes, request.valueAt[n]!, request.valueEnd[n]!, at);
      }
    }
    if (per === 'cookie' && findCookie(request, limit.key)) {
      return this.#value(request.bytes, cookie.at, cookie.end, at);
    }
    return this.#source(limit, exchange.clientAddress, at);
  }

  #value(bytes: Uint8Array, from: number, end: number, to: number): number {
    const key = this.#key;
    let at = to;
    key[at++] = VALUE;
    for (let left = end - from; left > 0; left >>>= 8) key[at++] = left & 255;
    for (let p = from; p < end && at < key.length; p++) key[at++] = bytes[p]!;
    return at;
  }

  #source({ ipv4Bits, ipv6Bits }: Limit, address: string, to: number): number {
    const key = this.#key;
    const words = this.#words;
    let at = to;
    key[at++] = SOURCE;
    if (!parseAddress(address, words)) return at;
    let bits = isIpv4(words[0]!, words[1]!, words[2]!) ? 96 + ipv4Bits : ipv6Bits;
    for (let n = 0; n < 4; n++, bits -= 32) {
      const mask = bits >= 32 ? -1 : bits <= 0 ? 0 : -1 << (32 - bits);
      const word = words[n]! & mask;
      for (let shift = 24; shift >= 0; shift -= 8) key[at++] = (word >>> shift) & 255;
    }
    return at;
  }

  counters(): Record<string, number> {
    const limited = [...this.#counts].map(([name, count]) => [`limited ${name}`, count.limited]);
    return Object.fromEntries(limited);
  }

  shared(): Record<string, number> {
    return { evicted: this.#table.evicted };
  }
}

function comparedQuery({ query }: HttpRateLimit): Pick<HttpRateLimit, 'query'> {
  return { query: query.map((one) => JudgedTarget.comparedPair(one, false)) };
}

/** Where the value of the cookie stands that `findCookie` has found. */
const cookie = { at: 0, end: 0 };

/** Finds the first cookie of that name. */
function findCookie({ bytes, ids, count, valueAt, valueEnd }: Head, name: Uint8Array): boolean {
  for (let n = 0; n < count; n++) {
    if (ids[n] !== FIELD.cookie) continue;
    const end = valueEnd[n]!;
    for (let at = valueAt[n]!; at < end; ) {
      while (at < end && bytes[at] === 32) at++;
      let stop = at;
      while (stop < end && bytes[stop] !== 59) stop++;
      const equals = at + name.length;
      if (equals < stop && bytes[equals] === 61) {
        let same = 0;
        while (same < name.length && bytes[at + same] === name[same]) same++;
        if (same === name.length) {
          cookie.at = equals + 1;
          cookie.end = stop;
          return true;
        }
      }
      at = stop + 1;
    }
  }
  return false;
}
