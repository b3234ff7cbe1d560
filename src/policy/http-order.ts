/** In which order the components of an HTTP service judge and change: the attribute `order` of `http`. */
import { z } from 'zod';
import type { HttpService } from './http-service.ts';

/** The components of an HTTP service, in the order that they have where a policy says nothing. */
export const HTTP_COMPONENTS = [
  'request-id',
  'access-rules',
  'rate-limits',
  'redirects',
  'field-changes',
  'rewrites',
  'decompression',
  'compression',
  'cache',
] as const;

export type HttpComponentName = (typeof HTTP_COMPONENTS)[number];

/** Who must come before whom, and why it would not work otherwise. */
const NEEDS: readonly (readonly [HttpComponentName, HttpComponentName, string])[] = [
  ['field-changes', 'rewrites', 'fields of responses that are taken out would come back, mapped'],
  ['decompression', 'compression', 'what is compressed would be decompressed again'],
  // The cache's answers pass by whatever stands behind it.
  ...HTTP_COMPONENTS.filter((name) => name !== 'cache').map(
    (name) => [name, 'cache', 'stored responses would pass it by'] as const,
  ),
];

/** All components: those that are named first, the others behind them in their usual order. */
export function completeOrder(named: readonly HttpComponentName[]): HttpComponentName[] {
  // Where nobody places the cache it stays last.
  const rest = HTTP_COMPONENTS.filter((name) => !named.includes(name));
  return [...named, ...rest];
}

/** The components that a service asks for, in its order. */
export function usedComponents(http: HttpService): HttpComponentName[] {
  const asked: Record<HttpComponentName, readonly unknown[]> = {
    'request-id': [http.requestId],
    'access-rules': [http.accessRules],
    'rate-limits': [http.rateLimits],
    redirects: [http.redirects],
    'field-changes': [http.requestFields, http.responseFields],
    rewrites: [http.rewrites],
    decompression: [http.decompression],
    compression: [http.compression],
    cache: [http.cache],
  };
  return completeOrder(http.order).filter((name) => asked[name].some(asksForSomething));
}

function asksForSomething(value: unknown): boolean {
  if (value === undefined || value === null) return false;
  if (Array.isArray(value)) return value.length > 0;
  const parts = Object.values(value);
  return parts.length === 0 || parts.some((part) => !Array.isArray(part) || part.length > 0);
}

export const HttpOrder = z
  .array(z.enum(HTTP_COMPONENTS))
  .max(HTTP_COMPONENTS.length)
  .default([])
  .superRefine((named, context) => {
    const complain = (at: number, message: string): void =>
      context.addIssue({ code: 'custom', path: [at], message });
    for (const [at, name] of named.entries()) {
      if (named.indexOf(name) < at) complain(at, `names ${name} again: once is enough`);
    }
    const order = completeOrder(named);
    for (const [first, second, why] of NEEDS) {
      if (order.indexOf(first) < order.indexOf(second)) continue;
      complain(named.indexOf(second), `must name ${first} before ${second}: ${why}`);
    }
  })
  .meta({
    description: `In which order requests, and then their responses, go through the components: those named here first, the others behind them in the usual order, which is ${HTTP_COMPONENTS.join(', ')}.`,
  });
