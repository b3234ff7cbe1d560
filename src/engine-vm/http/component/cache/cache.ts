/**
 * The component `cache` (`cache`): answers from responses that members gave before (RFC 9111), as a cache that all clients
 * share. It is the last of the chain: what is stored is what clients got, compressed and changed, so that a hit does
 * nothing of it again.
 *
 *   request ─▶ key ─▶ fresh? serve ── stale, while it is revalidated? serve, and fetch in the background
 *                       │
 *                       └─▶ fetched already? wait ── else go to a member: 304 renews, the rest is stored or not
 */
import type { HttpCache } from '../../../../policy/http-acceleration.ts';
import type { HttpService } from '../../../../policy/http-service.ts';
import { hasToken } from '../../coding/coded-head.ts';
import { ANSWERED, type HttpComponent } from '../../component.ts';
import type { Exchange } from '../../exchange.ts';
import { FIELD } from '../../field-names.ts';
import { type Head, METHOD } from '../../head.ts';
import { line } from '../../head-writer.ts';
import { KeptRequest } from '../../kept-request.ts';
import { refusal } from '../../refusals.ts';
import { BackgroundClient } from './background-client.ts';
import { CacheFill, EntryWriter } from './cache-fill.ts';
import { CacheKey } from './cache-key.ts';
import { type CacheFetcher, CacheRequest } from './cache-request.ts';
import { CacheStore, type EntryTerms } from './cache-store.ts';
import { Collapses } from './collapse.ts';
import { termsOf } from './freshness.ts';
import { NO_LINES, Purge } from './purge.ts';
import { readHead, writeHead, written } from './stored-head.ts';
import { asksConditions, dropConditions, joined, StoredResponses } from './stored-responses.ts';
import { RequestVariant, variantOf } from './variants.ts';

const ONLY_IF_CACHED = refusal('cache-only');
const NO_STORE = line('no-store');
const ONLY = line('only-if-cached');
/** For so long nobody waits for a response that was not stored the last time. */
const UNCACHEABLE_MS = 10_000;
const UNCACHEABLE_PLACES = 4096;
const MOST_KEPT = 256;

/** What Cache-Status says (RFC 9211). */
const HIT = line('Cache-Status: weft; hit\r\n');
const HIT_STALE = line('Cache-Status: weft; hit; detail=stale\r\n');
const HIT_VALIDATED = line('Cache-Status: weft; hit; fwd=stale; fwd-status=304\r\n');
const HIT_COLLAPSED = line('Cache-Status: weft; fwd=miss; collapsed\r\n');
const MISS_STORED = line('Cache-Status: weft; fwd=miss; stored\r\n');
const MISS = line('Cache-Status: weft; fwd=miss\r\n');
const BYPASS = line('Cache-Status: weft; fwd=bypass\r\n');

