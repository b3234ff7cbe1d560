/** Members as clients, and services of other shapes: two tiers, neighbours, UDP, IPv6 only, a subset of hosts. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { namespaceFile, namespaceOf } from '../../src/lab/world/names.ts';
import { parseDocuments } from '../../src/policy/parse.ts';
import { requireRoot } from '../root.ts';
import { type ScenarioLab, startScenarioLab } from './running-lab.ts';

const POLICY = `
kind: pool
name: front
spec: { cloud: lab, members: { names: [app1, app2] }, port: 8080 }
---
kind: pool
name: back
spec: { cloud: lab, members: { names: [app5, app6] }, port: 8080 }
---
kind: virtual-service
name: layered
spec:
  engineGroup: edge
  tiers:
    - { name: front, addresses: [10.77.0.141], port: 80, pool: front }
    - { name: back, addresses: [10.77.0.142, "fd77::142"], port: 80, pool: back }
---
kind: virtual-service
name: echo
spec:
  engineGroup: edge
  protocol: udp
  tiers:
    - { name: shop, addresses: [10.77.0.143, "fd77::143"], port: 7, pool: shop }
  components:
    - { type: load-balancer, method: round-robin }
---
kind: virtual-service
name: six
spec:
  engineGroup: edge
  tiers:
    - { name: shop, addresses: ["fd77::144"], port: 80, pool: shop }
---
kind: virtual-service
name: subset
spec:
  engineGroup: edge
  hosts: [h2]
  tiers:
    - { name: shop, addresses: [10.77.0.145], port: 80, pool: shop }
`;

/** Requests one after another, each on a connection of its own; prints how often each VM answered. */
const HTTP = `
const http = require('node:http');
const [host, port, count] = process.argv.slice(1);
const seen = {};
const note = (what) => { seen[what] = (seen[what] ?? 0) + 1; };
const one = () => new Promise((resolve) => {
  const request = http.get({ host, port, agent: false, timeout: 3000 }, (response) => {
    note(response.headers['x-weft-vm']);
    response.resume().on('end', resolve);
  });
  request.on('timeout', () => request.destroy(new Error('no answer')));
  request.on('error', (error) => { note(error.code ?? error.message); resolve(); });
});
(async () => { for (let i = 0; i < +count; i++) await one(); console.log(JSON.stringify(seen)); })();
`;

/** Datagrams from a new port each, held open to the end; prints how often which address answered. */
const UDP = `
const dgram = require('node:dgram');
const [host, port, count] = process.argv.slice(1);
const seen = {};
const one = (number) => new Promise((resolve) => {
  const socket = dgram.createSocket(host.includes(':') ? 'udp6' : 'udp4');
  const done = (what) => { seen[what] = (seen[what] ?? 0) + 1; clearTimeout(timer); socket.close(); resolve(); };
  const timer = setTimeout(() => done('nobody'), 2000);
  socket.on('message', (text, from) => done(text == 'echo ' + number ? from.address + ' ' + from.port : 'garbled'));
  socket.send('echo ' + number, +port, host);
});
(async () => { for (let i = 0; i < +count; i++) await one(i); console.log(JSON.stringify(seen)); })();
`;

