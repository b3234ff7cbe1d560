/**
 * `weft controller`: puts the controller together from its parts (store, certificate authority, hub, reconciler,
 * REST API) and runs it until it is told to stop.
 */
import { randomBytes } from 'node:crypto';
import { chmod, mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { BlockList, isIP } from 'node:net';
import { dirname, join } from 'node:path';
import { type Command, Option } from 'commander';
import type { Logger } from 'pino';
import type { Platform } from '../hypervisor/platform.ts';
import { labPaths } from '../lab/world/names.ts';
import type { CloudSpec } from '../policy/cloud.ts';
import { WeftError } from '../policy/errors.ts';
import type { ConsoleServer } from './console-server.ts';

interface ControllerArguments {
  state?: string;
  listen: Endpoint;
  hubListen: Endpoint;
  hubAdvertise?: string;
  clientFile?: string;
  lab?: string;
  backup?: string;
  pluginListen: Endpoint | null;
  pluginAdvertise?: string;
  pluginCertificate?: string;
  pluginKey?: string;
  logLevel: string;
}

export interface Endpoint {
  host: string;
  port: number;
}

/** Adds the verb. */
export function registerController(program: Command): void {
  program
    .command('controller')
    .description('run the controller: the hub that engines connect to, the reconciler, and the REST API')
    .option(
      '--state <directory>',
      'where the store is kept (else that of the lab, else /var/lib/weft/controller)',
    )
    .addOption(
      new Option('--listen <address:port>', 'where the REST API listens; loopback only')
        .argParser(parseEndpoint)
        .default({ host: '127.0.0.1', port: 7470 }, '127.0.0.1:7470'),
    )
    .addOption(
      new Option('--hub-listen <address:port>', 'where engines connect, over mutual TLS')
        .argParser(parseEndpoint)
        .default({ host: '::', port: 7443 }, '[::]:7443'),
    )
    .option(
      '--hub-advertise <url>',
      'https://address:port of the hub as engines reach it (else the address it listens on)',
    )
    .option('--client-file <file>', 'write address and token for the CLI to this file (mode 0600)')
    .option(
      '--lab <name>',
      'the lab whose directories are used where --state and --client-file are not given',
    )
    .addOption(
      new Option(
        '--plugin-listen <address:port>',
        'where the web console and the vSphere Client plug-in are served, over TLS; "none" for not at all',
      )
        .argParser((text) => (text === 'none' ? null : parseEndpoint(text)))
        .default({ host: '127.0.0.1', port: 7471 }, '127.0.0.1:7471'),
    )
    .option(
      '--plugin-advertise <url>',
      'https://address:port of it as browsers and vCenters reach it (else the address it listens on)',
    )
    .option('--plugin-certificate <file>', 'its certificate, as PEM (else one of its own in --state)')
    .option('--plugin-key <file>', 'the key of that certificate, as PEM')
    .option(
      '--backup <file>',
      'keep a backup of the store in this file, best on another disk (mode 0600: it holds keys)',
    )
    .addOption(
      new Option('--log-level <level>', 'least severity that is logged, as JSON on standard error')
        .choices(['debug', 'info', 'warn', 'error'])
        .default('info'),
    )
    .addHelpText(
      'after',
      '\nExample:\n  weft controller --state /var/lib/weft/controller --hub-advertise https://192.0.2.10:7443',
    )
    .action(async (options: ControllerArguments, command: Command) =>
      runController(options, command.getOptionValueSource('pluginListen') !== 'default'),
    );
}

/**
 * Runs until SIGTERM or SIGINT. Rejects with ERR_USAGE, ERR_STORE_IN_USE (another controller has the state
 * directory), ERR_STORE_CORRUPT, ERR_STORE_WRITE. The console may be left out only where nobody asked for its address.
 */
async function runController(options: ControllerArguments, isConsoleWanted: boolean): Promise<void> {
  const paths = options.lab === undefined ? null : labPaths(options.lab);
  const state = options.state ?? paths?.controllerState ?? '/var/lib/weft/controller';
  const clientFile = options.clientFile ?? paths?.clientFile ?? null;
  requireLoopback(options.listen);

  // Loaded here, so that the other verbs start fast.
  const [
    { pino },
    { openEmbeddedStore },
    { openSealer },
    { openAuthority },
    { openHub },
    { createApi },
    { startController },
    { openLab },
    { openVcenter },
    { readCredentials },
    { keepBackup },
    { startConsole },
  ] = await Promise.all([
    import('pino'),
    import('../state/embedded-store.ts'),
    import('../state/sealer.ts'),
    import('../pki/authority.ts'),
    import('../state/embedded-hub.ts'),
    import('../api/api.ts'),
    import('../controller/controller.ts'),
    import('../lab/index.ts'),
    import('../vcenter/index.ts'),
    import('../vcenter/credentials.ts'),
    import('./backup-keeper.ts'),
    import('./console-server.ts'),
  ]);
  const log: Logger = pino({ level: options.logLevel, base: null }, pino.destination({ fd: 2, sync: true }));
  await makeDirectory(state);

  // Closed in reverse, also when one of the later parts cannot be opened.
  const opened: (() => Promise<unknown>)[] = [];
  const closeAll = async (): Promise<void> => {
    for (const close of opened.reverse()) {
      await close().catch((error: unknown) =>
        log.warn({ error: String(error) }, 'a part did not close cleanly'),
      );
    }
  };
  try {
    const store = await openEmbeddedStore(join(state, 'store.json'));
    opened.push(() => store.close());
    const sealer = await openSealer(join(state, 'secrets.key'));
    const pidFile = join(state, 'controller.pid');
    await writeDurably(pidFile, `${process.pid}\n`);
    opened.push(() => rm(pidFile, { force: true }));
    const token = await loadToken(join(state, 'token'));
    const authority = await openAuthority(store, { serverNames: serverNames(options) });
    opened.push(() => authority.close());
    const hub = await openHub({ authority, ...options.hubListen, log });
    opened.push(() => hub.close());
    const hubAdvertise = options.hubAdvertise ?? endpointUrl('https', hub.address());
    const openPlatform = (spec: CloudSpec): Platform => {
      switch (spec.platform) {
        case 'lab':
          return openLab({ socket: spec.address });
        case 'vcenter':
          return openVcenter({
            ...spec,
            user: async () => (await readCredentials(spec.credentials)).user,
            password: async () => (await readCredentials(spec.credentials)).password,
            engines: {
              ova: spec.ova,
              signedBy: spec.signedBy ?? null,
              size: spec.engineSize,
              folder: spec.engineFolder ?? null,
              datastore: spec.datastore ?? null,
              isPinned: spec.pinEngines,
              now: Date.now,
            },
            log,
          });
      }
    };
    const controller = await startController({
      store,
      sealer,
      hub,
      authority,
      openPlatform,
      log,
      hubAdvertise,
    });
    opened.push(() => controller.close());
    let webConsole: ConsoleServer | null = null;
    const api = createApi({
      store,
      sealer,
      backend: controller.backend,
      token,
      log,
      console: () => webConsole?.address ?? null,
    });
    opened.push(() => api.close());
    await api.listen(options.listen);
    const [bound] = api.addresses();
    const url = endpointUrl(
      'http',
      typeof bound === 'object' ? { host: bound.address, port: bound.port } : options.listen,
    );
    if (clientFile !== null) {
      await writeDurably(clientFile, `${JSON.stringify({ url, token, hub: hub.address() })}\n`);
      opened.push(() => removeClientFile(clientFile, url));
    }
    if (options.pluginListen !== null) {
      webConsole = await startConsole({
        state,
        listen: options.pluginListen,
        advertise: options.pluginAdvertise ?? null,
        files: certificateFiles(options),
        store,
        api,
        token,
        log,
      }).catch((error: unknown) => {
        if (isConsoleWanted || !isAddressTaken(error)) throw error;
        log.warn(
          { address: endpointUrl('https', options.pluginListen ?? options.listen) },
          'the web console is off, for its address is taken: start the controller with --plugin-listen ADDRESS:PORT, or with --plugin-listen none to do without',
        );
        return null;
      });
      const started = webConsole;
      if (started) opened.push(() => started.close());
    }
    if (options.backup !== undefined) {
      const keeper = keepBackup(store, options.backup, log);
      opened.push(() => keeper.close());
    }
    log.info({ url, hub: hub.address(), hubAdvertise, state }, 'controller is up');
    const signal = await untilSignalled();
    log.info({ signal }, 'controller is stopping; engines go on without it');
  } finally {
    await closeAll();
  }
}

/** `host:port` or `[v6]:port`. Throws ERR_USAGE. */
export function parseEndpoint(text: string): Endpoint {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || !(port >= 0 && port <= 65_535)) {
    throw new WeftError(
      'ERR_USAGE',
      `"${text}" is not an address and port: write for example 127.0.0.1:7470 or [::1]:7470`,
    );
  }
  return { host, port };
}

