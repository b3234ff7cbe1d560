/**
 * For tests: the controller's end, as far as an engine sees it. `hub-program.ts <directory> <port> <engine> <life ms>`
 * prints `{ ca, token }`, then each entry that an engine puts, as JSON lines. Standard input takes
 * `{ "put": key, "value": ... }` and `{ "ask": method, "params": ... }`.
 */
import { createInterface } from 'node:readline';
import { openAuthority } from '../../../src/pki/authority.ts';
import { openHub } from '../../../src/state/embedded-hub.ts';

const [directory, port, engine, lifeMs] = process.argv.slice(2) as [string, string, string, string];
const say = (value: unknown): void => void process.stdout.write(`${JSON.stringify(value)}\n`);
const authority = await openAuthority(directory, { engineLifeMs: Number(lifeMs) });
const hub = await openHub({ authority, port: Number(port) });
say({ ca: authority.ca, token: await authority.createToken(engine, 60_000) });
hub.subscribe('', (entry) => say(entry));
hub.onEngine((name, isConnected) => say({ engine: name, isConnected }));
for await (const text of createInterface({ input: process.stdin })) {
  const command = JSON.parse(text) as { put?: string; value?: unknown; ask?: string; params?: unknown };
  if (command.put !== undefined) hub.put(command.put, command.value);
  else if (command.ask !== undefined) {
    hub.request(engine, command.ask, command.params, 5000).then(
      (answer) => say({ answer }),
      (error: Error) => say({ answer: { error: error.message } }),
    );
  }
}
