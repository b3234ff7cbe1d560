// SPDX-License-Identifier: Apache-2.0
/*
 * The kernel's part of the packet path: packets of flows that TypeScript has decided are forwarded here, by what it
 * wrote into the flow slots; everything else goes up to it. One source, compiled twice: as XDP and as tc (TCX).
 *
 *   frame ── parse ── index (two buckets) ── slot: same key, same MACs, same epoch? ── rewrite ── other port
 *               └────────── anything unusual: up to TypeScript ──────────┘
 *
 * A flow to or from an engine across a router is in VXLAN: its slot names the tunnel, whose outer headers lie ready.
 * Frames that came in one are looked up by the frame inside, and the tunnel must be that of the slot.
 *
 * The layout of slots, buckets and configuration is that of flow-slots.ts. Nothing here decides: a packet that differs
 * in anything from the one that TypeScript has judged (MACs, fragments, options, TCP SYN, FIN or RST) goes up.
 * Built by ./build; the objects beside it (flow.xdp.o, flow.tc.o) are what is loaded. flow.filter.o is the last part of
 * it alone, for an engine without a program: what a flood of one service may take of TypeScript's time.
 */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int s32;

#define SEC(name) __attribute__((section(name), used))
#define INLINE static __attribute__((always_inline)) inline
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define barrier() __asm__ volatile("" ::: "memory")

/* Kernel interface, from linux/bpf.h (numbers are stable). */
struct xdp_md {
	u32 data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex;
};
struct __sk_buff {
	u32 len, pkt_type, mark, queue_mapping, protocol, vlan_present, vlan_tci, vlan_proto, priority, ingress_ifindex,
		ifindex, tc_index, cb[5], hash, tc_classid, data, data_end, napi_id, family, remote_ip4, local_ip4,
		remote_ip6[4], local_ip6[4], remote_port, local_port, data_meta;
	u64 flow_keys, tstamp;
	u32 wire_len, gso_segs;
	u64 sk;
	u32 gso_size;
};
static void *(*map_lookup)(void *map, const void *key) = (void *)1;
#ifndef WEFT_FILTER
static long (*redirect)(u32 ifindex, u64 flags) = (void *)23;
static u64 (*ktime_get_coarse_ns)(void) = (void *)160;
#endif
static u64 (*ktime_get_ns)(void) = (void *)5;

/* Maps are made by the loader, which puts their file descriptors where these symbols are named. */
struct map {
	u32 unused;
};
struct map flow_config SEC("maps");
struct map flow_index SEC("maps");
struct map flow_slots SEC("maps");
struct map flow_counters SEC("maps");
struct map flow_shares SEC("maps");
#ifndef WEFT_FILTER
struct map flow_tunnels SEC("maps");
#endif
#ifdef WEFT_XDP
struct map flow_sockets SEC("maps"); /* AF_XDP: port * SOCKET_QUEUES + queue */
#endif

struct config {
	u32 seed;
	u32 mask; /* buckets - 1 */
	u32 epoch;
	u32 now_ms;
	u32 ifindex[2]; /* out, in */
	u32 up[2];	/* tc: where packets for TypeScript go */
	u32 fail_open;
	u32 capacity; /* slots */
	u64 heartbeat_ns;
	u64 stale_ns; /* 0: never */
	u32 upcalls; /* counted here */
	u32 upcall_limit; /* moved on by TypeScript */
	u32 share; /* packets that a service may send up in a slice of time; 0: as many as come */
	u32 own_mac; /* of the engine, as on the wire: whose datagrams may bear frames of tunnels */
	u16 own_mac_rest;
	u16 has_tunnels;
	u32 unused;
	u64 awaited_until_ns; /* a process that takes over is on its way: no fail mode before that */
	u32 cookie_keys[2][2]; /* of even and of odd periods */
	u32 cookie_period;     /* modulo 32, COOKIES_KNOWN; 0 where there are no keys */
	u32 self;	       /* the link to the engine's own stack, as tc even where the other ports are XDP's */
	u32 self_up;
	u32 unused_too[3];
};

/* What a service address has had of TypeScript: fastpath/upcall-shares.ts. */
struct share {
	u32 address[4]; /* as on the wire */
	u32 service;	/* port and protocol as of `service_of`; 0 where free */
	u32 slice;	/* of time, as of which the next two are */
	u32 opened;	/* packets that begin flows, SLICES for each, less what time has forgiven */
	u32 others;
	u32 taken; /* these two since the map was made: let up, and refused */
	u32 refused;
	u32 most_opened; /* a limit of its own for packets that begin flows; 0: none */
	u32 mtu;	 /* of what its SYNs are answered for here where they are over its share; 0: they are not answered */
	u32 mac;	 /* to which those come, as on the wire */
	u16 mac_rest;
	u16 unused;
	u32 answered; /* of `refused` */
	u32 unused_too;
};
#define COOKIES_KNOWN 0x100

struct entry {
	u32 hash;
	u32 reference; /* slot + 1, 0 where free */
};
struct bucket {
	struct entry entries[8];
};

struct slot {
	u32 sequence; /* odd while it is being written, 0 where free */
	u32 epoch;
	u32 address[8]; /* source, destination, as on the wire; IPv4 as ::ffff:a.b.c.d */
	u32 ports;	/* as on the wire */
	u8 protocol;
	u8 way;		   /* ingress port, egress port << 2, OUT_OF_TUNNEL, INTO_TUNNEL */
	u16 port_delta;	   /* of the transport checksum, by ports */
	u16 address_delta; /* of the transport checksum, by addresses; of IPv4 also of the header's */
	u16 tunnel;	   /* number + 1 */
	u8 macs[12];	   /* destination, source of the packet that was judged */
	/* second cache line */
	u8 new_macs[12];
	u32 new_ports; /* INTO_TUNNEL: the datagram's source port; nothing of the frame is changed but its MACs */
	u32 new_address[8];
	u32 packets;
	u32 last_ms;
	u64 bytes;
};

/* Ports: the wire, the members, and the engine's own stack; what comes by none of them. */
#define OUT 0
#define IN 1
#define SELF 2
#define NO_PORT 3
#define PORTS 4

#define OUT_OF_TUNNEL 16
#define INTO_TUNNEL 32

/* A tunnel to an engine: fastpath/tunnel-heads.ts. Written only after the epoch has moved on. */
struct tunnel {
	u16 bytes;    /* of the outer headers: over IPv4 or IPv6 */
	u8 head[70];  /* those, but for lengths, source port and checksum; IP fields stand on word boundaries */
	u32 sum;      /* of what is the same in all: of the IPv4 header, or for the UDP checksum over IPv6 */
	u32 room;     /* the longest IP packet that may be put in */
	u32 vni_in;   /* of the other direction, as on the wire */
	u32 unused[11];
};

