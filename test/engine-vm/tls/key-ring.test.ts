/** The keys of an engine: there when a graph comes that names them, gone when none does. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { KeyRing } from '../../../src/engine-vm/tls/key-ring.ts';
import type { ServiceGraph, TlsEntry } from '../../../src/policy/graph.ts';
import { settingsOf } from '../http/proxy-site.ts';
import { makeCertificate } from './certificates.ts';

describe('the keys of an engine', () => {
  let directory: string;
  const entries: Record<string, TlsEntry> = {};
  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'weft-ring-'));
    for (const hash of ['old', 'new']) {
      const { certificateFile, keyFile } = makeCertificate(directory, hash, ['shop.test']);
      entries[hash] = {
        hash,
        chain: readFileSync(certificateFile, 'utf8'),
        key: readFileSync(keyFile, 'utf8'),
      };
    }
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  const graphOf = (...hashes: string[]): ServiceGraph =>
    ({
      engine: { id: 'e1', groupKey: Buffer.alloc(32, 7).toString('base64') },
      tls: hashes.map((hash) => ({ kind: 'certificate', name: 'shop', hash })),
    }) as unknown as ServiceGraph;
  const settings = settingsOf(443, [1], { tls: { certificates: [{ certificate: 'shop' }] } });

  it('are not there before they come, and are those that the graph names', () => {
    let graphs: ServiceGraph[] = [graphOf('old')];
    const notes: string[] = [];
    const ring = new KeyRing(
      () => graphs,
      (service, note) => notes.push(`${service}: ${note}`),
    );
    assert.equal(ring.fill(graphs[0]!, settings), null);
    ring.take('certificate/shop', entries.old!);
    const before = ring.fill(graphs[0]!, settings)!;
    assert.equal(before.tls!.certificates[0]!.chain, (entries.old as { chain: string }).chain);
    // The next one comes before its graph: both are there meanwhile.
    ring.take('certificate/shop', entries.new!);
    assert.equal(ring.fill(graphs[0]!, settings)!.tls!.id, before.tls!.id);
    graphs = [graphs[0]!, graphOf('new')];
    const after = ring.fill(graphs[1]!, settings)!;
    assert.notEqual(after.tls!.id, before.tls!.id);
    assert.deepEqual(notes, []);
    graphs = [graphs[1]!];
    ring.forget();
    assert.equal(ring.fill(graphOf('old'), settings), null);
    assert.notEqual(ring.fill(graphs[0]!, settings), null);
  });

  it('go when they are taken back and no graph names them', () => {
    let graphs: ServiceGraph[] = [graphOf('old')];
    const ring = new KeyRing(() => graphs, assert.fail);
    ring.take('certificate/shop', entries.old!);
    ring.giveBack('certificate/shop');
    assert.notEqual(ring.fill(graphs[0]!, settings), null, 'the graph in force names it still');
    const last = graphs[0]!;
    graphs = [graphOf()];
    ring.forget();
    assert.equal(ring.fill(last, settings), null);
  });

  it('are said, once, to be such as somebody should look at', () => {
    const graph = graphOf('odd');
    const notes: string[] = [];
    const ring = new KeyRing(
      () => [graph],
      (service, note) => notes.push(`${service}: ${note}`),
    );
    ring.take('certificate/shop', { ...entries.old!, hash: 'odd', ocsp: 'AAAA' } as TlsEntry);
    for (let n = 0; n < 3; n++)
      assert.equal(ring.fill(graph, settings)!.tls!.certificates[0]!.ocsp, undefined);
    assert.equal(notes.length, 1);
    assert.match(notes[0]!, /^test: its OCSP response is not stapled to certificate "shop": /);
  });

  it('make the same secret of tickets on all engines of a group, and another in another', () => {
    const secretOf = (key: number): string => {
      const graph = { ...graphOf('old') };
      const groupKey = Buffer.alloc(32, key).toString('base64');
      const own = { ...graph, engine: { ...graph.engine, groupKey } };
      const ring = new KeyRing(() => [own], assert.fail);
      ring.take('certificate/shop', entries.old!);
      return Buffer.from(ring.fill(own, settings)!.tls!.ticketSecret!).toString('hex');
    };
    assert.equal(secretOf(1), secretOf(1));
    assert.notEqual(secretOf(1), secretOf(2));
  });
});
