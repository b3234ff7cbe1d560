/**
 * Port mirroring on a distributed switch: one session per engine, from the ports of its members, both directions, to the
 * port of the engine's `in`. Source and destination of such a session must be on one host; a port keeps its key where its
 * VM moves, so a member that has moved is copied no more until the session of its new host names it.
 *
 * A session of ours bears the engine's name and the mark in its description. Nothing else is kept: what the sessions of
 * the switches say is what is mirrored.
 */
import type { Mirror, NicRef } from '../hypervisor/platform.ts';
import { WeftError } from '../policy/errors.ts';
import { refusal } from './host-networks.ts';
import type { Card, ObjectMirror } from './inventory-objects.ts';
import { readMirrorMark, withMirrorMark } from './marks.ts';
import { ENGINE_NICS, type Plug } from './nic.ts';
import { readThere } from './objects.ts';
import { untilFree } from './retry.ts';
import type { VcenterSession } from './session.ts';
import type { MoRef, Vim } from './vim/schema.ts';

type Session = Vim<'VMwareVspanSession'>;

/** What is mirrored now, by engine. Only switches on which Weft has a shadow are read: an engine's `in` stands there. */
export async function readMirrors(
  session: VcenterSession,
  objects: ObjectMirror,
  signal: AbortSignal,
): Promise<Mirror[]> {
  const ports = portsOf(objects);
  const mirrors: Mirror[] = [];
  for (const { uuid, sessions } of await readSwitches(session, shadowedSwitches(objects), signal)) {
    for (const one of sessions) {
      const engine = readMirrorMark(one.description);
      if (engine === null) continue;
      const isAimed = one.destinationPort?.portKey?.[0] === enginePort(objects, engine)?.port;
      const keys = isAimed && one.enabled ? (one.sourcePortReceived?.portKey ?? []) : [];
      mirrors.push({ engine, nics: keys.flatMap((key) => ports.get(`${uuid}/${key}`) ?? []).sort(byNic) });
    }
  }
  return mirrors.sort((a, b) => (a.engine < b.engine ? -1 : 1));
}

/** Mirrors exactly these NICs to the engine; none: removes its session. As the platform's contract says. */
export async function mirrorNics(
  session: VcenterSession,
  objects: ObjectMirror,
  engine: string,
  nics: readonly NicRef[],
  signal: AbortSignal,
): Promise<void> {
  const target = nics.length === 0 ? null : aimOf(objects, engine, nics);
  await untilFree(async () => {
    for (const one of await readSwitches(session, shadowedSwitches(objects), signal)) {
      const isTarget = target !== null && target.switchUuid === one.uuid;
      const [present, ...more] = one.sessions.filter(
        ({ description }) => readMirrorMark(description) === engine,
      );
      const changes: Vim<'VMwareDVSVspanConfigSpec'>[] = more.map((twin) => removal(twin));
      if (!isTarget && present) changes.push(removal(present));
      if (isTarget) {
        const wanted = sessionOf(engine, target.from, target.to);
        if (!present) changes.push({ operation: 'add', vspanSession: wanted });
        else if (!isSame(present, wanted)) {
          changes.push({ operation: 'edit', vspanSession: { ...wanted, key: present.key } });
        }
      }
      if (changes.length === 0) continue;
      const spec: Vim<'VMwareDVSConfigSpec'> = {
        $type: 'VMwareDVSConfigSpec',
        configVersion: one.configVersion,
        vspanConfigSpec: changes,
      };
      await session.task(one.ref, 'ReconfigureDvs_Task', { spec }, signal);
    }
  }, signal);
}

function sessionOf(engine: string, from: readonly string[], to: string): Session {
  return {
    name: `weft-${engine}`,
    description: withMirrorMark(engine),
    enabled: true,
    sourcePortTransmitted: { portKey: [...from] },
    sourcePortReceived: { portKey: [...from] },
    destinationPort: { portKey: [to] },
    stripOriginalVlan: false,
    // The engine's own frames on that port go nowhere: it has nothing to say there.
    normalTrafficAllowed: false,
    sessionType: 'dvPortMirror',
  };
}

function removal(present: Session): Vim<'VMwareDVSVspanConfigSpec'> {
  return { operation: 'remove', vspanSession: present };
}

function isSame(present: Session, wanted: Session): boolean {
  const text = ({
    sourcePortTransmitted: sent,
    sourcePortReceived: received,
    destinationPort: to,
  }: Session) => [sent, received, to].map((port) => [...(port?.portKey ?? [])].sort().join()).join(';');
  return (
    present.enabled &&
    present.normalTrafficAllowed === wanted.normalTrafficAllowed &&
    present.sessionType === wanted.sessionType &&
    text(present) === text(wanted)
  );
}

