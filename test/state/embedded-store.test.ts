import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import * as fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { isWeftError } from '../../src/policy/errors.ts';
import { openEmbeddedStore } from '../../src/state/embedded-store.ts';
import type { Store } from '../../src/state/store.ts';
import { collect, storeContract } from '../contract/store.ts';

storeContract('the embedded store', async () => {
  const directory = await fs.mkdtemp(join(tmpdir(), 'weft-store-'));
  const file = join(directory, 'store');
  const subject = {
    store: await openEmbeddedStore(file),
    async reopen() {
      await subject.store.close();
      subject.store = await openEmbeddedStore(file);
      return subject.store;
    },
    async dispose() {
      await subject.store.close();
      await fs.rm(directory, { recursive: true, force: true });
    },
  };
  return subject;
});

describe('the embedded store', () => {
  let directory: string;
  let file: string;
  let store: Store | undefined;

  beforeEach(async () => {
    directory = await fs.mkdtemp(join(tmpdir(), 'weft-store-'));
    file = join(directory, 'store');
  });
  afterEach(async () => {
    await store?.close();
    store = undefined;
    await fs.rm(directory, { recursive: true, force: true });
  });

  it('loses no acknowledged write when it is killed at any point', async function () {
    this.timeout(60_000);
    const acknowledged = new Map<string, number>();
    let highest = 0;
    for (let round = 0; round < 32; round++) {
      const child = spawn(
        process.execPath,
        [
          '--disable-warning=ExperimentalWarning',
          join(import.meta.dirname, 'store-writer.ts'),
          file,
          String(highest),
        ],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      );
      let text = '';
      child.stdout.setEncoding('utf8').on('data', (data: string) => {
        text += data;
      });
      await once(child.stdout, 'data');
      await delay(Math.random() * 60);
      child.kill('SIGKILL');
      await once(child, 'close');
      // A last line without its end was not printed whole: it does not count as acknowledged.
      for (const line of text.slice(0, text.lastIndexOf('\n')).split('\n')) {
        const [lane, number] = line.split(' ');
        acknowledged.set(lane!, Number(number));
      }
      store = await openEmbeddedStore(file);
      for (const [lane, number] of acknowledged) {
        const kept: number = (await store.get<{ number: number }>(`n/${lane}`))!.value.number;
        assert.ok(kept >= number, `round ${round}: lane ${lane} has ${kept}, acknowledged was ${number}`);
        const other: number = (await store.get<number>(`m/${kept % 50}`))!.value;
        assert.ok(other >= kept, `round ${round}: a write was applied in part`);
        highest = Math.max(highest, kept);
      }
      await store.close();
      store = undefined;
    }
    assert.ok(highest > 32);
  });

  it('is readable by its owner only', async () => {
    store = await openEmbeddedStore(file);
    await store.write([{ key: 'a', value: 1 }]);
    assert.equal((await fs.stat(file)).mode & 0o777, 0o600);
  });

  for (const [what, damage] of [
    ['a flipped bit', (bytes: Buffer) => bytes.fill(bytes[60]! ^ 1, 60, 61)],
    ['a missing end', (bytes: Buffer) => bytes.subarray(0, bytes.length - 10)],
    ['no content', () => Buffer.alloc(0)],
    ['garbage', () => Buffer.from('{"a":1}\n{"sha256":"x"}\n')],
  ] as const) {
    it(`sets a file with ${what} aside, and does not begin empty in its place`, async () => {
      store = await openEmbeddedStore(file);
      await store.write([{ key: 'a', value: 'kept' }]);
      await store.close();
      const good = await fs.readFile(file);
      const bad = damage(Buffer.from(good));
      await fs.writeFile(file, bad);
      for (let start = 0; start < 2; start++) {
        await assert.rejects(
          openEmbeddedStore(file),
          (error) => isWeftError(error, 'ERR_STORE_CORRUPT') && /put a backup at/.test(error.message),
        );
      }
      const aside = (await fs.readdir(directory)).find((name) => name.startsWith('store.corrupt-'));
      assert.deepEqual(await fs.readFile(join(directory, aside!)), bad);
      await fs.writeFile(file, good);
      store = await openEmbeddedStore(file);
      assert.equal((await store.get('a'))!.value, 'kept');
    });
  }

  it('leaves a file of a later version where it is', async () => {
    store = await openEmbeddedStore(file);
    await store.write([{ key: 'a', value: 1 }]);
    await store.close();
    const { createHash } = await import('node:crypto');
    const lines = (await fs.readFile(file, 'utf8')).replace('"version":1', '"version":2').split('\n');
    const body = `${lines.slice(0, -2).join('\n')}\n`;
    await fs.writeFile(file, `${body}{"sha256":"${createHash('sha256').update(body).digest('hex')}"}\n`);
    await assert.rejects(openEmbeddedStore(file), /format version 2/);
    assert.ok(existsSync(file));
  });

  for (const failing of ['write', 'sync', 'rename', 'directory sync'] as const) {
    it(`changes nothing when the ${failing} fails, and goes on once it works again`, async () => {
      let isFailing = false;
      const fault = () => Promise.reject(Object.assign(new Error(`${failing} failed`), { code: 'EIO' }));
      const open: typeof fs.open = async (path, flags, mode) => {
        const handle = await fs.open(path, flags, mode);
        if (isFailing && failing === 'write') handle.writeFile = fault;
        if (isFailing && failing === 'sync' && flags === 'w') handle.sync = fault;
        if (isFailing && failing === 'directory sync' && flags === 'r') handle.sync = fault;
        return handle;
      };
      const rename: typeof fs.rename = (from, to) =>
        isFailing && failing === 'rename' ? fault() : fs.rename(from, to);
      store = await openEmbeddedStore(file, { files: { open, rename } });
      const revision = await store.write([{ key: 'a', value: 'old' }]);
      isFailing = true;
      await assert.rejects(
        store.write([{ key: 'a', value: 'new' }]),
        (error) => isWeftError(error, 'ERR_STORE_WRITE') && error.message.includes(`${failing} failed`),
      );
      assert.equal(store.revision, revision);
      assert.equal((await store.get('a'))!.value, 'old');
      const bytes = await fs.readFile(file, 'utf8');
      assert.ok(bytes.includes('"old"') && !bytes.includes('"new"'), 'a restart would see the refused write');
      isFailing = false;
      assert.equal(await store.write([{ key: 'b', value: 1 }]), revision + 1);
      assert.deepEqual(
        (await fs.readdir(directory)).filter((name) => name.includes('.new-')),
        [],
      );
    });
  }

  it('says ERR_STORE_WRITE on a full disk', async () => {
    // /dev/full takes writes and answers ENOSPC.
    const open: typeof fs.open = (path, flags, mode) =>
      fs.open(flags === 'w' ? '/dev/full' : path, flags, mode);
    store = await openEmbeddedStore(file, { files: { open, rename: fs.rename } });
    await assert.rejects(
      store.write([{ key: 'a', value: 1 }]),
      (error) => isWeftError(error, 'ERR_STORE_WRITE') && /ENOSPC/.test(error.message),
    );
    assert.equal(store.revision, 0);
  });

  it('refuses a second opening while the first lives, and takes over the lock of a dead process', async () => {
    store = await openEmbeddedStore(file);
    await assert.rejects(
      openEmbeddedStore(file),
      (error) => isWeftError(error, 'ERR_STORE_IN_USE') && error.message.includes(String(process.pid)),
    );
    await store.close();
    const lock = `${file}.lock`;
    assert.ok(!existsSync(lock));
    // The pid is alive, but started at another time: the number was used again.
    for (const stale of [
      JSON.stringify({ pid: process.pid, startTime: '1', boot: '', nonce: '' }),
      '',
      '{"pid":',
    ]) {
      await fs.writeFile(lock, stale);
      const opened = await Promise.allSettled([1, 2, 3].map(() => openEmbeddedStore(file)));
      const won = opened.filter((result) => result.status === 'fulfilled');
      assert.equal(won.length, 1);
      await won[0]!.value.close();
    }
    assert.deepEqual(await fs.readdir(directory), []);
    store = undefined;
  });

  it('stops writing when another process has taken its lock', async () => {
    store = await openEmbeddedStore(file);
    await store.write([{ key: 'a', value: 1 }]);
    await fs.writeFile(`${file}.lock`, '{"pid":1,"startTime":"","boot":"","nonce":""}');
    await assert.rejects(store.write([{ key: 'a', value: 2 }]), (error) =>
      isWeftError(error, 'ERR_STORE_WRITE'),
    );
  });

  it('tells a watcher that fell behind, or saw a future that is gone, to list again', async () => {
    store = await openEmbeddedStore(file, { historyLimit: 10 });
    for (let value = 0; value < 30; value++) await store.write([{ key: 'a', value }]);
    const { signal } = new AbortController();
    for (const revision of [0, 15, 31]) {
      await assert.rejects(collect(store, '', revision, signal, 1), (error) =>
        isWeftError(error, 'ERR_COMPACTED'),
      );
    }
    assert.equal((await collect(store, '', 20, signal, 10)).length, 10);
  });

  it('ends watches when it is closed', async () => {
    store = await openEmbeddedStore(file);
    const watching = collect(store, '', 0, new AbortController().signal, 1);
    await delay(5);
    await store.close();
    assert.deepEqual(await watching, []);
  });

  it('refuses values that are not JSON', async () => {
    store = await openEmbeddedStore(file);
    const cycle: { self?: unknown } = {};
    cycle.self = cycle;
    for (const value of [undefined, () => 1, 1n, cycle]) {
      await assert.rejects(store.write([{ key: 'a', value }]), /not JSON/);
    }
    assert.equal(store.revision, 0);
  });

  it('commits concurrent writes together', async () => {
    let syncs = 0;
    const open: typeof fs.open = async (path, flags, mode) => {
      if (flags === 'w') syncs++;
      return fs.open(path, flags, mode);
    };
    store = await openEmbeddedStore(file, { files: { open, rename: fs.rename } });
    await Promise.all(Array.from({ length: 500 }, (_, n) => store!.write([{ key: `k/${n}`, value: n }])));
    assert.ok(syncs <= 3, `${syncs} commits for 500 writes`);
  });
});
