/**
 * What each service may have of TypeScript's time, so that a flood of one does not starve the others: in four
 * milliseconds the kernel lets up only so many packets for one service address, the same number for all, and never more
 * at once than the queue in front of TypeScript holds. Whoever asks for less is never refused; what a flood gets is what
 * the others leave (max-min fairness).
 *
 * That number follows what TypeScript can take. While somebody is refused it grows, fast where there is time to spare and
 * slowly where there is little. Ticks in which TypeScript never ran out of frames, most of them new flows, while a queue
 * grew long were too much: the number falls below what was done of the busiest service. At rest it is what the queue can
 * hold until the next tick.
 *
 * A service whose half-open flows give way to each other gets no more new ones than so many that each lives long enough
 * for its client's answer (`confine`): more would only push each other out, and take time of engine and members.
 *
 *   entry, 64 bytes: as struct share of flow.bpf.c; the last one is that of everything that is for no service
 */
import { parseAddress } from '../../packet/address.ts';
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../../packet/parse.ts';
import type { ServiceGraph } from '../../policy/graph.ts';
import { finish, mix, swap, swap16 } from './flow-slots.ts';

export const SHARE_BYTES = 64;
/** Entries for service addresses; one more is everybody else's. */
export const SHARES = 8192;

const ENTRY_WORDS = SHARE_BYTES / 4;
/** Places at which the program looks for an address. */
const PROBES = 8;

// Words of an entry.
const SERVICE = 4;
const TAKEN = 8;
const REFUSED = 9;
const MOST_OPENED = 10;
const MTU = 11;
const MAC = 12;
const MAC_REST = 13;
const ANSWERED = 14;

// Words of the configuration.
const CONFIG_SEED = 0;
const CONFIG_SHARE = 16;

/** The time that shares are told for. */
const SLICE_MS = 2 ** 22 / 1e6;
/** Packets of a service in that time: never fewer, as many while nobody is refused, never more. */
const LEAST = 64;
const AT_REST = 768;
const MOST = 262_144;
/** How long a half-open flow of a confined service shall live at the least. */
const ANSWER_MS = 3000;
/** What is left of a share that was too much, of what was done without a pause: the queue is to grow shorter. */
const LESS = 0.9;
/** A single tick without a pause may only follow a standstill; and a smaller share takes as long to show. */
const BUSY_TICKS = 2;
/**
 * How much more a share is after one tick: as time is left, and a little where hardly any is, as larger batches cost less
 * a packet.
 */
const MORE = 1.25;
const LITTLE_MORE = 1.03;

const EMPTY = new ArrayBuffer(0);

/** The memory of the two maps. */
export interface ShareMemory {
  config: ArrayBuffer;
  shares: ArrayBuffer;
}

interface Entry {
  /** Null for everything that is for no service. */
  service: string | null;
  /** First word of the entry. */
  at: number;
  taken: number;
  refused: number;
  answered: number;
}

/** Services whose SYNs the program answers where they are over their share, and for which MAC and size of packets. */
export interface SynAnswerOrder {
  services: ReadonlySet<string>;
  /** The two halves of the MAC, as they lie in memory. */
  mac: number;
  macRest: number;
  mtu: number;
}

export class UpcallShares {
  #memory: ShareMemory | null = null;
  #words = new Int32Array(0);
  #config = new Int32Array(0);
  #entries: Entry[] = [];
  #graph: ServiceGraph | null = null;
  #share = AT_REST;
  #tickedAt = 0;
  /** Ticks without a pause, up to now. */
  #busyTicks = 0;
  #confined: ReadonlySet<string> = new Set();
  /** New flows of a confined service in a slice of time. */
  #most = 1;
  /** Packets refused since the start, by service. */
  readonly #refused = new Map<string, number>();
  /** Of those, SYNs that the program answered. */
  readonly #answered = new Map<string, number>();
  #answers: SynAnswerOrder = { services: new Set(), mac: 0, macRest: 0, mtu: 0 };

  /** Packets that each service address may send up in a slice of time, now. */
  get share(): number {
    return this.#share;
  }

