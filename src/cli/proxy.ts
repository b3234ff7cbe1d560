/** `weft proxy -f FILE`: the L7 path of one virtual service on this machine, without controller, engines or lab. */
import { closeSync, openSync } from 'node:fs';
import { isIP } from 'node:net';
import { availableParallelism } from 'node:os';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { WeftError } from '../policy/errors.ts';
import { parseDocuments } from '../policy/parse.ts';
import { sumThreads } from '../policy/service-figures.ts';
import { readPolicyFiles } from './policy-files.ts';
import type { ProxyFigures } from './proxy-metrics.ts';
import { plain, type Terminal } from './terminal.ts';

interface Options {
  file: string[];
  service?: string;
  listen: Endpoint[];
  member: Endpoint[];
  workers: number;
  accessLog?: string;
  logEvery: number;
  drainMs: number;
  loop?: 'io_uring' | 'epoll';
  replace?: number;
  metrics?: Endpoint;
}

interface Endpoint {
  address: string;
  port: number;
}

/** How often OCSP responses are looked at. */
const STAPLES_MS = 30_000;
/** Tells a proxy that another one has its listeners. */
const REPLACED = 'SIGUSR2';

const EXAMPLES = `
Examples:
  weft proxy -f shop.yaml
  weft proxy -f shop.yaml --listen 127.0.0.1:8080 --member 127.0.0.1:3000 --member 127.0.0.1:3001
  weft proxy -f shop.yaml --workers 1 --access-log /var/log/weft-shop.json
  weft proxy -f shop.yaml --metrics 127.0.0.1:9180   # then: weft top --proxy 127.0.0.1:9180

The file holds a virtual-service with \`http: {}\` and its pool, whose members are \`members.addresses\`:

  kind: virtual-service
  name: shop
  spec:
    engineGroup: any
    tiers: [{ name: web, addresses: [127.0.0.1], port: 8080, pool: web }]
    components: [{ type: load-balancer, method: least-connections }]
    http: {}            # with memberProtocol: http/2 for members of gRPC
  ---
  kind: pool
  name: web
  spec:
    cloud: any
    members: { addresses: [127.0.0.2, 127.0.0.3] }
    port: 3000

SIGHUP reads the file again; requests that have begun keep the settings that they began with.
SIGTERM and SIGINT end it once the requests that have begun are answered.
--replace PID starts another in its place (an upgrade, other options): no request fails.`;

/** Adds the verb. */
export function registerProxy(program: Command, terminal: Terminal): void {
  program
    .command('proxy')
    .description(
      'proxy the HTTP/1.1, HTTP/2 and gRPC of one virtual service on this machine, without controller or engines',
    )
    .requiredOption(
      '-f, --file <file>',
      'policy that holds the service and its pool; more than once for several',
      (file: string, files: string[] | undefined) => [...(files ?? []), file],
    )
    .option('--service <name>', 'which service, where the files hold several')
    .addOption(endpoints('--listen <address:port>', 'listen here, not at the addresses of the service'))
    .addOption(endpoints('--member <address:port>', 'a member, in the place of those of the pool'))
    .option('--workers <count>', 'threads, each with a core in mind', count(1, 256), availableParallelism())
    .option('--access-log <file>', 'a line of JSON a request; - is stdout')
    .option('--log-every <count>', 'log one of so many requests', count(1, 1_000_000), 1)
    .addOption(
      new Option(
        '--metrics <address:port>',
        'tell figures here: /metrics for Prometheus, and what "weft top --proxy" shows',
      ).argParser(endpoint),
    )
    .option(
      '--drain-ms <ms>',
      'how long requests that have begun may take at the end',
      count(0, 86_400_000),
      30_000,
    )
    .addOption(
      new Option('--loop <kind>', 'how to speak with the kernel (else io_uring where it is allowed)').choices(
        ['io_uring', 'epoll'],
      ),
    )
    .option(
      '--replace <pid>',
      'take the place of this running proxy, which ends what it has begun once all is ready',
      count(1, 2 ** 31 - 1),
    )
    .addHelpText('after', EXAMPLES)
    .action((options: Options) => run(options, terminal));
}

