/**
 * SYNs that the XDP program answers by itself: of a service with SYN cookies now, where TypeScript has no time for them.
 * They would be dropped, clients' with the flood's. The cookies are those of the engine (dataplane/syn-cookies.ts), so what
 * brings one back is judged and balanced as ever.
 *
 * A firewall judges SYNs before they are answered: of a service that has one, what is over its share stays unanswered.
 */
import { VXLAN_OVERHEAD } from '../../packet/vxlan.ts';
import type { GraphService, ServiceGraph } from '../../policy/graph.ts';
import { SynCookies } from '../dataplane/syn-cookies.ts';
import type { SynAnswerOrder } from './upcall-shares.ts';

// Words of the configuration.
const CONFIG_KEYS = 22;
const CONFIG_PERIOD = 26;
const COOKIES_KNOWN = 0x100;
const LINK_MTU = 1500;

export class SynAnswers {
  #graph: ServiceGraph | null = null;
  #cookies: SynCookies | null = null;

  /** The graph in force. */
  load(graph: ServiceGraph): void {
    this.#graph = graph;
    this.#cookies = new SynCookies(Buffer.from(graph.engine.groupKey, 'base64'));
  }

  /** Whose SYNs are answered while `flooded` are the services under a flood; nobody's before there is a graph. */
  order(flooded: ReadonlySet<string>): SynAnswerOrder {
    const graph = this.#graph;
    if (graph === null) return { services: new Set(), mac: 0, macRest: 0, mtu: 0 };
    const { mac, gateways, siteMtu } = graph.engine;
    const bytes = Buffer.from(mac.replaceAll(':', ''), 'hex');
    const services = graph.services.filter(
      (service) => isAnswerable(service) && (service.synCookies === 'always' || flooded.has(service.name)),
    );
    return {
      services: new Set(services.map(({ name }) => name)),
      mac: bytes.readInt32LE(0),
      macRest: bytes.readUInt16LE(4),
      // Behind a router may be tunnels: as Splicer.answer.
      mtu:
        gateways === undefined ? LINK_MTU : Math.min(LINK_MTU, (siteMtu ?? LINK_MTU) - VXLAN_OVERHEAD.ipv6),
    };
  }

  /** Writes the key of the time into the program's configuration: the key first, then which one holds. */
  tick(config: Int32Array, wallMs: number): void {
    if (this.#cookies === null) return;
    const { period, key } = this.#cookies.current(wallMs);
    const at = CONFIG_KEYS + (period & 1) * 2;
    config[at] = key[0];
    config[at + 1] = key[1];
    Atomics.store(config, CONFIG_PERIOD, period | COOKIES_KNOWN);
  }
}

/** Whether SYNs of the service may be answered without asking its chain. */
function isAnswerable({ protocol, delivery, synCookies, tiers, components }: GraphService): boolean {
  return (
    protocol === 'tcp' &&
    delivery !== 'dsr' &&
    synCookies !== undefined &&
    tiers.every(({ handsOn }) => handsOn === undefined) &&
    components.every(({ type }) => type === 'load-balancer')
  );
}
