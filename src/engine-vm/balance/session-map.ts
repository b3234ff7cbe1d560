/**
 * The session map: which member a client had, so that it comes back to it, whichever engine its next flow enters.
 * Every engine holds all sessions of its services; they merge as last-writer-wins by hybrid time (wall clock, but
 * never behind what is known), then by engine id.
 *
 * A session belongs to a scope: one tier of one service. Records refer to scopes and members by interned names, so
 * that a new graph only re-links names and sessions outlive a member's short absence. The map is bounded: when it is
 * full, the session unused longest among a few is evicted. `find` and `set` allocate nothing.
 */
import type { ServiceGraph } from '../../policy/graph.ts';
import { hashAddress, mix } from './hash.ts';
import { NameTable } from './name-table.ts';

/** A session that is merely used is published at most this often. */
const PUBLISH_INTERVAL_MS = 1000;
/** Records looked at for the one to evict. */
const EVICTION_SAMPLE = 16;
/** For sessions of a scope that the graph does not name (yet). */
const UNKNOWN_SCOPE_TIMEOUT_MS = 300_000;
/** Names beyond those of the graph that records may hold: bounds what other engines can make this one remember. */
const MAX_NAMES = 65_536;

export class SessionMap {
  /** Sessions given up because the map was full. */
  evictions = 0;

  private readonly capacity: number;
  private readonly heads: Int32Array;
  private readonly next: Int32Array;
  private freeList = 0;
  private used = 0;
  private cursor = 0;

  /** Interned scope name, or -1 where the slot is free. */
  private readonly scope: Int32Array;
  private readonly words: Uint32Array;
  private readonly member: Int32Array;
  private readonly origin: Int32Array;
  /** Hybrid time of the last write, the one that is merged. */
  private readonly time: Float64Array;
  /** When this engine last heard of the use, by its own monotonic clock: expiry survives clocks that jump. */
  private readonly usedAt: Float64Array;
  private readonly publishedAt: Float64Array;

  private readonly scopes = new NameTable(MAX_NAMES);
  private readonly members = new NameTable(MAX_NAMES);
  private readonly engines = new NameTable(MAX_NAMES);
  private readonly self: number;
  /** Interned member to graph index, -1 where the graph does not hold it. */
  private toGraph = new Int32Array(0);
  /** Graph index to interned member. */
  private fromGraph = new Int32Array(0);
  private timeouts = new Float64Array(0);
  /** First scope of each service in `scopeOfTier`. */
  private firstTier: number[] = [];
  private scopeOfTier: number[] = [];

  /** `capacity`: most sessions held, at about 60 bytes each. `self`: this engine's id. */
  constructor(capacity: number, self: string) {
    this.capacity = capacity;
    this.heads = new Int32Array(powerOfTwo(capacity)).fill(-1);
    this.next = new Int32Array(capacity);
    for (let slot = 0; slot < capacity; slot++) this.next[slot] = slot + 1 < capacity ? slot + 1 : -1;
    this.scope = new Int32Array(capacity).fill(-1);
    this.words = new Uint32Array(capacity * 4);
    this.member = new Int32Array(capacity);
    this.origin = new Int32Array(capacity);
    this.time = new Float64Array(capacity);
    this.usedAt = new Float64Array(capacity);
    this.publishedAt = new Float64Array(capacity);
    this.self = this.engines.pin(self);
  }

  get size(): number {
    return this.used;
  }

  /** Links names to a new graph. Sessions stay; those of members that are absent are not found until these return. */
  load(graph: ServiceGraph): void {
    this.scopes.unpinAll();
    this.members.unpinAll();
    this.fromGraph = Int32Array.from(graph.members, (member) => this.members.pin(member.id));
    this.firstTier = [];
    this.scopeOfTier = [];
    const timeouts = new Map<number, number>();
    for (const service of graph.services) {
      this.firstTier.push(this.scopeOfTier.length);
      let timeoutMs = 0;
      for (const component of service.components) {
        if (component.type === 'load-balancer' && component.persistence.type === 'source-address') {
          timeoutMs = component.persistence.timeoutMs;
        }
      }
      service.tiers.forEach((tier, index) => {
        // Object names hold no dots, so scope names are unique, and fit into a shared-state key.
        const scope = this.scopes.pin(index === 0 ? service.name : `${service.name}.${tier.name}`);
        this.scopeOfTier.push(scope);
        timeouts.set(scope, timeoutMs);
      });
    }
    this.scopes.sweep();
    this.members.sweep();
    this.toGraph = new Int32Array(this.members.length).fill(-1);
    this.fromGraph.forEach((name, index) => {
      this.toGraph[name] = index;
    });
    this.timeouts = new Float64Array(this.scopes.length).fill(UNKNOWN_SCOPE_TIMEOUT_MS);
    for (const [scope, timeoutMs] of timeouts) this.timeouts[scope] = timeoutMs;
  }

