/** `weft plugin register|update|unregister|status`: the plug-in for the vSphere Client, as a vCenter's extension. */
import { type Command, Option } from 'commander';
import type { ConsoleAddress } from '../policy/answers.ts';
import { CloudSpec as CloudSchema, type CloudSpec } from '../policy/cloud.ts';
import { WeftError } from '../policy/errors.ts';
import type { VcenterSession } from '../vcenter/session.ts';
import { httpsOrigin } from './certificate-at.ts';
import { plain, type Terminal } from './terminal.ts';
import { connect, connectionOptions, outputOption, print, type VerbOptions } from './verb.ts';

interface Options extends VerbOptions {
  vcenter?: string;
  thumbprint?: string;
  credentials?: string;
  pluginUrl?: string;
}

const TIMEOUT_MS = 30_000;

/** Adds the verb. */
export function registerPlugin(program: Command, terminal: Terminal): void {
  const plugin = program
    .command('plugin')
    .description('register the plug-in for the vSphere Client with a vCenter, and remove it again');
  const add = (name: string, summary: string, examples: string[]): Command => {
    const verb = plugin.command(`${name} [cloud]`).description(summary);
    for (const option of connectionOptions()) verb.addOption(option);
    return verb
      .addOption(outputOption())
      .addOption(new Option('--vcenter <url>', 'a vCenter that is no cloud of the controller'))
      .addOption(
        new Option('--thumbprint <sha256>', 'its thumbprint, with --vcenter (weft cloud trust shows it)'),
      )
      .addOption(
        new Option('--credentials <file>', "user and password, as two lines (else the cloud's own file)"),
      )
      .addHelpText('after', `\nExamples:\n${examples.map((one) => `  ${one}`).join('\n')}`);
  };
  const where = new Option(
    '--plugin-url <url>',
    'https://address:port of the console as vCenter reaches it (else what the controller says)',
  );

  for (const name of ['register', 'update'] as const) {
    add(
      name,
      name === 'register'
        ? 'register the plug-in, or bring the registration up to date'
        : 'bring the registration up to date; it must be there',
      [
        `weft plugin ${name} vc1`,
        `weft plugin ${name} vc1 --plugin-url https://weft.example.org:7471`,
        `weft plugin ${name} --vcenter https://vc.example.org --thumbprint AB:CD:... --credentials /etc/weft/vc.yaml`,
      ],
    )
      .addOption(where)
      .action(async (cloud: string | undefined, options: Options) => {
        const shown = await (await connect(options, terminal)).console();
        const base = addressOf(shown, options.pluginUrl);
        await withVcenter(cloud, options, terminal, async (session, signal) => {
          requireReachable(base, session.address);
          const { registerPlugin: register } = await import('../vcenter/extension.ts');
          const { about } = await session.connect(signal);
          const url = manifestUrl(base, about.instanceUuid?.toLowerCase());
          const done = await register(session, { ...shown, url }, name === 'update', signal);
          await print(terminal, options, done, ({ result, plugin: { key, version, url } }) =>
            [
              plain(`${key} ${version} ${result}${result === 'unchanged' ? '' : `: ${url}`}`),
              ...(result === 'unchanged'
                ? []
                : ['The vSphere Client loads it in a minute or two; then log in there again.']),
            ].join('\n'),
          );
        });
      });
  }

  add('unregister', 'remove the registration; that there is none is no error', [
    'weft plugin unregister vc1',
  ]).action(async (cloud: string | undefined, options: Options) => {
    await withVcenter(cloud, options, terminal, async (session, signal) => {
      const { EXTENSION_KEY, unregisterPlugin } = await import('../vcenter/extension.ts');
      const result = (await unregisterPlugin(session, signal)) ? 'unregistered' : 'absent';
      await print(terminal, options, { key: EXTENSION_KEY, result }, (one) =>
        result === 'absent' ? `${one.key} was not registered` : `${one.key} ${one.result}`,
      );
    });
  });

  add('status', 'show the registration, and whether it is what the controller serves now', [
    'weft plugin status vc1',
    'weft plugin status vc1 -o json',
  ])
    .alias('show')
    .action(async (cloud: string | undefined, options: Options) => {
      await withVcenter(cloud, options, terminal, async (session, signal) => {
        const { EXTENSION_KEY, isUpToDate, readPlugin } = await import('../vcenter/extension.ts');
        const found = await readPlugin(session, signal);
        if (!found) {
          throw new WeftError(
            'ERR_NOT_FOUND',
            `${EXTENSION_KEY} is not registered at ${session.address}: weft plugin register`,
          );
        }
        // The registration of a vCenter is there to see also where no controller answers.
        const serves = await connect(options, terminal)
          .then((client) => client.console())
          .catch(() => null);
        const isCurrent = serves === null ? null : await isUpToDate(session, serves, signal);
        await print(terminal, options, { ...found, isCurrent }, (one) =>
          [
            ['key', one.key],
            ['version', one.version],
            ['manifest', one.url],
            ['thumbprint', one.thumbprint],
            ['build', one.build],
            ['tasks', String(one.tasks)],
            ['events', String(one.events)],
            ['privileges', one.privileges.join(', ')],
            ['state', stateOf(one.isCurrent)],
          ]
            .map(([name, value]) => plain(`${name!.padEnd(12)}${value}`))
            .join('\n'),
        );
      });
    });
}

