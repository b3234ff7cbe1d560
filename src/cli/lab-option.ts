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

/** What to append to a command in a message, so that it means the same lab. */
export function labSuffix(lab: string): string {
  return lab === DEFAULT_LAB ? '' : ` --lab ${lab}`;
}
