/**
 * `weft cloud trust ADDRESS`: shows whose certificate is at an address, for the first use of a vCenter.
 * `weft cloud take-over NAME`: makes a cloud this controller's that another controller drives.
 */
import type { Command } from 'commander';
import { WeftError } from '../policy/errors.ts';
import { confirm } from './confirm.ts';
import { plain, type Terminal } from './terminal.ts';
import { addVerb, connect, outputOption, print, type VerbOptions } from './verb.ts';

const TIMEOUT_MS = 10_000;

/** Adds the verb. */
export function registerCloud(program: Command, terminal: Terminal): void {
  const cloud = program
    .command('cloud')
    .description('show the certificate of a vCenter, to be trusted by its thumbprint; take a cloud over');
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
      const { readThumbprint } = await import('../vcenter/transport.ts');
      const timeout = new AbortController();
      const timer = setTimeout(
        () => timeout.abort(new WeftError('ERR_TIMEOUT', `${address} shows no certificate in 10 s`)),
        TIMEOUT_MS,
      );
      try {
        const shown = { address, ...(await readThumbprint(address, timeout.signal)) };
        print(terminal, options, shown, ({ subject, issuer, validTo, thumbprint }) =>
          [
            `The certificate at ${address}:`,
            `  subject     ${oneLine(subject)}`,
            `  issuer      ${oneLine(issuer)}${subject === issuer ? ' (self-signed)' : ''}`,
            `  valid to    ${oneLine(validTo)}`,
            `  thumbprint  ${thumbprint}`,
            '',
            'Compare the thumbprint with what vCenter itself shows (its console, or Administration >',
            'Certificates); anybody may have answered. If it is the same, write it into the cloud:',
            `  thumbprint: ${thumbprint}`,
          ].join('\n'),
        );
      } finally {
        clearTimeout(timer);
      }
    });
}

/** `vc.example.org` is `https://vc.example.org`. Throws ERR_USAGE. */
function httpsOrigin(text: string): string {
  const whole = text.includes('://') ? text : `https://${text}`;
  const url = URL.canParse(whole) ? new URL(whole) : null;
  if (url?.protocol === 'https:' && url.hostname !== '') return url.origin;
  throw new WeftError('ERR_USAGE', `"${text}" is no address: write for example https://vcenter.example.org`);
}

/** A certificate's names are its own: several lines of them, and whatever characters. */
function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}]+/gu, ', ').slice(0, 300);
}
