/**
 * For tests and benches of the whole packet path: the engine's data plane as `weft engine` runs it, without a
 * controller. `engine-program.ts GRAPH-FILE`; prints `ready` when it has taken the graph, then what it counts, as JSON.
 */
import { readFileSync, writeSync } from 'node:fs';
import { Dataplane } from '../../../src/engine-vm/dataplane/dataplane.ts';
import { EventFd } from '../../../src/engine-vm/kernel/event-fd.ts';
import { PORT_NAMES, prepareLinks } from '../../../src/engine-vm/link.ts';
import type { FromDataplane, ToDataplane } from '../../../src/engine-vm/messages.ts';
import { PacketLoop } from '../../../src/engine-vm/packet-loop.ts';
import type { ServiceGraph } from '../../../src/policy/graph.ts';

const file = process.argv[2]!;
const { mac, fastPath } = await prepareLinks(new AbortController().signal);
const wake = new EventFd();
const graph = JSON.parse(readFileSync(file, 'utf8')) as ServiceGraph;
const messages: ToDataplane[] = [{ type: 'graph', graph: { ...graph, engine: { ...graph.engine, mac } } }];
wake.signal();

function post(message: FromDataplane): void {
  if (message.type === 'graph-applied') writeSync(1, message.error ? `${message.error}\n` : 'ready\n');
  if (message.type === 'fault' || message.type === 'failed' || message.type === 'unready')
    writeSync(2, `${JSON.stringify(message)}\n`);
  if (message.type === 'counters') writeSync(1, `${JSON.stringify(message)}\n`);
}

new PacketLoop({
  ports: PORT_NAMES,
  fastPath,
  wake,
  nextMessage: () => messages.shift(),
  post,
  makeDataplane: (environment) => new Dataplane(environment),
}).run();
