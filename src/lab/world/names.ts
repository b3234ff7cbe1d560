/**
 * Where everything of a lab is called and kept: namespaces, run directory, sockets, logs. A lab is found again by
 * these names alone, so that `weft lab down` works when every process of it is gone.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { WeftError } from '../../policy/errors.ts';

/** The lab that is meant where nobody names one. */
export const DEFAULT_LAB = 'lab';

const RUN_ROOT = '/run/weft';
const NETNS_ROOT = '/run/netns';

/** Files of one lab. The run directory is only root's (0700). */
export interface LabPaths {
  runRoot: string;
  runDir: string;
  /** Control socket of the daemon, the `address` of the cloud. */
  socket: string;
  /** The daemon's inventory, which survives the daemon. */
  record: string;
  /** Pid and start time of the daemon, and of the controller. */
  daemonPid: string;
  controllerPid: string;
  daemonLog: string;
  controllerLog: string;
  controllerState: string;
  /** What the controller tells its clients: `{ url, token, hub: { host, port } }`. */
  clientFile: string;
  /** Spec of the lab's cloud, where the controller drives it through the simulated vCenter. */
  cloudFile: string;
  /** One directory per VM: its log, and an engine's configuration and disk. */
  vms: string;
}

/**
 * The name, if it can name a lab: 1 to 8 lower-case letters and digits. No hyphen, so that `weft-<lab>-` is a prefix
 * of no other lab's names. Throws ERR_USAGE.
 */
export function requireLabName(name: string): string {
  if (/^[a-z0-9]{1,8}$/.test(name)) return name;
  throw new WeftError(
    'ERR_USAGE',
    `"${name}" cannot name a lab: use 1 to 8 lower-case letters and digits, for example "lab"`,
  );
}

/** Paths of the lab of that name. Throws ERR_USAGE on a name that cannot be one. */
export function labPaths(lab: string): LabPaths {
  const runDir = join(RUN_ROOT, requireLabName(lab));
  return {
    runRoot: RUN_ROOT,
    runDir,
    socket: join(runDir, 'lab.sock'),
    record: join(runDir, 'inventory.json'),
    daemonPid: join(runDir, 'daemon.pid'),
    controllerPid: join(runDir, 'controller.pid'),
    daemonLog: join(runDir, 'daemon.log'),
    controllerLog: join(runDir, 'controller.log'),
    controllerState: join(runDir, 'controller'),
    clientFile: join(runDir, 'client.json'),
    cloudFile: join(runDir, 'cloud.json'),
    vms: join(runDir, 'vms'),
  };
}

/** Name of the namespace of a VM, a host, `phys`, `mgmt` or `client`. */
export function namespaceOf(lab: string, thing: string): string {
  return `weft-${lab}-${thing}`;
}

/** The file that stands for a namespace, for `nsenter --net=`. */
export function namespaceFile(namespace: string): string {
  return join(NETNS_ROOT, namespace);
}

/** Names of the namespaces of a lab that exist now. */
export function existingNamespaces(lab: string): string[] {
  const prefix = namespaceOf(requireLabName(lab), '');
  try {
    return readdirSync(NETNS_ROOT)
      .filter((name) => name.startsWith(prefix))
      .sort();
  } catch {
    return []; // No namespace was ever made on this machine.
  }
}
