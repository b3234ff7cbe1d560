/** The L7 components, in the order in which requests walk them: one line each. */
import type { HttpService } from '../../policy/http-service.ts';
import { Cache } from './component/cache/cache.ts';
import { ClientCertificate } from './component/client-certificate.ts';
import { Compression } from './component/compression.ts';
import { Decompression } from './component/decompression.ts';
import { FieldChanges } from './component/field-changes.ts';
import { HostCheck } from './component/host-check.ts';
import { Redirects } from './component/redirects.ts';
import type { HttpComponent } from './component.ts';

/** Each makes its component of the settings of a service, or null where they ask for none. */
const COMPONENTS: readonly ((
  http: HttpService,
  cacheMemory: SharedArrayBuffer | undefined,
) => HttpComponent | null)[] = [
  (http) => HostCheck.of(http),
  (http) => ClientCertificate.of(http),
  (http) => Redirects.of(http),
  (http) => FieldChanges.of(http),
  (http) => Decompression.of(http),
  (http) => Compression.of(http),
  // Stores what clients get, so it comes last.
  (http, memory) => Cache.of(http, memory),
];

/** The chain of a service. */
export function createComponents(http: HttpService, cacheMemory?: SharedArrayBuffer): HttpComponent[] {
  return COMPONENTS.map((create) => create(http, cacheMemory)).filter((component) => component !== null);
}
