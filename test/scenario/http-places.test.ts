/**
 * HTTP in line by template: routes, limits, compression; at an address that a VM owns; and where a router stands between
 * engines.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { namespaceFile, namespaceOf } from '../../src/lab/world/names.ts';
import { parseDocuments } from '../../src/policy/parse.ts';
import { requireRoot } from '../root.ts';
import { type ScenarioLab, startScenarioLab } from './running-lab.ts';
import { sleep } from './traffic.ts';

const TEMPLATE = readFileSync(new URL('../../templates/lab-http.yaml', import.meta.url), 'utf8');

/** By what an answer of a member's page says of itself, and of its request. */
interface Told {
  vm: string;
  host: string;
  client: string;
  forwardedFor: string | null;
}

const proxied = (name: string, address: string, port: number): string => `
kind: virtual-service
name: ${name}
spec:
  engineGroup: edge
  tiers: [{ name: shop, addresses: ["${address}"], port: ${port}, pool: shop }]
  components: [{ type: load-balancer, method: round-robin }]
  http: {}
`;

const inside = async (lab: ScenarioLab, place: string, ...command: string[]): Promise<string> => {
  const entry = `--net=${namespaceFile(namespaceOf(lab.name, place))}`;
  return (await promisify(execFile)('nsenter', [entry, ...command])).stdout;
};
const curl = (lab: ScenarioLab, place: string, ...options: string[]): Promise<string> =>
  inside(lab, place, 'curl', '-sS', '-m', '20', ...options);
/** The pages of several requests on one connection. */
const ask = async (lab: ScenarioLab, place: string, url: string, count: number): Promise<Told[]> => {
  const text = await curl(lab, place, '-w', '\n', ...new Array(count).fill(`${url}/json`));
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Told);
};
const serves = (lab: ScenarioLab): Promise<unknown> =>
  lab.until('all is in line and serves', ({ services, members }) => {
    const isServing = services.every((service) => service.state === 'serving');
    return isServing && members.every(({ health, isIntercepted }) => health === 'up' && isIntercepted);
  });
const answered = async (lab: ScenarioLab, place: string, url: string): Promise<void> => {
  const deadline = performance.now() + 15_000;
  for (;;) {
    const told = await ask(lab, place, url, 1).catch(() => null);
    if (told !== null && told[0]!.forwardedFor !== null) return;
    assert.ok(performance.now() < deadline, `${url} is not proxied for ${place}`);
    await sleep(50);
  }
};

describe('HTTP in line, of the sample and at an address of a VM', function () {
  this.timeout(60_000);
  let lab: ScenarioLab;
  const shop = 'http://10.77.0.151';

  before(async function () {
    requireRoot(this, 'scenarios in the lab');
    lab = await startScenarioLab('j');
    await lab.controller.apply(parseDocuments(TEMPLATE, 'lab-http.yaml'));
    await lab.controller.apply(parseDocuments(proxied('owned', '10.77.0.11', 8000), 'owned'));
    await serves(lab);
    for (const place of ['client', 'app4']) await answered(lab, place, shop);
  });
  after(async () => lab?.close());

  it('spreads the requests of one connection over the members, and those of a route over its pool', async () => {
    const told = await ask(lab, 'client', shop, 12);
    assert.equal(new Set(told.map(({ vm }) => vm)).size, 6, JSON.stringify(told));
    const members = new Set<string>();
    for (let n = 0; n < 8; n++) {
      const head = await curl(lab, 'client', '-D', '-', '-o', '/dev/null', `${shop}/bytes?n=10`);
      assert.match(head, /^x-storefront: weft\r$/im);
      members.add(/^x-weft-vm: (.*)\r$/im.exec(head)?.[1] ?? '');
    }
    assert.deepEqual([...members].sort(), ['app5', 'app6']);
  });

  it('compresses pages for clients that take it', async () => {
    const head = await curl(
      lab,
      'client',
      '-H',
      'Accept-Encoding: gzip',
      '-D',
      '-',
      '-o',
      '/dev/null',
      `${shop}/`,
    );
    assert.match(head, /^content-encoding: gzip\r$/im);
  });

  it('limits the requests of a client, and of another at another engine by that engine alone', async () => {
    const statuses = async (place: string): Promise<string[]> => {
      const all: string[] = [];
      for (let n = 0; n < 7; n++) {
        all.push(await curl(lab, place, '-o', '/dev/null', '-w', '%{http_code}', `${shop}/slow?ms=1`));
      }
      return all;
    };
    const expected = [...new Array(5).fill('200'), '429', '429'];
    assert.deepEqual(await statuses('client'), expected);
    assert.deepEqual(await statuses('app4'), expected);
  });

  it('proxies at an address that a VM owns, for clients outside, beside it and far from it, with that VM as a member', async () => {
    const url = 'http://10.77.0.11:8000';
    for (const [place, address] of [
      ['client', '10.77.0.9'],
      ['app2', '10.77.0.12'],
      ['app4', '10.77.0.14'],
    ] as const) {
      await answered(lab, place, url);
      const told = await ask(lab, place, url, 12);
      assert.ok(
        told.some(({ vm }) => vm === 'app1'),
        `${place}: ${JSON.stringify(told)}`,
      );
      assert.equal(new Set(told.map(({ vm }) => vm)).size, 6, `${place}: ${JSON.stringify(told)}`);
      for (const { forwardedFor } of told) assert.equal(forwardedFor, address);
    }
    // Its other ports are its own.
    const own = await ask(lab, 'client', 'http://10.77.0.11:8080', 2);
    assert.deepEqual(
      own.map(({ vm, client }) => [vm, client]),
      new Array(2).fill(['app1', '10.77.0.9']),
    );
  });
});

describe('HTTP in line, with a router between engines', function () {
  this.timeout(60_000);
  let lab: ScenarioLab;

  before(async function () {
    requireRoot(this, 'scenarios in the lab');
    lab = await startScenarioLab('r', 'lab', 'routed');
    await lab.controller.apply(parseDocuments(proxied('front', '10.77.0.161', 80), 'routed'));
    await serves(lab);
  });
  after(async () => lab?.close());

  it('reaches members in both networks, from outside and from VMs of both', async () => {
    for (const place of ['client', 'app1', 'app5']) {
      await answered(lab, place, 'http://10.77.0.161');
      const told = await ask(lab, place, 'http://10.77.0.161', 12);
      assert.equal(new Set(told.map(({ vm }) => vm)).size, 6, `${place}: ${JSON.stringify(told)}`);
    }
    const size = await curl(
      lab,
      'client',
      '-o',
      '/dev/null',
      '-w',
      '%{size_download}',
      'http://10.77.0.161/bytes?n=5000000',
    );
    assert.equal(size, '5000000');
  });
});
