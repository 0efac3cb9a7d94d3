/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * guestbench DIR [SECONDS [WORD]] - from guest to guest through the network of
 * a daemon (guests.sh starts it). Prints; never judges. With WORD only lines
 * that have it.
 *
 * Guests are the harness's: one thread plays both, fills and reaps their rings
 * without sleeping, and does not look at what it gets. They are sessions of the
 * device (memory copied or mapped) and of the sockets DIR/a and DIR/b. Two are
 * a wire, where the sender waits; in a "switch" DIR/c idles as a third, and
 * frames that find no room are dropped. "gso": TCP of 60 KiB, passed whole.
 *
 *   Mpps, Gbit/s   received, of both directions
 *   ns             processor time of the whole daemon for a frame received,
 *                  polling included: a guest that is slow makes it long
 *
 * $DPDK_PID: a testpmd that forwards between DIR/da and DIR/db (net_vhost). It
 * stands on the same line, in turns with us, and is stopped meanwhile; with
 * 64 and 1500 bytes only, as it has no buffers for more.
 */
#include <endian.h>
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/if_ether.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "clock.h"
#include "netframe.h"
#include "proctime.h"
#include "vmm.h"
#include "vmm_net.h"

#define RING 256
#define REAP 64
#define ROUNDS 3
#define WAIT_MS 5000
#define WARM_S 0.03
#define HDR sizeof(struct virtio_net_hdr_mrg_rxbuf)
#define GSO_PAYLOAD (60 * 1024)
#define GSO_SIZE 1448
/* Room for a frame that is sent, and how many; buffers for those received. */
#define ROOM 2048
#define GSO_ROOM (64 * 1024)
#define GSO_NUM 16
#define GSO_BUF 4096
#define FEATURES                                                         \
	(VMM_BIT(VIRTIO_F_VERSION_1) | VMM_BIT(VIRTIO_NET_F_MRG_RXBUF) | \
	 VMM_BIT(VIRTIO_RING_F_EVENT_IDX) |                              \
	 VMM_BIT(VIRTIO_RING_F_INDIRECT_DESC))
#define DRIVER_OK                                               \
	(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | \
	 VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK)
#define OFFLOADS                                                        \
	(VMM_BIT(VIRTIO_NET_F_CSUM) | VMM_BIT(VIRTIO_NET_F_HOST_TSO4) | \
	 VMM_BIT(VIRTIO_NET_F_GUEST_CSUM) | VMM_BIT(VIRTIO_NET_F_GUEST_TSO4))

enum kind { COPIED, MAPPED, USER };

struct line {
	const char *name;
	enum kind kind[2];
	bool third;
	unsigned int size; /* 0: GSO */
	bool both;
};

struct guest {
	struct vmm *v;
	uint64_t tx, rx; /* gpa of the buffers */
	uint32_t tx_room, rx_room, len;
	unsigned int tx_num;
	unsigned int rest; /* buffers of the frame that has begun to come */
	uint64_t received;
};

/* Two guests before a backend. */
struct pair {
	struct guest g[2];
	struct vmm *third;
	pid_t pid;
	double mpps[ROUNDS], ns[ROUNDS];
};

static const char *dir;
static double seconds = 0.2;
static int packet_fd;

static void die(const char *what, int err)
{
	fprintf(stderr, "guestbench: %s: %s\n", what,
		strerror(err < 0 ? -err : err));
	exit(1);
}

static int must(int ret, const char *what)
{
	if (ret < 0)
		die(what, ret);
	return ret;
}

/* ---- a guest ---- */

static void post_rx(struct guest *g, uintptr_t i)
{
	struct vmm_seg seg = { g->rx + i * g->rx_room, g->rx_room, true };

	must(vmm_ring_add(&g->v->q[VMM_RX].ring, &seg, 1, (void *)i), "RX");
}

static void post_tx(struct guest *g, uintptr_t i)
{
	struct vmm_seg seg = { g->tx + i * g->tx_room, g->len, false };

	must(vmm_ring_add(&g->v->q[VMM_TX].ring, &seg, 1, (void *)i), "TX");
}

