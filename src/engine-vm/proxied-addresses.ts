/**
 * Makes the engine's stack take packets for the addresses of proxied services, whoever owns these addresses. They are no
 * addresses of the stack: it answers no ARP and no neighbour solicitation for them, and its own connections to a VM
 * that owns one leave as to any other.
 *
 *   rule 87: what comes in by weft-self  -> table 87: the addresses, as local ones
 *   rule 88: what is marked, sent        -> table 88: everything by the router of stack-gateway.ts
 */
import { ip, SELF } from './link.ts';
import {
  STACK_GATEWAY_IPV4,
  STACK_GATEWAY_IPV6,
  STACK_GATEWAY_MAC,
  STACK_GATEWAY_MARK,
} from './stack-gateway.ts';

/** Tables, and the priorities of their rules: behind the table of local addresses, before the others. */
const TAKEN = '87';
const ANSWERS = '88';
const FAMILIES = [
  { option: '-4', gateway: STACK_GATEWAY_IPV4 },
  { option: '-6', gateway: STACK_GATEWAY_IPV6 },
] as const;

interface Rule {
  priority: number;
}

/** Has the stack take exactly these addresses, from now on. Safe to repeat. Throws ERR_KERNEL. */
export async function setProxiedAddresses(addresses: readonly string[], signal: AbortSignal): Promise<void> {
  for (const { option, gateway } of FAMILIES) {
    const wanted = new Set(addresses.filter((one) => one.includes(':') === (option === '-6')));
    const rules = JSON.parse((await ip(signal, option, '-json', 'rule', 'show')) || '[]') as Rule[];
    const hasRule = (priority: string): boolean => rules.some((rule) => String(rule.priority) === priority);
    if (!hasRule(TAKEN)) {
      if (wanted.size === 0) continue;
      await ip(signal, option, 'rule', 'add', 'priority', TAKEN, 'iif', SELF, 'lookup', TAKEN);
    }
    if (!hasRule(ANSWERS)) {
      const mark = String(STACK_GATEWAY_MARK);
      await ip(signal, option, 'rule', 'add', 'priority', ANSWERS, 'fwmark', mark, 'lookup', ANSWERS);
    }
    const neighbour = ['neighbour', 'replace', gateway, 'lladdr', STACK_GATEWAY_MAC, 'dev', SELF];
    await ip(signal, option, ...neighbour, 'nud', 'permanent');
    const route = ['route', 'replace', 'default', 'via', gateway, 'dev', SELF, 'onlink'];
    await ip(signal, option, ...route, 'table', ANSWERS);
    const present = new Set((await takenOf(option, signal)).map((dst) => dst.replace(/\/(32|128)$/, '')));
    for (const address of wanted) {
      if (present.has(address)) continue;
      await ip(signal, option, 'route', 'replace', 'local', address, 'dev', SELF, 'table', TAKEN);
    }
    for (const address of present) {
      if (wanted.has(address)) continue;
      await ip(signal, option, 'route', 'del', 'local', address, 'dev', SELF, 'table', TAKEN);
    }
  }
}

async function takenOf(option: string, signal: AbortSignal): Promise<string[]> {
  // A table that has never had a route is none to the kernel: all are shown, and those of this one looked for.
  const shown = await ip(signal, option, '-json', 'route', 'show', 'table', 'all', 'dev', SELF);
  const routes = JSON.parse(shown || '[]') as { dst: string; table?: string; type?: string }[];
  return routes.filter(({ table, type }) => table === TAKEN && type === 'local').map(({ dst }) => dst);
}
