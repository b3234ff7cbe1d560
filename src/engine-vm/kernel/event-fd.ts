/** An eventfd: how the main thread wakes the data-plane thread out of poll(2). Works across threads of one process. */
import { errno, kernelError, libc } from './libc.ts';

const EFD_CLOEXEC = 0x80000;
const EFD_NONBLOCK = 0x800;

export class EventFd {
  readonly fd: number;
  readonly #one = new BigUint64Array([1n]);
  readonly #value = new BigUint64Array(1);
  #isClosed = false;

  /** Makes one, or speaks to the one that another thread of this process made. Throws ERR_KERNEL. */
  constructor(fd?: number) {
    this.fd = fd ?? libc.eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (this.fd < 0) throw kernelError('eventfd', 'the data-plane thread');
  }

  /** Makes the fd readable until the next `drain`. */
  signal(): void {
    if (this.#isClosed) return;
    // EAGAIN means that the counter is at its end, which is as awake as can be.
    libc.write(this.fd, this.#one, 8n);
  }

  /** Makes the fd unreadable; returns how often it was signalled since the last time. */
  drain(): number {
    if (this.#isClosed || libc.read(this.fd, this.#value, 8n) !== 8n) return 0;
    return Number(this.#value[0]);
  }

  /** The one who made the fd closes it, once nobody waits on it. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (libc.close(this.fd) < 0) throw kernelError('close', `eventfd ${this.fd} (errno ${errno()})`);
  }
}
