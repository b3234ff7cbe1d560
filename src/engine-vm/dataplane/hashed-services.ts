/**
 * What a graph says of services whose new flows are forwarded by hash where the flow table is full
 * (`whenTableFull: hash`), as tables.
 */
import { parseAddress } from '../../packet/address.ts';
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../../packet/parse.ts';
import type { GraphService, ServiceGraph } from '../../policy/graph.ts';
import { AddressTable } from './address-table.ts';

export class HashedServices {
  /** Service addresses that members' packets are translated for: four words and a port each. */
  readonly addresses: Int32Array;
  readonly ports: Int32Array;
  /** The same as text, which means the same in every graph. */
  readonly names: readonly string[];
  /** Service address, port and protocol to its index. */
  private readonly byService: AddressTable;
  /** Address, port and protocol of a member beside this engine to the only service address it can answer for. */
  private readonly byMember: AddressTable;

  constructor(graph: ServiceGraph) {
    const words: number[] = [];
    const ports: number[] = [];
    const names: string[] = [];
    const four = new Int32Array(4);
    const isTranslated = graph.services.filter(({ delivery }) => delivery !== 'dsr');
    const wanted = isTranslated.filter(isHashing);
    const addressCount = wanted.reduce(
      (sum, { tiers }) => sum + tiers.reduce((all, { addresses }) => all + addresses.length, 0),
      0,
    );
    this.byService = new AddressTable(addressCount);
    for (const { protocol, tiers } of wanted) {
      for (const { port, addresses } of tiers) {
        for (const { address } of addresses) {
          parseAddress(address, four);
          this.byService.add(four, 0, port, numberOf(protocol), names.length);
          words.push(...four);
          ports.push(port);
          names.push(`${address} ${port} ${protocol}`);
        }
      }
    }
    this.addresses = Int32Array.from(words);
    this.ports = Int32Array.from(ports);
    this.names = names;

    // By the member's end: the index, or -1 where it answers for several.
    const ends = new Map<string, number>();
    for (const { protocol, tiers } of isTranslated) {
      for (const { pool, port, addresses } of tiers) {
        const { members, port: memberPort } = graph.pools[pool];
        for (const { address } of addresses) {
          const isIpv6 = address.includes(':');
          parseAddress(address, four);
          const index = this.byService.find(four[0], four[1], four[2], four[3], port, numberOf(protocol));
          for (const entry of members) {
            const member = graph.members[entry.member];
            const own = isIpv6 ? member.ipv6 : member.ipv4;
            if (own === null || member.engine !== graph.engine.id) continue;
            const key = `${own} ${memberPort} ${protocol}`;
            ends.set(key, ends.has(key) ? -1 : index);
          }
        }
      }
    }
    this.byMember = new AddressTable(ends.size);
    for (const [key, index] of ends) {
      if (index < 0) continue;
      const [own, port, protocol] = key.split(' ');
      parseAddress(own, four);
      this.byMember.add(four, 0, Number(port), numberOf(protocol), index);
    }
  }

  /** The index of a service address, or -1 where its service is none of these. */
  indexOf(w0: number, w1: number, w2: number, w3: number, port: number, protocol: number): number {
    return this.byService.find(w0, w1, w2, w3, port, protocol);
  }

  /** The index of the only service address that a member's end can answer for, or -1. */
  onlyOneOf(w0: number, w1: number, w2: number, w3: number, port: number, protocol: number): number {
    return this.byMember.find(w0, w1, w2, w3, port, protocol);
  }
}

/** Whether flows of the service are forwarded without a record; those that members hand on need one at each step. */
export function isHashing({ whenTableFull, tiers }: GraphService): boolean {
  return whenTableFull === 'hash' && tiers.every(({ handsOn }) => handsOn === undefined);
}

function numberOf(protocol: string): number {
  return protocol === 'tcp' ? PROTOCOL_TCP : PROTOCOL_UDP;
}
