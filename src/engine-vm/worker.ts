/**
 * The data-plane thread: a worker_threads entry that runs the packet loop with the real data plane until it is told
 * to stop. `workerData` is a WorkerSettings; messages are those of messages.ts.
 */
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { Dataplane } from './dataplane/dataplane.ts';
import { EventFd } from './kernel/event-fd.ts';
import type { FastPathPlan } from './link.ts';
import type { FromDataplane, ToDataplane } from './messages.ts';
import { PacketLoop } from './packet-loop.ts';

/** What the main thread hands to the worker. */
export interface WorkerSettings {
  /** Interface names in the order of the data plane's port numbers: out, in, self. */
  ports: string[];
  /** The eventfd that says that a message waits. */
  wakeFd: number;
  /** How the kernel's program is to be attached; null where TypeScript forwards every packet. */
  fastPath: FastPathPlan | null;
  /** Two words where the thread shall wait when it has loaded everything: it sets the first, the main thread the second. */
  gate: Int32Array | null;
}

const port = parentPort;
if (port === null)
  throw new Error('worker.ts is the data-plane thread: it is started by dataplane-thread.ts');
const { ports, wakeFd, fastPath, gate } = workerData as WorkerSettings;
if (gate !== null) {
  Atomics.store(gate, 0, 1);
  Atomics.wait(gate, 1, 0);
}

new PacketLoop({
  ports,
  fastPath,
  wake: new EventFd(wakeFd),
  nextMessage: () => receiveMessageOnPort(port)?.message as ToDataplane | undefined,
  post: (message: FromDataplane) => port.postMessage(message),
  makeDataplane: (environment) => new Dataplane(environment),
}).run();
