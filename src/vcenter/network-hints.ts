/**
 * Which physical switches stand above each host, as its NICs hear it by LLDP or CDP. Read in rounds beside the watch,
 * for no property tells of it. What a host once heard is kept: a link that flaps, or a switch that is silent for a
 * while, must not move the host.
 */
import { patternOfNames } from './name-pattern.ts';
import type { Log, VcenterSession } from './session.ts';
import { faultName } from './vim/faults.ts';
import type { MoRef, Vim } from './vim/schema.ts';

/** What is heard above one host. */
export interface HeardSwitches {
  /** The rack: the names of every switch that the host or one beside it hears, sorted and joined by `+`. */
  rack: string;
  /** For people: `vmnic0 hears tor-a by LLDP`. */
  detail: string;
}

/** By the id of the host. */
export type HintTable = ReadonlyMap<string, HeardSwitches>;

export interface HintOptions {
  /** Patterns of the physical NICs that count (`vmnic2`, `vmnic*`); all where none is named. */
  hintDevices?: readonly string[] | undefined;
  log?: Log;
}

/** Another switch on a NIC is believed once so many rounds in a row have heard it. */
const ROUNDS_TO_BELIEVE = 3;
const CALLS_AT_ONCE = 4;

interface Ear {
  believed: string;
  protocol: string;
  challenger: string;
  rounds: number;
}

export class NetworkHints {
  readonly #session: VcenterSession;
  readonly #counts: (device: string) => boolean;
  readonly #log: Log | undefined;
  /** By host, then by device. */
  readonly #ears = new Map<string, Map<string, Ear>>();
  #table: HintTable = new Map();
  #isUnsupported = false;
  #hasFailure = false;

  constructor(session: VcenterSession, { hintDevices, log }: HintOptions) {
    this.#session = session;
    this.#counts = patternOfNames(hintDevices);
    this.#log = log;
  }

  /** As of the last whole round. */
  get table(): HintTable {
    return this.#table;
  }

  /** Whether this vCenter has no such call, as far as is known. */
  get isUnsupported(): boolean {
    return this.#isUnsupported;
  }

  /** One round over the hosts. A host that does not answer keeps what it heard. Rejects with the signal's reason only. */
  async read(hosts: readonly { id: string; networkSystem: MoRef }[], signal: AbortSignal): Promise<void> {
    for (const id of this.#ears.keys()) if (!hosts.some((host) => host.id === id)) this.#ears.delete(id);
    const queue = [...hosts];
    let failed = 0;
    let supported = queue.length === 0;
    const work = async (): Promise<void> => {
      for (let host = queue.shift(); host; host = queue.shift()) {
        try {
          this.#hear(host.id, await this.#session.call(host.networkSystem, 'QueryNetworkHint', {}, signal));
          supported = true;
        } catch (error) {
          if (signal.aborted) throw signal.reason;
          failed++;
          // The first host that says so speaks for all: asking hundreds would tell nothing more.
          if (!supported && /^(NotSupported|NotImplemented|MethodNotFound)$/.test(faultName(error) ?? '')) {
            this.#isUnsupported = true;
            return;
          }
          if (!this.#hasFailure) {
            this.#log?.warn(
              { host: host.id, error: String(error) },
              'what a host hears by LLDP or CDP could not be read; it keeps its place',
            );
            this.#hasFailure = true;
          }
        }
        if (this.#isUnsupported) return;
      }
    };
    // One alone first: where the call is not known, one question is enough.
    const [first] = queue.splice(0, 1);
    if (first) {
      const rest = queue.splice(0);
      queue.push(first);
      await work();
      queue.push(...rest);
    }
    if (!this.#isUnsupported) await Promise.all(Array.from({ length: CALLS_AT_ONCE }, work));
    if (failed === 0) this.#hasFailure = false;
    this.#table = tableOf(this.#ears);
  }

  #hear(host: string, hints: readonly Vim<'PhysicalNicHintInfo'>[]): void {
    const ears = this.#ears.get(host) ?? new Map<string, Ear>();
    this.#ears.set(host, ears);
    for (const hint of hints) {
      const heard = this.#counts(hint.device) ? switchOf(hint) : null;
      if (!heard) continue;
      const ear = ears.get(hint.device);
      if (!ear) {
        ears.set(hint.device, { believed: heard.name, protocol: heard.protocol, challenger: '', rounds: 0 });
        continue;
      }
      ear.rounds = heard.name === ear.believed ? 0 : heard.name === ear.challenger ? ear.rounds + 1 : 1;
      ear.challenger = heard.name;
      if (ear.rounds < ROUNDS_TO_BELIEVE) continue;
      ear.believed = heard.name;
      ear.protocol = heard.protocol;
      ear.rounds = 0;
    }
  }
}

/** A switch's own name where it tells one, else what identifies it. CDP appends a serial number in brackets. */
function switchOf(hint: Vim<'PhysicalNicHintInfo'>): { name: string; protocol: string } | null {
  const { lldpInfo, connectedSwitchPort: cdp } = hint;
  const named = lldpInfo?.parameter?.find(({ key }) => key.toLowerCase() === 'system name')?.value;
  const lldp = (typeof named === 'string' && named.trim()) || lldpInfo?.chassisId?.trim();
  if (lldp) return { name: lldp.slice(0, 200), protocol: 'LLDP' };
  const name = cdp?.systemName?.trim() || cdp?.devId?.replace(/\([^)]*\)$/, '').trim();
  return name ? { name: name.slice(0, 200), protocol: 'CDP' } : null;
}

/**
 * Hosts that hear a switch in common stand in one rack, also where each hears only one of a pair: the rack bears the
 * names of all of them, so a link that is down changes nothing.
 */
function tableOf(ears: ReadonlyMap<string, ReadonlyMap<string, Ear>>): HintTable {
  const above = new Map<string, string>();
  const root = (name: string): string => {
    let at = name;
    for (let next = above.get(at); next !== undefined && next !== at; next = above.get(at)) at = next;
    return at;
  };
  for (const devices of ears.values()) {
    const names = [...devices.values()].map(({ believed }) => believed);
    for (const name of names) {
      if (!above.has(name)) above.set(name, name);
      above.set(root(name), root(names[0]!));
    }
  }
  const racks = new Map<string, string[]>();
  for (const name of [...above.keys()].sort()) {
    const members = racks.get(root(name));
    if (members) members.push(name);
    else racks.set(root(name), [name]);
  }
  const table = new Map<string, HeardSwitches>();
  for (const [host, devices] of ears) {
    const [first] = devices.values();
    if (!first) continue;
    table.set(host, {
      rack: racks.get(root(first.believed))!.join('+'),
      detail: [...devices]
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([device, ear]) => `${device} hears ${ear.believed} by ${ear.protocol}`)
        .join(', '),
    });
  }
  return table;
}
