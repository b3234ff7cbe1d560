/** What the pools of a service have done in one thread, and their members. */
import { type MemberUse, MOST_MEMBERS } from '../../policy/service-figures.ts';
import type { FiguresReport } from './figures.ts';
import type { Members } from './members.ts';

export function poolFigures(
  pools: readonly Members[],
): Pick<FiguresReport, 'members' | 'ejections' | 'waited' | 'retries' | 'sessions' | 'cookies'> {
  const cookies = { kept: 0, moved: 0, unknown: 0, given: 0 };
  const sessions = { kept: 0, moved: 0, begun: 0 };
  const retries = { done: 0, refused: 0 };
  let ejections = 0;
  let waited = 0;
  for (const pool of pools) {
    ejections += pool.ejections;
    waited += pool.queue.waited;
    retries.done += pool.retries.done;
    retries.refused += pool.retries.refused;
    sessions.kept += pool.sessions?.figures.kept ?? 0;
    sessions.moved += pool.sessions?.figures.moved ?? 0;
    sessions.begun += pool.sessions?.figures.begun ?? 0;
    cookies.kept += pool.cookies.kept;
    cookies.moved += pool.cookies.moved;
    cookies.unknown += pool.cookies.unknown;
    cookies.given += pool.cookies.given;
  }
  return { members: memberUse(pools), ejections, waited, retries, sessions, cookies };
}

/** Those that had requests, the most first. */
function memberUse(pools: readonly Members[]): MemberUse[] {
  const used = pools.flatMap((pool) =>
    pool.list.flatMap((member) => (member.figures === null ? [] : [{ pool: pool.name, member }])),
  );
  used.sort((a, b) => b.member.figures!.requests - a.member.figures!.requests);
  return used.slice(0, MOST_MEMBERS).map(({ pool, member }) => {
    const { requests, errors, waits } = member.figures!;
    const { name, host, active } = member;
    return { pool, name, address: host, requests, errors, active, waits: waits.list() };
  });
}
