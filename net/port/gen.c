/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gen.c generates traffic, and checks the frames that come back.
 *
 * Frame n of a queue pair is number n / flows of flow n % flows. Behind the UDP
 * header it has a label, which names pair, flow and number, and bytes that
 * follow from the number. The UDP checksum is 0, none.
 *
 * The rate is a token bucket, with one token at the first call: frames that
 * were not received in time are generated later, but not more than BURST_NS
 * worth of them.
 */
#include "gen.h"

#include <endian.h>
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>

#include <linux/if_ether.h>

#include "bytes.h"
#include "clock.h"
#include "log.h"
#include "mutex.h"
#include "portutil.h"
#include "ratelimit.h"

#define MAGIC 0x7576676e /* "uvgn" */
#define MACS_LEN ((size_t)2 * ETH_ALEN)
#define TAG_LEN 4
#define BURST_NS (NS_PER_S / 10)
#define PAUSE_NS 50000 /* least time between two readings of the clock */
#define WINDOW 64
/* RFC 2544: addresses for benchmarks */
#define IP_SRC 0xc6120001
#define IP_DST 0xc6120002
#define PORT_SRC 1024
#define PORT_DST 9

/* Identifies a frame; big-endian. */
struct label {
	uint32_t magic;
	uint16_t pair, flow;
	uint64_t seq;
} __attribute__((packed));

struct gen_headers {
	struct iphdr ip;
	struct udphdr udp;
	struct label label;
} __attribute__((packed));

_Static_assert(ETH_HLEN + sizeof(struct gen_headers) <= GEN_LEN_MIN,
	       "shortest");

/**
 * struct flow_seen - numbers that were seen of a flow
 * @next: the highest number seen, plus 1
 * @window: bit i: number @next - 1 - i was seen
 */
struct flow_seen {
	uint64_t next, window;
};

/**
 * struct gen - the generator; its queue pairs share it
 * @seen, @flow: under @lock; flows of pair 0, of pair 1, ...
 */
struct gen {
	struct gen_config c;
	unsigned int pairs;
	struct mutex lock;
	struct gen_seen seen;
	struct flow_seen flow[];
};

/**
 * struct gen_port - a port
 * @made:  frames generated
 * @pace:  rate of generating; all 0 before the first call
 * @buf:   one frame, generated or to be checked
 */
struct gen_port {
	struct netport port;
	struct gen *g;
	unsigned int pair;
	uint64_t made;
	struct ratelimit pace;
	uint8_t buf[TAG_LEN + GEN_LEN_MAX];
};

static struct gen_port *to_gen_port(struct netport *port)
{
	return container_of(port, struct gen_port, port);
}

