/** Windows of HTTP/2 and clients that leave: slow uploads beside others, overflows, a client that reads no more. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type ClientHttp2Session, connect } from 'node:http2';
import { setTimeout as sleep } from 'node:timers/promises';
import { NodeMember } from '../node-member.ts';
import { loopKinds, ProxySite, request } from '../proxy-site.ts';
import { RecordingOrigin } from '../recording-origin.ts';
import { block, frame, GET, number, RawClient } from './raw-client.ts';

const PROTOCOL_ERROR = 1;
const FLOW_CONTROL_ERROR = 3;
const COMPRESSION_ERROR = 9;
const CALM = 11;
const MOST = 0x7fff_ffff;

const digestOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** Answers uploads with their digest; those to `/slow` are not read before `release`. */
class SlowMember extends NodeMember {
  #waiting: (() => void)[] = [];

  protected serve(received: IncomingMessage, response: ServerResponse): void {
    if (received.url === '/slow') this.#waiting.push(() => this.#read(received, response));
    else this.#read(received, response);
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  #read(received: IncomingMessage, response: ServerResponse): void {
    const hash = createHash('sha256');
    received.on('data', (piece: Buffer) => hash.update(piece));
    received.on('end', () => response.end(hash.digest('hex')));
  }

  release(): void {
    for (const read of this.#waiting.splice(0)) read();
  }
}

async function upload(client: ClientHttp2Session, path: string, pieces: Iterable<Buffer>): Promise<string> {
  const stream = client.request({ ':method': 'POST', ':path': path });
  for (const piece of pieces) stream.write(piece);
  stream.end();
  let text = '';
  for await (const piece of stream as AsyncIterable<Buffer>) text += piece.toString();
  return text;
}

for (const loop of loopKinds()) {
  describe(`HTTP/2 windows by ${loop}`, () => {
    it('lets slow uploads stop no other stream of their connection, and loses nothing of them', async function () {
      this.timeout(60_000);
      const member = new SlowMember();
      const site = await ProxySite.start([await member.listen()], { maxBodyBytes: 20_000_000 }, loop);
      // Node's client gives up with 10 MB under way.
      const client = connect(`http://127.0.0.1:${site.port}`, { maxSessionMemory: 500 });
      client.on('error', () => undefined);
      try {
        // Large pieces fill what the kernel keeps; small ones, of many lengths, are put together.
        const pieces = Array.from({ length: 3000 }, (_, n) => Buffer.alloc(1 + ((n * 37) % 290), n));
        const body = [Buffer.alloc(10_000_000, 'b'), ...pieces];
        const slow = Array.from({ length: 10 }, () => upload(client, '/slow', body));
        for (let n = 0; n < 500 && member.waiting < slow.length; n++) await sleep(20);
        assert.equal(member.waiting, slow.length);
        await sleep(1000);
        const quick = Buffer.alloc(1_000_000, 'q');
        const answer = await Promise.race([upload(client, '/quick', [quick]), sleep(8000, 'it waits')]);
        assert.equal(answer, digestOf(quick));
        member.release();
        const wanted = digestOf(Buffer.concat(body));
        assert.deepEqual(await Promise.all(slow), Array(slow.length).fill(wanted));
      } finally {
        client.destroy();
        await site.stop();
        await member.close();
      }
    });

    describe('of a client that says what it wants', () => {
      const origin = new RecordingOrigin();
      let site: ProxySite;
      let client: RawClient;
      before(async () => {
        site = await ProxySite.start(
          [await origin.listen()],
          { bodyTimeoutMs: 1000, headTimeoutMs: 1000 },
          loop,
        );
      });
      after(async () => {
        await site.stop();
        await origin.close();
      });
      beforeEach(async () => {
        origin.take();
        client = await RawClient.open(site);
      });
      afterEach(() => client.close());

      const post = frame(1, 4, 1, block([[':method', 'POST'], ...GET.slice(1)]));
      const path = (target: string): Buffer => block([...GET.slice(0, 2), [':path', target], GET[3]]);

      it('resets a stream whose window it opens too far, and no other', async () => {
        client.send(post, frame(8, 0, 1, number(MOST)), frame(1, 5, 3, block(GET)));
        const { stream, payload } = await client.take(3);
        assert.deepEqual([stream, payload.readUInt32BE(0)], [1, FLOW_CONTROL_ERROR]);
        assert.match((await client.take(0)).payload.toString(), /^GET \/ HTTP/);
      });

      it('ends a connection whose window it opens too far, by itself or by its settings', async () => {
        client.send(frame(8, 0, 0, number(MOST)));
        assert.equal((await client.take(7)).payload.readUInt32BE(4), FLOW_CONTROL_ERROR);
        const other = await RawClient.open(site);
        other.send(post, frame(8, 0, 1, number(MOST - 65_535)));
        other.send(frame(4, 0, 0, Buffer.from([0, 4, 0, 1, 0, 0])));
        assert.equal((await other.take(7)).payload.readUInt32BE(4), FLOW_CONTROL_ERROR);
        other.close();
      });

      it('resets a stream that depends on itself, and goes by what its block put into the table', async () => {
        const kept = Buffer.from([0x40, 3, ...Buffer.from('x-a'), 1, 0x62]);
        const onItself = Buffer.concat([number(1), Buffer.from([16]), block(GET), kept]);
        client.send(frame(1, 0x25, 1, onItself));
        const { stream, payload } = await client.take(3);
        assert.deepEqual([stream, payload.readUInt32BE(0)], [1, PROTOCOL_ERROR]);
        client.send(frame(1, 5, 3, Buffer.concat([block(GET), Buffer.from([0xbe])])));
        assert.match((await client.take(0)).payload.toString(), /^GET \/ HTTP/);
        const received = origin.take();
        assert.equal(received.length, 1);
        assert.ok(received[0]!.fields.some(([name, value]) => name === 'x-a' && value === 'b'));
      });

      it('ends a connection whose block is cut off', async () => {
        client.send(frame(1, 5, 1, Buffer.concat([block(GET), Buffer.from([0x40, 5, 0x61])])));
        assert.equal((await client.take(7)).payload.readUInt32BE(4), COMPRESSION_ERROR);
        assert.equal(origin.take().length, 0);
      });

      it('ends a connection whose block never ends', async () => {
        client.send(frame(1, 1, 1, block(GET)));
        assert.equal((await client.take(7)).payload.readUInt32BE(4), CALM);
        assert.equal(origin.take().length, 0);
      });

      it('answers a bounded number of PINGs to one that floods and reads nothing', async () => {
        await client.take(4);
        client.pause();
        for (let n = 0; n < 10; n++) {
          client.send(...Array.from({ length: 500 }, () => frame(6, 0, 0, Buffer.alloc(8))));
          await sleep(20);
        }
        client.resume();
        assert.equal((await client.take(7)).payload.readUInt32BE(4), CALM);
        const pongs = client.frames.filter(({ type }) => type === 6).length;
        assert.ok(pongs > 0 && pongs < 1500, `${pongs} PINGs were answered`);
      });

      it('gives up one that reads nothing, and frees its members', async function () {
        this.timeout(30_000);
        const huge = Buffer.concat([frame(4, 0, 0, Buffer.from([0, 4, 0x7f, 0xff, 0xff, 0xff]))]);
        client.send(huge, frame(8, 0, 0, number(MOST - 65_535)));
        await client.take(4);
        client.pause();
        client.send(...Array.from({ length: 60 }, (_, n) => frame(1, 5, 2 * n + 1, path('/large'))));
        for (let n = 0; n < 250 && origin.received.length < 10; n++) await sleep(20);
        const beside = await site.talk(request('GET /x'));
        assert.match(beside, /^HTTP\/1\.1 200 /);
        // The time of a body, and then what is kept open goes.
        await sleep(4000);
        client.resume();
        for (let n = 0; n < 250 && !client.isClosed; n++) await sleep(20);
        assert.equal(client.isClosed, true);
        const whole = client.frames.filter(({ type, flags }) => type === 0 && (flags & 1) !== 0).length;
        assert.ok(whole < 60, 'all of it was read');
        origin.dropAll();
      });

      it('cancels the requests of one that closes its half, or all, of the connection', async () => {
        for (const leave of [() => client.half(), () => client.close()]) {
          client = await RawClient.open(site);
          client.send(frame(1, 5, 1, path('/silent')));
          for (let n = 0; n < 250 && origin.received.length === 0; n++) await sleep(20);
          assert.equal(origin.take().length, 1);
          assert.ok(origin.open > 0);
          leave();
          for (let n = 0; n < 250 && (origin.open > 0 || !client.isClosed); n++) await sleep(20);
          assert.deepEqual([origin.open, client.isClosed], [0, true]);
        }
      });
    });
  });
}
