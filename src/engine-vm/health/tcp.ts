/** The monitor `tcp`: a member is up when it accepts a TCP connection. Nothing is sent. */
import { createConnection } from 'node:net';
import { aborted, type CheckResult, failure, type Monitor } from './monitor.ts';

export class TcpMonitor implements Monitor {
  readonly label = 'tcp connection';

  check(address: string, port: number, signal: AbortSignal): Promise<CheckResult> {
    if (signal.aborted) return Promise.resolve(aborted(signal));
    return new Promise((resolve) => {
      const startedAt = performance.now();
      const socket = createConnection({ host: address, port });
      const end = (result: CheckResult): void => {
        signal.removeEventListener('abort', onAbort);
        socket.destroy();
        resolve(result);
      };
      const onAbort = (): void => end(aborted(signal));
      signal.addEventListener('abort', onAbort, { once: true });
      socket.once('connect', () => {
        end({ isUp: true, reason: `connected in ${Math.ceil(performance.now() - startedAt)} ms` });
      });
      // `on`, not `once`: an error behind the first must not become an uncaught one.
      socket.on('error', (error) => end(failure(error)));
    });
  }
}
