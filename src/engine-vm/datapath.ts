/**
 * What stands before TypeScript in the data-plane thread: the kernel's program as XDP or tc, as the engine group asks and
 * the kernel lets, or nothing but a filter on the packet rings; and there, what each service may have of TypeScript's time.
 */
import type { FastPathChoice } from '../policy/engine-group.ts';
import type { ServiceGraph } from '../policy/graph.ts';
import { FastPath, type FastPathCounters, type FastPathKind } from './fastpath/fast-path.ts';
import type { FlowSlots } from './fastpath/flow-slots.ts';
import { Pins } from './fastpath/pins.ts';
import { ShareFilter } from './fastpath/share-filter.ts';
import { SynAnswers } from './fastpath/syn-answers.ts';
import { UpcallShares } from './fastpath/upcall-shares.ts';
import type { FastPathPlan } from './link.ts';

const TEXTS = {
  tc: 'tc program for known flows, TypeScript for the others (virtual interfaces)',
  xdp: 'XDP program for known flows, TypeScript for the others',
} as const;

/** The port of the engine's own stack, on which the program is tc's whatever it is on the others. */
const SELF = 2;

export class Datapath {
  readonly shares = new UpcallShares();
  readonly #answers = new SynAnswers();
  #flooded: ReadonlySet<string> = new Set();
  readonly #plan: FastPathPlan | null;
  readonly #onFault: (error: unknown) => void;
  #program: FastPath | null = null;
  /** In the place of the program, where there is none. */
  #filter: ShareFilter | null = null;
  /** What the engine group wants, and what this kernel or these interfaces refused, with the reason. */
  #choice: FastPathChoice = 'auto';
  readonly #refused = new Map<FastPathKind, string>();
  #text = '';

  /** `plan`: how the program is to be attached, null: not at all. `onFault` hears of what is no reason to stop. */
  constructor(plan: FastPathPlan | null, onFault: (error: unknown) => void) {
    this.#plan = plan;
    this.#onFault = onFault;
  }

  /** The kernel's program, null where there is none. */
  get program(): FastPath | null {
    return this.#program;
  }

  /** Which way packets take, and why: said in reports and on screens. */
  get text(): string {
    return this.#text;
  }

  /** Loads the kernel's program. Without it everything works, slower: a kernel that refuses is no reason to stop. */
  start(): void {
    const plan = this.#plan;
    if (plan === null) {
      this.#text = 'TypeScript alone: no program was asked for';
      return;
    }
    const pins = this.#openPins(plan.pins);
    // What an earlier process left at work is what this one goes on with, until its graph says otherwise.
    const first = pins?.kind ?? plan.best;
    const kinds: FastPathKind[] =
      this.#choice === 'auto'
        ? [...new Set([first, plan.best, 'tc' as const])]
        : [this.#choice].filter(isKind);
    let reason = 'the engine group says so';
    for (const kind of kinds.filter((one) => !this.#refused.has(one))) {
      try {
        this.#program = new FastPath(kind, pins);
        this.#text = TEXTS[kind];
        return;
      } catch (error) {
        this.#refused.set(kind, messageOf(error));
      }
    }
    for (const kind of kinds) reason = this.#refused.get(kind) ?? reason;
    this.#text = `TypeScript alone: ${reason}`;
  }

  /** Where services get their shares of this thread: in the program, or before the packet rings. */
  startShares(): void {
    this.#filter?.close();
    this.#filter = null;
    if (this.#program === null) {
      try {
        this.#filter = new ShareFilter(Math.floor(Math.random() * 2 ** 32) | 0);
      } catch (error) {
        // Then the rings drop what is too much, of whatever service.
        this.#text += `; a flood of one service takes from the others (${messageOf(error)})`;
      }
    }
    this.#useShares();
  }

  /** Room for so many slots; null where there is none, which `isNews` says of a program that had to refuse. */
  openSlots(capacity: number, seed: number): { slots: FlowSlots | null; isNews: boolean } {
    if (this.#program === null) return { slots: null, isNews: false };
    try {
      return { slots: this.#program.openSlots(capacity, seed), isNews: false };
    } catch (error) {
      this.#text = `TypeScript alone: ${messageOf(error)}`;
      return { slots: null, isNews: true };
    }
  }

  /** Takes the services and the fail mode of a graph that is in force. */
  load(graph: ServiceGraph): void {
    this.#program?.setFailMode(graph.engine.failMode === 'open', graph.engine.deadAfterMs);
    this.#useShares();
    this.#answers.load(graph);
    this.answerSyns(this.#flooded);
    this.shares.load(graph);
  }

  /** Has the program answer SYNs of services that TypeScript has no time for; `flooded`: those under a flood. */
  answerSyns(flooded: ReadonlySet<string>): void {
    this.#flooded = flooded;
    if (this.#program?.kind !== 'xdp') return;
    this.#answers.tick(new Int32Array(this.#program.shares.config), Date.now());
    this.shares.answer(this.#answers.order(flooded));
  }

  /** Takes what a graph says of the way of packets; true where another one is to be begun with (`remove`, `start`). */
  heed({ engine }: ServiceGraph): boolean {
    if (this.#plan === null) return false;
    // The kernel's program would forward copies.
    const choice = engine.mode === 'mirror' ? 'off' : (engine.fastPath ?? 'auto');
    if (choice === this.#choice) return false;
    this.#choice = choice;
    this.#refused.clear();
    return this.#program?.kind !== (choice === 'auto' ? this.#plan.best : choice);
  }

  /** Attaches the program, or the filter, to a port; false where the program is refused there: another one is to be tried. */
  attach(port: number, name: string, ringFd: number): boolean {
    if (this.#program === null) {
      // What the engine's own stack sends has no share.
      if (port === SELF) return true;
      try {
        this.#filter?.attach(port, name, ringFd);
      } catch (error) {
        this.#onFault(error);
      }
      return true;
    }
    if (port === SELF && this.upOf(port) === undefined) return true;
    try {
      this.#program.attach(port, name, this.upOf(port)?.down ?? null);
      return true;
    } catch (error) {
      this.#refused.set(this.#program.kind, messageOf(error));
      return false;
    }
  }

  /** Where a port's packets come up by, where the kernel's program sees them first. */
  upOf(port: number): { down: string; up: string } | undefined {
    if (this.#program === null) return undefined;
    return this.#program.kind === 'tc' || port === SELF ? this.#plan?.ups[port] : undefined;
  }

  /** What the program has counted, null where there is none; and packets that were over the share of their service. */
  counters(): { program: FastPathCounters | null; overShare: number } {
    const program = this.#program?.counters() ?? null;
    return { program, overShare: program?.overShare ?? this.#filter?.overShare() ?? 0 };
  }

  /** Takes the program off the ports, with all that it knows. */
  remove(): void {
    this.#program?.remove();
    this.#program = null;
  }

  /** Ends this process's part; what is pinned goes on. */
  close(): void {
    this.shares.use(null);
    this.#program?.close();
    this.#filter?.close();
  }

  #useShares(): void {
    this.shares.use(this.#program?.shares ?? this.#filter?.memory ?? null);
  }

  /** Without pins everything works but a restart, which then breaks the flows: no reason to stop either. */
  #openPins(directory: string | undefined): Pins | null {
    if (directory === undefined) return null;
    try {
      return new Pins(directory);
    } catch (error) {
      this.#onFault(error);
      return null;
    }
  }
}

function isKind(choice: FastPathChoice): choice is FastPathKind {
  return choice === 'xdp' || choice === 'tc';
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
