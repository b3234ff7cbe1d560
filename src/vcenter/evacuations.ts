/**
 * Hosts on their way into maintenance. No property of a host says so before it has arrived; the task that takes it
 * there does.
 */
import { listOf, type ObjectMirror } from './inventory-objects.ts';
import { readThere } from './objects.ts';
import type { VcenterSession } from './session.ts';
import type { MoRef } from './vim/schema.ts';

export class Evacuations {
  /** Tasks of hosts that have ended or are about something else: they are not asked for again. */
  #settled = new Set<string>();

  /** The ids of the hosts that are being emptied now. */
  async read(session: VcenterSession, mirror: ObjectMirror, signal: AbortSignal): Promise<Set<string>> {
    const hostOf = new Map<string, string>();
    for (const { ref, properties } of mirror.all()) {
      if (ref.type !== 'HostSystem') continue;
      for (const task of listOf<MoRef>(properties.recentTask)) hostOf.set(task.value, ref.value);
    }
    this.#settled = new Set([...this.#settled].filter((task) => hostOf.has(task)));
    const asked = [...hostOf.keys()].filter((task) => !this.#settled.has(task));
    const paths = ['info.descriptionId', 'info.state'];
    const refs = asked.map((value): MoRef => ({ type: 'Task', value }));
    const tasks = asked.length === 0 ? new Map() : await readThere(session, refs, paths, signal);
    const hosts = new Set<string>();
    for (const task of asked) {
      const info = tasks.get(task) as Record<string, unknown> | undefined;
      const isEntering = /\.enterMaintenanceMode$/.test(String(info?.['info.descriptionId']));
      const isUnderWay = info?.['info.state'] === 'running' || info?.['info.state'] === 'queued';
      if (isEntering && isUnderWay) hosts.add(hostOf.get(task) ?? '');
      else this.#settled.add(task);
    }
    return hosts;
  }
}
