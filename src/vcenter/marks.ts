/**
 * Marks of ownership, written where vCenter keeps them with the object: the notes of a VM, the description of a port
 * group. Whoever lists the inventory learns from them what Weft made, also when its own store is lost; whoever removes
 * something looks here first.
 *
 * A mark is one line of JSON behind `weft=` at the end of the text; what people wrote before it stays.
 */

/** The notes of an engine VM or of a clone. */
export interface VmMark {
  /** The engine id; null for a clone of a member. */
  engine: string | null;
  /** The id of the VM that this is a clone of; null for an engine. */
  cloneOf: string | null;
  /** False from the first moment of an import or clone until it is whole: such a VM is removed and made again. */
  isComplete: boolean;
  /** The id of the VM that was marked, once it is whole: notes are copied with a VM, and a copy is not ours. */
  self?: string;
}

/** The description of a distributed port group that Weft made. */
export interface PortGroupMark {
  /**
   * `in`: the shadow segment of one host, which carries no uplink; a member whose port has its VLAN stands on it too.
   * `out`: the VLAN of a production port group with the policies that an engine's `out` NIC needs; in the inventory
   * it is that production segment.
   */
  role: 'in' | 'out';
  /**
   * The name of the segment in `Host.segments`: for `in` that of the shadow, for `out` that of the production one. On
   * record as it was when the port group was made; {@link segmentNow} is what it is.
   */
  segment: string;
  /** For `in`, the id of its host. */
  host: string | null;
  /** The key of the production port group. */
  production: string;
  /** The shadow VLAN. */
  vlan: number;
  /** What the production port group's policy allowed before Weft: VLAN and teaming overrides of a port. */
  allowed: { vlanOverride: boolean; teamingOverride: boolean };
}

/** The mark in a VM's notes; null where there is none, or none that can be read. */
export function readVmMark(notes: string | undefined): VmMark | null {
  const found = readMark(notes);
  if (!found) return null;
  const { engine = null, cloneOf = null, isComplete, self } = found;
  const isId = (value: unknown): value is string => typeof value === 'string' && value !== '';
  if (isId(engine) === isId(cloneOf) || typeof isComplete !== 'boolean') return null;
  return {
    engine: isId(engine) ? engine : null,
    cloneOf: isId(cloneOf) ? cloneOf : null,
    isComplete,
    ...(isId(self) ? { self } : {}),
  };
}

/** The notes of a VM with the mark, in place of the one that is there. */
export function withVmMark(notes: string, mark: VmMark): string {
  return withMark(notes, mark);
}

/** The mark in a port group's description; null where there is none, or none that can be read. */
export function readPortGroupMark(description: string | undefined): PortGroupMark | null {
  const found = readMark(description);
  if (!found) return null;
  const { role, segment, host = null, production, vlan, allowed } = found;
  const isOurs =
    (role === 'in' || role === 'out') &&
    typeof segment === 'string' &&
    (role === 'in' ? typeof host === 'string' : host === null) &&
    typeof production === 'string' &&
    Number.isInteger(vlan);
  if (!isOurs) return null;
  const flags = typeof allowed === 'string' ? allowed : '';
  return {
    role,
    segment,
    host: host as string | null,
    production,
    vlan: vlan as number,
    allowed: { vlanOverride: flags.includes('v'), teamingOverride: flags.includes('t') },
  };
}

/**
 * The name of the segment today. A production port group may be renamed while it has shadows, and its mark then tells
 * of the old name: its segments are called after the new one. `production` is its name, where it is still there.
 */
export function segmentNow(mark: PortGroupMark, production: string | undefined): string {
  if (production === undefined) return mark.segment;
  if (mark.role === 'out') return production;
  return mark.segment.endsWith(SHADOW_SUFFIX) ? `${production}${SHADOW_SUFFIX}` : mark.segment;
}

/** The name of the shadow segment that a port group belongs to, today: for `out`, of which it is the other half. */
export function shadowNow(mark: PortGroupMark, production: string | undefined): string {
  const segment = segmentNow(mark, production);
  return mark.role === 'in' ? segment : `${segment}${SHADOW_SUFFIX}`;
}

/** What the policy of the production port group allows only since Weft made this one, in words of the vSphere Client. */
export function allowancesOf({ allowed }: PortGroupMark): string[] {
  return [
    ...(allowed.vlanOverride ? [] : ['per-port VLAN override']),
    ...(allowed.teamingOverride ? [] : ['per-port teaming override']),
  ];
}

/** The description of a port group. vCenter takes 255 characters. */
export function portGroupDescription(mark: PortGroupMark): string {
  const { vlanOverride, teamingOverride } = mark.allowed;
  const allowed = `${vlanOverride ? 'v' : ''}${teamingOverride ? 't' : ''}`;
  return withMark('Made by Weft; do not edit.', { ...mark, allowed });
}

/**
 * What the name of a standard port group, which has no description, says: `<segment>-weft` is the shadow of a
 * segment, `<segment>-weft-out` its other side. Null for all others.
 */
export function readStandardName(name: string): { role: 'in' | 'out'; production: string } | null {
  const [, production, out] = /^(.+)-weft(-out)?$/s.exec(name) ?? [];
  return production === undefined ? null : { role: out === undefined ? 'in' : 'out', production };
}

/** The description of a port mirroring session to an engine. */
export function withMirrorMark(engine: string): string {
  return withMark('Made by Weft; do not edit.', { mirror: engine });
}

/** The engine that a session of ours mirrors to; null for the sessions of others. */
export function readMirrorMark(description: string | undefined): string | null {
  const engine = readMark(description)?.mirror;
  return typeof engine === 'string' && engine !== '' ? engine : null;
}

const SHADOW_SUFFIX = '-weft';
const MARK = /\s*weft=(\{.*\})\s*$/;

function readMark(text: string | undefined): Record<string, unknown> | null {
  const json = MARK.exec(text ?? '')?.[1];
  if (json === undefined) return null;
  try {
    return JSON.parse(json) as Record<string, unknown>;
  } catch {
    return null;
  }
}

function withMark(text: string, mark: object): string {
  const own = text.replace(MARK, '');
  return `${own}${own === '' ? '' : '\n'}weft=${JSON.stringify(mark)}`;
}
