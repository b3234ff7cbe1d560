/**
 * The contract that every platform fulfils (lab, vCenter, Hyper-V): inventory and watch, VMs, and segments.
 *
 * Rules for implementers, checked by test/contract/platform.ts:
 * - Every mutation is idempotent: repeating it after a lost reply changes nothing and succeeds.
 * - Objects are identified by (cloud, VM id, NIC id), never by display name; ids survive renames and migration.
 * - Vendor faults become WeftError inside the platform's folder: ERR_HYPERVISOR_UNREACHABLE where no answer came,
 *   ERR_HYPERVISOR_REFUSED (with the vendor's reason) where one did, ERR_NOT_FOUND, ERR_HYPERVISOR_UNSUPPORTED.
 * - Everything that waits takes an AbortSignal and ends promptly with its reason.
 * - A listing that failed throws; it never comes back empty.
 */

export interface Platform {
  readonly capabilities: Capabilities;
  /** Where it is kept which controller drives the platform; left out where it cannot be. */
  readonly ownership?: Owner;
  /** Where a copy of the policy is kept with the platform itself; left out where it cannot be. */
  readonly policyCopy?: TextKeeper;
  /**
   * The whole inventory, as of `Inventory.cursor`. `alive` is called whenever a part of it has arrived: a listing that
   * takes long is not given up while it gets on.
   */
  inventory(signal: AbortSignal, alive?: () => void): Promise<Inventory>;
  /**
   * Resolves when the inventory differs from what it was at `cursor`, with the new cursor. The caller lists again.
   * A cursor that is no longer known resolves at once.
   */
  watch(cursor: string, signal: AbortSignal): Promise<string>;

  /** Makes sure that the host has the segment, whole. */
  ensureSegment(segment: SegmentSpec, signal: AbortSignal): Promise<void>;
  /**
   * Removes a segment that Weft made, whole or not. Gone already: succeeds. Ports still attached:
   * ERR_HYPERVISOR_REFUSED.
   */
  removeSegment(host: string, segment: string, signal: AbortSignal): Promise<void>;

  /**
   * Creates an engine VM and powers it on, or adopts the one that bears the same `engine` id. The VM carries the id
   * as an ownership mark (`Vm.engine`), so that a lost controller store can be rebuilt from the inventory. One that is
   * adopted hears the properties while it runs, and is not reset: an engine whose controller is gone finds the next one
   * by them, and forwards meanwhile.
   */
  deployEngine(engine: EngineSpec, progress: Progress, signal: AbortSignal): Promise<Vm>;
  /**
   * Powers off and deletes a VM, whole or not. Gone already: succeeds. Refuses VMs that bear no ownership mark of Weft:
   * engines and clones have one.
   */
  removeVm(vm: string, signal: AbortSignal): Promise<void>;
  /**
   * Makes another instance of an application on a host, with MACs and addresses of its own, and switches it on. `model`
   * is the id of the VM that it shall be like: its tags, custom attributes, folder and production segments; and its
   * disks, where `clone.source` does not name others. Null where no instance is left to be the model: then a template or
   * library item must be named.
   *
   * Idempotent by name: a clone of that name that was made before from the same is adopted, or finished; a VM of that
   * name that bears no such mark is ERR_HYPERVISOR_REFUSED. Whole, and in `Inventory.vms`, is a clone once everything
   * that was asked for is done; until then it is in `Inventory.unfinished`. Where a step is refused, or the address does
   * not come in time (ERR_TIMEOUT), the half clone is removed before the call ends. After an abort, a crash, or where
   * the platform stopped answering, it is left: repeat the call to finish it, or `removeVm` it.
   */
  cloneVm(model: string | null, clone: CloneSpec, progress: Progress, signal: AbortSignal): Promise<Vm>;
  /** Already in that state: succeeds. `reset` takes a hung VM through a hard power cycle. */
  power(vm: string, action: 'on' | 'off' | 'reset', signal: AbortSignal): Promise<void>;
  /** Moves a running VM to another host; its NICs keep their MACs and arrive on the segment of the same name. */
  migrate(vm: string, host: string, signal: AbortSignal): Promise<void>;
  /** Load of VMs now. VMs that are off or unknown are left out. */
  stats(vms: readonly string[], signal: AbortSignal): Promise<VmStats[]>;