describe('tiers and members as clients', function () {
  this.timeout(60_000);
  let lab: ScenarioLab;

  before(async function () {
    requireRoot(this, 'scenarios in the lab');
    lab = await startScenarioLab('t');
    await lab.controller.apply(parseDocuments(POLICY, 'tiers'));
    await lab.until('the services serve', ({ services }) =>
      services.every((service) => service.state === 'serving'),
    );
  });
  after(async () => lab?.close());

  const inside = async (place: string, program: string, address: string, port: number, count: number) => {
    const { stdout } = await promisify(execFile)('nsenter', [
      `--net=${namespaceFile(namespaceOf(lab.name, place))}`,
      process.execPath,
      '-e',
      program,
      address,
      String(port),
      String(count),
    ]);
    return JSON.parse(stdout) as Record<string, number>;
  };

  it('balances what a member of the first tier sends to the second, at its own engine', async () => {
    assert.deepEqual(Object.keys(await inside('client', HTTP, '10.77.0.141', 80, 12)).sort(), [
      'app1',
      'app2',
    ]);
    const flows = async () => {
      const { engines } = await lab.controller.status();
      return Object.fromEntries(engines.map((engine) => [engine.host, engine.flows]));
    };
    const before = await flows();
    for (const address of ['10.77.0.142', 'fd77::142']) {
      const seen = await inside('app1', HTTP, address, 80, 20);
      assert.deepEqual(Object.keys(seen).sort(), ['app5', 'app6'], JSON.stringify(seen));
      assert.ok(Math.abs(seen.app5! - seen.app6!) <= 4, JSON.stringify(seen));
    }
    await lab.until('the engine of app1 has the flows', ({ engines }) =>
      engines.some((engine) => engine.host === 'h1' && engine.flows >= (before.h1 ?? 0) + 40),
    );
    assert.equal(
      (await flows()).h2,
      before.h2,
      'the engine of a host that is not concerned saw none of them',
    );
  });

  it('balances among neighbours, the asking member itself included', async () => {
    const seen = await inside('app5', HTTP, '10.77.0.142', 80, 20);
    assert.deepEqual(Object.keys(seen).sort(), ['app5', 'app6'], JSON.stringify(seen));
  });

  it('lets members of one host speak to each other', async () => {
    assert.deepEqual(await inside('app2', HTTP, '10.77.0.11', 8080, 3), { app1: 3 }, 'past any service');
    assert.deepEqual(await inside('app1', HTTP, 'fd77::12', 8080, 3), { app2: 3 }, 'over IPv6');
    const inLine = await inside('app2', HTTP, '10.77.0.11', 81, 3);
    assert.equal(
      Object.values(inLine).reduce((sum, count) => sum + count, 0),
      3,
    );
    assert.ok(
      Object.keys(inLine).every((vm) => vm.startsWith('app')),
      `to a service in line: ${JSON.stringify(inLine)}`,
    );
  });

  it('balances UDP in both families', async () => {
    assert.deepEqual(await inside('client', UDP, '10.77.0.143', 7, 12), { '10.77.0.143 7': 12 });
    assert.deepEqual(await inside('client', UDP, 'fd77::143', 7, 12), { 'fd77::143 7': 12 });
    const status = await lab.until('every member has a share', ({ members }) =>
      members.filter(({ pool }) => pool === 'shop').every(({ connections }) => (connections ?? 0) >= 4),
    );
    const counts = status.members
      .filter(({ pool }) => pool === 'shop')
      .map((member) => member.connections ?? Number.NaN);
    assert.ok(Math.max(...counts) - Math.min(...counts) <= 1, counts.join(' '));
  });

  it('serves an address of IPv6 alone, and one that a single host carries', async () => {
    const six = await inside('client', HTTP, 'fd77::144', 80, 6);
    assert.ok(
      Object.keys(six).every((vm) => vm.startsWith('app')),
      JSON.stringify(six),
    );
    const subset = await inside('client', HTTP, '10.77.0.145', 80, 6);
    assert.ok(
      Object.keys(subset).every((vm) => vm.startsWith('app')),
      JSON.stringify(subset),
    );
    const views = await lab.controller.explain('subset');
    assert.deepEqual(
      views.map((view) => view.engine),
      ['edge-h2'],
    );
  });

  it('gives the members back when all policies are deleted, and takes them again', async () => {
    const all = (
      await Promise.all((await lab.controller.kinds()).map((kind) => lab.controller.list(kind)))
    ).flat();
    const services = all.filter(({ kind }) => kind === 'virtual-service');
    await lab.controller.apply(services.map(({ kind, name }) => ({ kind, name, delete: true as const })));
    await lab.until('no engine is left', ({ engines }) => engines.length === 0);
    for (const [from, to] of [
      ['client', '10.77.0.11'],
      ['app2', '10.77.0.11'],
      ['app1', '10.77.0.15'],
    ] as const) {
      const seen = await inside(from, HTTP, to, 8080, 3);
      assert.equal(Object.values(seen)[0], 3, `${from} to ${to}: ${JSON.stringify(seen)}`);
    }
    await lab.controller.apply(services.map(({ kind, name, spec }) => ({ kind, name, spec })));
    await lab.until(
      'the services serve again',
      (status) => status.services.length > 0 && status.services.every(({ state }) => state === 'serving'),
    );
    const again = await inside('client', HTTP, '10.77.0.141', 80, 6);
    assert.deepEqual(Object.keys(again).sort(), ['app1', 'app2'], JSON.stringify(again));
  });
});
