/**
 * A platform in memory, for tests of the controller: a datacenter as plain data, which can be kept in a file so that
 * it outlives a controller that is killed, and faults that can be put in the way of every call.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import type {
  CloneSpec,
  EngineSpec,
  Host,
  Inventory,
  Lack,
  Mirror,
  Nic,
  NicRef,
  Note,
  Owner,
  OwnerRecord,
  PlannedCall,
  Platform,
  Progress,
  SegmentSpec,
  TextKeeper,
  UnfinishedVm,
  Vm,
  VmStats,
} from '../../src/hypervisor/platform.ts';
import { WeftError } from '../../src/policy/errors.ts';

export interface DatacenterState {
  revision: number;
  hosts: Host[];
  vms: Vm[];
  /** What engines were told at their first boot, by VM id. */
  properties: Record<string, EngineSpec['properties']>;
  /** What a deployment that was cut short left. */
  unfinished?: UnfinishedVm[] | undefined;
  /** What is copied to which engine. */
  mirrors?: Mirror[];
}

export type Mutation =
  | 'ensureSegment'
  | 'removeSegment'
  | 'deployEngine'
  | 'removeVm'
  | 'cloneVm'
  | 'power'
  | 'migrate'
  | 'attach'
  | 'mirror';

/** The hypervisor side. Any number of platforms may be opened on one datacenter. */
export class MemoryDatacenter {
  state: DatacenterState;
  /** Called around the effect of every mutation; may throw. */
  onMutation: (method: Mutation, phase: 'before' | 'after', subject: string) => void = () => {};
  /** Shown instead of the true listing. */
  disguise: ((inventory: Inventory) => Inventory) | null = null;
  /** What a listing waits for before it answers. */
  listing: ((alive: () => void, signal: AbortSignal) => Promise<void>) | null = null;
  isReachable = true;
  /** What the user may not do. */
  lacks: Lack[] = [];
  /** Whether it is kept which controller drives it, whether writing that depends on what is there, and the record. */
  keepsOwner: 'no' | 'atomic' | 'loose' = 'no';
  owner: OwnerRecord | null = null;
  /** What is kept of the policy. */
  policyCopy: string | null = null;
  mostCopyCharacters = 100_000;
  /** Share of one core by VM name, where it is not 0.1. */
  readonly cpu = new Map<string, number>();
  readonly calls: { method: Mutation; subject: string }[] = [];
  /** What its administrators are shown. */
  readonly notes: Note[] = [];
  readonly #file: string | null;
  readonly #failures = new Map<string, 'refused' | 'reply-lost'>();
  readonly #lasting = new Map<string, string>();
  readonly #delays = new Map<string, number>();
  readonly #watchers = new Set<() => void>();
  readonly #healers = new Set<() => void>();

  constructor(state: DatacenterState, file: string | null = null) {
    this.state = state;
    this.#file = file;
    this.#save();
  }

  /** The datacenter in a file that an earlier process left. */
  static fromFile(file: string): MemoryDatacenter {
    return new MemoryDatacenter(JSON.parse(readFileSync(file, 'utf8')) as DatacenterState, file);
  }

  open(): Platform {
    return new MemoryPlatform(this);
  }

  failNext(method: string, how: 'refused' | 'reply-lost'): void {
    this.#failures.set(method, how);
  }

  /** Every call of the method whose subject contains the text is refused until `heal`. */
  refuse(method: Mutation | 'stats' | 'writePolicyCopy', subject = ''): void {
    this.#lasting.set(method, subject);
  }

  slow(method: string, delayMs: number): void {
    this.#delays.set(method, delayMs);
  }

