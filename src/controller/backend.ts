/** What the REST API is answered: plan, explain, trace, status. */
import type { Backend, ProposedChange, TraceRequest } from '../api/backend.ts';
import type { Inventory, PlannedCall, Platform } from '../hypervisor/platform.ts';
import type { Adoption, Explanation, StepSummary, SystemStatus } from '../policy/answers.ts';
import type { CloudSpec } from '../policy/cloud.ts';
import { WeftError } from '../policy/errors.ts';
import { metricsText } from '../policy/service-metrics.ts';
import type { Entry } from '../state/store.ts';
import { type Actual, foundAddresses } from './actual.ts';
import { captureService } from './capture.ts';
import { type Desired, desire, NOBODY } from './desired.ts';
import { firewallView } from './firewall-view.ts';
import { gatherFlows } from './flows.ts';
import { explainHost } from './host-explanation.ts';
import { explainMembership } from './membership.ts';
import { hostView, vmView } from './object-views.ts';
import { plan } from './plan.ts';
import { itemsOf, POLICY_PREFIX, type Policies, parsePolicies } from './policies.ts';
import type { PolicyCopy } from './policy-copy.ts';
import { callOf } from './privileges.ts';
import { purgeEngines } from './purge.ts';
import { describeAdoption, describeKept } from './remains.ts';
import { allFigures, serviceFigures } from './service-figures.ts';
import { type Step, summarize } from './step.ts';
import { type Ask, traceFlow } from './trace.ts';
import { indexWorld } from './world.ts';

/** The controller's latest round. */
export interface View {
  desired: Desired;
  actual: Actual;
  steps: readonly Step[];
}

export interface BackendOptions {
  /** Throws ERR_UNREACHABLE before the first round. */
  view(): View;
  entries(): Entry[];
  openPlatform(spec: CloudSpec): Platform;
  /** The platform of a cloud that is in use, or null. */
  platform(cloud: string): Platform | null;
  /** Resolves once every known cloud has been listed or has failed to. */
  ready(signal: AbortSignal): Promise<void>;
  ask: Ask;
  status(): SystemStatus;
  /** Makes what stands in a held cloud this controller's. */
  adopt(cloud: string, signal: AbortSignal): Promise<void>;
  /** Makes a cloud this controller's that another one drives; answers what that still waits for, or null. */
  takeOver(cloud: string, signal: AbortSignal): Promise<string | null>;
  /** The copy of the policy that a cloud keeps; null where there is none. Throws where it cannot be read. */
  keptPolicy(cloud: string, signal: AbortSignal): Promise<PolicyCopy | null>;
  isConnected(engine: string): boolean;
}

