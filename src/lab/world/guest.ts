/**
 * The inside of a VM: its namespace, its addresses and its processes. A VM is on while its process lives; when it is
 * off, its namespace does not exist.
 */

import type { ChildProcess } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type LabNetwork, MANAGEMENT_PREFIX_LENGTH, siteOf } from './blueprint.ts';
import { addressLines, defaultRoutes, GUEST_IPV6, NO_IPV6 } from './fabric.ts';
import { ip, settings } from './iproute.ts';
import { unmountBelow } from './mounts.ts';
import { labPaths, namespaceOf } from './names.ts';
import { killNamespace, startDetached } from './process.ts';
import type { VmRecord } from './record.ts';
import { layCable } from './switch-port.ts';

const WEFT_MAIN = join(import.meta.dirname, '../../main.ts');
const APP_SERVER = join(import.meta.dirname, 'app-server.ts');

/** The directory of a VM: what would be its files on a datastore. */
export function vmDirectory(lab: string, vm: VmRecord): string {
  return join(labPaths(lab).vms, vm.id);
}

/** Makes the namespace and its NICs; the ports are not on any segment yet. What was left of an earlier boot goes first. */
export async function buildGuest(lab: string, vm: VmRecord, network: LabNetwork): Promise<void> {
  const namespace = namespaceOf(lab, vm.name);
  await ip(null, [`netns add ${namespace}`]);
  await settings(namespace, vm.engine ? NO_IPV6 : GUEST_IPV6);
  for (const nic of vm.nics) await layCable(lab, vm, nic);
  await ip(namespace, [
    'link set lo up',
    ...vm.nics.flatMap((nic) => addressLines(nic.id, nic.addresses, MANAGEMENT_PREFIX_LENGTH)),
    ...(network === 'routed' && !vm.engine ? defaultRoutes(siteOf(network, vm.host)) : []),
  ]);
}

/** Removes what `buildGuest` made and ends everything in it. Nothing there: succeeds. */
export async function razeGuest(lab: string, vm: VmRecord): Promise<void> {
  const namespace = namespaceOf(lab, vm.name);
  await killNamespace(namespace);
  await ip(null, [`netns del ${namespace}`], true);
  if (vm.engine) await unmountBelow(pinsOf(lab, vm));
}

/** Where an engine keeps its flows in the kernel: a file system of its own, which goes when the VM is switched off. */
function pinsOf(lab: string, vm: VmRecord): string {
  return join(vmDirectory(lab, vm), 'pins');
}

/**
 * Starts what the VM runs: an engine, or the application. `replaces`: the engine's process whose place the new one
 * takes. ERR_KERNEL when it cannot be started.
 */
export function bootGuest(
  lab: string,
  vm: VmRecord,
  engineProgram: readonly string[] = [
    process.execPath,
    '--disable-warning=ExperimentalWarning',
    WEFT_MAIN,
    'engine',
  ],
  replaces?: number,
): ChildProcess & { pid: number } {
  const directory = vmDirectory(lab, vm);
  writeGuestFiles(lab, vm);
  const command = vm.engine
    ? [
        ...engineProgram,
        ...['--config', join(directory, 'engine.json'), '--state', join(directory, 'state')],
        ...['--pins', pinsOf(lab, vm)],
        ...(replaces === undefined ? [] : ['--replace', String(replaces)]),
      ]
    : [
        process.execPath,
        '--disable-warning=ExperimentalWarning',
        APP_SERVER,
        join(directory, 'identity.json'),
      ];
  return startDetached(command, {
    log: join(directory, 'console.log'),
    namespace: namespaceOf(lab, vm.name),
    cwd: directory,
  });
}

/** Writes what the guest is told: an engine its properties, an application its name and host. */
export function writeGuestFiles(lab: string, vm: VmRecord): void {
  const directory = vmDirectory(lab, vm);
  mkdirSync(vm.engine ? join(directory, 'state') : directory, { recursive: true, mode: 0o700 });
  const [name, content] = vm.engine
    ? ['engine.json', vm.engine.properties]
    : ['identity.json', { vm: vm.name, host: vm.host }];
  writeFileSync(join(directory, name), JSON.stringify(content, null, 1), { mode: 0o600 });
}

/** Removes the VM's disk and logs. */
export function discardGuestFiles(lab: string, vm: VmRecord): void {
  rmSync(vmDirectory(lab, vm), { recursive: true, force: true });
}
