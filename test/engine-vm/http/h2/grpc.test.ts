/** gRPC through the proxy: client and server of @grpc/grpc-js, every kind of call, errors, deadlines, cancellation. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import * as grpc from '@grpc/grpc-js';
import { loopKinds, ProxySite } from '../proxy-site.ts';

const text = {
  serialize: (value: string): Buffer => Buffer.from(value),
  deserialize: (bytes: Buffer): string => bytes.toString(),
};

const method = (name: string, requestStream: boolean, responseStream: boolean) => ({
  path: `/weft.Test/${name}`,
  requestStream,
  responseStream,
  requestSerialize: text.serialize,
  requestDeserialize: text.deserialize,
  responseSerialize: text.serialize,
  responseDeserialize: text.deserialize,
});

const TEST = {
  unary: method('Unary', false, false),
  collect: method('Collect', true, false),
  list: method('List', false, true),
  chat: method('Chat', true, true),
} satisfies grpc.ServiceDefinition;

/** What the server does: the word of the request says it. */
class GrpcMember {
  readonly server = new grpc.Server();
  cancelled = 0;
  port = 0;

  async start(): Promise<void> {
    this.server.addService(TEST, {
      unary: (call: grpc.ServerUnaryCall<string, string>, answer: grpc.sendUnaryData<string>) => {
        call.on('cancelled', () => this.cancelled++);
        const wanted = call.metadata.get('x-wanted')[0] ?? 'none';
        const trailers = new grpc.Metadata();
        trailers.set('x-trailer', 'behind');
        trailers.set('x-data-bin', Buffer.from([0, 255, 7]));
        if (call.request === 'hang') return;
        if (call.request === 'fail') {
          answer({ code: grpc.status.FAILED_PRECONDITION, details: 'not so', metadata: trailers });
          return;
        }
        const head = new grpc.Metadata();
        head.set('x-head', 'before');
        call.sendMetadata(head);
        answer(null, `${call.request.length}:${String(wanted)}`, trailers);
      },
      collect: (call: grpc.ServerReadableStream<string, string>, answer: grpc.sendUnaryData<string>) => {
        const words: string[] = [];
        call.on('data', (word: string) => words.push(word));
        call.on('end', () => answer(null, words.join('+')));
      },
      list: (call: grpc.ServerWritableStream<string, string>) => {
        call.on('cancelled', () => this.cancelled++);
        if (call.request === 'for ever') {
          const timer = setInterval(() => call.write('again'), 5);
          call.on('cancelled', () => clearInterval(timer));
          return;
        }
        for (let n = 0; n < Number(call.request); n++) call.write(`item ${n} ${'x'.repeat(1000)}`);
        call.end();
      },
      chat: (call: grpc.ServerDuplexStream<string, string>) => {
        call.on('data', (word: string) => {
          if (word === 'fail') call.emit('error', { code: grpc.status.ABORTED, details: 'enough' });
          else call.write(word.toUpperCase());
        });
        call.on('end', () => call.end());
      },
    });
    const bind = this.server.bindAsync.bind(this.server);
    this.port = await new Promise((resolve, reject) => {
      bind('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, port) =>
        error === null ? resolve(port) : reject(error),
      );
    });
  }
}

type Callback = (error: grpc.ServiceError | null, answer?: string) => void;
interface TestClient extends grpc.Client {
  unary(
    word: string,
    metadata: grpc.Metadata,
    options: grpc.CallOptions,
    answer: Callback,
  ): grpc.ClientUnaryCall;
  collect(answer: Callback): grpc.ClientWritableStream<string>;
  list(count: string): grpc.ClientReadableStream<string>;
  chat(): grpc.ClientDuplexStream<string, string>;
}
const Client = grpc.makeClientConstructor(TEST, 'Test') as unknown as new (
  address: string,
  credentials: grpc.ChannelCredentials,
) => TestClient;

interface Result {
  answer?: string;
  head?: grpc.Metadata;
  status: grpc.StatusObject;
}