struct counters {
	u64 packets_in[PORTS]; /* forwarded, by the port they came in by */
	u64 bytes_in[PORTS];
	u64 packets_out[PORTS]; /* and by the one they left by */
	u64 bytes_out[PORTS];
	u64 upcalls;
	u64 refused; /* upcalls over the limit */
	u64 held;    /* TypeScript silent, fail mode closed */
	u64 bypassed; /* TypeScript silent, fail mode open */
	u64 over_share; /* upcalls over what their service may have */
};

INLINE u16 swap16(u16 x) { return __builtin_bswap16(x); }

INLINE u32 mix(u32 h, u32 word)
{
	u32 k = word * 0xcc9e2d51u;
	k = (k << 15) | (k >> 17);
	h ^= k * 0x1b873593u;
	return ((h << 13) | (h >> 19)) * 5 + 0xe6546b64u;
}

INLINE u32 finish(u32 h)
{
	h = (h ^ (h >> 16)) * 0x85ebca6bu;
	h = (h ^ (h >> 13)) * 0xc2b2ae35u;
	return h ^ (h >> 16);
}

/* Where a hash lives in the second place. */
INLINE u32 other(u32 h) { return ((h >> 16) | (h << 16)) * 0x9e3779b1u; }

/* Ones' complement sum of two 16-bit words. */
INLINE u32 add16(u32 a, u32 b)
{
	u32 sum = a + b;
	return (sum & 0xffff) + (sum >> 16);
}

struct key {
	u32 address[8];
	u32 ports;
	u32 hash;
	u32 l4; /* offset of the transport header */
	u32 end; /* and behind the IP packet */
	u8 protocol;
	u8 version;
};

#define ETH 14
#define TCP 6
#define UDP 17

/* Reads the transport header; 0 where the packet is for TypeScript. */
INLINE int read_transport(u8 *l4, u8 *data_end, u32 room, struct key *key)
{
	if (key->protocol == TCP) {
		if (l4 + 20 > data_end || room < 20)
			return 0;
		u32 header = (l4[12] >> 4) * 4;
		/* FIN, SYN and RST change a connection's state. */
		if (header < 20 || header > room || (l4[13] & 7) != 0)
			return 0;
	} else if (key->protocol == UDP) {
		if (l4 + 8 > data_end || room < 8)
			return 0;
		u32 length = swap16(*(u16 *)(l4 + 4));
		if (length < 8 || length > room)
			return 0;
	} else {
		return 0;
	}
	key->ports = *(u32 *)l4;
	return 1;
}

/* Reads the frame's key; 0 where the frame is for TypeScript. `length` is that of the whole frame. */
INLINE int read_key(u8 *data, u8 *data_end, u32 length, u32 seed, struct key *key)
{
	if (data + ETH + 20 > data_end)
		return 0;
	u16 type = *(u16 *)(data + 12);
	u8 *l3 = data + ETH;
	u32 h = seed;
	if (type == swap16(0x0800)) {
		u32 total = swap16(*(u16 *)(l3 + 2));
		/* Options and fragments go up. */
		if (l3[0] != 0x45 || (*(u16 *)(l3 + 6) & swap16(0x3fff)) != 0 || total < 20 || ETH + total > length)
			return 0;
		key->protocol = l3[9];
		key->version = 4;
		key->end = ETH + total;
		key->l4 = ETH + 20;
		key->address[0] = 0;
		key->address[1] = 0;
		key->address[2] = 0xffff0000;
		key->address[3] = *(u32 *)(l3 + 12);
		key->address[4] = 0;
		key->address[5] = 0;
		key->address[6] = 0xffff0000;
		key->address[7] = *(u32 *)(l3 + 16);
		if (!read_transport(l3 + 20, data_end, total - 20, key))
			return 0;
	} else if (type == swap16(0x86dd)) {
		if (l3 + 40 > data_end || l3[0] >> 4 != 6)
			return 0;
		u32 payload = swap16(*(u16 *)(l3 + 4));
		if (ETH + 40 + payload > length)
			return 0;
		key->protocol = l3[6];
		key->version = 6;
		key->end = ETH + 40 + payload;
		key->l4 = ETH + 40;
#pragma unroll
		for (int i = 0; i < 8; i++)
			key->address[i] = *(u32 *)(l3 + 8 + i * 4);
		/* An IPv4-mapped address here would pass for an IPv4 flow. */
		if ((key->address[0] == 0 && key->address[1] == 0 && key->address[2] == 0xffff0000) ||
		    (key->address[4] == 0 && key->address[5] == 0 && key->address[6] == 0xffff0000))
			return 0;
		if (!read_transport(l3 + 40, data_end, payload, key))
			return 0;
		h = mix(h, key->address[0]);
		h = mix(h, key->address[1]);
		h = mix(h, key->address[2]);
		h = mix(h, key->address[4]);
		h = mix(h, key->address[5]);
		h = mix(h, key->address[6]);
	} else {
		return 0;
	}
	h = mix(h, key->address[3]);
	h = mix(h, key->address[7]);
	h = mix(h, key->ports ^ key->protocol);
	key->hash = finish(h);
	return 1;
}

INLINE int is_same(struct slot *slot, struct key *key)
{
	return slot->address[3] == key->address[3] && slot->address[7] == key->address[7] && slot->ports == key->ports &&
	       slot->protocol == key->protocol && slot->address[2] == key->address[2] &&
	       slot->address[6] == key->address[6] && slot->address[0] == key->address[0] &&
	       slot->address[1] == key->address[1] && slot->address[4] == key->address[4] &&
	       slot->address[5] == key->address[5];
}

/*
 * The reference in one of the two buckets of a hash, 0 where there is none. Two flows of one hash in one bucket are
 * one in a billion: the second one stays with TypeScript.
 */
INLINE u32 find_in(u32 at, u32 hash)
{
	struct bucket *bucket = map_lookup(&flow_index, &at);
	if (!bucket)
		return 0;
	u32 reference = 0;
#pragma unroll
	for (int i = 0; i < 8; i++)
		if (bucket->entries[i].hash == hash)
			reference |= bucket->entries[i].reference;
	return reference;
}

/* The port a frame came in by. */
INLINE u32 port_of(u32 ifindex, struct config *config)
{
	if (ifindex == config->ifindex[OUT])
		return OUT;
	if (ifindex == config->ifindex[IN])
		return IN;
	return ifindex == config->self ? SELF : NO_PORT;
}

/* The interface of a port. */
INLINE u32 ifindex_of(u32 port, struct config *config)
{
	return port == SELF ? config->self : config->ifindex[port & 1];
}

/* What is done with a packet, copied out of its slot. */
struct action {
	u32 new_address[8];
	u32 new_ports;
	u32 new_macs[3];
	u32 epoch;
	u16 address_delta, port_delta, tunnel;
	u8 egress, way;
};

