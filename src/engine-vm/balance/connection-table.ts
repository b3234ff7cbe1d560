/**
 * C: how many connections each member handles, over all engines.
 *
 * - A member beside this engine: what this engine sees. It is the single writer of that count. When it chooses, it
 *   goes by what it last reported and its own choices since: as stale as what it knows of the others' members. Were
 *   it to see the others' choices among its own members only, every engine would flee to the members of the rest.
 * - A member beside another engine: what that engine published, plus this engine's own choices that the published
 *   count cannot contain yet. The owner tells how many flows it ever received from this engine (`received`).
 *   Where that makes no progress for 2 s the rest is forgotten: the SYN was lost or the member is dead. Losses
 *   amid steady arrivals show as choices of which some were outstanding all through a period of 2 s: these are
 *   forgotten too, or lost SYNs would add up for ever.
 * - A member with no engine beside it: what all engines sent there, this one included.
 *
 * Only the present owner's count is ever used, so a member that changes engine is not counted twice.
 * The calls of the hot path (`opened`, `closed`, `chose`, `connections` ...) allocate nothing.
 */
import type { GraphMember } from '../../policy/graph.ts';
import type { ConnectionReport } from '../../state/shared.ts';

/** How long an own choice counts without a sign that it arrived. */
export const CHOICE_PATIENCE_MS = 2000;

/** Owner of a member: none, this engine, or another. */
const NO_ENGINE = 0;
const OWN_ENGINE = 1;
const OTHER_ENGINE = 2;

/** What is known of one engine's latest report, by member id, so that it survives new graphs. */
interface Known {
  local: Record<string, number>;
  sent: Record<string, number>;
  received: Record<string, Record<string, number>>;
}

export class ConnectionTable {
  private readonly nowMs: () => number;
  private self: string;
  private ids: string[] = [];
  private indexes = new Map<string, number>();
  private owners: (string | null)[] = [];
  /** Member indexes by owning engine. */
  private owned = new Map<string, number[]>();

  private kind = new Uint8Array(0);
  /** Open connections that this engine sees at its own members. */
  private local = new Float64Array(0);
  /** The same as of the latest report, and this engine's own choices since. */
  private reported = new Float64Array(0);
  private chosenSince = new Float64Array(0);
  /** Open connections that this engine sent to members without an engine. */
  private sent = new Float64Array(0);
  /** The same of all other engines together. */
  private sentByOthers = new Float64Array(0);
  /** What the owner published. */
  private published = new Float64Array(0);
  /** The owner's `received` for this engine, as of its latest report; -1 before the first. */
  private confirmed = new Float64Array(0);
  /** Own choices not confirmed yet, and the fewest that there were since `markedAt`. */
  private outstanding = new Float64Array(0);
  private fewest = new Float64Array(0);
  private markedAt = new Float64Array(0);
  private progressAt = new Float64Array(0);

  private readonly peerIndexes = new Map<string, number>();
  private readonly peerIds: string[] = [];
  /** Flows received by member index, then peer index; only rows of own members exist. */
  private received: (Float64Array | null)[] = [];

  private readonly reports = new Map<string, Known>();
  private isChanged = true;

  constructor(self: string, nowMs: () => number) {
    this.self = self;
    this.nowMs = nowMs;
  }

