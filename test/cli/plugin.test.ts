/** `weft plugin`: through the CLI and the REST API, with the console that serves the manifest, at two kinds of vCenter. */
import assert from 'node:assert/strict';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../../src/cli/program.ts';
import { deployedPlugin } from '../../src/lab/vcenter/ui/plugin.ts';
import { readGuid } from '../../src/vcenter/client-session.ts';
import { readCredentials } from '../../src/vcenter/credentials.ts';
import { type PaperVcenter, startPaperVcenter } from '../vcenter/paper-vcenter.ts';
import { startVcsim } from '../vcenter/vcsim.ts';
import { capturedTerminal } from './captured-terminal.ts';
import { type ConsoleFixture, openConsole, type VcenterAt } from './console-fixture.ts';

interface Kind {
  title: string;
  hasClient: boolean;
  /** What is started, and how it is ended; skips where it cannot be had. */
  start(context: Mocha.Context): Promise<VcenterAt & { stop(): Promise<void>; paper?: PaperVcenter }>;
}

const KINDS: Kind[] = [
  {
    title: 'the simulated vCenter',
    hasClient: true,
    async start() {
      const paper = await startPaperVcenter();
      const { url, thumbprint, user, password } = paper;
      return { url, thumbprint, user, password, paper, stop: () => paper.stop() };
    },
  },
  { title: 'vcsim', hasClient: false, start: (context) => startVcsim(context) },
];

