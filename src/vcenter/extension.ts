/**
 * Weft as an extension of a vCenter: its plug-in for the vSphere Client, the privilege that lets users of that client
 * change things, and the names of its tasks and events.
 */
import { isWeftError, WeftError } from '../policy/errors.ts';
import { OPERATE_PRIVILEGE } from './client-session.ts';
import { EVENT_ARGUMENTS, EVENT_TYPES, TASK_TYPES } from './note-types.ts';
import type { VcenterSession } from './session.ts';
import type { MoRef, Vim, VimExactly } from './vim/schema.ts';

/** The key of the extension in vCenter. */
export const EXTENSION_KEY = 'com.weft';

const LABEL = 'Weft';
const SUMMARY = 'Virtual services and service engines in line on every host';

/** What is registered. */
export interface PluginRegistration {
  /** Of the manifest, as vCenter reaches it: `https://controller:7471/vc/GUID/plugin.zip`. */
  url: string;
  /** SHA-256 of the server's certificate, upper-case pairs with colons, and the certificate as PEM. */
  thumbprint: string;
  certificate: string;
  /** Of the pages and the manifest: another one raises the version. */
  build: string;
}

export interface RegisteredPlugin {
  key: string;
  version: string;
  url: string;
  thumbprint: string;
  build: string;
  tasks: number;
  events: number;
  privileges: string[];
}

type Extension = VimExactly<'Extension'>;

/** The extension as it is registered, or null. */
export async function readPlugin(
  session: VcenterSession,
  signal: AbortSignal,
): Promise<RegisteredPlugin | null> {
  const found = await find(session, signal);
  return found ? describe(found) : null;
}

/** Whether what is registered is what would be registered now, at the address that it is registered with. */
export async function isUpToDate(
  session: VcenterSession,
  serves: Omit<PluginRegistration, 'url'>,
  signal: AbortSignal,
): Promise<boolean> {
  const found = await find(session, signal);
  if (!found) return false;
  const wanted = { ...serves, url: describe(found).url };
  return content(found) === content(build(wanted, found.version, takesCertificate(session)));
}

/**
 * Registers the extension, or brings the one that is there up to date, with a higher version where anything differs:
 * the vSphere Client fetches a plug-in anew only then. `mustExist` refuses where there is none.
 */
export async function registerPlugin(
  session: VcenterSession,
  wanted: PluginRegistration,
  mustExist: boolean,
  signal: AbortSignal,
): Promise<{ result: 'registered' | 'updated' | 'unchanged'; plugin: RegisteredPlugin }> {
  const manager = await extensionManager(session, signal);
  const before = await find(session, signal);
  if (!before && mustExist) {
    throw new WeftError(
      'ERR_NOT_FOUND',
      `the plug-in is not registered at ${session.address}: weft plugin register`,
    );
  }
  const extension = build(wanted, before?.version ?? null, takesCertificate(session));
  if (before && content(before) === content(extension)) {
    return { result: 'unchanged', plugin: describe(before) };
  }
  await explained(session, before ? 'Extension.Update' : 'Extension.Register', () =>
    before
      ? session.call(manager, 'UpdateExtension', { extension }, signal)
      : session.call(manager, 'RegisterExtension', { extension }, signal),
  );
  return { result: before ? 'updated' : 'registered', plugin: describe(extension) };
}

/** True where there was one. */
export async function unregisterPlugin(session: VcenterSession, signal: AbortSignal): Promise<boolean> {
  const manager = await extensionManager(session, signal);
  if (!(await find(session, signal))) return false;
  try {
    await explained(session, 'Extension.Unregister', () =>
      session.call(manager, 'UnregisterExtension', { extensionKey: EXTENSION_KEY }, signal),
    );
  } catch (error) {
    // Somebody else was faster.
    if (!isWeftError(error, 'ERR_NOT_FOUND')) throw error;
  }
  return true;
}

/** vCenter knows certificates of plug-in servers since 8.0.2; before, it refuses the field. */
function takesCertificate(session: VcenterSession): boolean {
  return session.isAtLeast(8, 0, 2);
}

function build(wanted: PluginRegistration, before: string | null, hasCertificate: boolean): Extension {
  const description = {
    label: LABEL,
    summary: `${SUMMARY} (build ${wanted.build})`,
  };
  return {
    description,
    key: EXTENSION_KEY,
    company: 'Weft',
    version: nextVersion(before),
    server: [
      {
        url: wanted.url,
        description,
        company: 'Weft',
        type: 'MANIFEST_SERVER',
        adminEmail: ['root@localhost'],
        serverThumbprint: wanted.thumbprint,
        ...(hasCertificate ? { serverCertificate: wanted.certificate } : {}),
      },
    ],
    client: [
      {
        version: nextVersion(before),
        description,
        company: 'Weft',
        type: 'vsphere-client-remote',
        url: wanted.url,
      },
    ],
    taskList: TASK_TYPES.map(({ id }) => ({ taskID: id })),
    eventList: EVENT_TYPES.map(({ id, label }) => ({
      eventID: id,
      eventTypeSchema: schemaOf(id, label),
    })),
    privilegeList: [{ privID: OPERATE_PRIVILEGE, privGroupName: 'Weft' }],
    resourceList: RESOURCES,
    lastHeartbeatTime: new Date().toISOString(),
  };
}

