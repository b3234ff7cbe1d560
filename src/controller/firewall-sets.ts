/**
 * The sets that firewall rules name, compiled for graphs: address sets of the policy, the addresses of VMs that carry
 * some tags, and the members that do. Each is in a graph once, however many rules name it. Pure.
 */
import { createHash } from 'node:crypto';
import { packPrefixes } from '../packet/packed-prefixes.ts';
import type { AddressSetSpec } from '../policy/address-set.ts';
import type { FirewallRule } from '../policy/firewall-policy.ts';
import type { AddressSetEntry, GraphAddressSet, GraphFirewallRule } from '../policy/graph.ts';
import type { Desired } from './desired.ts';
import { criteriaOf } from './selector.ts';
import type { SeatedNic, World } from './world.ts';

const packed = new WeakMap<AddressSetSpec, AddressSetEntry>();

/** A set as it goes to engines. Packed once per object. */
export function packSet(spec: AddressSetSpec): AddressSetEntry {
  let entry = packed.get(spec);
  if (!entry) {
    entry = entryOf(spec.prefixes);
    packed.set(spec, entry);
  }
  return entry;
}

/** Who carries which tags, asked by all graphs of one round. */
export class TagIndex {
  readonly #world: World;
  readonly #sets = new Map<string, AddressSetEntry>();

  constructor(world: World) {
    this.#world = world;
  }

  /** The addresses of every VM of any cloud that carries all of the tags. */
  addresses(tags: readonly string[]): AddressSetEntry {
    const key = JSON.stringify(tags);
    let entry = this.#sets.get(key);
    if (!entry) {
      const carries = tagTest(tags);
      const found = new Set<string>();
      for (const nic of this.#world.nics.values()) {
        if (nic.vm.engine === null && carries(nic)) for (const text of nic.nic.addresses) found.add(text);
      }
      entry = entryOf([...found].sort());
      this.#sets.set(key, entry);
    }
    return entry;
  }
}

/** The sets of one graph, as its rules ask for them. */
export class SetTable {
  readonly addressSets: GraphAddressSet[] = [];
  readonly memberSets: number[][] = [];
  readonly #desired: Desired;
  readonly #tags: TagIndex;
  readonly #memberIds: readonly string[];
  readonly #indices = new Map<string, number>();
  readonly #members = new Map<string, number>();

  constructor(desired: Desired, tags: TagIndex, memberIds: readonly string[]) {
    this.#desired = desired;
    this.#tags = tags;
    this.#memberIds = memberIds;
  }

  /** The rule with indices in the place of names and tags. */
  compile(rule: FirewallRule): GraphFirewallRule {
    const { fromSets, toSets, fromTags, memberTags, ...rest } = rule;
    const from = [
      ...(fromSets ?? []).map((name) => this.#named(name)),
      ...(fromTags === undefined ? [] : [this.#tagged(fromTags)]),
    ];
    return {
      ...rest,
      ...(from.length > 0 ? { fromSets: from } : {}),
      ...(toSets === undefined ? {} : { toSets: toSets.map((name) => this.#named(name)) }),
      ...(memberTags === undefined ? {} : { memberSet: this.#membersWith(memberTags) }),
    };
  }

  /** Puts the set of that name into the graph, for access rules of `http`, which know it by its name. */
  use(name: string): void {
    this.#named(name);
  }

  #named(name: string): number {
    const spec = this.#desired.policies.addressSets.get(name);
    // The API keeps references whole; a set that is gone all the same holds nobody.
    return spec
      ? this.#add(`set ${name}`, () => ({ name, hash: packSet(spec).hash }))
      : this.#add(`gone ${name}`, () => ({ name, ...entryOf([]) }));
  }

  #tagged(tags: readonly string[]): number {
    const name = `tags ${tags.join(', ')}`;
    return this.#add(`tags ${JSON.stringify(tags)}`, () => ({ name, ...this.#tags.addresses(tags) }));
  }

  #add(key: string, make: () => GraphAddressSet): number {
    let index = this.#indices.get(key);
    if (index === undefined) {
      index = this.addressSets.push(make()) - 1;
      this.#indices.set(key, index);
    }
    return index;
  }

  #membersWith(tags: readonly string[]): number {
    const key = JSON.stringify(tags);
    let index = this.#members.get(key);
    if (index === undefined) {
      const carries = tagTest(tags);
      const members = this.#memberIds.flatMap((id, place) => {
        const member = this.#desired.members.get(id);
        return member && carries(member) ? [place] : [];
      });
      index = this.memberSets.push(members) - 1;
      this.#members.set(key, index);
    }
    return index;
  }
}

function tagTest(tags: readonly string[]): (nic: SeatedNic) => boolean {
  const criteria = criteriaOf({ tags: [...tags] });
  return ({ vm }) => criteria.every((one) => one.passes({ vm, segments: [], addresses: [] }));
}

function entryOf(prefixes: readonly string[]): AddressSetEntry {
  const text = packPrefixes(prefixes);
  return { hash: createHash('sha256').update(text).digest('base64').slice(0, 22), prefixes: text };
}
