/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * soak NAME device|user PATH TAP|- FAR [packed] [memfd] - a guest that moves
 * frames both ways until SIGTERM, whatever happens to its device.
 *
 *   device   PATH is a character device: calls never fail, rings never stop
 *   user     PATH is a vhost-user socket: when nothing comes for a while it
 *            connects anew
 *   TAP      device: the backend, a tap that is made; - has the program make
 * one FAR      interface at whose far side frames come out, and go in; - is the
 * tap
 *
 * Frames are this guest's own, and numbered. Others pass on the same wire, and
 * those of a guest that was here before: they are not looked at. No frame of
 * its own comes twice or late or damaged; lost ones are not counted.
 *
 * It may be killed and stopped itself. Fails if nothing comes for a minute.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "die.h"
#include "vmm.h"
#include "vmm_net.h"

#define PATIENCE_MS 60000
/* of a vhost-user frontend, before it connects anew; so often without a frame
 */
#define SILENCE_MS 3000
#define CONNECTIONS 20
#define ATTEMPTS 1200
/* So long between two turns: we stood still ourselves. */
#define AWAY_MS 500
#define BUF 2048
#define TX_BUFS 8
#define BURST 4

enum way { UP, DOWN }; /* from the guest, and to it */

struct frame {
	uint8_t eth[VMM_ETH_HLEN];
	uint16_t way;
	uint32_t guest, number;
	uint8_t rest[1484];
} __attribute__((packed));

static struct {
	const char *name;
	struct vmm_config config;
	bool user;
	int tap, far;
	struct vmm *v;
	uint64_t tx_free[TX_BUFS];
	unsigned int tx_nfree;
	uint32_t guest;            /* new with each connection */
	uint32_t sent[2], next[2]; /* no number below the next may come */
	uint64_t came[2];
	int64_t turn_ms, came_ms[2];
	unsigned int connections;
} s = { .tap = -1 };

static volatile sig_atomic_t over;

static void on_term(int number)
{
	(void)number;
	over = 1;
}

/* ---- frames ---- */

static size_t make(struct frame *f, enum way way)
{
	uint32_t number = s.sent[way]++;
	size_t rest = number * 37 % sizeof(f->rest);

	memset(f->eth, 0xff, 6);
	memcpy(f->eth + 6, "\x02soak", 6);
	f->eth[11] = (uint8_t)way;
	f->eth[12] = VMM_ETHERTYPE >> 8;
	f->eth[13] = VMM_ETHERTYPE & 0xff;
	f->way = (uint16_t)way;
	f->guest = s.guest;
	f->number = number;
	memset(f->rest, (int)(number & 0xff), rest);
	rest += offsetof(struct frame, rest);
	return rest < 60 ? 60 : rest;
}

static void came(const struct frame *f, size_t len, enum way way)
{
	if (len < 60 || f->guest != s.guest || f->way != way)
		return;
	if (f->number < s.next[way] || f->number >= s.sent[way])
		die(0, "%s: frame %u %s, not one of %u to %u", s.name,
		    f->number, way == UP ? "from the guest" : "to the guest",
		    s.next[way], s.sent[way]);
	for (size_t i = 0; i < f->number * 37 % sizeof(f->rest); i++)
		if (f->rest[i] != (uint8_t)f->number)
			die(0, "%s: frame %u is damaged", s.name, f->number);
	s.next[way] = f->number + 1;
	s.came[way]++;
	s.came_ms[way] = s.turn_ms;
}

/* ---- rings ---- */

static struct vmm_used reap(struct vmm_ring *r)
{
	struct vmm_used used;

	if (vmm_ring_reap(r, &used, 1) != 1)
		die(0, "%s: a used element of no chain of ours", s.name);
	return used;
}

static void offer(uint64_t gpa)
{
	const struct vmm_seg seg = { gpa, BUF, true };

	must(vmm_ring_add(&s.v->q[VMM_RX].ring, &seg, 1, (void *)gpa),
	     "a buffer");
}

static void move_rx(void)
{
	struct vmm_ring *r = &s.v->q[VMM_RX].ring;

	while (vmm_ring_pending(r)) {
		struct vmm_used used = reap(r);
		uint64_t gpa = (uintptr_t)used.token;
		struct frame f;

		if (used.len > BUF)
			die(0, "%s: %u bytes in a buffer", s.name, used.len);
		if (used.len > s.v->hdr_len &&
		    used.len <= s.v->hdr_len + sizeof(f)) {
			memcpy(&f,
			       (uint8_t *)vmm_mem_ptr(&s.v->mem, gpa) +
				       s.v->hdr_len,
			       used.len - s.v->hdr_len);
			came(&f, used.len - s.v->hdr_len, DOWN);
		}
		offer(gpa);
	}
	vmm_publish_kick(s.v, VMM_RX);
}

static void move_tx(void)
{
	struct vmm_ring *r = &s.v->q[VMM_TX].ring;

	while (vmm_ring_pending(r))
		s.tx_free[s.tx_nfree++] = (uintptr_t)reap(r).token;
	for (int i = 0; i < BURST && s.tx_nfree; i++) {
		uint64_t gpa = s.tx_free[--s.tx_nfree];
		uint8_t *at = vmm_mem_ptr(&s.v->mem, gpa);
		struct vmm_seg seg = { gpa, s.v->hdr_len, false };
		struct frame f;
		size_t len = make(&f, UP);

		memset(at, 0, s.v->hdr_len);
		memcpy(at + s.v->hdr_len, &f, len);
		seg.len += (uint32_t)len;
		must(vmm_ring_add(r, &seg, 1, (void *)gpa), "a frame");
	}
	vmm_publish_kick(s.v, VMM_TX);
}

