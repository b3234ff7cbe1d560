/**
 * Uploading disks under an HttpNfcLease. The lease lives as long as somebody reports progress. An upload that breaks
 * off goes on with the same lease, the disk from its beginning (hosts take no part of one); whatever else goes wrong ends
 * the lease, so that vCenter removes the half of a VM at once instead of after the lease's time.
 */
import { isWeftError, WeftError } from '../policy/errors.ts';
import { refusal } from './host-networks.ts';
import { readOne } from './objects.ts';
import { abortable, type VcenterSession } from './session.ts';
import { sendFile } from './upload.ts';
import type { MoRef, Vim } from './vim/schema.ts';

/** One file to upload. */
export interface UploadFile {
  /** The `deviceId` of the import spec's file item, which the lease repeats as `importKey`. */
  deviceId: string;
  sizeBytes: number;
  /** The item is made rather than filled: another method and header. */
  isCreated: boolean;
  read(signal: AbortSignal): AsyncIterable<Buffer>;
}

/**
 * Waits for the lease, uploads every file and completes it; answers the VM. Ends the lease where anything fails or the
 * signal aborts. `progress` gets 0 to 1.
 */
export async function uploadUnderLease(
  session: VcenterSession,
  lease: MoRef,
  files: readonly UploadFile[],
  progress: (fraction: number) => void,
  signal: AbortSignal,
): Promise<MoRef> {
  try {
    const info = await untilReady(session, lease, signal);
    await keptAlive(session, lease, files, progress, signal, async (uploaded, ended) => {
      for (const file of files) {
        const device = info.deviceUrl?.find(({ importKey }) => importKey === file.deviceId);
        if (!device) throw refusal(`the lease has no place for the disk ${file.deviceId}`);
        const url = urlOf(device.url, session.address);
        await untilTaken(session, lease, ended, async () => {
          let taken = 0;
          const count = (bytes: number): void => {
            taken += bytes;
            uploaded(bytes);
          };
          try {
            const target = {
              url,
              method: file.isCreated ? ('PUT' as const) : ('POST' as const),
              headers: {
                'Content-Type': 'application/x-vnd.vmware-streamVmdk',
                ...(file.isCreated ? { Overwrite: 't' } : {}),
              },
              thumbprint: device.sslThumbprint || null,
            };
            await sendFile(session, target, file, count, ended);
          } catch (error) {
            uploaded(-taken);
            throw error;
          }
        });
      }
    });
    await session.call(lease, 'HttpNfcLeaseComplete', {}, signal);
    return info.entity;
  } catch (error) {
    // With a signal of its own: the caller's may be what ended the work.
    await session
      .call(lease, 'HttpNfcLeaseAbort', {}, AbortSignal.timeout(CLEAN_UP_MS))
      .catch(() => undefined);
    throw error;
  }
}

const POLL_MS = 200;
const UPLOAD_ATTEMPTS = 6;
const FIRST_PAUSE_MS = 250;
/** Leases end after 300 s without a word; proxies and impatient people after less. */
const KEEP_ALIVE_MS = 5000;
const CLEAN_UP_MS = 10_000;

async function untilReady(
  session: VcenterSession,
  lease: MoRef,
  signal: AbortSignal,
): Promise<Vim<'HttpNfcLeaseInfo'>> {
  for (;;) {
    const { state, error } = await readOne(session, lease, ['state', 'error'], signal);
    if (state === 'ready') {
      const { info } = await readOne(session, lease, ['info'], signal);
      return info as Vim<'HttpNfcLeaseInfo'>;
    }
    if (state === 'error' || state === 'done') {
      const { localizedMessage } = (error ?? {}) as { localizedMessage?: string };
      throw refusal(`vCenter gave up the import: ${localizedMessage ?? 'it does not say why'}`);
    }
    await abortable(new Promise((resolve) => setTimeout(resolve, POLL_MS)), signal);
  }
}

/** Repeats an upload that broke off while the lease is alive. */
async function untilTaken(
  session: VcenterSession,
  lease: MoRef,
  signal: AbortSignal,
  work: () => Promise<void>,
): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      const hasBroken =
        isWeftError(error, 'ERR_HYPERVISOR_UNREACHABLE') && !/certificate/.test(error.message);
      if (signal.aborted || !hasBroken || attempt === UPLOAD_ATTEMPTS) throw error;
      const ms = FIRST_PAUSE_MS * 2 ** attempt * (0.5 + Math.random());
      await abortable(new Promise((resolve) => setTimeout(resolve, ms)), signal);
      const { state } = await readOne(session, lease, ['state'], signal);
      if (state !== 'ready') throw error;
    }
  }
}

/** Runs the work while telling vCenter how far it is. Ends it when vCenter does not know the lease any more. */
async function keptAlive(
  session: VcenterSession,
  lease: MoRef,
  files: readonly UploadFile[],
  progress: (fraction: number) => void,
  signal: AbortSignal,
  work: (uploaded: (bytes: number) => void, ended: AbortSignal) => Promise<void>,
): Promise<void> {
  const total = files.reduce((sum, file) => sum + file.sizeBytes, 0);
  const lost = new AbortController();
  let done = 0;
  const tell = async (): Promise<void> => {
    const percent = total === 0 ? 100 : Math.min(100, Math.floor((done / total) * 100));
    await session.call(lease, 'HttpNfcLeaseProgress', { percent }, signal);
  };
  const timer = setInterval(() => {
    tell().catch((error: unknown) => {
      // No answer may be a hiccup; an answer that refuses is the end of the lease.
      if (!(error instanceof WeftError && error.code === 'ERR_HYPERVISOR_UNREACHABLE')) lost.abort(error);
    });
  }, KEEP_ALIVE_MS);
  try {
    await work(
      (bytes) => {
        done += bytes;
        progress(total === 0 ? 1 : done / total);
      },
      AbortSignal.any([signal, lost.signal]),
    );
    await tell();
  } finally {
    clearInterval(timer);
  }
}

/** `*` stands for the address by which vCenter was reached. */
function urlOf(text: string, origin: string): URL {
  const { hostname, port } = new URL(origin);
  const place = text.replace('//*', `//${hostname}`);
  const url = URL.canParse(place) ? new URL(place) : null;
  if (url?.protocol !== 'https:') {
    throw refusal('vCenter names a place for the upload that is not reached by HTTPS');
  }
  if (text.includes('//*/') && port !== '') url.port = port;
  return url;
}
