/**
 * What calls would reconfigure in vCenter, a line for each object, in the words of its client. Read only: an
 * administrator sees it before anything is touched.
 */
import type { PlannedCall } from '../hypervisor/platform.ts';
import { WeftError } from '../policy/errors.ts';
import { type Change, type Move, planMoves } from './attach.ts';
import { planDistributedSegment, switchOf, vlanOfGroup } from './distributed-switch.ts';
import { TOLD_KEY } from './engine.ts';
import { findBeginning, findSegment, type HostNetworks, readHostNetworks } from './host-networks.ts';
import type { VlanRange } from './network.ts';
import { readThere } from './objects.ts';
import type { VcenterSession } from './session.ts';

/** For each call its lines, in the order asked. What would be refused says so in its line. */
export async function previewCalls(
  session: VcenterSession,
  shadowVlans: VlanRange,
  calls: readonly PlannedCall[],
  signal: AbortSignal,
): Promise<string[][]> {
  const preview = new Preview(session, shadowVlans, signal);
  await preview.readMoves(calls.flatMap((call) => (call.call === 'attach' ? [call] : [])));
  const lines: string[][] = [];
  for (const call of calls) {
    try {
      lines.push(await preview.linesOf(call));
    } catch (error) {
      if (!(error instanceof WeftError) || signal.aborted) throw error;
      lines.push([`refused: ${error.message}`]);
    }
  }
  return lines;
}

/** What a call earlier in the list would make. */
interface Draft {
  /** The segment that it shadows. */
  shadows: string;
  /** Null on a standard switch. */
  vlan: number | null;
}

class Preview {
  readonly #session: VcenterSession;
  readonly #shadowVlans: VlanRange;
  readonly #signal: AbortSignal;
  readonly #hosts = new Map<string, HostNetworks>();
  readonly #drafts = new Map<string, Draft>();
  /** Port groups that an earlier call would have made or changed already. */
  readonly #told = new Set<string>();
  readonly #switches = new Map<string, string>();
  readonly #moves = new Map<string, Change | WeftError>();

  constructor(session: VcenterSession, shadowVlans: VlanRange, signal: AbortSignal) {
    this.#session = session;
    this.#shadowVlans = shadowVlans;
    this.#signal = signal;
  }

  /** All at once: there may be hundreds. */
  async readMoves(moves: readonly Move[]): Promise<void> {
    const changes = await planMoves(this.#session, moves, this.#signal);
    for (const [index, move] of moves.entries()) {
      const change = changes[index];
      if (change) this.#moves.set(keyOf(move), change);
    }
  }

  async linesOf(call: PlannedCall): Promise<string[]> {
    switch (call.call) {
      case 'ensureSegment':
        return this.#ensureSegment(call);
      case 'removeSegment': {
        const on = await this.#host(call.host);
        const beginning = findSegment(on, call.segment) ? undefined : findBeginning(on, call.segment);
        return [
          beginning
            ? `DVPG ${beginning.name}: destroy; the policy of ${beginning.mark.segment} as it was before`
            : `port group of segment ${call.segment} on host ${on.name}: destroy`,
        ];
      }
      case 'deployEngine': {
        if (call.running !== undefined) {
          return [
            `VM ${await this.#nameOf(call.running)}: set ${TOLD_KEY} (controller, authority, one-time token); it runs on`,
          ];
        }
        const { name } = await this.#host(call.host);
        const { mgmt, out, in: inside } = call.segments;
        return [`VM ${call.engine}: import to host ${name}, NICs on ${mgmt}, ${out} and ${inside}; power on`];
      }
      case 'removeVm':
        return [`VM ${await this.#nameOf(call.vm)}: power off, delete from disk`];
      case 'cloneVm':
        return [`VM ${call.name}: clone, power on`];
      case 'power':
        return [`VM ${await this.#nameOf(call.vm)}: power ${call.action}`];
      case 'attach':
        return this.#attach(call);
      case 'mirror': {
        const names = await Promise.all(call.nics.map(({ vm }) => this.#nameOf(vm)));
        return [
          names.length === 0
            ? `port mirroring session weft-${call.engine}: remove`
            : `port mirroring session weft-${call.engine}: ports of ${names.join(', ')}, both ways, to port in of ${call.engine}`,
        ];
      }
    }
  }

  async #ensureSegment(call: Extract<PlannedCall, { call: 'ensureSegment' }>): Promise<string[]> {
    const on = await this.#host(call.host);
    const production = findSegment(on, call.shadows);
    const draft = (vlan: number | null): void =>
      void this.#drafts.set(`${call.host}/${call.segment}`, { shadows: call.shadows, vlan });
    if (production?.kind === 'standard') {
      draft(null);
      return [
        `port group ${call.segment}-out of host ${on.name}: create on the VLAN of ${call.shadows}; promiscuous, forged transmits`,
        `port group ${call.segment} of host ${on.name}: create on a free VLAN, no uplinks; promiscuous, forged transmits`,
      ];
    }
    if (production?.kind !== 'distributed') {
      throw new WeftError(
        'ERR_HYPERVISOR_REFUSED',
        `segment ${call.shadows} of host ${on.name} cannot be shadowed`,
      );
    }
    const plan = await planDistributedSegment(
      this.#session,
      on,
      production,
      call.segment,
      this.#shadowVlans,
      this.#signal,
    );
    draft(plan.shadowVlan);
    const bridging = `${plan.learnsMacs ? 'MAC learning' : 'promiscuous'}, forged transmits`;
    const { ref, name } = production;
    return [
      ...this.#once(
        `out ${ref.value}`,
        plan.out && `DVPG ${plan.out}: create on VLAN ${plan.vlan}; ${bridging}`,
      ),
      ...this.#once(
        `allow ${ref.value}`,
        plan.allows && `DVPG ${name}: allow VLAN override and teaming override`,
      ),
      ...(plan.in === null
        ? []
        : [`DVPG ${plan.in}: create on VLAN ${plan.shadowVlan}, no uplinks; ${bridging}`]),
    ];
  }