  /**
   * Puts a NIC on a segment of the VM's host, while the VM runs and without its noticing. The only vendor part of
   * interception: the pre-image is the segment that `inventory` showed before, and undoing is attaching back to it.
   */
  attach(nic: NicRef, segment: string, signal: AbortSignal): Promise<void>;

  /**
   * Copies everything that these NICs receive and send to the `in` port of an engine, while their own traffic goes its
   * way: port mirroring. The list is the whole of what is copied to that engine from now on; an empty one ends it, also
   * where the engine is gone. A NIC on another host than the engine is not copied until it is back. What is copied shows
   * in `Inventory.mirrors`. Left out, with `capabilities.mirror` false, by platforms that cannot; a segment that cannot
   * is ERR_HYPERVISOR_UNSUPPORTED or ERR_HYPERVISOR_REFUSED.
   */
  mirror?(engine: string, nics: readonly NicRef[], signal: AbortSignal): Promise<void>;

  /**
   * What calls would reconfigure, in the vendor's words, a list of lines for each call. Nothing is touched, and a later
   * call may build on what an earlier one would make. Left out by platforms whose calls say it all themselves.
   */
  preview?(calls: readonly PlannedCall[], signal: AbortSignal): Promise<string[][]>;
  /** What the platform's user lacks for calls of this contract; empty where nothing. Left out where all may do all. */
  lacks?(signal: AbortSignal): Promise<Lack[]>;

  /**
   * Shows the platform's own administrators what is done, as far as it can: as a task while it lasts, as an event when
   * it is over. Best effort: whoever calls neither waits for it nor depends on it. Left out by platforms without either.
   */
  note?(note: Note, signal: AbortSignal): Promise<void>;

  /**
   * Writes beside an object, where the platform's administrators see it, which engine it has to do with. For people only,
   * best effort. Gone already: succeeds. Left out by platforms without a place for it.
   */
  label?(label: Label, signal: AbortSignal): Promise<void>;

  /** Frees sockets and watches. */
  close(): Promise<void>;
}

/** The name in `Vm.attributes` under which a label of a VM shows. */
export const LABEL_ATTRIBUTE = 'weft.engine';

export interface Label {
  /** A VM, by id; or the shadow segment of a host. */
  object: { kind: 'vm'; id: string } | { kind: 'segment'; host: string; name: string };
  /** Null takes the label away. */
  engine: string | null;
}

/** Something that is done to an object of the platform. */
export interface Note {
  /** Equal for the beginning, the progress and the end of the same thing. */
  id: string;
  kind:
    | 'engine-deployed'
    | 'engine-removed'
    | 'engine-power'
    | 'path-bent'
    | 'path-released'
    | 'bypassed'
    | 'ports-mirrored'
    | 'member-cloned'
    | 'clone-removed';
  state: 'running' | 'success' | 'error';
  /** How far it is, 0 to 1, where it is running and that is known: the same note is told again as it goes on. */
  progress?: number;
  /** What it is done to: a VM or a host, by id; neither where it is not there any more. */
  vm: string | null;
  host: string | null;
  engine: string | null;
  /** One sentence: why, or what went wrong. */
  message: string;
}

/** Keeps the name of the one controller that drives the platform. */
export interface Owner {
  /** Writing depends on what is there, and mutations in the name of anybody else are refused by the platform itself. */
  readonly isAtomic: boolean;
  /** Null where nobody has claimed the platform. */
  read(signal: AbortSignal): Promise<OwnerRecord | null>;
  /**
   * Writes the record unless another one than `before` is there. Answers whether it was written. Where it is not atomic
   * two that write at once both hear yes, and have to look again. ERR_HYPERVISOR_REFUSED where the user may not.
   */
  write(record: OwnerRecord, before: OwnerRecord | null, signal: AbortSignal): Promise<boolean>;
}

export interface OwnerRecord {
  /** The id of the controller's store. */
  instance: string;
  /** The id of its process. */
  life: string;
  /** Its machine, for people. */
  name: string;
  /** When it was last known to be alive, ISO 8601. */
  beatAt: string;
  /** The instance that drove the platform before, until it says that it has let go. */
  ousted: string | null;
}

/**
 * Keeps one text with the platform, so that a controller whose store is lost finds it there. Written only by whoever
 * drives the platform; read by anybody. Letters, digits, `-` and `_` are kept as they are.
 */
