/** The networks of the lab carry packets as virtual switches do. */
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import type { Platform } from '../../src/hypervisor/platform.ts';
import { healFault, injectFault, setGateway } from '../../src/lab/control.ts';
import { openLab } from '../../src/lab/index.ts';
import { run } from '../../src/lab/world/iproute.ts';
import { labPaths, namespaceOf } from '../../src/lab/world/names.ts';
import { eventually, type LabUnderTest, requireRootOrSkip, startLab } from './lab-under-test.ts';

interface HttpAnswer {
  status?: number;
  vm?: string;
  host?: string;
  client?: string;
  error?: string;
}
interface UdpAnswer {
  sent: number;
  lost: number;
}

describe('lab network', () => {
  const never = new AbortController().signal;
  let lab: LabUnderTest;
  let platform: Platform;
  const idOf = async (name: string) => (await lab.status()).vms.find((vm) => vm.name === name)!.id;
  const http = (url: string, ...local: string[]) =>
    lab.probe<HttpAnswer>('client', 'http', 1500, url, ...local);

  before(async function () {
    requireRootOrSkip(this);
    lab = await startLab('n');
    platform = openLab({ socket: labPaths(lab.lab).socket });
  });
  after(async () => {
    await platform?.close();
    await lab?.stop();
  });

  it('leads from the client to a VM on each host, in both families', async () => {
    const answers = await Promise.all([
      http('http://10.77.0.11:8080/json'),
      http('http://10.77.0.13:8080/json', '10.77.0.40'),
      http('http://[fd77::15]:8080/json'),
      http('http://[fd77::16]:8080/json', 'fd77::41'),
    ]);
    assert.deepEqual(answers, [
      { status: 200, vm: 'app1', host: 'h1', client: '10.77.0.9' },
      { status: 200, vm: 'app3', host: 'h2', client: '10.77.0.40' },
      { status: 200, vm: 'app5', host: 'h3', client: 'fd77::9' },
      { status: 200, vm: 'app6', host: 'h3', client: 'fd77::41' },
    ]);
  });

  it('knows one MAC per VM port, and floods no unknown unicast to it', async () => {
    const host = namespaceOf(lab.lab, 'h1');
    const ports = JSON.parse(await run('bridge', ['-n', host, '-d', '-j', 'link', 'show'], '')) as {
      ifname: string;
      learning: boolean;
      flood: boolean;
    }[];
    const port = ports.find((one) => one.ifname === 'vm1-eth0')!;
    assert.deepEqual([port.learning, port.flood], [false, false]);
    const fdb = JSON.parse(await run('bridge', ['-n', host, '-j', 'fdb', 'show', 'dev', 'vm1-eth0'], '')) as {
      mac: string;
      state?: string;
      flags: string[];
    }[];
    assert.deepEqual(
      fdb
        .filter((entry) => entry.mac.startsWith('02:57:'))
        .map(({ mac, state, flags }) => ({ mac, state, flags })),
      [{ mac: '02:57:00:00:00:01', state: 'static', flags: ['sticky'] }],
    );
  });

  it('bends a NIC through an engine and back without losing more than a packet or two at 1 kHz', async () => {
    await platform.ensureSegment({ host: 'h1', name: 'prod-weft', role: 'shadow', shadows: 'prod' }, never);
    await platform.deployEngine(
      {
        engine: 'edge-h1',
        host: 'h1',
        segments: { mgmt: 'mgmt', out: 'prod', in: 'prod-weft' },
        properties: { engine: 'edge-h1', controller: 'https://192.0.2.1:7443', ca: '', token: 'once' },
      },
      () => {},
      never,
    );
    const nic = { vm: await idOf('app1'), nic: 'eth0' };
    // The bridge that stands for the engine needs a moment to come up.
    await eventually(async () => {
      await platform.attach(nic, 'prod-weft', never);
      return (await http('http://10.77.0.11:8080/json')).vm === 'app1';
    });
    const load = lab.probe<UdpAnswer>('client', 'udp', '10.77.0.11', 1500);
    await new Promise((resolve) => setTimeout(resolve, 400));
    for (const segment of ['prod', 'prod-weft', 'prod', 'prod-weft']) {
      await platform.attach(nic, segment, never);
      await new Promise((resolve) => setTimeout(resolve, 150));
    }
    const { sent, lost } = await load;
    console.log(`      ${lost} of ${sent} packets lost in four moves`);
    assert.ok(lost <= 12, `${lost} of ${sent} packets were lost in four moves`);
  });

  it('keeps neighbours on a shadow segment apart but for the engine', async () => {
    const neighbour = { vm: await idOf('app2'), nic: 'eth0' };
    await platform.attach(neighbour, 'prod-weft', never);
    const throughEngine = await lab.probe<HttpAnswer>('app1', 'http', 1500, 'http://10.77.0.12:8080/');
    assert.match(
      String(throughEngine.error),
      /timeout|EHOSTUNREACH/,
      'a plain bridge does not send frames back',
    );
    assert.equal((await http('http://10.77.0.12:8080/')).vm, 'app2');
    await platform.attach(neighbour, 'prod', never);
  });

  it('moves a VM with its connections, and the network follows', async () => {
    const vm = await idOf('app4');
    const load = lab.probe<UdpAnswer>('client', 'udp', '10.77.0.14', 1200);
    await new Promise((resolve) => setTimeout(resolve, 400));
    await platform.migrate(vm, 'h3', never);
    const { sent, lost } = await load;
    console.log(`      ${lost} of ${sent} packets lost in a migration`);
    assert.ok(lost < 700, `${lost} of ${sent} packets were lost`);
    await eventually(async () => (await http('http://10.77.0.14:8080/')).host === 'h3');
  });

  it('loses, cuts and heals links', async () => {
    const link = { vm: await idOf('app6'), nic: 'eth0' };
    // The client asks for the MAC now, not while packets get lost.
    assert.equal((await http('http://10.77.0.16:8080/')).vm, 'app6');
    await injectFault(lab.session, { kind: 'lose', link, percent: 50 }, never);
    const { sent, lost } = await lab.probe<UdpAnswer>('client', 'udp', '10.77.0.16', 600);
    // Half of the requests, and half of the replies to the others.
    assert.ok(lost > 0.6 * sent && lost < 0.9 * sent, `${lost} of ${sent} packets were lost`);
    await injectFault(lab.session, { kind: 'cut', link: { host: 'h3' } }, never);
    assert.match((await http('http://10.77.0.15:8080/')).error!, /timeout|EHOSTUNREACH/);
    assert.equal((await lab.status()).faults.length, 2);
    await healFault(lab.session, null, never);
    await eventually(async () => (await http('http://10.77.0.16:8080/')).vm === 'app6');
  });

  it('lets a VM hang and go on, and a reset ends it', async () => {
    const vm = await idOf('app3');
    await injectFault(lab.session, { kind: 'hang', vm }, never);
    assert.equal((await http('http://10.77.0.13:8080/')).error, 'timeout');
    assert.equal((await platform.inventory(never)).vms.find((one) => one.id === vm)!.power, 'on');
    await healFault(lab.session, null, never);
    assert.equal((await http('http://10.77.0.13:8080/')).vm, 'app3');
    await injectFault(lab.session, { kind: 'hang', vm }, never);
    await platform.power(vm, 'reset', never);
    await eventually(async () => (await http('http://10.77.0.13:8080/')).vm === 'app3');
    assert.deepEqual((await lab.status()).faults, []);
  });

  it('leads engines on the management network to the controller, and to a new one', async () => {
    const hubs = await Promise.all(
      ['first', 'second'].map(async (name) => {
        const hub = createServer((socket) => {
          socket.on('error', () => {});
          socket.on('data', (data) => socket.end(`${name} heard ${data}`));
        });
        await new Promise<void>((resolve) => hub.listen(0, '127.0.0.1', resolve));
        return hub;
      }),
    );
    try {
      for (const [index, name] of ['first', 'second'].entries()) {
        const { port } = hubs[index]!.address() as { port: number };
        await setGateway(lab.session, { host: '127.0.0.1', port }, never);
        assert.deepEqual(await lab.probe('edge-h1', 'tcp', '192.0.2.1', 7443, 'hello'), {
          received: `${name} heard hello`,
        });
      }
    } finally {
      for (const hub of hubs) hub.close();
    }
  });
});
