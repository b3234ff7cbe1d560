/**
 * One random schedule: what happens to a site while the controller brings a service in line, all of it decided by a
 * seed. When the faults have stopped, the site must come to rest as policy says; when the policy is deleted, it must be
 * as if Weft had never been there, but for what somebody else did meanwhile.
 */
import type { Fault, FaultSpec } from '../../../src/lab/world/faults.ts';
import { requireInLine, requireUndone } from './invariants.ts';
import { policiesOf } from './policies.ts';
import { Site } from './site.ts';
import { Somebody } from './somebody.ts';
import type { VirtualTime } from './virtual-time.ts';

/** No rule slows a call down for longer. */
const LONGEST_DELAY_MS = 4000;
const TASKS = [
  'AddDVPortgroup_Task',
  'ReconfigureDVPortgroup_Task',
  'ReconfigureDVPort_Task',
  'ReconfigVM_Task',
  'PowerOnVM_Task',
  'PowerOffVM_Task',
  'ResetVM_Task',
  'Destroy_Task',
  'ReconfigureComputeResource_Task',
] as const;
const CALLS = [
  ...TASKS,
  'ImportVApp',
  'CreateImportSpec',
  'HttpNfcLeaseProgress',
  'HttpNfcLeaseComplete',
  'RetrievePropertiesEx',
  'FetchDVPorts',
  'FindByUuid',
  'FindChild',
  'CreateFilter',
  'WaitForUpdatesEx',
  '*',
] as const;
const SETTLE_LIMIT_MS = 400_000;
const QUIET_MS = 1500;
const LOOK_MS = 500;

export interface Outcome {
  seed: number;
  /** Null where everything held. */
  failure: string | null;
  story: readonly string[];
  calls: number;
  virtualMs: number;
}

/** Runs the schedule of a seed in this process, whose time is turned by hand. */
export async function runSchedule(time: VirtualTime, seed: number, ova: string): Promise<Outcome> {
  time.seed(seed);
  const startedAt = time.now();
  const schedule = new Schedule(time, ova);
  let failure: string | null = null;
  try {
    await schedule.run();
  } catch (error) {
    failure = error instanceof Error ? (error.stack ?? error.message) : String(error);
    schedule.site.tell(`the status then: ${JSON.stringify(await schedule.site.status())}`);
  }
  await schedule.site.stop().catch((error: unknown) => {
    failure ??= String(error);
  });
  const { story, calls } = schedule.site;
  return { seed, failure, story, calls, virtualMs: time.now() - startedAt };
}

type Event = () => Promise<void>;

class Schedule {
  readonly site: Site;
  readonly #time: VirtualTime;
  readonly #somebody: Somebody;
  #isEnabled = true;
  #isThere = true;
  /** Somebody had let ports override their VLAN before Weft came. */
  #isOpen = false;
  /** The policy is to be gone in the end. */
  #isOver = false;

