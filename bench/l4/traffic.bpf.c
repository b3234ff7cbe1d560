// SPDX-License-Identifier: Apache-2.0
/*
 * The kernel's side of bench/l4.ts, one program per -D: generators of UDP packets and of TCP SYNs (run with live
 * frames), a sink that counts, a blind redirect as the limit of what XDP can do here, and an echo. Built by ./build.
 */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
#define SEC(name) __attribute__((section(name), used))
#define barrier() __asm__ volatile("" ::: "memory")
struct xdp_md {
	u32 data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex;
};
struct __sk_buff {
	u32 len;
};
static void *(*map_lookup)(void *map, const void *key) = (void *)1;
struct map {
	u32 unused;
};
struct map bench_config SEC("maps");
struct config {
	u32 ifindex; /* where to */
	u32 flows;   /* a power of two; 0: every packet another flow */
	u32 random;
	u32 next;
	u64 packets;
	u32 sum; /* of the template's UDP checksum and IP checksum, without what changes */
	u32 ip_sum;
	u64 head[7]; /* the template's first 56 bytes: frames come back as others have left them */
};

#if defined(BENCH_GENERATE) || defined(BENCH_SYN)
#ifdef BENCH_SYN
#define CHECKSUM 50
#else
#define CHECKSUM 40
#endif
static long (*redirect)(u32 ifindex, u64 flags) = (void *)23;
static u32 (*get_prandom_u32)(void) = (void *)7;
static __attribute__((always_inline)) inline u16 fold(u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}
SEC("program") int bench(struct xdp_md *ctx)
{
	u8 *data = (u8 *)(u64)ctx->data, *end = (u8 *)(u64)ctx->data_end;
	u32 zero = 0;
	struct config *config = map_lookup(&bench_config, &zero);
	if (!config || data + 56 > end)
		return 1;
	for (int i = 0; i < 7; i++)
		*(u64 *)(data + i * 8) = config->head[i];
	u32 flow = config->random ? get_prandom_u32() : config->next++;
	if (config->flows)
		flow &= config->flows - 1;
	/* 14 bits of port, the rest in the address 10.64.0.0/10 upwards. */
	u16 port = __builtin_bswap16(1024 + (flow & 0x3fff));
	u32 host = (flow >> 14) & 0x3ffff;
	u16 high = __builtin_bswap16(0x0a40 | (host >> 16)), low = __builtin_bswap16(host & 0xffff);
	*(u16 *)(data + 26) = high;
	*(u16 *)(data + 28) = low;
	*(u16 *)(data + 34) = port;
	*(u16 *)(data + 24) = fold(config->ip_sum + high + low);
	*(u16 *)(data + CHECKSUM) = fold(config->sum + high + low + port);
	config->packets++;
	return redirect(config->ifindex, 0);
}
#endif
#ifdef BENCH_REDIRECT
static long (*redirect)(u32 ifindex, u64 flags) = (void *)23;
SEC("program") int bench(struct xdp_md *ctx)
{
	u32 zero = 0;
	struct config *config = map_lookup(&bench_config, &zero);
	return config ? redirect(config->ifindex, 0) : 1;
}
#endif
#ifdef BENCH_SINK
SEC("program") int bench(struct xdp_md *ctx)
{
	u8 *data = (u8 *)(u64)ctx->data, *end = (u8 *)(u64)ctx->data_end;
	u32 zero = 0;
	struct config *config = map_lookup(&bench_config, &zero);
	if (!config || data + 42 > end)
		return 2;
	if (data[12] != 8 || data[13] != 0 || data[23] != 17)
		return 2;
	config->packets++;
	return 1;
}
#endif
#ifdef BENCH_SKB_SINK
static long (*load_bytes)(struct __sk_buff *skb, u32 offset, void *to, u32 length) = (void *)26;
SEC("program") int bench(struct __sk_buff *skb)
{
	u8 head[24];
	u32 zero = 0;
	struct config *config = map_lookup(&bench_config, &zero);
	if (!config || load_bytes(skb, 0, head, 24) != 0)
		return -1;
	if (head[12] != 8 || head[13] != 0 || head[23] != 17)
		return -1;
	config->packets++;
	return 2;
}
#endif
#ifdef BENCH_ECHO
struct skb {
	u32 len, pkt_type, mark, queue_mapping, protocol, vlan_present, vlan_tci, vlan_proto, priority, ingress_ifindex,
		ifindex, tc_index, cb[5], hash, tc_classid, data, data_end;
};
static long (*redirect)(u32 ifindex, u64 flags) = (void *)23;
SEC("program") int bench(struct skb *skb)
{
	u8 *data = (u8 *)(u64)skb->data, *end = (u8 *)(u64)skb->data_end;
	u32 zero = 0;
	struct config *config = map_lookup(&bench_config, &zero);
	if (!config || data + 42 > end)
		return -1;
	if (data[12] != 8 || data[13] != 0 || data[23] != 17)
		return -1;
	for (int i = 0; i < 3; i++) {
		u16 *a = (u16 *)data + i, t = *a;
		*a = *((u16 *)data + 3 + i);
		*((u16 *)data + 3 + i) = t;
	}
	u32 address = *(u32 *)(data + 26);
	*(u32 *)(data + 26) = *(u32 *)(data + 30);
	*(u32 *)(data + 30) = address;
	u16 port = *(u16 *)(data + 34);
	*(u16 *)(data + 34) = *(u16 *)(data + 36);
	*(u16 *)(data + 36) = port;
	config->packets++;
	return redirect(skb->ifindex, 0);
}
#endif
char bench_license[] SEC("license") = "Apache-2.0";
