/** A man in the middle with the keys of both ends: repeats and reorders messages, and cuts the link now and then. */
import { createServer, type Server } from 'node:https';
import { WebSocket, WebSocketServer } from 'ws';
import type { HubAuthority } from '../../src/state/hub-authority.ts';
import type { Identity } from '../../src/state/identity.ts';

export class UnrulyRelay {
  /** Share of messages that are repeated, and that are overtaken by later ones. */
  faultRate = 0.05;
  repeated = 0;
  reordered = 0;
  readonly #server: Server;
  readonly #links = new Set<WebSocket>();

  static async open(authority: HubAuthority, hubUrl: string, identity: Identity): Promise<UnrulyRelay> {
    const { certificate, key } = await authority.serverCredentials();
    const server = createServer({ cert: certificate, key });
    const relay = new UnrulyRelay(server, hubUrl, identity);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return relay;
  }

  constructor(server: Server, hubUrl: string, identity: Identity) {
    this.#server = server;
    const sockets = new WebSocketServer({ noServer: true });
    server.on('upgrade', (request, socket, head) => {
      const url = new URL(request.url!, hubUrl);
      url.protocol = 'wss:';
      const upstream = new WebSocket(url, {
        cert: identity.certificate,
        key: identity.key,
        ca: identity.ca,
        // The types of ws say boolean; tls wants an Error or undefined.
        checkServerIdentity: (() => undefined) as unknown as () => boolean,
      });
      upstream.on('error', () => socket.destroy());
      upstream.once('open', () => {
        sockets.handleUpgrade(request, socket, head, (downstream) => {
          this.#links.add(downstream);
          downstream.on('error', () => {});
          downstream.on('close', () => {
            this.#links.delete(downstream);
            upstream.terminate();
          });
          upstream.on('close', () => downstream.terminate());
          upstream.on('ping', () => downstream.ping());
          for (const data of early) this.#pass(downstream)(data);
          early.length = 0;
          upstream.off('message', keep).on('message', this.#pass(downstream));
          downstream.on('message', this.#pass(upstream));
        });
      });
      const early: unknown[] = [];
      const keep = (data: unknown) => early.push(data);
      upstream.on('message', keep);
    });
  }

  get url(): string {
    return `https://127.0.0.1:${(this.#server.address() as { port: number }).port}`;
  }

  cut(): void {
    for (const link of this.#links) link.terminate();
  }

  close(): void {
    this.cut();
    this.#server.close();
  }

  #pass(to: WebSocket): (data: unknown) => void {
    let held: string[] = [];
    const flush = () => {
      for (const text of held) if (to.readyState === WebSocket.OPEN) to.send(text);
      held = [];
    };
    return (data) => {
      const text = String(data);
      if (Math.random() < this.faultRate) {
        this.reordered++;
        held.push(text);
        setTimeout(flush, Math.random() * 30);
        return;
      }
      if (to.readyState !== WebSocket.OPEN) return;
      to.send(text);
      if (Math.random() >= this.faultRate) return;
      this.repeated++;
      to.send(text);
      setTimeout(() => to.readyState === WebSocket.OPEN && to.send(text), Math.random() * 50);
    };
  }
}
