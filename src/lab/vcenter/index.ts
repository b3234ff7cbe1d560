/** The simulated vCenter of a lab: `startVcenter` puts it in front of a datacenter. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Datacenter } from '../world/datacenter.ts';
import { labPaths } from '../world/names.ts';
import { newCertificate, thumbprint } from './certificate.ts';
import { methodType } from './schema/notation.ts';
import { serveVcenter } from './server.ts';
import { fileKeeper, newState, type StateKeeper, type SwitchKind } from './state.ts';
import { Vcenter } from './vcenter.ts';

export type { SwitchKind } from './state.ts';

/** What a client needs to know. */
export interface VcenterAddress {
  url: string;
  user: string;
  password: string;
  /** Fingerprints of the certificate, upper-case hex with colons. */
  thumbprintSha1: string;
  thumbprintSha256: string;
}

export interface RunningVcenter {
  readonly address: VcenterAddress;
  readonly vcenter: Vcenter;
  close(): Promise<void>;
}

/** File that a lab's vCenter remembers things in; where it is, the lab has a vCenter. */
export function vcenterStatePath(lab: string): string {
  return join(labPaths(lab).runDir, 'vcenter.json');
}

/** True where the lab has a vCenter, running or not. */
export function hasVcenter(lab: string): boolean {
  return existsSync(vcenterStatePath(lab));
}

/** Calls that are no methods of vim25 and that faults strike all the same: uploads, and deployment by REST. */
const BESIDE_VIM = new Set(['NfcUpload', 'LibraryUpload', 'DeployLibraryItem']);

/** Whether a vCenter has a call of that name, carried out here or not. */
export function hasMethod(name: string): boolean {
  return methodType(name) !== undefined || BESIDE_VIM.has(name);
}

/**
 * Starts the vCenter of a lab, on loopback; its certificate, password, port and switches are those of the last time.
 */
export async function startVcenter(
  datacenter: Datacenter,
  keeper: StateKeeper = fileKeeper(vcenterStatePath(datacenter.lab)),
  switches: SwitchKind = 'distributed',
): Promise<RunningVcenter> {
  const state =
    keeper.read() ?? newState(newCertificate(`vcenter.${datacenter.lab}.weft`, ['127.0.0.1']), switches);
  const vcenter = new Vcenter(datacenter, state, keeper);
  const server = await serveVcenter(vcenter);
  await vcenter.start();
  return {
    vcenter,
    address: {
      url: server.url,
      user: state.user,
      password: state.password,
      thumbprintSha1: thumbprint(state.certificate, 'sha1'),
      thumbprintSha256: thumbprint(state.certificate, 'sha256'),
    },
    async close() {
      vcenter.stop();
      await server.close();
    },
  };
}
