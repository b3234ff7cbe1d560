/** One program: controller, engine, lab, and every verb of the command line. */
import { run } from './cli/program.ts';
import { processTerminal } from './cli/terminal.ts';

// `weft get | head` ends when head does; that is no error of ours.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? 0 : 1);
});

const code = await run(process.argv.slice(2), processTerminal());
// A verb that has set a code of its own keeps it.
if (code !== 0) process.exitCode = code;
