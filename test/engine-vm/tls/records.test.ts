/** Records of clients in memory: changed at random, ended, and tickets of the half day before. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadTls } from '../../../src/engine-vm/tls/settings.ts';
import { seededRandom } from '../../random.ts';
import { assertAuthorised, MemoryProxy } from '../http/memory-proxy.ts';
import { makeCertificate } from './certificates.ts';
import { MemoryClient, MemoryClients } from './memory-client.ts';

const REQUEST = 'GET /x HTTP/1.1\r\nHost: first.test\r\n\r\n';
const RESPONSE = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello';
const CONNECTIONS = 1500;
const HALF_DAY_MS = 43_200_000;

describe('TLS records of clients', () => {
  let directory: string;
  let clients: MemoryClients;
  let site: MemoryProxy;

  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'weft-tls-'));
    const files = makeCertificate(directory, 'first', ['first.test']);
    clients = new MemoryClients(files.certificateFile);
    const policy = { certificates: [files], minVersion: '1.2' as const };
    const tls = { ...loadTls(policy, true), ticketSecret: new Uint8Array(32).fill(7) };
    site = new MemoryProxy({ tls: policy }, tls);
  });
  after(() => rmSync(directory, { recursive: true }));

  /** What the proxy has sent since the last time. */
  const takeSent = (fd: number): string => {
    site.proxy.turn(0);
    const text = site.memory.sent.get(fd)!;
    site.memory.sent.set(fd, '');
    return text;
  };
  const secure = (client: MemoryClient, fd: number): void => {
    let records = client.step('');
    for (let n = 0; n < 4 && records !== ''; n++) {
      site.memory.arrive(fd, records);
      records = client.step(takeSent(fd));
    }
    assert.equal(client.isSecured, true);
  };
  /** Answers what members have been asked; returns what they read. */
  const answer = (): string[] => {
    const read: string[] = [];
    site.proxy.turn(0);
    for (const fd of site.memory.members) {
      for (let one = site.readNext(fd); one !== null; one = site.readNext(fd)) {
        read.push(one);
        site.memory.arrive(fd, RESPONSE);
        site.proxy.turn(0);
      }
    }
    return read;
  };
  const close = (client: MemoryClient, fd: number): void => {
    client.close();
    site.memory.arrive(fd, null);
    site.proxy.turn(0);
    site.memory.sent.delete(fd);
  };

  it('changed ones end their connection, and nothing is left behind', function () {
    this.timeout(200_000);
    const seed = (Math.random() * 2 ** 32) >>> 0;
    console.log(`      seed ${seed}`);
    const next = seededRandom(seed);
    const below = (count: number): number => Math.floor(next() * count);
    const change = (text: string): string => {
      const bytes = Buffer.from(text, 'latin1');
      for (let n = 1 + below(3); n > 0; n--) bytes[below(bytes.length)]! ^= 1 << below(8);
      const cut = below(4) === 0 ? below(bytes.length) : bytes.length;
      return bytes.toString('latin1', 0, cut);
    };
    let [whole, broken, rss] = [0, 0, 0];
    let ticket = 0n;
    for (let n = 0; n < CONNECTIONS; n++) {
      const fd = site.memory.connectClient(3);
      const client = new MemoryClient(clients, n % 8 === 0 ? 0n : ticket);
      // A handshake and four requests are six steps, so some are left as they are.
      const at = below(8);
      let [step, sent, records] = [0, 0, client.step('')];
      const read: string[] = [];
      while (site.memory.isOpen(fd) && step < 12) {
        if (records !== '') site.memory.arrive(fd, step++ === at ? change(records) : records);
        read.push(...answer());
        records = client.step(takeSent(fd));
        if (records !== '') continue;
        if (!client.isSecured || sent === 4) break;
        records = client.write(REQUEST);
        sent++;
      }
      assertAuthorised(read, site.takeLog().logged, `seed ${seed}, connection ${n}`);
      if (read.length === 4) whole++;
      else broken++;
      if (ticket === 0n && client.isSecured) ticket = client.ticket();
      close(client, fd);
      if (n === CONNECTIONS / 2) rss = process.memoryUsage.rss();
    }
    for (const fd of [...site.memory.members]) site.memory.arrive(fd, null);
    site.proxy.turn(0);
    assert.equal(site.memory.buffers.free, site.freeBefore);
    assert.equal(site.proxy.figures.open, 0);
    assert.ok(broken > CONNECTIONS / 3 && whole > 0, `${whole} whole, ${broken} broken`);
    // A session that is left behind costs 28 KB.
    const grown = process.memoryUsage.rss() - rss;
    assert.ok(grown < (CONNECTIONS / 2) * 10_000, `${grown} bytes more`);
  });

  it('close_notify: is sent behind the last response, and taken for an end', () => {
    const fd = site.memory.connectClient(3);
    const client = new MemoryClient(clients);
    secure(client, fd);
    site.memory.arrive(fd, client.write(REQUEST.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n')));
    answer();
    client.step(takeSent(fd));
    assert.match(client.text, /^HTTP\/1.1 200 OK[\s\S]*hello$/);
    assert.equal(client.hasEnded, true);
    close(client, fd);

    const other = site.memory.connectClient(3);
    const leaving = new MemoryClient(clients);
    secure(leaving, other);
    site.memory.arrive(other, leaving.end());
    site.proxy.turn(0);
    assert.equal(site.memory.isOpen(other), false);
    leaving.close();
  });

  it('close_notify: is sent when an idle connection is ended', async () => {
    const before = site;
    const { settings } = site.proxy.service;
    site = new MemoryProxy({ tls: settings.http.tls, idleTimeoutMs: 50 }, settings.tls);
    const fd = site.memory.connectClient(3);
    const client = new MemoryClient(clients);
    secure(client, fd);
    site.memory.arrive(fd, client.write(REQUEST));
    answer();
    client.step(takeSent(fd));
    assert.equal(client.hasEnded, false);
    await new Promise((resolve) => setTimeout(resolve, 250));
    // Deadlines are looked at behind a turn; what is sent then goes out with the next.
    site.proxy.turn(0);
    client.step(takeSent(fd));
    assert.equal(client.hasEnded, true);
    assert.equal(site.memory.isOpen(fd), false);
    client.close();
    site = before;
  });

  it('tickets of the half day before are taken and replaced, older ones are not', () => {
    const now = Date.now;
    const begin = now();
    const connect = (ticket: bigint): bigint => {
      const fd = site.memory.connectClient(3);
      const client = new MemoryClient(clients, ticket);
      secure(client, fd);
      site.memory.arrive(fd, client.write(REQUEST));
      answer();
      client.step(takeSent(fd));
      const own = client.ticket();
      close(client, fd);
      return own;
    };
    try {
      const first = connect(0n);
      assert.notEqual(first, 0n);
      // A session that was resumed hands out no ticket here.
      assert.equal(connect(first), 0n);
      Date.now = () => begin + HALF_DAY_MS;
      assert.equal(connect(first), 0n);
      Date.now = () => begin + 2 * HALF_DAY_MS;
      const second = connect(first);
      assert.notEqual(second, 0n);
      for (const ticket of [first, second]) clients.context.freeTicket(ticket);
    } finally {
      Date.now = now;
    }
  });
});
