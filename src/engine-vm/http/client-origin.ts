/**
 * Who a request is of, where it comes through proxies in front (`trustedProxies`): what X-Forwarded-For or Forwarded
 * (RFC 7239) say is believed as far as the proxies that wrote it are listed, from the last one to the first. The client is
 * the first address, seen from here, that is not listed.
 *
 * What equal fields say is kept, so a request whose fields came before costs a hash and a comparison.
 */
import { randomFillSync } from 'node:crypto';
import { isIP } from 'node:net';
import type { HttpService } from '../../policy/http-service.ts';
import { hashText } from '../balance/hash.ts';
import { AddressList } from './address-list.ts';
import { clientLines } from './client-lines.ts';
import { FIELD } from './field-names.ts';
import type { Head } from './head.ts';
import { line } from './head-writer.ts';
import { isHostValid } from './host.ts';
import { KeyedHash } from './keyed-hash.ts';

/** What fields of proxies said. */
export interface ClientOrigin {
  readonly address: string;
  readonly sourceHash: number;
  /** Fields that tell members so. */
  readonly lines: Uint8Array;
  /** Empty where the proxies named none: Host is it. */
  readonly host: string;
  /** The port that they named, where that is not the usual one; else empty. */
  readonly port: string;
}

interface Known {
  readonly bytes: Uint8Array;
  readonly peer: string;
  readonly isTls: boolean;
  readonly origin: ClientOrigin;
}

interface Told {
  /** From the client's side to ours. */
  addresses: string[];
  scheme: string;
  host: string;
  port: string;
}

const PLACES = 4096;
const MOST_BYTES = 2048;
const MOST_PEERS = 10_000;

export class ClientOrigins {
  readonly #http: HttpService;
  readonly #proxies: AddressList;
  readonly #ids: readonly number[];
  /** Whether addresses of connections are listed. */
  readonly #peers = new Map<string, boolean>();
  readonly #known: (Known | undefined)[] = new Array(PLACES).fill(undefined);
  readonly #hash: KeyedHash;
  readonly #bytes = new Uint8Array(MOST_BYTES);
  #length = 0;

  private constructor(http: HttpService, { from, fields }: NonNullable<HttpService['trustedProxies']>) {
    this.#http = http;
    this.#proxies = new AddressList(from);
    this.#ids =
      fields === 'forwarded'
        ? [FIELD.forwarded]
        : [
            FIELD['x-forwarded-for'],
            FIELD['x-forwarded-proto'],
            FIELD['x-forwarded-host'],
            FIELD['x-forwarded-port'],
          ];
    const [key0, key1] = randomFillSync(new Int32Array(2));
    this.#hash = new KeyedHash(key0!, key1!);
  }

  /** Null where no proxies are listed. */
  static of(http: HttpService): ClientOrigins | null {
    return http.trustedProxies === undefined ? null : new ClientOrigins(http, http.trustedProxies);
  }

