/**
 * Which engines are silent. The proof is the data path: what live peers see of an engine outweighs its link to the
 * hub. Link and heartbeat decide where no peer can say anything, and never for all engines at once.
 *
 * Rejected: to trust the hub link alone (a controller that is cut off would bypass everything), and the VM's power
 * state alone (a hung engine is powered on). See docs/design/liveness.md.
 */
import type { EngineReport } from '../state/shared.ts';
import type { Timing, Verdict } from './actual.ts';

/** What is known of one engine at the moment of a judgement. */
export interface Signs {
  id: string;
  group: string;
  deadAfterMs: number;
  /** The VM where the engine was placed, or null where there is none. */
  vm: { id: string; power: 'on' | 'off' } | null;
  /** The VM was made in this life of the controller, or is not finished yet: it has yet to boot. */
  isNew: boolean;
  /** Making the VM has ended: if it is off, then not because nobody has switched it on yet. */
  isDeployed: boolean;
  /** NICs stand behind it. */
  isInLine: boolean;
  isConnected: boolean;
  /** The latest report since the link came up, and when it arrived. */
  report: EngineReport | null;
  reportedAt: number;
}

export interface Judgement {
  verdict: Verdict;
  reason: string;
  since: number;
  /** More than half of the live peers see its data path. Null where no peer can tell. */
  isSeenByPeers: boolean | null;
}

interface Memory {
  vm: string | null;
  judgement: Judgement;
  heartbeat: number;
  heartbeatChangedAt: number;
  /** When the link went down; the first sight of the engine where it was never up, null while it is up. */
  disconnectedAt: number | null;
  wasConnected: boolean;
  /** When it reported last, in this life or an earlier one, or connected: a new process has not reported yet. */
  heardAt: number;
  /** Since when every sign has been good, for coming back. */
  goodSince: number | null;
  notReadySince: number | null;
  accusedSince: number | null;
  /** When its VM was seen to be made or switched on: what was reported before came from what ran there then. */
  bootedAt: number;
}

type Peers = 'alive' | 'dead' | 'disputed' | 'unknown';

/** A controller that did not run for so long has not been told anything meanwhile. */
const STALL_MS = 1000;
/** Reports come at least once a second: an engine is mute once it has missed one. */
const MUTE_MS = 1250;
const OFF = 'its VM is powered off';
/** A link may be down for so long, while it is set up again, before that counts. */
const LINK_MS = 1000;

export class Liveness {
  readonly #timing: Timing;
  readonly #memories = new Map<string, Memory>();
  #graceUntil: number;
  #lastAt: number;
  #brakeSince: number | null = null;
  /** The one engine that is recovered while all are out of reach: whether it comes back says whose fault it is. */
  #tried: string | null = null;

  constructor(now: number, timing: Timing) {
    this.#timing = timing;
    this.#graceUntil = now + timing.graceMs;
    this.#lastAt = now;
  }

  /** True once engines have had their time to find the controller. */
  isSettled(now: number): boolean {
    return now >= this.#graceUntil;
  }

