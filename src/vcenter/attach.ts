/**
 * Bends the paths of NICs, and puts them back. On a distributed switch the NIC is never edited: the VLAN of its port is
 * overridden, of many ports by one task. On a standard switch, and for a move between two port groups, the NIC's
 * backing is changed while it stays connected, one NIC after the other.
 */
import type { NicRef } from '../hypervisor/platform.ts';
import { isWeftError, WeftError } from '../policy/errors.ts';
import { type PortOverride, setPortOverrides, switchOf } from './distributed-switch.ts';
import {
  findOut,
  findSegment,
  type HostNetwork,
  type HostNetworks,
  isShadowOf,
  readHostNetworks,
  refusal,
  segmentNotFound,
} from './host-networks.ts';
import { readVmMark } from './marks.ts';
import { isShadow, replugged, switchUuidOf } from './network.ts';
import { type EthernetCard, nicsOf, plugOf } from './nic.ts';
import { readThere } from './objects.ts';
import { untilFree } from './retry.ts';
import { abortable, type VcenterSession } from './session.ts';
import type { MoRef, Vim } from './vim/schema.ts';

/** A NIC and the segment of its host that it shall be on. */
export interface Move {
  nic: NicRef;
  segment: string;
}

/**
 * Collects what is to be attached while an earlier task runs, and gives it to vCenter together. NICs that go to one
 * segment and NICs that leave it are collected apart: a release never waits for an interception.
 */
export class NicMover {
  readonly #session: VcenterSession;
  readonly #queues = new Map<string, Waiting[]>();

  constructor(session: VcenterSession) {
    this.#session = session;
  }

  /** Resolves when this NIC is there. When the signal aborts, the NIC is left to those it was sent with. */
  async attach(nic: NicRef, segment: string, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const done = new Promise<void>((resolve, reject) => {
      const waiting: Waiting = { move: { nic, segment }, signal, resolve, reject };
      const queue = this.#queues.get(segment);
      if (queue) queue.push(waiting);
      else {
        this.#queues.set(segment, [waiting]);
        void this.#drain(segment);
      }
    });
    // A rejection after the signal has ended the wait is nobody's.
    done.catch(() => undefined);
    await abortable(done, signal);
  }

  async #drain(segment: string): Promise<void> {
    // What is asked for in the same turn goes together.
    await Promise.resolve();
    for (;;) {
      const queue = this.#queues.get(segment) ?? [];
      const batch = queue.splice(0, BATCH).filter(({ signal }) => !signal.aborted);
      if (batch.length === 0 && queue.length === 0) {
        this.#queues.delete(segment);
        return;
      }
      const { signal, release } = allOf(batch.map((one) => one.signal));
      const moves = batch.map(({ move }) => move);
      const outcomes = await attachNics(this.#session, moves, signal).catch((error: unknown) =>
        moves.map(() => error),
      );
      release();
      for (const [index, { resolve, reject }] of batch.entries()) {
        if (outcomes[index] === null) resolve();
        else reject(outcomes[index]);
      }
    }
  }
}

/**
 * Attaches NICs, as many by one task as can be. Answers in the order asked: null, or the error of that NIC. What fails
 * for all is tried in halves, so that one port that vCenter refuses does not keep the others from moving.
 */
export async function attachNics(
  session: VcenterSession,
  moves: readonly Move[],
  signal: AbortSignal,
): Promise<unknown[]> {
  if (moves.length === 0) return [];
  try {
    return await untilFree(() => attachOnce(session, moves, signal), signal);
  } catch (error) {
    if (moves.length === 1 || signal.aborted || !isWeftError(error, 'ERR_HYPERVISOR_REFUSED')) {
      return moves.map(() => error);
    }
    const middle = moves.length >> 1;
    return [
      ...(await attachNics(session, moves.slice(0, middle), signal)),
      ...(await attachNics(session, moves.slice(middle), signal)),
    ];
  }
}

/** One NIC. Throws its error. */
export async function attachNic(
  session: VcenterSession,
  nic: NicRef,
  segment: string,
  signal: AbortSignal,
): Promise<void> {
  const [error] = await attachNics(session, [{ nic, segment }], signal);
  if (error !== null) throw error;
}

/** What is to be done to one NIC. */
export interface Change {
  vmName: string;
  hostName: string;
  /** The port of a distributed switch that gets or loses its override. */
  override: PortOverride | null;
  /** The NIC as it is, and the network that its backing is to become. */
  replug: { vm: MoRef; card: EthernetCard; network: HostNetwork } | null;
}

/** Reads where the NICs are, and says what is to be done to each, or its error. Nothing is changed. */
export async function planMoves(
  session: VcenterSession,
  moves: readonly Move[],
  signal: AbortSignal,
): Promise<(Change | WeftError)[]> {
  const paths = ['name', 'runtime.host', 'config.hardware.device', 'config.annotation'];
  const ids = [...new Set(moves.map(({ nic }) => nic.vm))];
  const vms = await readThere(
    session,
    ids.map((value) => ({ type: 'VirtualMachine', value })),
    paths,
    signal,
  );
  const hostIds = [...vms.values()].flatMap((vm) => (vm['runtime.host'] as MoRef | undefined)?.value ?? []);
  const hosts = new Map<string, HostNetworks>();
  for (const id of new Set(hostIds)) hosts.set(id, await readHostNetworks(session, id, signal));
  return moves.map((move) => {
    try {
      return planMove(move, vms.get(move.nic.vm), hosts);
    } catch (error) {
      if (error instanceof WeftError) return error;
      throw error;
    }
  });
}