/* From guest @number to the other. */
static void make_frame(struct guest *g, uint8_t *p, unsigned int size,
		       uint8_t number)
{
	const struct netframe_order gso = { .payload = GSO_PAYLOAD,
					    .gso_type =
						    VIRTIO_NET_HDR_GSO_TCPV4,
					    .gso_size = GSO_SIZE };
	const uint8_t macs[2 * ETH_ALEN] = { 2, 0, 0, 0, 0, !number,
					     2, 0, 0, 0, 0, number };
	static uint8_t frame[NETFRAME_MAX];
	struct virtio_net_hdr hdr;
	size_t len = size;

	memset(p, 0, HDR);
	if (size) {
		memset(p + HDR, number, size);
		p[HDR + sizeof(macs)] = VMM_ETHERTYPE >> 8;
		p[HDR + sizeof(macs) + 1] = VMM_ETHERTYPE & 0xff;
	} else {
		len = netframe_make(&gso, &hdr, frame);
		memcpy(p, &hdr, sizeof(hdr));
		memcpy(p + HDR, frame, len);
	}
	memcpy(p + HDR, macs, sizeof(macs));
	g->len = (uint32_t)(HDR + len);
}

static void make_buffers(struct guest *g, const struct line *l, uint8_t number)
{
	g->tx_room = l->size ? ROOM : GSO_ROOM;
	g->rx_room = l->size ? ROOM : GSO_BUF;
	g->tx_num = l->size ? RING : GSO_NUM;
	g->tx = vmm_mem_alloc(&g->v->mem, (uint64_t)g->tx_num * g->tx_room,
			      4096);
	g->rx = vmm_mem_alloc(&g->v->mem, (uint64_t)RING * g->rx_room, 4096);
	if (!g->tx || !g->rx)
		die("guest memory", ENOMEM);
	for (unsigned int i = 0; i < g->tx_num; i++)
		make_frame(g,
			   vmm_mem_ptr(&g->v->mem,
				       g->tx + (uint64_t)i * g->tx_room),
			   l->size, number);
	memset(vmm_mem_ptr(&g->v->mem, g->rx), 0,
	       (size_t)RING * g->rx_room); /* there from the beginning */
}

/* The daemon turns away who comes before the last guest has gone. */
static void start_vmm(const struct vmm_config *config, struct vmm **out)
{
	int64_t end = vmm_now_ms() + WAIT_MS;
	int ret;

	for (;;) {
		ret = vmm_new(config, out);
		if (ret == 0) {
			ret = vmm_start(*out, packet_fd);
			if (ret == 0)
				return;
			vmm_free(*out);
		}
		if (vmm_now_ms() >= end)
			die(config->socket ? config->socket : config->path,
			    ret);
		usleep(1000);
	}
}

/* @socket: of the guest if it is of that kind */
static void start_guest(struct guest *g, const struct line *l, uint8_t number,
			const char *socket)
{
	enum kind kind = l->kind[number];
	char path[128];
	struct vmm_config config = {
		.mem_kind = kind == COPIED ? VMM_MEM_PRIVATE : VMM_MEM_MEMFD,
		.num = { RING, RING },
		.features = FEATURES,
	};
	uint64_t features;

	snprintf(path, sizeof(path), "%s/%s", dir, socket);
	if (kind == USER) {
		config.transport = VMM_USER;
		config.socket = path;
		if (!l->size)
			config.features |= OFFLOADS;
	} else {
		config.path = getenv("UVHOST_DEV");
	}
	start_vmm(&config, &g->v);
	make_buffers(g, l, number);
	for (uintptr_t i = 0; i < RING; i++)
		post_rx(g, i);
	vmm_ring_calls_off(&g->v->q[VMM_RX].ring);
	vmm_ring_calls_off(&g->v->q[VMM_TX].ring);
	vmm_ring_publish(&g->v->q[VMM_RX].ring);
	vmm_kick(g->v, VMM_RX);
	if (kind == USER) /* DPDK begins with that */
		must(uvh_set_status(g->v->fe, DRIVER_OK), "status");
	/* Until it has read all messages. */
	must(uvh_get_features(g->v->fe, &features), "features");
}

