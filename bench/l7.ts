/**
 * HTTP/1.1 proxying: Weft, nginx and HAProxy with the same features, and as the floor the bare system calls of each case
 * (l7/cases.ts), in one run, alternating, each alone on one core. Needs root, once: installs nginx and HAProxy from
 * Debian's packages. Ports are free ones; what it started ends with it.
 *
 *   npm run bench -- l7 [ms per measurement] [rounds] [cases, such as plain,full] [contenders, such as weft,nginx]
 *
 *   clients and 4 members on one core ── proxy on the other core
 *
 * CPU is that of the proxy's process, user and system. Ratios are of its microseconds a request. p99 at equal load is of
 * a fixed rate that all can serve. The last line is JSON.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { isOnPath, lackOf } from '../test/debian-package.ts';
import { CASES, type Case } from './l7/cases.ts';
import { makeCertificate } from './l7/certificate.ts';
import { haproxyConfig, nginxConfig, weftPolicy } from './l7/configs.ts';
import { freePorts, isListening } from './l7/ports.ts';

const [ms = 2000, rounds = 3] = process.argv.slice(2, 4).map(wholeNumber);
const named = (index: number, all: readonly string[]): string[] =>
  process.argv[index] === undefined ? [...all] : process.argv[index].split(',');
const file = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const NODE = [process.execPath, '--disable-warning=ExperimentalWarning'];
const MEMBERS = 4;
const WARM_UP_MS = 1000;
/** Requests a second at which latencies are compared. */
const EQUAL_RATE = 10_000;

interface Figures {
  requests: number;
  seconds: number;
  cpuUs: number;
  p50: number;
  p99: number;
  errors: number;
  /** Bytes of a response, with its head. */
  bytes: number;
}

const folder = mkdtempSync(join(tmpdir(), 'weft-bench-l7-'));
const [port, memberPort] = await freePorts(MEMBERS);
const sites = { port, memberPort, members: MEMBERS, folder };
const running = new Set<ChildProcess>();
makeCertificate(folder);

function wholeNumber(text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value > 0) return value;
  console.error(`${text} is no number of milliseconds or rounds: npm run bench -- l7 --help`);
  process.exit(2);
}

/** The command line of a contender for a case. */
function commandOf(contender: string, { feature, floor, bodyBytes }: Case): string[] {
  const path = join(folder, `${contender}.conf`);
  switch (contender) {
    case 'nginx':
      rmSync(join(folder, 'responses'), { recursive: true, force: true });
      writeFileSync(path, nginxConfig(sites, feature));
      return ['/usr/sbin/nginx', '-c', path, '-p', folder, '-e', join(folder, 'nginx-error.log')];
    case 'haproxy':
      writeFileSync(path, haproxyConfig(sites, feature));
      return ['/usr/sbin/haproxy', '-db', '-f', path];
    case 'weft': {
      writeFileSync(path, weftPolicy(sites, feature));
      const members = Array.from({ length: MEMBERS }, (_, n) => [
        '--member',
        `127.0.0.1:${memberPort + n}`,
      ]).flat();
      const log = feature === 'full' ? ['--access-log', join(folder, 'weft-access.log')] : [];
      return [
        ...NODE,
        file('../src/main.ts'),
        'proxy',
        '-f',
        path,
        '--workers',
        '1',
        '--drain-ms',
        '0',
        ...members,
        ...log,
      ];
    }
    default:
      return [...NODE, file(`l7/${floor}-program.ts`), ...[port, memberPort, MEMBERS, bodyBytes].map(String)];
  }
}

async function start(contender: string, one: Case): Promise<ChildProcess> {
  // A second listener with SO_REUSEPORT would take its share silently. An io_uring lets go of its own some time after exit.
  for (let n = 0; n < 100 && (await isListening(port)); n++) await delay(50);
  if (await isListening(port))
    throw new Error(`somebody else listens on port ${port} meanwhile: run it again`);
  // HAProxy's log goes to stdout.
  const out = openSync(join(folder, `${contender}.out`), 'a');
  const child = track(
    spawn('taskset', ['-c', '0', ...commandOf(contender, one)], { stdio: ['ignore', out, out] }),
  );
  closeSync(out);
  for (let n = 0; n < 200; n++) {
    if (child.exitCode !== null)
      throw new Error(
        `${contender} did not start: ${readFileSync(join(folder, `${contender}.out`), 'utf8')}`,
      );
    if (await isListening(port)) return child;
    await delay(50);
  }
  throw new Error(`${contender} does not listen`);
}