/*
 * Finds the slot of the frame and copies what it says; null where the frame is for TypeScript. `way` is that by which it
 * came: the port, and OUT_OF_TUNNEL where a datagram bore it.
 */
INLINE struct slot *decide(u8 *data, struct key *key, u32 way, struct config *config, struct action *action)
{
	u32 mask = config->mask;
	u32 reference = find_in(key->hash & mask, key->hash);
	if (reference == 0)
		reference = find_in(other(key->hash) & mask, key->hash);
	if (reference == 0)
		return 0;
	u32 number = reference - 1;
	struct slot *slot = map_lookup(&flow_slots, &number);
	if (!slot)
		return 0;
	u32 sequence = *(volatile u32 *)&slot->sequence;
	if ((sequence & 1) != 0 || sequence == 0)
		return 0;
	barrier();
	action->epoch = config->epoch;
	if (!is_same(slot, key) || slot->epoch != action->epoch || (slot->way & (3 | OUT_OF_TUNNEL)) != way)
		return 0;
	u32 *macs = (u32 *)slot->macs;
	u32 *seen = (u32 *)data;
	if (macs[0] != seen[0] || macs[1] != seen[1] || macs[2] != seen[2])
		return 0;
#pragma unroll
	for (int i = 0; i < 3; i++)
		action->new_macs[i] = ((u32 *)slot->new_macs)[i];
	action->new_ports = slot->new_ports;
	action->new_address[3] = slot->new_address[3];
	action->new_address[7] = slot->new_address[7];
	if (key->version == 6) {
#pragma unroll
		for (int i = 0; i < 3; i++) {
			action->new_address[i] = slot->new_address[i];
			action->new_address[4 + i] = slot->new_address[4 + i];
		}
	}
	action->address_delta = slot->address_delta;
	action->port_delta = slot->port_delta;
	action->egress = (slot->way >> 2) & 3;
	action->way = slot->way;
	action->tunnel = slot->tunnel;
	barrier();
	/* TypeScript may have begun to write it meanwhile. */
	if (*(volatile u32 *)&slot->sequence != sequence)
		return 0;
	return ifindex_of(action->egress, config) == 0 ? 0 : slot;
}

/* Counts a frame in its slot, as TypeScript would count it, and by ports as long as it came and left. */
INLINE void count(struct slot *slot, struct config *config, u32 port, u32 egress, u32 length, u32 came, u32 left)
{
	slot->packets++;
	slot->bytes += length;
	slot->last_ms = config->now_ms;
	u32 zero = 0;
	struct counters *counters = map_lookup(&flow_counters, &zero);
	if (counters) {
		counters->packets_in[port & 3]++;
		counters->bytes_in[port & 3] += came;
		counters->packets_out[egress & 3]++;
		counters->bytes_out[egress & 3] += left;
	}
}

#define UP 0
#define DROP 1
#define BYPASS 2

#define IPV4_HEAD 48 /* bytes of a frame that say whose it is */
#define IPV6_HEAD 68
#define SHARES 8192	  /* a power of two */
#define SHARE_PROBES 8
#define OTHERS SHARES /* the entry for what is for no service */
#define SLICE_SHIFT 18	  /* a slice of time is 2^18 ns: so long others wait for what comes up at its beginning */
#define SLICES 16	  /* that shares are told for */
#define BURST 768	  /* packets of a service at once */

/* The destination of a frame, as far as shares are concerned. */
struct target {
	u32 address[4];
	u32 service;
	u8 is_ip;
	u8 opens; /* it begins a flow */
};

INLINE u32 service_of(u16 port, u8 protocol) { return ((u32)port << 8) | protocol; }

/* Whose share a frame is of: fragments, options and the like are of nobody's. `room`: of the bytes up to `end`. */
INLINE void read_target(u8 *head, u8 *end, u32 room, struct target *target)
{
	u8 *l4;
	u8 protocol;
	target->service = 0;
	if (head + IPV4_HEAD > end || room < IPV4_HEAD)
		return;
	u16 type = *(u16 *)(head + 12);
	target->is_ip = type == swap16(0x0800) || type == swap16(0x86dd);
	if (type == swap16(0x0800)) {
		if (head[14] != 0x45 || (*(u16 *)(head + 20) & swap16(0x3fff)) != 0)
			return;
		protocol = head[23];
		target->address[0] = 0;
		target->address[1] = 0;
		target->address[2] = 0xffff0000;
		target->address[3] = *(u32 *)(head + 30);
		l4 = head + 34;
	} else if (type == swap16(0x86dd)) {
		if (head + IPV6_HEAD > end || room < IPV6_HEAD)
			return;
		protocol = head[20];
#pragma unroll
		for (int i = 0; i < 4; i++)
			target->address[i] = *(u32 *)(head + 38 + i * 4);
		l4 = head + 54;
	} else {
		return;
	}
	if (protocol == TCP)
		target->opens = (l4[13] & 0x17) == 2;
	else if (protocol == UDP)
		target->opens = 1;
	else
		return;
	target->service = service_of(*(u16 *)(l4 + 2), protocol);
}

/* The entry of the service that a frame is for; that of no service where it is for none. */
INLINE struct share *share_of(struct target *target, struct config *config)
{
	u32 at = OTHERS;
	if (target->service != 0) {
		u32 h = config->seed;
#pragma unroll
		for (int i = 0; i < 4; i++)
			h = mix(h, target->address[i]);
		h = finish(mix(h, target->service));
#pragma unroll
		for (int i = 0; i < SHARE_PROBES; i++) {
			u32 place = (h + i) & (SHARES - 1);
			struct share *share = map_lookup(&flow_shares, &place);
			if (!share || share->service == 0)
				break;
			if (share->service == target->service && share->address[3] == target->address[3] &&
			    share->address[2] == target->address[2] && share->address[1] == target->address[1] &&
			    share->address[0] == target->address[0])
				return share;
		}
	}
	return map_lookup(&flow_shares, &at);
}

/* What is left of `used` after so many slices: packets, SLICES for each, of which `most` are forgiven in SLICES slices. */
INLINE u32 drained(u32 used, u32 most, u32 passed)
{
	return passed >= BURST * SLICES || most * passed >= used ? 0 : used - most * passed;
}

/*
 * Whether a frame is over what its service may take of TypeScript: each has the same, whatever the others get. `syns_of`
 * is then the share of a service whose SYNs are answered, where the frame is one.
 */