static void move_far(void)
{
	struct frame f;
	ssize_t n;

	while ((n = recv(s.far, &f, sizeof(f), MSG_DONTWAIT)) > 0)
		came(&f, (size_t)n, UP);
	for (int i = 0; i < BURST; i++)
		if (send(s.far, &f, make(&f, DOWN), MSG_DONTWAIT) < 0)
			break;
}

/* ---- a connection ---- */

static int begin(void)
{
	int ret = vmm_new(&s.config, &s.v);

	if (ret < 0)
		return ret;
	s.tx_nfree = 0;
	while (s.tx_nfree < TX_BUFS)
		s.tx_free[s.tx_nfree++] = vmm_mem_alloc(&s.v->mem, BUF, 64);
	for (unsigned int i = 0; i < s.v->q[VMM_RX].ring.num; i++)
		offer(vmm_mem_alloc(&s.v->mem, BUF, 64));
	vmm_ring_publish(&s.v->q[VMM_RX].ring);
	memset(s.sent, 0, sizeof(s.sent));
	memset(s.next, 0, sizeof(s.next));
	must(getrandom(&s.guest, sizeof(s.guest), 0) < 0 ? -errno : 0,
	     "getrandom");
	ret = vmm_start(s.v, s.user ? 0 : s.tap);
	if (ret < 0) {
		vmm_free(s.v);
		s.v = NULL;
		return ret;
	}
	vmm_kick(s.v, VMM_RX);
	s.connections++;
	return 0;
}

/* A socket's backend may be away, or go away meanwhile. */
static void connect_anew(void)
{
	int ret;

	vmm_free(s.v);
	s.v = NULL;
	for (int i = 0; (ret = begin()) < 0 && !over; i++) {
		if (!s.user || i == ATTEMPTS)
			die(ret, "%s: start", s.name);
		usleep(50000);
	}
	s.turn_ms = s.came_ms[UP] = s.came_ms[DOWN] = vmm_now_ms();
}

/* How long nothing has come one way. */
static int64_t silence(void)
{
	int64_t now = vmm_now_ms();

	for (int way = UP; now - s.turn_ms > AWAY_MS && way <= DOWN; way++)
		s.came_ms[way] += now - s.turn_ms;
	s.turn_ms = now;
	return now - (s.came_ms[UP] < s.came_ms[DOWN] ? s.came_ms[UP]
						      : s.came_ms[DOWN]);
}

/* @connections: when a frame came last */
static void turn(unsigned int connections)
{
	struct pollfd far = { s.far, POLLIN, 0 };
	int64_t silent = silence();

	if (silent > PATIENCE_MS || s.connections - connections > CONNECTIONS)
		die(0,
		    "%s: nothing comes: %llu frames from the guest, %llu to it",
		    s.name, (unsigned long long)s.came[UP],
		    (unsigned long long)s.came[DOWN]);
	if (s.user && silent > SILENCE_MS)
		connect_anew();
	if (!s.v)
		return;
	move_rx();
	move_tx();
	move_far();
	poll(&far, 1, 1);
	usleep(2000);
}

/* Until a frame has come each way, or it is over; then from there again. */
static void run(void)
{
	while (!over) {
		uint64_t up = s.came[UP], down = s.came[DOWN];
		unsigned int connections = s.connections;

		while (!over && (s.came[UP] == up || s.came[DOWN] == down))
			turn(connections);
	}
}

int main(int argc, char **argv)
{
	struct vmm_tap_config tap = { .hdr_len = 12 };
	char ifname[IFNAMSIZ];
	const char *far;

	if (argc < 6)
		die(0, "NAME device|user PATH TAP|- FAR [packed] [memfd]");
	signal(SIGTERM, on_term);
	s.name = argv[1];
	s.user = strcmp(argv[2], "user") == 0;
	s.config = (struct vmm_config){
		.transport = s.user ? VMM_USER : VMM_KERNEL,
		.path = s.user ? NULL : argv[3],
		.socket = s.user ? argv[3] : NULL,
		.features = VMM_BIT(VIRTIO_F_VERSION_1) |
			    VMM_BIT(VIRTIO_RING_F_EVENT_IDX),
	};
	for (int i = 6; i < argc; i++) {
		if (strcmp(argv[i], "packed") == 0)
			s.config.features |= VMM_BIT(VIRTIO_F_RING_PACKED);
		else if (strcmp(argv[i], "memfd") == 0)
			s.config.mem_kind = VMM_MEM_MEMFD;
		else
			die(0, "what is %s?", argv[i]);
	}
	far = argv[5];
	if (!s.user) {
		tap.ifname = strcmp(argv[4], "-") == 0 ? NULL : argv[4];
		s.tap = must(vmm_tap_open(&tap, ifname), "tap");
		far = strcmp(far, "-") == 0 ? ifname : far;
	}
	s.far = must(vmm_packet_open(far, VMM_ETHERTYPE, false), far);
	connect_anew();
	run();
	vmm_free(s.v);
	printf("%s: %u connections, %llu frames from the guest, %llu to it\n",
	       s.name, s.connections, (unsigned long long)s.came[UP],
	       (unsigned long long)s.came[DOWN]);
	return 0;
}