static void start_third(struct vmm **out)
{
	char path[128];
	const struct vmm_config config = { .transport = VMM_USER,
					   .socket = path,
					   .num = { RING, RING },
					   .features = FEATURES };

	snprintf(path, sizeof(path), "%s/c", dir);
	start_vmm(&config, out);
}

/* ---- frames ---- */

static unsigned int reap(struct guest *g, unsigned int qi,
			 struct vmm_used used[REAP])
{
	int n = vmm_ring_reap(&g->v->q[qi].ring, used, REAP);

	return (unsigned int)must(n, "used ring");
}

static void publish(struct guest *g, unsigned int qi)
{
	vmm_ring_calls_off(&g->v->q[qi].ring);
	vmm_publish_kick(g->v, qi);
}

static void send_some(struct guest *g)
{
	struct vmm_used used[REAP];
	unsigned int n = reap(g, VMM_TX, used);

	for (unsigned int i = 0; i < n; i++)
		post_tx(g, (uintptr_t)used[i].token);
	if (n)
		publish(g, VMM_TX);
}

static void receive_some(struct guest *g)
{
	struct vmm_used used[REAP];
	unsigned int n = reap(g, VMM_RX, used);

	for (unsigned int i = 0; i < n; i++) {
		uintptr_t k = (uintptr_t)used[i].token;
		const uint8_t *p =
			vmm_mem_ptr(&g->v->mem, g->rx + k * g->rx_room);
		uint16_t num_buffers;

		if (!g->rest) {
			memcpy(&num_buffers, p + HDR - 2, 2);
			g->rest = le16toh(num_buffers);
			g->received++;
		}
		g->rest--;
		post_rx(g, k);
	}
	if (n)
		publish(g, VMM_RX);
}

/* Returns when @s have passed. */
static uint64_t flow(struct pair *p, bool both, double s)
{
	uint64_t start = now_ns(), now = start;

	for (unsigned int i = 0; now - start < (uint64_t)(s * 1e9); i++) {
		send_some(&p->g[0]);
		receive_some(&p->g[1]);
		if (both) {
			send_some(&p->g[1]);
			receive_some(&p->g[0]);
		}
		if (!(i & 15))
			now = now_ns();
	}
	return now - start;
}

/* A frame of each, so that both are known; then all of those that send. */
static void begin(struct pair *p, bool both)
{
	for (unsigned int k = 0; k < 2; k++) {
		struct guest *g = &p->g[k];
		struct vmm_used used;

		post_tx(g, 0);
		vmm_publish_kick(g->v, VMM_TX);
		must(vmm_wait_used(g->v, VMM_TX, 1, WAIT_MS), "first frame");
		vmm_ring_reap(&g->v->q[VMM_TX].ring, &used, 1);
	}
	for (unsigned int k = 0; k < 1u + both; k++) {
		for (uintptr_t i = 0; i < p->g[k].tx_num; i++)
			post_tx(&p->g[k], i);
		publish(&p->g[k], VMM_TX);
	}
}

/* ---- lines ---- */

static void open_pair(struct pair *p, const struct line *l, pid_t pid,
		      const char *a, const char *b)
{
	p->pid = pid;
	start_guest(&p->g[0], l, 0, a);
	start_guest(&p->g[1], l, 1, b);
	if (l->third)
		start_third(&p->third);
	begin(p, l->both);
}

static void close_vmm(struct vmm *v)
{
	if (v)
		vmm_stop(v);
	vmm_free(v);
}

static void close_pair(struct pair *p)
{
	close_vmm(p->g[0].v);
	close_vmm(p->g[1].v);
	close_vmm(p->third);
}