export interface TextKeeper {
  /** A longer text is ERR_HYPERVISOR_REFUSED. */
  readonly mostCharacters: number;
  /** The text that was last written whole; null where there is none. */
  read(signal: AbortSignal): Promise<string | null>;
  /**
   * Puts a text in the place of the other. Cut short at any moment, `read` answers the one or the other as a whole.
   * ERR_HYPERVISOR_REFUSED where the user may not, or where it is not kept as it was written.
   */
  write(text: string, signal: AbortSignal): Promise<void>;
}

/** A mutation that is going to be asked for. */
export type PlannedCall =
  | { call: 'ensureSegment'; host: string; segment: string; shadows: string }
  | { call: 'removeSegment'; host: string; segment: string }
  | {
      call: 'deployEngine';
      host: string;
      engine: string;
      segments: EngineSpec['segments'];
      /** The VM that is there already, and is told its properties while it runs; left out where it is to be made. */
      running?: string;
    }
  | { call: 'removeVm'; vm: string }
  /** `host` null: wherever there is room. */
  | { call: 'cloneVm'; host: string | null; name: string; model?: string | null; isTagged?: boolean }
  | { call: 'power'; vm: string; action: 'on' | 'off' | 'reset' }
  | { call: 'attach'; nic: NicRef; segment: string }
  | { call: 'mirror'; host: string; engine: string; nics: readonly NicRef[] };

/** A privilege that the platform's user does not have. */
export interface Lack {
  /** The vendor's name of it. */
  privilege: string;
  /** What cannot be done without it, for people, for example `deploy engines`. */
  purpose: string;
  calls: readonly PlannedCall['call'][];
  /** Ids of the hosts on which those calls are refused. */
  hosts: readonly string[];
  /** Where only some clones need it: those of these VMs, and those that are to bear tags. Left out where all calls do. */
  models?: readonly string[];
}

export interface Capabilities {
  /** The vendor's product and version, for people. */
  product: string;
  clone: boolean;
  /** What `CloneSpec.source` may be; anything else is ERR_HYPERVISOR_UNSUPPORTED. */
  cloneSources: readonly CloneSource['kind'][];
  /** Whether guests of clones can be customised. */
  customisation: boolean;
  migrate: boolean;
  /** Ports of a shadow segment can be kept from each other, so that even neighbours meet the engine. */
  isolation: boolean;
  /** Whether `mirror` is there. */
  mirror?: boolean;
}

export interface Inventory {
  cursor: string;
  hosts: Host[];
  vms: Vm[];
  /**
   * VMs of ours that are being made, or whose making was cut short; none of them is in `vms`. Whoever makes them goes
   * on with them; what nobody makes any more is removed by `removeVm`. Left out by platforms that make a VM at once.
   */
  unfinished?: UnfinishedVm[];
  /** What is shown as it was because it cannot be read now, a sentence each; left out where there is nothing such. */
  warnings?: string[];
  /** Which NICs are copied to which engine, by engine id, sorted; left out by platforms that cannot mirror. */
  mirrors?: Mirror[];
}

export interface Mirror {
  engine: string;
  nics: NicRef[];
}

export interface UnfinishedVm {
  id: string;
  name: string;
  host: string;
  /** The engine that it was to be; null for a clone. */
  engine: string | null;
}

export interface Host {
  id: string;
  name: string;
  isConnected: boolean;
  isInMaintenance: boolean;
  /**
   * The host is on its way into maintenance: it takes no VM any more, its VMs are being moved to others, and it waits
   * for those that cannot be.
   */
  isEvacuating: boolean;
  /** The switches above the host, the outermost first, for example `['spine', 'tor-a']`; hops are counted from it. */
  uplinkPath: string[];
  /** Where `uplinkPath` came from: what each source says, in order of precedence. The first that has a path counts. */
  uplinkEvidence: UplinkEvidence[];
  /** The cluster it belongs to; empty where there is none. */
  cluster: string;
  /** Null where the platform does not tell. */
  hardware: HostHardware | null;
  segments: Segment[];
}

export interface UplinkEvidence {
  /** `platform` where the platform knows it by itself. */
  source: 'platform' | 'attribute' | 'rack-tag' | 'hints' | 'cluster';
  /** Null where this source has nothing to say of the host. */
  path: string[] | null;
  /** For people: what was found, or why there is nothing. */
  detail: string;
}

export interface HostHardware {
  model: string;
  cpuCores: number;
  cpuMhz: number;
  memoryBytes: number;
}