/** The ports that are copied and where to. Throws where one of them stands on no distributed switch, or another one. */
function aimOf(
  objects: ObjectMirror,
  engine: string,
  nics: readonly NicRef[],
): { switchUuid: string; from: string[]; to: string } {
  const known = [...objects.all()].some(
    ({ properties }) => (properties['config.annotation'] as { engine?: string } | null)?.engine === engine,
  );
  if (!known) throw new WeftError('ERR_NOT_FOUND', `there is no engine ${engine}`);
  const to = enginePort(objects, engine);
  if (!to) {
    throw new WeftError(
      'ERR_HYPERVISOR_UNSUPPORTED',
      `engine ${engine} stands on a standard switch, which mirrors no ports: set the mode of its group to in-line, or move the members to a distributed switch`,
    );
  }
  const from = nics.map(({ vm, nic }) => {
    const object = objects.get(vm);
    const card = cardsOf(object?.properties).find(({ key }) => String(key) === nic);
    if (!object || !card) throw new WeftError('ERR_NOT_FOUND', `VM ${vm} has no NIC ${nic}`);
    const port = portOf(card.plug);
    if (port?.switchUuid !== to.switchUuid) {
      throw refusal(
        `NIC ${nic} of ${String(object.properties.name)} is on no port of the distributed switch that engine ${engine} stands on, so it cannot be mirrored there`,
      );
    }
    return port.port;
  });
  return { switchUuid: to.switchUuid, from: from.sort(), to: to.port };
}

/** The port of an engine's `in`; undefined where it has none on a distributed switch. */
function enginePort(objects: ObjectMirror, engine: string): { switchUuid: string; port: string } | undefined {
  for (const { ref, properties } of objects.all()) {
    if (ref.type !== 'VirtualMachine') continue;
    if ((properties['config.annotation'] as { engine?: string } | null)?.engine !== engine) continue;
    const cards = [...cardsOf(properties)].sort((a, b) => a.key - b.key);
    const inside = cards[ENGINE_NICS.indexOf('in')];
    const port = inside && portOf(inside.plug);
    if (port) return port;
  }
  return undefined;
}

/** NICs of VMs that are no engines, by `switch/port`. */
function portsOf(objects: ObjectMirror): Map<string, NicRef> {
  const ports = new Map<string, NicRef>();
  for (const { ref, properties } of objects.all()) {
    if (ref.type !== 'VirtualMachine') continue;
    for (const { key, plug } of cardsOf(properties)) {
      const port = portOf(plug);
      if (port) ports.set(`${port.switchUuid}/${port.port}`, { vm: ref.value, nic: String(key) });
    }
  }
  return ports;
}

function cardsOf(properties: Record<string, unknown> | undefined): readonly Card[] {
  return (properties?.['config.hardware.device'] as readonly Card[] | undefined) ?? [];
}

function portOf(plug: Plug): { switchUuid: string; port: string } | undefined {
  if (plug.kind !== 'distributed' || plug.port === null) return undefined;
  return { switchUuid: plug.switchUuid, port: plug.port };
}

function shadowedSwitches(objects: ObjectMirror): MoRef[] {
  const found = new Map<string, MoRef>();
  for (const { ref, properties } of objects.all()) {
    const dvs = properties['config.distributedVirtualSwitch'] as MoRef | undefined;
    if (ref.type !== 'DistributedVirtualPortgroup' || !dvs || !properties['config.description']) continue;
    found.set(dvs.value, dvs);
  }
  return [...found.values()];
}

async function readSwitches(
  session: VcenterSession,
  refs: readonly MoRef[],
  signal: AbortSignal,
): Promise<{ ref: MoRef; uuid: string; configVersion: string; sessions: Session[] }[]> {
  if (refs.length === 0) return [];
  const read = await readThere(session, refs, ['config'], signal);
  return refs.flatMap((ref) => {
    const config = read.get(ref.value)?.config as Vim<'DVSConfigInfo'> | undefined;
    if (config?.$type !== 'VMwareDVSConfigInfo') return [];
    const { uuid, configVersion, vspanSession = [] } = config;
    return [{ ref, uuid, configVersion, sessions: vspanSession }];
  });
}

function byNic(a: NicRef, b: NicRef): number {
  return a.vm === b.vm ? (a.nic < b.nic ? -1 : 1) : a.vm < b.vm ? -1 : 1;
}
