import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { requireRoot } from '../../root.ts';
import { line, Namespaces } from '../kernel/namespaces.ts';

const program = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const CONNECT = `
  const socket = require('node:net').connect(9, process.argv[1]);
  socket.setTimeout(1500, () => { console.log('silence'); process.exit(); });
  socket.on('data', (data) => console.log(String(data))).on('error', (error) => console.log(error.code));
`;

describe('engine links', () => {
  const spaces = new Namespaces();
  let client: string;
  let engine: string;

  before(function () {
    requireRoot(this, 'tests of the engine links');
    client = spaces.add('client');
    engine = spaces.add('engine');
    spaces.sysctl(engine, 'net/ipv6/conf/all/disable_ipv6', 1);
    spaces.link(client, 'eth0', engine, 'out');
    spaces.link(client, 'eth1', engine, 'in');
    spaces.ip(client, 'addr add 10.99.0.1/24 dev eth0');
    spaces.ip(client, 'addr add fd99::1/64 dev eth0 nodad');
  });
  after(() => spaces.close());

  const prepare = async (...addresses: string[]): Promise<string> => {
    const child = spaces.start(engine, program('link-program.ts'), addresses);
    const mac = await line(child);
    return mac;
  };
  const addresses = (): string[] =>
    (
      JSON.parse(spaces.ip(engine, '-json addr show dev weft-self')) as {
        addr_info: { local: string; prefixlen: number; scope: string }[];
      }[]
    )[0].addr_info
      .filter(({ scope }) => scope === 'global')
      .map(({ local, prefixlen }) => `${local}/${prefixlen}`);
  const packetsOfStack = (): string =>
    spaces
      .run(engine, 'sh', ['-c', "grep -h -E '^(Ip6?InReceives|Ip:)' /proc/net/snmp /proc/net/snmp6"])
      .split('\n')
      .map((text) => (text.startsWith('Ip:') ? (text.split(' ')[3] ?? '') : text))
      .join(' ');
  const connect = (address: string): string =>
    spaces.run(client, process.execPath, ['-e', CONNECT, address]).trim();

  it('gives the self link the MAC of out and the addresses of the graph, and takes old ones away', async () => {
    const mac = await prepare('10.99.0.9/24', 'fd99::9/64', '10.99.0.8/24');
    assert.match(spaces.ip(engine, 'link show out'), new RegExp(mac));
    assert.match(spaces.ip(engine, 'link show weft-self'), new RegExp(mac));
    assert.deepEqual(addresses().sort(), ['10.99.0.8/24', '10.99.0.9/24', 'fd99::9/64']);
  });

  it('can be prepared again, and leaves addresses that stay', async () => {
    const again = spaces.run(engine, process.execPath, [
      '--no-warnings',
      '-e',
      `import(${JSON.stringify(new URL('../../../src/engine-vm/link.ts', import.meta.url).href)}).then(async (link) => {
        const { signal } = new AbortController();
        await link.prepareLinks(signal);
        await link.setDataAddresses(['10.99.0.9/24', 'fd99::9/64'], signal);
      })`,
    ]);
    assert.equal(again, '');
    assert.deepEqual(addresses().sort(), ['10.99.0.9/24', 'fd99::9/64']);
  });

  it('gives the stack the routes to other networks and to members, and takes only its own away', async () => {
    spaces.ip(engine, 'route add 10.95.0.0/24 via 10.99.0.7 dev weft-self');
    const set = (routes: Record<string, string>): void => {
      const said = spaces.run(engine, process.execPath, [
        '--no-warnings',
        '-e',
        `import(${JSON.stringify(new URL('../../../src/engine-vm/link.ts', import.meta.url).href)}).then((link) =>
          link.setRoutes(new Map(${JSON.stringify(Object.entries(routes))}), new AbortController().signal))`,
      ]);
      assert.equal(said, '');
    };
    const shown = (): string[] =>
      ['-4', '-6'].flatMap((family) =>
        (
          JSON.parse(spaces.ip(engine, `${family} -json route show dev weft-self`) || '[]') as {
            dst: string;
            gateway?: string;
          }[]
        ).flatMap(({ dst, gateway }) => (gateway === undefined ? [] : [`${dst} ${gateway}`])),
      );
    set({ '10.98.0.0/24': '10.99.0.1', '10.97.0.5/32': '10.99.0.1', 'fd98::/64': 'fd99::1' });
    const foreign = '10.95.0.0/24 10.99.0.7';
    const first = [foreign, '10.97.0.5 10.99.0.1', '10.98.0.0/24 10.99.0.1', 'fd98::/64 fd99::1'];
    assert.deepEqual(shown().sort(), first);
    set({ '10.98.0.0/24': '10.99.0.2', '10.97.0.5/32': '10.99.0.1' });
    assert.deepEqual(shown().sort(), [foreign, '10.97.0.5 10.99.0.1', '10.98.0.0/24 10.99.0.2']);
    set({});
    assert.deepEqual(shown(), [foreign]);
    spaces.ip(engine, 'route del 10.95.0.0/24 dev weft-self');
  });

  it('keeps what merely passes the ports away from the stack', async () => {
    const { address } = (JSON.parse(spaces.ip(engine, '-json link show out')) as { address: string }[])[0];
    spaces.ip(client, `neigh replace 10.99.0.9 lladdr ${address} dev eth0`);
    spaces.ip(client, `neigh replace fd99::9 lladdr ${address} dev eth0`);
    const before = packetsOfStack();
    assert.equal(connect('10.99.0.9'), 'silence');
    assert.equal(connect('fd99::9'), 'silence');
    assert.equal(packetsOfStack(), before);
  });

  it('lets the stack speak through the data plane only', async () => {
    spaces.ip(client, 'neigh flush dev eth0');
    const bridge = spaces.start(engine, program('../kernel/bridge-program.ts'), [
      'out',
      'weft-self-dp',
      '8000',
    ]);
    await line(bridge);
    assert.equal(connect('10.99.0.9'), 'hello');
    assert.equal(connect('fd99::9'), 'hello');
  });

  it('soon asks anew who has an address that another VM has taken over', async function () {
    this.timeout(30_000);
    const bridge = spaces.start(engine, program('../kernel/bridge-program.ts'), [
      'out',
      'weft-self-dp',
      '20000',
    ]);
    await line(bridge);
    // As left by a clone that is gone: nobody has this MAC any more.
    spaces.ip(engine, 'neigh replace 10.99.0.1 lladdr 02:00:00:00:00:99 nud reachable dev weft-self');
    const refused = `const socket = require('node:net').connect(9, '10.99.0.1');
      socket.setTimeout(400, () => { console.log('silence'); process.exit(); });
      socket.on('error', (error) => { console.log(error.code); process.exit(); });`;
    const ask = (): string => spaces.run(engine, process.execPath, ['-e', refused]).trim();
    assert.equal(ask(), 'silence');
    const startedAt = performance.now();
    while (ask() !== 'ECONNREFUSED')
      assert.ok(performance.now() - startedAt < 15_000, 'asked the old MAC for 15 s');
    bridge.kill();
  });
});