export class Cache implements HttpComponent, CacheFetcher {
  readonly type = 'cache';
  readonly store: CacheStore;
  readonly #policy: HttpCache;
  readonly #key: CacheKey;
  readonly #variant = new RequestVariant();
  readonly #purge: Purge | null;
  readonly #collapses = new Collapses();
  readonly #responses: StoredResponses;
  readonly #kept: KeptRequest[] = [];
  /** Hashes of keys, and until when they count as uncacheable. */
  readonly #uncacheable = new Int32Array(UNCACHEABLE_PLACES);
  readonly #uncacheableUntil = new Float64Array(UNCACHEABLE_PLACES);
  readonly #counts = {
    hits: 0,
    stale: 0,
    validated: 0,
    collapsed: 0,
    misses: 0,
    stored: 0,
    bypassed: 0,
    purged: 0,
  };

  constructor(policy: HttpCache, memory: SharedArrayBuffer | undefined) {
    this.#policy = policy;
    this.store = new CacheStore(memory ?? CacheStore.allocate(policy.maxBytes));
    this.#responses = new StoredResponses(this.store, policy.cacheStatus);
    this.#key = new CacheKey();
    this.#purge = policy.purgeFrom.length === 0 ? null : new Purge(policy.purgeFrom, this.store, this.#key);
  }

  /** Null where the service stores nothing. */
  static of(http: HttpService, memory: SharedArrayBuffer | undefined): Cache | null {
    return http.cache === undefined ? null : new Cache(http.cache, memory);
  }

  onRequest(exchange: Exchange): number {
    const { request } = exchange;
    const { method } = request;
    if (method !== METHOD.GET && method !== METHOD.HEAD) return this.#onUnsafe(exchange);
    const forwarded = exchange.forwardedLines;
    if (
      !this.#isForCache(exchange) ||
      !this.#key.build(request, forwarded, poolOf(exchange), exchange.origin)
    ) {
      this.#counts.bypassed++;
      return 0;
    }
    const { bytes, length } = this.#key;
    const hash = this.store.hash(bytes, this.#key.addressLength);
    this.#variant.request = request;
    const entry = this.store.find(hash, bytes, length, this.#variant);
    if (entry < 0) return this.#miss(exchange, hash, -1);
    const age = this.store.age(entry, Date.now());
    const over = age - this.store.lifetime(entry);
    const isNoCache = this.store.isNoCache(entry);
    if (over < 0 && !isNoCache) {
      this.#counts.hits++;
      return this.#responses.serve(exchange, entry, request, HIT);
    }
    if (over < this.store.whileRevalidate(entry) && !isNoCache) {
      this.#counts.stale++;
      this.#refresh(exchange, hash, entry);
      return this.#responses.serve(exchange, entry, request, HIT_STALE);
    }
    return this.#miss(exchange, hash, entry);
  }

  /** Whether anything stored may answer a GET or HEAD, or its response be stored. */
  #isForCache({ request, wantsUpgrade }: Exchange): boolean {
    if (request.contentLength > 0 || request.isChunked || wantsUpgrade) return false;
    for (let n = 0; n < request.count; n++) {
      const id = request.ids[n];
      if (id === FIELD['if-match'] || id === FIELD['if-unmodified-since']) return false;
    }
    return true;
  }

  #onUnsafe(exchange: Exchange): number {
    const { request } = exchange;
    const { method } = request;
    if (method === METHOD.OPTIONS || method === METHOD.TRACE) return 0;
    if (this.#purge !== null && method === METHOD.other && request.methodName === 'PURGE') {
      return this.#purge.onRequest(exchange, this.#counts);
    }
    // What a method that is not known does is not known either.
    if (this.#key.build(request, NO_LINES, '', exchange.origin)) {
      const address = this.#key.bytes.slice(0, this.#key.addressLength);
      exchange.attachment = CacheRequest.unsafe(this, exchange, address);
    }
    return 0;
  }

  /** `entry`: what is stored and stale, pinned, or -1. */
  #miss(exchange: Exchange, hash: number, entry: number): number {
    const { request, context } = exchange;
    const control = this.#requestControl(request);
    if (control === ONLY_IF_CACHED) {
      if (entry >= 0) this.store.unpin(entry);
      return ONLY_IF_CACHED;
    }
    this.#counts.misses++;
    // Ranges and HEAD bring nothing whole.
    if (control !== 0 || request.method === METHOD.HEAD || request.find(FIELD.range) >= 0) {
      if (entry >= 0) this.store.unpin(entry);
      return 0;
    }
    const kept = this.#kept.pop() ?? new KeptRequest();
    kept.keep(request);
    const mine = CacheRequest.fetch(
      this,
      exchange,
      this.#key.bytes.slice(0, this.#key.length),
      hash,
      kept,
      entry,
    );
    exchange.attachment = mine;
    // What a client asks under conditions brings perhaps nothing that others can use.
    const isAlone = entry < 0 && asksConditions(request);
    if (isAlone || this.#isUncacheable(hash, context.nowMs)) return this.#forward(mine, request);
    const text = this.#key.text;
    const collapse = this.#collapses.find(text);
    if (collapse !== undefined && !collapse.isFull) {
      mine.waitFor(collapse);
      return ANSWERED;
    }
    if (collapse === undefined) mine.collapse = this.#collapses.begin(text, context.nowMs);
    return this.#forward(mine, request);
  }

  /** 0, a refusal, or -1: nothing of it is to be stored. */
  #requestControl(request: Head): number {
    for (let n = 0; n < request.count; n++) {
      if (request.ids[n] !== FIELD['cache-control']) continue;
      if (hasToken(request, n, ONLY)) return ONLY_IF_CACHED;
      if (hasToken(request, n, NO_STORE)) return -1;
    }
    return 0;
  }

  /** Lets the request go on to a member; where something is stored, as the question whether that still holds. */
  #forward(mine: CacheRequest, request: Head): number {
    mine.purges = this.store.purges;
    const { entry, exchange } = mine;
    if (entry < 0) return 0;
    const stored = readHead(this.store, entry, exchange.context.buffers);
    const etag = stored.value('etag');
    const modified = stored.value('last-modified');
    if (etag === undefined && modified === undefined) return 0;
    mine.isValidating = true;
    for (let n = 0; n < request.count; n++) {
      const id = request.ids[n];
      if (id === FIELD['if-none-match'] || id === FIELD['if-modified-since']) request.isDropped[n] = 1;
    }
    if (etag !== undefined) exchange.requestLines.push(line(`If-None-Match: ${etag}\r\n`));
    if (modified !== undefined) exchange.requestLines.push(line(`If-Modified-Since: ${modified}\r\n`));
    return 0;
  }

  /** By a request that waited: it goes to a member after all. */
  fetch(mine: CacheRequest): void {
    this.#forward(mine, mine.kept!.head);
    mine.exchange.proceed(mine.kept!);
  }

  /** By a request that waited: serves what was stored meanwhile. False where nothing fits. */
  serve(mine: CacheRequest): boolean {
    const { exchange, hash, key } = mine;
    const { head } = mine.kept!;
    this.#variant.request = head;
    const entry = this.store.find(hash, key, key.length, this.#variant);
    if (entry < 0) return false;
    if (this.store.isNoCache(entry) || this.store.age(entry, Date.now()) >= this.store.lifetime(entry)) {
      this.store.unpin(entry);
      return false;
    }
    this.#counts.collapsed++;
    this.#responses.serve(exchange, entry, head, HIT_COLLAPSED);
    return true;
  }

  endCollapse(mine: CacheRequest): void {
    if (mine.collapse !== null) this.#collapses.end(mine.collapse);
  }

  giveKept(kept: KeptRequest): void {
    if (this.#kept.length < MOST_KEPT) this.#kept.push(kept);
  }

  /** Fetches a response anew while the stale one is served, unless somebody does. */
  #refresh(exchange: Exchange, hash: number, entry: number): void {
    const { context, request } = exchange;
    const text = this.#key.text;
    if (request.method !== METHOD.GET || this.#collapses.find(text) !== undefined) return;
    const kept = this.#kept.pop() ?? new KeptRequest();
    kept.keep(request);
    dropConditions(kept.head);
    const background = new BackgroundClient(context, exchange.forwardedLines.slice());
    const key = this.#key.bytes.slice(0, this.#key.length);
    background.exchange.startKept(kept, exchange.sourceHash);
    for (const added of exchange.requestLines) background.exchange.requestLines.push(added);
    background.exchange.origin = exchange.origin;
    background.exchange.target = exchange.target?.clone() ?? null;
    this.store.pin(entry);
    const mine = CacheRequest.fetch(this, background.exchange, key, hash, kept, entry);
    mine.collapse = this.#collapses.begin(text, context.nowMs);
    background.exchange.attachment = mine;
    this.fetch(mine);
  }

  onResponse(exchange: Exchange): void {
    const mine = exchange.attachment as CacheRequest | null;
    if (mine === null) {
      if (this.#policy.cacheStatus) exchange.responseLines.push(BYPASS);
      return;
    }
    const { response } = exchange;
    if (mine.kept === null) {
      // With what the client gets: members may know another address of it.
      if (response.status < 400)
        this.#invalidate(mine, writeHead(exchange, null) === null ? response : written);
      return;
    }
    if (mine.isValidating && response.status === 304) {
      if (this.#renew(exchange, mine)) return;
    } else if (mine.entry >= 0 && response.status >= 500 && this.#mayServeForError(mine.entry)) {
      this.#serveStale(exchange, mine);
      return;
    }
    const isStored = this.#store(exchange, mine);
    if (this.#policy.cacheStatus) exchange.responseLines.push(isStored ? MISS_STORED : MISS);
    if (isStored) return;
    if (mine.entry >= 0 && response.status < 500) this.store.remove(mine.hash, mine.key, mine.key.length);
    if (mine.collapse === null) return;
    this.#markUncacheable(mine.hash, exchange.context.nowMs);
    this.endCollapse(mine);
  }

  /** RFC 9111 4.4. */
  #invalidate(mine: CacheRequest, response: Head): void {
    const text = Buffer.from(mine.key).toString('latin1');
    this.store.removeAddress(mine.key);
    const host = text.slice(0, text.indexOf('/'));
    for (let n = 0; n < response.count; n++) {
      if (response.ids[n] !== FIELD.location && response.ids[n] !== FIELD['content-location']) continue;
      const target = response.text(response.valueAt[n]!, response.valueEnd[n]!);
      // Of another host nothing may be taken out.
      const match = /^(?:https?:\/\/([^/]+))?(\/[^#]*)/i.exec(target);
      if (match === null || (match[1] !== undefined && match[1].toLowerCase() !== host)) continue;
      this.store.removeAddress(Buffer.from(host + match[2], 'latin1'));
    }
  }

  /** A 304: the stored response is fresh again, with the fields that came. False where it could not be stored anew. */
  #renew(exchange: Exchange, mine: CacheRequest): boolean {
    const { store } = this;
    const { entry, kept } = mine;
    const old = readHead(store, entry, exchange.context.buffers);
    const head = writeHead(exchange, old);
    const terms = head === null ? 'head' : this.#terms(exchange, mine, old.status);
    const pinned = entry;
    this.#counts.validated++;
    if (head !== null && typeof terms !== 'string') {
      const vary = Buffer.alloc(store.varyBytes(entry));
      store.read(entry, mine.key.length, vary.length, vary, 0);
      const writer = new EntryWriter(store);
      const lengths = [mine.key.length, vary.length, head.length] as const;
      if (
        add(writer, mine.key, vary, head) &&
        this.#copyBody(writer, entry, lengths[0] + lengths[1] + store.headBytes(entry))
      ) {
        writer.link(mine.hash, lengths, terms, mine.purges);
        this.#variant.request = kept!.head;
        const renewed = store.find(mine.hash, mine.key, mine.key.length, this.#variant);
        if (renewed >= 0) {
          store.unpin(pinned);
          mine.entry = renewed;
        }
      }
    } else store.remove(mine.hash, mine.key, mine.key.length);
    this.#serveStale(exchange, mine, HIT_VALIDATED);
    return true;
  }

  #copyBody(writer: EntryWriter, entry: number, at: number): boolean {
    const length = this.store.bodyBytes(entry);
    const piece = new Uint8Array(Math.min(length, 65_536));
    for (let done = 0; done < length; done += piece.length) {
      const count = Math.min(piece.length, length - done);
      this.store.read(entry, at + done, count, piece, 0);
      if (!writer.add(piece, 0, count)) return false;
    }
    return true;
  }

  #mayServeForError(entry: number): boolean {
    const { store } = this;
    if (store.isNoCache(entry)) return false;
    return store.age(entry, Date.now()) - store.lifetime(entry) < store.ifError(entry);
  }

  /** In the place of what the member answered: its body is dropped. */
  #serveStale(exchange: Exchange, mine: CacheRequest, status = HIT_STALE): void {
    const { entry, kept } = mine;
    mine.entry = -1;
    if (status === HIT_STALE) this.#counts.stale++;
    this.#responses.load(exchange, entry, kept!.head, status);
  }

  /** By an exchange that is about to be refused: true where it was served something stale. */
  rescue(mine: CacheRequest): boolean {
    const { entry, exchange, kept } = mine;
    if (entry < 0 || kept === null || !this.#mayServeForError(entry)) return false;
    mine.entry = -1;
    this.#counts.stale++;
    exchange.refusal = 0;
    this.#responses.serve(exchange, entry, kept.head, HIT_STALE);
    return true;
  }

  /** The terms on which the response in `written` may be stored, or why not. */
  #terms(exchange: Exchange, mine: CacheRequest, status: number): EntryTerms | string {
    const { response } = exchange;
    const { head } = mine.kept!;
    return termsOf(
      {
        status,
        cacheControl: joined(written, FIELD['cache-control']),
        expires: written.value('expires'),
        date: written.value('date'),
        age: response.value('age'),
        lastModified: written.value('last-modified'),
        hasEtag: written.find(FIELD.etag) >= 0,
        setsCookie: written.find(FIELD['set-cookie']) >= 0,
        hasSecret: head.find(FIELD.authorization) >= 0 || head.find(FIELD.cookie) >= 0,
        hasQuery: head.target.includes('?'),
        nowMs: Date.now(),
      },
      this.#policy,
    );
  }

  /** Begins to store a response. False where it may not be. */
  #store(exchange: Exchange, mine: CacheRequest): boolean {
    const { response, context } = exchange;
    const { maxObjectBytes } = this.#policy;
    // Where the connection's end is the body's, nobody can tell whether all of it came.
    if (!response.isChunked && response.contentLength < 0 && response.status !== 204) return false;
    if (response.contentLength > maxObjectBytes) return false;
    const head = writeHead(exchange, null);
    if (head === null) return false;
    const terms = this.#terms(exchange, mine, response.status);
    if (typeof terms === 'string') return false;
    const vary: string[] = [];
    for (let n = 0; n < written.count; n++) {
      if (written.ids[n] === FIELD.vary) vary.push(written.text(written.valueAt[n]!, written.valueEnd[n]!));
    }
    const variant = variantOf(vary, mine.kept!.head);
    if (variant === null || mine.key.length + variant.length > 4096) return false;
    const writer = new EntryWriter(this.store);
    if (!add(writer, mine.key, variant, head)) return false;
    const lengths = [mine.key.length, variant.length, head.length] as const;
    exchange.addFilter(
      new CacheFill(writer, context.buffers, maxObjectBytes, (whole) => {
        if (!whole.link(mine.hash, lengths, terms, mine.purges)) return;
        this.#counts.stored++;
        mine.isStored = true;
      }),
    );
    return true;
  }

  #isUncacheable(hash: number, nowMs: number): boolean {
    const place = hash & (UNCACHEABLE_PLACES - 1);
    return this.#uncacheable[place] === hash && this.#uncacheableUntil[place]! > nowMs;
  }

  #markUncacheable(hash: number, nowMs: number): void {
    const place = hash & (UNCACHEABLE_PLACES - 1);
    this.#uncacheable[place] = hash;
    this.#uncacheableUntil[place] = nowMs + UNCACHEABLE_MS;
  }

  tick(nowMs: number): void {
    this.#collapses.tick(nowMs);
  }

  counters(): Record<string, number> {
    return { ...this.#counts };
  }

  shared(): Record<string, number> {
    const { entries, usedBytes, evicted } = this.store;
    return { entries, usedBytes, evicted };
  }
}

function add(writer: EntryWriter, ...parts: readonly Uint8Array[]): boolean {
  return parts.every((part) => writer.add(part, 0, part.length));
}

/** The pool that a route sends the request to; empty where that is the tier's. */
function poolOf({ service, request }: Exchange): string {
  if (service.router === null) return '';
  return service.settings.pools?.[service.router.choose(request)]?.name ?? '';
}