/** So many ports by one task: a failed one is repeated in halves, a long one holds the next up. */
const BATCH = 128;

interface Waiting {
  move: Move;
  signal: AbortSignal;
  resolve(): void;
  reject(error: unknown): void;
}

/** Aborts when all of them have: what some still wait for goes on. */
function allOf(signals: readonly AbortSignal[]): { signal: AbortSignal; release(): void } {
  const all = new AbortController();
  let left = signals.length;
  const onAbort = (event: Event): void => {
    if (--left === 0) all.abort((event.target as AbortSignal).reason);
  };
  for (const one of signals) one.addEventListener('abort', onAbort, { once: true });
  return {
    signal: all.signal,
    release: () => {
      for (const one of signals) one.removeEventListener('abort', onAbort);
    },
  };
}

async function attachOnce(
  session: VcenterSession,
  moves: readonly Move[],
  signal: AbortSignal,
): Promise<unknown[]> {
  const changes = await planMoves(session, moves, signal);
  const outcomes: unknown[] = changes.map((change) => (change instanceof WeftError ? change : null));
  const bySwitch = new Map<string, { index: number; override: PortOverride }[]>();
  for (const [index, change] of changes.entries()) {
    if (change instanceof WeftError || !change.override) continue;
    const { value } = switchOf(change.override.production);
    const list = bySwitch.get(value) ?? [];
    bySwitch.set(value, [...list, { index, override: change.override }]);
  }
  for (const list of bySwitch.values()) {
    const overrides = list.map(({ override }) => override);
    const problems = await setPortOverrides(session, overrides, signal);
    for (const [at, { index }] of list.entries()) outcomes[index] = problems[at] ?? null;
  }
  for (const [index, change] of changes.entries()) {
    if (change instanceof WeftError || !change.replug || outcomes[index] !== null) continue;
    const [move] = moves.slice(index, index + 1);
    if (moves.length === 1) await replug(session, change.replug, signal);
    else if (move) outcomes[index] = (await attachNics(session, [move], signal))[0];
  }
  return outcomes;
}

async function replug(
  session: VcenterSession,
  { vm, card, network }: NonNullable<Change['replug']>,
  signal: AbortSignal,
): Promise<void> {
  const device = replugged(card, network, await switchUuidOf(session, network, signal));
  const spec: Vim<'VirtualMachineConfigSpec'> = { deviceChange: [{ operation: 'edit', device }] };
  await session.task(vm, 'ReconfigVM_Task', { spec }, signal);
}

function planMove(
  { nic, segment }: Move,
  read: Record<string, unknown> | undefined,
  hosts: ReadonlyMap<string, HostNetworks>,
): Change {
  const host = read?.['runtime.host'] as MoRef | undefined;
  const on = hosts.get(host?.value ?? '');
  if (!read || !host || !on) throw new WeftError('ERR_NOT_FOUND', `there is no VM ${nic.vm}`);
  const vm: MoRef = { type: 'VirtualMachine', value: nic.vm };
  const name = read.name as string;
  const mark = readVmMark(read['config.annotation'] as string | undefined);
  const isEngine = mark !== null && mark.engine !== null;
  const devices = (read['config.hardware.device'] ?? []) as Vim<'VirtualDevice'>[];
  const card = nicsOf(devices, isEngine).find(({ id }) => id === nic.nic)?.card;
  if (!card) throw new WeftError('ERR_NOT_FOUND', `VM ${name} has no NIC ${nic.nic}`);
  const target = findSegment(on, segment);
  if (!target) throw segmentNotFound(segment, on.name);
  const plug = plugOf(card);
  if (plug.kind === 'other') {
    throw refusal(`NIC ${nic.nic} of ${name} is on no port group (NSX, passthrough or none): move it to one`);
  }
  const change: Change = { vmName: name, hostName: on.name, override: null, replug: null };
  if (plug.kind === 'distributed' && !isEngine) {
    const current = on.networks.find((one) => one.ref.value === plug.portGroup);
    const position = { vm, vmName: name, port: plug.port };
    if (isShadowOf(target, host.value)) {
      if (target.mark.production !== plug.portGroup) {
        throw refusal(
          `NIC ${nic.nic} of ${name} is on ${current?.name ?? plug.portGroup}, which ${segment} does not shadow`,
        );
      }
      if (current?.kind !== 'distributed') throw segmentNotFound(plug.portGroup, on.name);
      return { ...change, override: { production: current, ...position, vlan: target.mark.vlan } };
    }
    if (current?.kind === 'distributed') change.override = { production: current, ...position, vlan: null };
    if (target.ref.value === plug.portGroup) return change;
  }
  const network = isEngine && !isShadow(target, on) && nic.nic === 'out' ? findOut(on, target) : target;
  const isThere =
    plug.kind === 'distributed' ? plug.portGroup === network.ref.value : plug.name === network.name;
  if (isThere && (plug.kind === 'distributed') === (network.kind === 'distributed')) return change;
  if (network.kind === 'opaque') {
    throw refusal(`segment ${segment} belongs to NSX: NICs are not moved to it`);
  }
  return { ...change, replug: { vm, card, network } };
}