  constructor(time: VirtualTime, ova: string) {
    this.#time = time;
    this.site = new Site(time, ova, { hosts: this.#from(1, 3), vms: this.#from(1, 4) });
    this.#somebody = new Somebody(this.site);
    const mostMs = this.#pick([0, 0, 30, 300]);
    this.site.machinery.work = async () => {
      if (mostMs > 0) await new Promise((resolve) => setTimeout(resolve, this.#from(0, mostMs)));
    };
  }

  async run(): Promise<void> {
    const { site } = this;
    await site.startVcenter();
    const latencyMs = this.#pick([0, 0, 3, 40]);
    if (latencyMs > 0) {
      this.#inject({
        kind: 'vcenter',
        call: '*',
        object: null,
        percent: 50,
        count: null,
        delayMs: latencyMs,
        effect: 'none',
      });
    }
    // Somebody may have allowed, or set, things of their own before Weft came.
    if (this.#chance(0.25)) {
      this.#isOpen = true;
      await this.#somebody.changePolicy({ vlanOverrideAllowed: true }, true);
    }
    if (this.#chance(0.3)) await this.#overrideBlocked();
    await this.#applyAll();
    await site.startController();
    await this.#pass(this.#from(0, this.#pick([50, 1000, 6000])));
    for (let left = this.#from(2, 9); left > 0; left--) {
      await this.#stayUp();
      await this.#event()();
      await this.#pass(this.#from(0, this.#pick([0, 200, 2000])));
    }
    await this.#stopFaults();
    await this.#settle('the policy is there');
    await requireInLine(site, this.#somebody);
    site.tell('the policy is deleted');
    this.#isOver = true;
    await this.#removeAll();
    if (this.#chance(0.3)) {
      site.killAfter(this.#from(1, 120));
      await this.#pass(this.#from(100, 4000));
      await this.#stopFaults();
    }
    await this.#settle('the policy is gone');
    await requireUndone(site, this.#somebody);
  }

  /** What happens next. All numbers are drawn here, whatever state things are in. */
  #event(): Event {
    const { site } = this;
    const somebody = this.#somebody;
    const [a, b] = [this.#from(0, 9), this.#from(0, 9)];
    const app = () => somebody.app(a);
    const to = (what: (vm: NonNullable<ReturnType<typeof app>>) => Promise<void>) => async () => {
      const vm = app();
      if (vm) await what(vm);
    };
    const engine = (what: (vm: NonNullable<ReturnType<typeof app>>) => Promise<void> | void) => async () => {
      const vm = somebody.engine(a);
      if (vm) await what(vm);
    };
    const count = this.#from(1, this.#pick([1, 3, 12]));
    const percent = this.#pick([100, 100, 60]);
    const call = this.#pick(CALLS);
    const task = this.#pick(TASKS);
    const delayMs = this.#from(10, this.#pick([100, 3000]));
    const rule = (rule: Partial<Extract<FaultSpec, { kind: 'vcenter' }>>) => async () =>
      this.#inject({
        kind: 'vcenter',
        call,
        object: null,
        percent,
        count,
        delayMs: 0,
        effect: 'none',
        ...rule,
      });
    const kill = this.#from(0, this.#pick([10, 60, 200]));
    const downMs = this.#from(20, this.#pick([200, 5000]));
    const choices: [number, Event][] = [
      [6, rule({ effect: 'lose-reply' })],
      [3, rule({ effect: 'busy', call: task })],
      [3, rule({ effect: 'conflict', call: task })],
      [2, rule({ effect: 'expire-session' })],
      [2, rule({ effect: 'stick', call: task, count: 1, percent: 100 })],
      [2, rule({ effect: 'fail-task', call: task })],
      [2, rule({ effect: 'none', delayMs })],
      [1, rule({ effect: 'refuse' })],
      [
        3,
        async () => {
          site.tell(`vCenter is killed, for ${downMs} ms`);
          site.stopVcenter();
          await this.#pass(downMs);
          await site.startVcenter();
        },
      ],
      [
        8,
        async () => {
          site.killAfter(kill + 1);
          await this.#time.pass(downMs, () => !site.isControllerUp);
        },
      ],
      [1, to((vm) => somebody.rename(vm))],
      [2, to((vm) => somebody.power(vm))],
      [3, to((vm) => somebody.migrate(vm, b))],
      [1, to((vm) => somebody.remove(vm))],
      [1, to((vm) => somebody.clone(vm, b))],
      [1, to((vm) => somebody.overridePort(vm, vlanOf(200 + b)))],
      [1, () => this.#overrideBlocked()],
      [1, async () => somebody.changePolicy({ blockOverrideAllowed: b % 2 === 0 }, true)],
      // Where it was allowed before Weft came, nobody could tell whose word is the last.
      [this.#isOpen ? 0 : 1, async () => somebody.changePolicy({ vlanOverrideAllowed: false }, false)],
      [1, () => somebody.renameProduction()],
      [1, () => somebody.removeShadow(a)],
      [2, engine((vm) => somebody.powerOff(vm))],
      [2, engine((vm) => somebody.remove(vm))],
      [1, engine((vm) => somebody.rename(vm))],
      [2, engine((vm) => site.engines.hang(vm.engine!.id))],
      [2, () => this.#enable(!this.#isEnabled)],
      [2, () => (this.#isThere ? this.#removeAll() : this.#applyAll())],
    ];
    return this.#pick(choices.flatMap(([weight, event]) => Array<Event>(weight).fill(event)));
  }

  async #overrideBlocked(): Promise<void> {
    const vm = this.#somebody.app(this.#from(0, 9));
    const blocked = { $type: 'BoolPolicy', inherited: false, value: false };
    if (vm) await this.#somebody.overridePort(vm, { blocked });
  }

  #inject(spec: FaultSpec): void {
    this.site.tell(`fault: ${JSON.stringify(spec)}`);
    const { record } = this.site;
    record.faults.push({ ...spec, id: `fault-${record.nextFault++}` } as Fault);
  }

  async #enable(isEnabled: boolean): Promise<void> {
    this.#isEnabled = isEnabled;
    if (!this.#isThere) return;
    this.site.tell(`the service is ${isEnabled ? 'enabled' : 'disabled'}`);
    await this.#applyService();
  }

  async #applyService(): Promise<void> {
    const service = policiesOf(this.#isEnabled).at(-1)!;
    await this.site.apply(service.kind, service.name, service.spec);
  }

  async #applyAll(): Promise<void> {
    this.site.tell('the policy is applied');
    this.#isThere = true;
    for (const { kind, name, spec } of policiesOf(this.#isEnabled)) await this.site.apply(kind, name, spec);
  }

  async #removeAll(): Promise<void> {
    this.site.tell('the policy is removed');
    this.#isThere = false;
    for (const { kind, name } of policiesOf(true).reverse()) await this.site.remove(kind, name);
  }

  async #stayUp(): Promise<void> {
    await this.site.startVcenter();
    await this.site.startController();
  }

  async #stopFaults(): Promise<void> {
    const { site } = this;
    site.killAfter(Number.POSITIVE_INFINITY);
    site.record.faults.length = 0;
    await this.#stayUp();
    // Calls that were slowed down have had their fate drawn: what they begin may hang, too.
    await this.#pass(LONGEST_DELAY_MS);
    const { vcenter } = site;
    // Tasks that hang end when vCenter gives them up.
    for (const { ref, properties } of vcenter?.tasks.objects() ?? []) {
      const { state } = properties.info!() as { state: string };
      if (state === 'running' || state === 'queued') vcenter?.tasks.cancel(ref.id);
    }
    if (!this.#isOver) await this.#restorePolicy();
    if (this.#chance(0.5)) await this.#somebody.resetPorts();
    site.tell('the faults have stopped');
  }

  async #restorePolicy(): Promise<void> {
    if (this.#isThere && this.#isEnabled) return;
    this.#isEnabled = true;
    await this.#applyAll();
  }

  async #settle(when: string): Promise<void> {
    const { site } = this;
    let quietMs = 0;
    for (let passedMs = 0; quietMs < QUIET_MS; passedMs += LOOK_MS) {
      const { mutations } = site;
      await this.#pass(LOOK_MS);
      const left = (await site.plan()).filter(({ step, object }) => !this.#isHeld(step, object));
      // An engine that hung while it booted is given its time before anybody plans anything.
      const isAwaited = site.engineVms().some((vm) => !site.engines.forwards(vm.engine!.id));
      const isQuiet = left.length === 0 && site.mutations === mutations && !isAwaited;
      quietMs = isQuiet ? quietMs + LOOK_MS : 0;
      if (passedMs > SETTLE_LIMIT_MS) {
        throw new Error(`${when}, and it is still at it: ${JSON.stringify(left, null, 1)}`);
      }
    }
    site.tell(`${when}, and nothing is left to do`);
  }

  /** A port whose VLAN somebody else overrides is theirs, and is not bent: the step stays, and says so. */
  #isHeld(step: string, object: string): boolean {
    if (step !== 'intercept-nic') return false;
    return [...this.#somebody.portSettings].some(([id, setting]) => {
      const name = this.#somebody.names.get(id) ?? this.site.record.vms.find((vm) => vm.id === id)?.name;
      return setting.vlan !== undefined && object.startsWith(`nic ${name}/`);
    });
  }

  #pass(ms: number): Promise<void> {
    return this.#time.pass(ms);
  }

  #from(least: number, most: number): number {
    return least + Math.floor(this.#time.random() * (most - least + 1));
  }

  #chance(share: number): boolean {
    return this.#time.random() < share;
  }

  #pick<Item>(items: readonly Item[]): Item {
    return items[Math.floor(this.#time.random() * items.length)]!;
  }
}

function vlanOf(vlanId: number) {
  return { vlan: { $type: 'VmwareDistributedVirtualSwitchVlanIdSpec', inherited: false, vlanId } };
}