export function createBackend(options: BackendOptions): Backend {
  return {
    async plan(changes, signal) {
      await options.ready(signal);
      if (changes.length > 0) return planChanges(changes, options, signal);
      return summarizeAll(options.view().steps, options.platform, signal);
    },

    async explain(service, from, signal) {
      await options.ready(signal);
      const { desired } = options.view();
      if (!desired.policies.services.has(service)) {
        throw new WeftError('ERR_NOT_FOUND', `there is no virtual-service ${service}`);
      }
      const engines = [...desired.engines.values()].filter(
        (engine) => engine.services.includes(service) && options.isConnected(engine.id),
      );
      if (engines.length === 0) {
        throw new WeftError(
          'ERR_ENGINE_UNREACHABLE',
          `no engine that carries virtual-service ${service} is connected to the controller: see weft status`,
        );
      }
      const answers = await Promise.allSettled(
        engines.map((engine) => options.ask(engine.id, 'explain', { service, from })),
      );
      signal.throwIfAborted();
      const explanations: Explanation[] = [];
      let failure: unknown;
      for (const answer of answers) {
        if (answer.status === 'rejected') failure = answer.reason;
        // One per tier.
        else explanations.push(...([answer.value].flat() as Explanation[]));
      }
      // One engine that does not answer must not hide what the others say.
      if (explanations.length === 0 && failure !== undefined) throw failure;
      return explanations;
    },

    async explainPool(pool, vm, signal) {
      await options.ready(signal);
      const { desired, actual } = options.view();
      return explainMembership(pool, vm, desired, actual);
    },

    async explainHost(host, signal) {
      await options.ready(signal);
      const { desired, actual } = options.view();
      return explainHost(host, desired, actual);
    },

    async firewall(policy, limit, signal) {
      await options.ready(signal);
      const view = await firewallView(policy, limit, options.view().desired, options.ask);
      signal.throwIfAborted();
      return view;
    },

    async trace(request: TraceRequest, signal) {
      await options.ready(signal);
      const { desired, actual } = options.view();
      return traceFlow(request, desired, actual, options.ask, signal);
    },

    async flows(request, signal) {
      await options.ready(signal);
      return gatherFlows(request, options.view().desired, options.ask, options.isConnected, signal);
    },

    async serviceFigures(service, names, signal) {
      await options.ready(signal);
      const { desired } = options.view();
      return serviceFigures(service, names, desired, options.ask, options.isConnected, signal);
    },

    async metrics(signal) {
      await options.ready(signal);
      return metricsText(await allFigures(options.view().desired, options.ask, options.isConnected, signal));
    },

    async purge(question, signal) {
      await options.ready(signal);
      return purgeEngines(question, options.view().desired, options.ask, options.isConnected, signal);
    },

    async *capture(request, ending, signal) {
      await options.ready(signal);
      const { desired } = options.view();
      yield* captureService(request, desired, options.ask, options.isConnected, ending, signal);
    },

    async status() {
      return options.status();
    },

    async vm(cloud, id, signal) {
      await options.ready(signal);
      return vmView(cloud, id, options.view(), options.status());
    },

    async host(cloud, id, signal) {
      await options.ready(signal);
      return hostView(cloud, id, options.view(), options.status());
    },

    async adoption(cloud, signal) {
      await options.ready(signal);
      return describeFound(cloud, options, signal);
    },

    async adopt(cloud, fingerprint, signal) {
      await options.ready(signal);
      const found = await describeFound(cloud, options, signal);
      if (found.fingerprint !== fingerprint) {
        throw new WeftError(
          'ERR_REVISION_CONFLICT',
          `what stands in cloud ${cloud}, or the policy for it, has changed since it was shown: look at \`weft adopt ${cloud}\` again`,
        );
      }
      if (found.isHeld) await options.adopt(cloud, signal);
      return found;
    },

    async takeOver(cloud, signal) {
      await options.ready(signal);
      return { cloud, waitsFor: await options.takeOver(cloud, signal) };
    },
  };
}

const COPY_TIMEOUT_MS = 5000;

async function describeFound(cloud: string, options: BackendOptions, signal: AbortSignal): Promise<Adoption> {
  let copy: PolicyCopy | null = null;
  let problem: string | null = null;
  try {
    copy = await options.keptPolicy(cloud, AbortSignal.any([signal, AbortSignal.timeout(COPY_TIMEOUT_MS)]));
  } catch (error) {
    // What stands in the cloud is to be seen all the same.
    signal.throwIfAborted();
    problem = error instanceof Error ? error.message : String(error);
  }
  const found = describeAdoption(cloud, options.view());
  const stored = itemsOf(options.entries(), options.view().desired.policies);
  const keptPolicy = copy && describeKept(copy, stored);
  const warnings =
    problem === null ? [] : [`the copy of the policy that the cloud keeps cannot be read: ${problem}`];
  return { ...found, keptPolicy, warnings: [...found.warnings, ...warnings] };
}