  /** Takes the members of a new graph. What was counted is kept by member id. */
  load(members: readonly GraphMember[], self: string): void {
    const before = {
      indexes: this.indexes,
      owners: this.owners,
      local: this.local,
      reported: this.reported,
      chosenSince: this.chosenSince,
      sent: this.sent,
      confirmed: this.confirmed,
      outstanding: this.outstanding,
      fewest: this.fewest,
      markedAt: this.markedAt,
      progressAt: this.progressAt,
      received: this.received,
    };
    const count = members.length;
    this.self = self;
    this.ids = members.map((member) => member.id);
    this.indexes = new Map(this.ids.map((id, index) => [id, index]));
    this.owners = members.map((member) => member.engine);
    this.kind = new Uint8Array(count);
    this.local = new Float64Array(count);
    this.reported = new Float64Array(count);
    this.chosenSince = new Float64Array(count);
    this.sent = new Float64Array(count);
    this.sentByOthers = new Float64Array(count);
    this.published = new Float64Array(count);
    this.confirmed = new Float64Array(count).fill(-1);
    this.outstanding = new Float64Array(count);
    this.fewest = new Float64Array(count);
    this.markedAt = new Float64Array(count);
    this.progressAt = new Float64Array(count);
    this.received = new Array<Float64Array | null>(count).fill(null);
    this.owned = new Map();
    members.forEach((member, index) => {
      const owner = member.engine;
      if (owner !== null) {
        const siblings = this.owned.get(owner);
        if (siblings) siblings.push(index);
        else this.owned.set(owner, [index]);
      }
      if (owner === null) this.kind[index] = NO_ENGINE;
      else this.kind[index] = owner === self ? OWN_ENGINE : OTHER_ENGINE;
      const old = before.indexes.get(member.id);
      if (old !== undefined) {
        this.local[index] = before.local[old];
        this.reported[index] = before.reported[old];
        this.chosenSince[index] = before.chosenSince[old];
        this.sent[index] = before.sent[old];
        this.received[index] = before.received[old];
        // Choices that went to another engine's care cannot be confirmed by the new one.
        if (before.owners[old] === owner) {
          this.confirmed[index] = before.confirmed[old];
          this.outstanding[index] = before.outstanding[old];
          this.fewest[index] = before.fewest[old];
          this.markedAt[index] = before.markedAt[old];
          this.progressAt[index] = before.progressAt[old];
        }
      }
      if (this.kind[index] === OWN_ENGINE && this.received[index] === null) {
        this.received[index] = new Float64Array(this.peerIds.length);
      }
      const known = owner === null ? undefined : this.reports.get(owner);
      if (known) {
        this.published[index] = countOf(known.local[member.id]);
        if (this.confirmed[index] < 0) this.confirmed[index] = countOf(known.received[member.id]?.[self]);
      }
    });
    for (const known of this.reports.values()) this.addSent(known.sent, 1);
    this.isChanged = true;
  }

  /** A connection to a member beside this engine began; `viaPeer` names the engine that chose the member. */
  opened(member: number, viaPeer: string | null): void {
    this.openedViaPeerIndex(member, viaPeer === null ? -1 : this.peerIndex(viaPeer));
  }

  /** As `opened`, with a number from `peerIndex`, or -1 where this engine chose itself. */
  openedViaPeerIndex(member: number, peer: number): void {
    if (member < 0 || member >= this.local.length) return;
    this.local[member]++;
    if (peer < 0) this.chosenSince[member]++;
    const row = this.received[member];
    if (peer >= 0 && row !== null && row !== undefined) {
      if (peer < row.length) row[peer]++;
      else {
        const grown = new Float64Array(Math.max(this.peerIds.length, peer + 1));
        grown.set(row);
        grown[peer] = 1;
        this.received[member] = grown;
      }
    }
    this.isChanged = true;
  }

  /** A connection to a member beside this engine ended. */
  closed(member: number): void {
    if (this.local[member] > 0) {
      this.local[member]--;
      this.isChanged = true;
    }
  }

  /** A connection was sent to a member that has no engine beside it. */
  openedSent(member: number): void {
    if (member < 0 || member >= this.sent.length) return;
    this.sent[member]++;
    this.isChanged = true;
  }

  /** It ended. */
  closedSent(member: number): void {
    if (this.sent[member] > 0) {
      this.sent[member]--;
      this.isChanged = true;
    }
  }

  /** This engine chose, for a new flow, a member beside another engine. */
  chose(member: number): void {
    if (member < 0 || member >= this.outstanding.length) return;
    const now = this.nowMs();
    if (this.outstanding[member] > 0) this.age(member, now);
    if (this.outstanding[member] === 0) {
      this.progressAt[member] = now;
      this.markedAt[member] = now;
      this.fewest[member] = 0;
    }
    this.outstanding[member]++;
  }

