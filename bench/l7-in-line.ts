/**
 * HTTP that an engine proxies in line, in the lab: a client's requests, answered out of the engine's cache, with the
 * packets of known connections forwarded by the kernel's program (`fastPath: tc`) and all of them by TypeScript (`off`),
 * alternating. Needs root; installs wrk from Debian's packages.
 *
 *   npm run bench -- l7-in-line [whole seconds per measurement] [rounds]
 *
 * The processor time is that of the whole machine, clients included, for each request. The last line is JSON, medians.
 */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { namespaceFile, namespaceOf } from '../src/lab/world/names.ts';
import { parseDocuments } from '../src/policy/parse.ts';
import { lackOf } from '../test/debian-package.ts';
import { startScenarioLab } from '../test/scenario/running-lab.ts';

const [secondsText = '3', roundsText = '3'] = process.argv.slice(2);
const CHOICES = ['tc', 'off'] as const;
const ADDRESS = '10.77.0.161';
const CASES = [
  { name: '32 connections, short responses', options: ['-c32'], path: '/json' },
  { name: '8 connections, 60 KB', options: ['-c8'], path: '/bytes?n=60000' },
];
/** The lab's, each with an engine. */
const HOSTS = 3;
const SERVICE = `
kind: virtual-service
name: front
spec:
  engineGroup: edge
  tiers: [{ name: shop, addresses: [${ADDRESS}], port: 80, pool: shop }]
  components: [{ type: load-balancer, method: round-robin }]
  http:
    cache: { maxBytes: 1048576, maxObjectBytes: 65536, cacheStatus: true }
    responseFields: { set: [{ name: Cache-Control, value: max-age=3600 }] }
`;

const lack = lackOf('wrk');
if (lack !== null) throw new Error(lack);
const lab = await startScenarioLab('b');

async function inClient(...command: string[]): Promise<string> {
  const file = namespaceFile(namespaceOf(lab.name, 'client'));
  return (await promisify(execFile)('nsenter', [`--net=${file}`, ...command])).stdout;
}

/** Microseconds that the processors of the machine were not idle, since its start. */
function busyUs(): number {
  const [user, nice, system, , , interrupts, softInterrupts] = readFileSync('/proc/stat', 'utf8')
    .split('\n')[0]!
    .trim()
    .split(/\s+/)
    .slice(1)
    .map(Number) as [number, number, number, number, number, number, number];
  return (user + nice + system + interrupts + softInterrupts) * 10_000;
}

async function choose(choice: (typeof CHOICES)[number]): Promise<void> {
  const { kind, name, spec } = await lab.controller.get('engine-group', 'edge');
  await lab.controller.apply([{ kind, name, spec: { ...(spec as object), fastPath: choice } }]);
  const way = choice === 'off' ? 'TypeScript alone' : 'tc program';
  await lab.until(
    `packets go by ${way}`,
    (status) => JSON.stringify(status).split(way).length > HOSTS,
    20_000,
  );
  for (const { path } of CASES) {
    for (let hits = 0; hits < 3; ) {
      const head = await inClient('curl', '-s', '-m', '2', '-i', `http://${ADDRESS}${path}`).catch(() => '');
      if (head.includes('weft; hit')) hits++;
      else await delay(100);
    }
  }
}

async function load(wholeSeconds: number, options: readonly string[], path: string): Promise<number> {
  const output = await inClient('wrk', '-t1', `-d${wholeSeconds}`, ...options, `http://${ADDRESS}${path}`);
  return Number(/(\d+) requests in/.exec(output)![1]);
}

function median(values: readonly number[]): number {
  return [...values].sort((left, right) => left - right)[values.length >> 1]!;
}

const seen = new Map<string, { perSecond: number[]; us: number[] }>();
try {
  await lab.controller.apply(parseDocuments(SERVICE, 'bench'));
  await lab.until(
    'all is in line',
    ({ members }) => members.every(({ health, isIntercepted }) => health === 'up' && isIntercepted),
    30_000,
  );
  for (let round = 1; round <= Number(roundsText); round++) {
    for (const choice of CHOICES) {
      await choose(choice);
      for (const { name, options, path } of CASES) {
        await load(1, options, path);
        const before = busyUs();
        const count = await load(Number(secondsText), options, path);
        const us = (busyUs() - before) / count;
        const perSecond = count / Number(secondsText);
        const key = `${choice}: ${name}`;
        const all = seen.get(key) ?? { perSecond: [], us: [] };
        all.perSecond.push(perSecond);
        all.us.push(us);
        seen.set(key, all);
        console.log(`  ${key.padEnd(40)} ${perSecond.toFixed(0)} requests/s, ${us.toFixed(1)} us each`);
      }
    }
  }
} finally {
  await lab.close();
}
const results = Object.fromEntries(
  [...seen].map(([key, { perSecond, us }]) => [
    key,
    { perSecond: Math.round(median(perSecond)), us: Number(median(us).toFixed(1)) },
  ]),
);
console.log(JSON.stringify({ bench: 'l7-in-line', results }));
process.exit(0);
