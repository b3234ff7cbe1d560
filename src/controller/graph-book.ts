/** The graphs pushed to each engine lately: what a revision that an engine acknowledges means. In memory only. */
import type { GraphContent } from './actual.ts';

interface Page {
  revision: number;
  hash: string;
  content: GraphContent;
}

/** How many graphs are kept for an engine that lags. */
const KEPT = 8;

export class GraphBook {
  readonly #pages = new Map<string, Page[]>();
  /** Since when an engine owes an acknowledgement. */
  readonly #owedSince = new Map<string, number>();

  /** Notes a push. */
  add(engine: string, revision: number, hash: string, content: GraphContent, now: number): void {
    const pages = (this.#pages.get(engine) ?? []).filter((page) => page.revision !== revision);
    pages.push({ revision, hash, content });
    this.#pages.set(engine, pages.slice(-KEPT));
    if (!this.#owedSince.has(engine)) this.#owedSince.set(engine, now);
  }

  /** Notes what an engine reports to be in force. */
  acknowledge(engine: string, revision: number): void {
    if (this.latest(engine)?.revision === revision) this.#owedSince.delete(engine);
  }

  latest(engine: string): Page | undefined {
    return this.#pages.get(engine)?.at(-1);
  }

  /** The content of a revision, or null where it is not known (any more). */
  content(engine: string, revision: number): GraphContent | null {
    return this.#pages.get(engine)?.find((page) => page.revision === revision)?.content ?? null;
  }

  /** Whether the latest graph of any engine names the address set of the policy. */
  usesSet(name: string): boolean {
    return [...this.#pages.values()].some((pages) =>
      pages.at(-1)?.content.addressSets?.some((set) => set.name === name && set.prefixes === undefined),
    );
  }

  owedSince(engine: string): number | null {
    return this.#owedSince.get(engine) ?? null;
  }

  /** Hash of the latest push per engine. */
  hashes(): Map<string, string> {
    return new Map(
      [...this.#pages].flatMap(([engine, pages]) => pages.slice(-1).map((p) => [engine, p.hash])),
    );
  }

  forget(engine: string): void {
    this.#pages.delete(engine);
    this.#owedSince.delete(engine);
  }
}
