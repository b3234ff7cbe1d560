/** `weft cloud add NAME`: the first use of a vCenter, from its certificate to a cloud that is connected. */
import { rm, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Command, Option } from 'commander';
import type { CloudStatus } from '../policy/cloud.ts';
import { isWeftError, WeftError } from '../policy/errors.ts';
import { checkDocument } from '../policy/parse.ts';
import type { Credentials } from '../vcenter/credentials.ts';
import { Asker } from './ask.ts';
import { drawCertificate, httpsOrigin, readCertificate } from './certificate-at.ts';
import type { ControllerClient } from './controller-client.ts';
import { readSecretFile } from './secret-file.ts';
import type { Terminal } from './terminal.ts';
import { connect, connectionOptions, outputOption, print, type VerbOptions } from './verb.ts';

interface AddOptions extends VerbOptions {
  address: string;
  user?: string;
  passwordFile?: string;
  thumbprint?: string;
  credentials?: string;
  managementNetwork: string;
  ova: string;
  shadowVlans: { first: number; last: number };
  contentLibrary?: string;
  datastore?: string;
  engineFolder?: string;
  replace?: boolean;
}

const LOGIN_TIMEOUT_MS = 60_000;
const CONNECTED_TIMEOUT_MS = 15_000;
const CREDENTIALS_DIRECTORY = '/var/lib/weft/credentials';

/** Adds the verb to `weft cloud`. */
export function registerCloudAdd(cloud: Command, terminal: Terminal): void {
  const add = cloud
    .command('add <name>')
    .description(
      'make a vCenter a cloud: show its certificate and ask whether it is trusted, try the login, write the credentials file, apply the cloud',
    )
    .requiredOption('--address <url>', 'https://host of the vCenter')
    .requiredOption('--management-network <name>', 'the port group on which engines reach the controller')
    .requiredOption('--ova <file>', "the engine appliance, on the controller's machine")
    .addOption(
      new Option('--shadow-vlans <first-last>', 'VLAN ids that nothing else uses')
        .argParser(parseVlans)
        .makeOptionMandatory(),
    )
    .option('--user <name>', 'who logs in (else it is asked for)')
    .option('--password-file <file>', 'its first line is the password; - is stdin (else it is asked for)')
    .option('--thumbprint <sha256>', 'trust this certificate and no other, without being asked')
    .option(
      '--credentials <file>',
      `where user and password are kept, mode 0600 (else ${CREDENTIALS_DIRECTORY}/NAME.yaml); one that is there is used`,
    )
    .option('--content-library <name>', 'deploy engines from this content library')
    .option('--datastore <name>', 'the datastore for engines')
    .option('--engine-folder <name>', 'the VM folder for engines')
    .option('--replace', 'change a cloud or a credentials file that is there already');
  for (const option of [...connectionOptions(), outputOption()]) add.addOption(option);
  add
    .addHelpText(
      'after',
      `
Run it on the controller's machine: the credentials file and the appliance are read there.

Examples:
  weft cloud add prod --address https://vcenter.example.org --user weft@vsphere.local \\
    --management-network mgmt --ova /var/lib/weft/weft-engine.ova --shadow-vlans 3900-3999
  weft cloud add prod --address https://vcenter.example.org --thumbprint 0B:AC:... --password-file - \\
    --user weft@vsphere.local --management-network mgmt --ova weft-engine.ova --shadow-vlans 3900-3999 < password`,
    )
    .action((name: string, options: AddOptions) => addCloud(name, options, terminal));
}

