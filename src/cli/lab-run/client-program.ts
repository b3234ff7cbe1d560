/**
 * The client outside: a program that runs in the lab's client namespace and does as it is told on standard input.
 *
 * One JSON object a line in, one a line out. It makes the load that `npm start` shows, holds connections open, and
 * sends single requests from a chosen address; results carry the times that failover is measured with.
 */
import http from 'node:http';
import net from 'node:net';
import { createInterface } from 'node:readline';

/** What the program can be told. `from` is a source address of the client NIC. */
export type ClientCommand =
  | { op: 'load'; targets: ClientTarget[]; workers: number; pauseMs: number; timeoutMs: number }
  | { op: 'stop-load' }
  | { op: 'get'; id: number; target: ClientTarget; path?: string; timeoutMs: number }
  | {
      op: 'hold';
      id: number;
      group: string;
      target: ClientTarget;
      count: number;
      pauseMs: number;
      timeoutMs: number;
    }
  | { op: 'release'; id: number; group: string }
  | { op: 'steady'; key: string; target: ClientTarget; pauseMs: number }
  | { op: 'stop-steady' }
  | { op: 'exit' };

export interface ClientTarget {
  address: string;
  port: number;
  from?: string | undefined;
}

/** What it says. Times are milliseconds of CLOCK_REALTIME. */
export type ClientEvent =
  | { event: 'ready' }
  /** Requests of the load that ended since the last report, at most every 100 ms. */
  | { event: 'results'; results: RequestResult[] }
  | { event: 'answer'; id: number; result: RequestResult }
  | { event: 'held'; id: number; group: string; open: number; errors: string[] }
  | { event: 'released'; id: number; group: string; closedByPeer: number }
  /** A keep-alive connection that is meant never to break, broke. */
  | { event: 'steady-broken'; key: string; vm: string; error: string; at: number }
  | { event: 'steady'; key: string; vm: string; requests: number; maxMs: number };

export interface RequestResult {
  address: string;
  startedAt: number;
  ms: number;
  /** Null where it succeeded. */
  error: string | null;
  status: number;
  vm: string;
  host: string;
}

const say = (event: ClientEvent): void => {
  process.stdout.write(`${JSON.stringify(event)}\n`);
};

const now = (): number => performance.timeOrigin + performance.now();

/** One request on a connection of its own, or on `agent`'s. */
function request(
  target: ClientTarget,
  path: string,
  timeoutMs: number,
  agent?: http.Agent,
): Promise<RequestResult> {
  return new Promise((resolve) => {
    const startedAt = now();
    const result: RequestResult = {
      address: target.address,
      startedAt,
      ms: 0,
      error: null,
      status: 0,
      vm: '',
      host: '',
    };
    let isDone = false;
    const done = (error: string | null): void => {
      if (isDone) return;
      isDone = true;
      clearTimeout(timer);
      result.ms = now() - startedAt;
      result.error = error;
      resolve(result);
    };
    const outgoing = http.request({
      host: target.address,
      port: target.port,
      path,
      agent: agent ?? false,
      ...(target.from === undefined ? {} : { localAddress: target.from }),
      headers: agent ? {} : { connection: 'close' },
    });
    const timer = setTimeout(() => {
      done(`no answer within ${timeoutMs} ms`);
      outgoing.destroy();
    }, timeoutMs);
    outgoing.on('error', (error: NodeJS.ErrnoException) => done(error.code ?? error.message));
    outgoing.on('response', (response) => {
      result.status = response.statusCode ?? 0;
      result.vm = String(response.headers['x-weft-vm'] ?? '');
      result.host = String(response.headers['x-weft-host'] ?? '');
      response.on('error', (error: NodeJS.ErrnoException) => done(error.code ?? error.message));
      response.on('close', () => done('the connection closed inside the response'));
      response.on('end', () => done(result.status === 200 ? null : `status ${result.status}`));
      response.resume();
    });
    outgoing.end();
  });
}

let results: RequestResult[] = [];
let loadEpoch = 0;

