/**
 * Content libraries: finding items, and keeping the appliance in one. The appliance is an item of its own per content,
 * named after the hash of its manifest, so that it is uploaded once and every engine is deployed from it.
 */
import { isWeftError, WeftError } from '../policy/errors.ts';
import { refusal } from './host-networks.ts';
import { listOf } from './inventory-objects.ts';
import { type Ova, type OvaFile, readContentHash } from './ova.ts';
import type { RestClient } from './rest.ts';
import { abortable, type VcenterSession } from './session.ts';
import { sendFile } from './upload.ts';

export interface LibraryItem {
  id: string;
  name: string;
  /** `ovf`, `vm-template`, `iso` ... */
  type: string;
}

/** An item by the names of its library and itself. Throws ERR_NOT_FOUND for either. */
export async function findItem(
  rest: RestClient,
  library: string,
  name: string,
  signal: AbortSignal,
): Promise<LibraryItem> {
  const { id: libraryId } = await findLibrary(rest, library, signal);
  const [id] = await itemsNamed(rest, libraryId, name, signal);
  if (id === undefined) {
    throw new WeftError('ERR_NOT_FOUND', `content library ${library} has no item ${name}: name another`);
  }
  const read = (await rest.call({ method: 'GET', service: ITEM, id }, signal)) as { type?: string };
  return { id, name, type: String(read.type ?? '').toLowerCase() };
}

/**
 * The item that holds the appliance; it is uploaded where it is not there, and an upload that was cut short is gone on
 * with: files that are there already are not sent again. `progress` gets 0 to 1 while bytes are sent.
 */
export async function ensureAppliance(
  session: VcenterSession,
  rest: RestClient,
  library: string,
  ova: Ova,
  progress: (fraction: number) => void,
  signal: AbortSignal,
): Promise<LibraryItem> {
  const { id: libraryId, type } = await findLibrary(rest, library, signal);
  // One of ours at a time: engines that are deployed together share the upload.
  return inTurn(session, libraryId, signal, async () => {
    const name = applianceName(ova.contentHash);
    let [id] = await itemsNamed(rest, libraryId, name, signal);
    let update = id === undefined ? null : await activeUpdate(rest, id, signal);
    if (id !== undefined && update === null && (await isWhole(rest, id, ova, signal))) {
      return { id, name, type: 'ovf' };
    }
    if (type !== 'LOCAL') {
      throw refusal(
        `content library ${library} takes no uploads (it is ${type}): name a local one in the cloud`,
      );
    }
    id ??= await createItem(
      rest,
      { library_id: libraryId, name, type: 'ovf', description: about(ova) },
      signal,
    );
    update ??= await openUpdate(rest, id, signal);
    try {
      await uploadParts(session, rest, update, ova, progress, signal);
      await rest.call({ method: 'POST', service: UPDATE, id: update, action: 'complete' }, signal);
      await untilDone(rest, update, name, signal);
    } catch (error) {
      // What broke off goes on with the same session; what was refused needs another.
      if (isWeftError(error, 'ERR_HYPERVISOR_REFUSED')) await dropUpdate(rest, update);
      throw error;
    }
    await dropUpdate(rest, update);
    return { id, name, type: 'ovf' };
  });
}

/** Whether the appliance of that file is in the library; false also where that cannot be found out. */
export async function isApplianceKept(
  rest: RestClient,
  library: string,
  ova: string,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    const name = applianceName(await readContentHash(ova, signal));
    const { id } = await findLibrary(rest, library, signal);
    return (await itemsNamed(rest, id, name, signal)).length > 0;
  } catch {
    signal.throwIfAborted();
    return false;
  }
}

function applianceName(contentHash: string): string {
  return `weft-engine-${contentHash.slice(0, 16)}`;
}

const LIBRARY = '/content/library';
const ITEM = '/content/library/item';
const UPDATE = '/content/library/item/update-session';
const POLL_MS = 250;
const KEEP_ALIVE_MS = 20_000;
const CLEAN_UP_MS = 10_000;
const UPLOAD_ATTEMPTS = 6;

