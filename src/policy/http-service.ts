/** How a virtual service proxies HTTP: the attribute `http` of the kind `virtual-service`, which makes a service L7. */
import { z } from 'zod';
import { DurationMs } from './attributes.ts';
import { Compression, Decompression, HttpCache } from './http-acceleration.ts';
import { AccessRules } from './http-access-rules.ts';
import { HttpOrder } from './http-order.ts';
import { SessionCookie } from './http-persistence.ts';
import { ProxyProtocol } from './http-proxy-protocol.ts';
import { HttpRateLimits } from './http-rate-limits.ts';
import { HttpRedirects } from './http-redirects.ts';
import { HttpRewrites } from './http-rewrites.ts';
import { HttpRoutes } from './http-routes.ts';
import { ClientTls } from './http-tls.ts';
import { RequestId, TrustedProxies } from './http-trusted-proxies.ts';

const FieldName = z
  .string()
  .regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/, 'must be the name of a header field')
  .refine(
    (name) =>
      !/^(connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|content-length|upgrade|host|expect)$/i.test(
        name,
      ),
    'is a field that the proxy itself reads and writes',
  );

const FieldValue = z
  .string()
  .max(1024)
  .regex(/^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/, 'must be visible characters, blanks only in between');

const fields = () =>
  z
    .array(
      z.strictObject({
        name: FieldName.meta({ description: 'The field.' }),
        value: FieldValue.meta({ description: 'Its value.' }),
      }),
    )
    .max(32)
    .default([]);

const changes = (which: string) =>
  z
    .strictObject({
      set: fields().meta({
        description: `Fields that ${which} have, in the place of those of the same name.`,
      }),
      add: fields().meta({ description: `Fields that ${which} have besides those of the same name.` }),
      remove: z
        .array(FieldName)
        .max(32)
        .default([])
        .meta({ description: `Fields that are taken out of ${which}.` }),
    })
    .default({ set: [], add: [], remove: [] });

