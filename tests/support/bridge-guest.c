/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bridge-guest [WORD...] NIC TAP - a guest whose network stack is the kernel's:
 * frames go between the rings of a network card that this program drives and a
 * tap in its own network namespace. Whatever runs in that namespace runs "in
 * the guest", with real checksum offload and GSO frames.
 *
 *   NIC   device:PATH    a vhost-net character device
 *         user:PATH      a vhost-user socket on which a backend listens
 *         stream:PATH    no rings: QEMU's -netdev stream, to a listening socket
 *         dgram:OURS:THEIRS   no rings: QEMU's -netdev dgram, two unix sockets
 *   TAP   made, and brought up
 *   WORD  plain          no offloads: the tap finishes what it gives us, and we
 *                        ack none
 *         no-merge       no mergeable receive buffers
 *         packed         packed rings
 *         memfd          guest memory that can be mapped (device:; user:
 * always) vlan=N         frames on the rings have an 802.1Q tag, those of the
 *                        tap do not
 *         backend=IF     device: has the tap IF for a backend; made
 *         mtu=N          of TAP
 *
 * Without rings there are no offloads, as with an emulated e1000: QEMU has
 * finished its frames. Says "ready" when frames can pass. SIGTERM ends it: it
 * prints what has passed, and fails if the tap refused a frame.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_tun.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "bytes.h"
#include "die.h"
#include "vmm.h"
#include "vmm_net.h"

#define TAG 4 /* bytes of an 802.1Q tag */
#define MACS 12
#define ROOM (65536 + 512) /* the longest GSO frame, header and tag */
#define TX_BUFS 64
#define RX_BUF 2048
#define BATCH 64
#define NUM_BUFFERS 10 /* offset in the header */

#define OFFLOADS                                                     \
	(BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_GUEST_CSUM) |     \
	 BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6) | \
	 BIT(VIRTIO_NET_F_HOST_ECN) | BIT(VIRTIO_NET_F_GUEST_TSO4) | \
	 BIT(VIRTIO_NET_F_GUEST_TSO6) | BIT(VIRTIO_NET_F_GUEST_ECN))

enum way { UP, DOWN }; /* from the tap to the network, and back */

/**
 * struct guest - the one there is
 * @hdr_len: bytes of virtio_net_hdr in front of each frame, on rings and tap
 * @vlan:    0: frames pass as they are
 * @rx_len:  bytes of a receive buffer
 * @tx_free: addresses of transmit buffers
 * @in, @in_len: a stream: what has come of the next frames
 */
struct guest {
	int tap, sock, signals;
	bool stream;
	struct sockaddr_un peer;
	struct vmm *v;
	unsigned int hdr_len;
	uint16_t vlan;
	uint32_t rx_len;
	uint64_t tx_free[TX_BUFS];
	unsigned int tx_nfree;
	uint8_t in[4 + ROOM];
	size_t in_len;
	uint64_t frames[2], gso[2], unfinished[2], refused;
};

/** struct words - the command line */
struct words {
	bool plain, no_merge, packed, memfd;
	unsigned int vlan, mtu;
	const char *backend, *nic, *tap;
};

/* ---- frames: header, then Ethernet ---- */

static struct virtio_net_hdr *header(uint8_t *frame)
{
	return (struct virtio_net_hdr *)(void *)frame;
}

static void count(struct guest *g, enum way way, uint8_t *frame)
{
	g->frames[way]++;
	if (!g->hdr_len)
		return;
	g->gso[way] += header(frame)->gso_type != VIRTIO_NET_HDR_GSO_NONE;
	g->unfinished[way] +=
		!!(header(frame)->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM);
}

