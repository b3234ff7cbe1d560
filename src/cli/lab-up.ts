/**
 * Brings a whole lab up: the daemon with its hosts and VMs, a controller, a sample policy, and waits until the
 * services of the policy are serving.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { readLabStatus, setGateway } from '../lab/control.ts';
import { LabSession } from '../lab/session.ts';
import type { SwitchKind, VcenterAddress } from '../lab/vcenter/index.ts';
import { APPLICATION_PORT, GATEWAY, type LabNetwork } from '../lab/world/blueprint.ts';
import { existingNamespaces, labPaths, requireLabName } from '../lab/world/names.ts';
import {
  isAlive,
  isListening,
  readPidFile,
  refOf,
  startDetached,
  writePidFile,
} from '../lab/world/process.ts';
import { networkOf, readRecord } from '../lab/world/record.ts';
import type { LabStatus } from '../lab/world/status.ts';
import { isWeftError, WeftError } from '../policy/errors.ts';
import type { PolicyDocument } from '../policy/parse.ts';
import { ControllerClient } from './controller-client.ts';
import { prepareVcenterCloud } from './lab-cloud.ts';
import { takeDown } from './lab-down.ts';
import { labSuffix } from './lab-option.ts';
import { meantForLab, missingFor, progressOf, readLabPolicies } from './lab-policy.ts';
import { requireRoot } from './lab-root.ts';

const MAIN = join(import.meta.dirname, '../main.ts');
const POLL_MS = 50;
/** A lab that idles uses a quarter of a megabyte; its logs grow with what happens to it. */
const MIN_FREE_BYTES = 8 * 1024 * 1024;
const DAEMON_TIMEOUT_MS = 30_000;
const CONTROLLER_TIMEOUT_MS = 30_000;
const CALL_TIMEOUT_MS = 10_000;
const SERVING_TIMEOUT_MS = 60_000;

export interface BringUpOptions {
  lab: string;
  /** YAML files that are applied in this order; none: the lab comes up without policy. */
  policyFiles: readonly string[];
  withController: boolean;
  /** `vcenter`: the controller drives the lab through a simulated vCenter. Left out: as it is, a new lab `lab`. */
  cloud?: 'lab' | 'vcenter';
  /** What switches a new simulated vCenter has. */
  switches?: SwitchKind;
  /** The production network of a new lab. */
  network?: LabNetwork;
  /** One line per stage. */
  onProgress: (line: string) => void;
  /** Aborting takes the lab down again and throws the signal's reason. */
  signal: AbortSignal;
  /** How long the services of the policy may take until they serve. */
  servingTimeoutMs?: number;
}

export interface RunningLab {
  lab: string;
  runDir: string;
  /** Control socket of the lab. */
  socket: string;
  /** REST API of the controller, or null where none was wanted. */
  controller: ControllerAddress | null;
}

export interface ControllerAddress {
  url: string;
  token: string;
  hub: { host: string; port: number };
}

/**
 * Builds and starts everything. A lab whose daemon or controller died is completed; VMs that still run are kept.
 * Throws ERR_PRIVILEGE, ERR_LAB (up already), ERR_KERNEL (its networks cannot be made), ERR_TIMEOUT with what is
 * missing; after a timeout the lab is left as it is, to be looked at.
 */
export async function bringUp(options: BringUpOptions): Promise<RunningLab> {
  requireRoot('weft lab up');
  const { lab, onProgress, signal } = options;
  requireLabName(lab);
  const documents = readLabPolicies(options.policyFiles);
  const paths = labPaths(lab);
  const session = new LabSession(paths.socket);
  try {
    const vcenter = await startDaemon(lab, session, options);
    if (vcenter) {
      await prepareVcenterCloud(lab, vcenter, signal);
      onProgress('the appliance and the credentials of the cloud are ready');
    }
    let controller: ControllerAddress | null = null;
    if (options.withController) {
      controller = await startController(lab, onProgress, signal);
      await setGateway(session, controller.hub, signal);
      if (documents.length > 0) await applyAndWait(controller, meantForLab(documents, lab), options);
    }
    return { lab, runDir: paths.runDir, socket: paths.socket, controller };
  } catch (error) {
    if (signal.aborted) {
      onProgress('interrupted: taking the lab down');
      await takeDown({ lab, onProgress });
    }
    throw error;
  } finally {
    session.close();
  }
}

