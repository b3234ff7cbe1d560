/** For tests: `weft engine`, as the CLI has it. */
import { Command } from 'commander';
import { registerEngine } from '../../../src/cli/engine.ts';

const program = new Command();
registerEngine(program);
await program.parseAsync(['node', 'weft', 'engine', ...process.argv.slice(2)]);