/* What the header counts from the start of the frame is @by further on. */
static void shift_header(struct guest *g, uint8_t *frame, int by)
{
	struct virtio_net_hdr *h = header(frame);

	if (!g->hdr_len)
		return;
	if (h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		h->csum_start =
			htole16((uint16_t)(le16toh(h->csum_start) + by));
	if (h->gso_type != VIRTIO_NET_HDR_GSO_NONE && h->hdr_len)
		h->hdr_len = htole16((uint16_t)(le16toh(h->hdr_len) + by));
}

/*
 * The next frame of the tap, into @room of ROOM bytes, TAG bytes of which may
 * stay free in front. Its length, or -EAGAIN.
 */
static ssize_t take_up(struct guest *g, uint8_t *room, uint8_t **frame)
{
	const uint16_t tag[2] = { htons(ETH_P_8021Q), htons(g->vlan) };
	ssize_t n = read(g->tap, room + TAG, ROOM - TAG);

	*frame = room + TAG;
	if (n < 0)
		return -errno;
	if (n < (ssize_t)g->hdr_len + ETH_HLEN)
		die(0, "the tap gave %zd bytes", n);
	count(g, UP, *frame);
	if (!g->vlan)
		return n;
	*frame = room;
	memmove(room, room + TAG, g->hdr_len + MACS);
	memcpy(room + g->hdr_len + MACS, tag, sizeof(tag));
	shift_header(g, room, TAG);
	return n + TAG;
}

/* Of a trunk only our VLAN is for us. */
static void give_down(struct guest *g, uint8_t *frame, size_t len)
{
	uint8_t *tag = frame + g->hdr_len + MACS;
	uint16_t word[2] = { 0 };

	if (len < g->hdr_len + ETH_HLEN)
		die(0, "a frame of %zu bytes came", len);
	if (g->vlan) {
		memcpy(word, tag, sizeof(word));
		if (ntohs(word[0]) != ETH_P_8021Q ||
		    (ntohs(word[1]) & 0xfff) != g->vlan)
			return;
		shift_header(g, frame, -TAG);
		memmove(frame + TAG, frame, g->hdr_len + MACS);
		frame += TAG;
		len -= TAG;
	}
	count(g, DOWN, frame);
	if (write(g->tap, frame, len) != (ssize_t)len) {
		if (!g->refused++)
			fprintf(stderr,
				"bridge-guest: the tap refused %zu "
				"bytes: %s\n",
				len, strerror(errno));
	}
}

/* ---- rings ---- */

static void offer(struct guest *g, uint64_t gpa)
{
	struct vmm_seg seg = { gpa, g->rx_len, true };

	must(vmm_ring_add(&g->v->q[VMM_RX].ring, &seg, 1,
			  (void *)(uintptr_t)gpa),
	     "receive buffer");
}

static uint64_t allocate(struct guest *g, uint32_t len)
{
	uint64_t gpa = vmm_mem_alloc(&g->v->mem, len, 64);

	if (!gpa)
		die(-ENOMEM, "guest memory");
	return gpa;
}

/* One frame that the device has used, put together; its length. */
static size_t collect(struct guest *g, uint8_t *frame)
{
	struct vmm_ring *r = &g->v->q[VMM_RX].ring;
	unsigned int left = 1;
	struct vmm_used used;
	size_t len = 0;

	for (unsigned int n = 0; n < left; n++) {
		uint64_t gpa;

		/* all its buffers become visible at once */
		if (vmm_ring_reap(r, &used, 1) != 1)
			die(0, "a frame of %u buffers, %u there", left, n);
		gpa = (uintptr_t)used.token;
		if (used.len > g->rx_len || len + used.len > ROOM)
			die(0, "%u bytes in a buffer of %u", used.len,
			    g->rx_len);
		memcpy(frame + len, vmm_mem_ptr(&g->v->mem, gpa), used.len);
		len += used.len;
		offer(g, gpa);
		if (n == 0 && g->v->features & BIT(VIRTIO_NET_F_MRG_RXBUF))
			left = frame[NUM_BUFFERS] |
			       (unsigned int)frame[NUM_BUFFERS + 1] << 8;
	}
	return len;
}

static unsigned int rings_down(struct guest *g)
{
	static uint8_t frame[ROOM];
	unsigned int n = 0;

	for (; n < BATCH && vmm_ring_pending(&g->v->q[VMM_RX].ring); n++)
		give_down(g, frame, collect(g, frame));
	if (n)
		vmm_publish_kick(g->v, VMM_RX);
	return n;
}

static void reap_sent(struct guest *g)
{
	struct vmm_used used;
	int ret;

	while ((ret = vmm_ring_reap(&g->v->q[VMM_TX].ring, &used, 1)) > 0)
		g->tx_free[g->tx_nfree++] = (uintptr_t)used.token;
	must(ret, "transmit ring");
}

static unsigned int rings_up(struct guest *g)
{
	struct vmm_queue *q = &g->v->q[VMM_TX];
	unsigned int n = 0;

	reap_sent(g);
	for (; n < BATCH && g->tx_nfree; n++) {
		uint64_t gpa = g->tx_free[g->tx_nfree - 1];
		uint8_t *room = vmm_mem_ptr(&g->v->mem, gpa), *frame;
		ssize_t len = take_up(g, room, &frame);
		struct vmm_seg seg = { gpa + (uint64_t)(frame - room),
				       (uint32_t)len, false };

		if (len < 0)
			break;
		must(vmm_ring_add(&q->ring, &seg, 1, (void *)(uintptr_t)gpa),
		     "transmit ring");
		g->tx_nfree--;
	}
	if (n)
		vmm_publish_kick(g->v, VMM_TX);
	return n;
}

static unsigned int move_rings(struct guest *g)
{
	/* before the look at what they announce */
	for (unsigned int qi = 0; qi < VMM_QUEUES; qi++)
		vmm_event_count(g->v->q[qi].call);
	return rings_down(g) + rings_up(g);
}

/* True: something has come meanwhile. */
static bool calls_on(struct guest *g)
{
	bool come = vmm_ring_calls_on(&g->v->q[VMM_RX].ring);

	return vmm_ring_calls_on(&g->v->q[VMM_TX].ring) || come;
}

static unsigned int poll_rings(struct guest *g, struct pollfd *p)
{
	int gone = uvh_event_fd(g->v->fe);

	for (unsigned int qi = 0; qi < VMM_QUEUES; qi++)
		p[qi] = (struct pollfd){ .fd = g->v->q[qi].call,
					 .events = POLLIN };
	p[2] = (struct pollfd){ .fd = gone };
	return 3;
}

static uint64_t features(const struct words *w, uint64_t *wanted)
{
	uint64_t f = BIT(VIRTIO_F_VERSION_1);

	f |= w->no_merge ? 0 : BIT(VIRTIO_NET_F_MRG_RXBUF);
	f |= w->packed ? BIT(VIRTIO_F_RING_PACKED) : 0;
	*wanted = BIT(VIRTIO_RING_F_EVENT_IDX) | (w->plain ? 0 : OFFLOADS);
	return f;
}

static int open_backend(const struct words *w, enum vmm_transport transport)
{
	struct vmm_tap_config c = { .ifname = w->backend };
	char ifname[IFNAMSIZ];

	if (transport == VMM_USER)
		return 0; /* any number but -1 */
	return must(vmm_tap_open(&c, ifname), "backend");
}

static void start_rings(struct guest *g, const struct words *w,
			enum vmm_transport transport, const char *path)
{
	struct vmm_config c = {
		.transport = transport,
		.path = path,
		.socket = path,
		.mem_kind = w->memfd ? VMM_MEM_MEMFD : VMM_MEM_PRIVATE,
		.num = { w->no_merge ? 64 : 256, 256 },
	};

	c.features = features(w, &c.wanted);
	must(vmm_new(&c, &g->v), path);
	g->hdr_len = g->v->hdr_len;
	g->rx_len = w->no_merge ? ROOM : RX_BUF;
	while (g->v->q[VMM_RX].ring.num_free)
		offer(g, allocate(g, g->rx_len));
	while (g->tx_nfree < TX_BUFS)
		g->tx_free[g->tx_nfree++] = allocate(g, ROOM);
	must(vmm_start(g->v, open_backend(w, transport)), path);
	vmm_publish_kick(g->v, VMM_RX);
}

/* ---- QEMU's sockets ---- */

static unsigned int socket_up(struct guest *g)
{
	static uint8_t room[ROOM];
	unsigned int n = 0;
	uint8_t *frame;
	ssize_t len;

	while (n < BATCH && (len = take_up(g, room, &frame)) > 0) {
		uint32_t size = htonl((uint32_t)len);
		struct iovec iov[2] = { { &size, sizeof(size) },
					{ frame, (size_t)len } };
		struct msghdr mh = { .msg_iov = iov, .msg_iovlen = 2 };

		if (!g->stream)
			mh = (struct msghdr){ .msg_name = &g->peer,
					      .msg_namelen = sizeof(g->peer),
					      .msg_iov = iov + 1,
					      .msg_iovlen = 1 };
		/* a peer that is not there loses frames, as with QEMU */
		if (sendmsg(g->sock, &mh, MSG_NOSIGNAL) < 0 && g->stream)
			die(-errno, "stream");
		n++;
	}
	return n;
}

static unsigned int dgram_down(struct guest *g)
{
	unsigned int n = 0;
	ssize_t len;

	while (n < BATCH &&
	       (len = recv(g->sock, g->in, ROOM, MSG_DONTWAIT)) > 0) {
		give_down(g, g->in, (size_t)len);
		n++;
	}
	return n;
}

static unsigned int stream_down(struct guest *g)
{
	ssize_t got = recv(g->sock, g->in + g->in_len,
			   sizeof(g->in) - g->in_len, MSG_DONTWAIT);
	unsigned int n = 0;
	size_t at = 0;
	uint32_t len;

	if (got < 0 && errno == EAGAIN)
		return 0;
	if (got <= 0)
		die(got < 0 ? -errno : -EPIPE, "stream");
	g->in_len += (size_t)got;
	for (; g->in_len - at >= sizeof(len); n++) {
		memcpy(&len, g->in + at, sizeof(len));
		len = ntohl(len);
		if (len > ROOM)
			die(0, "a frame of %u bytes", len);
		if (g->in_len - at < sizeof(len) + len)
			break;
		give_down(g, g->in + at + sizeof(len), len);
		at += sizeof(len) + len;
	}
	g->in_len -= at;
	memmove(g->in, g->in + at, g->in_len);
	return n ? n : 1;
}

static unsigned int move_socket(struct guest *g)
{
	return socket_up(g) + (g->stream ? stream_down(g) : dgram_down(g));
}

static struct sockaddr_un unix_address(const char *path, size_t len)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	if (len >= sizeof(addr.sun_path))
		die(-ENAMETOOLONG, "%s", path);
	memcpy(addr.sun_path, path, len);
	return addr;
}

