/**
 * Which members of a pool take requests, and what part of their share: told to the balancer whenever it changes, so that
 * a choice need not ask. A member gets none while it drains, is down or at its limit of connections, and for a while
 * after it refused a connection or erred too often; it is then on trial: one request at a time, until one is answered
 * well. With `slowStart`, one that comes back gets its share bit by bit.
 */
import { hashText } from '../balance/hash.ts';
import { createRequestBalancer } from './choice/registry.ts';
import type { RequestBalancer } from './choice/request-balancer.ts';
import type { Member } from './member.ts';
import type { ServiceSettings } from './service.ts';

/** How long a member that refused a connection is left out; doubled each time, up to the second. */
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 10_000;
/** Of its share that a member begins with where it comes back slowly, and how often it gets more. */
const FIRST_SHARE = 0.1;
const RAMP_STEP_MS = 100;

/** Nobody can take the request now: all are paused or draining, or all are at their limit. */
export const NO_MEMBER = -1;
export const ALL_BUSY = -2;

export class Availability {
  /** Members that were left out for their errors, since the start. */
  ejections = 0;
  readonly #clock: { readonly nowMs: number };
  #settings: ServiceSettings | null = null;
  #members: readonly Member[] = [];
  #balancer: RequestBalancer | null = null;
  /** Those that are paused or on trial, and those that come back slowly. */
  #troubled: Member[] = [];
  #ramping: Member[] = [];
  /** When to look at these next. */
  #lookMs = Number.POSITIVE_INFINITY;
  /** Members at their limit. */
  #full = 0;
  #lastTroubled = 0;

  constructor(clock: { readonly nowMs: number }) {
    this.#clock = clock;
  }