export const HttpService = z
  .strictObject({
    clientAddress: z.enum(['replace', 'append', 'none']).default('replace').meta({
      description:
        'What members are told of clients in header fields: `replace` tells of the client alone, `append` of the `trustedProxies` between, too, `none` of nobody. What clients send of it never goes on.',
    }),
    clientFields: z.enum(['x-forwarded', 'forwarded']).default('x-forwarded').meta({
      description: 'In which fields: X-Forwarded-For, -Proto and -Host, or Forwarded (RFC 7239).',
    }),
    trustedProxies: TrustedProxies.optional(),
    requestId: RequestId.optional(),
    http2: z.boolean().default(true).meta({
      description: 'Accept HTTP/2 from clients: those that begin with its preface (prior knowledge).',
    }),
    memberProtocol: z.enum(['http/1.1', 'http/2']).default('http/1.1').meta({
      description:
        'How members are spoken to. `http/2`: many requests share a connection, as gRPC needs; members have to take it with prior knowledge, and WebSocket still comes by HTTP/1.1.',
    }),
    proxyProtocol: ProxyProtocol.optional(),
    via: z.boolean().default(true).meta({ description: 'Add Via to requests, as proxies must.' }),
    allowsEncodedSlash: z.boolean().default(false).meta({
      description: 'Accept %2F and %5C in paths, which members may take for slashes that no rule has seen.',
    }),
    maxHeadBytes: z
      .int()
      .min(512)
      .max(14_336)
      .default(8192)
      .meta({ description: 'The largest head of a request or response.', unit: 'bytes' }),
    maxFields: z.int().min(8).max(256).default(100).meta({ description: 'The most fields in a head.' }),
    maxBodyBytes: z
      .int()
      .min(0)
      .max(2 ** 45)
      .default(2 ** 30)
      .meta({ description: 'The largest body of a request.', unit: 'bytes' }),
    headTimeoutMs: DurationMs.default(10_000).meta({
      description: 'From the first byte of a request to the end of its head.',
    }),
    bodyTimeoutMs: DurationMs.default(30_000).meta({
      description: 'The longest silence within a body, and the longest time in which a client reads nothing.',
    }),
    idleTimeoutMs: DurationMs.default(60_000).meta({
      description: 'How long a client connection may be without a request.',
    }),
    connectTimeoutMs: DurationMs.default(2000).meta({ description: 'For a connection to a member.' }),
    responseTimeoutMs: DurationMs.default(60_000).meta({
      description: 'From a request to its response, and the longest silence within that.',
    }),
    maxConnections: z
      .int()
      .min(1)
      .max(60_000)
      .default(10_000)
      .meta({ description: 'Client connections of each worker; more are closed at once.' }),
    retries: z.int().min(0).max(5).default(2).meta({
      description:
        'How often a request goes to a member again where nothing of it was sent, or where it may be repeated and the member closed the connection before it answered.',
    }),
    retryBudget: z
      .strictObject({
        percent: z
          .int()
          .min(0)
          .max(100)
          .default(20)
          .meta({ description: 'So many of the requests of the last ten seconds, in percent.' }),
        perSecond: z.int().min(0).max(10_000).default(3).meta({
          description: 'And so many a second beside them, so that little traffic has some, too.',
        }),
      })
      .optional()
      .meta({
        description:
          'The most requests of a pool that go to a member again, of each worker, so that members in trouble do not get twice the load.',
      }),
    memberConnections: z
      .strictObject({
        max: z.int().min(0).max(60_000).default(0).meta({
          description: 'The most at a time to one member, of each worker; 0 is as many as it takes.',
        }),
        queue: z
          .strictObject({
            length: z
              .int()
              .min(1)
              .max(10_000)
              .default(100)
              .meta({ description: 'So many requests of a pool wait at a time, of each worker.' }),
            waitMs: DurationMs.default(5000).meta({ description: 'The longest that one of them waits.' }),
          })
          .optional()
          .meta({
            description:
              'Let requests wait, first come, first served, while all members have `max` connections in use; others get 503 with Retry-After.',
          }),
        idle: z
          .int()
          .min(0)
          .max(10_000)
          .default(256)
          .meta({ description: 'So many to one member are kept open for later requests, by each worker.' }),
        idleTimeoutMs: DurationMs.default(15_000).meta({ description: 'How long those are kept.' }),
      })
      .default({ max: 0, idle: 256, idleTimeoutMs: 15_000 })
      .meta({ description: 'Connections to members.' }),
    order: HttpOrder,
    accessRules: AccessRules.optional(),
    rateLimits: HttpRateLimits.optional(),
    requestFields: changes('requests').meta({ description: 'Changes of the header fields of requests.' }),
    responseFields: changes('responses').meta({ description: 'Changes of the header fields of responses.' }),
    compression: Compression.optional(),
    decompression: Decompression.optional(),
    cache: HttpCache.optional(),
    redirects: HttpRedirects,
    rewrites: HttpRewrites,
    routes: HttpRoutes,
    sessionCookie: SessionCookie.optional(),
    tls: ClientTls.optional(),
    slowStartMs: DurationMs.optional().meta({
      description:
        'How long a member that is new, or was down, drained or left out, takes to come to its whole share of requests.',
    }),
    ejection: z
      .strictObject({
        consecutiveErrors: z.int().min(1).max(1000).default(5).meta({
          description:
            'So many responses of 500 or more, or requests without a proper response, with no other between them.',
        }),
        errorPercent: z.int().min(1).max(100).optional().meta({
          description: 'Or so many of the requests of `windowMs`, in percent, where there are `minRequests`.',
        }),
        windowMs: DurationMs.default(10_000).meta({ description: 'The time that `errorPercent` is of.' }),
        minRequests: z
          .int()
          .min(1)
          .max(1_000_000)
          .default(20)
          .meta({ description: 'The fewest requests that `errorPercent` is of.' }),
        pauseMs: DurationMs.default(10_000).meta({
          description:
            'How long the member gets no requests; doubled each time. It then gets one at a time, until one is answered well.',
        }),
        longestPauseMs: DurationMs.default(300_000).meta({
          description: 'The longest pause; a member that did well for so long begins with the first again.',
        }),
        maxPercent: z
          .int()
          .min(1)
          .max(100)
          .default(50)
          .meta({ description: 'The most members of a pool, in percent, that are left out at a time.' }),
      })
      .optional()
      .meta({ description: 'Leave out members that answer with errors, as each worker sees them.' }),
  })
  .superRefine(({ memberConnections: { max, queue } }, context) => {
    if (queue === undefined || max > 0) return;
    context.addIssue({
      code: 'custom',
      path: ['memberConnections', 'queue'],
      message: 'needs max: without a limit of connections nobody has to wait',
    });
  })
  .refine(({ clientAddress, trustedProxies }) => clientAddress !== 'append' || trustedProxies !== undefined, {
    path: ['clientAddress'],
    message: 'append needs trustedProxies: whose word is appended to',
  })
  .superRefine(({ memberProtocol, proxyProtocol }, context) => {
    if (memberProtocol === 'http/1.1' || (proxyProtocol?.toMembers ?? 'none') === 'none') return;
    context.addIssue({
      code: 'custom',
      path: ['proxyProtocol', 'toMembers'],
      message: 'must be none with memberProtocol http/2: a connection there carries requests of many clients',
    });
  })
  .superRefine(({ cache, rewrites, routes, tls }, context) => {
    if (cache === undefined) return;
    if (tls?.clientCertificates !== undefined) {
      context.addIssue({
        code: 'custom',
        path: ['cache'],
        message:
          'must not stand with tls.clientCertificates: stored responses are told apart by address alone, and a client would get what another may see',
      });
    }
    for (const [name, list] of Object.entries({ routes, rewrites })) {
      const at = list.findIndex(({ fields, cookies }) => fields.length + cookies.length > 0);
      if (at < 0) continue;
      context.addIssue({
        code: 'custom',
        path: [name, at],
        message:
          'must not ask for fields or cookies with cache: stored responses are told apart by address alone',
      });
    }
  })
  .meta({
    description:
      'Proxy HTTP/1.1 and HTTP/2: balance by request and not by flow. Engines do so for the first tier; so does `weft proxy`, by itself.',
  });

export type HttpService = z.output<typeof HttpService>;
