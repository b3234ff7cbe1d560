/**
 * The cloud of a lab that is driven through its simulated vCenter: what an administrator prepares for a real one
 * (credentials file, appliance, cloud object), prepared in the lab's run directory.
 */
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { VcenterAddress } from '../lab/vcenter/index.ts';
import { MANAGEMENT_SEGMENT } from '../lab/world/blueprint.ts';
import { labPaths } from '../lab/world/names.ts';

/** The spec that the sample's cloud gets in a lab that is driven through its vCenter. */
export interface LabVcenterSpec {
  platform: 'vcenter';
  address: string;
  credentials: string;
  thumbprint: string;
  managementNetwork: string;
  ova: string;
  shadowVlans: { first: number; last: number };
}

const PACKAGE = join(import.meta.dirname, '../../package.json');
/** VLANs of the lab's switch beside production and management are carried by no uplink, so any range will do. */
const SHADOW_VLANS = { first: 3000, last: 3063 };

/**
 * Writes the credentials file (0600), the appliance unless it is there, and the spec, which it answers. The appliance
 * has a blank disk: the simulated vCenter starts the engine program instead of booting it.
 */
export async function prepareVcenterCloud(
  lab: string,
  vcenter: VcenterAddress,
  signal: AbortSignal,
): Promise<LabVcenterSpec> {
  const { runDir, cloudFile } = labPaths(lab);
  const spec: LabVcenterSpec = {
    platform: 'vcenter',
    address: vcenter.url,
    credentials: join(runDir, 'vcenter-credentials.yaml'),
    thumbprint: vcenter.thumbprintSha256,
    managementNetwork: MANAGEMENT_SEGMENT,
    ova: join(runDir, 'weft-engine.ova'),
    shadowVlans: SHADOW_VLANS,
  };
  const { user, password } = vcenter;
  const { writeCredentials } = await import('../vcenter/credentials.ts');
  await writeCredentials(spec.credentials, { user, password });
  if (!existsSync(spec.ova)) {
    const { buildOva } = await import('../engine-vm/image/ova.ts');
    const { version } = JSON.parse(await readFile(PACKAGE, 'utf8')) as { version: string };
    await buildOva({ disk: null, file: spec.ova, version, signer: null, modifiedAt: Date.now() }, signal);
  }
  rmSync(`${cloudFile}.new`, { force: true });
  writeFileSync(`${cloudFile}.new`, `${JSON.stringify(spec)}\n`, { mode: 0o600, flag: 'wx' });
  renameSync(`${cloudFile}.new`, cloudFile);
  return spec;
}

/** The spec, or null where the lab is driven by its own socket. */
export function readLabCloud(lab: string): LabVcenterSpec | null {
  try {
    return JSON.parse(readFileSync(labPaths(lab).cloudFile, 'utf8')) as LabVcenterSpec;
  } catch {
    return null;
  }
}
