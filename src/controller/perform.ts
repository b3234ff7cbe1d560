/** perform(step): the only code of the controller that changes the world. Idempotent: repeating it is safe. */
import type { Platform, Progress, Vm } from '../hypervisor/platform.ts';
import { WeftError } from '../policy/errors.ts';
import type { AddressSetEntry } from '../policy/graph.ts';
import type { SharedHub } from '../state/shared.ts';
import type { Fleet } from './autoscale/fleet.ts';
import { performClones } from './autoscale/perform-clones.ts';
import type { Clock } from './clock.ts';
import type { GraphBook } from './graph-book.ts';
import type { KeyDelivery } from './key-delivery.ts';
import { GraphNotDurable, type Ledger } from './ledger.ts';
import type { Log } from './log.ts';
import type { Step } from './step.ts';

/** What the controller needs of the certificate authority; pki/authority.ts fulfils it. */
export interface Enrolment {
  /** PEM of the CA, which engines pin. */
  readonly ca: string;
  createToken(engine: string, ttlMs: number): Promise<string>;
  revoke(engine: string): Promise<void>;
}

export interface PerformContext {
  /** The session of a cloud. Throws ERR_HYPERVISOR_UNREACHABLE where there is none. */
  platform(cloud: string): Platform;
  ledger: Ledger;
  fleet: Fleet;
  graphs: GraphBook;
  hub: SharedHub;
  keys: KeyDelivery;
  enrolment: Enrolment;
  /** `https://address:port` of the hub, as engines reach it. */
  hubAdvertise: string;
  /** The highest graph revision that any engine has reported. */
  reportedRevision(): number;
  /** Tells that a VM was made, so that it is given time to boot. */
  onDeployed(engine: string, vm: string): void;
  /** Tells that a running engine is told of this controller: before the platform is asked, and when it has done it. */
  onTold(engine: string, vm: string, isDone: boolean): void;
  /** How far the step is, for the journal and `weft status`. */
  progress: Progress;
  clock: Clock;
  log: Log;
}

/** Where address sets stand in the shared state. */
const SETS = 'address-set/';

/** Long enough for a slow platform to boot an appliance, short enough that a leaked token is soon worthless. */
const TOKEN_LIFE_MS = 30 * 60_000;

export async function perform(step: Step, context: PerformContext, signal: AbortSignal): Promise<void> {
  const { ledger } = context;
  signal.throwIfAborted();
  switch (step.step) {
    case 'place-engine': {
      const before = ledger.placements.get(step.engine);
      await ledger.place({
        engine: step.engine,
        group: step.group,
        cloud: cloudOf(step),
        host: step.host,
        production: step.production,
        addresses: step.addresses,
        vm: step.vm,
        recovery: before?.recovery ?? null,
        rest: before?.rest ?? null,
      });
      return;
    }
    case 'ensure-segment': {
      const { host, segment, shadows } = step;
      await context
        .platform(cloudOf(step))
        .ensureSegment({ host, name: segment, role: 'shadow', shadows }, signal);
      return;
    }
    case 'deploy-engine':
      return deployEngine(step, context, signal);
    case 'enrol-engine':
      context.onTold(step.engine, step.vm, false);
      await askForEngine(step, context, signal);
      context.onTold(step.engine, step.vm, true);
      return;
    case 'push-graph':
      return pushGraph(step, context);
    case 'record-interception':
      return ledger.intercept(step.nic, { segment: step.segment });
    case 'intercept-nic':
      // The way back is durable before the way there is taken.
      await ledger.intercept(step.nic, { segment: step.before });
      await context.platform(cloudOf(step)).attach({ vm: step.vm, nic: step.port }, step.segment, signal);
      return;
    case 'release-nic':
      await context.platform(cloudOf(step)).attach({ vm: step.vm, nic: step.port }, step.segment, signal);
      if (ledger.preImages.has(step.nic)) await ledger.release(step.nic);
      return;
    case 'mirror-nics': {
      const platform = context.platform(cloudOf(step));
      if (!platform.mirror) {
        throw new WeftError(
          'ERR_HYPERVISOR_UNSUPPORTED',
          `cloud ${cloudOf(step)} cannot mirror ports: set the mode of the engine group to in-line`,
        );
      }
      return platform.mirror(step.engine, step.nics, signal);
    }
    case 'forget-interception':
      return ledger.release(step.nic);
    case 'power-engine': {
      const placement = ledger.placements.get(step.engine);
      if (placement && step.power !== 'off') {
        // Counted before it is done: an attempt that kills the controller is an attempt.
        await ledger.place({ ...placement, recovery: nextAttempt(placement.recovery, context) });
      }
      await context.platform(cloudOf(step)).power(step.vm, step.power, signal);
      return;
    }
    case 'remove-engine': {
      const placement = ledger.placements.get(step.engine);
      if (placement && step.isRecovery) {
        await ledger.place({ ...placement, recovery: nextAttempt(placement.recovery, context) });
      }
      await context.platform(cloudOf(step)).removeVm(step.vm, signal);
      // Whoever holds its key or an unused token of it is nobody from now on.
      if (!placement || placement.vm === step.vm || placement.vm === null)
        await context.enrolment.revoke(step.engine);
      return;
    }
    case 'forget-engine':
      await ledger.forget(step.engine);
      context.graphs.forget(step.engine);
      context.hub.delete(`graph/${step.engine}`);
      context.keys.forget(step.engine);
      return;
    case 'settle-engine': {
      const placement = ledger.placements.get(step.engine);
      if (placement) await ledger.place({ ...placement, recovery: null });
      return;
    }
    case 'keep-engine': {
      const placement = ledger.placements.get(step.engine);
      if (placement) await ledger.place({ ...placement, rest: step.rest ?? null });
      return;
    }
    case 'remove-segment':
      await context.platform(cloudOf(step)).removeSegment(step.host, step.segment, signal);
      return;
    default:
      return performClones(step, context, signal);
  }
}