/* One step of splitmix64. */
static uint64_t splitmix64(uint64_t x)
{
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

/* @len bytes of the payload of frame @seq, from offset @at on. */
static void fill(uint8_t *to, size_t at, size_t len, enum gen_payload how,
		 uint64_t seq)
{
	const uint64_t odd = UINT64_C(0x9e3779b97f4a7c15);

	if (how == GEN_ZERO) {
		memset(to, 0, len);
		return;
	}
	for (size_t i = 0; i < len; i += sizeof(uint64_t)) {
		uint64_t word = how == GEN_RANDOM
					? splitmix64(seq + (at + i) * odd)
					: seq + at + i;

		word = htole64(word);
		memcpy(to + i, &word, MIN(len - i, sizeof(word)));
	}
}

/* ---- generating ---- */

static uint16_t ip_checksum(struct iphdr ip)
{
	uint16_t half[sizeof(ip) / 2];
	uint32_t sum = 0;

	memcpy(half, &ip, sizeof(half));
	for (size_t i = 0; i < ARRAY_SIZE(half); i++)
		sum += half[i];
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~(sum + (sum >> 16));
}

static size_t link_header(const struct gen_config *c, uint8_t *to)
{
	uint16_t type = htobe16(ETH_P_IP);
	size_t at = MACS_LEN;

	memcpy(to, c->dst, ETH_ALEN);
	memcpy(to + ETH_ALEN, c->src, ETH_ALEN);
	if (c->tag) {
		uint16_t tag[2] = { htobe16(ETH_P_8021Q),
				    htobe16((uint16_t)c->tag) };

		memcpy(to + at, tag, sizeof(tag));
		at += sizeof(tag);
	}
	memcpy(to + at, &type, sizeof(type));
	return at + sizeof(type);
}

/* Writes frame @n to @e->buf. Return: its length. */
static size_t generate(struct gen_port *e, uint64_t n)
{
	const struct gen_config *c = &e->g->c;
	unsigned int flow = (unsigned int)(n % c->flows);
	uint16_t ip_len = (uint16_t)(c->len - ETH_HLEN);
	uint64_t seq = n / c->flows;
	struct gen_headers h = {
		.ip = {
			.version = 4,
			.ihl = 5,
			.tot_len = htobe16(ip_len),
			.ttl = 64,
			.protocol = IPPROTO_UDP,
			.saddr = htobe32(IP_SRC),
			.daddr = htobe32(IP_DST),
		},
		.udp = {
			.source = htobe16((uint16_t)(PORT_SRC + flow)),
			.dest = htobe16(PORT_DST),
			.len = htobe16((uint16_t)(ip_len - sizeof(h.ip))),
		},
		.label = {
			.magic = htobe32(MAGIC),
			.pair = htobe16((uint16_t)e->pair),
			.flow = htobe16((uint16_t)flow),
			.seq = htobe64(seq),
		},
	};
	size_t at = link_header(c, e->buf);

	h.ip.check = ip_checksum(h.ip);
	memcpy(e->buf + at, &h, sizeof(h));
	at += sizeof(h);
	fill(e->buf + at, 0, c->len - ETH_HLEN - sizeof(h), c->payload, seq);
	return c->len + (c->tag ? TAG_LEN : 0);
}

static void wake_in(struct gen_port *e, uint64_t ns)
{
	const struct itimerspec t = {
		.it_value = ns_timespec(ns),
	};

	timerfd_settime(e->port.fd, 0, &t, NULL);
}

/* Return: frames that may be generated now; arms the timer if there are none.
 */
static uint64_t due(struct gen_port *e)
{
	const struct gen_config *c = &e->g->c;
	uint64_t now, frames, burst = c->rate * BURST_NS / NS_PER_S + 1;

	if (c->count && e->made == c->count)
		return 0;
	if (!c->rate)
		return c->count ? c->count - e->made : UINT64_MAX;
	now = now_ns();
	if (!e->pace.rate) {
		ratelimit_init(&e->pace, c->rate, NS_PER_S, burst, now);
		ratelimit_spend(&e->pace, burst - 1);
	}
	frames = ratelimit_tokens(&e->pace, now);
	if (!frames) {
		wake_in(e, MAX(NS_PER_S / c->rate, PAUSE_NS));
		return 0;
	}
	return MIN(frames, c->count ? c->count - e->made : UINT64_MAX);
}

static int gen_recv(struct netport *port, struct frame *frames, unsigned int n)
{
	struct gen_port *e = to_gen_port(port);
	uint64_t left = due(e);
	unsigned int i;

	for (i = 0; i < n && left; i++, left--) {
		size_t len = generate(e, e->made++);

		frame_store(&frames[i], port->hdr_len, NULL, e->buf, len);
	}
	if (e->g->c.rate)
		ratelimit_spend(&e->pace, i);
	return i ? (int)i : -EAGAIN;
}

/* ---- checking ---- */

static void count_seq(struct gen_seen *seen, struct flow_seen *f, uint64_t seq)
{
	uint64_t back;

	if (seq >= f->next) {
		uint64_t skipped = seq - f->next;

		f->window = skipped + 1 < WINDOW
				    ? f->window << (skipped + 1) | 1
				    : 1;
		f->next = seq + 1;
		seen->lost += skipped;
		seen->good++;
		return;
	}
	back = f->next - 1 - seq;
	if (back >= WINDOW || f->window & BIT(back)) {
		seen->repeated++;
		return;
	}
	f->window |= BIT(back);
	seen->lost--;
	seen->reordered++;
	seen->good++;
}

/* Offset of the IPv4 header; 0: there is none. */
static size_t network_at(const uint8_t *eth, size_t len)
{
	size_t at = MACS_LEN;
	uint16_t type;

	if (len < GEN_LEN_MIN)
		return 0;
	memcpy(&type, eth + at, sizeof(type));
	if (type == htobe16(ETH_P_8021Q)) {
		at += TAG_LEN;
		memcpy(&type, eth + at, sizeof(type));
	}
	at += sizeof(type);
	return type == htobe16(ETH_P_IP) &&
			       len >= at + sizeof(struct gen_headers)
		       ? at
		       : 0;
}

static void check_frame(struct gen_port *e, const uint8_t *eth, size_t len)
{
	struct gen *g = e->g;
	size_t at = network_at(eth, len), rest;
	unsigned int pair, flow;
	uint8_t want[256];
	struct gen_headers h;

	if (at)
		memcpy(&h, eth + at, sizeof(h));
	if (!at || h.label.magic != htobe32(MAGIC)) {
		g->seen.foreign++;
		return;
	}
	rest = len - at - sizeof(h);
	pair = be16toh(h.label.pair);
	flow = be16toh(h.label.flow);
	if (pair >= g->pairs || flow >= g->c.flows ||
	    be16toh(h.ip.tot_len) != sizeof(h) + rest) {
		g->seen.corrupt++;
		return;
	}
	eth += at + sizeof(h);
	for (size_t i = 0; i < rest; i += sizeof(want)) {
		size_t part = MIN(sizeof(want), rest - i);

		fill(want, i, part, g->c.payload, be64toh(h.label.seq));
		if (memcmp(want, eth + i, part) != 0) {
			g->seen.corrupt++;
			return;
		}
	}
	count_seq(&g->seen, &g->flow[pair * g->c.flows + flow],
		  be64toh(h.label.seq));
}

static int gen_send(struct netport *port, const struct frame *frames,
		    unsigned int n)
{
	struct gen_port *e = to_gen_port(port);

	mutex_lock(&e->g->lock);
	for (unsigned int i = 0; i < n; i++)
		check_frame(e, e->buf,
			    frame_load(&frames[i], port->hdr_len, e->buf,
				       sizeof(e->buf)));
	mutex_unlock(&e->g->lock);
	return n ? (int)n : -EAGAIN;
}

/* ---- both ---- */

static const struct netport_ops ops = {
	.name = "gen",
	.send = gen_send,
	.recv = gen_recv,
	.close = port_free,
};

static struct gen_port *gen_port_new(struct gen *g, unsigned int pair)
{
	struct gen_port *e = port_new(sizeof(*e), &ops, -1);

	if (e) {
		e->g = g;
		e->pair = pair;
	}
	return e;
}

int gen_open(struct gen *g, unsigned int pair, struct netport **rx,
	     struct netport **tx)
{
	struct gen_port *from = gen_port_new(g, pair),
			*to = gen_port_new(g, pair);
	int ret = -ENOMEM;

	if (!from || !to)
		goto err;
	if (g->c.rate) {
		from->port.fd = timerfd_create(CLOCK_MONOTONIC,
					       TFD_CLOEXEC | TFD_NONBLOCK);
		if (from->port.fd < 0) {
			ret = -errno;
			goto err;
		}
	}
	*rx = &from->port;
	*tx = &to->port;
	return 0;
err:
	free(from);
	free(to);
	return ret;
}

int gen_new(const struct gen_config *config, unsigned int pairs,
	    struct gen **out)
{
	struct gen *g = calloc(1, sizeof(*g) + (size_t)pairs * config->flows *
						       sizeof(g->flow[0]));

	if (!g)
		return -ENOMEM;
	mutex_init(&g->lock);
	g->c = *config;
	g->pairs = pairs;
	*out = g;
	return 0;
}

void gen_read(struct gen *g, struct gen_seen *out)
{
	mutex_lock(&g->lock);
	*out = g->seen;
	mutex_unlock(&g->lock);
}

void gen_free(struct gen *g)
{
	static const struct log_tag tag = { "gen" };
	struct gen_seen s;

	gen_read(g, &s);
	log_info(&tag,
		 "received %llu frames: %llu lost, %llu reordered, %llu "
		 "repeated, %llu corrupt, %llu of others",
		 (unsigned long long)s.good, (unsigned long long)s.lost,
		 (unsigned long long)s.reordered,
		 (unsigned long long)s.repeated, (unsigned long long)s.corrupt,
		 (unsigned long long)s.foreign);
	mutex_destroy(&g->lock);
	free(g);
}
