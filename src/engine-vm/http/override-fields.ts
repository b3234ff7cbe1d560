/** Fields by which frameworks take another method, host or target than the request line's and Host. */
import type { Head } from './head.ts';
import { line } from './head-writer.ts';

const OVERRIDES = [
  'x-http-method-override',
  'x-http-method',
  'x-method-override',
  'x-original-url',
  'x-rewrite-url',
  'x-host',
  'x-forwarded-server',
  'x-forwarded-scheme',
  'x-forwarded-prefix',
  'x-original-host',
].map(line);
/** They all begin with it: most fields need no more than a look at that. */
const LETTER_X = 120;

/** Whether the field at `n` is one. */
export function isOverride(head: Head, n: number): boolean {
  if (head.ids[n] !== 0 || (head.bytes[head.nameAt[n]!]! | 32) !== LETTER_X) return false;
  for (const name of OVERRIDES) if (head.isNamed(n, name)) return true;
  return false;
}