async function addCloud(name: string, options: AddOptions, terminal: Terminal): Promise<void> {
  const address = httpsOrigin(options.address);
  const client = await connect(options, terminal);
  const credentials = resolve(options.credentials ?? defaultCredentials(name, client, terminal));
  const specOf = (thumbprint: string) => ({
    platform: 'vcenter',
    address,
    credentials,
    thumbprint,
    managementNetwork: options.managementNetwork,
    ova: resolve(options.ova),
    shadowVlans: options.shadowVlans,
    ...(options.contentLibrary === undefined ? {} : { contentLibrary: options.contentLibrary }),
    ...(options.datastore === undefined ? {} : { datastore: options.datastore }),
    ...(options.engineFolder === undefined ? {} : { engineFolder: options.engineFolder }),
  });
  // What is wrong with the options is said before anybody is asked anything.
  checkDocument({ kind: 'cloud', name, spec: specOf('00'.repeat(32)) });
  await requireNew(client, name, options);
  await requireSoundOva(specOf('').ova);

  const asker = new Asker(terminal);
  try {
    const thumbprint = await trusted(address, options, asker, terminal);
    const { login, isGiven } = await loginFor(credentials, options, asker, terminal);
    const found = await tryLogin({ ...specOf(thumbprint), login });
    terminal.stderr.write(
      `logged in as ${login.user}: ${found.hosts} hosts, ${found.vms} VMs, management network ${options.managementNetwork}\n`,
    );
    const { writeCredentials } = await import('../vcenter/credentials.ts');
    const wasThere = await exists(credentials);
    if (isGiven) await writeCredentials(credentials, login);
    try {
      await client.apply([{ kind: 'cloud', name, spec: specOf(thumbprint) }]);
    } catch (error) {
      if (isGiven && !wasThere) await rm(credentials, { force: true });
      throw error;
    }
    const status = await untilConnected(client, name);
    const answer = { cloud: name, ...specOf(thumbprint), ...found, status };
    await print(terminal, options, answer, () => {
      const kept = `${isGiven ? 'wrote' : 'uses'} ${credentials}`;
      const state =
        status?.state === 'connected' ? 'is connected' : `is not connected yet: ${status?.message ?? ''}`;
      return `${kept}\ncloud ${name} ${state}\n\`weft get cloud ${name}\` shows it; an engine group and a pool that name it come next.`;
    });
  } finally {
    await asker.close();
  }
}

/** A cloud of the name is not overwritten silently. */
async function requireNew(client: ControllerClient, name: string, { replace }: AddOptions): Promise<void> {
  if (replace) return;
  const present = await client.get('cloud', name).catch((error: unknown) => {
    if (isWeftError(error, 'ERR_NOT_FOUND')) return null;
    throw error;
  });
  if (!present) return;
  const { platform, address } = present.spec as { platform: string; address: string };
  throw new WeftError(
    'ERR_USAGE',
    `cloud ${name} is there already (${platform} at ${address}): give --replace to change it, or another name`,
  );
}

/** Throws ERR_IMAGE_INVALID. */
async function requireSoundOva(file: string): Promise<void> {
  const { openOva } = await import('../vcenter/ova.ts');
  const ova = await openOva(file, { signedBy: null, now: Date.now() }, AbortSignal.timeout(LOGIN_TIMEOUT_MS));
  await ova.close();
}

/** The thumbprint that somebody vouches for. Throws where nobody does. */
async function trusted(
  address: string,
  { thumbprint: given }: AddOptions,
  asker: Asker,
  terminal: Terminal,
): Promise<string> {
  const certificate = await readCertificate(address);
  if (given !== undefined) {
    if (isSameThumbprint(given, certificate.thumbprint)) return certificate.thumbprint;
    throw new WeftError(
      'ERR_HYPERVISOR_REFUSED',
      `${address} shows a certificate with thumbprint ${certificate.thumbprint}, not the one given: somebody may have answered in its place. Nothing was changed`,
    );
  }
  terminal.stderr.write(`${drawCertificate(address, certificate)}\n`);
  if (!asker.isAnybodyThere) {
    throw new WeftError(
      'ERR_USAGE',
      `nobody is at a terminal to say whether this certificate is trusted: compare it, then give --thumbprint ${certificate.thumbprint}`,
    );
  }
  terminal.stderr.write(
    '\nCompare the thumbprint with what vCenter itself shows (its console, or Administration > Certificates).\n',
  );
  const answer = await asker.ask('Is this the certificate of your vCenter? Type yes to trust it: ');
  if (answer.toLowerCase() === 'yes') return certificate.thumbprint;
  throw new WeftError('ERR_USAGE', 'the certificate is not trusted; nothing was changed');
}

function isSameThumbprint(a: string, b: string): boolean {
  const bare = (text: string): string => text.replaceAll(':', '').toUpperCase();
  return bare(a) === bare(b);
}

