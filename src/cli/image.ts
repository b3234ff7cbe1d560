/** `weft image`: builds the appliance that engines are deployed from, and checks one as the vCenter platform does. */
import { access, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import type { ImageSigner } from '../engine-vm/image/signature.ts';
import { WeftError } from '../policy/errors.ts';
import type { Terminal } from './terminal.ts';

interface BuildArguments {
  disk?: string;
  blank?: boolean;
  output: string;
  signer?: string;
  key?: string;
  certificate?: string;
}

/** Adds `image` and its verbs. */
export function registerImage(program: Command, terminal: Terminal): void {
  const image = program
    .command('image')
    .description('build the appliance that engines are deployed from, and check one')
    .addHelpText(
      'after',
      '\nExamples:\n  weft image build --disk appliance.raw -o weft-engine.ova\n  weft image verify weft-engine.ova',
    );

  image
    .command('build')
    .description('wrap a disk into the OVA of the engine appliance')
    .option('--disk <raw>', 'the raw disk image of the appliance')
    .option('--blank', 'a blank disk instead: the OVA imports, and does not boot')
    .requiredOption('-o, --output <file>', 'the OVA to write')
    .option(
      '--signer <directory>',
      "sign with the CA in this controller's state directory; it must be stopped",
    )
    .option('--key <pem>', 'sign with this RSA key')
    .option('--certificate <pem>', 'the certificate for signing code that goes with --key, then its issuers')
    .addHelpText(
      'after',
      `
Weft does not build the root file system of the appliance: --disk takes a bootable raw image that runs
\`weft engine\` with the properties that open-vm-tools reads from \`info-get guestinfo.ovfEnv\`.
--blank serves tests of the import, such as those on a simulated vCenter; the product name in the OVA says so.
Name the OVA in the cloud (\`ova\`), and with \`contentLibrary\` a library that keeps it: it is uploaded there once, and
again when its content changes. The deployments small, medium and large are chosen by \`size\` of the engine group, or
\`engineSize\` of the cloud.
SOURCE_DATE_EPOCH, in seconds, is the time that the files in the OVA bear; without a signature the same input then
gives the same bytes.

Examples:
  weft image build --disk appliance.raw -o weft-engine.ova --signer /var/lib/weft/controller
  weft image build --blank -o blank.ova`,
    )
    .action((options: BuildArguments) => build(options, terminal));

  image
    .command('verify')
    .description('check an OVA as it is checked before an import: names, sizes, manifest, signature')
    .argument('<ova>')
    .option('--ca <pem>', 'demand a signature that this CA vouches for')
    .addHelpText('after', '\nExample:\n  weft image verify weft-engine.ova --ca ca.pem')
    .action((file: string, options: { ca?: string }) => verify(file, options, terminal));
}

async function build(options: BuildArguments, { env, stdout }: Terminal): Promise<void> {
  if ((options.disk === undefined) === (options.blank !== true)) {
    throw new WeftError(
      'ERR_USAGE',
      'give --disk with a bootable raw image of the appliance, or --blank for an OVA that does not boot',
    );
  }
  const [{ buildOva }, { version }] = await Promise.all([
    import('../engine-vm/image/ova.ts'),
    readFile(join(import.meta.dirname, '../../package.json'), 'utf8').then(
      (text) => JSON.parse(text) as { version: string },
    ),
  ]);
  const epoch = env.SOURCE_DATE_EPOCH;
  if (epoch !== undefined && !/^\d{1,10}$/.test(epoch)) {
    throw new WeftError('ERR_USAGE', 'SOURCE_DATE_EPOCH must be seconds since 1970');
  }
  const summary = await buildOva(
    {
      disk: options.disk ?? null,
      file: options.output,
      version,
      signer: await findSigner(options),
      modifiedAt: epoch === undefined ? Date.now() : Number(epoch) * 1000,
    },
    interruptible(),
  );
  for (const { name, sizeBytes, sha256 } of summary.entries) {
    stdout.write(`${sha256}  ${String(sizeBytes).padStart(12)}  ${name}\n`);
  }
  const kind = options.disk === undefined ? 'blank disk: it does not boot' : 'disk';
  stdout.write(
    `${options.output}: ${summary.sizeBytes} bytes, ${summary.isSigned ? 'signed' : 'not signed'}, ${kind} of ${summary.diskCapacityBytes} bytes\n`,
  );
}

async function findSigner(options: BuildArguments): Promise<ImageSigner | null> {
  const { signer, key, certificate } = options;
  if ((key === undefined) !== (certificate === undefined) || (signer !== undefined && key !== undefined)) {
    throw new WeftError('ERR_USAGE', 'give --signer, or --key together with --certificate, or none of them');
  }
  if (key !== undefined && certificate !== undefined) {
    return { key: await readText(key), certificates: await readText(certificate) };
  }
  if (signer === undefined) return null;
  const file = join(signer, 'store.json');
  await access(file).catch((cause: unknown) => {
    throw new WeftError('ERR_NOT_FOUND', `there is no controller's store at ${file}`, { cause });
  });
  const [{ openEmbeddedStore }, { issueImageSigner }] = await Promise.all([
    import('../state/embedded-store.ts'),
    import('../pki/image-signer.ts'),
  ]);
  const store = await openEmbeddedStore(file);
  try {
    return await issueImageSigner(store, Date.now());
  } finally {
    await store.close();
  }
}

async function verify(file: string, options: { ca?: string }, { stdout }: Terminal): Promise<void> {
  const { openOva } = await import('../vcenter/ova.ts');
  const signedBy = options.ca === undefined ? null : [await readText(options.ca)];
  const ova = await openOva(file, { signedBy, now: Date.now() }, interruptible());
  await ova.close();
  for (const { name, sizeBytes, sha256 } of ova.files) {
    stdout.write(`${sha256}  ${String(sizeBytes).padStart(12)}  ${name}\n`);
  }
  const trust = signedBy === null ? ', which nobody was asked to vouch for' : '';
  stdout.write(
    `${file} is sound, ${ova.signer === null ? 'not signed' : `signed by ${ova.signer}${trust}`}\n`,
  );
}

async function readText(file: string): Promise<string> {
  return readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    throw new WeftError('ERR_USAGE', `${file} cannot be read (${cause.code})`, { cause });
  });
}

/** Ends with Ctrl-C or SIGTERM, so that nothing half-written stays. */
function interruptible(): AbortSignal {
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => stop.abort(new WeftError('ERR_USAGE', `stopped by ${signal}`)));
  }
  return stop.signal;
}
