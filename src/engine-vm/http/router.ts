/**
 * Content switching, and whatever else tells requests apart: which of the ordered routes of a service fits a request. The first route that fits is the
 * one, but few are looked at: routes are found by hashes of their host and of their path or its beginning, so a
 * request costs the same whether there are ten or a thousand. Allocates nothing for a request.
 */
import type { HttpRoute } from '../../policy/http-routes.ts';
import { FIELD } from './field-names.ts';
import type { Head } from './head.ts';
import type { JudgedTarget } from './judged-target.ts';

interface Pattern {
  readonly bytes: Uint8Array;
  /** Whether what is looked at need only begin so. */
  readonly isPrefix: boolean;
}

interface NamedPattern {
  readonly name: Uint8Array;
  /** Null: any value. */
  readonly value: Pattern | null;
}

interface Route {
  readonly hosts: readonly HostPattern[];
  readonly paths: readonly Pattern[];
  readonly methods: readonly Uint8Array[];
  readonly fields: readonly NamedPattern[];
  readonly cookies: readonly NamedPattern[];
  readonly query: readonly NamedPattern[];
  /** Address sets of which one has to hold the client, by number; any client where there are none. */
  readonly sources: readonly number[];
  /** Into the pools of the settings; -1 is that of the tier. */
  readonly pool: number;
}

interface HostPattern {
  /** Lower case; of `*.shop.example` it is `.shop.example`. */
  readonly bytes: Uint8Array;
  readonly isWildcard: boolean;
}

/** Routes that one look finds, as positions in the order of the policy: those of any client, and the others by address set. */
class RouteList {
  readonly ofAny: number[] = [];
  readonly bySet: number[][] = [];

  add(position: number, sources: readonly number[]): void {
    if (sources.length === 0) push(this.ofAny, position);
    for (const set of sources) {
      this.bySet[set] ??= [];
      push(this.bySet[set], position);
    }
  }
}

/** The routes of one host pattern, by path. */
class PathTable {
  readonly any = new RouteList();
  readonly exact = new Map<number, RouteList>();
  readonly prefixes = new Map<number, RouteList>();
  /** The lengths that prefixes have, ascending. */
  lengths: number[] = [];

  add(path: Pattern, position: number, sources: readonly number[]): void {
    const { bytes, isPrefix } = path;
    const lists = isPrefix ? this.prefixes : this.exact;
    const key = hash(bytes, 0, bytes.length);
    const list = lists.get(key) ?? new RouteList();
    lists.set(key, list);
    list.add(position, sources);
    if (isPrefix && !this.lengths.includes(bytes.length)) {
      this.lengths = [...this.lengths, bytes.length].sort((a, b) => a - b);
    }
  }
}

const SEED = 0x811c9dc5 | 0;
const PRIME = 0x01000193;
/** Hashes are kept to so many bits that they are small integers. */
const MASK = 0x3fff_ffff;
const NONE = 0x7fff_ffff;
export const NO_SETS = new Int32Array(0);

export class Router {
  readonly #routes: readonly Route[];
  readonly #anyHost = new PathTable();
  readonly #hosts = new Map<number, PathTable>();
  readonly #wildcards = new Map<number, PathTable>();
  // Of the request that is looked at.
  #head!: Head;
  #bytes!: Uint8Array;
  #pathAt = 0;
  #queryAt = 0;
  #queryEnd = 0;
  #sets: Int32Array = NO_SETS;
  #after = -1;
  #hostAt = 0;
  #hostEnd = 0;
  #pathEnd = 0;
  #best = NONE;

  private constructor(routes: readonly Route[]) {
    this.#routes = routes;
    for (const [position, { hosts, paths, sources }] of routes.entries()) {
      const tables = hosts.length === 0 ? [this.#anyHost] : hosts.map((host) => this.#tableOf(host));
      for (const table of new Set(tables)) {
        if (paths.length === 0) table.any.add(position, sources);
        for (const path of paths) table.add(path, position, sources);
      }
    }
  }

  /** `pools`: the names of the further pools; others are the tier's. Null where there are no routes. */
  static of(
    routes: readonly (HttpRoute & { readonly sources?: readonly number[] })[],
    pools: readonly string[],
  ): Router | null {
    if (routes.length === 0) return null;
    return new Router(
      routes.map((route) => ({
        hosts: route.hosts.map(hostPattern),
        paths: route.paths.map(pattern),
        methods: route.methods.map(bytesOf),
        fields: route.fields.map((one) => named(one, true)),
        cookies: route.cookies.map((one) => named(one, false)),
        query: route.query.map((one) => named(one, false)),
        sources: route.sources ?? [],
        pool: pools.indexOf(route.pool),
      })),
    );
  }

  #tableOf({ bytes, isWildcard }: HostPattern): PathTable {
    const tables = isWildcard ? this.#wildcards : this.#hosts;
    const key = hash(bytes, 0, bytes.length, true);
    const table = tables.get(key) ?? new PathTable();
    tables.set(key, table);
    return table;
  }

