/** Content acceleration of a virtual service: the attributes `compression`, `decompression` and `cache` of `http`. */
import { z } from 'zod';
import { Prefix } from './attributes.ts';

const MediaType = z
  .string()
  .max(128)
  .regex(
    /^[a-z0-9!#$&^_.+-]+\/([a-z0-9!#$&^_.+-]+|\*)$/i,
    'must be a media type, such as text/* or image/svg+xml',
  );

const TYPES = [
  'text/*',
  'application/json',
  'application/javascript',
  'application/xml',
  'application/xhtml+xml',
  'application/rss+xml',
  'application/atom+xml',
  'application/ld+json',
  'application/manifest+json',
  'application/problem+json',
  'application/wasm',
  'image/svg+xml',
];

export const Compression = z
  .strictObject({
    codings: z
      .array(z.enum(['gzip', 'br', 'zstd']))
      .min(1)
      .max(3)
      .refine((codings) => new Set(codings).size === codings.length, 'must name each coding once')
      .default(['zstd', 'br', 'gzip'])
      .meta({ description: 'The codings, the first preferred where a client takes several equally well.' }),
    levels: z
      .strictObject({
        gzip: z.int().min(1).max(9).default(5).meta({ description: 'Of gzip.' }),
        br: z.int().min(0).max(9).default(4).meta({ description: 'Of brotli.' }),
        zstd: z.int().min(1).max(9).default(3).meta({ description: 'Of zstd.' }),
      })
      .default({ gzip: 5, br: 4, zstd: 3 })
      .meta({ description: 'How hard is tried: CPU for fewer bytes.' }),
    types: z
      .array(MediaType)
      .min(1)
      .max(64)
      .default(TYPES)
      .meta({ description: 'Media types of the responses that are compressed.' }),
    minBytes: z
      .int()
      .min(0)
      .max(2 ** 30)
      .default(1024)
      .meta({ description: 'Shorter bodies, of a length that is told, go as they are.', unit: 'bytes' }),
    secrets: z.boolean().default(false).meta({
      description:
        'Compress also what may hold secrets: responses to requests with Cookie or Authorization, and those that set cookies. Whoever can have text of theirs put beside a secret can guess it by the length (BREACH).',
    }),
    membersCompress: z.boolean().default(true).meta({
      description: 'Tell members what clients take; false takes Accept-Encoding out, and the work off them.',
    }),
  })
  .meta({ description: 'Compress responses for clients that take it.' });

export type Compression = z.output<typeof Compression>;

export const Decompression = z
  .strictObject({
    maxBytes: z
      .int()
      .min(1)
      .max(2 ** 45)
      .default(2 ** 30)
      .meta({ description: 'The largest body that comes of it; what becomes larger is cut.', unit: 'bytes' }),
    maxRatio: z.int().min(1).max(100_000).default(200).meta({
      description: 'How many bytes may come of one, once they are more than 1 MB; what exceeds it is cut.',
    }),
  })
  .meta({ description: 'Decompress responses whose coding the client does not take.' });

export type Decompression = z.output<typeof Decompression>;

const Seconds = z
  .int()
  .min(0)
  .max(2 ** 31)
  .meta({ unit: 's' });

export const HttpCache = z
  .strictObject({
    maxBytes: z
      .int()
      .min(2 ** 20)
      .max(2 ** 32)
      .default(2 ** 28)
      .meta({ description: 'Memory of the cache, shared by all workers.', unit: 'bytes' }),
    maxObjectBytes: z
      .int()
      .min(1024)
      .max(2 ** 31)
      .default(2 ** 23)
      .meta({ description: 'The largest body that is stored.', unit: 'bytes' }),
    heuristicSeconds: Seconds.default(0).meta({
      description:
        'For how long at most a response is fresh that says only when it was last modified: a tenth of its age. 0 stores only what says for how long it is fresh.',
    }),
    staleWhileRevalidateSeconds: Seconds.default(0).meta({
      description:
        'How long what is stale is served while it is fetched anew, where responses do not say so themselves.',
    }),
    staleIfErrorSeconds: Seconds.default(0).meta({
      description:
        'How long what is stale is served in the place of an error, where responses do not say so themselves.',
    }),
    purgeFrom: z.array(Prefix).max(64).default([]).meta({
      description:
        'Clients that may take responses out by the method PURGE: one address with its variants, or all that begin so where the target ends in `*`. Others are refused; with none here, PURGE goes to members like any method.',
    }),
    cacheStatus: z
      .boolean()
      .default(false)
      .meta({ description: 'Tell clients by Cache-Status (RFC 9211) what the cache did.' }),
  })
  .refine(
    ({ maxBytes, maxObjectBytes }) => maxObjectBytes <= maxBytes / 2,
    'maxObjectBytes must be at most half of maxBytes',
  )
  .meta({ description: 'Store responses that members allow to be stored, and answer from them.' });

export type HttpCache = z.output<typeof HttpCache>;