  /** Another engine's latest report, or null when that engine is gone. */
  applyReport(engine: string, report: ConnectionReport | null): void {
    if (engine === this.self) return;
    const before = this.reports.get(engine);
    if (before) this.addSent(before.sent, -1);
    if (report === null) {
      this.reports.delete(engine);
      for (const member of this.owned.get(engine) ?? []) {
        this.published[member] = 0;
        this.confirmed[member] = -1;
      }
      return;
    }
    const known: Known = {
      local: report.local ?? {},
      sent: report.sent ?? {},
      received: report.received ?? {},
    };
    this.reports.set(engine, known);
    this.addSent(known.sent, 1);
    const now = this.nowMs();
    for (const member of this.owned.get(engine) ?? []) {
      this.published[member] = countOf(known.local[this.ids[member]]);
      this.confirm(member, countOf(known.received[this.ids[member]]?.[this.self]), now);
    }
  }

  /** C of a member, over all engines, as well as this engine can know it now. */
  connections(member: number): number {
    switch (this.kind[member]) {
      case OWN_ENGINE:
        return this.reported[member] + this.chosenSince[member];
      case OTHER_ENGINE:
        if (this.outstanding[member] > 0) this.age(member, this.nowMs());
        return this.published[member] + this.outstanding[member];
      case NO_ENGINE:
        return this.sentByOthers[member] + this.sent[member];
      default:
        return 0;
    }
  }

  /** A small number for an engine id, good for this table's lifetime. */
  peerIndex(engine: string): number {
    let index = this.peerIndexes.get(engine);
    if (index === undefined) {
      index = this.peerIds.length;
      this.peerIndexes.set(engine, index);
      this.peerIds.push(engine);
    }
    return index;
  }

  /** What this engine publishes, and goes by itself from now on. Zero counts are left out. */
  report(): ConnectionReport {
    const report: ConnectionReport = { local: {}, sent: {}, received: {} };
    this.reported.set(this.local);
    this.chosenSince.fill(0);
    for (let member = 0; member < this.ids.length; member++) {
      const id = this.ids[member];
      if (this.sent[member] > 0) report.sent[id] = this.sent[member];
      if (this.kind[member] !== OWN_ENGINE) continue;
      if (this.local[member] > 0) report.local[id] = this.local[member];
      const row = this.received[member];
      if (row === null) continue;
      for (let peer = 0; peer < row.length; peer++) {
        if (row[peer] === 0) continue;
        report.received[id] ??= {};
        report.received[id][this.peerIds[peer]] = row[peer];
      }
    }
    return report;
  }

  /** Whether the report changed since the last call. */
  takeChanged(): boolean {
    const isChanged = this.isChanged;
    this.isChanged = false;
    return isChanged;
  }

  /** The owner has now received `received` flows from this engine since its boot. */
  private confirm(member: number, received: number, now: number): void {
    const before = this.confirmed[member];
    this.confirmed[member] = received;
    // First report, or the owner has restarted: what it received since its boot are the latest choices.
    const arrived = before < 0 || received < before ? received : received - before;
    if (arrived === 0) return;
    this.progressAt[member] = now;
    this.outstanding[member] = Math.max(0, this.outstanding[member] - arrived);
    this.fewest[member] = Math.min(this.fewest[member], this.outstanding[member]);
  }

  /** Forgets choices of which nothing was heard. */
  private age(member: number, now: number): void {
    if (now - this.progressAt[member] >= CHOICE_PATIENCE_MS) {
      this.outstanding[member] = 0;
    } else if (now - this.markedAt[member] >= CHOICE_PATIENCE_MS) {
      this.outstanding[member] -= this.fewest[member];
      this.fewest[member] = this.outstanding[member];
      this.markedAt[member] = now;
    }
  }

  private addSent(sent: Record<string, number>, sign: 1 | -1): void {
    for (const id of Object.keys(sent)) {
      const member = this.indexes.get(id);
      if (member !== undefined) this.sentByOthers[member] += sign * countOf(sent[id]);
    }
  }
}

/** A count out of a report: whatever is not a positive number counts as none. */
function countOf(value: unknown): number {
  return typeof value === 'number' && value > 0 && Number.isFinite(value) ? Math.floor(value) : 0;
}
