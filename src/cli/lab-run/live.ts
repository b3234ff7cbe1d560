/** `npm start`: load without end, and the screen, drawn in place until the signal aborts. */
import type { SystemStatus } from '../../policy/answers.ts';
import type { ClientTarget, LabClient, RequestResult } from './client.ts';
import { drawScreen, type Traffic } from './screen.ts';

const REDRAW_MS = 500;
/** How far back the rates and percentiles on the screen look. */
const WINDOW_MS = 2000;

export interface LiveOptions {
  lab: string;
  client: LabClient;
  targets: ClientTarget[];
  status(): Promise<SystemStatus>;
  output: NodeJS.WriteStream;
  signal: AbortSignal;
}

/** Returns when the signal aborts; the terminal is as it was. */
export async function showLive(options: LiveOptions): Promise<void> {
  const { client, output, signal } = options;
  const startedAt = Date.now();
  const events: string[] = [];
  let before: SystemStatus | null = null;
  client.startLoad(options.targets, { workers: 12, pauseMs: 10, timeoutMs: 10_000 });
  if (output.isTTY) output.write('\x1b[?1049h\x1b[?25l');
  try {
    while (!signal.aborted) {
      try {
        const status = await options.status();
        if (before)
          events.push(
            ...changes(before, status).map((line) => `${new Date().toLocaleTimeString('en-GB')}  ${line}`),
          );
        events.splice(0, Math.max(0, events.length - 100));
        before = status;
      } catch (error) {
        const line = `the controller does not answer: ${error instanceof Error ? error.message : error}`;
        if (!events.at(-1)?.endsWith(line)) events.push(`${new Date().toLocaleTimeString('en-GB')}  ${line}`);
      }
      if (before) {
        const lines = drawScreen({
          lab: options.lab,
          upMs: Date.now() - startedAt,
          status: before,
          traffic: summarise(client),
          events,
          columns: output.columns ?? 120,
          rows: output.isTTY ? (output.rows ?? 40) : 60,
          hasColour: output.isTTY && !process.env.NO_COLOR,
        });
        // Home, each line cleared to its end, then everything below: no flicker.
        if (output.isTTY) output.write(`\x1b[H${lines.map((line) => `${line}\x1b[K`).join('\n')}\x1b[J`);
        else output.write(`${lines.join('\n')}\n\n`);
      }
      await pause(output.isTTY ? REDRAW_MS : 10 * REDRAW_MS, signal);
    }
  } finally {
    client.stopLoad();
    if (output.isTTY) output.write('\x1b[?25h\x1b[?1049l');
  }
}

/** What the client has seen lately; drops older results. */
function summarise(client: LabClient): Traffic {
  const since = Date.now() - WINDOW_MS;
  const recent: RequestResult[] = client.results.filter((result) => result.startedAt + result.ms >= since);
  client.results.splice(0, client.results.length, ...recent);
  const answered = recent.filter((result) => result.error === null);
  const times = answered.map((result) => result.ms).sort((a, b) => a - b);
  const perVm = new Map<string, number>();
  for (const result of answered) perVm.set(result.vm, (perVm.get(result.vm) ?? 0) + 1);
  return {
    requests: client.requests,
    failed: client.failed,
    requestsPerSecond: answered.length / (WINDOW_MS / 1000),
    medianMs: times[Math.floor(times.length * 0.5)] ?? 0,
    p99Ms: times[Math.floor(times.length * 0.99)] ?? 0,
    shares: new Map([...perVm].map(([vm, requests]) => [vm, requests / Math.max(1, answered.length)])),
  };
}

/** What changed between two looks, a line each. */
function changes(before: SystemStatus, after: SystemStatus): string[] {
  const lines: string[] = [];
  const engines = new Map(before.engines.map((engine) => [engine.id, engine]));
  for (const engine of after.engines) {
    const was = engines.get(engine.id);
    engines.delete(engine.id);
    if (was?.state !== engine.state)
      lines.push(`engine ${engine.id}: ${was?.state ?? 'new'} -> ${engine.state} ${engine.message}`);
  }
  for (const id of engines.keys()) lines.push(`engine ${id}: gone`);
  const members = new Map(before.members.map((member) => [`${member.pool}/${member.member}`, member]));
  for (const member of after.members) {
    const was = members.get(`${member.pool}/${member.member}`);
    members.delete(`${member.pool}/${member.member}`);
    if (!was) lines.push(`member ${member.vm} joined pool ${member.pool} on ${member.host}`);
    else {
      if (was.health !== member.health)
        lines.push(`member ${member.vm}: ${was.health} -> ${member.health} ${member.reason}`);
      if (was.host !== member.host)
        lines.push(`member ${member.vm} moved from ${was.host} to ${member.host}`);
      if (was.isIntercepted !== member.isIntercepted) {
        lines.push(`member ${member.vm}: ${member.isIntercepted ? 'in line' : 'bypassed'}`);
      }
    }
  }
  for (const member of members.values()) lines.push(`member ${member.vm} left pool ${member.pool}`);
  const services = new Map(before.services.map((service) => [service.name, service]));
  for (const service of after.services) {
    const was = services.get(service.name);
    services.delete(service.name);
    if (was?.state !== service.state)
      lines.push(`service ${service.name}: ${was?.state ?? 'new'} -> ${service.state}`);
  }
  for (const name of services.keys()) lines.push(`service ${name}: gone`);
  return lines;
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done, { once: true });
    if (signal.aborted) done();
  });
}