  /** The number of a tier's scope until the next `load`. */
  scopeOf(service: number, tier: number): number {
    return this.scopeOfTier[this.firstTier[service] + tier];
  }

  /** The scope's name in messages and shared-state keys: the service, and `.<tier>` behind the first tier. */
  scopeName(scope: number): string {
    return this.scopes.name(scope);
  }

  /** Graph index of the member that the client had, or -1. */
  find(scope: number, w0: number, w1: number, w2: number, w3: number, nowMs: number): number {
    const slot = this.slotOf(scope, w0, w1, w2, w3);
    if (slot < 0 || this.isExpired(slot, nowMs)) return -1;
    const name = this.member[slot];
    return name < this.toGraph.length ? this.toGraph[name] : -1;
  }

  /** Hybrid time of the client's session, or 0 where it has none: what to publish after `set`. */
  timeOf(scope: number, w0: number, w1: number, w2: number, w3: number): number {
    const slot = this.slotOf(scope, w0, w1, w2, w3);
    return slot < 0 ? 0 : this.time[slot];
  }

  /**
   * Notes that the client uses the member (graph index). True where others should be told: the session is new, the
   * member changed, or the last telling was a second ago.
   */
  set(
    scope: number,
    w0: number,
    w1: number,
    w2: number,
    w3: number,
    member: number,
    nowMs: number,
    wallMs: number,
  ): boolean {
    const name = this.fromGraph[member];
    if (name === undefined) return false;
    let slot = this.slotOf(scope, w0, w1, w2, w3);
    const isNew = slot < 0;
    if (isNew) slot = this.add(scope, w0, w1, w2, w3, name, this.self);
    const isMoved = this.member[slot] !== name;
    if (isMoved) {
      this.members.release(this.member[slot]);
      this.members.hold(name);
      this.member[slot] = name;
    }
    // A move must win over what is known, even if the clock that wrote that ran ahead of ours.
    this.time[slot] = isNew ? wallMs : Math.max(wallMs, isMoved ? this.time[slot] + 1 : this.time[slot]);
    this.usedAt[slot] = nowMs;
    if (this.origin[slot] !== this.self) {
      this.engines.release(this.origin[slot]);
      this.engines.hold(this.self);
      this.origin[slot] = this.self;
    }
    if (!isNew && !isMoved && nowMs - this.publishedAt[slot] < PUBLISH_INTERVAL_MS) return false;
    this.publishedAt[slot] = nowMs;
    return true;
  }

  /** Merges a session of another engine. Returns whether it won. */
  applyRemote(
    scopeName: string,
    w0: number,
    w1: number,
    w2: number,
    w3: number,
    member: string,
    timeMs: number,
    engine: string,
    nowMs: number,
  ): boolean {
    if (!Number.isFinite(timeMs)) return false;
    const scope = this.scopes.intern(scopeName);
    const name = this.members.intern(member);
    const origin = this.engines.intern(engine);
    if (scope < 0 || name < 0 || origin < 0) return false;
    let slot = this.slotOf(scope, w0, w1, w2, w3);
    if (slot < 0) {
      slot = this.add(scope, w0, w1, w2, w3, name, origin);
    } else {
      const known = this.time[slot];
      if (timeMs < known) return false;
      if (timeMs === known && engine <= this.engines.name(this.origin[slot])) return false;
      this.members.hold(name);
      this.members.release(this.member[slot]);
      this.engines.hold(origin);
      this.engines.release(this.origin[slot]);
      this.member[slot] = name;
      this.origin[slot] = origin;
    }
    this.time[slot] = timeMs;
    this.usedAt[slot] = nowMs;
    return true;
  }

