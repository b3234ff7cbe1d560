import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { keepGraph, keptGraph, makeStateDirectory, nextEpoch } from '../../../src/engine-vm/state-file.ts';
import type { ServiceGraph } from '../../../src/policy/graph.ts';

const graph = (revision: number): ServiceGraph => ({
  revision,
  engine: {
    id: 'e1',
    host: 'h1',
    mac: '02:00:00:00:00:01',
    failMode: 'open',
    dataAddresses: [],
    probeIntervalMs: 100,
    deadAfterMs: 300,
    maxFlows: 1000,
    groupKey: '',
  },
  peers: [],
  members: [],
  pools: [],
  services: [],
});

describe('state files of an engine', () => {
  let directory: string;
  beforeEach(async () => {
    directory = join(await mkdtemp(join(tmpdir(), 'weft-state-')), 'state');
    await makeStateDirectory(directory);
  });
  afterEach(() => rm(join(directory, '..'), { recursive: true }));

  it('keeps the last graph, readable by its owner only', async () => {
    assert.equal(await keptGraph(directory, 'e1'), null);
    await keepGraph(directory, graph(1));
    await keepGraph(directory, graph(2));
    assert.deepEqual(await keptGraph(directory, 'e1'), graph(2));
    assert.equal((await stat(join(directory, 'graph.json'))).mode & 0o777, 0o600);
    assert.deepEqual(await readdir(directory), ['graph.json']);
  });

  it('does not take the graph of another engine', async () => {
    await keepGraph(directory, graph(1));
    assert.equal(await keptGraph(directory, 'e2'), null);
  });

  it('sets a damaged graph aside and begins without', async () => {
    await writeFile(join(directory, 'graph.json'), '{"revision": 1, "engi');
    assert.equal(await keptGraph(directory, 'e1'), null);
    assert.deepEqual(await readdir(directory), ['graph.json.corrupt']);
  });

  it('says which file cannot be written', async () => {
    await assert.rejects(keepGraph(join(directory, 'absent'), graph(1)), {
      code: 'ERR_STORE_WRITE',
      message: /absent\/graph\.json cannot be written/,
    });
  });

  it('counts boots upwards, also when the clock goes back or the disk is wiped', async () => {
    const day = 86_400_000;
    const now = Date.now();
    const epochs = [await nextEpoch(directory, now), await nextEpoch(directory, now)];
    epochs.push(await nextEpoch(directory, now - 30 * day));
    await rm(join(directory, 'epoch.json'));
    epochs.push(await nextEpoch(directory, now + 60_000));
    for (const [index, epoch] of epochs.entries()) {
      assert.ok(Number.isSafeInteger(epoch));
      if (index > 0) assert.ok(epoch > epochs[index - 1], `${epoch} after ${epochs[index - 1]}`);
    }
  });
});
