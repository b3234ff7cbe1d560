/** How Weft marks in vCenter what it made, so that a lost store can be rebuilt from the inventory. */

/** The extraConfig key that engines carry from the import on, with the engine id as its value. */
export const ENGINE_KEY = 'weft.engine';

/** What a distributed port group that Weft made says in its description. */
export interface ShadowMark {
  /** Name of the production port group that it shadows. */
  shadows: string;
  /** Ids of the hosts on which it is in use. */
  hosts: string[];
}

const PREFIX = 'Made by Weft; do not change. ';

/** The text of a port group's description. */
export function shadowDescription(mark: ShadowMark): string {
  return PREFIX + JSON.stringify({ shadows: mark.shadows, hosts: mark.hosts });
}

/** The mark in a description, or null where there is none that can be read. */
export function readShadowDescription(description: string): ShadowMark | null {
  if (!description.startsWith(PREFIX) || description.length > 65_536) return null;
  try {
    const { shadows, hosts } = JSON.parse(description.slice(PREFIX.length)) as Partial<ShadowMark>;
    const isMark =
      typeof shadows === 'string' && Array.isArray(hosts) && hosts.every((id) => typeof id === 'string');
    return isMark ? { shadows, hosts } : null;
  } catch {
    return null;
  }
}
