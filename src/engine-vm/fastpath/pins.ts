/**
 * Where the kernel's part of the packet path is kept while no process of the engine lives: names in a bpf file system
 * for the maps (one directory, whole or not there) and for the link of each port. What a later process finds here it
 * takes over; what does not fit is removed and begun anew. Unmounting the directory removes everything.
 */
import { existsSync, mkdirSync, readdirSync, renameSync, rmdirSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { mountBpf, openPin, pin } from '../kernel/bpf.ts';

/**
 * Counts changes of what lies in the maps: slots, configuration, records, and the meaning of their fields. A process
 * takes over only maps of its own layout.
 */
export const LAYOUT = 8;

export class Pins {
  private readonly directory: string;

  /** Mounts a bpf file system on the directory where there is none. Throws ERR_KERNEL. */
  constructor(directory: string) {
    this.directory = directory;
    mountBpf(directory);
  }

  /** The kind of program whose maps are kept whole, or null. */
  get kind(): 'xdp' | 'tc' | null {
    for (const kind of ['xdp', 'tc'] as const) if (existsSync(this.mapsOf(kind))) return kind;
    return null;
  }

  /** Opens a kept map. Throws ERR_KERNEL where it is not there. */
  openMap(kind: string, name: string): number {
    return openPin(join(this.mapsOf(kind), name));
  }

  /** Keeps a set of maps beside the one that is kept; `commitMaps` puts it in its place. Throws ERR_KERNEL. */
  keepMaps(fds: Readonly<Record<string, number>>): void {
    const fresh = this.fresh;
    removeFolder(fresh);
    mkdirSync(fresh);
    for (const [name, fd] of Object.entries(fds)) pin(fd, join(fresh, name));
  }

  /** From here on the new set of maps is the kept one. */
  commitMaps(kind: string): void {
    this.removeMaps();
    renameSync(this.fresh, this.mapsOf(kind));
  }

  removeMaps(): void {
    for (const name of readdirSync(this.directory)) {
      if (name.startsWith('maps-')) removeFolder(join(this.directory, name));
    }
  }

  /** Whether the latest process ended between two sets of maps: then nobody knows which one the program uses. */
  get isTorn(): boolean {
    return existsSync(this.fresh);
  }

  /** Opens the kept link of a port; -1 where there is none. */
  openLink(port: number): number {
    return existsSync(this.linkOf(port)) ? openPin(this.linkOf(port)) : -1;
  }

  keepLink(port: number, fd: number): void {
    this.removeLink(port);
    pin(fd, this.linkOf(port));
  }

  removeLink(port: number): void {
    if (existsSync(this.linkOf(port))) unlinkSync(this.linkOf(port));
  }

  /** Removes all that is kept, of any layout. */
  clear(): void {
    for (const entry of readdirSync(this.directory, { withFileTypes: true })) {
      // maps.debug and progs.debug are the kernel's.
      if (entry.isDirectory()) removeFolder(join(this.directory, entry.name));
      else if (entry.name.startsWith('link-')) unlinkSync(join(this.directory, entry.name));
    }
  }

  private get fresh(): string {
    return join(this.directory, 'new');
  }

  private mapsOf(kind: string): string {
    return join(this.directory, `maps-${kind}-${LAYOUT}`);
  }

  private linkOf(port: number): string {
    return join(this.directory, `link-${port}`);
  }
}

function removeFolder(folder: string): void {
  if (!existsSync(folder)) return;
  for (const name of readdirSync(folder)) unlinkSync(join(folder, name));
  rmdirSync(folder);
}