/** User and password: those of the file that is there, or those that are given now. */
async function loginFor(
  file: string,
  options: AddOptions,
  asker: Asker,
  terminal: Terminal,
): Promise<{ login: Credentials; isGiven: boolean }> {
  const isAny = options.user !== undefined || options.passwordFile !== undefined;
  if ((await exists(file)) && !options.replace) {
    if (isAny) {
      throw new WeftError(
        'ERR_USAGE',
        `the credentials file ${file} is there already: leave out --user and --password-file to use it, or give --replace`,
      );
    }
    const { readCredentials } = await import('../vcenter/credentials.ts');
    return { login: await readCredentials(file), isGiven: false };
  }
  const need = (what: string, option: string): void => {
    if (!asker.isAnybodyThere)
      throw new WeftError('ERR_USAGE', `nobody is at a terminal to give the ${what}: give ${option}`);
  };
  if (options.user === undefined) need('user', '--user');
  const user = options.user ?? (await asker.ask('User: '));
  if (options.passwordFile === undefined) need('password', '--password-file');
  const password =
    options.passwordFile === undefined
      ? await asker.askHidden(`Password of ${user}: `)
      : await readSecretFile(options.passwordFile, terminal);
  if (user === '' || password === '')
    throw new WeftError('ERR_USAGE', 'user and password must not be empty; nothing was changed');
  return { login: { user, password }, isGiven: true };
}

/** Logs in as the controller will, and looks whether the user sees hosts and the management network. */
async function tryLogin(cloud: {
  address: string;
  thumbprint: string;
  managementNetwork: string;
  ova: string;
  shadowVlans: { first: number; last: number };
  login: Credentials;
}): Promise<{ hosts: number; vms: number }> {
  const { openVcenter } = await import('../vcenter/index.ts');
  const { login, managementNetwork, ova, ...rest } = cloud;
  const platform = openVcenter({
    address: rest.address,
    thumbprint: rest.thumbprint,
    shadowVlans: rest.shadowVlans,
    user: login.user,
    password: () => login.password,
    managementNetwork,
    uplinkAttribute: 'weft.uplinks',
    rackCategory: 'rack',
    engines: { ova, signedBy: null, size: 'small', folder: null, datastore: null, now: Date.now },
  } as Parameters<typeof openVcenter>[0]);
  try {
    const { hosts, vms } = await platform.inventory(AbortSignal.timeout(LOGIN_TIMEOUT_MS));
    const names = new Set(hosts.flatMap(({ segments }) => segments.map(({ name }) => name)));
    if (!names.has(managementNetwork)) {
      throw new WeftError(
        'ERR_NOT_FOUND',
        `no host of ${cloud.address} has a port group ${managementNetwork} that ${login.user} sees; there are ${[...names].sort().slice(0, 20).join(', ') || 'none'}. Nothing was changed`,
      );
    }
    return { hosts: hosts.length, vms: vms.length };
  } finally {
    await platform.close();
  }
}

/** The state once the controller has connected, or as it is after some seconds. */
async function untilConnected(client: ControllerClient, name: string): Promise<CloudStatus | null> {
  const deadline = performance.now() + CONNECTED_TIMEOUT_MS;
  for (;;) {
    const status = ((await client.get('cloud', name)).status ?? null) as CloudStatus | null;
    if (status?.state === 'connected' || performance.now() > deadline) return status;
    await sleep(200);
  }
}

function defaultCredentials(name: string, { lab }: ControllerClient, { runDirectory }: Terminal): string {
  return lab === undefined
    ? join(CREDENTIALS_DIRECTORY, `${name}.yaml`)
    : join(runDirectory, lab, `credentials-${name}.yaml`);
}

async function exists(file: string): Promise<boolean> {
  return stat(file).then(
    () => true,
    () => false,
  );
}

function parseVlans(text: string): { first: number; last: number } {
  const match = /^(\d{1,4})-(\d{1,4})$/.exec(text);
  if (match) return { first: Number(match[1]), last: Number(match[2]) };
  throw new WeftError('ERR_USAGE', `"${text}" is no range of VLAN ids: write for example 3900-3999`);
}
