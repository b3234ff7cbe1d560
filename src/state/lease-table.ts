/** Who holds which lease, by the hub's clock. Pure: the time is passed in. */

/** One boot of one participant. */
export interface LeaseHolder {
  writer: string;
  epoch: number;
}

export class LeaseTable {
  readonly #leases = new Map<string, LeaseHolder & { expiresAt: number }>();

  /** Grants or renews; false where another holds it. A later boot of the holder takes over from the earlier one. */
  ask(key: string, holder: LeaseHolder, ttlMs: number, now: number): boolean {
    const lease = this.#leases.get(key);
    if (lease !== undefined && lease.expiresAt > now) {
      if (lease.writer !== holder.writer || lease.epoch > holder.epoch) return false;
    }
    this.#leases.set(key, { writer: holder.writer, epoch: holder.epoch, expiresAt: now + ttlMs });
    return true;
  }

  /** True where the holder had it. */
  release(key: string, holder: LeaseHolder): boolean {
    if (!this.isHeldBy(key, holder, Number.NEGATIVE_INFINITY)) return false;
    return this.#leases.delete(key);
  }

  isHeldBy(key: string, holder: LeaseHolder, now: number): boolean {
    const lease = this.#leases.get(key);
    return (
      lease !== undefined &&
      lease.expiresAt > now &&
      lease.writer === holder.writer &&
      lease.epoch === holder.epoch
    );
  }

  /** Number of leases that `writer` holds. */
  countOf(writer: string): number {
    let count = 0;
    for (const lease of this.#leases.values()) if (lease.writer === writer) count++;
    return count;
  }

  /** Removes the leases that have lapsed and returns their keys. */
  sweep(now: number): string[] {
    const lapsed: string[] = [];
    for (const [key, lease] of this.#leases) {
      if (lease.expiresAt > now) continue;
      this.#leases.delete(key);
      lapsed.push(key);
    }
    return lapsed;
  }
}