  /** The pool for a request, as an index into the pools of the settings; -1: that of the tier. */
  choose(head: Head): number {
    const { bytes, targetAt, targetEnd } = head;
    let end = targetAt;
    while (end < targetEnd && bytes[end] !== 63) end++;
    this.#bytes = bytes;
    this.#pathAt = targetAt;
    this.#pathEnd = end;
    this.#queryAt = end + 1;
    this.#queryEnd = targetEnd;
    this.#sets = NO_SETS;
    const found = this.#search(head, -1);
    return found < 0 ? -1 : this.#routes[found]!.pool;
  }

  /**
   * Position of the first behind `after` that fits, else -1; with the target in its one spelling. `sets`: the address
   * sets that hold the client.
   */
  find(head: Head, after: number, target: JudgedTarget, sets: Int32Array): number {
    this.#bytes = target.bytes;
    this.#pathAt = 0;
    this.#pathEnd = target.pathEnd;
    this.#queryAt = target.pathEnd;
    this.#queryEnd = target.end;
    this.#sets = sets;
    return this.#search(head, after);
  }

  #search(head: Head, after: number): number {
    this.#head = head;
    this.#best = NONE;
    this.#after = after;
    this.#findHost();
    const { bytes } = head;
    this.#searchTable(this.#anyHost);
    const at = this.#hostAt;
    // Ends of the host are hashed from its end, so that one walk gives the hash of each.
    let value = SEED;
    for (let n = this.#hostEnd - 1; n >= at; n--) {
      value = step(value, lower(bytes[n]!));
      if (bytes[n] === 46 && n > at) this.#searchTable(this.#wildcards.get(value & MASK));
    }
    if (this.#hostEnd > at) this.#searchTable(this.#hosts.get(value & MASK));
    return this.#best === NONE ? -1 : this.#best;
  }

