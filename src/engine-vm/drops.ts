/**
 * Every reason for which an engine drops a packet. Packets never throw: they are dropped, and counted here.
 * docs/drops.md equals this table, by test. The order is the counter's index and only ever grows at the end.
 */
export const DROPS = [
  ['malformed', 'The frame is truncated or its headers contradict each other.'],
  ['firewall-deny', 'A firewall rule or default of a service denied the packet.'],
  ['firewall-reject', 'A firewall rule or default of a service rejected the packet; the sender was told.'],
  ['no-member', 'No member of the pool is up, not draining and reachable in the address family.'],
  ['flow-table-full', 'The flow table is full: the first packet of a new flow was refused.'],
  [
    'no-flow',
    'A packet in the middle of a TCP connection that no engine knows, or whose member stays bypassed; the sender was reset.',
  ],
  ['fragment', 'A fragment to or from a service whose first fragment was not seen.'],
  [
    'spoofed-peer',
    'A frame bears the source MAC of an engine, on a side where that engine cannot have sent it.',
  ],
  ['control-invalid', 'A control frame between engines failed its authentication or is malformed.'],
  ['not-local', 'A balanced frame arrived for a member that is not on this host (it has just moved).'],
  ['translate-ports', 'No source port is left for connections to members without an engine.'],
  ['transmit-full', 'The kernel took no more frames: the transmit ring of the port stayed full.'],
  ['not-a-service', 'A packet to an address that the engine announces, but to no port of a service.'],
  ['held', 'The engine is not in service yet: no graph has been applied.'],
  ['fault', 'Processing the frame failed, which is a defect in Weft; the log of the engine has the stack.'],
  [
    'settling',
    'Just after its start an engine holds what members send in connections it does not know: it might need translation.',
  ],
  ['spoofed-address', 'A member claimed an address that the engines announce.'],
  [
    'upcall-limit',
    'More packets of unknown flows came than TypeScript can decide; the kernel refused the rest.',
  ],
  [
    'stood-still',
    'The data plane stood still, and the fail mode is closed: packets of unknown flows were held.',
  ],
  ['firewall-limit', 'A firewall rule limits a rate, and the packet was over it.'],
  ['observing', 'The engine only observes, so what its own stack wanted to send was not sent.'],
  [
    'tunnel-invalid',
    'A VXLAN datagram from no engine of the group, or with a frame that such an engine does not send.',
  ],
  [
    'too-big',
    'The packet does not fit into the tunnel to an engine in another network; the sender was told.',
  ],
  ['no-route', 'The router to an engine or member in another network does not answer.'],
  [
    'service-share',
    'More packets of unknown flows came for one service than its share of the engine; the kernel refused the rest.',
  ],
  [
    'group-mac',
    'A packet to a service address came in a frame to a broadcast or multicast MAC, by which no client sends it.',
  ],
  [
    'cookie-pending',
    'A packet of a connection that a SYN cookie began came before its member had answered, or before peers had said how its numbers are shifted; TCP repeats it.',
  ],
  [
    'handed-past',
    'A member that hands packets on sent one past its engine, so nobody knows which tiers have seen it.',
  ],
] as const;

export type DropName = (typeof DROPS)[number][0];

/** The index of a drop reason. */
export function dropIndex(name: DropName): number {
  return DROPS.findIndex(([candidate]) => candidate === name);
}