/** The token guards everything, and the API speaks plain HTTP: it must not leave the machine. Throws ERR_USAGE. */
export function requireLoopback({ host, port }: Endpoint): void {
  const loopback = new BlockList();
  loopback.addSubnet('127.0.0.0', 8, 'ipv4');
  loopback.addAddress('::1', 'ipv6');
  const version = isIP(host);
  const isLoopback =
    host === 'localhost' || (version !== 0 && loopback.check(host, version === 6 ? 'ipv6' : 'ipv4'));
  if (isLoopback) return;
  throw new WeftError(
    'ERR_USAGE',
    `the REST API does not listen on ${host}: it speaks plain HTTP, which would show its token to the network. Listen on 127.0.0.1:${port}, and put a TLS proxy in front or reach it through ssh -L`,
  );
}

function isAddressTaken(error: unknown): boolean {
  for (let one = error; one instanceof Error; one = one.cause) {
    if ((one as NodeJS.ErrnoException).code === 'EADDRINUSE') return true;
  }
  return false;
}

function endpointUrl(scheme: string, { host, port }: Endpoint): string {
  return `${scheme}://${isIP(host) === 6 ? `[${host}]` : host}:${port}`;
}

function serverNames(options: ControllerArguments): string[] {
  if (options.hubAdvertise === undefined) return [options.hubListen.host];
  let url: URL;
  try {
    url = new URL(options.hubAdvertise);
  } catch {
    throw notHttps(options.hubAdvertise);
  }
  if (url.protocol !== 'https:') throw notHttps(options.hubAdvertise);
  return [url.hostname.replace(/^\[|\]$/g, '')];
}