INLINE int is_over_share(u8 *head, u8 *end, u32 room, u32 port, struct config *config, struct share **syns_of)
{
	if (config->share == 0)
		return 0;
	struct target target = {};
	read_target(head, end, room, &target);
	struct share *share = share_of(&target, config);
	if (!share)
		return 0;
	/* What comes from inside answers what was let in: only what is for a service is counted there. */
	if (share->service == 0 && (port != 0 || !target.is_ip))
		return 0;
#ifdef WEFT_FILTER
	/* Of known connections everything comes here. */
	if (share->service != 0 && !target.opens)
		return 0;
#endif
	u32 most = config->share;
	u32 most_opened = share->most_opened != 0 && share->most_opened < most ? share->most_opened : most;
	u32 slice = ktime_get_ns() >> SLICE_SHIFT;
	u32 passed = slice - share->slice;
	/* Another processor may have seen the next slice already. */
	if (passed != 0 && passed < (u32)-SLICES) {
		share->slice = slice;
		share->opened = drained(share->opened, most_opened, passed);
		share->others = drained(share->others, most, passed);
	}
	u32 *used = target.opens ? &share->opened : &share->others;
	if (target.opens)
		most = most_opened;
	/* However much it may have: no more at once than the queue holds. */
	if (most > BURST)
		most = BURST;
	if (*used >= most * SLICES) {
		__sync_fetch_and_add(&share->refused, 1);
#ifdef WEFT_XDP
		if (target.opens && share->mtu != 0 && port == 0)
			*syns_of = share;
#endif
		return 1;
	}
	__sync_fetch_and_add(used, SLICES);
	__sync_fetch_and_add(&share->taken, 1);
	return 0;
}

#ifndef WEFT_FILTER
/* What becomes of a frame for TypeScript. `syns_of` as of is_over_share, with DROP. */
INLINE int go_up(struct config *config, u8 *data, u8 *data_end, u32 port, struct share **syns_of)
{
	u32 zero = 0;
	struct counters *counters = map_lookup(&flow_counters, &zero);
	if (!counters)
		return UP;
	if (config->stale_ns != 0) {
		u64 now = ktime_get_coarse_ns();
		if (unlikely(now > config->heartbeat_ns + config->stale_ns && now > config->awaited_until_ns)) {
			/* What the stack sends goes nowhere without TypeScript. */
			if (config->fail_open && port != SELF) {
				counters->bypassed++;
				return BYPASS;
			}
			counters->held++;
			return DROP;
		}
	}
	/* The engine's own, its health probes among them. */
	if (port == SELF) {
		counters->upcalls++;
		return UP;
	}
	if (unlikely(is_over_share(data, data_end, IPV6_HEAD, port, config, syns_of))) {
		if (*syns_of == 0)
			counters->over_share++;
		return DROP;
	}
	u32 before = __sync_fetch_and_add(&config->upcalls, 1);
	if (unlikely((s32)(before - config->upcall_limit) >= 0)) {
		counters->refused++;
		return DROP;
	}
	counters->upcalls++;
	return UP;
}
#endif

#ifndef WEFT_FILTER
INLINE void write_addresses(u8 *l3, struct key *key, struct action *action)
{
	if (key->version == 4) {
		*(u32 *)(l3 + 12) = action->new_address[3];
		*(u32 *)(l3 + 16) = action->new_address[7];
		if (action->address_delta != 0) {
			u32 field = *(u16 *)(l3 + 10);
			*(u16 *)(l3 + 10) = ~add16(~field & 0xffff, action->address_delta);
		}
	} else {
#pragma unroll
		for (int i = 0; i < 8; i++)
			*(u32 *)(l3 + 8 + i * 4) = action->new_address[i];
	}
}

INLINE void write_macs(u8 *data, struct action *action)
{
#pragma unroll
	for (int i = 0; i < 3; i++)
		((u32 *)data)[i] = action->new_macs[i];
}

#define VXLAN_PORT 4789
#define HEAD_IPV4 50 /* outer Ethernet, IP, UDP and VXLAN headers */
#define HEAD_IPV6 70
#define HEADS 72

