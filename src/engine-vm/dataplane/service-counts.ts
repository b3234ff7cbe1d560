/**
 * What is counted of each service, and which ones are under a flood. Counts have a place for each service of the graph
 * in force (`CompiledGraph.groupOf`) and a first one for flows past the services; they stay with their service when
 * others come or go.
 */
import type { GraphService } from '../../policy/graph.ts';

/** One figure of each service, since the start. */
export class ServiceCount {
  /** What it is called among the counters of a service, null where it is none of them. */
  readonly counter: string | null;
  private values = new Float64Array(1);

  constructor(counter: string | null) {
    this.counter = counter;
  }

  /** Counts one more, of the service of a group. */
  add(group: number): void {
    this.values[group]++;
  }

  /** The figure of the service of a group. */
  of(group: number): number {
    return this.values[group];
  }

  /** Groups are others now: each had the given place before, or -1. */
  move(places: readonly number[]): void {
    const { values } = this;
    this.values = Float64Array.from(places, (place) => values[place] ?? 0);
  }
}

/** All counts of services: a new one is a line here, and where it is counted. */
export class ServiceCounts {
  private readonly counts: ServiceCount[] = [];
  /** Half-open flows that made room for others. */
  readonly evicted = this.count(null);
  /** SYNs answered with cookies. */
  readonly cookies = this.count('syn-cookies/sent');
  /** Cookies that clients brought back; shown where any were sent. */
  readonly proven = this.count('syn-cookies/proven');
  /** Packets forwarded without a record. */
  readonly hashed = this.count('table-full/hashed');
  /** Packets refused because the table was full. */
  readonly refused = this.count('table-full/refused');
  private services: readonly GraphService[] = [];
  /** 1 where the service of the group is under a flood. */
  private flooded = new Uint8Array(1);

  /** A graph with these services is in force. */
  load(services: readonly GraphService[]): void {
    const before = new Map(this.services.map(({ name }, index) => [name, index + 1]));
    const places = [0, ...services.map(({ name }) => before.get(name) ?? -1)];
    for (const count of this.counts) count.move(places);
    this.services = services;
    this.flooded = new Uint8Array(places.length);
  }

  /** Takes which services are under a flood now. */
  setFloods(services: ReadonlySet<string>): void {
    this.services.forEach(({ name }, index) => {
      this.flooded[index + 1] = services.has(name) ? 1 : 0;
    });
  }

  /** Whether the service of a group is under a flood. */
  isFlooded(group: number): boolean {
    return this.flooded[group] === 1;
  }

  /** As `<service>/<counter>`, those that are not zero. */
  counters(): Record<string, number> {
    const counters: Record<string, number> = {};
    this.services.forEach(({ name }, index) => {
      for (const count of this.counts) {
        const isShown = (count === this.proven ? this.cookies : count).of(index + 1) > 0;
        if (count.counter !== null && isShown) counters[`${name}/${count.counter}`] = count.of(index + 1);
      }
    });
    return counters;
  }

  /** Half-open flows that made room for others, by service where there were any. */
  evictedOf(): Map<string, number> {
    return this.byService(this.evicted, () => true);
  }

  /** SYNs answered with cookies, by service where there were any and that is done in floods only. */
  answeredOf(): Map<string, number> {
    return this.byService(this.cookies, ({ synCookies }) => synCookies === 'auto');
  }

  /** Packets that found no room in the flow table, by service where there were any. */
  fullOf(): Map<string, { hashed: number; refused: number }> {
    const figures = new Map<string, { hashed: number; refused: number }>();
    this.services.forEach(({ name }, index) => {
      const hashed = this.hashed.of(index + 1);
      const refused = this.refused.of(index + 1);
      if (hashed + refused > 0) figures.set(name, { hashed, refused });
    });
    return figures;
  }

  private byService(count: ServiceCount, isAsked: (service: GraphService) => boolean): Map<string, number> {
    const figures = new Map<string, number>();
    this.services.forEach((service, index) => {
      if (count.of(index + 1) > 0 && isAsked(service)) figures.set(service.name, count.of(index + 1));
    });
    return figures;
  }

  private count(counter: string | null): ServiceCount {
    const count = new ServiceCount(counter);
    this.counts.push(count);
    return count;
  }
}