static void start_socket(struct guest *g, const char *path)
{
	struct sockaddr_un addr;
	size_t len = strcspn(path, ":");

	g->sock = socket(AF_UNIX,
			 (g->stream ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC,
			 0);
	if (g->stream) {
		addr = unix_address(path, strlen(path));
		if (connect(g->sock, (struct sockaddr *)&addr, sizeof(addr)) <
		    0)
			die(-errno, "%s", path);
		return;
	}
	addr = unix_address(path, len);
	g->peer = unix_address(path + len + 1, strlen(path + len + 1));
	if (bind(g->sock, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		die(-errno, "%s", path);
}

/* ---- life ---- */

/* Until a signal comes. */
static void run(struct guest *g)
{
	for (;;) {
		unsigned int moved = g->v ? move_rings(g) : move_socket(g);
		struct pollfd p[5] = { { g->signals, POLLIN, 0 } };
		unsigned int n = 1;

		if (!moved && g->v && calls_on(g))
			moved = 1;
		if (!g->v || g->tx_nfree)
			p[n++] = (struct pollfd){ g->tap, POLLIN, 0 };
		if (g->v)
			n += poll_rings(g, p + n);
		else
			p[n++] = (struct pollfd){ g->sock, POLLIN, 0 };
		if (poll(p, n, moved ? 0 : -1) < 0)
			die(-errno, "poll");
		if (p[0].revents)
			return;
		if (p[n - 1].revents & (POLLHUP | POLLERR))
			die(-EPIPE, "the other end is gone");
	}
}

static int catch_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC);
}

static bool parse_word(struct words *w, const char *word)
{
	char end;

	if (strcmp(word, "plain") == 0)
		w->plain = true;
	else if (strcmp(word, "no-merge") == 0)
		w->no_merge = true;
	else if (strcmp(word, "packed") == 0)
		w->packed = true;
	else if (strcmp(word, "memfd") == 0)
		w->memfd = true;
	else if (strncmp(word, "backend=", 8) == 0)
		w->backend = word + 8;
	else
		return sscanf(word, "vlan=%u%c", &w->vlan, &end) == 1 ||
		       sscanf(word, "mtu=%u%c", &w->mtu, &end) == 1;
	return true;
}

static struct words parse(int argc, char **argv)
{
	struct words w = { 0 };

	for (int i = 1; i < argc - 2; i++)
		if (!parse_word(&w, argv[i]))
			argc = 0;
	if (argc < 3) {
		fprintf(stderr, "usage: bridge-guest [WORD...] NIC TAP\n");
		exit(2);
	}
	w.nic = argv[argc - 2];
	w.tap = argv[argc - 1];
	return w;
}

static void start_nic(struct guest *g, const struct words *w)
{
	const char *colon = strchr(w->nic, ':');

	if (colon && strncmp(w->nic, "device:", 7) == 0) {
		start_rings(g, w, VMM_KERNEL, colon + 1);
	} else if (colon && strncmp(w->nic, "user:", 5) == 0) {
		start_rings(g, w, VMM_USER, colon + 1);
	} else {
		g->stream = strncmp(w->nic, "stream:", 7) == 0;
		if (!g->stream && (strncmp(w->nic, "dgram:", 6) != 0 ||
				   !strchr(colon + 1, ':')))
			die(-EINVAL, "%s", w->nic);
		start_socket(g, colon + 1);
	}
}

int main(int argc, char **argv)
{
	static struct guest g = { .signals = -1 };
	struct words w = parse(argc, argv);
	struct vmm_tap_config tap = { .ifname = w.tap, .mtu = w.mtu };
	char ifname[IFNAMSIZ];

	g.signals = must(catch_signals(), "signals");
	g.vlan = (uint16_t)w.vlan;
	start_nic(&g, &w);
	tap.hdr_len = g.hdr_len ? (int)g.hdr_len : -1;
	if (g.hdr_len && !w.plain)
		tap.offloads =
			TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
	g.tap = must(vmm_tap_open(&tap, ifname), w.tap);
	printf("ready\n");
	fflush(stdout);
	run(&g);
	for (enum way way = UP; way <= DOWN; way++)
		printf("%s: frames %llu gso %llu unfinished %llu\n",
		       way == UP ? "up" : "down",
		       (unsigned long long)g.frames[way],
		       (unsigned long long)g.gso[way],
		       (unsigned long long)g.unfinished[way]);
	printf("refused %llu\n", (unsigned long long)g.refused);
	vmm_free(g.v);
	return g.refused ? 1 : 0;
}