for (const { title, hasClient, start } of KINDS) {
  describe(`weft plugin, at ${title}`, function () {
    this.timeout(30_000);
    let fixture: ConsoleFixture;
    let vcenter: Awaited<ReturnType<Kind['start']>>;
    let credentials: string;

    before(async function () {
      vcenter = await start(this);
      fixture = await openConsole();
      credentials = await fixture.addCloud('vc1', vcenter);
    });
    after(async () => {
      await fixture?.close();
      await vcenter?.stop();
    });

    const weft = async (args: string[], env = fixture.env) => {
      const terminal = capturedTerminal({ env });
      const code = await run(['plugin', ...args], terminal);
      return { code, out: terminal.printed(), err: terminal.complained() };
    };
    /** A vCenter that is no cloud of the controller. */
    const at = (): string[] => [
      ...['--vcenter', vcenter.url],
      ...['--thumbprint', vcenter.thumbprint],
      ...['--credentials', credentials],
    ];
    const manifest = async () => {
      const guid = await readGuid(
        { address: vcenter.url, thumbprint: vcenter.thumbprint },
        AbortSignal.timeout(10_000),
      );
      return `${fixture.console.address.url}/vc/${guid}/plugin.zip`;
    };

    for (const [form, target] of [
      ['a cloud', () => ['vc1']],
      ['--vcenter URL', at],
    ] as const) {
      it(`registers, updates, shows and removes the plug-in by ${form}`, async () => {
        const url = await manifest();
        const none = await weft(['status', ...target()]);
        assert.equal(none.code, 3);
        assert.match(none.err, /com\.weft is not registered at https:\/\/.*: weft plugin register/);
        const early = await weft(['update', ...target()]);
        assert.equal(early.code, 3);
        const first = await weft(['register', ...target()]);
        assert.equal(first.code, 0, first.err);
        assert.ok(first.out.startsWith(`com.weft 0.1.0.1 registered: ${url}\n`), first.out);
        assert.match((await weft(['register', ...target()])).out, /^com\.weft 0\.1\.0\.1 unchanged/);
        assert.match((await weft(['update', ...target()])).out, /^com\.weft 0\.1\.0\.1 unchanged/);
        const moved = await weft(['update', ...target(), '--plugin-url', 'https://127.0.0.1:9/console/']);
        assert.match(
          moved.out,
          /^com\.weft 0\.1\.0\.2 updated: https:\/\/127\.0\.0\.1:9\/console\/vc\/[0-9a-f-]{36}\/plugin\.zip/,
        );
        const back = await weft(['register', ...target(), '-o', 'json']);
        assert.deepEqual((JSON.parse(back.out) as { result: string }).result, 'updated');
        const shown = await weft(['status', ...target()]);
        assert.equal(shown.code, 0, shown.err);
        assert.ok(shown.out.includes(url));
        assert.match(shown.out, /version +0\.1\.0\.3\n/);
        assert.match(shown.out, /state +up to date\n/);
        assert.equal((await weft(['show', ...target()])).out, shown.out);
        const removed = await weft(['unregister', ...target()]);
        assert.match(removed.out, /^com\.weft unregistered/);
        const again = await weft(['unregister', ...target(), '-o', 'json']);
        assert.equal(again.code, 0);
        assert.deepEqual(JSON.parse(again.out), { key: 'com.weft', result: 'absent' });
      });
    }

    it('tells a registration that is not what the controller serves, also without a controller', async () => {
      const other = await openConsole();
      try {
        await other.addCloud('vc1', vcenter);
        assert.equal((await weft(['register', 'vc1'], other.env)).code, 0);
      } finally {
        await other.close();
      }
      const stale = JSON.parse((await weft(['status', ...at(), '-o', 'json'])).out) as object;
      assert.deepEqual((stale as { isCurrent: unknown }).isCurrent, false);
      assert.match((await weft(['status', 'vc1'])).out, /state +out of date: weft plugin update\n/);
      assert.match((await weft(['update', 'vc1'])).out, /^com\.weft 0\.1\.0\.2 updated/);
      const alone = await weft(['status', ...at()], { WEFT_URL: 'http://127.0.0.1:9', WEFT_TOKEN: 'x' });
      assert.equal(alone.code, 0, alone.err);
      assert.match(alone.out, /state +unknown: the controller does not say/);
      const gone = await weft(['unregister', ...at()], { WEFT_URL: 'http://127.0.0.1:9', WEFT_TOKEN: 'x' });
      assert.match(gone.out, /^com\.weft unregistered/);
    });

    it('says what is wrong with what it was given, and sends the password to nobody else', async () => {
      const code = async (args: string[], status: number, message: RegExp) => {
        const done = await weft(args);
        assert.equal(done.code, status, `${args.join(' ')}: ${done.err}`);
        assert.match(done.err, message);
        assert.doesNotMatch(done.err, new RegExp(`\\b${vcenter.password}\\b`));
      };
      await code(['register'], 2, /name a cloud, or a vCenter with --vcenter URL, not both/);
      await code(['register', 'vc1', ...at()], 2, /not both/);
      await code(
        ['register', '--vcenter', vcenter.url],
        2,
        /--vcenter needs --thumbprint and --credentials FILE/,
      );
      await code(['status', 'vc9'], 3, /vc9/);
      const url = vcenter.url.replace('https', 'http');
      await code(['status', '--vcenter', url, ...at().slice(2)], 2, /is no address/);
      const [, , , , ...rest] = at();
      await code(
        ['status', '--vcenter', vcenter.url, '--thumbprint', 'AB:CD', ...rest],
        2,
        /no SHA-256 thumbprint/,
      );
      const zero = '00'.repeat(32);
      await code(['status', '--vcenter', vcenter.url, '--thumbprint', zero, ...rest], 6, /thumbprint/);
      const wrong = join(fixture.directory, 'wrong.yaml');
      await writeFile(wrong, `user: ${vcenter.user}\npassword: not-this-one\n`);
      await chmod(wrong, 0o600);
      await code(['status', ...at().slice(0, 4), '--credentials', wrong], 1, /InvalidLogin/);
      await code(['status', ...at().slice(0, 4), '--credentials', `${wrong}.none`], 1, /cannot be read/);
      await code(
        ['register', 'vc1', '--plugin-url', 'http://weft.example.org'],
        2,
        /--plugin-url must be like https/,
      );
      assert.equal((await readCredentials(credentials)).password, vcenter.password, 'kept as it was');
      assert.equal((await weft(['status', 'vc1'])).code, 3, 'nothing was registered');
    });

    // vcsim has no vSphere Client.
    if (!hasClient) return;
    it('leads the vSphere Client to a manifest and pages that the console serves', async () => {
      assert.equal((await weft(['register', 'vc1'])).code, 0);
      const { vcenter: behind } = vcenter.paper!;
      const plugin = await deployedPlugin(behind);
      assert.equal(plugin?.prefix, '/plugins/com.weft~0.1.0.1/');
      const uri = plugin!.manifest.global!.view.uri;
      const guid = behind.state.instanceUuid;
      assert.equal((await fixture.ask(`vc/${guid}/${uri}`)).status, 200);
      assert.equal((await weft(['unregister', 'vc1'])).code, 0);
      assert.equal(await deployedPlugin(behind), null);
    });
  });
}
