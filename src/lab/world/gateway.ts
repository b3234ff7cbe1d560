/**
 * The way from the management network to the controller: engines connect to 192.0.2.1:7443 inside the lab, and the
 * bytes go to the controller's hub on loopback of the root namespace. Nothing is read or changed on the way; TLS is
 * between engine and hub.
 */
import { spawn } from 'node:child_process';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { WeftError } from '../../policy/errors.ts';
import { GATEWAY } from './blueprint.ts';
import { namespaceFile, namespaceOf } from './names.ts';

const LISTENER = join(import.meta.dirname, 'gateway-listener.ts');

export class Gateway {
  readonly #lab: string;
  /** Asked for each connection, so that a controller which starts again elsewhere is found. */
  readonly #target: () => { host: string; port: number } | null;
  readonly #sockets = new Set<Socket>();
  #server: Server | null = null;

  constructor(lab: string, target: () => { host: string; port: number } | null) {
    this.#lab = lab;
    this.#target = target;
  }

  /** Starts to listen. Throws ERR_KERNEL. */
  async start(): Promise<void> {
    const listener = await listenIn(namespaceOf(this.#lab, 'mgmt'), GATEWAY.address, GATEWAY.port);
    // A side that has said all it wants to say still listens.
    const server = createServer({ allowHalfOpen: true }, (socket) => this.#relay(socket));
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(listener, resolve));
    this.#server = server;
  }

  /** Cuts what is connected: after the target has changed, everybody comes back to the new one. */
  reset(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  stop(): void {
    this.#server?.close();
    this.reset();
  }

  #relay(near: Socket): void {
    const target = this.#target();
    near.on('error', () => {});
    if (!target) {
      near.destroy();
      return;
    }
    const far = connect({ ...target, allowHalfOpen: true });
    far.on('error', () => {});
    for (const socket of [near, far]) {
      socket.setNoDelay(true);
      this.#sockets.add(socket);
    }
    near.pipe(far);
    far.pipe(near);
    // A half that broke takes the other along: TLS above would only wait.
    near.once('close', () => far.destroy());
    far.once('close', () => near.destroy());
    for (const socket of [near, far]) socket.once('close', () => this.#sockets.delete(socket));
  }
}

/** A listening socket of another network namespace. */
function listenIn(namespace: string, address: string, port: number): Promise<Server> {
  return new Promise((resolve, reject) => {
    const child = spawn(
      'nsenter',
      [
        `--net=${namespaceFile(namespace)}`,
        process.execPath,
        '--disable-warning=ExperimentalWarning',
        LISTENER,
        address,
        String(port),
      ],
      { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] },
    );
    let said = '';
    child.stderr!.on('data', (data: Buffer) => {
      said += data.toString();
    });
    child.once('message', (_message, handle) => {
      child.disconnect();
      resolve(handle as Server);
    });
    child.once('error', reject);
    child.once('exit', (code) =>
      // Without effect after the message has come.
      reject(
        new WeftError(
          'ERR_KERNEL',
          `nobody can listen on ${address}:${port} in ${namespace}: ${said.trim() || `exit code ${code}`}`,
        ),
      ),
    );
  });
}