/** Plans as if the changes had been made. Clouds that only the changes name are opened, asked, and closed again. */
async function planChanges(
  changes: readonly ProposedChange[],
  options: BackendOptions,
  signal: AbortSignal,
): Promise<StepSummary[]> {
  const entries = new Map(options.entries().map((entry) => [entry.key, entry]));
  for (const change of changes) {
    const key = `${POLICY_PREFIX}${change.kind}/${change.name}`;
    if ('delete' in change) entries.delete(key);
    else entries.set(key, { key, value: change.spec, revision: 0 });
  }
  const policies = parsePolicies([...entries.values()]);
  for (const change of changes) {
    const bad = policies.unreadable.find((o) => o.kind === change.kind && o.name === change.name);
    if (bad) throw new WeftError('ERR_POLICY_INVALID', bad.message);
  }
  const { actual } = options.view();
  const opened = new Map<string, Platform>();
  try {
    const extra = await listNewClouds(policies, actual, opened, options, signal);
    const world = extra.size === 0 ? actual.world : mergeWorlds(actual, extra);
    const lacks = new Map(actual.lacks);
    for (const [name, platform] of opened) lacks.set(name, (await platform.lacks?.(signal)) ?? []);
    const proposed: Actual = { ...actual, world, lacks };
    const steps = plan(desire(policies, world, actual.placements, NOBODY, foundAddresses(actual)), proposed);
    return await summarizeAll(steps, (cloud) => opened.get(cloud) ?? options.platform(cloud), signal);
  } finally {
    for (const platform of opened.values()) await platform.close();
  }
}

/** Steps as people see them, with what each would reconfigure where its platform says so. */
async function summarizeAll(
  steps: readonly Step[],
  platformOf: (cloud: string) => Platform | null,
  signal: AbortSignal,
): Promise<StepSummary[]> {
  const summaries = steps.map(summarize);
  const byCloud = new Map<string, { call: PlannedCall; index: number }[]>();
  // In the order in which they become due: what is attached needs the segment that is made.
  const isAttach = (step: Step): number => Number(callOf(step)?.call === 'attach');
  const order = [...steps.entries()].sort(([, a], [, b]) => isAttach(a) - isAttach(b));
  for (const [index, step] of order) {
    const call = callOf(step);
    if (call === null || step.cloud === null) continue;
    byCloud.set(step.cloud, [...(byCloud.get(step.cloud) ?? []), { call, index }]);
  }
  for (const [cloud, planned] of byCloud) {
    const calls = planned.map(({ call }) => call);
    // A cloud that does not answer now must not keep the plan from being seen.
    const lines = await platformOf(cloud)
      ?.preview?.(calls, signal)
      .catch(() => null);
    signal.throwIfAborted();
    for (const [at, { index }] of planned.entries()) {
      const changes = lines?.[at] ?? [];
      const summary = summaries[index];
      if (summary && changes.length > 0) summaries[index] = { ...summary, changes };
    }
  }
  return summaries;
}

async function listNewClouds(
  policies: Policies,
  actual: Actual,
  opened: Map<string, Platform>,
  options: BackendOptions,
  signal: AbortSignal,
): Promise<Map<string, Inventory>> {
  const inventories = new Map<string, Inventory>();
  for (const [name, spec] of policies.clouds) {
    if (actual.world.clouds.has(name) || actual.unreachable.has(name)) continue;
    const platform = options.openPlatform(spec);
    opened.set(name, platform);
    inventories.set(name, await platform.inventory(signal));
  }
  return inventories;
}

function mergeWorlds(actual: Actual, extra: ReadonlyMap<string, Inventory>): Actual['world'] {
  const added = indexWorld(extra);
  const { world } = actual;
  return {
    hosts: new Map([...world.hosts, ...added.hosts]),
    nics: new Map([...world.nics, ...added.nics]),
    vms: new Map([...world.vms, ...added.vms]),
    engineVms: new Map([...added.engineVms, ...world.engineVms]),
    listed: new Map([...world.listed, ...added.listed]),
    owners: new Map([...added.owners, ...world.owners]),
    unfinished: [...world.unfinished, ...added.unfinished],
    mirrors: new Map([...world.mirrors, ...added.mirrors]),
    mirrorless: new Set([...world.mirrorless, ...added.mirrorless]),
    clouds: new Set([...world.clouds, ...added.clouds]),
  };
}
