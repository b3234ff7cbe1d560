/**
 * Hands changes of shared state to the engines that subscribe to them: a few milliseconds' worth at a time, the
 * latest of each key. Engines with the same subscriptions are sent the same bytes, made once.
 */
import type { EngineLink } from './engine-link.ts';
import type { HubEntry } from './hub-entries.ts';
import { isCommon, reachesCommon, soleReader } from './key-owner.ts';
import { BATCH_CHARACTERS } from './wire.ts';

const FLUSH_MS = 5;

export class FanOut {
  readonly #links: () => ReadonlyMap<string, EngineLink>;
  readonly #changed = new Map<string, HubEntry>();
  #timer: NodeJS.Timeout | undefined;

  /** `links`: those that are up, by engine. */
  constructor(links: () => ReadonlyMap<string, EngineLink>) {
    this.#links = links;
  }

  /** Sends the entry soon. */
  push(entry: HubEntry): void {
    if (!isCommon(entry.key) && soleReader(entry.key) === null) return;
    this.#changed.set(entry.key, entry);
    this.#timer ??= setTimeout(() => this.#flush(), FLUSH_MS);
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  #flush(): void {
    this.#timer = undefined;
    const changed = [...this.#changed.values()];
    this.#changed.clear();
    const common = changed.filter((entry) => isCommon(entry.key));
    const own = changed.filter((entry) => !isCommon(entry.key));
    const links = this.#links();
    if (common.length > 0) this.#sendCommon(links.values(), common);
    for (const entry of own) {
      const link = links.get(soleReader(entry.key)!);
      if (link === undefined || !startsWithOne(entry.key, [...link.prefixes])) continue;
      for (const message of messagesOf([entry])) link.sendText(message);
    }
  }

  #sendCommon(links: Iterable<EngineLink>, common: readonly HubEntry[]): void {
    const made = new Map<string, Buffer[]>();
    for (const link of links) {
      const prefixes = [...link.prefixes].filter(reachesCommon).sort();
      if (prefixes.length === 0) continue;
      const signature = JSON.stringify(prefixes);
      let messages = made.get(signature);
      if (messages === undefined) {
        messages = messagesOf(common.filter((entry) => startsWithOne(entry.key, prefixes)));
        made.set(signature, messages);
      }
      for (const message of messages) link.sendText(message);
    }
  }
}

function startsWithOne(key: string, prefixes: readonly string[]): boolean {
  return prefixes.some((prefix) => key.startsWith(prefix));
}

function messagesOf(entries: readonly HubEntry[]): Buffer[] {
  const messages: Buffer[] = [];
  let batch: string[] = [];
  let characters = 0;
  const cut = () => {
    if (batch.length > 0) messages.push(Buffer.from(`{"type":"entries","entries":[${batch.join(',')}]}`));
    batch = [];
    characters = 0;
  };
  for (const { json } of entries) {
    batch.push(json);
    characters += json.length;
    if (characters >= BATCH_CHARACTERS) cut();
  }
  cut();
  return messages;
}
