import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from '../../src/cli/program.ts';
import {
  enhancedPacket,
  interfaceDescription,
  interfaceStatistics,
  sectionHeader,
} from '../../src/packet/pcapng.ts';
import { type ApiFixture, openApi, TOKEN } from '../api/fixture.ts';
import { readPcapng } from '../packet/pcapng-reader.ts';
import { capturedTerminal } from './captured-terminal.ts';

const frame = (n: number) =>
  enhancedPacket({
    port: 0,
    micros: n,
    bytes: new Uint8Array(n),
    length: n,
    isSent: false,
    comment: `A out: frame ${n}`,
  });
const HEAD = Buffer.concat([sectionHeader('Weft', ''), interfaceDescription('A out', '', 1600)]);
const END = interfaceStatistics(0, 9, 5, 2, 'A out: the 1 s are over; 2 frames are missing here');

describe('weft capture', () => {
  let fixture: ApiFixture;
  let folder: string;
  let env: Record<string, string>;
  beforeEach(async () => {
    fixture = await openApi();
    await fixture.applySample();
    await fixture.api.listen({ host: '127.0.0.1', port: 0 });
    const { port } = fixture.api.server.address() as AddressInfo;
    env = { WEFT_URL: `http://127.0.0.1:${port}`, WEFT_TOKEN: TOKEN };
    folder = await mkdtemp(join(tmpdir(), 'weft-capture-'));
  });
  afterEach(async () => {
    await fixture.close();
    await rm(folder, { recursive: true });
  });

  async function weft(...args: string[]) {
    const terminal = capturedTerminal({ env });
    const code = await run(['capture', ...args], terminal);
    return { code, out: terminal.printed(), bytes: terminal.printedBytes(), err: terminal.complained() };
  }

  /** Cuts a file into chunks that respect no block. */
  function inPieces(file: Buffer, size: number): Buffer[] {
    const pieces: Buffer[] = [];
    for (let at = 0; at < file.length; at += size) pieces.push(file.subarray(at, at + size));
    return pieces;
  }

  it('writes what comes to a file for its owner alone, and says what is missing', async () => {
    const whole = Buffer.concat([HEAD, frame(60), frame(61), frame(62), END]);
    fixture.backend.chunks = inPieces(whole, 7);
    const file = join(folder, 'web.pcapng');
    // The backend's last word is no block: the file ends before it.
    const { code, out, err } = await weft('web', '--seconds', '1', '--client', '10.0.0.0/8', '-w', file);
    assert.match(
      out,
      /^3 frames, \d+ bytes in .*web\.pcapng; it broke off\n {2}A out: the 1 s are over; 2 frames/,
    );
    assert.match(err, /ends at its last whole frame/);
    assert.notEqual(code, 0);
    assert.deepEqual(await readFile(file), whole);
    assert.equal((await stat(file)).mode & 0o777, 0o600);
    assert.equal(readPcapng(whole).statistics[0]!.dropped, 2);
    const [request] = fixture.backend.captured;
    assert.deepEqual([request!.seconds, request!.client], [1, '10.0.0.0/8']);
  });

  it('is ended in good order by Ctrl-C, and prints bytes alone where they are piped on', async () => {
    const whole = Buffer.concat([HEAD, frame(60), END]);
    fixture.backend.chunks = [Buffer.concat([HEAD, frame(60)])];
    fixture.backend.lastChunk = END;
    const others = new Set(process.listeners('SIGINT'));
    const own = () => process.listeners('SIGINT').filter((listener) => !others.has(listener));
    const writing = weft('web', '-w', '-');
    while (own().length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
    await new Promise((resolve) => setTimeout(resolve, 100));
    // Not a signal to the process: whoever runs the tests would hear it too.
    for (const listener of own()) listener('SIGINT');
    const { code, bytes, err } = await writing;
    assert.deepEqual(bytes, whole);
    assert.match(err, /^1 frames, \d+ bytes; 2 are missing$/m);
    assert.equal(code, 0);
    assert.deepEqual(fixture.backend.captureEnds, ['ended']);
    assert.equal(own().length, 0);
  });

  it('writes nothing where it may not, or where what comes is no such file', async () => {
    fixture.backend.chunks = [Buffer.from('<html>no capture, but a page that is long enough</html>')];
    assert.match(
      (await weft('web', '--seconds', '1', '-w', join(folder, 'a'))).err,
      /no file of captured packets/,
    );
    assert.equal((await readFile(join(folder, 'a'))).length, 0);
    assert.match((await weft('web', '-w', join(folder, 'none', 'a'))).err, /cannot be written/);
    for (const bad of [['--seconds', '0'], ['--snap', '10'], ['--packets', 'many'], []]) {
      assert.equal((await weft(...(bad.length === 0 ? [] : ['web', ...bad]))).code, 2, bad.join(' '));
    }
    const terminal = capturedTerminal({ env, isTTY: true });
    assert.equal(await run(['capture', 'web', '-w', '-'], terminal), 2);
    assert.match(terminal.complained(), /not for a terminal/);
  });
});
