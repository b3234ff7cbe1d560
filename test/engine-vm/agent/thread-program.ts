/**
 * For tests: the data-plane thread of bridge-worker.ts on the interfaces `out` and `in`. Prints its messages as JSON
 * lines; takes `{ "ask": method, "params": ... }`, `{ "post": message }` and `{ "stop": true }` on standard input.
 */
import { createInterface } from 'node:readline';
import { type DataplaneMethod, DataplaneThread } from '../../../src/engine-vm/dataplane-thread.ts';
import type { ToDataplane } from '../../../src/engine-vm/messages.ts';

const say = (value: unknown): void => void process.stdout.write(`${JSON.stringify(value)}\n`);
const thread = new DataplaneThread({
  ports: ['out', 'in'],
  entry: new URL('bridge-worker.ts', import.meta.url),
  watchMs: 300,
  onStart: () => say({ type: 'started' }),
  onMessage: say,
  onFailure: (error) => say({ type: 'failure', message: error.message }),
});
thread.start();
for await (const text of createInterface({ input: process.stdin })) {
  const command = JSON.parse(text) as { ask?: DataplaneMethod; params?: unknown; post?: ToDataplane };
  if (command.ask !== undefined) {
    thread.request(command.ask, command.params).then(
      (result) => say({ type: 'answer', result }),
      (error: Error) => say({ type: 'answer', error: error.message }),
    );
  } else if (command.post !== undefined) thread.post(command.post);
  else break;
}
await thread.stop();
say({ type: 'stopped' });
process.stdin.destroy();
