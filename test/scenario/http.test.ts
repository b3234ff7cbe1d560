/** HTTP that engines proxy: clients outside and inside, members on every host, changes and deaths under load. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { isDeepStrictEqual, promisify } from 'node:util';
import { viewOf } from '../../src/cli/top.ts';
import { namespaceFile, namespaceOf } from '../../src/lab/world/names.ts';
import { parseDocuments } from '../../src/policy/parse.ts';
import { quantile } from '../../src/policy/service-figures.ts';
import { requireRoot } from '../root.ts';
import { REQUESTS } from './requests-program.ts';
import { type ScenarioLab, startScenarioLab } from './running-lab.ts';
import { failuresOf, sleep } from './traffic.ts';

const FRONT = ['10.77.0.161', 'fd77::161'];
const policy = (http: string, components = '') => `
kind: virtual-service
name: front
spec:
  engineGroup: edge
  tiers:
    - { name: shop, addresses: [10.77.0.161, "fd77::161"], port: 80, pool: shop }
  components:
    ${components}
    - { type: load-balancer, method: round-robin }
  http: ${http}
`;

describe('HTTP that engines proxy', function () {
  this.timeout(60_000);
  let lab: ScenarioLab;

  const apply = async (text: string): Promise<void> => {
    await lab.controller.apply(parseDocuments(text, 'http'));
  };
  const inside = (place: string, ...command: string[]) =>
    promisify(execFile)('nsenter', [`--net=${namespaceFile(namespaceOf(lab.name, place))}`, ...command]);
  const get = async (place: string, path: string, ...options: string[]) =>
    (await inside(place, 'curl', '-sS', '-m', '5', ...options, `http://10.77.0.161${path}`)).stdout;
  /** Hosts of the members that answered, and the client addresses that they saw. */
  const ask = async (place: string, address: string, port: number, count = 12) => {
    const { stdout } = await inside(
      place,
      process.execPath,
      '-e',
      REQUESTS,
      address,
      String(port),
      String(count),
    );
    const all = JSON.parse(stdout) as [string, string][];
    return { hosts: [...new Set(all.map(([host]) => host))].sort(), clients: new Set(all.map(([, c]) => c)) };
  };
  const underLoad = async (work: () => Promise<unknown>) => {
    lab.client.forget();
    const targets = FRONT.map((address) => ({ address, port: 80 }));
    lab.client.startLoad(targets, { workers: 6, pauseMs: 10, timeoutMs: 4000 });
    await sleep(300);
    try {
      await work();
    } finally {
      lab.client.stopLoad();
    }
    await sleep(300);
    return [...lab.client.results];
  };

  before(async function () {
    requireRoot(this, 'scenarios in the lab');
    lab = await startScenarioLab('h');
    await apply(policy('{}'));
    await lab.until('all is in line and serves', ({ services, members }) => {
      const isServing = services.every((service) => service.state === 'serving');
      return isServing && members.every(({ health, isIntercepted }) => health === 'up' && isIntercepted);
    });
  });
  after(async () => lab?.close());

  it('reaches members of every host, from outside and from VMs, in both families', async () => {
    for (const place of ['client', 'app1', 'app4']) {
      for (const address of FRONT) {
        const { hosts, clients } = await ask(place, address, 80);
        assert.deepEqual(hosts, ['h1', 'h2', 'h3'], `${place} to ${address}`);
        for (const client of clients) assert.match(client, /^10\.77\.0\.2[0-3]\d$/, 'members see the engine');
      }
    }
    const told = JSON.parse(await get('client', '/json')) as { forwardedFor: string };
    assert.equal(told.forwardedFor, '10.77.0.9');
  });

  it('brings large bodies whole', async () => {
    const { stdout } = await inside(
      'client',
      'curl',
      '-sS',
      '-m',
      '20',
      '-o',
      '/dev/null',
      '-w',
      '%{size_download}',
      'http://10.77.0.161/bytes?n=20000000',
    );
    assert.equal(stdout, '20000000');
  });

  it('loses no request in a steady run', async () => {
    const results = await underLoad(() => sleep(3000));
    assert.ok(results.length > 100, `${results.length} requests`);
    assert.deepEqual(failuresOf(results), []);
  });

  it('loses no request where its policy changes', async () => {
    const results = await underLoad(async () => {
      for (const name of ['first', 'second', 'third']) {
        await apply(policy(`{ responseFields: { set: [{ name: X-Policy, value: ${name} }] } }`));
        const deadline = performance.now() + 5000;
        while (!(await get('client', '/', '-i')).includes(`X-Policy: ${name}`)) {
          assert.ok(performance.now() < deadline, `${name} is not in force`);
          await sleep(50);
        }
      }
    });
    assert.deepEqual(failuresOf(results), []);
  });

  it('is balanced by flow, and by request again, where the policy says so', async () => {
    const proxied = async (): Promise<boolean> =>
      (await lab.controller.flows({ service: 'front', limit: '100' })).flows.some(
        ({ kind }) => kind === 'proxied',
      );
    for (const isProxied of [false, true]) {
      await apply(isProxied ? policy('{}') : policy('{}').replace(/\n {2}http: .*/, ''));
      const deadline = performance.now() + 15_000;
      for (;;) {
        const { error } = await lab.client.get({ address: FRONT[0]!, port: 80 });
        const { stdout } = await inside(
          'client',
          'curl',
          '-s',
          '-m',
          '2',
          '-i',
          'http://10.77.0.161/json',
        ).catch(() => ({ stdout: '{}' }));
        const isByRequest = stdout.includes('"forwardedFor":"10.77.0.9"');
        if (error === null && isByRequest === isProxied) break;
        assert.ok(performance.now() < deadline, `${isProxied ? '' : 'not '}by request`);
        await sleep(100);
      }
    }
    assert.ok(await proxied(), 'weft flows shows connections that end in the engine');
  });

  it('brings a user back to his member, whichever engine his next request enters', async () => {
    const persistence = 'persistence: { type: header, name: X-User, timeoutMs: 60000 }';
    await apply(policy('{}').replace('method: round-robin }', `method: round-robin, ${persistence} }`));
    const of = async (place: string, user: string) =>
      /x-weft-vm: (\S+)/i.exec(await get(place, '/', '-i', '-H', `X-User: ${user}`))?.[1];
    let wrong: unknown[] = [];
    // Engines hear of each other in a tenth of a second, and later on a busy machine.
    for (const waitMs of [500, 1000, 2000, 4000]) {
      const users = Array.from({ length: 6 }, (_, n) => `user ${n} of ${waitMs}`);
      const homes = [];
      for (const user of users) homes.push([await of('client', user), await of('client', user)]);
      await sleep(waitMs);
      wrong = [];
      for (const [n, user] of users.entries()) {
        const homesElsewhere = [await of('app1', user), await of('app4', user)];
        const all = new Set([...homes[n]!, ...homesElsewhere]);
        if (all.size > 1) wrong.push([user, ...homes[n]!, ...homesElsewhere]);
      }
      assert.ok(new Set(homes.flat()).size > 1, 'there is more than one member');
      if (wrong.length === 0) break;
    }
    assert.deepEqual(wrong, []);
    await apply(policy('{}'));
  });

  it('leaves out a member that hangs, and one that drains, and judges clients first', async () => {
    await lab.context.fault('hang', 'app3');
    try {
      await lab.until('it is down', ({ members }) =>
        members.some(({ vm, health }) => vm === 'app3' && health === 'down'),
      );
      const results = await underLoad(() => sleep(1000));
      assert.deepEqual(failuresOf(results), []);
      assert.equal(
        results.some(({ vm }) => vm === 'app3'),
        false,
      );
    } finally {
      await lab.context.fault('resume', 'app3');
    }
    await lab.until('it is up', ({ members }) => members.every(({ health }) => health === 'up'));
    const { kind, name, spec } = await lab.controller.get('pool', 'shop');
    await lab.controller.apply([{ kind, name, spec: { ...(spec as object), drain: ['app1'] } }]);
    const deadline = performance.now() + 10_000;
    while ((await underLoad(() => sleep(200))).some(({ vm }) => vm === 'app1')) {
      assert.ok(performance.now() < deadline, 'app1 drains and gets requests');
    }
    await lab.controller.apply([{ kind, name, spec }]);
    await apply(policy('{}', '- { type: firewall, policy: shop-clients }'));
    while ((await lab.client.get({ address: '10.77.0.161', port: 80, from: '10.77.0.59' })).error === null) {
      assert.ok(performance.now() < deadline + 10_000, 'a client that the firewall rejects is answered');
    }
    const allowed = await lab.client.get({ address: '10.77.0.161', port: 80, from: '10.77.0.9' });
    assert.equal(allowed.error, null);
  });

  it('judges clients by address sets in access rules, and follows their changes', async () => {
    const rules = '[{ name: blocked, action: deny, fromSets: [http-blocked], status: 451 }]';
    const set = (...prefixes: string[]): string =>
      `kind: address-set\nname: http-blocked\nspec: { prefixes: [${prefixes.map((one) => `"${one}"`)}] }\n---`;
    const isDenied = async (place: string): Promise<boolean> =>
      (await get(place, '/', '-o', '/dev/null', '-w', '%{http_code}')) === '451';
    const [four, six] = [['10.77.0.9/32'], ['fd77::/64', '192.0.2.0/24']];
    for (const [prefixes, isBlocked] of [
      [four, true],
      [six, false],
      [[...six, ...four], true],
      [[], false],
    ] as const) {
      await apply(set(...prefixes) + policy(`{ accessRules: { rules: ${rules} } }`));
      const deadline = performance.now() + 10_000;
      while ((await isDenied('client')) !== isBlocked) {
        assert.ok(performance.now() < deadline, `${prefixes} is not in force`);
        await sleep(50);
      }
      assert.equal(await isDenied('app1'), false);
    }
    await apply(policy('{}'));
    await lab.controller.delete('address-set', 'http-blocked');
  });

  it('says what each engine has done for the service, in numbers', async () => {
    await apply(policy('{ responseFields: { set: [{ name: X-Seen, value: "1" }] } }'));
    const deadline = performance.now() + 10_000;
    for (const wanted = { components: ['field-changes'] }; ; await sleep(50)) {
      const explained = await lab.controller.explain('front');
      if (explained.length === 3 && explained.every(({ http }) => isDeepStrictEqual(http, wanted))) break;
      assert.ok(performance.now() < deadline, JSON.stringify(explained.map(({ http }) => http)));
    }
    const before = await lab.controller.serviceFigures('front');
    assert.deepEqual(before.failures, []);
    assert.deepEqual(before.engines.map(({ host }) => host).sort(), ['h1', 'h2', 'h3']);
    // From each host by its own engine, and from outside by the one that announces the address.
    for (const place of ['client', 'app1', 'app4']) await ask(place, FRONT[0]!, 80, 8);
    const after = await lab.controller.serviceFigures('front');
    const { sum, engines } = viewOf(before, after, 1000);
    assert.equal(sum.requests, 24);
    assert.ok(engines.filter(({ figures }) => figures.requests > 0).length >= 2, JSON.stringify(engines));
    assert.equal(sum.statuses[2], 24);
    const members = sum.members.reduce((count, { requests }) => count + requests, 0);
    assert.equal(members, 24);
    assert.ok(quantile(sum.times.total, 1) >= quantile(sum.times.member, 1));
    const refused = lab.controller.serviceFigures('shop');
    await assert.rejects(refused, /engines do not proxy virtual-service shop|there is no/);
  });

  it('stores responses in the engines, rewritten, and takes them out of all at once', async () => {
    const cached = `{ cache: { maxBytes: 1048576, maxObjectBytes: 65536, cacheStatus: true },
      rewrites: [{ path: "/told/{rest*}", to: { path: "/{rest*}" } }],
      responseFields: { set: [{ name: Cache-Control, value: max-age=600 }] } }`;
    await apply(policy(cached));
    const deadline = performance.now() + 10_000;
    const status = async (place: string): Promise<string> =>
      /^cache-status: (.*)\r$/im.exec(await get(place, '/told/json', '-i'))?.[1] ?? '';
    // Each of these comes to the engine of its own host, or to the one that announces the address.
    const places = ['client', 'app1', 'app4'];
    for (const place of places) {
      while ((await status(place)) !== 'weft; hit') {
        assert.ok(performance.now() < deadline, `${place}: nothing is stored`);
        await sleep(50);
      }
    }
    assert.match(await get('client', '/told/json'), /forwardedFor/);
    const { purged, engines, failures } = await lab.controller.purge('front', ['10.77.0.161/told/*']);
    assert.deepEqual(failures, []);
    assert.deepEqual(engines.map(({ host }) => host).sort(), ['h1', 'h2', 'h3']);
    assert.ok(purged >= 1, JSON.stringify(engines));
    assert.equal(await status('client'), 'weft; fwd=miss; stored');
    await apply(policy('{}'));
    const refused = lab.controller.purge('front', ['*']);
    await assert.rejects(refused, /has no http\.cache/);
  });

  it('loses the connections of an engine that dies, and opens new ones at another', async () => {
    const target = { address: '10.77.0.161', port: 80 };
    lab.client.startSteady('kept', target, 20);
    const deadline = performance.now() + 20_000;
    const until = async (what: string, holds: () => Promise<boolean> | boolean) => {
      while (!(await holds())) {
        assert.ok(performance.now() < deadline, what);
        await sleep(50);
      }
    };
    await until('the connection is used', () => (lab.client.steady.get('kept')?.requests ?? 0) > 3);
    const { flows } = await lab.controller.flows({ service: 'front', state: 'established' });
    const flow = flows.find(({ kind, address }) => kind === 'proxied' && address === '10.77.0.161:80');
    assert.ok(flow, JSON.stringify(flows));
    await lab.context.fault('kill', flow.engine);
    await until('the connection is lost, and said to be', () => lab.client.steadyBroken.has('kept'));
    await until('new ones are served', async () => (await lab.client.get(target, 1000)).error === null);
    lab.client.stopSteady();
  });
});