export interface Segment {
  name: string;
  /** `production`: joined to the physical network. `shadow`: this host only, made by Weft. `management`: engines to controller. */
  role: 'production' | 'shadow' | 'management';
  /** Of a shadow: what the policy of its production segment allows only for its sake, in the vendor's words. */
  allowances?: readonly string[];
  /**
   * True for a shadow whose making was cut short: nothing can be put on it. Where hosts share the beginning of it, one
   * of them lists it, whichever it was made for. `ensureSegment`, for any host, goes on with it; what nobody makes any
   * more is removed by `removeSegment`. Left out of whole ones, and by platforms that make a segment at once.
   */
  isUnfinished?: boolean;
}

export interface SegmentSpec {
  host: string;
  name: string;
  role: 'shadow';
  /** The production segment that this shadows. */
  shadows: string;
}

export interface Vm {
  id: string;
  name: string;
  host: string;
  power: 'on' | 'off';
  folder: string;
  /** As `category=name`, and by the bare name where the platform has categories. */
  tags: string[];
  /** Custom attributes that have a value. Empty on platforms without the notion. */
  attributes: Record<string, string>;
  /** Set where Weft made this VM: the engine id. */
  engine: string | null;
  /** True where Weft cloned this very VM, by a mark that a copy of it does not share. Left out where it did not. */
  isClone?: boolean;
  nics: Nic[];
}

export interface Nic {
  id: string;
  /** Lower-case, colon-separated. */
  mac: string;
  segment: string;
  isConnected: boolean;
  /** Guest addresses as far as the platform knows them, canonical text without prefix length. */
  addresses: string[];
}

export interface NicRef {
  vm: string;
  nic: string;
}

export interface EngineSpec {
  /** The engine id, also the ownership mark; a DNS label. */
  engine: string;
  host: string;
  /** Segments of the three NICs, which `Vm.nics` lists with the ids `mgmt`, `out` and `in`. */
  segments: { mgmt: string; out: string; in: string };
  /** What the appliance is told at first boot (OVF properties on vSphere). */
  properties: EngineProperties;
  /** How large its VM is; the cloud's default where nothing is said. Ignored by platforms without sizes. */
  size?: 'small' | 'medium' | 'large';
}

export interface EngineProperties {
  engine: string;
  /** `https://address:port` of the controller's hub, as reached from the management segment. */
  controller: string;
  /** PEM of the controller's CA. */
  ca: string;
  /** One-time enrolment token. */
  token: string;
}

export interface CloneSpec {
  name: string;
  host: string;
  /** What the disks are copied from; `{ kind: 'full' }` where nothing is said. */
  source?: CloneSource;
  /** Name of a guest customisation specification that the platform keeps (host name, addresses, scripts). */
  customisation?: string;
  /** Where the clone is put, in the words of `Vm.folder`; where its model is, where nothing is said. */
  folder?: string;
  /** Name of a datastore that the host reaches; the platform chooses where nothing is said. */
  datastore?: string;
  /** Production segment of the first NIC; that of the model where nothing is said. */
  segment?: string;
  /** Tags that the clone gets besides those of its model, in the words of `Vm.tags`: `name` or `category=name`. They must exist. */
  tags?: readonly string[];
  /** So long is waited for the guest to report an address; where nothing is said, or 0, it is not waited for. */
  addressTimeoutMs?: number;
}

export type CloneSource =
  /** The model as it is now, every disk copied. */
  | { kind: 'full' }
  /** A snapshot of the model, by name or the current one: disks are shared up to it, so the clone is there in seconds. */
  | { kind: 'linked'; snapshot?: string }
  /** A template, by name or by folder and name in the words of `Vm.folder`. */
  | { kind: 'template'; template: string }
  /** A VM template or OVF item of a content library. */
  | { kind: 'library-item'; library: string; item: string };

export interface VmStats {
  vm: string;
  /** Virtual CPUs of the VM; null where the platform does not say. */
  cores: number | null;
  /** Share of one core, 0 and up; null where nothing has been measured yet. */
  cpu: number | null;
  memoryBytes: number | null;
  /** Since some moment of the platform's choosing: only differences say something. */
  receivedBytes: number;
  sentBytes: number;
}

/** Called with 0 to 1 while a long operation goes on. */
export type Progress = (fraction: number, what: string) => void;