static void measure(struct pair *p, const struct line *l, unsigned int round)
{
	uint64_t frames, cpu, ns;

	flow(p, l->both, WARM_S);
	frames = p->g[0].received + p->g[1].received;
	cpu = proctime_ns(p->pid);
	ns = flow(p, l->both, seconds);
	cpu = proctime_ns(p->pid) - cpu;
	frames = p->g[0].received + p->g[1].received - frames;
	p->mpps[round] = (double)frames * 1e3 / (double)ns;
	p->ns[round] = frames ? (double)cpu / (double)frames : INFINITY;
}

static void print_result(struct pair *p)
{
	double mpps = proctime_median(p->mpps, ROUNDS);

	printf("  %7.3f Mpps %6.2f Gbit/s %8.1f ns", mpps,
	       mpps * 8e-3 * (double)(p->g[0].len - HDR),
	       proctime_median(p->ns, ROUNDS));
}

static void dpdk_go(pid_t dpdk, bool go)
{
	if (dpdk > 0)
		kill(dpdk, go ? SIGCONT : SIGSTOP);
}

static void print_line(const struct line *l, pid_t daemon_pid, pid_t dpdk)
{
	struct pair us = { 0 };
	struct pair it = { 0 };
	char size[16];

	if (l->kind[0] != USER || l->kind[1] != USER || !l->size || l->third)
		dpdk = -1;
	open_pair(&us, l, daemon_pid, "a", "b");
	dpdk_go(dpdk, true);
	if (dpdk > 0)
		open_pair(&it, l, dpdk, "da", "db");
	dpdk_go(dpdk, false);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		measure(&us, l, i);
		dpdk_go(dpdk, true);
		if (dpdk > 0)
			measure(&it, l, i);
		dpdk_go(dpdk, false);
	}
	snprintf(size, sizeof(size), l->size ? "%4u B" : "gso", l->size);
	printf("%-24s %-6s %s", l->name, size, l->both ? "<->" : "-->");
	print_result(&us);
	if (dpdk > 0) {
		printf("   DPDK");
		print_result(&it);
	}
	putchar('\n');
	fflush(stdout);
	close_pair(&us);
	dpdk_go(dpdk, true);
	close_pair(&it);
	usleep(dpdk > 0 ? 100000 : 0); /* it sees that they have gone */
	dpdk_go(dpdk, false);
}

static void print_lines(pid_t daemon_pid, pid_t dpdk, const char *word)
{
	static const unsigned int sizes[] = { 64, 1500, 0 };
	static const struct line kinds[] = {
		{ .name = "device-device copied", .kind = { COPIED, COPIED } },
		{ .name = "device-device mapped", .kind = { MAPPED, MAPPED } },
		{ .name = "user-user", .kind = { USER, USER } },
		{ .name = "user-user switch",
		  .kind = { USER, USER },
		  .third = true },
		{ .name = "device-user mapped", .kind = { MAPPED, USER } },
		{ .name = "device-user copied", .kind = { COPIED, USER } },
	};

	for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
		struct line l = kinds[k];

		if (word && !strstr(l.name, word))
			continue;
		for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
			l.size = sizes[s];
			for (int both = 0; both < 2; both++) {
				l.both = both;
				print_line(&l, daemon_pid, dpdk);
			}
		}
	}
}

int main(int argc, char **argv)
{
	const char *dpdk = getenv("DPDK_PID");
	pid_t daemon_pid = proctime_daemon();

	if (argc < 2 || daemon_pid < 0 || !getenv("UVHOST_DEV")) {
		fprintf(stderr, "guestbench: use guests.sh\n");
		return 2;
	}
	dir = argv[1];
	if (argc > 2)
		seconds = strtod(argv[2], NULL);
	/* A backend that shares no tap is a guest of its own. */
	packet_fd = must(vmm_packet_open(NULL, 0, false), "packet socket");
	print_lines(daemon_pid, dpdk ? (pid_t)strtol(dpdk, NULL, 10) : -1,
		    argc > 3 ? argv[3] : NULL);
	return 0;
}
