/** The plug-in in a vSphere Client: registered, fetched, shown behind the reverse proxy, by the user's own session. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser, BrowserContext, FrameLocator, Page } from 'playwright-core';
import type { ControllerClient } from '../../src/cli/controller-client.ts';
import { takeDown } from '../../src/cli/lab-down.ts';
import { controllerOf } from '../../src/cli/lab-run.ts';
import { bringUp } from '../../src/cli/lab-up.ts';
import { readLabStatus } from '../../src/lab/control.ts';
import { LabSession } from '../../src/lab/session.ts';
import type { VcenterAddress } from '../../src/lab/vcenter/index.ts';
import { labPaths } from '../../src/lab/world/names.ts';
import { INSTALL_TIMEOUT_MS } from '../debian-package.ts';
import { ownLab } from '../leftovers.ts';
import { requireRoot } from '../root.ts';
import { requireChromium, startChromium } from './chromium.ts';

const ROOT = join(import.meta.dirname, '../..');
const signal = new AbortController().signal;

describe('the plug-in of the vSphere Client', function () {
  this.timeout(60_000);
  const name = ownLab('n');
  let controller: ControllerClient;
  let vcenter: VcenterAddress;
  let vms: Map<string, string>;
  let chromium: { browser: Browser; stop(): Promise<void> } | undefined;
  let context: BrowserContext;
  let page: Page;

  before(async function () {
    this.timeout(INSTALL_TIMEOUT_MS);
    requireRoot(this, 'the plug-in on the simulated vCenter');
    const program = requireChromium(this);
    const running = await bringUp({
      lab: name,
      policyFiles: [join(ROOT, 'templates/lab.yaml')],
      withController: true,
      cloud: 'vcenter',
      onProgress: () => {},
      signal,
      servingTimeoutMs: 120_000,
    });
    controller = controllerOf(running);
    const session = new LabSession(labPaths(name).socket);
    const status = await readLabStatus(session, signal);
    session.close();
    vcenter = status.vcenter!;
    vms = new Map(status.vms.map((vm) => [vm.name, vm.id]));
    chromium = await startChromium(program);
    context = await chromium.browser.newContext({
      ignoreHTTPSErrors: true,
      viewport: { width: 1280, height: 800 },
    });
    page = await context.newPage();
    page.setDefaultTimeout(10_000);
  });
  after(async function () {
    this.timeout(60_000);
    await chromium?.stop();
    await takeDown({ lab: name, onProgress: () => {} });
  });

  const weft = (...args: string[]) => {
    const program = join(ROOT, 'src/main.ts');
    const all = ['--disable-warning=ExperimentalWarning', program, ...args, '--lab', name];
    const done = spawnSync(process.execPath, all, { encoding: 'utf8' });
    return { status: done.status, text: done.stdout + done.stderr };
  };
  const picture = async (title: string) => {
    const directory = process.env.WEFT_PICTURES;
    if (!directory) return;
    mkdirSync(directory, { recursive: true });
    await page.screenshot({ path: join(directory, `${title}.png`) });
  };
  const logIn = async () => {
    await page.goto(`${vcenter.url}/ui/`);
    await page.fill('#user', vcenter.user);
    await page.fill('#password', vcenter.password);
    await page.click('form button');
    await page.waitForSelector('nav');
  };
  const isEnabled = async () =>
    ((await controller.get('virtual-service', 'web')).spec as { isEnabled: boolean }).isEnabled;
  const plugin = (): FrameLocator => page.frameLocator('iframe');

  it('is registered, is up to date when registered again, and is shown', () => {
    const first = weft('plugin', 'register', 'lab');
    assert.equal(first.status, 0, first.text);
    assert.match(
      first.text,
      /com\.weft 0\.1\.0\.1 registered: https:\/\/127\.0\.0\.1:\d+\/vc\/[0-9a-f-]{36}\/plugin\.zip/,
    );
    assert.match(weft('plugin', 'register', 'lab').text, /com\.weft 0\.1\.0\.1 unchanged/);
    assert.match(weft('plugin', 'update', 'lab').text, /com\.weft 0\.1\.0\.1 unchanged/);
    const shown = JSON.parse(weft('plugin', 'show', 'lab', '-o', 'json').text) as Record<string, unknown>;
    assert.deepEqual(shown.privileges, ['Weft.Operate']);
    assert.match(String(shown.thumbprint), /^([0-9A-F]{2}:){31}[0-9A-F]{2}$/);
  });

  it("shows a VM's services and path in an iframe behind the reverse proxy", async () => {
    await logIn();
    await page.goto(`${vcenter.url}/ui/?object=VirtualMachine:${vms.get('app1')}&view=vmServices`);
    await plugin().locator('h1', { hasText: 'app1' }).waitFor();
    const services = (await plugin().locator('section').first().textContent()) ?? '';
    assert.match(services, /web/);
    assert.match(services, /10\.77\.0\.101/);
    assert.match(services, /port 80up0yes/);
    assert.match(
      (await plugin().locator('main').textContent()) ?? '',
      /its traffic passes engine edge-h1 \(ready\)/,
    );
    assert.match(page.frames().at(-1)!.url(), /\/plugins\/com\.weft~0\.1\.0\.1\/pages\/vm\.html$/);
    await picture('vm-light');
    await page.click('#theme');
    await page.waitForTimeout(200);
    const ground = await plugin()
      .locator('body')
      .evaluate((body: { computedStyleMap(): Map<string, unknown> }) =>
        String(body.computedStyleMap().get('background-color')),
      );
    assert.equal(ground, 'rgb(27, 42, 50)');
    await picture('vm-dark');
    await page.goto(`${vcenter.url}/ui/?object=VirtualMachine:${vms.get('app1')}`);
    await plugin().locator('li', { hasText: 'web' }).first().waitFor();
    await picture('vm-card');
    await page.goto(`${vcenter.url}/ui/modal?object=VirtualMachine:${vms.get('app1')}`);
    await plugin().locator('h2', { hasText: 'Path' }).waitFor();
    await picture('vm-modal');
  });

  it("shows a host's engine: state, liveness, graph, flows, drops", async () => {
    await page.goto(`${vcenter.url}/ui/`);
    const host = page.locator('nav a', { hasText: /^h1/ }).first();
    const link = (await host.getAttribute('href'))!;
    await page.goto(`${vcenter.url}${link}&view=hostEngine`);
    await plugin().locator('strong', { hasText: 'edge-h1' }).waitFor();
    const text = (await plugin().locator('main').textContent()) ?? '';
    for (const part of [/alive/, /Graph revision/, /Flows/, /app1/, /app2/, /Dropped packets/]) {
      assert.match(text, part);
    }
    await picture('host-light');
    await page.goto(`${vcenter.url}${link}`);
    await plugin().locator('dt', { hasText: 'Engine' }).waitFor();
    await picture('host-card');
  });

  it('disables and enables a service for who has the privilege, after asking', async () => {
    await page.goto(`${vcenter.url}/ui/`);
    const button = plugin().locator('#toggle-web');
    await button.waitFor();
    await picture('overview-light');
    await button.press('Enter');
    await plugin().locator('dialog').waitFor();
    await picture('overview-dialog');
    await plugin().locator('dialog button', { hasText: 'Cancel' }).press('Enter');
    assert.equal(await isEnabled(), true);
    await button.press('Enter');
    await plugin().locator('dialog button', { hasText: 'Disable' }).click();
    await plugin().locator('#toggle-web', { hasText: 'Enable' }).waitFor();
    assert.equal(await isEnabled(), false);
    await plugin().locator('#toggle-web').click();
    await plugin().locator('#toggle-web', { hasText: 'Disable' }).waitFor();
    assert.equal(await isEnabled(), true);
  });

  it('stands alone with the token of the controller', async () => {
    const shown = JSON.parse(weft('console', '-o', 'json').text) as { url: string };
    const alone = await chromium!.browser.newContext({ ignoreHTTPSErrors: true, colorScheme: 'dark' });
    const tab = await alone.newPage();
    const complaints: string[] = [];
    tab.on('console', (message) => {
      if (/Content Security Policy/i.test(message.text())) complaints.push(message.text());
    });
    await tab.goto(`${shown.url}/`);
    await tab.fill('#token', 'not-the-token-at-all');
    await tab.press('#token', 'Enter');
    await tab.locator('.failure', { hasText: 'not the one of this controller' }).waitFor();
    await tab.reload();
    const { token } = JSON.parse(
      (await import('node:fs')).readFileSync(labPaths(name).clientFile, 'utf8'),
    ) as { token: string };
    await tab.fill('#token', token);
    await tab.press('#token', 'Enter');
    await tab.locator('h2', { hasText: 'Virtual services' }).waitFor();
    if (process.env.WEFT_PICTURES) {
      await tab.screenshot({ path: join(process.env.WEFT_PICTURES, 'overview-dark.png'), fullPage: true });
    }
    assert.deepEqual(complaints, []);
    await alone.close();
  });

  it('is gone after it is unregistered, which may be said twice', async () => {
    assert.match(weft('plugin', 'unregister', 'lab').text, /com\.weft unregistered/);
    const again = weft('plugin', 'unregister', 'lab');
    assert.equal(again.status, 0);
    assert.match(again.text, /was not registered/);
    assert.equal(weft('plugin', 'show', 'lab').status, 3);
    assert.equal(weft('plugin', 'update', 'lab').status, 3);
    await page.goto(`${vcenter.url}/ui/`);
    await page.locator('p', { hasText: 'No remote plug-in is registered' }).waitFor();
  });
});
