/** Tab completion of what is in a lab: VMs, hosts, links, faults. */
import { readLabStatus } from '../lab/control.ts';
import { LabSession } from '../lab/session.ts';
import { DEFAULT_LAB, labPaths } from '../lab/world/names.ts';

/** What a lab verb's argument of that name may be, as the daemon of the lab knows it. */
export async function placesInLab(argument: string, lab = DEFAULT_LAB, timeoutMs = 1000): Promise<string[]> {
  const session = new LabSession(labPaths(lab).socket);
  try {
    const { vms, hosts, faults } = await readLabStatus(session, AbortSignal.timeout(timeoutMs));
    const vmNames = vms.map(({ name }) => name);
    const hostNames = hosts.map(({ id }) => id);
    switch (argument) {
      case 'vm':
        return vmNames;
      case 'host':
        return hostNames;
      case 'where':
        return ['client', ...hostNames, ...vmNames];
      case 'link':
        return [...hostNames, ...vms.flatMap(({ name, nics }) => nics.map((nic) => `${name}/${nic.id}`))];
      default:
        return faults.map(({ id }) => id);
    }
  } finally {
    session.close();
  }
}