async function findLibrary(
  rest: RestClient,
  name: string,
  signal: AbortSignal,
): Promise<{ id: string; type: string }> {
  const find = {
    method: 'POST',
    service: LIBRARY,
    action: 'find',
    body: { name },
    argument: 'spec',
  } as const;
  const ids = listOf<string>(await rest.call(find, signal));
  if (ids.length > 1) throw refusal(`there are ${ids.length} content libraries ${name}: rename all but one`);
  const [id] = ids;
  if (id === undefined) {
    throw new WeftError(
      'ERR_NOT_FOUND',
      `there is no content library ${name}: make it (\`govc library.create ${name}\`), or name another`,
    );
  }
  const read = (await rest.call({ method: 'GET', service: LIBRARY, id }, signal)) as { type?: string };
  return { id, type: String(read.type ?? 'LOCAL') };
}

async function itemsNamed(
  rest: RestClient,
  library: string,
  name: string,
  signal: AbortSignal,
): Promise<string[]> {
  const body = { library_id: library, name };
  const find = { method: 'POST', service: ITEM, action: 'find', body, argument: 'spec' } as const;
  return listOf<string>(await rest.call(find, signal)).map(String);
}

async function createItem(
  rest: RestClient,
  body: { library_id: string; name: string; type: string; description: string },
  signal: AbortSignal,
): Promise<string> {
  try {
    return String(await rest.call({ method: 'POST', service: ITEM, body, argument: 'create_spec' }, signal));
  } catch (error) {
    // Another controller was faster, or the reply of an earlier attempt was lost.
    const [present] = await itemsNamed(rest, body.library_id, body.name, signal);
    if (present === undefined) throw error;
    return present;
  }
}

/** Files show in an item when they are whole. Their size says nothing: a library may keep disks in another format. */
async function isWhole(rest: RestClient, item: string, ova: Ova, signal: AbortSignal): Promise<boolean> {
  const isOld = await rest.isOld(signal);
  const call = isOld
    ? { method: 'GET' as const, service: `${ITEM}/file`, query: { library_item_id: item } }
    : { method: 'GET' as const, service: `${ITEM}/${encodeURIComponent(item)}/file` };
  const files = listOf<{ name?: string }>(await rest.call(call, signal));
  return needed(ova).every((part) => files.some(({ name }) => name === part.name));
}

/** Manifest and certificate are read by vCenter, which need not keep them. */
function needed(ova: Ova): readonly OvaFile[] {
  return ova.parts.filter(({ name }) => !/\.(mf|cert)$/.test(name));
}

interface UpdateFile {
  name?: string;
  status?: string;
  upload_endpoint?: { uri?: string; ssl_certificate_thumbprint?: string };
  error_message?: { default_message?: string };
}

/** The session under which an item is being filled, which an earlier life of ours may have left; null where there is none. */
async function activeUpdate(rest: RestClient, item: string, signal: AbortSignal): Promise<string | null> {
  const ids = listOf<string>(await rest.call({ method: 'GET', service: UPDATE }, signal)).map(String);
  for (const id of ids) {
    const read = await rest.call({ method: 'GET', service: UPDATE, id }, signal).catch((error: unknown) => {
      if (isWeftError(error, 'ERR_NOT_FOUND')) return null;
      throw error;
    });
    const { library_item_id: of, state } = (read ?? {}) as { library_item_id?: string; state?: string };
    if (of === item && state === 'ACTIVE') return id;
  }
  return null;
}

async function openUpdate(rest: RestClient, item: string, signal: AbortSignal): Promise<string> {
  const body = { library_item_id: item };
  return String(await rest.call({ method: 'POST', service: UPDATE, body, argument: 'create_spec' }, signal));
}

