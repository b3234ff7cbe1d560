/**
 * The simulated vCenter in front of a lab that exists on paper only: hosts and any number of VMs, no namespaces, no
 * root. For what is about calls and their number rather than packets.
 */
import type { Platform } from '../../src/hypervisor/platform.ts';
import { type SwitchKind, startVcenter, type VcenterAddress } from '../../src/lab/vcenter/index.ts';
import type { VcenterState } from '../../src/lab/vcenter/state.ts';
import type { Vcenter } from '../../src/lab/vcenter/vcenter.ts';
import { Datacenter } from '../../src/lab/world/datacenter.ts';
import { newRecord, newVm } from '../../src/lab/world/new-record.ts';
import type { LabRecord } from '../../src/lab/world/record.ts';
import { openVcenter, type VcenterPlatformOptions } from '../../src/vcenter/index.ts';
import { PaperMachinery } from '../lab/paper-machinery.ts';

export interface PaperVcenter {
  record: LabRecord;
  datacenter: Datacenter;
  vcenter: Vcenter;
  url: string;
  user: string;
  password: string;
  thumbprint: string;
  /** The platform at this vCenter; `changes` stand in the place of the usual options. */
  open(changes?: Partial<VcenterPlatformOptions>): Platform;
  stop(): Promise<void>;
}

/** The usual options of a platform at a simulated vCenter, which deploys no engines. */
export function optionsAt(
  address: Pick<VcenterAddress, 'url' | 'user' | 'password' | 'thumbprintSha256'>,
): VcenterPlatformOptions {
  const { url, user, password, thumbprintSha256: thumbprint } = address;
  return {
    address: url,
    user,
    password: () => password,
    thumbprint,
    managementNetwork: 'mgmt',
    uplinkAttribute: 'uplinks',
    rackCategory: 'rack',
    engines: { ova: '/none', signedBy: null, size: 'small', folder: null, datastore: null, now: Date.now },
    shadowVlans: { first: 3000, last: 3010 },
  };
}

/** Three hosts with six VMs, and `extra` more that are spread over them. */
export async function startPaperVcenter(
  extra = 0,
  switches: SwitchKind = 'distributed',
): Promise<PaperVcenter> {
  const record = newRecord('paper');
  for (let index = 0; index < extra; index++) {
    const host = record.hosts[index % record.hosts.length]!.id;
    newVm(record, {
      name: `vm${index}`,
      host,
      folder: '/apps',
      tags: [],
      engine: null,
      clonedFrom: null,
      nics: [{ id: 'eth0', segment: 'prod', addresses: [] }],
    });
  }
  const datacenter = new Datacenter(record, new PaperMachinery());
  let kept: VcenterState | null = null;
  const { vcenter, address, close } = await startVcenter(
    datacenter,
    {
      read: () => kept,
      write: (state) => {
        kept = structuredClone(state);
      },
    },
    switches,
  );
  return {
    record,
    datacenter,
    vcenter,
    url: address.url,
    user: address.user,
    password: address.password,
    thumbprint: address.thumbprintSha256,
    open: (changes) => openVcenter({ ...optionsAt(address), ...changes }),
    stop: close,
  };
}
