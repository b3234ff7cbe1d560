/**
 * Content libraries over REST: libraries, items, update sessions, and the deployment of OVF packages and VM templates,
 * in both dialects.
 */
import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { UploadedFile } from '../library-uploads.ts';
import { deployPackage } from '../method/import.ts';
import { copyOf } from '../method/machines.ts';
import { readDescriptor } from '../ovf.ts';
import { type LibraryItemRecord, type LibraryRecord, REFS } from '../state.ts';
import type { Vcenter } from '../vcenter.ts';
import { moRef } from '../wire/values.ts';
import { alreadyExists, notFound, RestError } from './rest-error.ts';

const MAX_LIBRARIES = 50;
const MAX_ITEMS = 500;
const Name = z.string().min(1).max(80);
const Id = z.string().min(1).max(200);
const Text = z.string().max(4096).default('');
const LibrarySpec = z.object({
  name: Name,
  description: Text,
  storage_backings: z
    .array(z.object({ datastore_id: z.literal(REFS.datastore.id), type: z.literal('DATASTORE') }))
    .length(1),
});
const ItemSpec = z.object({
  library_id: Id,
  name: Name,
  description: Text,
  type: z.string().max(80).default(''),
});
const FindSpec = z.object({
  name: z.string().optional(),
  library_id: z.string().optional(),
  type: z.string().optional(),
});
const FileSpec = z.object({
  name: Id,
  source_type: z.literal('PUSH'),
  size: z.number().int().min(0).optional(),
  checksum_info: z.object({ algorithm: z.literal('SHA256'), checksum: z.string() }).optional(),
});
const Mapping = z.union([
  z.array(z.object({ key: z.string(), value: z.string() })),
  z.record(z.string(), z.string()),
]);
const DeploySpec = z.object({
  target: z.object({ resource_pool_id: Id, host_id: Id.optional(), folder_id: Id.optional() }),
  deployment_spec: z.object({
    name: Name,
    annotation: Text,
    accept_all_EULA: z.literal(true),
    network_mappings: Mapping.default([]),
    storage_provisioning: z.string().optional(),
    default_datastore_id: Id.optional(),
    additional_parameters: z
      .array(
        z.object({
          '@class': z.string(),
          type: z.string(),
          properties: z
            .array(
              z.object({ class_id: z.string(), instance_id: z.string(), id: z.string(), value: z.string() }),
            )
            .optional(),
          selected_key: z.string().optional(),
        }),
      )
      .default([]),
  }),
});
const TemplateSpec = z.object({
  name: Name,
  description: Text,
  source_vm: Id.optional(),
  library: Id.optional(),
  powered_on: z.boolean().default(false),
  placement: z
    .object({ folder: Id.optional(), resource_pool: Id.optional(), host: Id.optional() })
    .default({}),
});

export interface LibraryRequest {
  vcenter: Vcenter;
  method: string;
  /** Path below the dialect's root, without `id:`. */
  path: readonly string[];
  action: string | null;
  query: URLSearchParams;
  input: Record<string, unknown>;
  isOld: boolean;
}

/** Answers one request below `content` or `vcenter`. */
export async function answerLibrary(request: LibraryRequest): Promise<unknown> {
  const { vcenter, path } = request;
  vcenter.state.libraries ??= [];
  const before = JSON.stringify(vcenter.state.libraries);
  try {
    const [root, first, ...rest] = path;
    if (root === 'content' && (first === 'library' || first === 'local-library'))
      return library(request, rest);
    if (root === 'vcenter' && first === 'ovf' && rest[0] === 'library-item')
      return await ovfItem(request, rest[1]);
    if (root === 'vcenter' && first === 'vm-template' && rest[0] === 'library-items')
      return await templateItem(request, rest[1]);
    throw unserved(request);
  } finally {
    if (JSON.stringify(vcenter.state.libraries) !== before) vcenter.changed();
  }
}

function library(request: LibraryRequest, path: readonly string[]): unknown {
  const { vcenter, method, action } = request;
  const libraries = vcenter.state.libraries!;
  const [id, ...rest] = path;
  if (id === 'item') return item(request, rest);
  if (id === undefined && method === 'GET') return libraries.map((one) => one.id);
  if (id === undefined && method === 'POST' && action === 'find') {
    const { name } = FindSpec.parse(argument(request, 'spec'));
    return libraries.filter((one) => name === undefined || same(one.name, name)).map((one) => one.id);
  }
  if (id === undefined && method === 'POST') {
    const spec = LibrarySpec.parse(argument(request, 'create_spec'));
    if (libraries.some((one) => same(one.name, spec.name))) throw alreadyExists(`library ${spec.name}`);
    if (libraries.length >= MAX_LIBRARIES) throw new RestError(400, 'RESOURCE_BUSY', 'too many libraries');
    const made = { id: randomUUID(), name: spec.name, description: spec.description, items: [] };
    libraries.push(made);
    return made.id;
  }
  const found = libraries.find((one) => one.id === id);
  if (!found) throw notFound(`library ${id}`);
  if (method === 'GET') {
    const { name, description } = found;
    const storage_backings = [{ type: 'DATASTORE', datastore_id: REFS.datastore.id }];
    return { id, name, description, type: 'LOCAL', storage_backings };
  }
  if (method === 'DELETE') {
    vcenter.state.libraries = libraries.filter((one) => one !== found);
    return undefined;
  }
  throw unserved(request);
}

