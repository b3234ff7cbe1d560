/**
 * The component `access-rules`: allows, denies and logs requests by ordered rules (`accessRules`). Found as routes are,
 * by hash, so that a thousand rules cost a request no more than ten; held against the target in its one spelling.
 */
import { parseAddress } from '../../../packet/address.ts';
import { packPrefixes } from '../../../packet/packed-prefixes.ts';
import type { AccessRule, AccessRules as Policy } from '../../../policy/http-access-rules.ts';
import { AddressClasses } from '../../component/address-classes.ts';
import { ANSWERED, type HttpComponent } from '../component.ts';
import type { Exchange } from '../exchange.ts';
import { line } from '../head-writer.ts';
import { JudgedTarget } from '../judged-target.ts';
import { isOverride } from '../override-fields.ts';
import { refusal } from '../refusals.ts';
import { NO_SETS, Router } from '../router.ts';
import type { ServiceSettings } from '../service.ts';

const DENIED = refusal('access-denied');
const IPV4_MARK = 0xffff;

/** The same object after a reload, so that nothing is forgotten. */
interface Count {
  requests: number;
}

interface Rule {
  readonly action: AccessRule['action'];
  readonly status: number;
  /** Of the name, where the log is to have it. */
  readonly logName: Uint8Array | null;
  readonly count: Count;
}

export class AccessRules implements HttpComponent {
  readonly type = 'access-rules';
  readonly #rules: readonly Rule[];
  readonly #router: Router | null;
  readonly #target: JudgedTarget;
  /** Null where no rule looks at addresses. */
  readonly #classes: AddressClasses | null;
  readonly #deniesRest: boolean;
  readonly #words = new Int32Array(4);
  /** By name of the rule, and those of `default` and `ambiguous`. */
  readonly #counts: Map<string, Count>;
  readonly #default: Count;
  readonly #ambiguous: Count;

  private constructor(policy: Policy, settings: ServiceSettings, before: AccessRules | null) {
    const { rules, ignoresCase } = policy;
    const known = before === null ? new Map<string, Count>() : before.#counts;
    const counts = new Map<string, Count>();
    const countOf = (name: string): Count => {
      const count = known.get(name) ?? { requests: 0 };
      counts.set(name, count);
      return count;
    };
    this.#rules = rules.map(({ name, action, status, isLogged }) => ({
      action,
      status,
      logName: action === 'log' || isLogged ? line(name) : null,
      count: countOf(`rule ${name}`),
    }));
    this.#default = countOf('default');
    this.#ambiguous = countOf('ambiguous');
    this.#counts = counts;
    this.#deniesRest = policy.defaultAction === 'deny';
    this.#target = new JudgedTarget(ignoresCase);
    const sets = new SetNumbers(settings.addressSets ?? {});
    const compiled = rules.map((rule) => ({
      ...compared(rule, ignoresCase),
      pool: '',
      sources: sets.of(rule),
    }));
    this.#router = Router.of(compiled, []);
    this.#classes = sets.classes();
  }

  /** Null where the service has none. `before`: in whose place it comes. Throws an Error for a set that is not there. */
  static of(settings: ServiceSettings, before: HttpComponent | undefined): AccessRules | null {
    const { accessRules } = settings.http;
    if (accessRules === undefined) return null;
    return new AccessRules(accessRules, settings, before instanceof AccessRules ? before : null);
  }

  onRequest(exchange: Exchange): number {
    const { request } = exchange;
    const ambiguous = this.#target.read(request);
    if (ambiguous !== 0) {
      this.#ambiguous.requests++;
      return ambiguous;
    }
    for (let n = 0; n < request.count; n++) if (isOverride(request, n)) request.isDropped[n] = 1;
    const sets = this.#classes === null ? NO_SETS : this.#setsOf(exchange.clientAddress, this.#classes);
    for (let at = -1; this.#router !== null; ) {
      at = this.#router.find(request, at, this.#target, sets);
      if (at < 0) break;
      const rule = this.#rules[at]!;
      rule.count.requests++;
      if (rule.logName !== null) exchange.rule = rule.logName;
      if (rule.action === 'log') continue;
      return rule.action === 'allow' ? 0 : deny(exchange, rule.status);
    }
    this.#default.requests++;
    return this.#deniesRest ? deny(exchange, 403) : 0;
  }

  #setsOf(address: string, classes: AddressClasses): Int32Array {
    const words = this.#words;
    if (!parseAddress(address, words)) return NO_SETS;
    const isFour = words[0] === 0 && words[1] === 0 && words[2] === IPV4_MARK;
    return classes.find(isFour ? 4 : 6, words[0]!, words[1]!, words[2]!, words[3]!);
  }

  counters(): Record<string, number> {
    return Object.fromEntries([...this.#counts].map(([name, { requests }]) => [name, requests]));
  }
}

function deny(exchange: Exchange, status: number): number {
  exchange.refusal = DENIED;
  exchange.answer(status, 'access-denied', []);
  return ANSWERED;
}

/** A rule whose texts are as the judged target has them. */
function compared(rule: AccessRule, ignoresCase: boolean): AccessRule {
  const cased = (text: string): string => (ignoresCase ? text.toLowerCase() : text);
  return {
    ...rule,
    paths: rule.paths.map(cased),
    query: rule.query.map((pair) => JudgedTarget.comparedPair(pair, ignoresCase)),
  };
}

/** Numbers the address sets that rules name, and the lists that they hold themselves. */
class SetNumbers {
  readonly #known: Readonly<Record<string, string>>;
  readonly #sets: { name: string; hash: string; prefixes: string }[] = [];
  readonly #numbers = new Map<string, number>();

  constructor(known: Readonly<Record<string, string>>) {
    this.#known = known;
  }

  of({ from, fromSets }: AccessRule): number[] {
    const numbers = fromSets.map((name) => {
      const prefixes = this.#known[name];
      if (prefixes === undefined) throw new Error(`address set "${name}" is not here`);
      return this.#number(name, prefixes);
    });
    if (from.length > 0) numbers.push(this.#number(from.join(), packPrefixes(from)));
    return numbers;
  }

  #number(name: string, prefixes: string): number {
    const number = this.#numbers.get(name) ?? this.#sets.push({ name, hash: '', prefixes }) - 1;
    this.#numbers.set(name, number);
    return number;
  }

  classes(): AddressClasses | null {
    return this.#sets.length === 0 ? null : new AddressClasses(this.#sets);
  }
}