  /** Counts in this memory from now on; null: nobody does. */
  use(memory: ShareMemory | null): void {
    if (memory === this.#memory) return;
    this.#memory = memory;
    this.#words = new Int32Array(memory?.shares ?? EMPTY);
    this.#config = new Int32Array(memory?.config ?? EMPTY);
    this.#file();
  }

  /** The services of a graph that is in force. */
  load(graph: ServiceGraph): void {
    this.#graph = graph;
    const names = new Set(graph.services.map(({ name }) => name));
    for (const counts of [this.#refused, this.#answered])
      for (const name of counts.keys()) if (!names.has(name)) counts.delete(name);
    this.#file();
  }

  /**
   * Moves the share on. To be called every few milliseconds with the frames that were taken since the last call, how long
   * there were none, and whether so many waited that others have to wait (where nobody knows: yes).
   */
  tick(nowMs: number, frames: number, idleMs: number, isCrowded = true): void {
    if (this.#memory === null) return;
    const words = this.#words;
    const passedMs = nowMs - this.#tickedAt;
    const slices = Math.max(1, passedMs / SLICE_MS);
    this.#tickedAt = nowMs;
    let all = 0;
    let busiest = 0;
    let isAnyoneRefused = false;
    for (let i = 0; i < this.#entries.length; i++) {
      const entry = this.#entries[i]!;
      // Each once, as the kernel counts on; and what is a part of the refused before those.
      const allAnswered = words[entry.at + ANSWERED]!;
      const allTaken = words[entry.at + TAKEN]!;
      const allRefused = words[entry.at + REFUSED]!;
      const taken = (allTaken - entry.taken) >>> 0;
      const refused = (allRefused - entry.refused) >>> 0;
      if (taken === 0 && refused === 0) continue;
      entry.taken = allTaken;
      entry.refused = allRefused;
      all += taken;
      if (taken > busiest) busiest = taken;
      if (refused === 0) continue;
      isAnyoneRefused = true;
      if (entry.service === null) continue;
      const answered = (allAnswered - entry.answered) >>> 0;
      entry.answered = allAnswered;
      add(this.#refused, entry.service, refused);
      if (answered > 0) add(this.#answered, entry.service, answered);
    }
    // A first packet is followed by its answer and by what ends the flow.
    const isOfNewFlows = all * 4 >= frames;
    const before = this.#share;
    if (idleMs === 0) {
      if (++this.#busyTicks >= BUSY_TICKS && isCrowded && isOfNewFlows) {
        const done = (busiest * Math.min(1, frames / all)) / slices;
        this.#share = Math.max(LEAST, Math.floor(Math.min(before, done) * LESS));
        this.#busyTicks = 0;
      }
    } else {
      this.#busyTicks = 0;
      if (isAnyoneRefused) {
        const busy = 1 - idleMs / passedMs;
        const more = isCrowded ? 1 : Math.max(LITTLE_MORE, Math.min(MORE, 1 / busy));
        this.#share = Math.min(MOST, Math.ceil(before * more));
      } else if (before < AT_REST) this.#share = Math.min(AT_REST, before + (before >> 3));
      else if (before > AT_REST) this.#share = Math.max(AT_REST, before - (before >> 3));
    }
    this.#config[CONFIG_SHARE] = this.#share;
  }

  /**
   * Gives these services no more new flows than so many half-open ones that have time to be answered; the others are not
   * confined any more.
   */
  confine(services: ReadonlySet<string>, halfOpen: number): void {
    this.#confined = services;
    this.#most = Math.max(1, Math.floor((halfOpen * SLICE_MS) / ANSWER_MS));
    for (const { service, at } of this.#entries) this.#confineEntry(service, at);
  }

  #confineEntry(service: string | null, at: number): void {
    this.#words[at + MOST_OPENED] = service !== null && this.#confined.has(service) ? this.#most : 0;
  }

  /** SYNs of these services that are over the share are answered by the program from now on, those of others not. */
  answer(order: SynAnswerOrder): void {
    this.#answers = order;
    for (const { service, at } of this.#entries) this.#answerFor(service, at);
  }

  #answerFor(service: string | null, at: number): void {
    const { services, mac, macRest, mtu } = this.#answers;
    this.#words[at + MAC] = mac;
    this.#words[at + MAC_REST] = macRest;
    this.#words[at + MTU] = service !== null && services.has(service) ? mtu : 0;
  }

  /** Packets refused since the start, by service. */
  refused(): ReadonlyMap<string, number> {
    return this.#refused;
  }

  /** Those of them that were SYNs and answered all the same. */
  answered(): ReadonlyMap<string, number> {
    return this.#answered;
  }

  /** Writes the addresses of the graph's services where the program looks for them. */
  #file(): void {
    const words = this.#words;
    this.#entries = [];
    if (this.#memory === null) return;
    // Until it is at its place again a service counts as none.
    for (let at = 0; at < words.length; at += ENTRY_WORDS) words[at + SERVICE] = 0;
    this.#config[CONFIG_SHARE] = this.#share;
    this.#enter(null, SHARES * ENTRY_WORDS);
    const address = new Int32Array(4);
    for (const { name, protocol, tiers } of this.#graph?.services ?? []) {
      const number = protocol === 'tcp' ? PROTOCOL_TCP : PROTOCOL_UDP;
      for (const tier of tiers) {
        const service = (swap16(tier.port) << 8) | number;
        for (const { address: text } of tier.addresses) {
          if (!parseAddress(text, address)) continue;
          const at = this.#placeFor(address, service);
          // So many addresses in one place are no attack, only a loss of fairness.
          if (at < 0) continue;
          for (let i = 0; i < 4; i++) words[at + i] = swap(address[i]!);
          Atomics.store(words, at + SERVICE, service);
          this.#enter(name, at);
        }
      }
    }
  }

  #enter(service: string | null, at: number): void {
    this.#confineEntry(service, at);
    this.#answerFor(service, at);
    this.#entries.push({
      service,
      at,
      taken: this.#words[at + TAKEN]!,
      refused: this.#words[at + REFUSED]!,
      answered: this.#words[at + ANSWERED]!,
    });
  }

  /** The first word of a free entry for the address, -1 where there is none. */
  #placeFor(address: Int32Array, service: number): number {
    let h = this.#config[CONFIG_SEED]!;
    for (let i = 0; i < 4; i++) h = mix(h, swap(address[i]!));
    h = finish(mix(h, service));
    for (let probe = 0; probe < PROBES; probe++) {
      const at = ((h + probe) & (SHARES - 1)) * ENTRY_WORDS;
      if (this.#words[at + SERVICE] === 0) return at;
    }
    return -1;
  }
}

function add(counts: Map<string, number>, service: string, more: number): void {
  counts.set(service, (counts.get(service) ?? 0) + more);
}