  heal(): void {
    this.#lasting.clear();
    this.#delays.clear();
    this.isReachable = true;
    for (const wake of this.#healers) wake();
  }

  vm(id: string): Vm {
    const vm = this.state.vms.find((candidate) => candidate.id === id);
    if (!vm) throw new WeftError('ERR_NOT_FOUND', `there is no VM ${id}`);
    return vm;
  }

  host(id: string): Host {
    const host = this.state.hosts.find((candidate) => candidate.id === id);
    if (!host) throw new WeftError('ERR_NOT_FOUND', `there is no host ${id}`);
    return host;
  }

  /** A change by somebody else: an operator, a crash, DRS. */
  change(edit: (state: DatacenterState) => void): void {
    edit(this.state);
    this.state.revision++;
    this.#save();
    for (const wake of [...this.#watchers]) wake();
  }

  get cursor(): string {
    return `memory-${this.state.revision}`;
  }

  async enter(method: string, subject: string, signal: AbortSignal): Promise<'reply-lost' | null> {
    signal.throwIfAborted();
    // As over a wire: nothing happens in the turn of the call.
    await Promise.resolve();
    const delayMs = this.#delays.get(method);
    if (delayMs !== undefined) await this.#delay(delayMs, signal);
    signal.throwIfAborted();
    if (!this.isReachable) throw new WeftError('ERR_HYPERVISOR_UNREACHABLE', 'nobody answers');
    const lasting = this.#lasting.get(method);
    const how =
      this.#failures.get(method) ?? (lasting !== undefined && subject.includes(lasting) ? 'refused' : null);
    this.#failures.delete(method);
    if (how === 'refused') throw new WeftError('ERR_HYPERVISOR_REFUSED', `${method} ${subject} is refused`);
    return how;
  }

  async mutate<Result>(
    method: Mutation,
    subject: string,
    signal: AbortSignal,
    effect: () => Result,
  ): Promise<Result> {
    const lost = await this.enter(method, subject, signal);
    this.onMutation(method, 'before', subject);
    const before = JSON.stringify([
      this.state.hosts,
      this.state.vms,
      this.state.properties,
      this.state.mirrors,
    ]);
    const result = effect();
    this.calls.push({ method, subject });
    if (
      JSON.stringify([this.state.hosts, this.state.vms, this.state.properties, this.state.mirrors]) !== before
    )
      this.change(() => {});
    this.onMutation(method, 'after', subject);
    if (lost) throw new WeftError('ERR_HYPERVISOR_UNREACHABLE', `the reply to ${method} was lost`);
    return structuredClone(result);
  }

  onChange(wake: () => void): () => void {
    this.#watchers.add(wake);
    return () => this.#watchers.delete(wake);
  }

  #delay(delayMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = (): void => {
        clearTimeout(timer);
        this.#healers.delete(end);
        resolve();
      };
      const timer = setTimeout(end, delayMs);
      this.#healers.add(end);
      signal.addEventListener('abort', () => {
        clearTimeout(timer);
        this.#healers.delete(end);
        reject(signal.reason as Error);
      });
    });
  }

  #save(): void {
    if (this.#file === null) return;
    writeFileSync(`${this.#file}.new`, JSON.stringify(this.state));
    renameSync(`${this.#file}.new`, this.#file);
  }
}

export class MemoryPlatform implements Platform {
  readonly capabilities = {
    product: 'memory',
    clone: true,
    cloneSources: ['full', 'linked'] as const,
    customisation: false,
    migrate: true,
    isolation: true,
    mirror: true,
  };
  readonly #datacenter: MemoryDatacenter;
  readonly #closing = new AbortController();

  readonly ownership?: Owner;
  readonly policyCopy: TextKeeper;

  constructor(datacenter: MemoryDatacenter) {
    this.#datacenter = datacenter;
    this.policyCopy = {
      mostCharacters: datacenter.mostCopyCharacters,
      read: async (signal) => {
        await datacenter.enter('readPolicyCopy', '', signal);
        return datacenter.policyCopy;
      },
      write: async (text, signal) => {
        const lost = await datacenter.enter('writePolicyCopy', '', signal);
        if (text.length > datacenter.mostCopyCharacters)
          throw new WeftError('ERR_HYPERVISOR_REFUSED', 'too long');
        datacenter.policyCopy = text;
        if (lost) throw new WeftError('ERR_HYPERVISOR_UNREACHABLE', 'the reply was lost');
      },
    };
    if (datacenter.keepsOwner === 'no') return;
    this.ownership = {
      isAtomic: datacenter.keepsOwner === 'atomic',
      read: async () => structuredClone(datacenter.owner),
      write: async (record, before) => {
        if (JSON.stringify(datacenter.owner) !== JSON.stringify(before)) return false;
        if (datacenter.keepsOwner === 'loose') for (let turn = 0; turn < 3; turn++) await Promise.resolve();
        datacenter.owner = structuredClone(record);
        return true;
      },
    };
  }

