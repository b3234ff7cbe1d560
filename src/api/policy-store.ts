/**
 * Policy objects in the store: reading them, and changing several at once or none.
 *
 * Keys: `policy/<kind>/<name>` is the spec (defaults filled in; this folder is its only writer),
 * `status/<kind>/<name>` the status (the controller is). Every change also writes `policy-guard` on the condition
 * that it is as it was read: so changes are in one order, and no race can leave a dangling reference or an address
 * claimed twice, whichever controller of a cluster takes them.
 */
import { isDeepStrictEqual } from 'node:util';
import type { ApplyResult } from '../policy/answers.ts';
import { certificateUseProblems } from '../policy/certificate-use.ts';
import { isWeftError, type Problem, WeftError } from '../policy/errors.ts';
import { firewallProblems } from '../policy/firewall-use.ts';
import type { Kind, PolicyObject } from '../policy/kind.ts';
import { nearestName } from '../policy/nearest-name.ts';
import { jsonPath } from '../policy/problems.ts';
import {
  addressConflicts,
  missingReferences,
  type PolicyItem,
  referencesOf,
  referrersOf,
  uncarriedServices,
} from '../policy/refs.ts';
import { KINDS, kindNamed } from '../policy/registry.ts';
import { type Sealer, secretKey } from '../state/sealer.ts';
import type { Condition, Entry, Store, Write } from '../state/store.ts';

/** The revision that the object must have: a number (0: it must not exist), `any` (it must exist), or not checked. */
export type Precondition = number | 'any' | undefined;

/** A wanted change of one object. Specs are complete and valid. */
export type PolicyChange =
  | { kind: string; name: string; spec: unknown; revision?: Precondition }
  | { kind: string; name: string; delete: true; revision?: Precondition };

/** The key of an object's spec. */
export const policyKey = (kind: string, name: string): string => `policy/${kind}/${name}`;
/** The key of an object's status. */
export const statusKey = (kind: string, name: string): string => `status/${kind}/${name}`;

const GUARD_KEY = 'policy-guard';
/** How often a change is tried again when another writer of the store was quicker. */
const ATTEMPTS = 20;

interface StoredItem extends PolicyItem {
  revision: number;
  /** False where a stricter schema refuses what an earlier version stored: it is shown, but not followed. */
  isValid: boolean;
}

type Items = ReadonlyMap<string, StoredItem>;

/** What is kept sealed beside the specs, by store key. */
interface Secrets {
  /** Null where there is none, or it cannot be opened. */
  get(key: string): string | null;
  isKept(key: string): boolean;
  seal(key: string, text: string): Write;
}

export class PolicyStore {
  readonly #store: Store;
  readonly #sealer: Sealer;
  /** Changes through this process wait for each other rather than collide. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(store: Store, sealer: Sealer) {
    this.#store = store;
    this.#sealer = sealer;
  }

  get revision(): number {
    return this.#store.revision;
  }

  /** One object with its status. Throws ERR_NOT_FOUND. */
  async get(kind: Kind, name: string): Promise<PolicyObject> {
    const [entry, status] = await Promise.all([
      this.#store.get(policyKey(kind.name, name)),
      this.#store.get(statusKey(kind.name, name)),
    ]);
    if (!entry)
      throw notFound(
        kind.name,
        name,
        (await this.list(kind)).map((one) => one.name),
      );
    return toObject(storedItem(kind, name, entry), status?.value);
  }

  /** Every object of a kind, by name. */
  async list(kind: Kind): Promise<PolicyObject[]> {
    const [entries, statuses] = await Promise.all([
      this.#store.list(policyKey(kind.name, '')),
      this.#store.list(statusKey(kind.name, '')),
    ]);
    const statusOf = new Map(statuses.map(({ key, value }) => [key.slice(key.lastIndexOf('/') + 1), value]));
    return entries.map((entry) => {
      const name = entry.key.slice(entry.key.lastIndexOf('/') + 1);
      return toObject(storedItem(kind, name, entry), statusOf.get(name));
    });
  }

  /**
   * Makes all changes in one write of the store, or none. What is already as wanted is not written, so its revision
   * stays. A dry run makes every check and writes nothing. Throws ERR_REVISION_CONFLICT, ERR_NOT_FOUND,
   * ERR_REFERENCE_MISSING, ERR_REFERENCED, ERR_ADDRESS_IN_USE, ERR_POLICY_INVALID (an object named twice).
   */
  change(changes: readonly PolicyChange[], isDryRun = false): Promise<ApplyResult[]> {
    const run = this.#last.then(() => this.#change(changes, isDryRun));
    this.#last = run.catch(() => {});
    return run;
  }

