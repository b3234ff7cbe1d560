/** Whether an address is one of those that a policy lists, as addresses and prefixes. */
import { BlockList, isIPv6 } from 'node:net';

export class AddressList {
  readonly #list = new BlockList();

  constructor(prefixes: readonly string[]) {
    for (const text of prefixes) {
      const [address, length] = text.split('/') as [string, string?];
      const family = isIPv6(address) ? 'ipv6' : 'ipv4';
      if (length === undefined) this.#list.addAddress(address, family);
      else this.#list.addSubnet(address, Number(length), family);
    }
  }

  /** `address`: its text; empty, where the client is gone, is in no list. */
  has(address: string): boolean {
    return address !== '' && this.#list.check(address, isIPv6(address) ? 'ipv6' : 'ipv4');
  }
}
