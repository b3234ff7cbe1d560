/** The fields that tell members who the client is: X-Forwarded-For and its like, or Forwarded (RFC 7239). */
import type { HttpService } from '../../policy/http-service.ts';
import { line } from './head-writer.ts';

const HTTPS = [line('Proto: https\r'), line('proto=https')];

export interface ClientScheme {
  readonly scheme: string;
  /** Where a proxy in front said so; else empty. */
  readonly host?: string;
  readonly port?: string;
}

/** Whole lines. `addresses`: the client's, and those of proxies that came after it. */
export function clientLines(
  { clientAddress, clientFields }: Pick<HttpService, 'clientAddress' | 'clientFields'>,
  addresses: readonly string[],
  { scheme, host = '', port = '' }: ClientScheme,
): Uint8Array {
  if (clientAddress === 'none') return line('');
  if (clientFields === 'forwarded') {
    const elements = addresses.map((address, n) => {
      const more = n > 0 ? '' : `;proto=${scheme}${host === '' ? '' : `;host="${host}"`}`;
      return `for=${address.includes(':') ? `"[${address}]"` : address || 'unknown'}${more}`;
    });
    return line(`Forwarded: ${elements.join(', ')}\r\n`);
  }
  const lines = [`X-Forwarded-For: ${addresses.join(', ')}`, `X-Forwarded-Proto: ${scheme}`];
  if (host !== '') lines.push(`X-Forwarded-Host: ${host}`);
  if (port !== '') lines.push(`X-Forwarded-Port: ${port}`);
  return line(lines.map((one) => `${one}\r\n`).join(''));
}

/** Whether such lines say that the client came by TLS. */
export function saysHttps(lines: Uint8Array): boolean {
  for (const wanted of HTTPS) {
    search: for (let at = 0; at + wanted.length <= lines.length; at++) {
      for (let n = 0; n < wanted.length; n++) if (lines[at + n] !== wanted[n]) continue search;
      return true;
    }
  }
  return false;
}