  /** Who a request is of that came from that address; null where the address is none that is listed. */
  find(peer: string, isTls: boolean, head: Head): ClientOrigin | null {
    if (!this.#isListed(peer) || !this.#collect(head)) return null;
    this.#hash.hash(this.#bytes, 0, this.#length);
    const place = (this.#hash.low ^ hashText(peer)) & (PLACES - 1);
    const known = this.#known[place];
    if (known !== undefined && known.peer === peer && known.isTls === isTls && this.#isSame(known.bytes)) {
      return known.origin;
    }
    const origin = this.#read(peer, isTls, head);
    this.#known[place] = { bytes: this.#bytes.slice(0, this.#length), peer, isTls, origin };
    return origin;
  }

  #isListed(peer: string): boolean {
    const known = this.#peers.get(peer);
    if (known !== undefined) return known;
    if (this.#peers.size >= MOST_PEERS) this.#peers.clear();
    const isListed = this.#proxies.has(peer);
    this.#peers.set(peer, isListed);
    return isListed;
  }

  /** Gathers the fields. False where they are too long to be looked at. */
  #collect(head: Head): boolean {
    let at = 0;
    for (let n = 0; n < head.count; n++) {
      if (!this.#ids.includes(head.ids[n]!)) continue;
      const from = head.valueAt[n]!;
      const end = head.valueEnd[n]!;
      if (at + end - from + 2 > MOST_BYTES) return false;
      this.#bytes[at++] = head.ids[n]!;
      for (let p = from; p < end; p++) this.#bytes[at++] = head.bytes[p]!;
      this.#bytes[at++] = 0;
    }
    this.#length = at;
    return true;
  }

  #isSame(bytes: Uint8Array): boolean {
    if (bytes.length !== this.#length) return false;
    for (let n = 0; n < bytes.length; n++) if (bytes[n] !== this.#bytes[n]) return false;
    return true;
  }

  #read(peer: string, isTls: boolean, head: Head): ClientOrigin {
    const told = this.#http.trustedProxies!.fields === 'forwarded' ? forwarded(head) : xForwarded(head);
    const chain = [peer];
    while (told.addresses.length > 0 && this.#proxies.has(chain[0]!)) {
      const address = told.addresses.pop()!;
      // What is no address ends what can be believed.
      if (isIP(address) === 0) break;
      chain.unshift(address);
    }
    const [address] = chain as [string];
    const { scheme, host, port } = told;
    const usualPort = scheme === 'https' || (scheme !== 'http' && isTls) ? '443' : '80';
    const isKnownScheme = scheme === 'http' || scheme === 'https';
    return {
      address,
      sourceHash: hashText(address),
      host,
      port: port === usualPort ? '' : port,
      lines: clientLines(this.#http, this.#http.clientAddress === 'append' ? chain : [address], {
        scheme: isKnownScheme ? scheme : isTls ? 'https' : 'http',
        host,
        port,
      }),
    };
  }
}

/** The values of a field, all of them, as one list. */
function listOf(head: Head, id: number): string {
  const values: string[] = [];
  for (let n = 0; n < head.count; n++) {
    if (head.ids[n] === id) values.push(head.text(head.valueAt[n]!, head.valueEnd[n]!));
  }
  return values.join(',');
}

function xForwarded(head: Head): Told {
  // Of several, the last one is that of the proxy next to us.
  const last = (id: number): string => (listOf(head, id).split(',').at(-1) ?? '').trim();
  const list = listOf(head, FIELD['x-forwarded-for']);
  return {
    addresses: list === '' ? [] : list.split(',').map((one) => addressOf(one.trim())),
    scheme: last(FIELD['x-forwarded-proto']).toLowerCase(),
    host: hostOf(last(FIELD['x-forwarded-host'])),
    port: portOf(last(FIELD['x-forwarded-port'])),
  };
}

/** RFC 7239 4: elements, each of pairs, of which values may be quoted. What is no such thing says nothing. */
function forwarded(head: Head): Told {
  const told: Told = { addresses: [], scheme: '', host: '', port: '' };
  const text = listOf(head, FIELD.forwarded);
  if (text === '') return told;
  const pair =
    /\s*(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)=([!#$%&'*+.^_`|~0-9A-Za-z-]+|"(?:[^"\\]|\\.)*"))?\s*([;,]|$)/y;
  let element = new Map<string, string>();
  for (let isOver = false; !isOver; ) {
    const match = pair.exec(text);
    if (match === null) return { addresses: [], scheme: '', host: '', port: '' };
    const [, name, value = '', end] = match;
    if (name !== undefined)
      element.set(name.toLowerCase(), value.replace(/^"|"$/g, '').replace(/\\(.)/g, '$1'));
    isOver = end === '';
    if (end === ';') continue;
    if (element.size > 0) {
      told.addresses.push(addressOf(element.get('for') ?? ''));
      told.scheme = (element.get('proto') ?? '').toLowerCase();
      told.host = hostOf(element.get('host') ?? '');
    }
    element = new Map();
  }
  return told;
}

/** An address of which a port, and brackets, are taken off. */
function addressOf(text: string): string {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\](?::\d{1,5})?|(\d+\.\d+\.\d+\.\d+)(?::\d{1,5})?)$/.exec(text);
  return match === null ? text : (match[1] ?? match[2]!);
}

function hostOf(text: string): string {
  const bytes = line(text);
  return isHostValid(bytes, 0, bytes.length) ? text : '';
}

function portOf(text: string): string {
  return /^[1-9]\d{0,4}$/.test(text) && Number(text) <= 65_535 ? text : '';
}
