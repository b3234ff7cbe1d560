/** An appliance with nothing on its disk: enough for a vCenter that boots no disks. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildOva } from '../../src/engine-vm/image/ova.ts';
import type { EngineOptions } from '../../src/vcenter/engine.ts';

export interface BlankOva {
  options: EngineOptions;
  remove(): void;
}

export async function buildBlankOva(signal: AbortSignal): Promise<BlankOva> {
  const directory = mkdtempSync(join(tmpdir(), 'weft-blank-ova-'));
  const ova = join(directory, 'blank.ova');
  await buildOva({ disk: null, file: ova, version: '0.1.0', signer: null, modifiedAt: 0 }, signal);
  return {
    options: { ova, signedBy: null, size: 'small', folder: null, datastore: null, now: Date.now },
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}