  /** Another engine says that its session ended. A session that this engine has used since stays. */
  removeRemote(scopeName: string, w0: number, w1: number, w2: number, w3: number): void {
    const scope = this.scopes.find(scopeName);
    const slot = scope < 0 ? -1 : this.slotOf(scope, w0, w1, w2, w3);
    if (slot >= 0 && this.origin[slot] !== this.self) this.free(slot);
  }

  /** Ends a session. */
  remove(scope: number, w0: number, w1: number, w2: number, w3: number): void {
    const slot = this.slotOf(scope, w0, w1, w2, w3);
    if (slot >= 0) this.free(slot);
  }

  /** Frees ended sessions among the next `slots` records; call it regularly. Returns how many ended. */
  expire(nowMs: number, slots: number): number {
    let ended = 0;
    for (let looked = Math.min(slots, this.capacity); looked > 0; looked--) {
      const slot = this.advance();
      if (this.scope[slot] >= 0 && this.isExpired(slot, nowMs)) {
        this.free(slot);
        ended++;
      }
    }
    return ended;
  }

  private isExpired(slot: number, nowMs: number): boolean {
    const scope = this.scope[slot];
    const timeoutMs = scope < this.timeouts.length ? this.timeouts[scope] : UNKNOWN_SCOPE_TIMEOUT_MS;
    return nowMs - this.usedAt[slot] >= timeoutMs;
  }

  private slotOf(scope: number, w0: number, w1: number, w2: number, w3: number): number {
    let slot = this.heads[this.bucket(scope, w0, w1, w2, w3)];
    while (slot >= 0) {
      const at = slot * 4;
      if (
        this.words[at + 3] === w3 >>> 0 &&
        this.words[at + 2] === w2 >>> 0 &&
        this.words[at + 1] === w1 >>> 0 &&
        this.words[at] === w0 >>> 0 &&
        this.scope[slot] === scope
      ) {
        return slot;
      }
      slot = this.next[slot];
    }
    return -1;
  }

  private bucket(scope: number, w0: number, w1: number, w2: number, w3: number): number {
    return mix(hashAddress(w0, w1, w2, w3) + scope) & (this.heads.length - 1);
  }

  private add(
    scope: number,
    w0: number,
    w1: number,
    w2: number,
    w3: number,
    member: number,
    origin: number,
  ): number {
    if (this.freeList < 0) this.evict();
    const slot = this.freeList;
    this.freeList = this.next[slot];
    this.used++;
    const at = slot * 4;
    this.words[at] = w0;
    this.words[at + 1] = w1;
    this.words[at + 2] = w2;
    this.words[at + 3] = w3;
    this.scope[slot] = scope;
    this.member[slot] = member;
    this.origin[slot] = origin;
    this.publishedAt[slot] = Number.NEGATIVE_INFINITY;
    this.scopes.hold(scope);
    this.members.hold(member);
    this.engines.hold(origin);
    const bucket = this.bucket(scope, w0, w1, w2, w3);
    this.next[slot] = this.heads[bucket];
    this.heads[bucket] = slot;
    return slot;
  }

  private free(slot: number): void {
    const at = slot * 4;
    const bucket = this.bucket(
      this.scope[slot],
      this.words[at],
      this.words[at + 1],
      this.words[at + 2],
      this.words[at + 3],
    );
    if (this.heads[bucket] === slot) this.heads[bucket] = this.next[slot];
    else {
      let before = this.heads[bucket];
      while (this.next[before] !== slot) before = this.next[before];
      this.next[before] = this.next[slot];
    }
    this.scopes.release(this.scope[slot]);
    this.members.release(this.member[slot]);
    this.engines.release(this.origin[slot]);
    this.scope[slot] = -1;
    this.next[slot] = this.freeList;
    this.freeList = slot;
    this.used--;
  }

  /** Called only when every slot is in use. */
  private evict(): void {
    let oldest = this.advance();
    for (let looked = 1; looked < EVICTION_SAMPLE; looked++) {
      const slot = this.advance();
      if (this.usedAt[slot] < this.usedAt[oldest]) oldest = slot;
    }
    this.free(oldest);
    this.evictions++;
  }

  private advance(): number {
    const slot = this.cursor;
    this.cursor = slot + 1 < this.capacity ? slot + 1 : 0;
    return slot;
  }
}

function powerOfTwo(least: number): number {
  let size = 16;
  while (size < least) size *= 2;
  return size;
}
