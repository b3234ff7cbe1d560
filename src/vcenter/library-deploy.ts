/** Deploying VMs from library items: OVF packages and VM templates. Each call ends when vCenter has made the VM, off. */
import { refusal } from './host-networks.ts';
import type { LibraryItem } from './library.ts';
import type { Placement } from './placement.ts';
import type { RestClient } from './rest.ts';
import type { MoRef, Vim } from './vim/schema.ts';

export interface LibraryDeployment {
  name: string;
  /** The notes of the VM, which bear its mark. */
  annotation: string;
  host: MoRef;
  placement: Placement;
  /** By network of the package. */
  networks: ReadonlyMap<string, MoRef>;
  /** By the class and key of the package, joined by a dot. */
  properties: readonly Vim<'KeyValue'>[];
  /** The deployment option of the package; null for its default. */
  size: string | null;
}

/** Disks are copied within the datastores: minutes, on slow ones. */
const DEADLINE_MS = 14 * 60_000;

/** Deploys an OVF item. Throws ERR_HYPERVISOR_REFUSED with what vCenter says. */
export async function deployOvf(
  rest: RestClient,
  item: LibraryItem,
  deployment: LibraryDeployment,
  signal: AbortSignal,
): Promise<MoRef> {
  const { name, annotation, host, placement, properties, size } = deployment;
  const isOld = await rest.isOld(signal);
  const networks = [...deployment.networks].map(([key, { value }]) => ({ key, value }));
  const additional = [
    ...(properties.length > 0
      ? [
          {
            '@class': 'com.vmware.vcenter.ovf.property_params',
            type: 'PropertyParams',
            properties: properties.map(({ key, value }) => {
              const dot = key.indexOf('.');
              return {
                class_id: key.slice(0, Math.max(dot, 0)),
                instance_id: '',
                id: key.slice(dot + 1),
                value,
              };
            }),
          },
        ]
      : []),
    ...(size === null
      ? []
      : [
          {
            '@class': 'com.vmware.vcenter.ovf.deployment_option_params',
            type: 'DeploymentOptionParams',
            selected_key: size,
          },
        ]),
  ];
  const body = {
    target: {
      resource_pool_id: placement.pool.value,
      host_id: host.value,
      folder_id: placement.folder.value,
    },
    deployment_spec: {
      name,
      annotation,
      accept_all_EULA: true,
      network_mappings: isOld ? networks : Object.fromEntries(networks.map(({ key, value }) => [key, value])),
      storage_provisioning: 'thin',
      default_datastore_id: placement.datastore.value,
      additional_parameters: additional,
    },
  };
  const answer = (await rest.call(
    {
      method: 'POST',
      service: '/vcenter/ovf/library-item',
      id: item.id,
      action: 'deploy',
      body,
      deadlineMs: DEADLINE_MS,
    },
    signal,
  )) as
    | { succeeded?: boolean; resource_id?: { type?: string; id?: string }; error?: DeployError }
    | undefined;
  const made = answer?.resource_id;
  if (answer?.succeeded !== true || made?.type !== 'VirtualMachine' || !made.id) {
    throw refusal(`vCenter does not deploy ${item.name}: ${reasonOf(answer?.error)}`);
  }
  return { type: 'VirtualMachine', value: made.id };
}

/** The names of a package's networks, as far as vCenter tells them. */
export async function networksOf(
  rest: RestClient,
  item: LibraryItem,
  placement: Placement,
  host: MoRef,
  signal: AbortSignal,
): Promise<string[]> {
  const target = {
    resource_pool_id: placement.pool.value,
    host_id: host.value,
    folder_id: placement.folder.value,
  };
  const call = {
    method: 'POST',
    service: '/vcenter/ovf/library-item',
    id: item.id,
    action: 'filter',
  } as const;
  const answer = (await rest.call({ ...call, body: { target } }, signal)) as
    | { networks?: unknown }
    | undefined;
  return Array.isArray(answer?.networks) ? answer.networks.map(String) : [];
}

/** Deploys a VM template. The notes are given as its description. */
export async function deployTemplate(
  rest: RestClient,
  item: LibraryItem,
  deployment: Pick<LibraryDeployment, 'name' | 'annotation' | 'host' | 'placement'>,
  signal: AbortSignal,
): Promise<MoRef> {
  const { name, annotation, host, placement } = deployment;
  const datastore = placement.datastore.value;
  const storage = { datastore };
  const body = {
    name,
    description: annotation,
    placement: {
      folder: placement.folder.value,
      resource_pool: placement.pool.value,
      host: host.value,
    },
    vm_home_storage: storage,
    disk_storage: storage,
    powered_on: false,
  };
  const id = await rest.call(
    {
      method: 'POST',
      service: '/vcenter/vm-template/library-items',
      id: item.id,
      action: 'deploy',
      body,
      argument: 'spec',
      deadlineMs: DEADLINE_MS,
    },
    signal,
  );
  if (typeof id !== 'string' || id === '')
    throw refusal(`vCenter does not deploy ${item.name}, and does not say why`);
  return { type: 'VirtualMachine', value: id };
}

interface DeployError {
  errors?: {
    message?: { default_message?: string };
    error?: { messages?: { default_message?: string }[] };
    issues?: { message?: { default_message?: string } }[];
  }[];
}

function reasonOf(error: DeployError | undefined): string {
  const said = (error?.errors ?? []).flatMap((one) => [
    one.message?.default_message,
    ...(one.error?.messages ?? []).map((message) => message.default_message),
    ...(one.issues ?? []).map((issue) => issue.message?.default_message),
  ]);
  return said.filter(Boolean).join(' ').slice(0, 500) || 'it does not say why';
}
