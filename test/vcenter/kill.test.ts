/** A controller process that is killed by SIGKILL in the middle of a call to vCenter leaves nothing double or behind. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildOva } from '../../src/engine-vm/image/ova.ts';
import { kindNamed } from '../../src/policy/registry.ts';
import { openEmbeddedStore } from '../../src/state/embedded-store.ts';
import type { Store } from '../../src/state/store.ts';
import { startPaperVcenter } from './paper-vcenter.ts';
import { requireInLine, requireUndone, type SiteAtRest } from './schedule/invariants.ts';
import { policiesOf } from './schedule/policies.ts';

const PROGRAM = join(import.meta.dirname, 'schedule/kill-site.ts');
/** Changing calls at which the first controller is killed, on the way in and on the way out. */
const KILLS: readonly [number, number][] = [
  [1, 2],
  [3, 9],
  [6, 4],
  [10, 14],
  [19, 12],
];
const CHANGES = /_Task$|^(ImportVApp|HttpNfcLease|SetField|DestroyNetwork)/;

describe('a controller of vCenter that is killed', function () {
  this.timeout(300_000);
  const never = new AbortController().signal;
  let directory: string;
  let ova: string;

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'weft-kill-'));
    ova = join(directory, 'engine.ova');
    await buildOva({ disk: null, file: ova, version: '0.1.0', signer: null, modifiedAt: 0 }, never);
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  for (const [into, out] of KILLS) {
    it(`at its changing call ${into} on the way in and ${out} on the way out`, async () => {
      const paper = await startPaperVcenter();
      for (const vm of paper.record.vms) await paper.datacenter.vms.power(vm.id, 'on');
      const { vcenter } = paper;
      const file = join(directory, `${into}-${out}.json`);
      let onChange = (): void => {};
      const fate = vcenter.fate.bind(vcenter);
      vcenter.fate = (method, object) => {
        if (CHANGES.test(method)) onChange();
        return fate(method, object);
      };
      /** Runs a controller until it has nothing to do, or is killed as its `kill`-th change arrives. */
      const run = (kill: number): Promise<string | number> =>
        new Promise((resolve, reject) => {
          const { url, user, thumbprint } = paper;
          const child = spawn(
            process.execPath,
            ['--disable-warning=ExperimentalWarning', PROGRAM, file, url, user, thumbprint, ova],
            {
              stdio: ['ignore', 'inherit', 'inherit'],
              env: { ...process.env, WEFT_TEST_PASSWORD: paper.password },
            },
          );
          let left = kill;
          onChange = () => {
            if (--left === 0) child.kill('SIGKILL');
          };
          child.once('error', reject);
          child.once('exit', (code, signal) => resolve(signal ?? code ?? -1));
        });
      const inStore = async <Result>(work: (store: Store) => Promise<Result>): Promise<Result> => {
        const store = await openEmbeddedStore(file);
        try {
          return await work(store);
        } finally {
          await store.close();
        }
      };
      const policies = policiesOf(true);
      const nobody = {
        portSettings: new Map(),
        names: new Map(),
        production: { name: 'prod', policy: {} },
        isRecordLost: false,
      };
      const atRest = (store: Store): SiteAtRest => ({
        record: paper.record,
        state: vcenter.state,
        vcenter,
        store,
        // The process ended because all of them did.
        engines: { forwards: () => true },
      });
      try {
        await inStore((store) =>
          store.write(
            policies.map(({ kind, name, spec }) => ({
              key: `policy/${kind}/${name}`,
              value: kindNamed(kind).spec.parse(spec),
            })),
          ),
        );
        assert.equal(await run(into), 'SIGKILL');
        assert.equal(await run(0), 0);
        await inStore((store) => requireInLine(atRest(store), nobody));
        await inStore((store) =>
          store.write(policies.map(({ kind, name }) => ({ key: `policy/${kind}/${name}`, delete: true }))),
        );
        assert.equal(await run(out), 'SIGKILL');
        assert.equal(await run(0), 0);
        await inStore((store) => requireUndone(atRest(store), nobody));
      } finally {
        await paper.stop();
      }
    });
  }
});
