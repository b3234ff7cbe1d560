/**
 * Reads JSON from strangers: depth is bounded before anything is built, duplicate keys and the names that could
 * reach a prototype are refused. Otherwise it is JSON.parse.
 */
import { WeftError } from './errors.ts';
import { foreignMessage, shown } from './problems.ts';

/** How deep mappings and lists may be nested in a document, in JSON and YAML alike. */
export const MAX_DEPTH = 32;

/** Names that no mapping may hold: assigning them would change an object's prototype rather than its content. */
export const FORBIDDEN_NAMES: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype']);

/** The value of a JSON text. `source` names the text in errors. Throws ERR_BODY_INVALID. */
export function parseJson(text: string, source: string): unknown {
  scan(text, source);
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new WeftError('ERR_BODY_INVALID', `${source} is not JSON: ${foreignMessage(cause)}`, { cause });
  }
}

/** One pass over the text, without recursion: brackets for the depth, keys for duplicates and forbidden names. */
function scan(text: string, source: string): void {
  /** Per open bracket: the keys of a mapping, or null for a list. */
  const open: (Set<string> | null)[] = [];
  let expectsKey = false;
  for (let at = 0; at < text.length; at++) {
    switch (text[at]) {
      case '{':
      case '[':
        if (open.length === MAX_DEPTH) refuse(source, text, at, `is nested deeper than ${MAX_DEPTH} levels`);
        open.push(text[at] === '{' ? new Set() : null);
        expectsKey = text[at] === '{';
        break;
      case '}':
      case ']':
        open.pop();
        expectsKey = false;
        break;
      case ',':
        expectsKey = open.at(-1) instanceof Set;
        break;
      case '"': {
        const end = stringEnd(text, at);
        if (end < 0) return; // JSON.parse names the place.
        const keys = open.at(-1);
        if (expectsKey && keys) {
          const key = unquoted(text.slice(at, end + 1));
          if (FORBIDDEN_NAMES.has(key)) refuse(source, text, at, `must not hold the name ${shown(key)}`);
          if (keys.has(key)) refuse(source, text, at, `holds the key ${shown(key)} twice`);
          keys.add(key);
        }
        expectsKey = false;
        at = end;
        break;
      }
    }
  }
}

function stringEnd(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at++) {
    const character = text[at];
    if (character === '"') return at;
    if (character === '\\') at++;
  }
  return -1;
}

function unquoted(literal: string): string {
  if (!literal.includes('\\')) return literal.slice(1, -1);
  try {
    return JSON.parse(literal) as string;
  } catch {
    return literal; // A bad escape: JSON.parse of the whole names the place.
  }
}

function refuse(source: string, text: string, at: number, what: string): never {
  const line = text.slice(0, at).split('\n').length;
  throw new WeftError('ERR_BODY_INVALID', `${source} ${what} (line ${line})`);
}