  /** Host without port, and without the dot that may end it. */
  #findHost(): void {
    const { bytes, hostIndex, valueAt, valueEnd } = this.#head;
    this.#hostAt = 0;
    this.#hostEnd = 0;
    if (hostIndex < 0) return;
    const at = valueAt[hostIndex]!;
    let end = valueEnd[hostIndex]!;
    let digits = end;
    while (digits > at && bytes[digits - 1]! >= 48 && bytes[digits - 1]! <= 57) digits--;
    if (digits > at && bytes[digits - 1] === 58) end = digits - 1;
    if (end > at && bytes[end - 1] === 46) end--;
    this.#hostAt = at;
    this.#hostEnd = end;
  }

  #searchTable(table: PathTable | undefined): void {
    if (table === undefined) return;
    this.#searchList(table.any);
    const bytes = this.#bytes;
    const pathAt = this.#pathAt;
    const length = this.#pathEnd - pathAt;
    if (table.exact.size > 0) {
      this.#searchList(table.exact.get(hash(bytes, pathAt, this.#pathEnd)));
    }
    let value = SEED;
    let at = pathAt;
    for (let n = 0; n < table.lengths.length && table.lengths[n]! <= length; n++) {
      const end = pathAt + table.lengths[n]!;
      for (; at < end; at++) value = step(value, bytes[at]!);
      this.#searchList(table.prefixes.get(value & MASK));
    }
  }

  #searchList(list: RouteList | undefined): void {
    if (list === undefined) return;
    this.#searchPositions(list.ofAny);
    const { bySet } = list;
    if (bySet.length === 0) return;
    const sets = this.#sets;
    for (let n = 0; n < sets.length; n++) this.#searchPositions(bySet[sets[n]!]);
  }

  #searchPositions(list: readonly number[] | undefined): void {
    if (list === undefined) return;
    for (let n = 0; n < list.length && list[n]! < this.#best; n++) {
      if (list[n]! <= this.#after || !this.#fits(this.#routes[list[n]!]!)) continue;
      this.#best = list[n]!;
      return;
    }
  }

  /** Whether the whole route fits: a hash alone proves nothing. */
  #fits(route: Route): boolean {
    const head = this.#head;
    if (route.sources.length > 0 && !isInOne(route.sources, this.#sets)) return false;
    if (route.hosts.length > 0 && !this.#fitsHost(route.hosts)) return false;
    if (route.paths.length > 0 && !this.#fitsPath(route.paths)) return false;
    if (route.methods.length > 0 && !isOneOf(head, route.methods)) return false;
    for (const one of route.fields) if (!hasField(head, one)) return false;
    for (const one of route.cookies) if (!hasCookie(head, one)) return false;
    for (const one of route.query) {
      if (!hasPair(this.#bytes, this.#queryAt, this.#queryEnd, 38, one)) return false;
    }
    return true;
  }

  #fitsHost(hosts: readonly HostPattern[]): boolean {
    const { bytes } = this.#head;
    const length = this.#hostEnd - this.#hostAt;
    for (const { bytes: wanted, isWildcard } of hosts) {
      if (isWildcard ? length <= wanted.length : length !== wanted.length) continue;
      const at = this.#hostEnd - wanted.length;
      let n = 0;
      while (n < wanted.length && lower(bytes[at + n]!) === wanted[n]) n++;
      if (n === wanted.length) return true;
    }
    return false;
  }

  #fitsPath(paths: readonly Pattern[]): boolean {
    for (const path of paths) {
      if (fitsPattern(this.#bytes, this.#pathAt, this.#pathEnd, path)) return true;
    }
    return false;
  }
}

function isInOne(sources: readonly number[], sets: Int32Array): boolean {
  for (let n = 0; n < sets.length; n++) if (sources.includes(sets[n]!)) return true;
  return false;
}

function isOneOf({ bytes, methodAt, methodEnd }: Head, methods: readonly Uint8Array[]): boolean {
  for (const method of methods) {
    if (methodEnd - methodAt === method.length && startsWith(bytes, methodAt, methodEnd, method)) return true;
  }
  return false;
}

function hasField(head: Head, { name, value }: NamedPattern): boolean {
  for (let n = 0; n < head.count; n++) {
    if (!head.isNamed(n, name)) continue;
    if (value === null || fitsPattern(head.bytes, head.valueAt[n]!, head.valueEnd[n]!, value)) return true;
  }
  return false;
}

function hasCookie(head: Head, cookie: NamedPattern): boolean {
  for (let n = 0; n < head.count; n++) {
    if (head.ids[n] !== FIELD.cookie) continue;
    if (hasPair(head.bytes, head.valueAt[n]!, head.valueEnd[n]!, 59, cookie)) return true;
  }
  return false;
}

/** Whether a list `a=1;b=2` has such a pair. `separator`: the byte between pairs, behind which blanks do not count. */
function hasPair(
  bytes: Uint8Array,
  from: number,
  end: number,
  separator: number,
  pair: NamedPattern,
): boolean {
  const { name, value } = pair;
  for (let at = from; at < end; ) {
    while (at < end && bytes[at] === 32) at++;
    let stop = at;
    while (stop < end && bytes[stop] !== separator) stop++;
    if (startsWith(bytes, at, stop, name)) {
      const equals = at + name.length;
      if (equals === stop && value === null) return true;
      if (equals < stop && bytes[equals] === 61) {
        if (value === null || fitsPattern(bytes, equals + 1, stop, value)) return true;
      }
    }
    at = stop + 1;
  }
  return false;
}

function fitsPattern(
  bytes: Uint8Array,
  at: number,
  end: number,
  { bytes: wanted, isPrefix }: Pattern,
): boolean {
  if (!isPrefix && end - at !== wanted.length) return false;
  return startsWith(bytes, at, end, wanted);
}

function startsWith(bytes: Uint8Array, at: number, end: number, wanted: Uint8Array): boolean {
  if (end - at < wanted.length) return false;
  for (let n = 0; n < wanted.length; n++) if (bytes[at + n] !== wanted[n]) return false;
  return true;
}

function lower(byte: number): number {
  return byte >= 65 && byte <= 90 ? byte | 32 : byte;
}

/** FNV-1a, a byte further. */
function step(value: number, byte: number): number {
  return Math.imul(value ^ byte, PRIME);
}

/** Of a range, by its bytes from the first to the last, or the other way round. */
function hash(bytes: Uint8Array, at: number, end: number, isBackwards = false): number {
  let value = SEED;
  if (isBackwards) for (let n = end - 1; n >= at; n--) value = step(value, bytes[n]!);
  else for (let n = at; n < end; n++) value = step(value, bytes[n]!);
  return value & MASK;
}

function push(list: number[], position: number): void {
  if (list.at(-1) !== position) list.push(position);
}

function bytesOf(text: string): Uint8Array {
  return Buffer.from(text, 'latin1');
}

function pattern(text: string): Pattern {
  const isPrefix = text.endsWith('*');
  return { bytes: bytesOf(isPrefix ? text.slice(0, -1) : text), isPrefix };
}

function named(
  { name, value }: { name: string; value?: string | undefined },
  isField: boolean,
): NamedPattern {
  return {
    name: bytesOf(isField ? name.toLowerCase() : name),
    value: value === undefined ? null : pattern(value),
  };
}

function hostPattern(text: string): HostPattern {
  const isWildcard = text.startsWith('*.');
  return { bytes: bytesOf((isWildcard ? text.slice(1) : text).toLowerCase()), isWildcard };
}
