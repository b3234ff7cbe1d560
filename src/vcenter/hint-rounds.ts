/** When hosts are asked what they hear of the switches above them: in rounds, beside the watch of the inventory. */
import { isDeepStrictEqual } from 'node:util';
import type { MirroredObject } from './inventory-objects.ts';
import { type HintOptions as HearingOptions, type HintTable, NetworkHints } from './network-hints.ts';
import { abortable, type VcenterSession } from './session.ts';
import type { UplinkSource } from './uplinks.ts';
import type { MoRef } from './vim/schema.ts';

export interface HintOptions extends HearingOptions {
  /** What a host's place in the network is taken from; hints are among them where nothing is said. */
  uplinkSources?: readonly UplinkSource[] | undefined;
  /** How often hosts are asked what they hear of the switches above them. */
  hintIntervalMs?: number;
}

const HINT_INTERVAL_MS = 60_000;
/** The first listing waits so long for hints; else hosts would be in their clusters first, and move a moment later. */
const FIRST_HINTS_MS = 2000;

export class HintRounds {
  readonly #hints: NetworkHints;
  readonly #isWanted: boolean;
  readonly #intervalMs: number;
  #round: Promise<void> | null = null;
  #due = 0;

  constructor(session: VcenterSession, options: HintOptions) {
    this.#hints = new NetworkHints(session, options);
    this.#isWanted = options.uplinkSources?.includes('hints') ?? true;
    this.#intervalMs = options.hintIntervalMs ?? HINT_INTERVAL_MS;
  }

  /** As of the last whole round. */
  get table(): HintTable {
    return this.#hints.table;
  }

  /** Why nothing is heard; empty where something may be. */
  get silence(): string {
    if (!this.#isWanted) return 'hints are not among the sources of this cloud';
    return this.#hints.isUnsupported ? 'this vCenter does not tell what its hosts hear' : '';
  }

  /**
   * Starts a round over the hosts where one is due; `changed` is called when something else was heard. Never waits for
   * it but at the very first, and then not for long. Throws the signal's reason.
   */
  async begin(hosts: readonly MirroredObject[], signal: AbortSignal, changed: () => void): Promise<void> {
    if (!this.#isWanted || this.#round || performance.now() < this.#due) return;
    const isFirst = this.#due === 0;
    const asked = hosts.flatMap(({ ref, properties }) => {
      const networkSystem = properties['configManager.networkSystem'] as MoRef | undefined;
      return networkSystem && properties['runtime.connectionState'] === 'connected'
        ? [{ id: ref.value, networkSystem }]
        : [];
    });
    this.#due = performance.now() + this.#intervalMs;
    const before = this.table;
    this.#round = this.#hints
      .read(asked, signal)
      .catch(() => undefined)
      .finally(() => {
        this.#round = null;
        if (!isDeepStrictEqual(before, this.table)) changed();
      });
    if (isFirst) await atMost(this.#round, FIRST_HINTS_MS, signal);
  }
}

/** The work, or so much of it as is done after a while; what is left goes on. */
async function atMost(work: Promise<unknown>, ms: number, signal: AbortSignal): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const enough = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  try {
    await abortable(Promise.race([work, enough]), signal);
  } finally {
    clearTimeout(timer);
  }
}