  async #attach(call: Extract<PlannedCall, { call: 'attach' }>): Promise<string[]> {
    const move = this.#moves.get(keyOf(call));
    if (!move) return [];
    if (!(move instanceof WeftError)) return this.#changeLines(move);
    const host = await this.#hostOf(call.nic.vm);
    const draft = this.#drafts.get(`${host}/${call.segment}`);
    if (move.code !== 'ERR_NOT_FOUND' || !draft) throw move;
    // The segment is made by then: the port is the one that it has on the production port group.
    const [now] = await planMoves(this.#session, [{ nic: call.nic, segment: draft.shadows }], this.#signal);
    if (!now || now instanceof WeftError) throw now ?? move;
    if (!now.override)
      return [`NIC ${call.nic.nic} of ${now.vmName}: network ${draft.shadows} -> ${call.segment}`];
    return this.#changeLines({ ...now, override: { ...now.override, vlan: draft.vlan } });
  }

  async #changeLines({ vmName, override, replug }: Change): Promise<string[]> {
    const lines: string[] = [];
    if (override) {
      const { production, port, vlan } = override;
      const own = vlanOfGroup(production) ?? 'none';
      const where = `port ${port ?? '(none yet)'} of ${await this.#switchName(switchOf(production).value)} (${vmName})`;
      lines.push(
        vlan === null
          ? `${where}: VLAN and uplinks as ${production.name} says (${own})`
          : `${where}: VLAN ${own} -> ${vlan}, no uplinks`,
      );
    }
    if (replug) lines.push(`NIC ${replug.card.key} of ${vmName}: network -> ${replug.network.name}`);
    return lines;
  }

  #once(key: string, line: string | false | null): string[] {
    if (!line || this.#told.has(key)) return [];
    this.#told.add(key);
    return [line];
  }

  async #host(id: string): Promise<HostNetworks> {
    const known = this.#hosts.get(id);
    if (known) return known;
    const read = await readHostNetworks(this.#session, id, this.#signal);
    this.#hosts.set(id, read);
    return read;
  }

  async #hostOf(vm: string): Promise<string> {
    const read = await this.#read('VirtualMachine', vm, 'runtime.host');
    return (read as { value?: string } | undefined)?.value ?? '';
  }

  async #nameOf(vm: string): Promise<string> {
    return String((await this.#read('VirtualMachine', vm, 'name')) ?? vm);
  }

  async #switchName(id: string): Promise<string> {
    const known = this.#switches.get(id);
    if (known !== undefined) return known;
    const name = String((await this.#read('VmwareDistributedVirtualSwitch', id, 'name')) ?? id);
    this.#switches.set(id, name);
    return name;
  }

  async #read(type: string, value: string, path: string): Promise<unknown> {
    return (await readThere(this.#session, [{ type, value }], [path], this.#signal)).get(value)?.[path];
  }
}

function keyOf({ nic, segment }: Move): string {
  return `${nic.vm}/${nic.nic}>${segment}`;
}
