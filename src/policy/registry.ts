/** The kinds there are. To add one: write its file, add its line here. */
import { addressSet } from './address-set.ts';
import { authoritySet } from './authority-set.ts';
import { certificate } from './certificate.ts';
import { cloud } from './cloud.ts';
import { engineGroup } from './engine-group.ts';
import { WeftError } from './errors.ts';
import { firewallPolicy } from './firewall-policy.ts';
import type { Kind } from './kind.ts';
import { pool } from './pool.ts';
import { virtualService } from './virtual-service.ts';

/** In the order in which objects can be created without a dangling reference. */
export const KINDS: readonly Kind[] = [
  cloud,
  engineGroup,
  certificate,
  authoritySet,
  pool,
  addressSet,
  firewallPolicy,
  virtualService,
] as unknown as readonly Kind[];

/** The kind of that name. Throws ERR_KIND_UNKNOWN, which lists the kinds there are. */
export function kindNamed(name: string): Kind {
  const kind = KINDS.find((candidate) => candidate.name === name);
  if (!kind) {
    throw new WeftError(
      'ERR_KIND_UNKNOWN',
      `there is no kind "${name}"; the kinds are ${KINDS.map((k) => k.name).join(', ')}`,
    );
  }
  return kind;
}