function track(child: ChildProcess): ChildProcess {
  running.add(child);
  child.once('exit', () => running.delete(child));
  return child;
}

async function stop(child: ChildProcess): Promise<void> {
  if (!running.has(child)) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await ended;
}

/** Loads what runs now, from the other core. */
async function load(pid: number, one: Case, contender: string, rate: number): Promise<Figures> {
  const args = [port, pid, memberPort, MEMBERS, one.connections, one.bodyBytes, WARM_UP_MS, ms, rate];
  const program = [
    ...NODE,
    file('l7/load-program.ts'),
    ...args.map(String),
    one.isNew ? 'new' : 'kept',
    // The floor has no features, so none is asked of it.
    contender === 'floor' ? 'plain' : one.feature,
    folder,
  ];
  const done = promisify(execFile)('taskset', ['-c', '1', ...program]);
  track(done.child);
  return JSON.parse((await done).stdout) as Figures;
}

for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(name, () => process.exit(1));
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

const median = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
const round = (value: number, digits = 2): number => Number(value.toFixed(digits));

const contenders = named(5, ['weft', 'nginx', 'haproxy', 'floor']).filter((name) => {
  if (name !== 'nginx' && name !== 'haproxy') return true;
  const lack = lackOf(name === 'nginx' ? 'nginx-light' : name, () => isOnPath(name));
  if (lack !== null) console.log(`${name} is left out: ${lack}`);
  return lack === null;
});
const ratios: Record<string, Record<string, number>> = {};
const aboveFloor: Record<string, number> = {};
const latencies: Record<string, Record<string, number>> = {};
const rows: Record<string, unknown>[] = [];
for (const name of named(4, Object.keys(CASES))) {
  const one = CASES[name];
  if (one === undefined) throw new Error(`there is no case ${name}: ${Object.keys(CASES).join(', ')}`);
  const full = new Map(contenders.map((contender) => [contender, [] as Figures[]]));
  const equal = new Map(contenders.map((contender) => [contender, [] as Figures[]]));
  for (let n = 0; n < rounds; n++) {
    for (const contender of contenders) {
      const child = await start(contender, one);
      try {
        full.get(contender)!.push(await load(child.pid!, one, contender, 0));
        if (!one.isNew) equal.get(contender)!.push(await load(child.pid!, one, contender, EQUAL_RATE));
      } finally {
        await stop(child);
      }
    }
  }
  const of = (figures: Figures[], key: keyof Figures): number => median(figures.map((figure) => figure[key]));
  for (const contender of contenders) {
    const figures = full.get(contender)!;
    if (figures.length === 0) continue;
    const paced = equal.get(contender)!;
    rows.push({
      case: name,
      proxy: contender,
      'CPU us': round(of(figures, 'cpuUs'), 1),
      'requests/s': Math.round(median(figures.map(({ requests, seconds }) => requests / seconds))),
      'requests/s of a core': Math.round(1e6 / of(figures, 'cpuUs')),
      'p50 ms': round(of(figures, 'p50')),
      'p99 ms': round(of(figures, 'p99')),
      'equal load p50': paced.length > 0 ? round(of(paced, 'p50')) : '',
      'equal load p99': paced.length > 0 ? round(of(paced, 'p99')) : '',
      'equal load CPU us': paced.length > 0 ? round(of(paced, 'cpuUs'), 1) : '',
      bytes: Math.round(of(figures, 'bytes')),
      errors: figures.reduce((sum, { errors }) => sum + errors, 0),
    });
  }
  const ours = of(full.get('weft') ?? [], 'cpuUs');
  const others = contenders.filter((contender) => contender !== 'weft' && full.get(contender)!.length > 0);
  ratios[name] = Object.fromEntries(
    others.map((other) => [other, round(ours / of(full.get(other)!, 'cpuUs'))]),
  );
  if (contenders.includes('floor')) aboveFloor[name] = round(ours - of(full.get('floor')!, 'cpuUs'), 1);
  if (!one.isNew) {
    const p99 = of(equal.get('weft') ?? [], 'p99');
    latencies[name] = Object.fromEntries(
      others.map((other) => [other, round(p99 / of(equal.get(other)!, 'p99'))]),
    );
  }
}
console.table(rows);
for (const [name, us] of Object.entries(aboveFloor))
  console.log(
    `${name}: Weft takes ${us} us a request more than the bare system calls (${CASES[name]!.floor})`,
  );
console.log(JSON.stringify({ bench: 'l7', ratios, usAboveFloor: aboveFloor, p99AtEqualLoad: latencies }));