  /** Judges every engine; call it several times a second. Engines that are not named any more are forgotten. */
  judge(all: readonly Signs[], now: number): Map<string, Judgement> {
    // Whoever was stopped (SIGSTOP, a suspended VM) must not take its own silence for that of the others.
    if (now - this.#lastAt > STALL_MS) this.#graceUntil = Math.max(this.#graceUntil, now + 2 * STALL_MS);
    this.#lastAt = now;
    const known = new Set(all.map((signs) => signs.id));
    for (const id of this.#memories.keys()) if (!known.has(id)) this.#memories.delete(id);
    for (const signs of all) this.#remember(signs, now);

    const fresh = all.filter((signs) => this.#isFresh(signs, now));
    const seen = countVotes(
      all,
      fresh.filter((signs) => this.#isSeasoned(signs, now)),
    );
    const suspects: Signs[] = [];
    let isAnyTrusted = fresh.some((signs) => seen.get(signs.id) !== 'dead');
    const next = new Map<string, Judgement>();
    for (const signs of all) {
      const peers = seen.get(signs.id) ?? 'unknown';
      const found = this.#judgeOne(signs, peers, now);
      if (found === 'suspect') suspects.push(signs);
      else {
        next.set(signs.id, found);
        if (found.verdict === 'alive' || (found.verdict === 'headless' && peers === 'alive'))
          isAnyTrusted = true;
      }
    }
    this.#judgeSuspects(suspects, isAnyTrusted, now, next);
    for (const [id, judgement] of next) {
      const memory = this.#memories.get(id);
      if (!memory) continue;
      const peers = seen.get(id);
      memory.judgement = {
        ...judgement,
        since: judgement.verdict === memory.judgement.verdict ? memory.judgement.since : now,
        isSeenByPeers: peers === 'alive' ? true : peers === 'dead' ? false : null,
      };
      if (judgement.verdict === 'silent' && memory.judgement.since === now) memory.goodSince = null;
      next.set(id, memory.judgement);
    }
    return next;
  }

  #remember(signs: Signs, now: number): void {
    const vm = signs.vm?.id ?? null;
    let memory = this.#memories.get(signs.id);
    if (!memory || memory.vm !== vm) {
      // An engine that was there when the controller started has the benefit of the doubt.
      const verdict: Verdict = vm === null ? 'absent' : signs.isNew ? 'starting' : 'headless';
      memory = {
        vm,
        judgement: { verdict, reason: 'not heard of yet', since: now, isSeenByPeers: null },
        heartbeat: -1,
        heartbeatChangedAt: now,
        disconnectedAt: now,
        wasConnected: false,
        heardAt: signs.reportedAt,
        goodSince: null,
        notReadySince: null,
        accusedSince: null,
        bootedAt: verdict === 'starting' ? now : Number.NEGATIVE_INFINITY,
      };
      this.#memories.set(signs.id, memory);
    }
    memory.heardAt = Math.max(memory.heardAt, signs.reportedAt);
    if (signs.isConnected) {
      if (memory.disconnectedAt !== null && memory.wasConnected) memory.heardAt = now;
      memory.disconnectedAt = null;
      memory.wasConnected = true;
    } else memory.disconnectedAt ??= now;
    if (signs.report && signs.report.heartbeat !== memory.heartbeat) {
      memory.heartbeat = signs.report.heartbeat;
      memory.heartbeatChangedAt = signs.reportedAt;
    }
    const isReady = signs.report?.isReady === true;
    memory.notReadySince = isReady || !signs.report ? null : (memory.notReadySince ?? now);
    memory.goodSince = this.#isFresh(signs, now) ? (memory.goodSince ?? now) : null;
  }

  #isMute(signs: Signs, now: number): boolean {
    const heardAt = this.#memories.get(signs.id)?.heardAt ?? signs.reportedAt;
    return now - heardAt > Math.max(2 * signs.deadAfterMs, MUTE_MS);
  }

  #isStill(signs: Signs): boolean {
    const memory = this.#memories.get(signs.id);
    return memory !== undefined && signs.reportedAt - memory.heartbeatChangedAt > 2 * signs.deadAfterMs;
  }

  /** Speaks for itself, now, and its data-plane thread turns. Only such an engine may judge others. */
  #isFresh(signs: Signs | undefined, now: number): boolean {
    return (
      signs?.isConnected === true &&
      signs.vm?.power !== 'off' &&
      signs.report?.isReady === true &&
      signs.reportedAt > (this.#memories.get(signs.id)?.bootedAt ?? 0) &&
      !this.#isMute(signs, now) &&
      !this.#isStill(signs)
    );
  }

  /** An engine that has just started or resumed has not heard its peers yet: it does not judge them. */
  #isSeasoned(signs: Signs, now: number): boolean {
    const goodSince = this.#memories.get(signs.id)?.goodSince ?? now;
    return now - goodSince >= 2 * signs.deadAfterMs;
  }

  #judgeOne(signs: Signs, peers: Peers, now: number): Judgement | 'suspect' {
    const memory = this.#memories.get(signs.id);
    const before = memory?.judgement;
    const say = (verdict: Verdict, reason: string): Judgement => ({
      verdict,
      reason,
      since: now,
      isSeenByPeers: null,
    });
    if (!memory || !before || !signs.vm) return say('absent', 'it has no VM');
    if (signs.vm.power === 'off') {
      if (!signs.isDeployed && before.verdict === 'starting') return say('starting', 'its VM is being made');
      return say('silent', OFF);
    }
    // Whoever has switched it on, it has to boot now.
    if (before.verdict === 'silent' && before.reason === OFF) {
      memory.bootedAt = now;
      return say('starting', startingReason(signs));
    }
    const isFresh = this.#isFresh(signs, now);
    memory.accusedSince = peers === 'dead' ? (memory.accusedSince ?? now) : null;
    const goodFor = memory.goodSince === null ? -1 : now - memory.goodSince;
    if (before.verdict === 'silent') {
      if (isFresh && peers !== 'dead' && goodFor >= signs.deadAfterMs) return say('alive', 'ready again');
      return say('silent', before.reason);
    }
    if (isFresh && peers !== 'dead') {
      return say('alive', peers === 'disputed' ? 'ready; it and its peers do not see each other' : 'ready');
    }
    if (before.verdict === 'starting' || (!memory.wasConnected && !signs.isInLine)) {
      const limit = this.#timing.bootTimeoutMs;
      if (now - before.since <= limit) return say(before.verdict, startingReason(signs));
      return say('silent', `it was not ready within ${Math.round(limit / 1000)} s of its start`);
    }
    if (peers === 'dead') {
      // One that speaks for itself at this moment is given as long again: a probe may be late on a busy host.
      const isSpeaking = isFresh && now - signs.reportedAt < Math.max(signs.deadAfterMs, 500);
      const isCertain = !isSpeaking || now - (memory.accusedSince ?? now) > signs.deadAfterMs;
      return say(isCertain ? 'silent' : before.verdict, 'its peers do not see its data path');
    }
    if (signs.isConnected && signs.report) {
      if (this.#isStill(signs)) return say('silent', 'its data-plane thread stands still');
      if (memory.notReadySince !== null && !this.#isMute(signs, now)) {
        const isLong = now - memory.notReadySince > signs.deadAfterMs;
        return say(isLong ? 'silent' : before.verdict, 'it reports that its ports are not in service');
      }
    }
    if (peers === 'alive') return say('headless', 'no word from it, but its peers see its data path');
    const isLost = signs.isConnected
      ? this.#isMute(signs, now)
      : now - (memory.disconnectedAt ?? now) > Math.max(2 * signs.deadAfterMs, LINK_MS);
    if (!isLost)
      return say(before.verdict, signs.isConnected ? before.reason : 'its link to the controller is down');
    return 'suspect';
  }