async function run(options: Options, terminal: Terminal): Promise<void> {
  const [{ planProxy }, { ProxyWorkers }, { startHealth }, { withTls }, { withFreshStaples }, { takeOver }] =
    await Promise.all([
      import('../engine-vm/http/settings.ts'),
      import('../engine-vm/http/proxy-workers.ts'),
      import('../engine-vm/http/member-health.ts'),
      import('../engine-vm/tls/with-tls.ts'),
      import('../engine-vm/tls/settings.ts'),
      import('../engine-vm/http/hand-over.ts'),
    ]);
  const { withCookieKey } = await import('../engine-vm/http/cookie-key.ts');
  const say = (text: string): void => void terminal.stderr.write(`${plain(text)}\n`);
  const read = async () => {
    const documents = await readPolicyFiles(options.file, terminal, parseDocuments);
    const plan = planProxy(documents, {
      ...(options.service === undefined ? {} : { service: options.service }),
      listen: options.listen,
      members: options.member,
    });
    for (const note of plan.notes) say(`note: ${note}`);
    const { settings, notes } = withTls(withCookieKey(plan.settings), plan.sources);
    for (const note of notes) say(`note: ${note}`);
    return { ...plan, settings };
  };
  let plan = await read();
  const legacy = options.replace === undefined ? undefined : takeOver(options.replace);
  const logFile = openLog(options.accessLog);
  const failed = Promise.withResolvers<never>();
  failed.promise.catch(() => undefined);
  let figures = async (_names: boolean): Promise<ProxyFigures[]> => [];
  const metrics =
    options.metrics === undefined
      ? null
      : await (await import('./proxy-metrics.ts')).serveMetrics(options.metrics, (names) => figures(names));
  const workers = await ProxyWorkers.start({
    settings: plan.settings,
    workers: options.workers,
    ...(options.loop === undefined ? {} : { loop: options.loop }),
    ...(options.accessLog === undefined
      ? {}
      : { log: logFile ?? ((lines: Uint8Array) => void terminal.stdout.write(lines)) }),
    logEvery: options.logEvery,
    ...(legacy === undefined ? {} : { legacy }),
    onFailure: failed.reject,
  });
  const { name, listeners, members } = plan.settings;
  const scheme = plan.settings.http.tls === undefined ? 'http' : 'https';
  const where = listeners.map(
    ({ address, port }) => `${scheme}://${isIP(address) === 6 ? `[${address}]` : address}:${port}`,
  );
  figures = async (names) => [{ service: name, figures: sumThreads(await workers.figures(names)) }];
  const loopKind = await workers.loopKind();
  const health = startHealth(plan, (settings) => workers.reload(settings), say);

  const stopped = Promise.withResolvers<void>();
  const onStop = (): void => stopped.resolve();
  let isReplaced = false;
  const onReplaced = (): void => {
    isReplaced = true;
    stopped.resolve();
  };
  const onReload = (): void => {
    read()
      .then((next) => {
        plan = next;
        return health.update(next);
      })
      .then(() => say(`${name}: the new policy is in force`))
      .catch((error: Error) => say(`${name}: the policy is left as it was: ${error.message}`));
  };
  const lookAtStaples = (): void => {
    const { tls } = plan.settings;
    const notes: string[] = [];
    const fresh = tls === undefined ? null : withFreshStaples(tls, notes);
    if (fresh === null) return;
    for (const note of notes) say(`note: ${note}`);
    plan = { ...plan, settings: { ...plan.settings, tls: fresh } };
    health.update(plan).catch((error: Error) => say(`${name}: OCSP responses: ${error.message}`));
  };
  const staples = setInterval(lookAtStaples, STAPLES_MS);
  process.once('SIGTERM', onStop).once('SIGINT', onStop).on('SIGHUP', onReload).on(REPLACED, onReplaced);
  // Who reads this may send signals.
  say(`${name}: ${where.join(', ')} to ${members.length} members, ${options.workers} workers, ${loopKind}`);
  if (options.replace !== undefined) {
    process.kill(options.replace, REPLACED);
    say(`${name}: takes the place of process ${options.replace}`);
  }
  try {
    await Promise.race([stopped.promise, failed.promise]);
    const why = isReplaced ? 'replaced' : 'ending';
    say(`${name}: ${why}; requests that have begun have ${options.drainMs} ms`);
  } finally {
    clearInterval(staples);
    metrics?.close().closeAllConnections();
    process.off('SIGTERM', onStop).off('SIGINT', onStop).off('SIGHUP', onReload);
    health.stop();
    const reports = await workers.drain(options.drainMs, isReplaced);
    const requests = reports.reduce((sum, report) => sum + report.requests, 0);
    say(`${name}: ${requests} requests answered`);
    if (logFile !== undefined) closeSync(logFile);
  }
}

function openLog(path: string | undefined): number | undefined {
  if (path === undefined || path === '-') return undefined;
  try {
    return openSync(path, 'a', 0o640);
  } catch (cause) {
    throw new WeftError('ERR_USAGE', `${path} cannot be written: ${(cause as Error).message}`, { cause });
  }
}

function endpoints(flags: string, description: string): Option {
  return new Option(flags, description)
    .default([], 'what the policy says')
    .argParser((text: string, before: Endpoint[]) => [...before, endpoint(text)]);
}

function endpoint(text: string): Endpoint {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([\d.]+)):(\d{1,5})$/.exec(text);
  const address = match?.[1] ?? match?.[2] ?? '';
  const port = Number(match?.[3]);
  if (isIP(address) !== 0 && port >= 1 && port <= 65_535) return { address, port };
  throw new InvalidArgumentError('it must be like 127.0.0.1:8080 or [::1]:8080.');
}

function count(min: number, max: number): (text: string) => number {
  return (text) => {
    if (/^\d{1,9}$/.test(text) && Number(text) >= min && Number(text) <= max) return Number(text);
    throw new InvalidArgumentError(`it must be a whole number from ${min} to ${max}.`);
  };
}