INLINE u16 fold16(u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

/*
 * Bytes of outer headers before the frame inside, where this may be a datagram of a tunnel for us; else 0. What is
 * unusual in it is left: there will be no slot for what is then read as the frame.
 */
INLINE u32 outer_bytes(u8 *data, u8 *data_end, u32 length, struct config *config)
{
	if (data + HEAD_IPV4 > data_end || !config->has_tunnels)
		return 0;
	if (*(u32 *)data != config->own_mac || *(u16 *)(data + 4) != config->own_mac_rest)
		return 0;
	u16 type = *(u16 *)(data + 12);
	if (type == swap16(0x0800) && *(u16 *)(data + 36) == swap16(VXLAN_PORT)) {
		u32 total = swap16(*(u16 *)(data + 16));
		u32 size = swap16(*(u16 *)(data + 38));
		int is_plain = data[14] == 0x45 && data[23] == UDP && (*(u16 *)(data + 20) & swap16(0x3fff)) == 0;
		return is_plain && ETH + total == length && size + 20 == total ? HEAD_IPV4 : 0;
	}
	if (data + HEAD_IPV6 > data_end)
		return 0;
	if (type == swap16(0x86dd) && *(u16 *)(data + 56) == swap16(VXLAN_PORT)) {
		u32 payload = swap16(*(u16 *)(data + 18));
		int is_plain = data[14] >> 4 == 6 && data[20] == UDP && *(u16 *)(data + 58) == *(u16 *)(data + 18);
		return is_plain && ETH + 40 + payload == length ? HEAD_IPV6 : 0;
	}
	return 0;
}

/* Whether a datagram is one of the tunnel that the slot of the frame inside names. */
INLINE int is_of_tunnel(u8 *data, u8 *data_end, u32 outer, struct config *config, struct action *action)
{
	u32 number = (u32)action->tunnel - 1;
	struct tunnel *tunnel = map_lookup(&flow_tunnels, &number);
	if (!tunnel || tunnel->bytes != outer)
		return 0;
	u8 *head = tunnel->head;
	u32 unlike;
	if (outer == HEAD_IPV4) {
		if (data + HEAD_IPV4 > data_end)
			return 0;
		unlike = *(u32 *)(data + 26) ^ *(u32 *)(head + 30);
		unlike |= *(u32 *)(data + 30) ^ *(u32 *)(head + 26);
		unlike |= *(u32 *)(data + 42) ^ *(u32 *)(head + 42);
		unlike |= *(u32 *)(data + 46) ^ tunnel->vni_in;
	} else {
		if (data + HEAD_IPV6 > data_end)
			return 0;
		unlike = *(u32 *)(data + 62) ^ *(u32 *)(head + 62);
		unlike |= *(u32 *)(data + 66) ^ tunnel->vni_in;
#pragma unroll
		for (int i = 0; i < 4; i++) {
			unlike |= *(u32 *)(data + 22 + i * 4) ^ *(u32 *)(head + 38 + i * 4);
			unlike |= *(u32 *)(data + 38 + i * 4) ^ *(u32 *)(head + 22 + i * 4);
		}
	}
	barrier();
	return unlike == 0 && *(volatile u32 *)&config->epoch == action->epoch;
}

/*
 * Writes the outer headers of a frame of `inner` bytes to `head`: all of them over IPv4, over IPv6 but for the UDP
 * checksum, of which `sum` is what is known. Returns how many bytes they are; 0 where the frame is for TypeScript.
 */
INLINE u32 make_head(u8 *head, u32 inner, struct config *config, struct action *action, u32 *sum)
{
	u32 number = (u32)action->tunnel - 1;
	struct tunnel *tunnel = map_lookup(&flow_tunnels, &number);
	if (!tunnel || inner - ETH > tunnel->room)
		return 0;
	u32 bytes = tunnel->bytes;
	*sum = tunnel->sum;
	/* Lies two bytes off a boundary here as it does there. */
	*(u16 *)head = *(u16 *)tunnel->head;
#pragma unroll
	for (int i = 0; i < 17; i++)
		((u32 *)(head + 2))[i] = ((u32 *)(tunnel->head + 2))[i];
	barrier();
	if (*(volatile u32 *)&config->epoch != action->epoch)
		return 0;
	u16 size = swap16(16 + inner);
	if (bytes == HEAD_IPV4) {
		u16 total = swap16(20 + 16 + inner);
		*(u16 *)(head + 16) = total;
		*(u16 *)(head + 24) = ~fold16(*sum + total);
		*(u16 *)(head + 34) = action->new_ports;
		*(u16 *)(head + 38) = size;
		return HEAD_IPV4;
	}
	*(u16 *)(head + 18) = size;
	*(u16 *)(head + 54) = action->new_ports;
	*(u16 *)(head + 58) = size;
	/* The length is in the pseudo-header as well. */
	*sum += (action->new_ports & 0xffff) + size + size;
	return HEAD_IPV6;
}

#endif

#ifdef WEFT_XDP
static long (*redirect_map)(void *map, u64 key, u64 flags) = (void *)51;
static long (*xdp_adjust_head)(struct xdp_md *ctx, int delta) = (void *)44;
static long (*xdp_adjust_tail)(struct xdp_md *ctx, int delta) = (void *)65;
static long (*csum_diff)(const void *from, u32 from_size, const void *to, u32 to_size, u32 seed) = (void *)28;
#define XDP_DROP 1
#define XDP_PASS 2
#define XDP_TX 3
#define SOCKET_QUEUES 8
#define SOCKET_FRAME 1780 /* longer ones fit no chunk of a socket */

/* Up by the socket of the queue; by the packet ring where there is none, as after the end of its process. */
INLINE int hand_up(struct xdp_md *ctx, u32 port, u32 length)
{
	u32 queue = ctx->rx_queue_index;
	if (queue >= SOCKET_QUEUES || length > SOCKET_FRAME)
		return XDP_PASS;
	return redirect_map(&flow_sockets, (port & 1) * SOCKET_QUEUES + queue, XDP_PASS);
}

/*
 * Whether the transport checksum is only the sum of the pseudo-header, as virtual NICs leave it for a real one: for a
 * frame in a datagram none would finish it.
 */
INLINE int is_partial(u8 *data, u8 *data_end, struct key *key)
{
	u8 *field = data + (key->version == 4 ? ETH + 20 : ETH + 40) + (key->protocol == TCP ? 16 : 6);
	if (field + 2 > data_end)
		return 1;
	u64 sum = swap16(key->protocol) + swap16(key->end - key->l4);
	sum += (u64)key->address[3] + key->address[7];
	if (key->version == 6) {
#pragma unroll
		for (int i = 0; i < 3; i++)
			sum += (u64)key->address[i] + key->address[4 + i];
	}
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
	return *(u16 *)field == fold16(sum);
}

#define LONGEST_SUMMED 2047
/*
 * The part of `n` bytes, if there is one. Where it begins follows from the whole length and not from the parts before:
 * else the verifier would walk through every combination of them.
 */
#define PART(n)                                                    \
	if ((length & n) != 0) {                                   \
		u8 *at = from + (length & LONGEST_SUMMED & -(2 * n)); \
		if (at + n > data_end)                             \
			return 0;                                  \
		sum = csum_diff(0, 0, at, n, sum);                 \
	}

/* Adds the `length` bytes at `from` to a sum for a checksum; 0 where that cannot be. */
INLINE u32 add_bytes(u8 *from, u8 *data_end, u32 length, u32 sum)
{
#pragma unroll
	for (int i = 0; i < 7; i++)
		if (length >= (i + 1) * 256) {
			if (from + (i + 1) * 256 > data_end)
				return 0;
			sum = csum_diff(0, 0, from + i * 256, 256, sum);
		}
	PART(128)
	PART(64)
	PART(32)
	PART(16)
	PART(8)
	PART(4)
	u32 rest = 0;
	if ((length & 2) != 0) {
		u8 *at = from + (length & LONGEST_SUMMED & -4);
		if (at + 2 > data_end)
			return 0;
		rest = *(u16 *)at;
	}
	if ((length & 1) != 0) {
		u8 *at = from + (length & LONGEST_SUMMED & -2);
		if (at + 1 > data_end)
			return 0;
		rest += *at;
	}
	return (sum & 0xffff) + (sum >> 16) + rest;
}

/* Puts the frame into the tunnel of its slot. 0 where it is for TypeScript: then it is as it was, but for padding. */
INLINE int encapsulate(struct xdp_md *ctx, u32 length, struct key *key, struct config *config, struct action *action)
{
	u8 aligned[HEADS + 4] __attribute__((aligned(8)));
	u8 *head = aligned + 2;
	u8 *data = (u8 *)(u64)ctx->data;
	u8 *data_end = (u8 *)(u64)ctx->data_end;
	u32 inner = key->end;
	u32 sum = 0;
	if (is_partial(data, data_end, key))
		return 0;
	u32 bytes = make_head(head, inner, config, action, &sum);
	if (bytes == 0 || (bytes == HEAD_IPV6 && inner > LONGEST_SUMMED))
		return 0;
	if (length > inner && xdp_adjust_tail(ctx, (int)inner - (int)length) != 0)
		return 0;
	if (xdp_adjust_head(ctx, -(int)bytes) != 0)
		return 0;
	data = (u8 *)(u64)ctx->data;
	data_end = (u8 *)(u64)ctx->data_end;
	if (bytes == HEAD_IPV4) {
		if (data + HEAD_IPV4 + ETH > data_end)
			return 0;
		*(u16 *)data = *(u16 *)head;
#pragma unroll
		for (int i = 0; i < 12; i++)
			((u32 *)(data + 2))[i] = ((u32 *)(head + 2))[i];
		write_macs(data + HEAD_IPV4, action);
		return HEAD_IPV4;
	}
	if (data + HEAD_IPV6 + ETH > data_end)
		return 0;
	*(u16 *)data = *(u16 *)head;
#pragma unroll
	for (int i = 0; i < 17; i++)
		((u32 *)(data + 2))[i] = ((u32 *)(head + 2))[i];
	write_macs(data + HEAD_IPV6, action);
	u16 value = ~fold16(add_bytes(data + HEAD_IPV6, data_end, inner, sum));
	*(u16 *)(data + 60) = value == 0 ? 0xffff : value;
	return HEAD_IPV6;
}

/* HalfSipHash-2-4: dataplane/syn-cookies.ts. */
struct sip {
	u32 v0, v1, v2, v3;
};

INLINE u32 rotate(u32 x, u32 by) { return (x << by) | (x >> (32 - by)); }

INLINE void sip_round(struct sip *sip)
{
	sip->v0 += sip->v1;
	sip->v1 = rotate(sip->v1, 5) ^ sip->v0;
	sip->v0 = rotate(sip->v0, 16);
	sip->v2 += sip->v3;
	sip->v3 = rotate(sip->v3, 8) ^ sip->v2;
	sip->v0 += sip->v3;
	sip->v3 = rotate(sip->v3, 7) ^ sip->v0;
	sip->v2 += sip->v1;
	sip->v1 = rotate(sip->v1, 13) ^ sip->v2;
	sip->v2 = rotate(sip->v2, 16);
}

INLINE void sip_take(struct sip *sip, u32 word)
{
	sip->v3 ^= word;
	sip_round(sip);
	sip_round(sip);
	sip->v0 ^= word;
}

INLINE u32 swap32(u32 x) { return __builtin_bswap32(x); }

/* The cookie for the SYN of a client: as SynCookies.make. Addresses, ports and number as on the wire. */
INLINE u32 make_cookie(u32 *keys, u32 period, u32 *from, u32 *to, u32 ports, u32 first, u32 mss)
{
	u32 index = mss >= 1460 ? 7 : mss >= 1440 ? 6 : mss >= 1400 ? 5 : mss >= 1300 ? 4 : mss >= 1220 ? 3 : mss >= 966 ? 2 : mss >= 536;
	u32 k0 = keys[0], k1 = keys[1];
	struct sip sip = { k0, k1, 0x6c796765 ^ k0, 0x74656462 ^ k1 };
#pragma unroll
	for (int i = 0; i < 4; i++)
		sip_take(&sip, swap32(from[i]));
#pragma unroll
	for (int i = 0; i < 4; i++)
		sip_take(&sip, swap32(to[i]));
	sip_take(&sip, swap32(ports));
	sip_take(&sip, swap32(first));
	sip_take(&sip, index);
	sip_take(&sip, 44 << 24);
	sip.v2 ^= 0xff;
#pragma unroll
	for (int i = 0; i < 4; i++)
		sip_round(&sip);
	return ((period & 31) << 27) | (index << 24) | ((sip.v1 ^ sip.v3) & 0xffffff);
}

/*
 * Answers the SYN of a client that TypeScript has no time for, as it would itself (Splicer.answer): the frame is then the
 * answer. 0 where it is to be dropped. What is unusual in it (IP options, a segment size that is not the first option) is.
 */
INLINE int answer_syn(struct xdp_md *ctx, struct share *share, struct config *config)
{
	u8 *data = (u8 *)(u64)ctx->data;
	u8 *data_end = (u8 *)(u64)ctx->data_end;
	u32 length = data_end - data;
	u32 zero = 0;
	struct counters *counters = map_lookup(&flow_counters, &zero);
	if (!counters)
		return 0;
	/* Unless it is answered. */
	counters->over_share++;
	u32 period = *(volatile u32 *)&config->cookie_period;
	if (period == 0 || (share->service & 0xff) != TCP || data + ETH + 40 > data_end)
		return 0;
	if (*(u32 *)data != share->mac || *(u16 *)(data + 4) != share->mac_rest)
		return 0;
	u32 from[4] = { 0, 0, 0xffff0000, 0 };
	u32 to[4] = { 0, 0, 0xffff0000, 0 };
	u8 *tcp;
	u32 room;
	int is_ipv4 = *(u16 *)(data + 12) == swap16(0x0800);
	if (is_ipv4) {
		u32 total = swap16(*(u16 *)(data + 16));
		tcp = data + ETH + 20;
		room = total - 20;
		if (total < 40 || ETH + total > length)
			return 0;
		from[3] = *(u32 *)(data + 26);
		to[3] = *(u32 *)(data + 30);
	} else {
		tcp = data + ETH + 40;
		room = swap16(*(u16 *)(data + 18));
		if (data + ETH + 40 + 20 > data_end || room < 20 || ETH + 40 + room > length)
			return 0;
#pragma unroll
		for (int i = 0; i < 4; i++) {
			from[i] = *(u32 *)(data + 22 + i * 4);
			to[i] = *(u32 *)(data + 38 + i * 4);
		}
	}
	if (tcp + 20 > data_end)
		return 0;
	u32 header = (tcp[12] >> 4) * 4;
	u32 offered = is_ipv4 ? 536 : 1220;
	if (header < 20 || header > room)
		return 0;
	if (header > 20) {
		if (tcp + 24 > data_end || *(u16 *)(tcp + 20) != swap16(0x0204))
			return 0;
		offered = swap16(*(u16 *)(tcp + 22));
	}
	u32 ports = *(u32 *)tcp;
	u32 first = *(u32 *)(tcp + 4);
	/* The client's MAC, then ours. */
	u32 macs[3];
	macs[0] = *(u16 *)(data + 6) | (u32)*(u16 *)(data + 8) << 16;
	macs[1] = *(u16 *)(data + 10) | (u32)*(u16 *)data << 16;
	macs[2] = *(u16 *)(data + 2) | (u32)*(u16 *)(data + 4) << 16;
	u32 words[6];
	words[0] = (ports >> 16) | (ports << 16);
	words[1] = swap32(make_cookie(config->cookie_keys[period & 1], period, from, to, ports, first, offered));
	words[2] = swap32(swap32(first) + 1);
	words[3] = swap32(0x60120000);
	words[4] = 0;
	words[5] = swap32(0x02040000 | (share->mtu - (is_ipv4 ? 40 : 60)));
	u64 sum = swap16(TCP) + swap16(24);
#pragma unroll
	for (int i = 0; i < 4; i++) {
		if (is_ipv4 && i < 3)
			continue;
		sum += (u64)from[i] + to[i];
	}
#pragma unroll
	for (int i = 0; i < 6; i++)
		sum += words[i];
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
	words[4] = (u16)~fold16(sum);
	/* As short as a frame may be. */
	u32 size = is_ipv4 ? 60 : ETH + 40 + 24;
	if (xdp_adjust_tail(ctx, (int)size - (int)length) != 0)
		return 0;
	data = (u8 *)(u64)ctx->data;
	data_end = (u8 *)(u64)ctx->data_end;
	if (data + 60 > data_end)
		return 0;
#pragma unroll
	for (int i = 0; i < 3; i++)
		((u32 *)data)[i] = macs[i];
	u32 *ip = (u32 *)(data + ETH);
	if (is_ipv4) {
		ip[0] = swap32(0x4500002c);
		ip[1] = swap32(0x00004000);
		ip[2] = swap32(0x40060000);
		ip[3] = to[3];
		ip[4] = from[3];
		sum = (u64)ip[0] + ip[1] + ip[2] + to[3] + from[3];
		sum = (sum & 0xffffffff) + (sum >> 32);
		sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
		*(u16 *)(data + 24) = ~fold16(sum);
#pragma unroll
		for (int i = 0; i < 6; i++)
			ip[5 + i] = words[i];
		*(u16 *)(data + 58) = 0;
	} else {
		if (data + ETH + 40 + 24 > data_end)
			return 0;
		ip[0] = swap32(0x60000000);
		ip[1] = swap32(0x001806ff);
#pragma unroll
		for (int i = 0; i < 4; i++) {
			ip[2 + i] = to[i];
			ip[6 + i] = from[i];
		}
#pragma unroll
		for (int i = 0; i < 6; i++)
			ip[10 + i] = words[i];
	}
	counters->over_share--;
	counters->packets_in[0]++;
	counters->bytes_in[0] += length;
	counters->packets_out[0]++;
	counters->bytes_out[0] += size;
	__sync_fetch_and_add(&share->answered, 1);
	return 1;
}

SEC("program")
int weft_flow(struct xdp_md *ctx)
{
	u8 *data = (u8 *)(u64)ctx->data;
	u8 *data_end = (u8 *)(u64)ctx->data_end;
	u32 zero = 0;
	struct config *config = map_lookup(&flow_config, &zero);
	if (!config)
		return XDP_PASS;
	u32 port = port_of(ctx->ingress_ifindex, config);
	if (port > IN)
		return XDP_PASS;
	struct key key = {};
	struct action action = {};
	u32 length = data_end - data;
	struct slot *slot = 0;
	u32 outer = outer_bytes(data, data_end, length, config);
	u8 *frame = data + outer;
	if (read_key(frame, data_end, length - outer, config->seed, &key))
		slot = decide(frame, &key, outer == 0 ? port : port | OUT_OF_TUNNEL, config, &action);
	if (slot && unlikely(action.tunnel != 0)) {
		if (action.way & INTO_TUNNEL) {
			u32 bytes = outer == 0 ? encapsulate(ctx, length, &key, config, &action) : 0;
			if (bytes != 0) {
				count(slot, config, port, action.egress, length, length, bytes + key.end);
				if (action.egress == port)
					return XDP_TX;
				return redirect(ifindex_of(action.egress, config), 0);
			}
			slot = 0;
		} else if (outer == 0 || !is_of_tunnel(data, data_end, outer, config, &action) ||
			   xdp_adjust_head(ctx, outer) != 0) {
			slot = 0;
		}
		data = (u8 *)(u64)ctx->data;
		data_end = (u8 *)(u64)ctx->data_end;
	}
	if (!slot) {
		struct share *syns_of = 0;
		int way = go_up(config, data, data_end, port, &syns_of);
		if (way == UP)
			return hand_up(ctx, port, length);
		if (way == DROP && syns_of)
			return answer_syn(ctx, syns_of, config) ? XDP_TX : XDP_DROP;
		if (way == DROP)
			return XDP_DROP;
		return redirect(config->ifindex[1 - (port & 1)], 0);
	}
	u8 *l4 = key.version == 4 ? data + ETH + 20 : data + ETH + 40;
	if (l4 + 8 > data_end)
		return XDP_PASS;
	u32 change = add16(action.address_delta, action.port_delta);
	if (change != 0) {
		u16 *at = key.protocol == TCP ? (u16 *)(l4 + 16) : (u16 *)(l4 + 6);
		if ((u8 *)(at + 1) > data_end)
			return XDP_PASS;
		u32 field = *at;
		if (key.protocol == TCP) {
			*at = ~add16(~field & 0xffff, change);
		} else if (field != 0) {
			u16 value = ~add16(~field & 0xffff, change);
			*at = value == 0 ? 0xffff : value;
		}
	}
	*(u32 *)l4 = action.new_ports;
	if (data + ETH + 40 > data_end && key.version == 6)
		return XDP_PASS;
	write_addresses(data + ETH, &key, &action);
	write_macs(data, &action);
	count(slot, config, port, action.egress, length - outer, length, length - outer);
	if (action.egress == port)
		return XDP_TX;
	return redirect(ifindex_of(action.egress, config), 0);
}
#endif
#ifdef WEFT_FILTER
static long (*skb_load_bytes)(const struct __sk_buff *skb, u32 offset, void *to, u32 len) = (void *)26;

/* On the packet socket of a port: the bytes of the frame that TypeScript gets to see, all or none. */
SEC("program")
int weft_flow(struct __sk_buff *skb)
{
	u32 zero = 0;
	struct config *config = map_lookup(&flow_config, &zero);
	if (!config)
		return -1;
	/* The kernel reads words of the stack only where they belong. */
	u8 aligned[IPV6_HEAD + 4] __attribute__((aligned(8))) = {};
	u8 *head = aligned + 2;
	u32 room = IPV6_HEAD;
	if (skb_load_bytes(skb, 0, head, IPV6_HEAD) < 0) {
		room = IPV4_HEAD;
		if (skb_load_bytes(skb, 0, head, IPV4_HEAD) < 0)
			return -1;
	}
	u32 port = port_of(skb->ifindex, config);
	struct share *syns_of = 0;
	if (skb->vlan_present || port > IN || !is_over_share(head, head + IPV6_HEAD, room, port, config, &syns_of))
		return -1;
	struct counters *counters = map_lookup(&flow_counters, &zero);
	if (counters)
		counters->over_share++;
	return 0;
}
#endif
#ifdef WEFT_TC
static long (*l4_csum_replace)(struct __sk_buff *skb, u32 offset, u64 from, u64 to, u64 flags) = (void *)11;
static long (*skb_pull_data)(struct __sk_buff *skb, u32 len) = (void *)39;
static long (*skb_adjust_room)(struct __sk_buff *skb, s32 delta, u32 mode, u64 flags) = (void *)50;
static long (*skb_change_tail)(struct __sk_buff *skb, u32 len, u64 flags) = (void *)38;
static long (*skb_store_bytes)(struct __sk_buff *skb, u32 offset, const void *from, u32 len, u64 flags) = (void *)9;
#define BPF_F_RECOMPUTE_CSUM 1
#define BPF_ADJ_ROOM_MAC 1
#define BPF_F_ENCAP_L3_IPV4 (1ULL << 1)
#define BPF_F_ENCAP_L4_UDP (1ULL << 4)
#define BPF_F_ENCAP_L2_ETH (1ULL << 6)
#define BPF_F_DECAP_L3_IPV4 (1ULL << 7)
#define BPF_F_DECAP_L3_IPV6 (1ULL << 8)
#define BPF_F_ENCAP_L2(length) ((u64)(length) << 56)
#define BPF_F_PSEUDO_HDR (1ULL << 4)
#define BPF_F_MARK_MANGLED_0 (1ULL << 5)
#define TCX_NEXT -1
#define TCX_DROP 2

/* Bytes from the frame's first that are looked at: outer headers of a tunnel, and those inside. */
#define LOOKED_AT (HEAD_IPV6 + ETH + 60)

/*
 * Puts the frame into the tunnel of its slot. 0 where it is for TypeScript: then it is as it was, but for padding. The
 * kernel is told that there are two sets of headers, so that it finishes the checksum of the inner one by itself where
 * the NIC cannot. It could not do so for a checksum of the outer datagram, which IPv6 needs; and it would leave a
 * super-frame to the other end to cut: both are TypeScript's.
 */
INLINE u32 encapsulate(struct __sk_buff *skb, struct key *key, struct config *config, struct action *action)
{
	u8 aligned[HEADS + ETH + 2] __attribute__((aligned(8)));
	u8 *head = aligned + 2;
	u32 inner = key->end;
	u32 sum;
	if (skb->gso_size != 0 || make_head(head, inner, config, action, &sum) != HEAD_IPV4)
		return 0;
#pragma unroll
	for (int i = 0; i < 6; i++)
		((u16 *)(head + HEAD_IPV4))[i] = ((u16 *)action->new_macs)[i];
	*(u16 *)(head + HEAD_IPV4 + 12) = key->version == 4 ? swap16(0x0800) : swap16(0x86dd);
	if (skb->len > inner && skb_change_tail(skb, inner, 0) != 0)
		return 0;
	u64 flags = BPF_F_ENCAP_L3_IPV4 | BPF_F_ENCAP_L4_UDP | BPF_F_ENCAP_L2_ETH | BPF_F_ENCAP_L2(ETH);
	if (skb_adjust_room(skb, HEAD_IPV4, BPF_ADJ_ROOM_MAC, flags) != 0)
		return 0;
	skb_store_bytes(skb, 0, head, ETH, 0);
	skb_store_bytes(skb, ETH, head + ETH, HEAD_IPV4, BPF_F_RECOMPUTE_CSUM);
	return HEAD_IPV4;
}

/* Takes the outer headers off; the frame's own MACs are for the caller to write. */
INLINE int decapsulate(struct __sk_buff *skb, struct key *key, u32 outer)
{
	if (skb->gso_size != 0)
		return 0;
	u64 flags = key->version == 4 ? BPF_F_DECAP_L3_IPV4 : BPF_F_DECAP_L3_IPV6;
	return skb_adjust_room(skb, -(s32)outer, BPF_ADJ_ROOM_MAC, flags) == 0;
}

SEC("program")
int weft_flow(struct __sk_buff *skb)
{
	u32 zero = 0;
	struct config *config = map_lookup(&flow_config, &zero);
	if (!config)
		return TCX_NEXT;
	u32 port = port_of(skb->ifindex, config);
	if (port == NO_PORT)
		return TCX_NEXT;
	u8 *data = (u8 *)(u64)skb->data;
	u8 *data_end = (u8 *)(u64)skb->data_end;
	u32 wanted = config->has_tunnels ? LOOKED_AT : ETH + 60;
	/* Headers may stand outside the linear part. */
	if (data + wanted > data_end && skb->len > data_end - data) {
		skb_pull_data(skb, skb->len < wanted ? skb->len : wanted);
		data = (u8 *)(u64)skb->data;
		data_end = (u8 *)(u64)skb->data_end;
	}
	struct key key = {};
	struct action action = {};
	struct slot *slot = 0;
	u32 length = skb->len;
	u32 outer = skb->vlan_present ? 0 : outer_bytes(data, data_end, length, config);
	u8 *frame = data + outer;
	if (!skb->vlan_present && read_key(frame, data_end, length - outer, config->seed, &key))
		slot = decide(frame, &key, outer == 0 ? port : port | OUT_OF_TUNNEL, config, &action);
	if (slot && unlikely(action.tunnel != 0)) {
		if (action.way & INTO_TUNNEL) {
			u32 bytes = outer == 0 ? encapsulate(skb, &key, config, &action) : 0;
			if (bytes != 0) {
				count(slot, config, port, action.egress, length, length, bytes + key.end);
				return redirect(ifindex_of(action.egress, config), 0);
			}
			slot = 0;
		} else if (outer == 0 || !is_of_tunnel(data, data_end, outer, config, &action) ||
			   !decapsulate(skb, &key, outer)) {
			slot = 0;
		}
		data = (u8 *)(u64)skb->data;
		data_end = (u8 *)(u64)skb->data_end;
	}
	if (!slot) {
		struct share *syns_of = 0;
		int way = go_up(config, data, data_end, port, &syns_of);
		if (way == DROP)
			return TCX_DROP;
		u32 up = port == SELF ? config->self_up : config->up[port & 1];
		return redirect(way == UP ? up : config->ifindex[1 - (port & 1)], 0);
	}
	u8 *l4 = key.version == 4 ? data + ETH + 20 : data + ETH + 40;
	if (l4 + 8 > data_end)
		return TCX_DROP;
	count(slot, config, port, action.egress, length - outer, length, length - outer);
	*(u32 *)l4 = action.new_ports;
	write_addresses(data + ETH, &key, &action);
	write_macs(data, &action);
	if (outer != 0)
		*(u16 *)(data + 12) = key.version == 4 ? swap16(0x0800) : swap16(0x86dd);
	u32 sum_at = key.l4 + (key.protocol == TCP ? 16 : 6);
	u64 flags = key.protocol == UDP ? BPF_F_MARK_MANGLED_0 : 0;
	/* The kernel knows whether the sum is whole or, as virtual NICs leave it, only that of the pseudo-header. */
	if (action.address_delta != 0)
		l4_csum_replace(skb, sum_at, 0, action.address_delta, flags | BPF_F_PSEUDO_HDR);
	if (action.port_delta != 0)
		l4_csum_replace(skb, sum_at, 0, action.port_delta, flags);
	return redirect(ifindex_of(action.egress, config), 0);
}
#endif

char weft_license[] SEC("license") = "Apache-2.0";
/* So that a test knows whether the compiler at hand is the one that built the objects. */
char weft_compiler[] SEC("compiler") = __VERSION__;
