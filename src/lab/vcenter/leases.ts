/**
 * Leases: an import that waits for its disks. The VM is there from the moment the lease is ready; it goes when the
 * lease is aborted, when nobody reports progress for five minutes, and when the daemon is started anew. The bytes of
 * a disk are counted and hashed; the lab has no use for what is in them.
 */
import { createHash, randomUUID } from 'node:crypto';
import type { Readable } from 'node:stream';
import { thumbprint } from './certificate.ts';
import type { ManagedObject } from './inventory/object.ts';
import type { Vcenter } from './vcenter.ts';
import { VimFault } from './wire/fault.ts';
import { type MoRef, moRef, type Struct } from './wire/values.ts';

const TIMEOUT_MS = 300_000;
const MAX_LEASES = 50;
const MAX_DISK_BYTES = 16 * 2 ** 30;
/** How a sparse VMDK begins. */
const VMDK_MAGIC = Buffer.from('KDMV');

export interface LeaseDisk {
  importKey: string;
  /** Bytes that the descriptor announces; 0 where it says nothing. */
  size: number;
  capacityBytes: number;
  uploaded: { size: number; sha1: string; sha256: string } | null;
}

interface Lease {
  ref: MoRef;
  secret: string;
  vm: string | null;
  disks: LeaseDisk[];
  state: 'initializing' | 'ready' | 'done' | 'error';
  error?: VimFault;
  progress: number;
  deadline: NodeJS.Timeout;
}

export class LeaseTable {
  readonly #vcenter: Vcenter;
  readonly #leases = new Map<string, Lease>();
  /** Sizes that descriptors announced, by import key: an ImportSpec does not carry them. */
  readonly announced = new Map<string, number>();

  constructor(vcenter: Vcenter) {
    this.#vcenter = vcenter;
  }

  /** Opens a lease; `make` makes the VM, and its id makes the lease ready. */
  open(disks: LeaseDisk[], make: () => Promise<string>): MoRef {
    for (const [id, lease] of this.#leases) {
      if (this.#leases.size < MAX_LEASES) break;
      if (lease.state === 'done' || lease.state === 'error') this.#leases.delete(id);
    }
    if (this.#leases.size >= MAX_LEASES) {
      throw new VimFault('ResourceInUse', `${MAX_LEASES} imports are going on`, {
        type: 'HttpNfcLease',
        name: 'leases',
      });
    }
    const id = `session[${randomUUID()}]${randomUUID()}`;
    const lease: Lease = {
      ref: moRef('HttpNfcLease', id),
      secret: randomUUID(),
      vm: null,
      disks,
      state: 'initializing',
      progress: 0,
      deadline: this.#deadline(id),
    };
    this.#leases.set(id, lease);
    void make().then(
      (vm) => {
        lease.vm = vm;
        lease.state = 'ready';
        this.#vcenter.changed();
      },
      (error: unknown) => {
        this.#fail(
          lease,
          error instanceof VimFault
            ? error
            : new VimFault('SystemError', String((error as Error).message), {
                reason: String((error as Error).message),
              }),
        );
      },
    );
    return lease.ref;
  }

  progress(id: string, percent: number): void {
    const lease = this.#ready(id);
    lease.progress = Math.max(0, Math.min(100, percent));
    clearTimeout(lease.deadline);
    lease.deadline = this.#deadline(id);
    this.#vcenter.wake();
  }

  /** The import is whole. Throws where a disk is missing. */
  complete(id: string): void {
    const lease = this.#ready(id);
    const missing = lease.disks.find((disk) => !disk.uploaded);
    if (missing) throw new VimFault('InvalidState', `disk ${missing.importKey} was not uploaded`);
    clearTimeout(lease.deadline);
    lease.state = 'done';
    lease.progress = 100;
    const overlay = this.#vcenter.state.vms[lease.vm!];
    if (overlay) overlay.isImporting = false;
    this.#vcenter.changed();
  }

  /** Ends the import and removes what is there of its VM. */
  async abort(id: string, reason?: VimFault): Promise<void> {
    const lease = this.#find(id);
    if (lease.state === 'done' || lease.state === 'error') {
      throw new VimFault('InvalidState', `the lease is ${lease.state} already`);
    }
    this.#fail(lease, reason ?? new VimFault('RequestCanceled', 'The import was aborted.'));
    if (lease.vm) await this.#vcenter.datacenter.vms.destroy(lease.vm);
    this.#vcenter.follow();
    this.#vcenter.changed();
  }

