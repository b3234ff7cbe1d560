/** What BIRD says of its sessions (`birdc show protocols`), by router. Pure. */
import { sessionName } from './bird-config.ts';

/** `Established`, or what BIRD says instead; a router of which it says nothing is left out. */
export function readSessions(text: string, routers: readonly string[]): Record<string, string> {
  const byName = new Map(routers.map((router) => [sessionName(router), router]));
  const sessions: Record<string, string> = {};
  for (const line of text.split('\n')) {
    // Name, protocol, table, state, since, and what the protocol says of itself.
    const found = /^(\S+)\s+BGP\s+\S+\s+(\S+)\s+\S+\s*(.*)$/.exec(line.trim());
    const router = byName.get(found?.[1] ?? '');
    if (found && router !== undefined)
      sessions[router] = found[3]?.trim().replaceAll(/\s+/g, ' ') || (found[2] ?? '');
  }
  return sessions;
}
