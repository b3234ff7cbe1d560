/**
 * One port of the data plane: the packet ring of its interface, and, where the kernel's program hands frames up by
 * AF_XDP, the sockets of its queues. Frames come by either; they leave by AF_XDP where that takes them, in the order
 * of the calls.
 */
import { noTraffic, type PortCounters } from '../state/shared.ts';
import type { PacketMemory } from './kernel/packet-memory.ts';
import { type FrameReceiver, Nic } from './kernel/packet-ring.ts';
import type { XskSocket } from './kernel/xsk.ts';

/** So many waiting frames are half a millisecond of work. */
const CROWD = 256;

export class Port {
  readonly nic: Nic;
  #sockets: readonly XskSocket[] = [];
  /** The socket that frames are sent by. */
  #sender: XskSocket | null = null;
  #isCrowded = false;
  /** Of sockets that were closed. */
  #before = noTraffic();

  /** As Nic. Throws ERR_KERNEL. */
  constructor(name: string, memory: PacketMemory, receiveFrom?: string) {
    this.nic = new Nic(name, memory, receiveFrom);
  }

  get sockets(): readonly XskSocket[] {
    return this.#sockets;
  }

  /** The sockets are the port's to close from now on. */
  use(sockets: readonly XskSocket[]): void {
    this.closeSockets();
    this.#sockets = sockets;
    this.#sender = sockets[0] ?? null;
  }

  /** As Nic.receive, each way with a budget of its own. */
  receive(handler: FrameReceiver, port: number, budget: number): number {
    let count = this.nic.receive(handler, port, budget);
    this.#isCrowded = count > 0;
    const sockets = this.#sockets;
    for (let index = 0; index < sockets.length; index++) {
      const socket = sockets[index];
      if (socket.waiting > CROWD) this.#isCrowded = true;
      count += socket.receive(handler, port, budget);
    }
    return count;
  }

  /** Whether the last `receive` found many frames waiting; of the packet ring nobody knows more than that it was not empty. */
  get isCrowded(): boolean {
    return this.#isCrowded;
  }

  /** As Nic.send. */
  send(buffer: Uint8Array, start: number, length: number): boolean {
    const sender = this.#sender;
    if (sender === null) return this.nic.send(buffer, start, length);
    if (sender.takes(buffer, start, length)) {
      if (this.nic.hasQueued) this.nic.flush();
      return sender.send(buffer, start, length);
    }
    if (sender.hasQueued) sender.flush();
    return this.nic.send(buffer, start, length);
  }

  flush(): void {
    this.nic.flush();
    this.#sender?.flush();
  }

  clearError(): void {
    this.nic.clearError();
    for (const socket of this.#sockets) socket.clearError();
  }

  /** Totals since the port was opened. */
  counters(): PortCounters {
    return [this.nic.counters(), ...this.#sockets.map((socket) => socket.counters())].reduce(
      sumCounters,
      this.#before,
    );
  }

  /** From here on frames come by the packet ring alone. */
  closeSockets(): void {
    for (const socket of this.#sockets) {
      this.#before = sumCounters(this.#before, socket.counters());
      socket.close();
    }
    this.#sockets = [];
    this.#sender = null;
  }

  close(): void {
    this.closeSockets();
    this.nic.close();
  }
}

export function sumCounters(left: PortCounters, right: PortCounters): PortCounters {
  return {
    receivedPackets: left.receivedPackets + right.receivedPackets,
    sentPackets: left.sentPackets + right.sentPackets,
    receivedBytes: left.receivedBytes + right.receivedBytes,
    sentBytes: left.sentBytes + right.sentBytes,
    lost: left.lost + right.lost,
  };
}
