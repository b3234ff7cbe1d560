/**
 * For tests: a data-plane thread whose data plane bridges ports 0 and 1, and misbehaves on demand: a frame of
 * EtherType 0xdead makes it throw, the request `flows` makes it hang, a graph of revision 13 is refused.
 */
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { EventFd } from '../../../src/engine-vm/kernel/event-fd.ts';
import type { ToDataplane } from '../../../src/engine-vm/messages.ts';
import { type LoopOptions, PacketLoop } from '../../../src/engine-vm/packet-loop.ts';
import type { WorkerSettings } from '../../../src/engine-vm/worker.ts';

const { ports, wakeFd } = workerData as WorkerSettings;
const port = parentPort!;
const bridge: LoopOptions['makeDataplane'] = ({ wire }) => ({
  load(graph) {
    if (graph.revision === 13) throw new Error('thirteen is refused');
  },
  receive(from, buffer, start, length) {
    if (buffer[start + 12] === 0xde && buffer[start + 13] === 0xad) throw new Error('a dead frame');
    wire.send(1 - from, buffer, start, length);
  },
  *prepare() {},
  openSlots() {},
  closeSlots() {},
  tick() {},
  applyConnections() {},
  applyHealth() {},
  applySession() {},
  connectionReport: () => ({ local: {}, sent: {}, received: {} }),
  connectionsChanged: () => false,
  peers: () => ({}),
  counters: () => ({
    drops: {},
    flows: 0,
    newFlows: 0,
    evictedFlows: 0,
    halfOpenMost: 1,
    evictedOf: new Map<string, number>(),
    answeredOf: new Map<string, number>(),
    fullOf: new Map(),
    components: {},
  }),
  setFloods() {},
  explain: (params) => ({ explained: params }),
  trace() {
    throw new Error('there is no service of that name');
  },
  firewall: (params) => params,
  takeFirewallLog: () => [],
  captureStart: () => null,
  captureFetch: () => null,
  captureStop: () => null,
  flows() {
    for (;;);
  },
});

new PacketLoop({
  ports,
  fastPath: null,
  wake: new EventFd(wakeFd),
  nextMessage: () => receiveMessageOnPort(port)?.message as ToDataplane | undefined,
  post: (message) => port.postMessage(message),
  makeDataplane: bridge,
}).run();