async function deployEngine(
  step: Extract<Step, { step: 'deploy-engine' }>,
  context: PerformContext,
  signal: AbortSignal,
): Promise<void> {
  const { ledger } = context;
  const vm = await askForEngine(step, context, signal);
  context.onDeployed(step.engine, vm.id);
  const placement = ledger.placements.get(step.engine);
  if (placement) await ledger.place({ ...placement, vm: vm.id });
}

/** Makes the VM, or finds it there; either way its engine hears how to reach this controller. */
async function askForEngine(
  step: Extract<Step, { step: 'deploy-engine' | 'enrol-engine' }>,
  context: PerformContext,
  signal: AbortSignal,
): Promise<Vm> {
  const { enrolment } = context;
  const token = await enrolment.createToken(step.engine, TOKEN_LIFE_MS);
  const size = step.step === 'deploy-engine' ? step.size : null;
  return context.platform(cloudOf(step)).deployEngine(
    {
      engine: step.engine,
      host: step.host,
      segments: step.segments,
      ...(size === null ? {} : { size }),
      properties: { engine: step.engine, controller: context.hubAdvertise, ca: enrolment.ca, token },
    },
    context.progress,
    signal,
  );
}

async function pushGraph(
  step: Extract<Step, { step: 'push-graph' }>,
  context: PerformContext,
): Promise<void> {
  const { engine, content, hash } = step;
  if (!content) return;
  let revision: number;
  try {
    revision = await context.ledger.graphRevision(engine, hash, context.reportedRevision());
  } catch (error) {
    // A full disk must not keep engines from hearing that a peer is gone.
    if (!(error instanceof GraphNotDurable)) throw error;
    context.log.warn({ engine, error: String(error.cause) }, error.message);
    revision = error.revision;
  }
  context.graphs.add(engine, revision, hash, content, context.clock.now());
  // Sets come first, each once for all engines: a graph waits for what it names.
  const { hub } = context;
  for (const [name, entry] of step.sets ?? []) {
    const known = hub.get(`${SETS}${name}`)?.value as AddressSetEntry | undefined;
    if (known?.hash !== entry.hash) hub.put(`${SETS}${name}`, entry);
  }
  for (const { key, value } of hub.list(SETS)) {
    if (value !== undefined && !context.graphs.usesSet(key.slice(SETS.length))) hub.delete(key);
  }
  await context.keys.deliver(engine, content.tls ?? []);
  context.hub.put(`graph/${engine}`, { revision, ...content });
  context.keys.settle(engine);
}

function nextAttempt(
  recovery: { attempts: number; lastAt: number } | null,
  context: PerformContext,
): { attempts: number; lastAt: number } {
  return { attempts: (recovery?.attempts ?? 0) + 1, lastAt: context.clock.now() };
}

function cloudOf(step: Step): string {
  if (step.cloud !== null) return step.cloud;
  throw new WeftError('ERR_INTERNAL', `step ${step.id} names no cloud`);
}