  manifest(id: string): Struct[] {
    return this.#find(id).disks.flatMap((disk, index) =>
      disk.uploaded
        ? [
            {
              key: `disk-${index}`,
              sha1: disk.uploaded.sha1,
              checksum: disk.uploaded.sha256,
              checksumType: 'sha256',
              size: disk.uploaded.size,
              disk: true,
              capacity: disk.capacityBytes,
            },
          ]
        : [],
    );
  }

  /** Takes the bytes of a disk. Throws NotFound, FileFault, InvalidState. */
  async receive(secret: string, index: number, body: Readable): Promise<void> {
    const lease = [...this.#leases.values()].find((one) => one.secret === secret);
    const disk = lease?.disks[index];
    if (!lease || !disk) throw new VimFault('NotFound', 'there is no such disk to upload');
    this.#ready(lease.ref.id);
    const [sha1, sha256] = [createHash('sha1'), createHash('sha256')];
    let size = 0;
    let head = Buffer.alloc(0);
    for await (const chunk of body as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (head.length < 4) head = Buffer.concat([head, chunk.subarray(0, 4)]);
      if (size > MAX_DISK_BYTES || (disk.size > 0 && size > disk.size))
        throw wrongDisk(disk, `is more than the ${disk.size} bytes of the descriptor`);
      sha1.update(chunk);
      sha256.update(chunk);
    }
    if (disk.size > 0 && size !== disk.size)
      throw wrongDisk(disk, `is ${size} bytes, but the descriptor says ${disk.size}`);
    if (!head.subarray(0, 4).equals(VMDK_MAGIC)) throw wrongDisk(disk, 'is no stream-optimized VMDK');
    disk.uploaded = { size, sha1: sha1.digest('hex'), sha256: sha256.digest('hex') };
    this.#vcenter.wake();
  }

  objects(): ManagedObject[] {
    return [...this.#leases.values()].map((lease) => ({
      ref: lease.ref,
      properties: {
        initializeProgress: () => (lease.state === 'initializing' ? 0 : 100),
        transferProgress: () => lease.progress,
        mode: () => 'pushOrGet',
        capabilities: () => ({ pullModeSupported: false, corsSupported: false }),
        state: () => lease.state,
        error: () => lease.error?.localized(),
        info: () => (lease.vm ? this.#info(lease) : undefined),
      },
    }));
  }

  /** Removes VMs whose import an earlier daemon did not finish. */
  async removeRemains(): Promise<void> {
    for (const [id, overlay] of Object.entries(this.#vcenter.state.vms)) {
      if (overlay.isImporting) await this.#vcenter.datacenter.vms.destroy(id);
    }
  }

  /** After a restart: no lease is known any more, and what was half imported goes. */
  async forget(): Promise<void> {
    this.stop();
    this.#leases.clear();
    await this.removeRemains();
  }

  stop(): void {
    for (const lease of this.#leases.values()) clearTimeout(lease.deadline);
  }

  #info(lease: Lease): Struct {
    const { vcenter } = { vcenter: this.#vcenter };
    return {
      $type: 'HttpNfcLeaseInfo',
      lease: lease.ref,
      entity: moRef('VirtualMachine', lease.vm!),
      deviceUrl: lease.disks.map((disk, index) => ({
        key: `disk-${index}`,
        importKey: disk.importKey,
        // As a host behind vCenter answers: the client puts the address that it knows in place of the star.
        url: `https://*/nfc/${lease.secret}/disk-${index}.vmdk`,
        sslThumbprint: thumbprint(vcenter.state.certificate, 'sha1'),
        disk: true,
        targetId: `disk-${index}.vmdk`,
        datastoreKey: 'lab-store',
        ...(disk.size > 0 ? { fileSize: disk.size } : {}),
      })),
      totalDiskCapacityInKB: Math.ceil(lease.disks.reduce((sum, disk) => sum + disk.capacityBytes, 0) / 1024),
      leaseTimeout: TIMEOUT_MS / 1000,
    };
  }

  #ready(id: string): Lease {
    const lease = this.#find(id);
    if (lease.state === 'ready') return lease;
    throw new VimFault('InvalidState', `the lease is ${lease.state}, not ready`);
  }

  #find(id: string): Lease {
    const lease = this.#leases.get(id);
    if (lease) return lease;
    const ref = moRef('HttpNfcLease', id);
    throw new VimFault('ManagedObjectNotFound', `there is no lease ${id}`, { obj: ref });
  }

  #fail(lease: Lease, error: VimFault): void {
    clearTimeout(lease.deadline);
    lease.state = 'error';
    lease.error = error;
    this.#vcenter.wake();
  }

  #deadline(id: string): NodeJS.Timeout {
    const timer = setTimeout(() => {
      this.abort(id, new VimFault('Timedout', 'The lease timed out: nobody reported progress.')).catch(
        (error: unknown) => console.error('an import that timed out cannot be removed:', error),
      );
    }, TIMEOUT_MS);
    timer.unref();
    return timer;
  }
}

function wrongDisk(disk: LeaseDisk, why: string): VimFault {
  return new VimFault('FileFault', `disk ${disk.importKey} ${why}`, { file: disk.importKey });
}