/**
 * Starts the daemon unless it runs, and waits until every VM is on and the applications listen. Answers its vCenter.
 */
async function startDaemon(
  lab: string,
  session: LabSession,
  options: BringUpOptions,
): Promise<VcenterAddress | null> {
  const { onProgress, signal } = options;
  const paths = labPaths(lab);
  const running = readPidFile(paths.daemonPid);
  if (running && isAlive(running)) {
    const controller = readPidFile(paths.controllerPid);
    if (!options.withController || (controller && isAlive(controller))) {
      throw new WeftError('ERR_LAB', `lab ${lab} is up already; \`weft lab down${labSuffix(lab)}\` ends it`);
    }
    const { vcenter } = await readLabStatus(session, signal);
    requireSameCloud(lab, options, vcenter !== null);
    requireSameNetwork(lab, options);
    return vcenter;
  }
  if (existsSync(paths.runDir) || existingNamespaces(lab).length > 0) {
    if (hasRunningVms(lab)) {
      const { hasVcenter } = await import('../lab/vcenter/index.ts');
      requireSameCloud(lab, options, hasVcenter(lab));
      onProgress(`lab ${lab} is there without its daemon: taking it over`);
    } else {
      onProgress(`removing what is left of an earlier lab ${lab}`);
      await takeDown({ lab, onProgress });
    }
  } else {
    onProgress(`building lab ${lab}`);
  }
  requireSameNetwork(lab, options);
  mkdirSync(paths.runDir, { recursive: true, mode: 0o700 });
  try {
    requireRoom(paths.runDir);
  } catch (error) {
    // Only where it was made for nothing: a lab that is taken over keeps its files.
    if (readdirSync(paths.runDir).length === 0) rmdirSync(paths.runDir);
    throw error;
  }
  const kinds = [
    ...['--cloud', options.cloud ?? 'lab', '--switches', options.switches ?? 'distributed'],
    ...['--network', options.network ?? 'flat'],
  ];
  const child = startDetached(weft('lab', 'serve', '--lab', lab, ...kinds), {
    log: paths.daemonLog,
  });
  // At once, so that taking the lab down finds a daemon that has only begun to start.
  writePidFile(paths.daemonPid, refOf(child.pid));
  const isRunning = () => child.exitCode === null && child.signalCode === null;

  let status: LabStatus | null = null;
  await until(`the daemon of lab ${lab}`, DAEMON_TIMEOUT_MS, signal, async () => {
    if (!isRunning()) {
      throw new WeftError('ERR_LAB', `the daemon of lab ${lab} ended: ${lastLine(paths.daemonLog)}`);
    }
    status = await readLabStatus(session, signal).catch((error: unknown) => {
      if (isWeftError(error, 'ERR_HYPERVISOR_UNREACHABLE')) return null;
      throw error;
    });
    const applications = status?.vms.filter((vm) => !vm.engine && vm.pid !== null) ?? [];
    return status !== null && applications.every((vm) => isListening(vm.pid!, APPLICATION_PORT));
  });
  const { hosts, vms, vcenter } = status! as LabStatus;
  const isOn = vms.filter((vm) => vm.power === 'on').length;
  onProgress(`${hosts.length} hosts and ${isOn} VMs are up (control socket ${paths.socket})`);
  if (vcenter) {
    onProgress(
      `the simulated vCenter is at ${vcenter.url}/sdk, user ${vcenter.user}, password ${vcenter.password}`,
    );
    onProgress(`its thumbprint is ${vcenter.thumbprintSha256} (SHA-256)`);
  }
  return vcenter;
}

/** A lab that is there already keeps its way of being driven: what its controller has made is known by other names. */
function requireSameCloud(lab: string, { cloud }: BringUpOptions, hasOne: boolean): void {
  if (cloud === undefined || (cloud === 'vcenter') === hasOne) return;
  throw new WeftError(
    'ERR_LAB',
    `lab ${lab} is there ${hasOne ? 'with' : 'without'} a vCenter: ` +
      `\`weft lab up${labSuffix(lab)} --cloud ${hasOne ? 'vcenter' : 'lab'}\` completes it, \`weft lab down${labSuffix(lab)}\` ends it`,
  );
}

/** The cables of a lab that is there already stay where they are. */
function requireSameNetwork(lab: string, { network }: BringUpOptions): void {
  const record = readRecord(labPaths(lab).record);
  if (record === null || network === undefined || networkOf(record) === network) return;
  throw new WeftError(
    'ERR_LAB',
    `the production network of lab ${lab} is ${networkOf(record)}: \`weft lab down${labSuffix(lab)}\` ends it, then it can be brought up anew`,
  );
}

