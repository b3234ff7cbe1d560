import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { FromDataplane } from '../../../src/engine-vm/messages.ts';
import { requireRoot } from '../../root.ts';
import { line, Namespaces } from '../kernel/namespaces.ts';

const program = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const frameProgram = program('../kernel/frame-program.ts');

type Said =
  | FromDataplane
  | { type: 'answer'; result?: unknown; error?: string }
  | { type: string; message?: string };

describe('data-plane thread', () => {
  let spaces: Namespaces;
  let client: string;
  let engine: string;
  let server: string;
  let thread: ChildProcess;

  beforeEach(async function () {
    requireRoot(this, 'tests of the data-plane thread');
    spaces = new Namespaces();
    client = spaces.add('client');
    engine = spaces.add('engine');
    server = spaces.add('server');
    spaces.link(client, 'eth0', engine, 'out');
    spaces.link(server, 'eth0', engine, 'in');
    thread = spaces.start(engine, program('thread-program.ts'), []);
    await said('ready');
  });
  afterEach(() => spaces?.close());

  /** The next message of a type, of those that `accept` takes. */
  async function said<Type extends Said['type']>(
    type: Type,
    accept: (message: Extract<Said, { type: Type }>) => boolean = () => true,
  ): Promise<Extract<Said, { type: Type }>> {
    const isIt = (text: string): boolean => {
      const message = JSON.parse(text) as Extract<Said, { type: Type }>;
      return message.type === type && accept(message);
    };
    return JSON.parse(await line(thread, isIt)) as Extract<Said, { type: Type }>;
  }

  function tell(command: unknown): void {
    thread.stdin!.write(`${JSON.stringify(command)}\n`);
  }

  const frame = (etherType: string): string => `ffffffffffff020000000001${etherType}${'5a'.repeat(60)}`;

  async function passes(etherType: string, before: string[] = []): Promise<void> {
    const receiver = spaces.start(server, frameProgram, ['eth0', '5000']);
    await line(receiver);
    const got = line(receiver, (hex) => hex.includes(`01${etherType}5a`));
    spaces.start(client, frameProgram, ['eth0', '0', ...before.map(frame), frame(etherType)]);
    await got;
    receiver.kill('SIGKILL');
  }

  it('answers questions, and hands on the error of one it cannot answer', async () => {
    tell({ ask: 'explain', params: { service: 'web' } });
    assert.deepEqual(await said('answer'), { type: 'answer', result: { explained: { service: 'web' } } });
    tell({ ask: 'trace', params: {} });
    assert.deepEqual(await said('answer'), { type: 'answer', error: 'there is no service of that name' });
  });

  it('says whether a graph was taken', async () => {
    const graph = { engine: { groupKey: Buffer.alloc(32).toString('base64') }, peers: [], services: [] };
    tell({ post: { type: 'graph', graph: { ...graph, revision: 12 } } });
    assert.deepEqual(await said('graph-applied'), { type: 'graph-applied', revision: 12, error: null });
    tell({ post: { type: 'graph', graph: { ...graph, revision: 13 } } });
    const refused = await said('graph-applied');
    assert.deepEqual(refused, { type: 'graph-applied', revision: 13, error: 'thirteen is refused' });
  });

  it('drops a frame on which the data plane throws, counts it, and goes on with the next', async () => {
    const fault = said('fault');
    await passes('88b5', ['dead', 'dead']);
    assert.match((await fault).message, /a dead frame/);
    const counters = await said('counters', ({ drops }) => drops.fault === 2);
    assert.ok(counters.ports.in.sentPackets >= 1);
  });

  it('is replaced when it hangs, and frames pass again', async () => {
    tell({ ask: 'flows' });
    const failure = (await said('failure')) as { message: string };
    assert.match(failure.message, /hangs/);
    await said('ready');
    await passes('88b5');
  });

  it('says that a port is gone, and takes it up again when it is back', async () => {
    spaces.ip(engine, 'link del in');
    assert.match((await said('unready')).message, /interface in: ENODEV/);
    spaces.link(server, 'eth0', engine, 'in');
    await said('ready');
    await passes('88b5');
  });

  it('ends when it is told to', async () => {
    const ended = new Promise((resolve) => thread.once('exit', resolve));
    tell({ stop: true });
    await said('stopped');
    assert.equal(await ended, 0);
  });
});