function certificateFiles(options: ControllerArguments): { certificate: string; key: string } | null {
  const { pluginCertificate: certificate, pluginKey: key, pluginAdvertise: advertise } = options;
  if (advertise !== undefined && (!URL.canParse(advertise) || new URL(advertise).protocol !== 'https:')) {
    throw new WeftError(
      'ERR_USAGE',
      `--plugin-advertise must be like https://192.0.2.10:7471, not "${advertise}"`,
    );
  }
  if (certificate === undefined && key === undefined) return null;
  if (certificate !== undefined && key !== undefined) return { certificate, key };
  throw new WeftError('ERR_USAGE', 'give both --plugin-certificate and --plugin-key, or none of them');
}

function notHttps(text: string): WeftError {
  return new WeftError('ERR_USAGE', `--hub-advertise must be like https://192.0.2.10:7443, not "${text}"`);
}

/** Made at the first start; later ones keep it, so that clients need not be told anew. */
async function loadToken(file: string): Promise<string> {
  const found = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '';
    throw error;
  });
  if (found.trim().length >= 16) {
    await chmod(file, 0o600);
    return found.trim();
  }
  const token = randomBytes(32).toString('base64url');
  await writeDurably(file, `${token}\n`);
  return token;
}

/**
 * Makes a directory with what is missing above it. Not mkdir's `recursive`, which tries for ever where a file system
 * takes no directories (/proc). Throws ERR_STORE_WRITE.
 */
async function makeDirectory(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'EEXIST' && (await stat(path)).isDirectory()) return;
    const above = dirname(path);
    if (code === 'ENOENT' && above !== path && !(await isThere(above))) {
      await makeDirectory(above);
      return makeDirectory(path);
    }
    throw new WeftError(
      'ERR_STORE_WRITE',
      `the state directory ${path} cannot be made (${code}): name another one with --state`,
      { cause },
    );
  }
}

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/** Replaces a file as a whole, mode 0600: a reader sees the old one or the new one. */
async function writeDurably(file: string, content: string): Promise<void> {
  const temporary = `${file}.${process.pid}.new`;
  await rm(temporary, { force: true });
  const handle = await open(temporary, 'wx', 0o600);
  try {
    await handle.writeFile(content);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(temporary, file);
}

/** Unless a later controller has written its own meanwhile. */
async function removeClientFile(file: string, url: string): Promise<void> {
  const content = await readFile(file, 'utf8').catch(() => '');
  if (content.includes(JSON.stringify(url))) await rm(file, { force: true });
}

function untilSignalled(): Promise<string> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve(signal));
    // A closed terminal is no reason to stop.
    process.on('SIGHUP', () => undefined);
  });
}