for (const loop of loopKinds()) {
  describe(`gRPC by ${loop}`, () => {
    let member: GrpcMember;
    let site: ProxySite;
    let client: TestClient;

    before(async () => {
      member = new GrpcMember();
      await member.start();
      site = await ProxySite.start([member.port], { memberProtocol: 'http/2' }, loop);
      client = new Client(`127.0.0.1:${site.port}`, grpc.credentials.createInsecure());
    });
    after(async () => {
      client.close();
      await site.stop();
      member.server.forceShutdown();
    });

    async function unary(word: string, options: grpc.CallOptions = {}, wanted = 'this'): Promise<Result> {
      const metadata = new grpc.Metadata();
      metadata.set('x-wanted', wanted);
      let answer: string | undefined;
      const call = client.unary(word, metadata, options, (_, value) => {
        answer = value;
      });
      let head: grpc.Metadata | undefined;
      call.on('metadata', (value: grpc.Metadata) => {
        head = value;
      });
      const [status] = (await once(call, 'status')) as [grpc.StatusObject];
      await new Promise(setImmediate);
      return { status, ...(answer === undefined ? {} : { answer }), ...(head === undefined ? {} : { head }) };
    }

    it('carries unary calls with metadata before and behind', async () => {
      const { answer, head, status } = await unary('hello');
      assert.equal(answer, '5:this');
      assert.equal(status.code, grpc.status.OK);
      assert.deepEqual(head?.get('x-head'), ['before']);
      assert.deepEqual(status.metadata.get('x-trailer'), ['behind']);
      assert.deepEqual(status.metadata.get('x-data-bin'), [Buffer.from([0, 255, 7])]);
    });

    it('carries a thousand calls at a time, and large ones', async () => {
      const answers = await Promise.all(Array.from({ length: 1000 }, (_, n) => unary('x', {}, `n${n}`)));
      for (const [n, { answer }] of answers.entries()) assert.equal(answer, `1:n${n}`);
      assert.equal((await unary('y'.repeat(2_000_000))).answer, '2000000:this');
    });

    it('carries the error of a server with its details and metadata', async () => {
      const { status } = await unary('fail');
      assert.equal(status.code, grpc.status.FAILED_PRECONDITION);
      assert.equal(status.details, 'not so');
      assert.deepEqual(status.metadata.get('x-trailer'), ['behind']);
    });

    it('carries a stream of a client', async () => {
      const answer = await new Promise<string | undefined>((resolve, reject) => {
        const call = client.collect((error, value) => (error === null ? resolve(value) : reject(error)));
        for (let n = 0; n < 100; n++) call.write(`w${n}`);
        call.end();
      });
      assert.equal(answer, Array.from({ length: 100 }, (_, n) => `w${n}`).join('+'));
    });

    it('carries a stream of a server', async () => {
      const items: string[] = [];
      for await (const item of client.list('3000')) items.push(item as string);
      assert.equal(items.length, 3000);
      assert.match(items[2999]!, /^item 2999 x{1000}$/);
    });

    it('carries streams both ways, word by word, until the client ends its side', async () => {
      const call = client.chat();
      for (const word of ['a', 'b', 'c']) {
        call.write(word);
        assert.deepEqual(await once(call, 'data'), [word.toUpperCase()]);
      }
      call.end();
      const [status] = (await once(call, 'status')) as [grpc.StatusObject];
      assert.equal(status.code, grpc.status.OK);
    });

    it('carries an error in the midst of a stream', async () => {
      const call = client.chat();
      call.on('error', () => undefined);
      call.write('a');
      await once(call, 'data');
      // `once` would take the error for its own.
      const ended = new Promise<grpc.StatusObject>((resolve) => void call.on('status', resolve));
      call.write('fail');
      const status = await ended;
      assert.deepEqual([status.code, status.details], [grpc.status.ABORTED, 'enough']);
    });

    it('ends a call at its deadline, and tells the server', async () => {
      const before = member.cancelled;
      const { status } = await unary('hang', { deadline: Date.now() + 200 });
      assert.equal(status.code, grpc.status.DEADLINE_EXCEEDED);
      for (let n = 0; n < 100 && member.cancelled === before; n++) {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      assert.equal(member.cancelled, before + 1);
    });

    it('tells the server that a client has cancelled a stream', async () => {
      const before = member.cancelled;
      const call = client.list('for ever');
      call.on('error', () => undefined);
      await once(call, 'data');
      call.cancel();
      for (let n = 0; n < 100 && member.cancelled === before; n++) {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      assert.equal(member.cancelled, before + 1);
      assert.equal((await unary('still')).answer, '5:this');
    });

    it('is unavailable to a client whose server cannot be had', async () => {
      const gone = await ProxySite.start([1], { memberProtocol: 'http/2' }, loop);
      const own = new Client(`127.0.0.1:${gone.port}`, grpc.credentials.createInsecure());
      const call = own.unary('x', new grpc.Metadata(), {}, () => undefined);
      const [status] = (await once(call, 'status')) as [grpc.StatusObject];
      assert.equal(status.code, grpc.status.UNAVAILABLE);
      own.close();
      await gone.stop();
    });
  });
}