function stateOf(isCurrent: boolean | null): string {
  if (isCurrent === null) return 'unknown: the controller does not say what it serves';
  return isCurrent ? 'up to date' : 'out of date: weft plugin update';
}

/** Where the console is: the controller's own word, or the address that vCenter reaches it by. */
function addressOf(shown: ConsoleAddress, given: string | undefined): string {
  const base = given ?? shown.url;
  if (!URL.canParse(base) || new URL(base).protocol !== 'https:') {
    throw new WeftError('ERR_USAGE', `--plugin-url must be like https://weft.example.org:7471, not ${base}`);
  }
  return `${base.replace(/\/+$/, '')}/`;
}

/** Each vCenter has the manifest, and with it the pages, below a path with its GUID: the pages say by it where they stand. */
function manifestUrl(base: string, guid: string | undefined): string {
  return new URL(guid === undefined ? 'plugin.zip' : `vc/${guid}/plugin.zip`, base).href;
}

/** vCenter fetches the manifest and forwards to the pages: a loopback address would be its own. */
function requireReachable(url: string, vcenter: string): void {
  const isLoopback = (text: string) => /^(127\.|\[::1\]|localhost$)/.test(new URL(text).hostname);
  if (!isLoopback(url) || isLoopback(vcenter)) return;
  throw new WeftError(
    'ERR_USAGE',
    `${vcenter} does not reach ${new URL(url).origin}: start the controller with --plugin-listen 0.0.0.0:7471 --plugin-advertise https://ADDRESS:7471, or give --plugin-url`,
  );
}

async function withVcenter(
  cloud: string | undefined,
  options: Options,
  terminal: Terminal,
  work: (session: VcenterSession, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const { address, thumbprint, credentials } = await targetOf(cloud, options, terminal);
  const [{ VcenterSession }, { readCredentials }] = await Promise.all([
    import('../vcenter/session.ts'),
    import('../vcenter/credentials.ts'),
  ]);
  const session = new VcenterSession({
    address,
    thumbprint,
    user: async () => (await readCredentials(credentials)).user,
    password: async () => (await readCredentials(credentials)).password,
  });
  try {
    await work(session, AbortSignal.timeout(TIMEOUT_MS));
  } finally {
    await session.close();
  }
}

async function targetOf(
  cloud: string | undefined,
  options: Options,
  terminal: Terminal,
): Promise<{ address: string; thumbprint: string; credentials: string }> {
  const { vcenter, thumbprint, credentials } = options;
  if ((cloud === undefined) === (vcenter === undefined)) {
    throw new WeftError('ERR_USAGE', 'name a cloud, or a vCenter with --vcenter URL, not both');
  }
  if (vcenter !== undefined) {
    if (thumbprint === undefined || credentials === undefined) {
      throw new WeftError('ERR_USAGE', '--vcenter needs --thumbprint and --credentials FILE');
    }
    return { address: httpsOrigin(vcenter), thumbprint, credentials };
  }
  const { spec } = await (await connect(options, terminal)).get('cloud', cloud ?? '');
  const parsed: CloudSpec = CloudSchema.parse(spec);
  if (parsed.platform !== 'vcenter') {
    throw new WeftError(
      'ERR_HYPERVISOR_UNSUPPORTED',
      `cloud ${cloud} is of platform ${parsed.platform}, which takes no plug-in; \`weft console\` shows the pages without one`,
    );
  }
  return {
    address: parsed.address,
    thumbprint: parsed.thumbprint,
    credentials: credentials ?? parsed.credentials,
  };
}
