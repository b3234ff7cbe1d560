/** The option that every lab verb has. */
import { Option } from 'commander';
import { DEFAULT_LAB, requireLabName } from '../lab/world/names.ts';

/** `--lab NAME`, else WEFT_LAB, else `lab`. */
export function labOption(): Option {
  return new Option('--lab <name>', 'which lab: 1 to 8 lower-case letters and digits')
    .env('WEFT_LAB')
    .default(DEFAULT_LAB)
    .argParser(requireLabName);
}

/** Examples at the end of a verb's help. */
export function examples(...lines: string[]): string {
  return `\n${lines.length === 1 ? 'Example' : 'Examples'}:\n${lines.map((line) => `  ${line}`).join('\n')}`;
}

/** What to append to a command in a message, so that it means the same lab. */
export function labSuffix(lab: string): string {
  return lab === DEFAULT_LAB ? '' : ` --lab ${lab}`;
}

/** `--switches`: what kind of switches the simulated vCenter has. */
export function switchesOption(): Option {
  return new Option(
    '--switches <kind>',
    'switches of a new simulated vCenter: a distributed one, or a standard one on each host',
  ).choices(['distributed', 'standard']);
}

/** `--network`: whether a new lab has a router in its production network. */
export function networkOption(): Option {
  return new Option(
    '--network <kind>',
    'production network of a new lab: one link (`flat`, as it is where nothing is said), or two with a router between (`routed`: h3 with its VMs is in a network of its own)',
  ).choices(['flat', 'routed']);
}

/** `--cloud`: whether the controller drives the lab through a simulated vCenter. */
export function cloudOption(): Option {
  return new Option(
    '--cloud <kind>',
    'how the controller drives the lab: by its own socket, or as a simulated vCenter (else as it was, at first `lab`)',
  ).choices(['lab', 'vcenter']);
}
