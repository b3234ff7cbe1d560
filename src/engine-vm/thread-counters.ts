/**
 * What the data-plane thread tells of its counters some times a second: those of ports, program and data plane together,
 * and which services are under a flood or find no room in the flow table.
 */
import { noTraffic, type PortCounters } from '../state/shared.ts';
import type { Datapath } from './datapath.ts';
import type { DataplaneCounters } from './dataplane/dataplane.ts';
import { FloodAlarm, type FloodFigures } from './flood-alarm.ts';
import type { FromDataplane } from './messages.ts';
import { type Port, sumCounters } from './port.ts';
import { TableAlarm } from './table-alarm.ts';

type Message = Extract<FromDataplane, { type: 'counters' }>;

export class ThreadCounters {
  readonly #names: readonly string[];
  readonly #datapath: Datapath;
  readonly #alarm = new FloodAlarm();
  readonly #tableAlarm = new TableAlarm();
  /** Of ports that were closed. */
  readonly #before: PortCounters[];

  /** `names`: the interfaces, by port. */
  constructor(names: readonly string[], datapath: Datapath) {
    this.#names = names;
    this.#datapath = datapath;
    this.#before = names.map(() => noTraffic());
  }

  /** A port is about to be closed: what it counted stays. */
  keep(port: number, opened: Port): void {
    this.#before[port] = sumCounters(this.#before[port], opened.counters());
  }

  /** Services under a flood, as of the last message. */
  flooded(): Set<string> {
    return this.#alarm.flooded();
  }

  /**
   * The message of this moment but for `heartbeat` and `firewallLog`; confines services whose half-open flows push each
   * other out. `failedFrames`: on which the data plane threw.
   */
  message(
    counters: DataplaneCounters,
    opened: readonly (Port | null)[],
    nowMs: number,
    failedFrames: number,
  ): Omit<Message, 'heartbeat' | 'firewallLog'> {
    const { program: fast, overShare } = this.#datapath.counters();
    const guarded = this.#guarded(counters.evictedOf, counters.answeredOf);
    this.#alarm.note(guarded, nowMs, Date.now());
    this.#tableAlarm.note(counters.fullOf, nowMs, Date.now());
    this.#datapath.shares.confine(this.#alarm.overflowing(), counters.halfOpenMost);
    const ports: Record<string, PortCounters> = {};
    let typescriptPackets = 0;
    for (const [port, name] of this.#names.entries()) {
      ports[name] = sumCounters(this.#before[port], opened[port]?.counters() ?? noTraffic());
      if (port < 2) typescriptPackets += ports[name].receivedPackets;
      if (fast !== null) {
        ports[name] = sumCounters(ports[name], {
          receivedPackets: fast.receivedPackets[port],
          receivedBytes: fast.receivedBytes[port],
          sentPackets: fast.sentPackets[port],
          sentBytes: fast.sentBytes[port],
          lost: 0,
        });
      }
    }
    return {
      type: 'counters',
      ports,
      path: {
        kernelPackets: fast === null ? 0 : fast.receivedPackets[0] + fast.receivedPackets[1],
        kernelBytes: fast === null ? 0 : fast.receivedBytes[0] + fast.receivedBytes[1],
        typescriptPackets,
        upcalls: fast?.upcalls ?? 0,
        refused: fast?.refused ?? 0,
        held: fast?.held ?? 0,
        bypassed: fast?.bypassed ?? 0,
      },
      drops: {
        ...counters.drops,
        fault: (counters.drops.fault ?? 0) + failedFrames,
        ...(fast !== null && fast.refused > 0 ? { 'upcall-limit': fast.refused } : {}),
        ...(fast !== null && fast.held > 0 ? { 'stood-still': fast.held } : {}),
        ...(overShare > 0 ? { 'service-share': overShare } : {}),
      },
      flows: counters.flows,
      newFlows: counters.newFlows,
      evictedFlows: counters.evictedFlows,
      floods: this.#alarm.floods(),
      fullTables: this.#tableAlarm.services(),
      components: {
        ...counters.components,
        ...guardCounters(guarded),
        ...cookieCounters(this.#datapath.shares.answered(), counters.components),
      },
    };
  }

  /** What was kept from each service, since the start. */
  #guarded(
    evictedOf: ReadonlyMap<string, number>,
    answeredOf: ReadonlyMap<string, number>,
  ): Map<string, FloodFigures> {
    const { shares } = this.#datapath;
    const refusedOf = shares.refused();
    const figures = new Map<string, FloodFigures>();
    for (const service of [...refusedOf.keys(), ...evictedOf.keys(), ...answeredOf.keys()]) {
      // By the program; answeredOf has those of TypeScript.
      const answered = shares.answered().get(service) ?? 0;
      figures.set(service, {
        refused: (refusedOf.get(service) ?? 0) - answered,
        evicted: evictedOf.get(service) ?? 0,
        answered: (answeredOf.get(service) ?? 0) + answered,
      });
    }
    return figures;
  }
}

/** As counters of the service's components. */
function guardCounters(guarded: ReadonlyMap<string, FloodFigures>): Record<string, number> {
  const counters: Record<string, number> = {};
  for (const [service, { refused, evicted }] of guarded) {
    counters[`${service}/flood-guard/refused`] = refused;
    counters[`${service}/flood-guard/evicted`] = evicted;
  }
  return counters;
}

/** SYNs answered with cookies where the program answered some: those of TypeScript, which `components` has, and its own. */
function cookieCounters(
  answered: ReadonlyMap<string, number>,
  components: Readonly<Record<string, number>>,
): Record<string, number> {
  const counters: Record<string, number> = {};
  for (const [service, count] of answered) {
    const name = `${service}/syn-cookies/sent`;
    if (count > 0) counters[name] = (components[name] ?? 0) + count;
  }
  return counters;
}
