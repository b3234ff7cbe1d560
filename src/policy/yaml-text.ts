/**
 * Reads YAML (and so JSON) from strangers: text to plain values that remember their lines.
 *
 * Bounded where YAML is dangerous: depth is checked on the token tree before anything recursive runs, aliases are
 * counted as what they expand to, and duplicate keys are found here in linear time (the library's own check is
 * quadratic).
 */
import {
  Composer,
  type CST,
  type Document,
  isAlias,
  isDocument,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  Parser,
} from 'yaml';
import { WeftError } from './errors.ts';
import { FORBIDDEN_NAMES, MAX_DEPTH } from './json-text.ts';
import { foreignMessage, shown } from './problems.ts';

/** The most values that a text may hold once its aliases are expanded. */
export const MAX_VALUES = 500_000;

export interface YamlDocument {
  value: unknown;
  /** The line, counted from 1, of the value at that path, or of the nearest place around it. */
  lineOf(path: readonly PropertyKey[]): number;
}

/** Every document of the text; empty ones are left out. `source` names the text in errors. Throws ERR_BODY_INVALID. */
export function parseYaml(text: string, source: string): YamlDocument[] {
  const lines = new LineCounter();
  const fail: Fail = (offset, what) => {
    const { line, col } = lines.linePos(offset);
    throw new WeftError('ERR_BODY_INVALID', `${source}:${Math.max(1, line)}:${Math.max(1, col)}: ${what}`);
  };
  const documents: YamlDocument[] = [];
  const budget = { left: MAX_VALUES };
  const composer = new Composer({ uniqueKeys: false, prettyErrors: false, stringKeys: true, merge: false });
  for (const document of composer.compose(boundedTokens(text, lines, fail))) {
    const error = document.errors[0] ?? document.warnings[0];
    if (error) fail(error.pos[0], `is not YAML: ${foreignMessage(error)}`);
    if (!isDocument(document) || document.contents === null) continue;
    const value = new Reader(fail, budget).read(document.contents, 0);
    if (value === null) continue;
    documents.push({ value, lineOf: (path) => lineAt(document, lines, path) });
  }
  return documents;
}

type Fail = (offset: number, what: string) => never;

function* boundedTokens(text: string, lines: LineCounter, fail: Fail): Generator<CST.Token> {
  for (const token of new Parser(lines.addNewLine).parse(text)) {
    const open: { token: CST.Token; depth: number }[] = [{ token, depth: 0 }];
    for (let next = open.pop(); next; next = open.pop()) {
      if (next.depth > MAX_DEPTH) fail(next.token.offset, `is nested deeper than ${MAX_DEPTH} levels`);
      if (next.token.type === 'document' && next.token.value) {
        open.push({ token: next.token.value, depth: 0 });
      } else if ('items' in next.token) {
        for (const item of next.token.items) {
          if (item.key) open.push({ token: item.key, depth: next.depth + 1 });
          if (item.value) open.push({ token: item.value, depth: next.depth + 1 });
        }
      }
    }
    yield token;
  }
}

/** Node tree to plain values. Anchors are noted in document order, as YAML defines them. */
class Reader {
  readonly #fail: Fail;
  readonly #budget: { left: number };
  readonly #anchors = new Map<string, Node>();

  constructor(fail: Fail, budget: { left: number }) {
    this.#fail = fail;
    this.#budget = budget;
  }

  read(node: Node | null, depth: number): unknown {
    if (node === null) return null;
    const offset = node.range?.[0] ?? 0;
    if (depth > MAX_DEPTH) this.#fail(offset, `is nested deeper than ${MAX_DEPTH} levels`);
    if (--this.#budget.left < 0) this.#fail(offset, `expands to more than ${MAX_VALUES} values`);
    if (isAlias(node)) {
      const target = this.#anchors.get(node.source);
      if (!target)
        this.#fail(offset, `refers to the anchor ${shown(node.source)}, which is not set before it`);
      return this.read(target, depth);
    }
    if (isScalar(node)) {
      if (node.anchor) this.#anchors.set(node.anchor, node);
      return node.value;
    }
    if (isSeq<Node | null>(node)) {
      if (node.anchor) this.#anchors.set(node.anchor, node);
      return node.items.map((item) => this.read(item, depth + 1));
    }
    if (isMap<Node, Node | null>(node)) {
      if (node.anchor) this.#anchors.set(node.anchor, node);
      const value: Record<string, unknown> = {};
      for (const pair of node.items) {
        const at = pair.key.range?.[0] ?? offset;
        const key = isScalar(pair.key) ? pair.key.value : undefined;
        if (typeof key !== 'string') this.#fail(at, 'a key must be plain text');
        if (FORBIDDEN_NAMES.has(key)) this.#fail(at, `must not hold the name ${shown(key)}`);
        if (Object.hasOwn(value, key)) this.#fail(at, `holds the key ${shown(key)} twice`);
        value[key] = this.read(pair.value, depth + 1);
      }
      return value;
    }
    return this.#fail(offset, 'holds something that is neither a mapping, a list nor a value');
  }
}

function lineAt(document: Document, lines: LineCounter, path: readonly PropertyKey[]): number {
  let node: unknown = document.contents;
  let offset = document.contents?.range?.[0] ?? document.range?.[0] ?? 0;
  for (const segment of path) {
    if (isAlias(node)) break;
    if (isMap<Node, Node | null>(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && item.key.value === segment);
      if (!pair) break;
      offset = pair.key.range?.[0] ?? offset;
      node = pair.value;
    } else if (isSeq<Node | null>(node) && typeof segment === 'number') {
      const item = node.items[segment];
      if (!item) break;
      offset = item.range?.[0] ?? offset;
      node = item;
    } else break;
  }
  return Math.max(1, lines.linePos(offset).line);
}