function item(request: LibraryRequest, path: readonly string[]): unknown {
  const { vcenter, method, action, query } = request;
  const libraries = vcenter.state.libraries!;
  const [id, sub] = path;
  if (id === 'update-session') return updateSession(request, path.slice(1));
  if (id === 'updatesession' && sub === 'file') return oldUpdateFiles(request, path[2]);
  if (id === 'file' && method === 'GET')
    return itemFiles(itemOf(vcenter, query.get('library_item_id') ?? '').item);
  if (id === undefined && method === 'POST' && action === 'find') {
    const spec = FindSpec.parse(argument(request, 'spec'));
    return libraries
      .filter((one) => spec.library_id === undefined || one.id === spec.library_id)
      .flatMap((one) => one.items)
      .filter(
        (one) =>
          (spec.name === undefined || same(one.name, spec.name)) && (!spec.type || one.type === spec.type),
      )
      .map((one) => one.id);
  }
  if (id === undefined && method === 'POST') {
    const spec = ItemSpec.parse(argument(request, 'create_spec'));
    return addItem(libraryOf(vcenter, spec.library_id), { ...spec, template: null }).id;
  }
  if (id === undefined && method === 'GET')
    return libraryOf(vcenter, query.get('library_id') ?? '').items.map((one) => one.id);
  const { library: within, item: found } = itemOf(vcenter, id ?? '');
  if (sub === 'file' && method === 'GET') return itemFiles(found);
  if (method === 'GET') {
    const { name, description, type, files } = found;
    const size = files.reduce((sum, one) => sum + one.size, 0);
    return { id, library_id: within.id, name, description, type, size, cached: true, content_version: '1' };
  }
  if (method === 'DELETE') {
    within.items = within.items.filter((one) => one !== found);
    return undefined;
  }
  throw unserved(request);
}

function updateSession(request: LibraryRequest, [id, sub]: readonly string[]): unknown {
  const { vcenter, method, action } = request;
  const { uploads } = vcenter;
  if (id === undefined && method === 'GET') return uploads.ids();
  if (id === undefined && method === 'POST') {
    const { library_item_id } = z.object({ library_item_id: Id }).parse(argument(request, 'create_spec'));
    return uploads.open(itemOf(vcenter, library_item_id).item.id).id;
  }
  const session = uploads.session(id ?? '');
  if (sub === 'file') return updateFiles(request, session.id);
  if (method === 'DELETE') return uploads.drop(session.id);
  if (method === 'GET') {
    const { item: library_item_id, state, progress: client_progress, error } = session;
    return {
      id,
      library_item_id,
      state,
      client_progress,
      ...(error === null ? {} : { error_message: { id: 'weft', default_message: error, args: [] } }),
    };
  }
  if (action === 'complete') return uploads.complete(session.id, itemOf(vcenter, session.item).item);
  if (action === 'keep-alive') {
    session.progress = Number(request.input.client_progress ?? session.progress);
    return undefined;
  }
  if (action === 'cancel' || action === 'fail') {
    session.state = action === 'fail' ? 'ERROR' : 'CANCELED';
    return undefined;
  }
  throw unserved(request);
}

/** The older dialect has files beside sessions. */
function oldUpdateFiles(request: LibraryRequest, id: string | undefined): unknown {
  return updateFiles(request, id ?? request.query.get('update_session_id') ?? '');
}

function updateFiles(request: LibraryRequest, session: string): unknown {
  const { vcenter, method } = request;
  const view = ({ name, size, status, transferred, secret, error }: UploadedFile) => ({
    name,
    source_type: 'PUSH',
    status,
    bytes_transferred: transferred,
    ...(size === null ? {} : { size }),
    upload_endpoint: { uri: `${vcenter.url}/cls/data/${secret}/${encodeURIComponent(name)}` },
    ...(error === null ? {} : { error_message: { id: 'weft', default_message: error, args: [] } }),
  });
  if (method === 'GET') return vcenter.uploads.session(session).files.map(view);
  const { name, size, checksum_info } = FileSpec.parse(argument(request, 'file_spec'));
  return view(
    vcenter.uploads.add(session, { name, size: size ?? null, sha256: checksum_info?.checksum ?? null }),
  );
}

