/** How lab verbs speak with the daemon, and how they understand the names that people type. */
import { LabSession } from '../lab/session.ts';
import type { Link } from '../lab/world/faults.ts';
import { labPaths } from '../lab/world/names.ts';
import type { LabStatus } from '../lab/world/status.ts';
import { isWeftError, WeftError } from '../policy/errors.ts';
import { labSuffix } from './lab-option.ts';
import { requireRoot } from './lab-root.ts';

/** A call to the daemon takes milliseconds; a fault may have made it slow. */
const TIMEOUT_MS = 60_000;

/** Opens a session for one verb. Throws ERR_PRIVILEGE, and ERR_LAB where the lab is not up. */
export async function withLab<T>(
  lab: string,
  work: (session: LabSession, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  requireRoot('weft lab');
  const session = new LabSession(labPaths(lab).socket);
  try {
    return await work(session, AbortSignal.timeout(TIMEOUT_MS));
  } catch (error) {
    const cause = isWeftError(error, 'ERR_HYPERVISOR_UNREACHABLE')
      ? (error.cause as NodeJS.ErrnoException | undefined)
      : undefined;
    if (cause?.code === 'ENOENT' || cause?.code === 'ECONNREFUSED') {
      throw new WeftError('ERR_LAB', `lab ${lab} is not up; \`weft lab up${labSuffix(lab)}\` starts it`, {
        cause,
      });
    }
    throw error;
  } finally {
    session.close();
  }
}

/** The VM of that name or id. Throws ERR_LAB, which lists the VMs there are. */
export function findVm(status: LabStatus, name: string): LabStatus['vms'][number] {
  const vm = status.vms.find((one) => one.name === name || one.id === name);
  if (vm) return vm;
  const names = status.vms.map((one) => one.name).join(', ');
  throw new WeftError('ERR_LAB', `lab ${status.lab} has no VM ${name}; there are ${names}`);
}

/** `h1` is the uplink of a host, `app1` the only NIC of a VM, `app1/eth0` a NIC. Throws ERR_LAB. */
export function findLink(status: LabStatus, text: string): Link {
  if (status.hosts.some((host) => host.id === text)) return { host: text };
  const [name, nicId] = text.split('/');
  const vm = status.vms.find((one) => one.name === name || one.id === name);
  if (!vm) {
    const there = [...status.hosts.map((host) => host.id), ...status.vms.map((one) => one.name)].join(', ');
    throw new WeftError('ERR_LAB', `lab ${status.lab} has no host or VM ${name}; there are ${there}`);
  }
  const nics = vm.nics.map((nic) => nic.id);
  if (nicId !== undefined && nics.includes(nicId)) return { vm: vm.id, nic: nicId };
  if (nicId === undefined && nics.length === 1) return { vm: vm.id, nic: nics[0]! };
  throw new WeftError(
    'ERR_LAB',
    `say which NIC of ${vm.name}: ${nics.map((nic) => `${vm.name}/${nic}`).join(', ')}`,
  );
}