  async #change(changes: readonly PolicyChange[], isDryRun: boolean): Promise<ApplyResult[]> {
    refuseRepeats(changes);
    for (let attempt = 1; ; attempt++) {
      const guard = await this.#store.get(GUARD_KEY);
      const before = await this.#items();
      const { results, writes, after } = outcome(changes, before, await this.#secrets());
      if (isDryRun || writes.length === 0) return results;
      const conditions = [
        { key: GUARD_KEY, revision: guard?.revision ?? 0 },
        ...conditionsOf(changes, before, after),
      ];
      try {
        const revision = await this.#store.write([...writes, { key: GUARD_KEY, value: true }], conditions);
        const written = new Set(writes.map(({ key }) => key));
        return results.map((result) =>
          written.has(policyKey(result.kind, result.name)) ? { ...result, revision } : result,
        );
      } catch (error) {
        // Somebody else wrote in between: look again. Where it was this very object, the precondition now says so.
        if (!isWeftError(error, 'ERR_REVISION_CONFLICT') || attempt === ATTEMPTS) throw error;
      }
    }
  }

  async #secrets(): Promise<Secrets> {
    const kept = new Map((await this.#store.list('secret/')).map(({ key, value }) => [key, value]));
    return {
      get: (key) => this.#sealer.open(kept.get(key), key),
      isKept: (key) => kept.has(key),
      seal: (key, text) => ({ key, value: this.#sealer.seal(text, key) }),
    };
  }

  async #items(): Promise<Items> {
    const items = new Map<string, StoredItem>();
    for (const entry of await this.#store.list('policy/')) {
      const [, kindName, name] = entry.key.split('/');
      const kind = KINDS.find((candidate) => candidate.name === kindName);
      if (kind && name !== undefined) items.set(entry.key, storedItem(kind, name, entry));
    }
    return items;
  }
}

/** What the changes lead to, checked as a whole. Pure. */
function outcome(
  changes: readonly PolicyChange[],
  before: Items,
  secrets: Secrets,
): { results: ApplyResult[]; writes: Write[]; after: Items } {
  const after = new Map(before);
  const results: ApplyResult[] = [];
  const writes: Write[] = [];
  const touched: StoredItem[] = [];
  for (const change of changes) {
    const { kind, name } = change;
    const key = policyKey(kind, name);
    const current = before.get(key);
    checkPrecondition(change, current);
    if ('delete' in change) {
      if (!current) throw notFound(kind, name);
      after.delete(key);
      writes.push({ key, delete: true });
      const secret = secretKey(kind, name);
      if (secrets.isKept(secret)) writes.push({ key: secret, delete: true });
      results.push({ kind, name, result: 'deleted', revision: current.revision });
      continue;
    }
    const { spec, secret } = apart(change, current, secrets);
    const item = { kind, name, spec, revision: current?.revision ?? 0, isValid: true };
    // Deleting and setting again moves the item to the end, so that conflicts are told of the object that came last.
    after.delete(key);
    after.set(key, item);
    touched.push(item);
    if (secret !== null) writes.push(secrets.seal(secretKey(kind, name), secret));
    else if (current && isDeepStrictEqual(current.spec, spec)) {
      results.push({ kind, name, result: 'unchanged', revision: current.revision });
      continue;
    }
    writes.push({ key, value: spec });
    results.push({ kind, name, result: current ? 'changed' : 'created', revision: item.revision });
  }
  const valid = [...after.values()].filter((item) => item.isValid);
  refuse(
    'ERR_REFERENCE_MISSING',
    missingReferences(
      touched,
      (kind, name) => after.has(policyKey(kind, name)),
      (kind) => valid.flatMap((item) => (item.kind === kind ? [item.name] : [])),
    ),
  );
  for (const change of changes) {
    if (!('delete' in change)) continue;
    const referrers = referrersOf(change.kind, change.name, valid);
    if (referrers.length === 0) continue;
    const names = [...new Set(referrers.map((referrer) => `${referrer.kind} "${referrer.name}"`))];
    throw new WeftError(
      'ERR_REFERENCED',
      `${change.kind} "${change.name}" cannot be deleted: ${names.join(', ')} ${names.length === 1 ? 'refers' : 'refer'} to it; delete or change ${names.length === 1 ? 'that' : 'those'} first`,
      {
        problems: referrers.map((referrer) => ({
          path: referrer.path,
          message: `refers to ${change.kind} "${change.name}"`,
          where: `${referrer.kind} "${referrer.name}"`,
        })),
      },
    );
  }
  if (touched.some(({ kind }) => kind === 'virtual-service' || kind === 'firewall-policy')) {
    refuse('ERR_POLICY_INVALID', firewallProblems(valid));
  }
  if (touched.some(({ kind }) => kind === 'virtual-service' || kind === 'pool' || kind === 'certificate')) {
    refuse('ERR_POLICY_INVALID', uncarriedServices(valid));
    refuse('ERR_POLICY_INVALID', certificateUseProblems(valid, touched));
  }
  if (touched.some((item) => item.kind === 'virtual-service')) {
    refuse('ERR_ADDRESS_IN_USE', addressConflicts(valid.filter((item) => item.kind === 'virtual-service')));
  }
  return { results, writes, after };
}

/**
 * The spec as it is stored, and its secret where that is to be written. Throws ERR_POLICY_INVALID for what the kind
 * refuses of something new, and where a secret is needed and there is none.
 */
function apart(
  { kind, name, spec: given }: { kind: string; name: string; spec: unknown },
  current: StoredItem | undefined,
  secrets: Secrets,
): { spec: unknown; secret: string | null } {
  const { secret: of, check } = kindNamed(kind);
  const where = `${kind} "${name}"`;
  const { spec, secret } = of?.take(given) ?? { spec: given, secret: null };
  const kept = of === undefined ? null : secrets.get(secretKey(kind, name));
  const isNew = current === undefined || !isDeepStrictEqual(current.spec, spec);
  const isNewSecret = secret !== null && secret !== kept;
  if (of !== undefined && secret === null && kept === null && isNew) {
    refuse('ERR_POLICY_INVALID', [
      { path: `$.spec.${of.attribute}`, message: `is required: ${of.remedy(name)}`, where },
    ]);
  }
  if (check !== undefined && (isNew || isNewSecret)) {
    const held = secret ?? kept;
    const whole = of === undefined || held === null ? spec : of.with(spec, held);
    const problems = check(whole, Date.now());
    refuse(
      'ERR_POLICY_INVALID',
      problems.map(({ path, message }) => ({ path: jsonPath('$.spec', path), message, where })),
    );
  }
  return { spec, secret: isNewSecret ? secret : null };
}

/** What the change relied on: the objects it touches, and those that they refer to. */
function conditionsOf(changes: readonly PolicyChange[], before: Items, after: Items): Condition[] {
  const keys = new Set(changes.map(({ kind, name }) => policyKey(kind, name)));
  for (const { kind, name } of changes) {
    const item = after.get(policyKey(kind, name));
    if (!item) continue;
    for (const reference of referencesOf(item)) keys.add(policyKey(reference.kind, reference.name));
  }
  return [...keys].map((key) => ({ key, revision: before.get(key)?.revision ?? 0 }));
}

function checkPrecondition(change: PolicyChange, current: StoredItem | undefined): void {
  const { kind, name, revision } = change;
  if (revision === undefined || (revision === 'any' && current) || revision === (current?.revision ?? 0))
    return;
  const object = `${kind} "${name}"`;
  let message: string;
  if (!current) message = `${object} does not exist (any more); leave the revision out to create it`;
  else if (revision === 0) message = `${object} exists already, at revision ${current.revision}`;
  else
    message = `${object} is at revision ${current.revision}, not ${revision}: read it again and repeat the change`;
  throw new WeftError('ERR_REVISION_CONFLICT', message);
}

function refuseRepeats(changes: readonly PolicyChange[]): void {
  const seen = new Set<string>();
  for (const { kind, name } of changes) {
    const key = policyKey(kind, name);
    if (seen.has(key)) {
      throw new WeftError(
        'ERR_POLICY_INVALID',
        `${kind} "${name}" is named twice in one change: leave one out`,
      );
    }
    seen.add(key);
  }
}

function refuse(
  code: 'ERR_REFERENCE_MISSING' | 'ERR_ADDRESS_IN_USE' | 'ERR_POLICY_INVALID',
  problems: readonly Problem[],
): void {
  const first = problems[0];
  if (!first) return;
  const rest = problems.length > 1 ? ` (and ${problems.length - 1} more)` : '';
  throw new WeftError(code, `${first.where}: ${first.path} ${first.message}${rest}`, { problems });
}

function storedItem(kind: Kind, name: string, entry: Entry): StoredItem {
  // Attributes that this version added get their defaults here, so that what is read can be put back unchanged.
  const result = kind.spec.safeParse(entry.value);
  return {
    kind: kind.name,
    name,
    spec: result.success ? result.data : entry.value,
    revision: entry.revision,
    isValid: result.success,
  };
}

function toObject(item: StoredItem, status: unknown): PolicyObject {
  const { kind, name, revision, spec } = item;
  return { kind, name, revision, spec, ...(status === undefined ? {} : { status }) };
}

/** ERR_NOT_FOUND for an object of a known kind, with the nearest of `known`; ERR_KIND_UNKNOWN otherwise. */
function notFound(kind: string, name: string, known: readonly string[] = []): WeftError {
  const nearest = nearestName(name, known);
  const remedy =
    nearest === undefined ? `weft get ${kind} lists what there is` : `did you mean "${nearest}"?`;
  return new WeftError('ERR_NOT_FOUND', `there is no ${kindNamed(kind).name} "${name}"; ${remedy}`);
}
