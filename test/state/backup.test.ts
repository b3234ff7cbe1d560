import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from '../../src/cli/program.ts';
import { openEmbeddedStore } from '../../src/state/embedded-store.ts';
import { openApi, TOKEN } from '../api/fixture.ts';
import { capturedTerminal } from '../cli/captured-terminal.ts';

async function weft(args: string[], env: Record<string, string> = {}) {
  const terminal = capturedTerminal({ env });
  const code = await run(args, terminal);
  return { code, out: terminal.printed(), err: terminal.complained() };
}

describe('a backup of the store', () => {
  let directory: string;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'weft-backup-'));
  });
  after(() => rm(directory, { recursive: true }));

  it('is taken over REST, and restored into an empty store entry by entry', async () => {
    const fixture = await openApi();
    const file = join(directory, 'backup.json');
    try {
      await fixture.applySample();
      await fixture.store.write([{ key: 'pki/ca', value: { key: 'secret' } }]);
      const url = await fixture.api.listen({ host: '127.0.0.1', port: 0 });
      const taken = await weft(['backup', file], { WEFT_URL: url, WEFT_TOKEN: TOKEN });
      assert.deepEqual([taken.code, taken.err], [0, '']);
      assert.equal((await stat(file)).mode & 0o777, 0o600);

      const state = join(directory, 'controller');
      const restored = await weft(['restore', file, '--state', state]);
      assert.deepEqual([restored.code, restored.err], [0, '']);
      const store = await openEmbeddedStore(join(state, 'store.json'));
      const plainEntries = (entries: { key: string; value: unknown }[]) =>
        entries.map(({ key, value }) => ({ key, value }));
      assert.deepEqual(plainEntries(await store.list('')), plainEntries(await fixture.store.list('')));
      // While a controller has the store, nothing is restored into it.
      const busy = await weft(['restore', file, '--state', state, '--replace']);
      assert.match(busy.err, /ERR_STORE_IN_USE/);
      await store.write([{ key: 'policy/pool/later', value: {} }]);
      await store.close();

      const again = await weft(['restore', file, '--state', state]);
      assert.match(again.err, /--replace.*ERR_REVISION_CONFLICT/s);
      assert.equal((await weft(['restore', file, '--state', state, '--replace'])).code, 0);
      const after = await openEmbeddedStore(join(state, 'store.json'));
      assert.equal(await after.get('policy/pool/later'), undefined);
      await after.close();
      assert.match(await readFile(join(state, 'store.json.replaced'), 'utf8'), /policy\/pool\/later/);
    } finally {
      await fixture.close();
    }
  });

  it('is refused where it is cut off, foreign, or not there, and the store stays as it was', async () => {
    const state = join(directory, 'other');
    for (const [name, text] of [
      ['cut', '{"format":"weft-backup","version":1,"entr'],
      ['foreign', '{"entries":[]}'],
      ['newer', '{"format":"weft-backup","version":2,"takenAt":"","revision":1,"entries":[]}'],
    ] as const) {
      await writeFile(join(directory, name), text);
      const { code, err } = await weft(['restore', join(directory, name), '--state', state]);
      assert.deepEqual([code, /ERR_BODY_INVALID/.test(err)], [2, true], err);
    }
    assert.match((await weft(['restore', join(directory, 'none'), '--state', state])).err, /ERR_NOT_FOUND/);
    const store = await openEmbeddedStore(join(state, 'store.json'));
    assert.equal(store.revision, 0);
    await store.close();
  });
});
