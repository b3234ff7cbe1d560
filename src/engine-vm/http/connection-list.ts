/**
 * The connections of clients that a thread has, by fd. A Set would do but for its memory: it makes itself anew every so
 * many additions, each of its former selves points to the next, and once one of them has become old, all that stood in
 * those that follow lives until the next great collection.
 */
import type { Channel } from './channel.ts';

export class ConnectionList<Connection extends { readonly channel: Channel }> {
  readonly #byFd: (Connection | null)[] = [];
  size = 0;

  add(connection: Connection): void {
    const { fd } = connection.channel;
    while (this.#byFd.length <= fd) this.#byFd.push(null);
    if (this.#byFd[fd] === null) this.size++;
    this.#byFd[fd] = connection;
  }

  /** Nothing happens where another one has the fd by now. */
  delete(connection: Connection): void {
    const { fd } = connection.channel;
    if (this.#byFd[fd] !== connection) return;
    this.#byFd[fd] = null;
    this.size--;
  }

  /** Those that there are now: they may be closed while the list is walked. */
  all(): Connection[] {
    return this.#byFd.filter((connection) => connection !== null);
  }
}
