/** The L7 components: one line each. */
import { completeOrder, type HttpComponentName } from '../../policy/http-order.ts';
import type { HttpService } from '../../policy/http-service.ts';
import { Cache } from './component/cache/cache.ts';
import { ClientCertificate } from './component/client-certificate.ts';
import { Compression } from './component/compression.ts';
import { Decompression } from './component/decompression.ts';
import { FieldChanges } from './component/field-changes.ts';
import { HostCheck } from './component/host-check.ts';
import { Redirects } from './component/redirects.ts';
import type { HttpComponent } from './component.ts';
import type { ServiceSettings } from './service.ts';

/** Makes a component of the settings of a service; null where they ask for none. */
type Create = (http: HttpService, settings: ServiceSettings) => HttpComponent | null;

/** What a client's TLS allows is judged before all else, whatever the policy's order. */
const OF_CONNECTION: readonly Create[] = [(http) => HostCheck.of(http), (http) => ClientCertificate.of(http)];

/** Those that the policy orders, by their names there. */
const COMPONENTS: Record<HttpComponentName, Create> = {
  redirects: (http) => Redirects.of(http),
  'field-changes': (http) => FieldChanges.of(http),
  decompression: (http) => Decompression.of(http),
  compression: (http) => Compression.of(http),
  cache: (http, { cacheMemory }) => Cache.of(http, cacheMemory),
};

/** The chain of a service, in the order of its policy. */
export function createComponents(settings: ServiceSettings): HttpComponent[] {
  const { http } = settings;
  const ordered = completeOrder(http.order).map((name) => COMPONENTS[name]);
  return [...OF_CONNECTION, ...ordered]
    .map((create) => create(http, settings))
    .filter((component) => component !== null);
}