/** Throws ERR_LAB where a lab would soon fail for want of space: its store, logs and engines' disks are all there. */
function requireRoom(runDir: string): void {
  const { bavail, bsize } = statfsSync(runDir);
  if (bavail * bsize >= MIN_FREE_BYTES) return;
  const free = Math.floor((bavail * bsize) / 1024);
  throw new WeftError(
    'ERR_LAB',
    `the file system of ${runDir} has ${free} KiB left, and a lab needs ${MIN_FREE_BYTES / 1024}: make room there`,
  );
}

function hasRunningVms(lab: string): boolean {
  const record = readRecord(labPaths(lab).record);
  return record?.vms.some((vm) => vm.process && isAlive(vm.process)) ?? false;
}

/** Starts a controller and waits until it says where it listens. */
async function startController(
  lab: string,
  onProgress: (line: string) => void,
  signal: AbortSignal,
): Promise<ControllerAddress> {
  const paths = labPaths(lab);
  rmSync(paths.clientFile, { force: true });
  const child = startDetached(
    weft(
      'controller',
      ...['--state', paths.controllerState],
      ...['--listen', '127.0.0.1:0', '--hub-listen', '127.0.0.1:0'],
      ...['--plugin-listen', '127.0.0.1:0'],
      ...['--client-file', paths.clientFile],
      ...['--hub-advertise', `https://${GATEWAY.address}:${GATEWAY.port}`],
    ),
    { log: paths.controllerLog },
  );
  writePidFile(paths.controllerPid, refOf(child.pid));
  let address: ControllerAddress | null = null;
  await until('the controller', CONTROLLER_TIMEOUT_MS, signal, async () => {
    if (child.exitCode !== null || child.signalCode !== null) {
      throw new WeftError('ERR_LAB', `the controller ended: ${lastLine(paths.controllerLog)}`);
    }
    address = readClientFile(paths.clientFile);
    return address !== null;
  });
  onProgress(`the controller is up at ${address!.url}`);
  return address!;
}

/** Applies the policy and waits until its services serve. */
async function applyAndWait(
  address: ControllerAddress,
  documents: readonly PolicyDocument[],
  options: BringUpOptions,
): Promise<void> {
  const { onProgress, signal } = options;
  const controller = new ControllerClient(address, CALL_TIMEOUT_MS);
  await controller.apply(documents);
  signal.throwIfAborted();
  onProgress(`applied ${documents.length} policy objects`);
  const services = documents
    .filter((document) => document.kind === 'virtual-service')
    .map((document) => document.name);
  let missing: string[] = [];
  let said = '';
  await until(
    () => `${missing.join('; ')}. The lab is left as it is; logs are in ${labPaths(options.lab).runDir}`,
    options.servingTimeoutMs ?? SERVING_TIMEOUT_MS,
    signal,
    async () => {
      const status = await controller.status();
      const progress = progressOf(status, services);
      if (progress !== said) onProgress(progress);
      said = progress;
      missing = missingFor(status, services);
      return missing.length === 0;
    },
  );
}

function readClientFile(path: string): ControllerAddress | null {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as ControllerAddress;
  } catch {
    return null; // Not written yet, or not to its end.
  }
}

/** The command line of one of our own verbs. */
function weft(...args: string[]): string[] {
  return [process.execPath, ...process.execArgv, MAIN, ...args];
}

/** What a program said last; its log is named where it said nothing. */
function lastLine(log: string): string {
  const lines = readFileSync(log, 'utf8').trim().split('\n');
  return lines.at(-1) || `see ${log}`;
}

/** Asks again until the answer is yes. Throws ERR_TIMEOUT with what was waited for, or the signal's reason. */
async function until(
  what: string | (() => string),
  timeoutMs: number,
  signal: AbortSignal,
  isDone: () => Promise<boolean>,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await isDone())) {
    if (performance.now() > deadline) {
      const missing = typeof what === 'string' ? `${what} is not there yet` : what();
      throw new WeftError('ERR_TIMEOUT', `after ${timeoutMs / 1000} s: ${missing}`);
    }
    await sleep(POLL_MS, undefined, { signal }).catch(() => signal.throwIfAborted());
  }
}
