/** The L7 components, in the order in which requests walk them: one line each. */
import type { HttpService } from '../../policy/http-service.ts';
import { Compression } from './component/compression.ts';
import { Decompression } from './component/decompression.ts';
import { FieldChanges } from './component/field-changes.ts';
import type { HttpComponent } from './component.ts';

/** Each makes its component of the settings of a service, or null where they ask for none. */
const COMPONENTS: readonly ((http: HttpService) => HttpComponent | null)[] = [
  (http) => FieldChanges.of(http),
  (http) => Decompression.of(http),
  (http) => Compression.of(http),
];

/** The chain of a service. */
export function createComponents(http: HttpService): HttpComponent[] {
  return COMPONENTS.map((create) => create(http)).filter((component) => component !== null);
}
