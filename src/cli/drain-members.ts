/** What `weft drain` and `weft undrain` share: the pools that a VM serves, and the names in their `drain`. */
import { WeftError } from '../policy/errors.ts';
import type { PolicyObject } from '../policy/kind.ts';
import { nearestName } from '../policy/nearest-name.ts';
import type { PoolSpec, PoolStatus } from '../policy/pool.ts';
import type { ControllerClient } from './controller-client.ts';

type Pool = PolicyObject<PoolSpec, PoolStatus>;

/** The pools that a VM of that name is a member of; only that one where a pool is named. Throws where there is none. */
export async function poolsOf(
  client: ControllerClient,
  vm: string,
  pool: string | undefined,
): Promise<Pool[]> {
  const pools =
    pool === undefined ? ((await client.list('pool')) as Pool[]) : [(await client.get('pool', pool)) as Pool];
  const found = pools.filter(({ status, spec }) => {
    return status?.members.some((member) => member.vm === vm) || spec.drain.includes(vm);
  });
  if (found.length > 0) return found;
  const names = [...new Set(pools.flatMap(({ status }) => status?.members.map((member) => member.vm) ?? []))];
  const near = nearestName(vm, names);
  const hint = near === undefined ? '"weft status" lists the members' : `did you mean ${near}?`;
  throw new WeftError(
    'ERR_NOT_FOUND',
    `no VM ${vm} is a member of ${pool === undefined ? 'any pool' : `pool ${pool}`}: ${hint}`,
  );
}

/** The pool with other names in `drain`; refused by the controller where somebody changed it meanwhile. */
export function withDrain({ kind, name, revision, spec }: Pool, drain: string[]) {
  return { kind, name, revision, spec: { ...spec, drain } };
}
