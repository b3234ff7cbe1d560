/** `weft console`: where the controller's pages are, for a browser without a vSphere Client around them. */
import type { Command } from 'commander';
import type { Terminal } from './terminal.ts';
import { addVerb, connect, print, type VerbOptions } from './verb.ts';

/** Adds the verb. */
export function register(program: Command, terminal: Terminal): void {
  addVerb(program, 'console', 'show the address of the web console', ['weft console', 'weft console -o json'])
    .addHelpText(
      'after',
      `
Open the address in a browser; its certificate is the controller's own (compare the thumbprint), and the page asks for
the controller's token. VMs and hosts are at pages/vm.html?cloud=CLOUD&id=VM and pages/host.html?cloud=CLOUD&id=HOST.`,
    )
    .action(async (options: VerbOptions) => {
      const shown = await (await connect(options, terminal)).console();
      await print(terminal, options, shown, ({ url, thumbprint, build }) =>
        [`address     ${url}/`, `thumbprint  ${thumbprint}`, `build       ${build}`].join('\n'),
      );
    });
}