async function ovfItem(request: LibraryRequest, id: string | undefined): Promise<unknown> {
  const { vcenter, action, input } = request;
  const { item: found } = itemOf(vcenter, id ?? '');
  if (found.type !== 'ovf' || found.descriptor === null)
    throw new RestError(400, 'INVALID_ARGUMENT', `item ${found.name} holds no OVF package`);
  if (action === 'filter') {
    const { name, networks } = readDescriptor(found.descriptor, '');
    return { name, networks: networks.map((one) => one.name), EULAs: [], additional_params: [] };
  }
  if (action !== 'deploy') throw unserved(request);
  const { target, deployment_spec: spec } = DeploySpec.parse(input);
  if (Array.isArray(spec.network_mappings) !== request.isOld)
    throw new RestError(400, 'INVALID_ARGUMENT', 'network_mappings is a list in /rest and a map in /api');
  const networks = Array.isArray(spec.network_mappings)
    ? spec.network_mappings
    : Object.entries(spec.network_mappings).map(([key, value]) => ({ key, value }));
  const properties = spec.additional_parameters.flatMap((one) => one.properties ?? []);
  const parameters = {
    entityName: spec.name,
    diskProvisioning: spec.storage_provisioning ?? 'thin',
    networkMapping: networks.map(({ key, value }) => ({
      name: key,
      network: vcenter.objects().get(value)?.ref ?? moRef('Network', value),
    })),
    propertyMapping: properties.map((one) => ({
      key: [one.class_id, one.id, one.instance_id].filter((part) => part !== '').join('.'),
      value: one.value,
    })),
  };
  const size = spec.additional_parameters.find((one) => one.selected_key !== undefined)?.selected_key ?? '';
  try {
    const vm = await deployPackage(vcenter, {
      descriptor: found.descriptor,
      option: size,
      parameters,
      annotation: spec.annotation,
      pool: moRef('ResourcePool', target.resource_pool_id),
      host: target.host_id === undefined ? undefined : moRef('HostSystem', target.host_id),
      folder: target.folder_id === undefined ? undefined : moRef('Folder', target.folder_id),
    });
    return { succeeded: true, resource_id: { type: 'VirtualMachine', id: vm } };
  } catch (error) {
    const message = { id: 'weft', default_message: (error as Error).message, args: [] };
    return {
      succeeded: false,
      error: { errors: [{ category: 'SERVER', message }], warnings: [], information: [] },
    };
  }
}

async function templateItem(request: LibraryRequest, id: string | undefined): Promise<unknown> {
  const { vcenter, method, action } = request;
  const spec = TemplateSpec.parse(argument(request, 'spec'));
  const at = {
    name: spec.name,
    folder: moRef('Folder', spec.placement.folder ?? REFS.vmFolder.id),
    host: spec.placement.host === undefined ? undefined : moRef('HostSystem', spec.placement.host),
  };
  if (id === undefined && method === 'POST') {
    const within = libraryOf(vcenter, spec.library ?? '');
    if (within.items.some((one) => same(one.name, spec.name))) throw alreadyExists(`item ${spec.name}`);
    const template = await copyOf(vcenter, spec.source_vm ?? '', {
      ...at,
      isTemplate: true,
      annotation: spec.description,
    });
    return addItem(within, { name: spec.name, description: spec.description, type: 'vm-template', template })
      .id;
  }
  const { item: found } = itemOf(vcenter, id ?? '');
  if (found.template === null)
    throw new RestError(400, 'INVALID_ARGUMENT', `item ${found.name} is no VM template`);
  if (action !== 'deploy') throw unserved(request);
  return copyOf(vcenter, found.template, { ...at, isTemplate: false, annotation: spec.description });
}

function addItem(
  within: LibraryRecord,
  spec: Pick<LibraryItemRecord, 'name' | 'description' | 'type' | 'template'>,
): LibraryItemRecord {
  if (within.items.some((one) => same(one.name, spec.name))) throw alreadyExists(`item ${spec.name}`);
  if (within.items.length >= MAX_ITEMS) throw new RestError(400, 'RESOURCE_BUSY', 'too many items');
  const { name, description, type, template } = spec;
  const made = { id: randomUUID(), name, description, type, files: [], descriptor: null, template };
  within.items.push(made);
  return made;
}

function itemFiles({ files }: LibraryItemRecord): object[] {
  return files.map(({ name, size, sha256 }) => ({
    name,
    size,
    cached: true,
    version: '1',
    checksum_info: { algorithm: 'SHA256', checksum: sha256 },
  }));
}

function libraryOf(vcenter: Vcenter, id: string): LibraryRecord {
  const found = vcenter.state.libraries!.find((one) => one.id === id);
  if (found) return found;
  throw notFound(`library ${id}`);
}

function itemOf(vcenter: Vcenter, id: string): { library: LibraryRecord; item: LibraryItemRecord } {
  for (const one of vcenter.state.libraries!) {
    const found = one.items.find((candidate) => candidate.id === id);
    if (found) return { library: one, item: found };
  }
  throw notFound(`library item ${id}`);
}

/** The older dialect names the argument, the newer one is it. */
function argument({ input, isOld }: LibraryRequest, name: string): unknown {
  return isOld ? input[name] : input;
}

function same(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase();
}

function unserved({ method, path }: LibraryRequest): RestError {
  return new RestError(404, 'NOT_FOUND', `${method} of ${path.join('/')} is not served`);
}
