/**
 * Ports of a host's virtual switches: plug a VM's NIC in, move it between segments while the VM runs, pull it.
 *
 * On a production segment a VM's port behaves like a port of a real virtual switch: the switch knows its one MAC,
 * learns none behind it and floods no unknown unicast to it. An engine's `out` learns and floods: behind it are all
 * the others.
 *
 * A shadow segment knows no MAC at all and floods everything, but never from VM to VM: whatever a VM sends goes to the
 * engine alone, frames for its neighbour included. A MAC that is known on an isolated port would be worse than
 * unknown: what a neighbour sends to it would be dropped.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Segment } from '../../hypervisor/platform.ts';
import { ABSENT_ADDRESS } from './blueprint.ts';
import { VOID } from './fabric.ts';
import { bridge, ip, run, tc } from './iproute.ts';
import { namespaceOf } from './names.ts';
import { type NicRecord, portOf, type VmRecord } from './record.ts';

/** How often and at what distance a NIC is looked at until it has a carrier; one whose link is cut gets none. */
const CARRIER_LOOKS = 40;
const CARRIER_PAUSE_MS = 10;

/** Lays the cable between the guest's NIC and its host; the port is down and on no segment yet. */
export async function layCable(lab: string, vm: VmRecord, nic: NicRecord): Promise<void> {
  await ip(namespaceOf(lab, vm.host), [
    `link add ${portOf(vm, nic)} type veth peer name ${nic.id} address ${nic.mac} netns ${namespaceOf(lab, vm.name)}`,
  ]);
}

/**
 * Puts a NIC's port on a segment of its host, from whichever it was on. Loses the packets of the time in which the
 * port is on neither, well under a millisecond. Then announces the MAC. `enginePorts` are the engine ports that are
 * on the segment already: the switch has learned the MAC behind them.
 */
export async function joinSegment(
  lab: string,
  vm: VmRecord,
  nic: NicRecord,
  segment: Pick<Segment, 'name' | 'role'>,
  enginePorts: readonly string[],
): Promise<void> {
  const host = namespaceOf(lab, vm.host);
  const port = portOf(vm, nic);
  const isShadow = segment.role === 'shadow';
  const learning = nic.isEnginePort && !isShadow ? 'on' : 'off';
  const isolated = isShadow && !nic.isEnginePort ? 'on' : 'off';
  const move = [
    `link set ${port} master ${segment.name}`,
    `link set ${port} type bridge_slave learning ${learning} isolated ${isolated} flood on`,
  ];
  if (nic.isEnginePort) return ip(host, move);
  if (isShadow) {
    await ip(host, move);
    // Between the two commands the bridge may have learned it.
    await bridge(host, [`fdb del ${nic.mac} dev ${port} master`], true);
    return announce(lab, vm, nic);
  }
  // A MAC that the switch does not know is flooded, so it reaches the VM on either side of the move; what was learned
  // behind the engine would lead past it for the milliseconds until the entry of the port itself is there.
  for (const engine of enginePorts) {
    await bridge(
      host,
      [`link set dev ${engine} learning off`, `fdb del ${nic.mac} dev ${engine} master`],
      true,
    );
  }
  try {
    await ip(host, move);
    // Leaving the old bridge took the entry there along. Flooding to the port ends when its MAC is known.
    await bridge(host, [
      `fdb replace ${nic.mac} dev ${port} master static sticky`,
      `link set dev ${port} flood off`,
    ]);
  } finally {
    await bridge(
      host,
      enginePorts.map((engine) => `link set dev ${engine} learning on`),
      true,
    );
  }
  await announce(lab, vm, nic);
}

/**
 * Lets the switches above, and an engine on the segment, learn where a MAC is now: what a vSwitch does by RARP. An
 * ARP request for an address that nobody has is the one broadcast that the kernel sends for us without a raw socket.
 */
async function announce(lab: string, vm: VmRecord, nic: NicRecord): Promise<void> {
  if (!nic.addresses.some((address) => address.startsWith('10.77.0.'))) return;
  const guest = namespaceOf(lab, vm.name);
  await untilCarrier(guest, nic.id);
  await ip(
    guest,
    [
      // A resolution that is still going on would swallow the new request.
      `neigh del ${ABSENT_ADDRESS} dev ${nic.id}`,
      `neigh replace ${ABSENT_ADDRESS} dev ${nic.id} use`,
    ],
    true,
  );
}

/** After a cable was plugged in the kernel takes a moment, on a busy machine up to a second, until it sends anything. */
async function untilCarrier(namespace: string, device: string): Promise<void> {
  for (let looks = 0; looks < CARRIER_LOOKS; looks++) {
    const link = await run('ip', ['-n', namespace, '-o', 'link', 'show', 'dev', device], '').catch(() => '');
    if (link === '' || link.includes(' state UP ')) return;
    await sleep(CARRIER_PAUSE_MS);
  }
}

/** Moves the host's end of a running VM's cables to another host; the ports are down and on no segment then. */
export async function rerouteCables(lab: string, vm: VmRecord, toHost: string): Promise<void> {
  await ip(
    namespaceOf(lab, vm.host),
    vm.nics.map((nic) => `link set ${portOf(vm, nic)} netns ${namespaceOf(lab, toHost)}`),
  );
}

/** Pulls all cables of a VM out of its host. Gone already: succeeds. */
export async function pullCables(lab: string, vm: VmRecord): Promise<void> {
  await ip(
    namespaceOf(lab, vm.host),
    vm.nics.map((nic) => `link del ${portOf(vm, nic)}`),
    true,
  );
}

/**
 * Makes a device in the namespace of a host be up or down, lose a share of its packets in each direction, and have
 * copies of the others sent out of other devices of the host. Repeatable; nothing is left where nothing is asked for.
 */
export async function setLink(
  host: string,
  device: string,
  state: { isCut: boolean; lossPercent: number; copiesTo: readonly string[] },
): Promise<void> {
  await tc(host, [`qdisc del dev ${device} clsact`], true);
  if (state.lossPercent > 0 || state.copiesTo.length > 0) {
    const lost = `pref 1 bpf bytecode "${dropShare(state.lossPercent)}" action mirred egress redirect dev ${VOID}`;
    const copied = state.copiesTo.map(
      (to, index) => `pref ${index + 2} bpf bytecode "${ALL}" action mirred egress mirror dev ${to} continue`,
    );
    const filters = [...(state.lossPercent > 0 ? [lost] : []), ...copied];
    await tc(host, [
      `qdisc add dev ${device} clsact`,
      ...['ingress', 'egress'].flatMap((direction) =>
        filters.map((filter) => `filter add dev ${device} ${direction} ${filter}`),
      ),
    ]);
  }
  await ip(host, [`link set ${device} ${state.isCut ? 'down' : 'up'}`]);
}

/** Classic BPF that matches every packet: ret -1. */
const ALL = '1,6 0 0 4294967295';

/** Classic BPF that matches so many of a hundred packets: load a random word; below the threshold match, else not. */
function dropShare(percent: number): string {
  const threshold = Math.min(0xffffffff, Math.round((percent / 100) * 0x100000000));
  // ld [SKF_AD_OFF + SKF_AD_RANDOM]; jge threshold, 0, 1; ret 0; ret -1
  return `4,32 0 0 4294963256,53 0 1 ${threshold},6 0 0 0,6 0 0 4294967295`;
}