async function uploadParts(
  session: VcenterSession,
  rest: RestClient,
  update: string,
  ova: Ova,
  progress: (fraction: number) => void,
  signal: AbortSignal,
): Promise<void> {
  const total = ova.parts.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  let done = 0;
  const count = (bytes: number): void => {
    done += bytes;
    progress(total === 0 ? 1 : done / total);
  };
  const keepAlive = setInterval(() => {
    const client_progress = Math.floor((done / total) * 100);
    const body = { client_progress };
    rest
      .call({ method: 'POST', service: UPDATE, id: update, action: 'keep-alive', body }, signal)
      .catch(() => undefined);
  }, KEEP_ALIVE_MS);
  try {
    const present = new Map((await updateFiles(rest, update, signal)).map((file) => [file.name, file]));
    for (const part of ova.parts) {
      const before = present.get(part.name);
      if (before?.status === 'READY') {
        count(part.sizeBytes);
        continue;
      }
      for (let attempt = 1; ; attempt++) {
        let taken = 0;
        try {
          const file = attempt === 1 && before ? before : await addFile(rest, update, part, signal);
          const uri = file.upload_endpoint?.uri ?? '';
          const url = URL.canParse(uri) ? new URL(uri) : null;
          if (url?.protocol !== 'https:') {
            throw refusal('the content library names a place for the upload that is not reached by HTTPS');
          }
          const target = {
            url,
            method: 'PUT' as const,
            headers: {
              'Content-Type': 'application/octet-stream',
              ...(await rest.authorisation(signal)),
            },
            thumbprint: file.upload_endpoint?.ssl_certificate_thumbprint || null,
          };
          const read = (ended: AbortSignal) => ova.read(part.name, ended);
          const counted = (bytes: number): void => {
            taken += bytes;
            count(bytes);
          };
          await sendFile(session, target, { sizeBytes: part.sizeBytes, read }, counted, signal);
          break;
        } catch (error) {
          count(-taken);
          const hasBroken = isWeftError(error, 'ERR_HYPERVISOR_UNREACHABLE');
          if (signal.aborted || !hasBroken || attempt === UPLOAD_ATTEMPTS) throw error;
          await pause(POLL_MS * 2 ** attempt, signal);
        }
      }
    }
  } finally {
    clearInterval(keepAlive);
  }
}

async function updateFiles(rest: RestClient, update: string, signal: AbortSignal): Promise<UpdateFile[]> {
  const call = (await rest.isOld(signal))
    ? { service: '/content/library/item/updatesession/file', query: { update_session_id: update } }
    : { service: `${UPDATE}/${encodeURIComponent(update)}/file` };
  return listOf<UpdateFile>(await rest.call({ method: 'GET', ...call }, signal));
}

async function addFile(
  rest: RestClient,
  update: string,
  part: OvaFile,
  signal: AbortSignal,
): Promise<UpdateFile> {
  const body = {
    name: part.name,
    source_type: 'PUSH',
    size: part.sizeBytes,
    checksum_info: { algorithm: 'SHA256', checksum: part.sha256 },
  };
  const call = (await rest.isOld(signal))
    ? {
        service: '/content/library/item/updatesession/file',
        id: update,
        action: 'add',
        argument: 'file_spec',
      }
    : { service: `${UPDATE}/${encodeURIComponent(update)}/file` };
  return ((await rest.call({ method: 'POST', ...call, body }, signal)) ?? {}) as UpdateFile;
}

/** vCenter checks what it got, which takes as long as it takes. */
async function untilDone(rest: RestClient, update: string, name: string, signal: AbortSignal): Promise<void> {
  for (;;) {
    const read = (await rest.call({ method: 'GET', service: UPDATE, id: update }, signal)) as {
      state?: string;
      error_message?: { default_message?: string };
    };
    if (read.state === 'DONE') return;
    if (read.state !== 'ACTIVE') {
      const why = read.error_message?.default_message ?? `its upload is ${read.state}`;
      throw refusal(`the content library does not take the appliance ${name}: ${why}`);
    }
    await pause(POLL_MS, signal);
  }
}

/** A session that has ended, or whose files were refused. */
async function dropUpdate(rest: RestClient, update: string): Promise<void> {
  const call = { method: 'DELETE', service: UPDATE, id: update } as const;
  await rest.call(call, AbortSignal.timeout(CLEAN_UP_MS)).catch(() => undefined);
}

function about(ova: Ova): string {
  return `The appliance of Weft's engines, SHA-256 of the manifest ${ova.contentHash}. Made by Weft; it may be removed when no engine is deployed from it any more.`;
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await abortable(new Promise((resolve) => setTimeout(resolve, ms)), signal);
}

const turns = new WeakMap<VcenterSession, Map<string, Promise<unknown>>>();

async function inTurn<T>(
  session: VcenterSession,
  library: string,
  signal: AbortSignal,
  work: () => Promise<T>,
): Promise<T> {
  const ours = turns.get(session) ?? new Map<string, Promise<unknown>>();
  turns.set(session, ours);
  const mine = (ours.get(library) ?? Promise.resolve()).then(() => {
    signal.throwIfAborted();
    return work();
  });
  ours.set(
    library,
    mine.catch(() => undefined),
  );
  return abortable(mine, signal);
}