function startLoad(command: Extract<ClientCommand, { op: 'load' }>): void {
  const epoch = ++loadEpoch;
  // Each worker keeps to one target, so that a target that stalls leaves the others' load as it is.
  const worker = async (target: ClientTarget): Promise<void> => {
    while (epoch === loadEpoch) {
      const result = await request(target, '/', command.timeoutMs);
      results.push(result);
      // A refused request ends at once: without a pause it would be tried thousands of times a second.
      const pauseMs = result.error === null ? command.pauseMs : Math.max(command.pauseMs, 50);
      if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  };
  for (let index = 0; index < command.workers; index++) {
    void worker(command.targets[index % command.targets.length]!);
  }
}

const held = new Map<string, net.Socket[]>();
const broken = new Map<string, number>();

async function hold(command: Extract<ClientCommand, { op: 'hold' }>): Promise<void> {
  const errors: string[] = [];
  const sockets = held.get(command.group) ?? [];
  held.set(command.group, sockets);
  const open = (): Promise<void> =>
    new Promise((resolve) => {
      const socket = net.connect({
        host: command.target.address,
        port: command.target.port,
        ...(command.target.from === undefined ? {} : { localAddress: command.target.from }),
      });
      let isConnected = false;
      const timer = setTimeout(
        () => socket.destroy(new Error(`no connection within ${command.timeoutMs} ms`)),
        command.timeoutMs,
      );
      socket.on('connect', () => {
        isConnected = true;
        clearTimeout(timer);
        sockets.push(socket);
        resolve();
      });
      socket.on('error', (error: NodeJS.ErrnoException) => {
        if (isConnected) return;
        clearTimeout(timer);
        errors.push(error.code ?? error.message);
        resolve();
      });
      socket.on('close', () => {
        if (isConnected && held.get(command.group) === sockets) {
          broken.set(command.group, (broken.get(command.group) ?? 0) + 1);
        }
      });
      socket.resume();
    });
  for (let index = 0; index < command.count; index++) {
    await open();
    if (command.pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, command.pauseMs));
  }
  say({ event: 'held', id: command.id, group: command.group, open: sockets.length, errors });
}

function release(command: Extract<ClientCommand, { op: 'release' }>): void {
  const sockets = held.get(command.group) ?? [];
  held.delete(command.group);
  for (const socket of sockets) socket.destroy();
  say({
    event: 'released',
    id: command.id,
    group: command.group,
    closedByPeer: broken.get(command.group) ?? 0,
  });
  broken.delete(command.group);
}

let steadyEpoch = 0;

/** A connection that is used now and then and must never break. */
async function keepSteady(command: Extract<ClientCommand, { op: 'steady' }>): Promise<void> {
  const epoch = steadyEpoch;
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const { key } = command;
  let sockets = 0;
  let requests = 0;
  let maxMs = 0;
  let vm = '';
  const createConnection = agent.createConnection.bind(agent);
  agent.createConnection = (...parameters: Parameters<typeof createConnection>) => {
    sockets++;
    return createConnection(...parameters);
  };
  while (epoch === steadyEpoch) {
    const result = await request(command.target, '/', 30_000, agent);
    if (epoch !== steadyEpoch) break;
    if (result.error !== null || sockets > 1) {
      const error = result.error ?? 'the connection was replaced';
      say({ event: 'steady-broken', key, vm, error, at: now() });
      break;
    }
    vm = result.vm;
    requests++;
    maxMs = Math.max(maxMs, result.ms);
    say({ event: 'steady', key, vm, requests, maxMs });
    await new Promise((resolve) => setTimeout(resolve, command.pauseMs));
  }
  agent.destroy();
}

function obey(command: ClientCommand): void {
  switch (command.op) {
    case 'load':
      startLoad(command);
      return;
    case 'stop-load':
      loadEpoch++;
      return;
    case 'get':
      void request(command.target, command.path ?? '/', command.timeoutMs).then((result) =>
        say({ event: 'answer', id: command.id, result }),
      );
      return;
    case 'hold':
      void hold(command);
      return;
    case 'release':
      release(command);
      return;
    case 'steady':
      void keepSteady(command);
      return;
    case 'stop-steady':
      steadyEpoch++;
      return;
    case 'exit':
      process.exit(0);
  }
}

if (import.meta.main) {
  setInterval(() => {
    if (results.length === 0) return;
    say({ event: 'results', results });
    results = [];
  }, 100);
  const lines = createInterface({ input: process.stdin });
  lines.on('line', (line) => obey(JSON.parse(line) as ClientCommand));
  lines.on('close', () => process.exit(0));
  say({ event: 'ready' });
}
