/** The static table of HPACK (RFC 7541 Appendix A), as ranges of one array: a name ends where its value begins. */

const ENTRIES =
  ':authority|:method=GET|:method=POST|:path=/|:path=/index.html|:scheme=http|:scheme=https|:status=200|:status=204|:status=206|:status=304|:status=400|:status=404|:status=500|accept-charset|accept-encoding=gzip, deflate|accept-language|accept-ranges|accept|access-control-allow-origin|age|allow|authorization|cache-control|content-disposition|content-encoding|content-language|content-length|content-location|content-range|content-type|cookie|date|etag|expect|expires|from|host|if-match|if-modified-since|if-none-match|if-range|if-unmodified-since|last-modified|link|location|max-forwards|proxy-authenticate|proxy-authorization|range|referer|refresh|retry-after|server|set-cookie|strict-transport-security|transfer-encoding|user-agent|vary|via|www-authenticate'
    .split('|')
    .map((entry) => entry.split('=') as [string, string?]);

export const STATIC_COUNT = ENTRIES.length;
export const STATIC_BYTES: Uint8Array = new TextEncoder().encode(
  ENTRIES.map(([name, value = '']) => name + value).join(''),
);

/** By index, from 1. */
export const STATIC_NAME_AT = new Uint16Array(STATIC_COUNT + 1);
export const STATIC_VALUE_AT = new Uint16Array(STATIC_COUNT + 1);
export const STATIC_VALUE_END = new Uint16Array(STATIC_COUNT + 1);
for (let n = 1, at = 0; n <= STATIC_COUNT; n++) {
  const [name, value = ''] = ENTRIES[n - 1]!;
  STATIC_NAME_AT[n] = at;
  STATIC_VALUE_AT[n] = at + name.length;
  at += name.length + value.length;
  STATIC_VALUE_END[n] = at;
}

/** The first index of a name; 0 where it is not in the table. For constants of modules. */
export function staticIndex(name: string): number {
  return ENTRIES.findIndex(([other]) => other === name) + 1;
}