  async inventory(signal: AbortSignal, alive: () => void = () => undefined): Promise<Inventory> {
    await this.#datacenter.listing?.(alive, this.#any(signal));
    const lost = await this.#datacenter.enter('inventory', '', this.#any(signal));
    if (lost) throw new WeftError('ERR_HYPERVISOR_UNREACHABLE', 'the reply to inventory was lost');
    const { state, cursor, disguise } = this.#datacenter;
    const inventory = structuredClone({
      cursor,
      hosts: state.hosts,
      vms: state.vms,
      unfinished: state.unfinished ?? [],
      ...(this.capabilities.mirror ? { mirrors: state.mirrors ?? [] } : {}),
    });
    return disguise ? disguise(inventory) : inventory;
  }

  watch(cursor: string, signal: AbortSignal): Promise<string> {
    const any = this.#any(signal);
    return new Promise((resolve, reject) => {
      if (any.aborted) return reject(any.reason as Error);
      if (cursor !== this.#datacenter.cursor) return resolve(this.#datacenter.cursor);
      const onAbort = (): void => {
        stop();
        reject(any.reason as Error);
      };
      const stop = this.#datacenter.onChange(() => {
        stop();
        any.removeEventListener('abort', onAbort);
        resolve(this.#datacenter.cursor);
      });
      any.addEventListener('abort', onAbort);
    });
  }