  /** Engines of which only their silence towards the controller is known. */
  #judgeSuspects(
    suspects: readonly Signs[],
    isAnyTrusted: boolean,
    now: number,
    next: Map<string, Judgement>,
  ): void {
    const judgement = (verdict: Verdict, reason: string): Judgement => ({
      verdict,
      reason,
      since: now,
      isSeenByPeers: null,
    });
    if (isAnyTrusted) this.#tried = null;
    const isTrying = this.#tried !== null && next.get(this.#tried)?.verdict === 'silent';
    const isBraked = suspects.length + Number(isTrying) > 1 && !isAnyTrusted;
    this.#brakeSince = isBraked ? (this.#brakeSince ?? now) : null;
    const [first] = [...suspects].sort((a, b) => (a.id < b.id ? -1 : 1));
    for (const signs of suspects) {
      if (now < this.#graceUntil) {
        next.set(signs.id, judgement('headless', 'the controller has not heard of it since its own start'));
      } else if (!isBraked) {
        const how = signs.isConnected ? 'it has stopped reporting' : 'its link to the controller is down';
        next.set(signs.id, judgement('silent', how));
      } else if (signs === first && !isTrying && now - (this.#brakeSince ?? now) > this.#timing.brakeMs) {
        this.#tried = signs.id;
        next.set(signs.id, judgement('silent', 'all engines are out of reach; this one is tried first'));
      } else {
        const reason = 'all engines fell silent at once: nothing is changed until something else says why';
        next.set(signs.id, judgement('headless', reason));
      }
    }
  }
}

function startingReason(signs: Signs): string {
  if (!signs.isConnected) return 'its VM boots; it has not reported yet';
  return signs.report ? 'it opens its ports' : 'it is connected and has not reported yet';
}

/**
 * What live engines say of each other. Accusers that are themselves accused more strongly are heard no more, worst
 * first; where all accuse each other alike, nobody is believed.
 */
function countVotes(all: readonly Signs[], fresh: readonly Signs[]): Map<string, Peers> {
  const verdicts = new Map<string, Peers>();
  const groups = new Set(all.map((signs) => signs.group));
  for (const group of groups) {
    const accused = all.filter((signs) => signs.group === group && signs.vm !== null);
    let voters = fresh.filter((signs) => signs.group === group);
    for (;;) {
      const shares = new Map(accused.map((signs) => [signs.id, deadShare(signs.id, voters)]));
      const worst = Math.max(...voters.map((voter) => shares.get(voter.id) ?? 0), 0);
      if (worst <= 0.5) {
        for (const signs of accused) {
          if (verdicts.has(signs.id)) continue;
          const share = shares.get(signs.id);
          verdicts.set(signs.id, share === undefined ? 'unknown' : share > 0.5 ? 'dead' : 'alive');
        }
        break;
      }
      const out = voters.filter((voter) => (shares.get(voter.id) ?? 0) === worst);
      const isEverybody = out.length === voters.length;
      for (const voter of out) verdicts.set(voter.id, isEverybody ? 'disputed' : 'dead');
      voters = voters.filter((voter) => !out.includes(voter));
      if (isEverybody) {
        for (const signs of accused) if (!verdicts.has(signs.id)) verdicts.set(signs.id, 'unknown');
        break;
      }
    }
  }
  return verdicts;
}

/** Share of the voters' opinions that say dead; undefined where nobody has one. */
function deadShare(engine: string, voters: readonly Signs[]): number | undefined {
  let total = 0;
  let dead = 0;
  for (const voter of voters) {
    if (voter.id === engine) continue;
    const opinion = voter.report?.peers[engine];
    if (!opinion) continue;
    total++;
    if (!opinion.isAlive) dead++;
  }
  return total === 0 ? undefined : dead / total;
}
