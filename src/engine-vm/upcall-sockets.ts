/**
 * How packets that the XDP program leaves to TypeScript come up: by an AF_XDP socket for each queue of the two NICs, all
 * on one UMEM. Where there is none (the kernel has no AF_XDP, or the process before this one has not quite let go of
 * the queue) the program passes them on to the packet ring, which is always open.
 */
import type { FastPath } from './fastpath/fast-path.ts';
import { keepTags, receiveQueues } from './kernel/ethtool.ts';
import type { PacketMemory } from './kernel/packet-memory.ts';
import { MAX_QUEUES, STILL_TAKEN, Umem, XskSocket } from './kernel/xsk.ts';
import type { Port } from './port.ts';

export class UpcallSockets {
  readonly #memory: PacketMemory;
  readonly #names: readonly string[];
  readonly #isVirtual: boolean;
  /** Null until there was a socket to open. */
  #umem: Umem | null = null;
  /** Why a port has no socket; null where it has, or was not asked. */
  readonly #refused: (string | null)[];

  /** `names`: the interfaces, by port. `isVirtual`: as XskSocket. */
  constructor(memory: PacketMemory, names: readonly string[], isVirtual: boolean) {
    this.#memory = memory;
    this.#names = names;
    this.#isVirtual = isVirtual;
    this.#refused = names.map(() => null);
  }

  /**
   * Opens the sockets of a port where there are none yet; to be called again and again. What another socket still has
   * is asked for again, what the kernel refuses otherwise is not. True where anything is new.
   */
  open(index: number, port: Port, fastPath: FastPath): boolean {
    const before = this.#refused[index];
    if (port.sockets.length > 0 || (before !== null && !before.includes(STILL_TAKEN))) return false;
    const name = this.#names[index];
    const sockets: XskSocket[] = [];
    try {
      keepTags(name);
      this.#umem ??= new Umem(
        this.#memory,
        this.#names.reduce((sum, one) => sum + socketsOf(one), 0),
      );
      for (let queue = 0; queue < socketsOf(name); queue++) {
        const socket = new XskSocket(name, queue, this.#umem, this.#isVirtual);
        sockets.push(socket);
        fastPath.addSocket(index, socket);
      }
      port.use(sockets);
      this.#refused[index] = null;
      return true;
    } catch (error) {
      fastPath.forgetSockets(index);
      for (const socket of sockets) socket.close();
      this.#refused[index] = error instanceof Error ? error.message : String(error);
      return this.#refused[index] !== before;
    }
  }

  /** The port is about to be opened anew: whatever was refused may be had then. */
  reset(index: number): void {
    this.#refused[index] = null;
  }

  /** For the status. */
  get text(): string {
    const refused = this.#refused.find((reason) => reason !== null);
    return refused === undefined ? 'by AF_XDP' : `by the packet ring (${refused})`;
  }
}

function socketsOf(name: string): number {
  return Math.min(receiveQueues(name), MAX_QUEUES);
}
