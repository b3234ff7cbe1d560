/**
 * The record of a flow: 32 words in the typed array of the flow table, and the four of `splices` beside it. What each
 * word holds, and what its kind, state and flags can be.
 */

/** Words per flow. */
export const STRIDE = 32;
/** The client's address, and the service address that it speaks to: the forward key. */
export const CLIENT = 0;
export const SERVICE = 4;
/** The member's address, and the address that the member sees as its client: the reverse key. */
export const MEMBER_SIDE = 8;
export const CLIENT_SEEN = 12;
/** Client port << 16 | service port; the next word: member port << 16 | client port as the member sees it. */
export const PORTS = 16;
export const MEMBER_PORTS = 17;
/** The IP protocol; then one of KIND_LOCAL ..., one of STATE_FREE ..., and FLAG_FIN_FORWARD ... together. */
export const PROTOCOL = 18;
export const KIND = 19;
export const STATE = 20;
export const FLAGS = 21;
/** Index of the member in the graph in force. */
export const MEMBER = 22;
/** Index of the tier in the graph in force, -1 for a direct flow. */
export const TIER = 23;
/** Milliseconds of the monotonic clock, modulo 2^32. */
export const LAST_SEEN = 24;
/** The graph epoch whose firewall passed the flow; 0 before the first judgement. */
export const JUDGED = 25;
/** The client's MAC as last seen; only for flows that are translated both ways or proxied, or whose member is still asked (FLAG_SPLICING). */
export const CLIENT_MAC_HIGH = 26;
export const CLIENT_MAC_LOW = 27;
/** In its place for local flows, once their member has answered: when peers are to be told of the flow (again), as LAST_SEEN. */
export const REPLICATE_AT = CLIENT_MAC_HIGH;
/** Index of the peer that relays the flow, -1 where none does. */
export const RELAY = 28;
/** The record's neighbours in its list: of half-open flows (half-open-flows.ts), or of free records. */
export const NEXT = 29;
export const PREVIOUS = 30;
/** Counts the uses of the record, so that a stale reference is recognised. */
export const GENERATION = 31;

/** Words per flow of `splices`. */
export const SPLICE_STRIDE = 4;
/** What is added to the member's sequence numbers; while the member has not answered, the cookie. */
export const SPLICE_DELTA = 0;
/** The client's first sequence number. */
export const SPLICE_FIRST = 1;
/** Until the member answers: segment size of the client << 8 | how often it was asked; when, as LAST_SEEN. */
export const SPLICE_ASKED = 2;
export const SPLICE_ASKED_AT = 3;

/** Kinds of flow: what is done with its packets. */
/** The member is beside this engine: its address is translated. */
export const KIND_LOCAL = 1;
/** The member is beside a peer, which translates: here only the MACs change. No reverse key. */
export const KIND_REMOTE = 2;
/** Translated both ways, from an own address: no engine is beside the member, or the client is the member itself. */
export const KIND_FAR = 3;
/** To a member's own address and port, seen in passing for the count of connections. */
export const KIND_DIRECT = 4;
/** To a member that hands the same packet on, beside this engine or a peer: only MACs change. No reverse key. */
export const KIND_THROUGH = 5;
/** Its TCP ends in this engine's own stack, where a proxy speaks HTTP. No member: each request has its own. */
export const KIND_PROXIED = 6;

/** States. 0 is a free record. */
export const STATE_FREE = 0;
export const STATE_HALF_OPEN = 1;
export const STATE_ESTABLISHED = 2;
export const STATE_CLOSING = 3;

/** Flags. */
export const FLAG_FIN_FORWARD = 1;
export const FLAG_FIN_REVERSE = 2;
export const FLAG_SEEN_FORWARD = 4;
export const FLAG_SEEN_REVERSE = 8;
/** Counted in the connection table as a connection of an own member, or as one sent to a member without an engine. */
export const FLAG_COUNTED_LOCAL = 16;
export const FLAG_COUNTED_SENT = 32;
/** The reverse key is in the index. */
export const FLAG_HAS_REVERSE = 64;
/** A UDP flow or connection that came balanced from a peer. */
export const FLAG_VIA_PEER = 128;
/** A local flow that the replicator has seen established, and one that peers were told of. */
export const FLAG_IS_SIGHTED = 256;
export const FLAG_IS_REPLICATED = 512;
/** The kernel forwards the direction (fastpath/): what clients send, and << 1 what members answer. */
export const FLAG_FAST_FORWARD = 1024;
/** Every packet that clients send has to be judged, so that the kernel gets only the other direction. */
export const FLAG_METERED = 4096;
/** Packets come through a tunnel from another network. */
export const FLAG_VIA_TUNNEL = 8192;
/** Begun by a SYN cookie: sequence numbers are shifted (SPLICE_DELTA); and, at first, its member has not answered yet. */
export const FLAG_SPLICED = 16384;
export const FLAG_SPLICING = 32768;
/**
 * Part of the forward key: how many tiers have seen the packets of the flow when they come in here (0 to 7). A packet
 * that members hand on has a flow of its own between each two tiers.
 */
export const STAGE_SHIFT = 16;
export const STAGE_MASK = 7 << STAGE_SHIFT;
/** How many tiers behind the one that bears the service address the flow's tier is. */
export const OFFSET_SHIFT = 20;
/** Most tiers of a service, and so most flows of one key. */
export const MOST_STAGES = 8;
/** The kernel forwards one direction at least. */
export const FLAGS_FAST = FLAG_FAST_FORWARD | (FLAG_FAST_FORWARD << 1);

/** Directions: what clients send, and what members answer. */
export const FORWARD = 0;
export const REVERSE = 1;
