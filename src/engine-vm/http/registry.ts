/** The L7 components: one line each. */
import { completeOrder, type HttpComponentName } from '../../policy/http-order.ts';
import type { HttpService } from '../../policy/http-service.ts';
import { AccessRules } from './component/access-rules.ts';
import { Cache } from './component/cache/cache.ts';
import { ClientCertificate } from './component/client-certificate.ts';
import { Compression } from './component/compression.ts';
import { Decompression } from './component/decompression.ts';
import { FieldChanges } from './component/field-changes.ts';
import { HostCheck } from './component/host-check.ts';
import { RateLimits } from './component/rate-limits/rate-limits.ts';
import { Redirects } from './component/redirects.ts';
import { RequestId } from './component/request-id.ts';
import { Rewrites } from './component/rewrites/rewrites.ts';
import type { HttpComponent } from './component.ts';
import type { ServiceSettings } from './service.ts';

/**
 * Makes a component of the settings of a service; null where they ask for none. `before`: of the same name, in whose
 * place it comes with new settings, for what shall not be forgotten.
 */
type Create = (
  http: HttpService,
  settings: ServiceSettings,
  before: HttpComponent | undefined,
) => HttpComponent | null;

/** What a client's TLS allows is judged before all else, whatever the policy's order. */
const OF_CONNECTION: readonly Create[] = [(http) => HostCheck.of(http), (http) => ClientCertificate.of(http)];

/** Those that the policy orders, by their names there. */
const COMPONENTS: Record<HttpComponentName, Create> = {
  'request-id': (http) => RequestId.of(http),
  'access-rules': (_http, settings, before) => AccessRules.of(settings, before),
  'rate-limits': (_http, settings, before) => RateLimits.of(settings, before),
  redirects: (http) => Redirects.of(http),
  'field-changes': (http) => FieldChanges.of(http),
  rewrites: (http) => Rewrites.of(http),
  decompression: (http) => Decompression.of(http),
  compression: (http) => Compression.of(http),
  cache: (http, { cacheMemory }) => Cache.of(http, cacheMemory),
};

/** The chain of a service, in the order of its policy. `before`: the chain in whose place it comes. */
export function createComponents(
  settings: ServiceSettings,
  before: readonly HttpComponent[] = [],
): HttpComponent[] {
  const { http } = settings;
  const ordered = completeOrder(http.order).map((name): Create => {
    const earlier = before.find(({ type }) => type === name);
    return () => COMPONENTS[name](http, settings, earlier);
  });
  return [...OF_CONNECTION, ...ordered]
    .map((create) => create(http, settings, undefined))
    .filter((component) => component !== null);
}
