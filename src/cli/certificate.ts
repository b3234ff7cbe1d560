/** `weft certificate`: gives a certificate with its key, or lists those there are, with when they end. */
import { readFile } from 'node:fs/promises';
import { type Command, Option } from 'commander';
import type { CertificateSpec, CertificateStatus } from '../policy/certificate.ts';
import { WeftError } from '../policy/errors.ts';
import type { PolicyObject } from '../policy/kind.ts';
import { drawResults } from './apply.ts';
import { paint, table } from './table.ts';
import type { Terminal } from './terminal.ts';
import { addVerb, connect, print, type VerbOptions } from './verb.ts';

interface Options extends VerbOptions {
  chain?: string;
  key?: string;
  ocsp?: string;
  dryRun?: boolean;
}

type Certificate = PolicyObject<CertificateSpec, CertificateStatus>;

/** Adds the verb. */
export function register(program: Command, terminal: Terminal): void {
  addVerb(program, 'certificate', 'give a certificate with its key, or list those there are', [
    'weft certificate',
    'weft certificate shop --chain shop.pem --key shop.key',
    'vault read -field=key secret/shop | weft certificate shop --chain shop.pem --key -',
  ])
    .argument('[name]', 'the certificate; all are listed where none is named')
    .option('--chain <file>', 'PEM: the certificate, and those of the authorities behind it')
    .option('--key <file>', 'PEM: its private key, or - for stdin; left out where it stays')
    .addOption(new Option('--ocsp <file>', 'DER: the response that it is not revoked'))
    .option('--dry-run', 'check everything, but change nothing')
    .action(async (name: string | undefined, options: Options) => {
      const client = await connect(options, terminal);
      const files = options.chain ?? options.key ?? options.ocsp;
      if (name === undefined || files === undefined) {
        if (files !== undefined) throw new WeftError('ERR_USAGE', 'say which certificate: give its name');
        const all = (await client.list('certificate')) as Certificate[];
        const found = name === undefined ? all : all.filter((one) => one.name === name);
        if (name !== undefined && found.length === 0) {
          throw new WeftError(
            'ERR_NOT_FOUND',
            `there is no certificate "${name}": give it with --chain FILE --key FILE`,
          );
        }
        await print(terminal, options, found, (certificates) => draw(terminal, certificates));
        return;
      }
      const before = ((await client.list('certificate')) as Certificate[]).find((one) => one.name === name);
      const spec: Record<string, unknown> = { ...before?.spec };
      if (options.chain !== undefined) {
        spec.chain = await text(options.chain, terminal);
        // A response is of one certificate.
        delete spec.ocsp;
      }
      if (options.key !== undefined) spec.key = await text(options.key, terminal);
      if (options.ocsp !== undefined) spec.ocsp = (await bytes(options.ocsp)).toString('base64');
      if (spec.chain === undefined) throw new WeftError('ERR_USAGE', `give the certificate by --chain FILE`);
      const isDryRun = options.dryRun === true;
      const results = await client.apply([{ kind: 'certificate', name, spec }], isDryRun);
      await print(terminal, options, results, (all) => drawResults(terminal, all, isDryRun));
    });
}

function draw(terminal: Terminal, certificates: readonly Certificate[]): string {
  if (certificates.length === 0) return 'no certificates: weft certificate NAME --chain FILE --key FILE';
  const rows = certificates.map(({ name, status }) => [
    name,
    paint(terminal, status?.state ?? 'new', status?.state === 'valid' ? 'green' : 'yellow'),
    status?.validUntil.slice(0, 10) ?? '',
    status?.names.join(' ') ?? '',
    status?.usedBy.join(', ') || '-',
  ]);
  const columns = ['CERTIFICATE', 'STATE', 'UNTIL', 'NAMES', 'USED BY'].map((title) => ({ title }));
  return table(terminal, columns, rows);
}

async function text(file: string, { stdin }: Terminal): Promise<string> {
  if (file !== '-') return (await bytes(file)).toString('utf8');
  let all = '';
  for await (const chunk of stdin)
    all += typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString('utf8');
  return all;
}

async function bytes(file: string): Promise<Buffer> {
  return readFile(file).catch((cause: NodeJS.ErrnoException) => {
    throw new WeftError('ERR_USAGE', `${file} cannot be read (${cause.code})`, { cause });
  });
}
