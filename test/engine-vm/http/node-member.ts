/** A member on a port of its own, by Node's HTTP server; what it answers is the subclass's. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export abstract class NodeMember {
  readonly #server = createServer((request, response) => this.serve(request, response));

  protected abstract serve(request: IncomingMessage, response: ServerResponse): void;

  async listen(): Promise<number> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}