  ensureSegment(segment: SegmentSpec, signal: AbortSignal): Promise<void> {
    return this.#mutate('ensureSegment', `${segment.host}/${segment.name}`, signal, () => {
      const host = this.#datacenter.host(segment.host);
      const found = host.segments.find((candidate) => candidate.name === segment.name);
      if (found && found.role !== 'shadow') refuse(`segment ${segment.name} is there and not a shadow`);
      if (!host.segments.some((c) => c.name === segment.shadows && c.role === 'production')) {
        refuse(`there is no production segment ${segment.shadows} on host ${host.name}`);
      }
      if (found) delete found.isUnfinished;
      else host.segments.push({ name: segment.name, role: 'shadow' });
    });
  }

  removeSegment(hostId: string, segment: string, signal: AbortSignal): Promise<void> {
    return this.#mutate('removeSegment', `${hostId}/${segment}`, signal, () => {
      const { state } = this.#datacenter;
      const ports = state.vms.filter(
        (vm) => vm.host === hostId && vm.nics.some((nic) => nic.segment === segment),
      );
      if (ports.length > 0) refuse(`segment ${segment} has ports: ${ports.map((vm) => vm.name).join(', ')}`);
      const host = this.#datacenter.host(hostId);
      host.segments = host.segments.filter((c) => c.name !== segment || c.role !== 'shadow');
    });
  }

  deployEngine(engine: EngineSpec, progress: Progress, signal: AbortSignal): Promise<Vm> {
    progress(0.435, `uploading engine ${engine.engine}`);
    return this.#mutate('deployEngine', engine.engine, signal, () => {
      const { state } = this.#datacenter;
      const host = this.#datacenter.host(engine.host);
      state.unfinished = state.unfinished?.filter((vm) => vm.engine !== engine.engine);
      const found = state.vms.find((vm) => vm.engine === engine.engine);
      if (found && found.host !== engine.host) refuse(`engine ${engine.engine} stands on host ${found.host}`);
      for (const name of Object.values(engine.segments)) {
        if (!host.segments.some((segment) => segment.name === name)) {
          throw new WeftError('ERR_NOT_FOUND', `there is no segment ${name} on host ${host.name}`);
        }
      }
      if (found) {
        found.power = 'on';
        state.properties[found.id] = engine.properties;
        progress(1, 'adopted');
        return found;
      }
      const id = this.#nextId();
      const vm: Vm = {
        id,
        name: engine.engine,
        host: engine.host,
        power: 'on',
        folder: '/weft',
        tags: [],
        attributes: {},
        engine: engine.engine,
        nics: (['mgmt', 'out', 'in'] as const).map((port) => this.#nic(port, engine.segments[port], [])),
      };
      state.vms.push(vm);
      state.properties[id] = engine.properties;
      progress(1, 'deployed');
      return vm;
    });
  }

  removeVm(id: string, signal: AbortSignal): Promise<void> {
    return this.#mutate('removeVm', id, signal, () => {
      const { state } = this.#datacenter;
      const vm = state.vms.find((candidate) => candidate.id === id);
      if (vm && vm.engine === null && !vm.id.includes('clone of')) refuse(`VM ${vm.name} is not one of ours`);
      state.vms = state.vms.filter((candidate) => candidate.id !== id);
      state.unfinished = state.unfinished?.filter((candidate) => candidate.id !== id);
      delete state.properties[id];
    });
  }

  cloneVm(id: string | null, clone: CloneSpec, progress: Progress, signal: AbortSignal): Promise<Vm> {
    return this.#mutate('cloneVm', `${id}>${clone.name}`, signal, () => {
      const kind = clone.source?.kind ?? 'full';
      if (id === null || (kind !== 'full' && kind !== 'linked') || clone.customisation !== undefined) {
        throw new WeftError('ERR_HYPERVISOR_UNSUPPORTED', 'clones in memory are copies of a VM as it is');
      }
      const source = this.#datacenter.vm(id);
      this.#datacenter.host(clone.host);
      const mark = `clone of ${id}`;
      const { state } = this.#datacenter;
      const found = state.vms.find((vm) => vm.name === clone.name);
      if (found && !found.id.endsWith(mark)) refuse(`there is another VM ${clone.name}`);
      if (found) return found;
      const vm: Vm = {
        ...structuredClone(source),
        isClone: true,
        id: `${this.#nextId()} ${mark}`,
        name: clone.name,
        host: clone.host,
        power: 'on',
        engine: null,
        nics: source.nics.map((nic) => this.#nic(nic.id, nic.segment.replace(/-weft$/, ''), ['10.77.0.0'])),
      };
      state.vms.push(vm);
      progress(1, 'cloned');
      return vm;
    });
  }

  power(id: string, action: 'on' | 'off' | 'reset', signal: AbortSignal): Promise<void> {
    return this.#mutate('power', `${id} ${action}`, signal, () => {
      this.#datacenter.vm(id).power = action === 'off' ? 'off' : 'on';
    });
  }

  migrate(id: string, hostId: string, signal: AbortSignal): Promise<void> {
    return this.#mutate('migrate', `${id}>${hostId}`, signal, () => {
      const vm = this.#datacenter.vm(id);
      const host = this.#datacenter.host(hostId);
      for (const nic of vm.nics) {
        if (!host.segments.some((segment) => segment.name === nic.segment)) {
          refuse(`host ${host.name} has no segment ${nic.segment}`);
        }
      }
      vm.host = hostId;
    });
  }

  async note(note: Note): Promise<void> {
    this.#datacenter.notes.push(structuredClone(note));
  }

  async lacks(signal: AbortSignal): Promise<Lack[]> {
    signal.throwIfAborted();
    return structuredClone(this.#datacenter.lacks);
  }

  async preview(calls: readonly PlannedCall[]): Promise<string[][]> {
    return calls.map((call) => (call.call === 'attach' ? [`port of ${call.nic.vm} -> ${call.segment}`] : []));
  }

  async stats(vms: readonly string[], signal: AbortSignal): Promise<VmStats[]> {
    await this.#datacenter.enter('stats', vms.join(), this.#any(signal));
    return this.#datacenter.state.vms
      .filter((vm) => vms.includes(vm.id) && vm.power === 'on')
      .map((vm) => ({
        vm: vm.id,
        cores: 1,
        cpu: this.#datacenter.cpu.get(vm.name) ?? 0.1,
        memoryBytes: 1 << 20,
        receivedBytes: 0,
        sentBytes: 0,
      }));
  }

  attach(ref: NicRef, segment: string, signal: AbortSignal): Promise<void> {
    return this.#mutate('attach', `${ref.vm}/${ref.nic}>${segment}`, signal, () => {
      const vm = this.#datacenter.vm(ref.vm);
      const nic = vm.nics.find((candidate) => candidate.id === ref.nic);
      if (!nic) throw new WeftError('ERR_NOT_FOUND', `VM ${vm.name} has no NIC ${ref.nic}`);
      if (!this.#datacenter.host(vm.host).segments.some((candidate) => candidate.name === segment)) {
        throw new WeftError('ERR_NOT_FOUND', `host ${vm.host} has no segment ${segment}`);
      }
      nic.segment = segment;
    });
  }

  mirror(engine: string, nics: readonly NicRef[], signal: AbortSignal): Promise<void> {
    return this.#mutate('mirror', `${engine}<${nics.map(({ vm }) => vm).join()}`, signal, () => {
      const { state } = this.#datacenter;
      const target = state.vms.find((vm) => vm.engine === engine);
      if (!target && nics.length > 0) throw new WeftError('ERR_NOT_FOUND', `there is no engine ${engine}`);
      for (const { vm, nic } of nics) {
        if (this.#datacenter.vm(vm).nics.every(({ id }) => id !== nic)) {
          throw new WeftError('ERR_NOT_FOUND', `VM ${vm} has no NIC ${nic}`);
        }
      }
      const others = (state.mirrors ?? []).filter((one) => one.engine !== engine);
      state.mirrors = nics.length === 0 ? others : [...others, { engine, nics: structuredClone([...nics]) }];
    });
  }

  async close(): Promise<void> {
    this.#closing.abort(new WeftError('ERR_HYPERVISOR_UNREACHABLE', 'the platform is closed'));
  }

  #mutate<Result>(
    method: Mutation,
    subject: string,
    signal: AbortSignal,
    effect: () => Result,
  ): Promise<Result> {
    return this.#datacenter.mutate(method, subject, this.#any(signal), effect);
  }

  #any(signal: AbortSignal): AbortSignal {
    return AbortSignal.any([signal, this.#closing.signal]);
  }

  #nextId(): string {
    const ids = this.#datacenter.state.vms.map((vm) => Number(/^vm-(\d+)/.exec(vm.id)?.[1] ?? 0));
    return `vm-${Math.max(0, ...ids, this.#datacenter.state.revision) + 1}`;
  }

  #nic(id: string, segment: string, addresses: string[]): Nic {
    const macs = this.#datacenter.state.vms.flatMap((vm) => vm.nics.map((nic) => nic.mac));
    let number = macs.length + 1 + nicCounter++;
    const text = (): string => `02:00:00:00:${hex(number >> 8)}:${hex(number & 255)}`;
    while (macs.includes(text())) number++;
    const own = addresses.map(() => `10.77.1.${number & 255}`);
    return { id, mac: text(), segment, isConnected: true, addresses: own };
  }
}

