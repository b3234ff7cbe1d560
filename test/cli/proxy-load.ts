/** Clients that ask `weft proxy` without a pause, by new and by kept connections, and write down what goes wrong. */
import { Agent, createServer, request, type Server } from 'node:http';
import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2';

/** More than a buffer holds, so that responses are under way when something changes. */
export const BODY = 'x'.repeat(40_000);

const LONG_MS = 2500;

export interface Answer {
  status: number;
  /** The field X-Revision. */
  revision: number;
  body: string;
}

export type ClientKind = 'kept' | 'new' | 'http2';

/** A member that answers with what it was asked; for `/long` it takes its time. */
export function echoOrigin(): Server {
  const origin = createServer((received, response) => {
    let length = 0;
    received.on('data', (bytes: Buffer) => {
      length += bytes.length;
    });
    if (received.url === '/long') {
      response.write('begin,');
      setTimeout(() => response.end('end'), LONG_MS);
    } else received.on('end', () => response.end(`${received.method} ${received.url} ${length} ${BODY}`));
  });
  origin.keepAliveTimeout = 60_000;
  return origin;
}

function ask(port: number, agent: Agent | false, method: string, path: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request({ host: '127.0.0.1', port, agent, method, path }, (response) => {
      const parts: Buffer[] = [];
      response.on('data', (bytes: Buffer) => parts.push(bytes));
      response.on('error', reject);
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          revision: Number(response.headers['x-revision']),
          body: Buffer.concat(parts).toString('latin1'),
        }),
      );
    });
    asked.on('error', reject);
    asked.end(method === 'POST' ? BODY : undefined);
  });
}

function askHttp2(session: ClientHttp2Session, method: string, path: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = session.request({ ':method': method, ':path': path }, { endStream: method !== 'POST' });
    const answer: Answer = { status: 0, revision: 0, body: '' };
    asked.on('response', (fields) => {
      answer.status = Number(fields[':status']);
      answer.revision = Number(fields['x-revision']);
    });
    asked.setEncoding('latin1');
    asked.on('data', (text: string) => {
      answer.body += text;
    });
    asked.on('error', reject);
    asked.on('close', () => resolve(answer));
    if (method === 'POST') asked.end(BODY);
  });
}

export class ProxyLoad {
  readonly failures: string[] = [];
  readonly answered = { kept: 0, new: 0, http2: 0 };
  readonly revisions = new Set<number>();
  /** No answer may be of an earlier revision than that which was in force when it was asked for. */
  inForce = 0;
  readonly #port: number;
  #isOver = false;
  readonly #clients: Promise<void>[] = [];

  constructor(port: number) {
    this.#port = port;
  }

  get total(): number {
    return this.answered.kept + this.answered.new + this.answered.http2;
  }

  start(kind: ClientKind, count: number): void {
    for (let id = 0; id < count; id++) this.#clients.push(this.#run(kind, id));
  }

  /** Resolves when so many more requests were answered, or one failed. */
  async more(count: number): Promise<void> {
    const until = this.total + count;
    while (this.total < until && this.failures.length === 0) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#clients);
  }

  async #run(kind: ClientKind, id: number): Promise<void> {
    const agent = kind === 'kept' ? new Agent({ keepAlive: true, maxSockets: 1 }) : false;
    let session: ClientHttp2Session | null = null;
    let isGoingAway = false;
    for (let n = 0; !this.#isOver && this.failures.length === 0; n++) {
      const method = n % 3 === 0 ? 'POST' : 'GET';
      const path = `/${kind}/${id}/${n}`;
      const inForce = this.inForce;
      try {
        if (kind === 'http2' && (session === null || session.closed || session.destroyed)) {
          session = connectHttp2(`http://127.0.0.1:${this.#port}`);
          session.on('error', (error: Error) => this.failures.push(`a session: ${error.message}`));
          isGoingAway = false;
          session.on('goaway', () => {
            isGoingAway = true;
          });
        }
        const { status, revision, body } =
          session === null
            ? await ask(this.#port, agent, method, path)
            : await askHttp2(session, method, path);
        this.answered[kind]++;
        this.revisions.add(revision);
        const expected = `${method} ${path} ${method === 'POST' ? BODY.length : 0} ${BODY}`;
        if (status !== 200 || body !== expected) this.failures.push(`${method} ${path}: ${status}`);
        if (revision < inForce) {
          this.failures.push(`${method} ${path}: of ${revision}, ${inForce} was in force`);
        }
      } catch (error) {
        const { message } = error as Error;
        // nghttp2 refuses by itself what it has not sent when a GOAWAY comes: that goes by another session.
        if (isGoingAway && message.includes('NGHTTP2_REFUSED_STREAM')) session?.close();
        else this.failures.push(`${method} ${path}: ${message}`);
      }
    }
    if (agent !== false) agent.destroy();
    session?.close();
  }
}