  /** New settings; `members` in their order, those that were there before with their positions of then. */
  update(settings: ServiceSettings, members: readonly Member[]): void {
    const before = this.#settings?.method === settings.method ? this.#balancer : null;
    const isFirst = this.#settings === null;
    this.#settings = settings;
    this.#members = members;
    this.#balancer = createRequestBalancer(settings.method, {
      weights: Float64Array.from(settings.members, ({ weight }) => weight),
      hops: Float64Array.from(settings.members, ({ hops }) => hops ?? 0),
      ids: Uint32Array.from(members, ({ key }) => hashText(key)),
    });
    if (before !== null) {
      this.#balancer.adopt(
        before,
        Int32Array.from(members, ({ position }) => position),
      );
    }
    this.#full = 0;
    for (const [position, member] of members.entries()) {
      const wasOut = member.position < 0 || isOut(member);
      member.position = position;
      member.settings = settings.members[position]!;
      member.share = 0;
      member.isFull = false;
      if (wasOut && !isFirst && !isOut(member)) this.#beginSlowly(member);
      this.#balancer.loaded(position, member.active);
      this.judge(member);
    }
    this.#troubled = this.#troubled.filter(({ position }) => position >= 0);
    this.#ramping = this.#ramping.filter(({ position }) => position >= 0);
  }

  /** To be called after anything that may change whether a member takes requests. */
  judge(member: Member): void {
    if (member.position < 0) return;
    const mayTake = !isOut(member) && member.pausedUntilMs === 0;
    const isFull = mayTake && this.#isAtLimit(member);
    if (isFull !== member.isFull) {
      member.isFull = isFull;
      this.#full += isFull ? 1 : -1;
    }
    const takes = mayTake && !isFull && !(member.isOnTrial && member.active > 0);
    const share = takes ? this.#shareOf(member) : 0;
    if (share === member.share) return;
    member.share = share;
    this.#balancer!.share(member.position, share);
  }

  #isAtLimit(member: Member): boolean {
    const limit = this.#settings!.http.memberConnections.max;
    if (limit === 0 || member.connections < limit || member.idle.length > 0) return false;
    return !member.sessions.some(({ hasRoom }) => hasRoom);
  }

  #shareOf(member: Member): number {
    const { slowStartMs } = this.#settings!.http;
    if (member.rampFromMs === 0 || slowStartMs === undefined) return 1;
    return Math.min(1, Math.max(FIRST_SHARE, (this.#clock.nowMs - member.rampFromMs) / slowStartMs));
  }

  /** Whether a member takes a request now. */
  takes(member: Member): boolean {
    if (this.#clock.nowMs >= this.#lookMs) this.#look();
    return member.share > 0 && member.settings.weight > 0;
  }

  /** Position of the member for the next request, or NO_MEMBER, ALL_BUSY. `except`: it has just failed. */
  choose(sourceHash: number, except: Member | null): number {
    if (this.#clock.nowMs >= this.#lookMs) this.#look();
    const balancer = this.#balancer!;
    const isExcepted =
      except !== null && except.share > 0 && except.position >= 0 && this.#members.length > 1;
    if (isExcepted) balancer.share(except.position, 0);
    const chosen = balancer.choose(sourceHash);
    if (isExcepted) balancer.share(except.position, except.share);
    if (chosen >= 0) return chosen;
    return this.#full > 0 ? ALL_BUSY : this.#chooseTroubled(except);
  }

  /** Where every one of them has just refused, any may be back by now. */
  #chooseTroubled(except: Member | null): number {
    const troubled = this.#troubled;
    for (let n = 1; n <= troubled.length; n++) {
      const at = (this.#lastTroubled + n) % troubled.length;
      const member = troubled[at]!;
      const isWanted = member !== except || this.#members.length === 1;
      if (!isWanted || isOut(member) || member.settings.weight === 0 || this.#isAtLimit(member)) continue;
      this.#lastTroubled = at;
      return member.position;
    }
    return NO_MEMBER;
  }

  /** A request goes to the member. */
  began(member: Member): void {
    member.active++;
    this.#loaded(member);
  }

  /** It is over. */
  ended(member: Member): void {
    member.active--;
    this.#loaded(member);
  }

  #loaded(member: Member): void {
    if (member.position < 0) return;
    this.#balancer!.loaded(member.position, member.active);
    if (member.isOnTrial) this.judge(member);
  }

  /** A member refused a connection. */
  failed(member: Member): void {
    // Requests that failed together are one failure.
    if (member.pausedUntilMs > 0 || member.position < 0) return;
    this.#pause(member, Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(member.failures++, 10)));
  }

  /** The head of a response came, so long after its request began. */
  answered(member: Member, status: number, ms: number): void {
    member.failures = 0;
    const { nowMs } = this.#clock;
    const { ejection } = this.#settings!.http;
    if (status >= 500 && ejection !== undefined) {
      this.erred(member);
      return;
    }
    // Quick errors must draw no requests.
    if (status < 500 && member.position >= 0) this.#balancer!.answered?.(member.position, ms, nowMs);
    if (ejection !== undefined) member.record.good(nowMs, ejection);
    if (!member.isOnTrial) return;
    member.isOnTrial = false;
    this.#troubled.splice(this.#troubled.indexOf(member), 1);
    this.#beginSlowly(member);
    this.judge(member);
  }

  /** A request that the member had was answered with an error, or not at all. */
  erred(member: Member): void {
    const { ejection } = this.#settings!.http;
    if (ejection === undefined || member.pausedUntilMs > 0 || member.position < 0) return;
    const { nowMs } = this.#clock;
    if (!member.record.bad(nowMs, ejection) && !member.isOnTrial) return;
    member.record.clear();
    const { pauseMs, longestPauseMs, maxPercent } = ejection;
    let out = 1;
    for (const other of this.#troubled) if (other.pausedUntilMs > 0) out++;
    if (out * 100 > maxPercent * this.#members.length) return;
    if (nowMs - member.ejectedUntilMs > longestPauseMs) member.ejections = 0;
    const pause = Math.min(longestPauseMs, pauseMs * 2 ** Math.min(member.ejections++, 20));
    member.ejectedUntilMs = nowMs + pause;
    this.ejections++;
    this.#pause(member, pause);
  }

  #pause(member: Member, pauseMs: number): void {
    const until = this.#clock.nowMs + pauseMs;
    member.pausedUntilMs = until;
    if (!member.isOnTrial) this.#troubled.push(member);
    member.isOnTrial = false;
    this.#lookMs = Math.min(this.#lookMs, until);
    this.judge(member);
  }

  #beginSlowly(member: Member): void {
    if (this.#settings!.http.slowStartMs === undefined) return;
    if (member.rampFromMs === 0) this.#ramping.push(member);
    member.rampFromMs = this.#clock.nowMs;
    this.#lookMs = Math.min(this.#lookMs, this.#clock.nowMs + RAMP_STEP_MS);
  }

  /** Ends pauses that are over, and gives those that come back slowly what is due to them. */
  #look(): void {
    const { nowMs } = this.#clock;
    let next = Number.POSITIVE_INFINITY;
    for (const member of this.#troubled) {
      if (member.pausedUntilMs === 0) continue;
      if (member.pausedUntilMs > nowMs) next = Math.min(next, member.pausedUntilMs);
      else {
        member.pausedUntilMs = 0;
        member.isOnTrial = true;
        this.judge(member);
      }
    }
    for (let n = this.#ramping.length - 1; n >= 0; n--) {
      const member = this.#ramping[n]!;
      if (this.#shareOf(member) === 1) {
        member.rampFromMs = 0;
        this.#ramping.splice(n, 1);
      } else next = Math.min(next, nowMs + RAMP_STEP_MS);
      this.judge(member);
    }
    this.#lookMs = next;
  }
}

function isOut({ settings }: Member): boolean {
  return settings.isDraining || settings.isDown === true;
}
