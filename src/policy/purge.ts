/** What is taken out of the caches of a service: the body of `POST /api/v1/purge/{service}`, and of the question to engines. */
import { z } from 'zod';

export const PurgeUrl = z
  .string()
  .max(2048)
  .regex(
    /^(\*|(https?:\/\/)?([a-z0-9._-]+|\[[0-9a-f:.]+\])(:\d{1,5})?\/[\w\-.~!$&'()*+,;=:@/?%[\]]*)$/i,
    'must be a URL with the host that clients name, such as shop.example/a?b; a * at its end is all that begins so, a * alone all there is',
  );

export const PurgeBody = z.strictObject({
  urls: z.array(PurgeUrl).min(1).max(100).meta({
    description:
      'URLs, with the host, and perhaps port, that clients name, and path and query as they write them; a `*` at the end is all that begins so, a `*` alone all there is. By which scheme does not matter.',
  }),
});

/** What an engine is asked. */
export interface PurgeQuestion {
  service: string;
  urls: string[];
}

/** How the addresses of stored responses begin, or the one that it is. */
export function purgedBy(url: string): { address: string; isPrefix: boolean } {
  const isPrefix = url.endsWith('*');
  const bare = url.replace(/^https?:\/\//i, '').slice(0, isPrefix ? -1 : undefined);
  const slash = bare.indexOf('/');
  return { address: bare.slice(0, slash).toLowerCase() + bare.slice(Math.max(0, slash)), isPrefix };
}