/**
 * What the vSphere Client shows in the place of ids, by module: of the extension itself, its tasks, its events (the
 * description in lists and alarms, the format of the message of one) and its privilege.
 */
const RESOURCES = resources({
  extension: {
    [`${EXTENSION_KEY}.label`]: LABEL,
    [`${EXTENSION_KEY}.summary`]: SUMMARY,
  },
  task: Object.fromEntries(
    TASK_TYPES.flatMap(({ id, label }) => [
      [`${id}.label`, label],
      [`${id}.summary`, label],
    ]),
  ),
  event: Object.fromEntries(
    EVENT_TYPES.flatMap(({ id, label, severity }) => [
      [`${id}.category`, severity],
      [`${id}.description`, label],
      // The message names the object, so that it reads the same wherever it is shown.
      ...['formatOnDatacenter', 'formatOnComputeResource', 'formatOnHost', 'formatOnVm', 'fullFormat'].map(
        (format) => [`${id}.${format}`, '{message}'],
      ),
    ]),
  ),
  auth: {
    'privilege.Weft.label': 'Weft',
    'privilege.Weft.summary': 'Weft',
    [`privilege.${OPERATE_PRIVILEGE}.label`]: 'Change virtual services',
    [`privilege.${OPERATE_PRIVILEGE}.summary`]: 'Enable and disable virtual services of Weft',
  },
});

function resources(modules: Record<string, Record<string, string>>): Vim<'ExtensionResourceInfo'>[] {
  return Object.entries(modules).map(([module, texts]) => ({
    locale: 'en',
    module,
    data: Object.entries(texts).map(([key, value]) => ({ key, value })),
  }));
}

function schemaOf(id: string, label: string): string {
  const one = EVENT_ARGUMENTS.map((name) => `<argument><name>${name}</name><type>string</type></argument>`);
  return `<EventType><eventTypeID>${id}</eventTypeID><description>${label}</description><arguments>${one.join('')}</arguments></EventType>`;
}

/** `0.1.0.7` is followed by `0.1.0.8`. */
function nextVersion(before: string | null): string {
  const [, last] = /^\d+\.\d+\.\d+\.(\d+)$/.exec(before ?? '') ?? [];
  return `0.1.0.${last === undefined ? 1 : Number(last) + 1}`;
}

/** Everything that matters, in one text, in whichever order vCenter lists it. */
function content(extension: Extension): string {
  const [server] = extension.server ?? [];
  const [client] = extension.client ?? [];
  return JSON.stringify([
    [extension.description.label, extension.description.summary],
    [server?.url, server?.type, server?.serverThumbprint, server?.serverCertificate?.replace(/\s+/g, '')],
    [client?.url, client?.type],
    (extension.taskList ?? []).map(({ taskID }) => taskID).sort(),
    (extension.eventList ?? []).map(({ eventID, eventTypeSchema }) => `${eventID} ${eventTypeSchema}`).sort(),
    (extension.privilegeList ?? []).map(({ privID, privGroupName }) => `${privID} ${privGroupName}`).sort(),
    (extension.resourceList ?? [])
      .flatMap(({ locale, module, data }) =>
        data.map(({ key, value }) => `${locale} ${module} ${key}=${value}`),
      )
      .sort(),
  ]);
}

function describe(extension: Extension): RegisteredPlugin {
  const [server] = extension.server ?? [];
  return {
    key: extension.key,
    version: extension.version,
    url: server?.url ?? '',
    thumbprint: server?.serverThumbprint ?? '',
    build: /\(build (\w+)\)/.exec(extension.description.summary)?.[1] ?? '',
    tasks: extension.taskList?.length ?? 0,
    events: extension.eventList?.length ?? 0,
    privileges: (extension.privilegeList ?? []).map(({ privID }) => privID),
  };
}

async function find(session: VcenterSession, signal: AbortSignal): Promise<Extension | null> {
  const manager = await extensionManager(session, signal);
  const found = await session.call(manager, 'FindExtension', { extensionKey: EXTENSION_KEY }, signal);
  return (found as Extension | undefined) ?? null;
}

async function extensionManager(session: VcenterSession, signal: AbortSignal): Promise<MoRef> {
  const { extensionManager: manager } = await session.connect(signal);
  if (manager) return manager;
  throw new WeftError('ERR_HYPERVISOR_UNSUPPORTED', `${session.address} takes no extensions`);
}

async function explained(
  session: VcenterSession,
  privilege: string,
  work: () => Promise<unknown>,
): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!isWeftError(error, 'ERR_HYPERVISOR_REFUSED') || !/NoPermission/.test(error.message)) throw error;
    throw new WeftError(
      'ERR_HYPERVISOR_REFUSED',
      `${session.address} does not let this user register plug-ins: it needs the privilege ${privilege} on the root folder (${error.message})`,
      { cause: error },
    );
  }
}
