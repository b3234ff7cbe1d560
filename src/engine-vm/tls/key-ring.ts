/**
 * The certificates, keys and authorities of an engine, in memory alone: what the graph names is here, and what it names
 * no more is gone. Entries of the shared state bring them (policy/graph.ts, TlsEntry).
 */
import { createHash, createHmac } from 'node:crypto';
import type { ServiceGraph, TlsEntry } from '../../policy/graph.ts';
import type { ServiceSettings } from '../http/service.ts';
import type { AuthoritySource, CertificateSource, TlsSources } from './settings.ts';
import { withTls } from './with-tls.ts';

export class KeyRing {
  /** By kind and name: the entries of the graphs in force and on its way. */
  readonly #entries = new Map<string, TlsEntry[]>();
  /** Places whose entry was taken back. */
  readonly #returned = new Set<string>();
  readonly #graphs: () => readonly ServiceGraph[];
  readonly #onNote: (service: string, note: string) => void;
  /** By service, what was said of its certificates last. */
  readonly #notes = new Map<string, string>();

  /** `graphs`: in force and on their way. `onNote`: what somebody should look at, once. */
  constructor(graphs: () => readonly ServiceGraph[], onNote: (service: string, note: string) => void) {
    this.#graphs = graphs;
    this.#onNote = onNote;
  }

  /** Takes an entry, `certificate/<name>` or `authority-set/<name>`. */
  take(place: string, entry: TlsEntry): void {
    this.#returned.delete(place);
    const known = (this.#entries.get(place) ?? []).filter(({ hash }) => hash !== entry.hash);
    this.#entries.set(place, [entry, ...known]);
    this.forget();
  }

  /** An entry was taken back: it goes when no graph names it any more. */
  giveBack(place: string): void {
    this.#returned.add(place);
    this.forget();
  }

  /** Lets go of what no graph names; the latest of a place is for a graph that may be about to come. */
  forget(): void {
    const named = new Set(
      this.#graphs().flatMap(({ tls = [] }) => tls.map(({ kind, name, hash }) => `${kind}/${name} ${hash}`)),
    );
    for (const [place, entries] of this.#entries) {
      const isComing = !this.#returned.has(place);
      const kept = entries.filter(({ hash }, at) => (isComing && at === 0) || named.has(`${place} ${hash}`));
      if (kept.length > 0) this.#entries.set(place, kept);
      else {
        this.#entries.delete(place);
        this.#returned.delete(place);
      }
    }
  }

  /**
   * Settings with all that TLS needs; null where the graph names something that is not here (yet). Throws
   * ERR_POLICY_INVALID.
   */
  fill(graph: ServiceGraph, settings: ServiceSettings): ServiceSettings | null {
    const { http, pools = [] } = settings;
    if (http.tls === undefined && settings.poolTls === undefined && pools.every(({ poolTls }) => !poolTls))
      return settings;
    let isWhole = true;
    const find = (kind: string, name: string): TlsEntry | undefined => {
      const wanted = graph.tls?.find((one) => one.kind === kind && one.name === name)?.hash;
      const entry = this.#entries.get(`${kind}/${name}`)?.find(({ hash }) => hash === wanted);
      if (entry === undefined) isWhole = false;
      return entry;
    };
    const sources: TlsSources = {
      certificate: (name) => find('certificate', name) as CertificateSource | undefined,
      authorities: (name) => find('authority-set', name) as AuthoritySource | undefined,
    };
    try {
      const { settings: filled, notes } = withTls(settings, sources);
      const said = notes.join('; ');
      if (said !== '' && said !== this.#notes.get(settings.name)) this.#onNote(settings.name, said);
      this.#notes.set(settings.name, said);
      if (filled.tls === undefined) return filled;
      const ticketSecret = ticketSecretOf(graph, settings.name, filled.tls.certificates[0]!.key);
      return { ...filled, tls: { ...filled.tls, ticketSecret } };
    } catch (error) {
      if (!isWhole) return null;
      throw error;
    }
  }
}

/**
 * The same on all engines of the group. The group's key stands on engines' disks, and the private key does not: so a
 * disk that is stolen opens no session that was recorded.
 */
function ticketSecretOf({ engine }: ServiceGraph, service: string, key: string): Uint8Array {
  return createHmac('sha256', Buffer.from(engine.groupKey, 'base64'))
    .update(`session tickets of ${service}\0`)
    .update(createHash('sha256').update(key).digest())
    .digest();
}
