/**
 * The copy of the policy that a cloud keeps itself: which objects it holds, and how it is written as one text. Pure.
 *
 * It holds what users wrote, nothing else: no keys, no tokens, no passwords (policies have none; credentials are named
 * by file). See docs/design/policy-copy.md.
 */
import { brotliCompressSync, brotliDecompressSync } from 'node:zlib';
import { WeftError } from '../policy/errors.ts';
import { type PolicyItem, referencesOf } from '../policy/refs.ts';
import { KINDS } from '../policy/registry.ts';

/** What is read from a copy. */
export interface PolicyCopy {
  /** The controller that wrote it: the id of its store. */
  instance: string;
  /** When, ISO 8601. */
  savedAt: string;
  objects: PolicyItem[];
  /** Objects that this version of Weft cannot read, with the reason. */
  unreadable: string[];
}

const VERSION = 1;
/** A copy is somebody else's text: what it may unfold to is bounded. */
const MOST_BYTES = 8 << 20;

/**
 * The objects that a cloud keeps: those that lead to it (its groups, pools, services), those that lead to no cloud at
 * all, and whatever these refer to. In the order in which they can be applied.
 */
export function objectsFor(cloud: string, items: readonly PolicyItem[]): PolicyItem[] {
  const byKey = new Map(items.map((item) => [keyOf(item), item]));
  const reaches = new Map<string, Set<string>>();
  for (const item of items) reaches.set(keyOf(item), reachOf(item, byKey));
  const kept = new Set<string>();
  for (const [key, reach] of reaches) {
    const clouds = [...reach].filter((one) => one.startsWith('cloud/'));
    if (clouds.length > 0 && !clouds.includes(`cloud/${cloud}`)) continue;
    for (const one of reach) kept.add(one);
    kept.add(key);
  }
  const rank = (item: PolicyItem): number => KINDS.findIndex(({ name }) => name === item.kind);
  return items
    .filter((item) => kept.has(keyOf(item)))
    .map(({ kind, name, spec }) => ({ kind, name, spec }))
    .sort((a, b) => rank(a) - rank(b) || (a.name < b.name ? -1 : 1));
}

/** Whether it says no more than where the cloud is. */
export function isBare(objects: readonly PolicyItem[]): boolean {
  return objects.every(({ kind }) => kind === 'cloud');
}

/** As one text of letters, digits, `-` and `_`. */
export function encodeCopy({ instance, savedAt, objects }: Omit<PolicyCopy, 'unreadable'>): string {
  const text = JSON.stringify({ version: VERSION, instance, savedAt, objects });
  return brotliCompressSync(text).toString('base64url');
}

/** Throws ERR_POLICY_INVALID where it is none, or one of a later version. */
export function decodeCopy(text: string): PolicyCopy {
  const content = unfold(text);
  const { version, instance, savedAt, objects } = content;
  if (typeof version === 'number' && version > VERSION) {
    throw new WeftError(
      'ERR_POLICY_INVALID',
      `the copy of the policy was written by a later Weft (version ${version} of the copy): read it with that`,
    );
  }
  const isOurs = version === VERSION && typeof instance === 'string' && typeof savedAt === 'string';
  if (!isOurs || !Array.isArray(objects)) throw damaged();
  const copy: PolicyCopy = { instance, savedAt, objects: [], unreadable: [] };
  for (const one of objects as Partial<PolicyItem>[]) {
    const kind = KINDS.find(({ name }) => name === one?.kind);
    if (typeof one?.name !== 'string') throw damaged();
    if (!kind) {
      copy.unreadable.push(`${one.kind} ${one.name}: this Weft knows no such kind`);
      continue;
    }
    const spec = kind.spec.safeParse(one.spec);
    if (spec.success) copy.objects.push({ kind: kind.name, name: one.name, spec: spec.data });
    else copy.unreadable.push(`${kind.name} ${one.name}: ${spec.error.issues[0]?.message ?? 'not valid'}`);
  }
  return copy;
}

function unfold(text: string): Record<string, unknown> {
  try {
    const bytes = brotliDecompressSync(Buffer.from(text, 'base64url'), { maxOutputLength: MOST_BYTES });
    const value: unknown = JSON.parse(bytes.toString('utf8'));
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  } catch (cause) {
    throw damaged(cause);
  }
  throw damaged();
}

function damaged(cause?: unknown): WeftError {
  return new WeftError('ERR_POLICY_INVALID', 'what the cloud keeps is no copy of a policy', { cause });
}

function keyOf({ kind, name }: { kind: string; name: string }): string {
  return `${kind}/${name}`;
}

/** The object itself and everything that it refers to, over any number of steps. */
function reachOf(item: PolicyItem, byKey: ReadonlyMap<string, PolicyItem>): Set<string> {
  const reach = new Set([keyOf(item)]);
  const waiting = [item];
  for (let one = waiting.pop(); one; one = waiting.pop()) {
    for (const reference of referencesOf(one)) {
      const key = keyOf(reference);
      const next = byKey.get(key);
      if (!next || reach.has(key)) continue;
      reach.add(key);
      waiting.push(next);
    }
  }
  return reach;
}