let nicCounter = 0;

function hex(number: number): string {
  return (number & 255).toString(16).padStart(2, '0');
}

function refuse(message: string): never {
  throw new WeftError('ERR_HYPERVISOR_REFUSED', message);
}

/** Hosts `h1`..: two racks, a production and a management segment each. VMs `app1`.. with tag `app=shop`. */
export function datacenterOf(placement: Record<string, string[]>): DatacenterState {
  const hosts = Object.keys(placement);
  let count = 0;
  return {
    revision: 1,
    properties: {},
    hosts: hosts.map((id, index) => ({
      id,
      name: id,
      isConnected: true,
      isInMaintenance: false,
      isEvacuating: false,
      uplinkPath: ['spine', index < 2 ? 'tor-a' : 'tor-b'],
      uplinkEvidence: [
        { source: 'platform', path: ['spine', index < 2 ? 'tor-a' : 'tor-b'], detail: 'memory' },
      ],
      cluster: 'memory-cluster',
      hardware: null,
      segments: [
        { name: 'prod', role: 'production' },
        { name: 'mgmt', role: 'management' },
      ],
    })),
    vms: hosts.flatMap((host) =>
      (placement[host] ?? []).map((name): Vm => {
        count++;
        return {
          id: `id-${name}`,
          name,
          host,
          power: 'on',
          folder: '/apps',
          tags: ['app=shop'],
          attributes: { owner: 'shop-team' },
          engine: null,
          nics: [
            {
              id: 'eth0',
              mac: `52:00:00:00:00:${hex(count)}`,
              segment: 'prod',
              isConnected: true,
              addresses: [`10.77.0.${10 + count}`, `fd77::${10 + count}`],
            },
          ],
        };
      }),
    ),
  };
}
