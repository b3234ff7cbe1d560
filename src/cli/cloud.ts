/**
 * `weft cloud add NAME`: in cloud-add.ts.
 * `weft cloud trust ADDRESS`: shows whose certificate is at an address, for the first use of a vCenter.
 * `weft cloud take-over NAME`: makes a cloud this controller's that another controller drives.
 */
import type { Command } from 'commander';
import { WeftError } from '../policy/errors.ts';
import { drawCertificate, httpsOrigin, readCertificate } from './certificate-at.ts';
import { confirm } from './confirm.ts';
import { plain, type Terminal } from './terminal.ts';
import { addVerb, connect, outputOption, print, type VerbOptions } from './verb.ts';

/** Adds `cloud` and its verbs. */
export async function registerCloud(program: Command, terminal: Terminal): Promise<void> {
  const cloud = program
    .command('cloud')
    .description('make a vCenter a cloud, look at its certificate, take a cloud over');
  (await import('./cloud-add.ts')).registerCloudAdd(cloud, terminal);
  addVerb(
    cloud,
    'take-over <name>',
    "make a cloud the controller's that another controller drives; that one lets go first",
    ['weft cloud take-over vc1', 'weft cloud take-over vc1 --yes'],
  )
    .option('-y, --yes', 'do not ask')
    .addHelpText(
      'after',
      `
Two controllers never change one cloud: its record names the one that does (on vCenter the custom attribute weft.owner of
the root folder). The other one ends what it has begun, within seconds if it is alive; one that does not answer is given
15 seconds. Engines go on meanwhile. Use it when the other controller is gone, or shall not drive the cloud any more.`,
    )
    .action(async (name: string, options: VerbOptions & { yes?: boolean }) => {
      const client = await connect(options, terminal);
      const found = (await client.status()).clouds.find((one) => one.name === name);
      if (!found) throw new WeftError('ERR_NOT_FOUND', `there is no cloud ${name}: apply its policy first`);
      if (found.state === 'foreign' && !options.yes) {
        terminal.stdout.write(`${plain(found.message)}\n`);
        if (!(await confirm(terminal, `Take cloud ${plain(name)} over?`))) {
          throw new WeftError('ERR_USAGE', 'nothing was changed: say yes, or add --yes');
        }
      }
      await print(terminal, options, await client.takeOver(name), ({ waitsFor }) =>
        waitsFor === null ? `cloud ${plain(name)} is this controller's` : plain(waitsFor),
      );
    });
  cloud
    .command('trust <address>')
    .description(
      'show the certificate at an address, and the thumbprint that a cloud pins; nothing is stored',
    )
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  weft cloud trust https://vcenter.example.org')
    .action(async (text: string, options: VerbOptions) => {
      const address = httpsOrigin(text);
      const shown = { address, ...(await readCertificate(address)) };
      await print(terminal, options, shown, (certificate) =>
        [
          drawCertificate(address, certificate),
          '',
          'Compare the thumbprint with what vCenter itself shows (its console, or Administration >',
          'Certificates); anybody may have answered. If it is the same, `weft cloud add` takes it as --thumbprint,',
          'or write it into the cloud:',
          `  thumbprint: ${certificate.thumbprint}`,
        ].join('\n'),
      );
    });
}
