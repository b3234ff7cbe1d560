import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { PacketMemory } from '../../../src/engine-vm/kernel/packet-memory.ts';
import { Umem, XskSocket, xskMemory } from '../../../src/engine-vm/kernel/xsk.ts';
import { requireRoot } from '../../root.ts';
import { requireAfXdp } from './af-xdp.ts';
import { line, Namespaces } from './namespaces.ts';

const program = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const HEAD = 'ffffffffffff02000000000188b5';
const SEND = `
  const socket = require('node:dgram').createSocket('udp4');
  socket.send('hello', 5000, '10.99.0.2', () => socket.close());
`;

describe('AF_XDP', () => {
  const spaces = new Namespaces();
  let client: string;
  let engine: string;
  let taker: ChildProcess;

  before(function () {
    requireRoot(this, 'tests of AF_XDP');
    requireAfXdp(this);
    client = spaces.add('client');
    engine = spaces.add('engine');
    // Nothing but the test's own frames shall pass here.
    for (const space of [client, engine]) {
      for (const scope of ['all', 'default']) spaces.sysctl(space, `net/ipv6/conf/${scope}/disable_ipv6`, 1);
    }
    spaces.link(client, 'eth0', engine, 'out');
    spaces.ip(client, 'link set eth0 mtu 3000');
    spaces.ip(engine, 'link set out mtu 3000');
    spaces.ip(client, 'addr add 10.99.0.1/24 dev eth0');
    spaces.ip(client, 'neigh add 10.99.0.2 lladdr 02:00:00:00:00:02 dev eth0');
  });
  after(() => spaces.close());
  beforeEach(async () => {
    taker = spaces.start(engine, program('xsk-program.ts'), ['out']);
    await line(taker);
  });
  afterEach(() => end(taker));

  async function end(child: ChildProcess): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
  }

  /** Sends a frame; resolves with how it came up, once it has come back as well. */
  async function sendRound(frame: string): Promise<string> {
    const came = line(taker, (text) => text.endsWith(frame));
    const sender = spaces.start(client, program('frame-program.ts'), ['eth0', '20000', frame]);
    const back = line(sender, (text) => text === frame);
    const text = await came;
    await back;
    await end(sender);
    return text.split(' ')[0]!;
  }

  it('brings frames up and takes them back', async () => {
    assert.equal(await sendRound(`${HEAD}${'5a'.repeat(60)}`), 'xsk');
    assert.equal(await sendRound(`${HEAD}${'5b'.repeat(1500)}`), 'xsk');
  });

  it('leaves a frame that fits no chunk to the packet ring', async () => {
    assert.equal(await sendRound(`${HEAD}${'5c'.repeat(1900)}`), 'ring');
  });

  it('says of a checksum that the sender left to its card that it is still to be finished', async () => {
    const came = line(taker, (text) => text.endsWith(Buffer.from('hello').toString('hex')));
    spaces.run(client, process.execPath, ['-e', SEND]);
    assert.equal((await came).split(' ').slice(0, 2).join(' '), 'xsk 1');
  });

  it('leaves the frames to the packet ring once its socket is closed', async () => {
    const closed = line(taker, (text) => text === 'closed');
    taker.stdin!.write('\n');
    await closed;
    assert.equal(await sendRound(`${HEAD}${'5d'.repeat(60)}`), 'ring');
  });

  it('leaves nothing behind where its process is killed, and the next one has it again', async () => {
    await end(taker);
    assert.doesNotMatch(spaces.ip(engine, 'link show out'), /xdp/);
    taker = spaces.start(engine, program('xsk-program.ts'), ['out']);
    await line(taker);
    assert.match(spaces.ip(engine, 'link show out'), /xdp/);
    assert.equal(await sendRound(`${HEAD}${'5e'.repeat(60)}`), 'xsk');
  });

  it('says which interface it cannot have, and keeps no chunks of what failed', () => {
    const memory = new PacketMemory(xskMemory(1));
    const umem = new Umem(memory, 1);
    for (let time = 0; time < 3; time++) {
      assert.throws(() => new XskSocket('weft-absent', 0, umem), {
        code: 'ERR_KERNEL',
        message: /AF_XDP socket of weft-absent, queue 0: ENODEV/,
      });
    }
    memory.close();
  });
});
