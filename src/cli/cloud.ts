/** `weft cloud trust ADDRESS`: shows whose certificate is at an address, for the first use of a vCenter. */
import type { Command } from 'commander';
import { WeftError } from '../policy/errors.ts';
import type { Terminal } from './terminal.ts';
import { outputOption, print, type VerbOptions } from './verb.ts';

const TIMEOUT_MS = 10_000;

/** Adds the verb. */
export function registerCloud(program: Command, terminal: Terminal): void {
  const cloud = program
    .command('cloud')
    .description('show the certificate of a vCenter, to be trusted by its thumbprint');
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
