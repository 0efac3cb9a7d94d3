/* SPDX-License-Identifier: BSD-3-Clause */
#include "guest.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/if_ether.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "bench.h"
#include "netframe.h"
#include "vmm.h"
#include "vmm_net.h"

#define HDR sizeof(struct virtio_net_hdr_mrg_rxbuf)
#define LINE 64 /* of the cache */
#define WAIT_MS 20000
#define BEGIN_NS UINT64_C(1000000)
#define PATIENCE_NS UINT64_C(20000000000)
#define GSO_PAYLOAD 61440
#define GSO_SIZE 1448
#define BATCH 64
#define PARTIAL_NS UINT64_C(20000)
#define PAUSES 16
/* Bytes of a buffer, and how many frames are sent at a time. */
#define ROOM 2048
#define GSO_ROOM (64 * 1024)
#define GSO_NUM 16
#define GSO_RX_ROOM 4096
#define FEATURES (VMM_BIT(VIRTIO_F_VERSION_1) | VMM_BIT(VIRTIO_NET_F_MRG_RXBUF))
#define OFFLOADS                                                        \
	(VMM_BIT(VIRTIO_NET_F_CSUM) | VMM_BIT(VIRTIO_NET_F_HOST_TSO4) | \
	 VMM_BIT(VIRTIO_NET_F_GUEST_CSUM) | VMM_BIT(VIRTIO_NET_F_GUEST_TSO4))
#define DRIVER_OK                                               \
	(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | \
	 VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK)
#define PACKED_AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define PACKED_USED (1u << VRING_PACKED_DESC_F_USED)

/**
 * struct queue - the driver's half of a ring
 * @ring:   its memory; the state in it is not used
 * @buf, @gpa: of buffer 0
 * @room:   bytes of a buffer
 * @nbuf:   buffers; descriptor i has buffer i % @nbuf
 * @batch:  so many are waited for before any is looked at
 * @len:    bytes that a descriptor says
 * @avail:  descriptors posted so far
 * @known:  split: of these, given back by the device at the last look
 * @used:   and looked at
 */
struct queue {
	struct vmm_ring *ring;
	uint8_t *buf;
	uint64_t gpa;
	uint32_t room, len;
	unsigned int nbuf, batch;
	uint64_t avail, known, used;
	bool write;
};

/**
 * struct guest - see the header
 * @head:    how a frame begins: virtio_net_hdr and MAC addresses
 * @rest:    buffers that are to come of a frame in several
 * @got:     bytes that have come of it
 * @seen:    keeps the loads
 */
struct guest {
	struct vmm *v;
	struct queue q[VMM_QUEUES];
	uint8_t head[HDR + 2 * ETH_ALEN];
	unsigned int rest, got;
	uint32_t seen;
};

/* ---- rings ---- */

static struct vring_packed_desc *packed_desc(const struct queue *q, uint64_t at)
{
	struct vring_packed_desc *desc = (void *)q->ring->desc;

	return &desc[at % GUEST_RING];
}

/* In laps 0, 2, ... the wrap counter is 1. */
static bool wrap(uint64_t at)
{
	return !(at / GUEST_RING & 1);
}

static void show_packed(struct queue *q, unsigned int n)
{
	uint16_t first = 0;

	for (unsigned int i = n; i--;) {
		uint64_t at = q->avail + i;
		struct vring_packed_desc *d = packed_desc(q, at);
		unsigned int slot = at % GUEST_RING;
		unsigned int flags = (wrap(at) ? PACKED_AVAIL : PACKED_USED) |
				     (q->write ? VRING_DESC_F_WRITE : 0);

		d->addr =
			htole64(q->gpa + (uint64_t)(slot % q->nbuf) * q->room);
		d->len = htole32(q->len);
		d->id = htole16((uint16_t)slot);
		if (i)
			d->flags = htole16((uint16_t)flags);
		else
			first = (uint16_t)flags;
	}
	/* The device looks for the first: it is shown when the others are. */
	__atomic_store_n(&packed_desc(q, q->avail)->flags, htole16(first),
			 __ATOMIC_RELEASE);
	q->avail += n;
}

static void show_split(struct queue *q, unsigned int n)
{
	q->avail += n;
	__atomic_store_n(&q->ring->avail->idx, htole16((uint16_t)q->avail),
			 __ATOMIC_RELEASE);
}

static void post(struct guest *g, unsigned int qi, unsigned int n)
{
	struct queue *q = &g->q[qi];
	uint16_t flags, off;

	if (!n)
		return;
	if (q->ring->packed)
		show_packed(q, n);
	else
		show_split(q, n);
	/* Pairs with the device's barrier between asking for kicks and its last
	 * look at the ring. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	flags = vmm_ring_used_flags(q->ring);
	off = q->ring->packed ? VRING_PACKED_EVENT_FLAG_DISABLE
			      : VRING_USED_F_NO_NOTIFY;
	if (flags != off)
		vmm_kick(g->v, qi);
}

/* Descriptors of a split ring that were given back and not looked at yet. */
static int known_split(struct queue *q)
{
	uint16_t more =
		(uint16_t)(vmm_ring_used_idx(q->ring) - (uint16_t)q->known);

	if (more > q->avail - q->known)
		return -EPROTO;
	q->known += more;
	return (int)(q->known - q->used);
}

/* The next descriptor of a split ring that was given back. */
static int next_split(struct queue *q, uint32_t *id, uint32_t *len)
{
	const struct vring_used_elem *e;

	if (q->used == q->known) {
		int known = known_split(q);

		if (known <= 0)
			return known;
	}
	e = &q->ring->used->ring[q->used % GUEST_RING];
	*id = le32toh(e->id);
	*len = le32toh(e->len);
	return 1;
}

static bool is_used(const struct queue *q, uint64_t at, unsigned int flags)
{
	flags &= PACKED_AVAIL | PACKED_USED;
	return at < q->avail &&
	       flags == (wrap(at) ? PACKED_AVAIL | PACKED_USED : 0);
}

static int next_packed(const struct queue *q, uint32_t *id, uint32_t *len)
{
	const struct vring_packed_desc *d = packed_desc(q, q->used);
	uint64_t words = __atomic_load_n(
		(const uint64_t *)(const void *)&d->len, __ATOMIC_ACQUIRE);
	struct vring_packed_desc used;

	memcpy(&used.len, &words, sizeof(words));
	*id = le16toh(used.id);
	*len = le32toh(used.len);
	return is_used(q, q->used, le16toh(used.flags));
}

/* 1: the device has given a whole batch back; 0: not yet; -EPROTO. Touches one
 * cache line of the ring. */
static int has_batch(struct queue *q)
{
	uint64_t last = q->used + q->batch - 1;
	int known;

	if (q->ring->packed)
		return is_used(
			q, last,
			le16toh(__atomic_load_n(&packed_desc(q, last)->flags,
						__ATOMIC_ACQUIRE)));
	known = known_split(q);
	return known < 0 ? known : known >= (int)q->batch;
}

/* Length of the next buffer that was given back: 1, 0 if there is none, -EPROTO
 * if it is not the next that was posted. */
static int next_used(struct queue *q, uint32_t *len)
{
	uint32_t id;
	int ret = q->ring->packed ? next_packed(q, &id, len)
				  : next_split(q, &id, len);

	if (ret > 0 && (id != q->used % GUEST_RING || *len > q->room))
		return -EPROTO;
	return ret;
}

static uint8_t *buffer(const struct queue *q, uint64_t at)
{
	return q->buf + (size_t)(at % GUEST_RING % q->nbuf) * q->room;
}

/* ---- frames ---- */

/* A guest makes its frames anew. What is written behind the first line is
 * payload, of TCP too. */
static void write_frame(const struct guest *g, struct queue *q)
{
	uint8_t *p = buffer(q, q->used);
	uint32_t word = (uint32_t)q->used;

	memcpy(p, g->head, sizeof(g->head));
	for (size_t i = LINE + 8; i + sizeof(word) <= q->len; i += LINE)
		memcpy(p + i, &word, sizeof(word));
}

/* 1: a frame is complete; 0: not yet; -EBADMSG: it is no frame of a guest here,
 * all of which have one length. */
static int read_frame(struct guest *g, const struct queue *q, uint32_t len)
{
	const uint8_t *p = buffer(q, q->used);
	uint16_t buffers;

	if (!g->rest) {
		memcpy(&buffers, p + HDR - 2, sizeof(buffers));
		g->rest = buffers ? le16toh(buffers) : 1;
		g->got = 0;
	}
	g->rest--;
	g->got += len;
	for (size_t i = 0; i < len; i += LINE)
		g->seen += *(const volatile uint8_t *)(p + i);
	if (g->rest)
		return 0;
	return g->got == g->q[VMM_TX].len ? 1 : -EBADMSG;
}

/* Looks at the batch that the device has given back (with @partial, at less
 * too) and posts the frames that it has not. How many, or -errno. */
static int send_frames(struct guest *g, bool partial)
{
	struct queue *q = &g->q[VMM_TX];
	unsigned int n = 0;
	uint32_t len;
	int ret = partial ? 1 : has_batch(q);

	while (ret > 0 && n < BATCH && (ret = next_used(q, &len)) > 0) {
		write_frame(g, q);
		q->used++;
		n++;
	}
	if (ret < 0)
		return ret;
	post(g, VMM_TX, q->nbuf - (unsigned int)(q->avail - q->used));
	return (int)n;
}

/* Likewise of what came. How many buffers (a frame may take several), -errno.
 */
static int receive_frames(struct guest *g, bool partial, unsigned int *frames)
{
	struct queue *q = &g->q[VMM_RX];
	unsigned int n = 0;
	uint32_t len;
	int ret = partial ? 1 : has_batch(q);

	*frames = 0;
	while (ret > 0 && n < BATCH && (ret = next_used(q, &len)) > 0) {
		ret = read_frame(g, q, len);
		if (ret < 0)
			break;
		*frames += (unsigned int)ret;
		q->used++;
		n++;
	}
	if (ret < 0)
		return ret;
	post(g, VMM_RX, n);
	return (int)n;
}

int guest_hello(struct guest *g)
{
	struct queue *q = &g->q[VMM_TX];
	int64_t end = vmm_now_ms() + WAIT_MS;
	uint32_t len;
	int ret;

	post(g, VMM_TX, 1);
	while ((ret = next_used(q, &len)) == 0 && vmm_now_ms() < end)
		usleep(100);
	if (ret > 0)
		q->used++;
	return ret > 0 ? 0 : ret < 0 ? ret : -ETIMEDOUT;
}

/* ---- a guest ---- */

unsigned int guest_frame_bytes(const struct guest *g)
{
	return g->q[VMM_TX].len - (unsigned int)HDR;
}

/* Returns its length, virtio_net_hdr included. */
static uint32_t make_frame(const struct guest_config *c, uint8_t *p)
{
	const struct netframe_order gso = { .payload = GSO_PAYLOAD,
					    .gso_type =
						    VIRTIO_NET_HDR_GSO_TCPV4,
					    .gso_size = GSO_SIZE };
	const uint8_t macs[2 * ETH_ALEN] = { 2, 0, 0, 0, 0, c->to,
					     2, 0, 0, 0, 0, c->number };
	static uint8_t frame[NETFRAME_MAX];
	struct virtio_net_hdr hdr;
	size_t len = c->size;

	memset(p, 0, HDR);
	if (len) {
		memset(p + HDR, c->number, len);
		p[HDR + sizeof(macs)] = VMM_ETHERTYPE >> 8;
		p[HDR + sizeof(macs) + 1] = VMM_ETHERTYPE & 0xff;
	} else {
		len = netframe_make(&gso, &hdr, frame);
		memcpy(p, &hdr, sizeof(hdr));
		memcpy(p + HDR, frame, len);
	}
	memcpy(p + HDR, macs, sizeof(macs));
	return (uint32_t)(HDR + len);
}

static int make_queue(struct guest *g, unsigned int qi, unsigned int nbuf,
		      uint32_t room)
{
	struct queue *q = &g->q[qi];

	*q = (struct queue){ .ring = &g->v->q[qi].ring,
			     .room = room,
			     .len = room,
			     .nbuf = nbuf,
			     .batch = nbuf / 4,
			     .write = qi == VMM_RX };
	q->gpa = vmm_mem_alloc(&g->v->mem, (uint64_t)nbuf * room, 4096);
	if (!q->gpa)
		return -ENOMEM;
	q->buf = vmm_mem_ptr(&g->v->mem, q->gpa);
	memset(q->buf, 0, (size_t)nbuf * room); /* there from the beginning */
	return 0;
}

/* What never changes; packed descriptors are written when they are posted. */
static void make_split(struct queue *q)
{
	for (unsigned int i = 0; i < GUEST_RING && !q->ring->packed; i++) {
		vmm_ring_set_desc(q->ring, &q->ring->desc[i],
				  q->gpa + (uint64_t)(i % q->nbuf) * q->room,
				  q->len, q->write ? VRING_DESC_F_WRITE : 0, 0);
		q->ring->avail->ring[i] = htole16((uint16_t)i);
	}
}

static int make_queues(struct guest *g, const struct guest_config *c)
{
	bool gso = c->size == GUEST_GSO;
	struct queue *tx = &g->q[VMM_TX];
	uint32_t room = c->room ? c->room : ROOM;
	int ret = make_queue(g, VMM_RX, GUEST_RING, gso ? GSO_RX_ROOM : room);

	if (ret == 0)
		ret = make_queue(g, VMM_TX, gso ? GSO_NUM : GUEST_RING,
				 gso ? GSO_ROOM : room);
	if (ret < 0)
		return ret;
	for (unsigned int i = 0; i < tx->nbuf; i++)
		tx->len = make_frame(c, buffer(tx, i));
	memcpy(g->head, tx->buf, sizeof(g->head));
	for (unsigned int qi = 0; qi < VMM_QUEUES; qi++) {
		make_split(&g->q[qi]);
		vmm_ring_calls_off(g->q[qi].ring);
	}
	return 0;
}

static int start(struct guest *g, const struct guest_config *c)
{
	uint64_t features;
	int fd = -1, ret;

	/* A packet socket on no interface belongs to no other guest. */
	if (!c->socket)
		fd = vmm_packet_open(NULL, 0, false);
	ret = c->socket || fd >= 0 ? vmm_start(g->v, c->socket ? 0 : fd) : fd;
	if (fd >= 0)
		close(fd);
	if (ret < 0)
		return ret;
	post(g, VMM_RX, GUEST_RING);
	if (c->socket) /* DPDK begins with that */
		ret = uvh_set_status(g->v->fe, DRIVER_OK);
	/* Its answer says that all messages before it were read. */
	return ret < 0 ? ret : uvh_get_features(g->v->fe, &features);
}

static int try(const struct guest_config *c, struct guest *g)
{
	const struct vmm_config config = {
		.transport = c->socket ? VMM_USER : VMM_KERNEL,
		.socket = c->socket,
		.path = c->device,
		.mem_kind = c->copied ? VMM_MEM_PRIVATE : VMM_MEM_MEMFD,
		.num = { GUEST_RING, GUEST_RING },
		.features = FEATURES | c->features |
			    (c->packed ? VMM_BIT(VIRTIO_F_RING_PACKED) : 0) |
			    (c->socket && c->size == GUEST_GSO ? OFFLOADS : 0),
	};
	int ret = vmm_new(&config, &g->v);

	if (ret == 0)
		ret = make_queues(g, c);
	if (ret == 0)
		ret = start(g, c);
	if (ret < 0) {
		vmm_free(g->v);
		g->v = NULL;
	}
	return ret;
}

int guest_new(const struct guest_config *config, struct guest **out)
{
	int64_t end = vmm_now_ms() + WAIT_MS;
	struct guest *g = calloc(1, sizeof(*g));
	int ret;

	if (!g)
		return -ENOMEM;
	while ((ret = try(config, g)) < 0 && vmm_now_ms() < end)
		usleep(1000);
	if (ret < 0)
		free(g);
	else
		*out = g;
	return ret;
}

void guest_free(struct guest *g)
{
	if (g) {
		vmm_stop(g->v);
		vmm_free(g->v);
	}
	free(g);
}

/* ---- running ---- */

/* Both halves of a way; something happened, nothing, or -errno. */
static int move(struct guest *from, struct guest *to, bool partial,
		struct guest_flow *f)
{
	unsigned int frames = 0;
	int sent = 0, got = 0;

	if (from)
		sent = send_frames(from, partial);
	if (to && sent >= 0)
		got = receive_frames(to, partial, &frames);
	if (sent < 0 || got < 0)
		return sent < 0 ? sent : got;
	f->frames += to ? frames : (unsigned int)sent;
	return sent + got;
}

static int move_all(const struct guest_pair *pairs, unsigned int n,
		    bool partial, struct guest_flow *f)
{
	int work = 0, ret;

	for (unsigned int i = 0; i < n; i++) {
		ret = move(pairs[i].from, pairs[i].to, partial, f);
		if (ret < 0)
			return ret;
		work += ret;
		if (!pairs[i].both)
			continue;
		ret = move(pairs[i].to, pairs[i].from, partial, f);
		if (ret < 0)
			return ret;
		work += ret;
	}
	return work;
}

int guest_run(const struct guest_pair *pairs, unsigned int n, uint64_t ns,
	      struct guest_flow *out)
{
	uint64_t start = bench_now_ns(), now = start, idle = 0;
	struct guest_flow f = { 0 };

	for (unsigned int i = 0;
	     now - start < ns || (!f.frames && now - start < ns + PATIENCE_NS);
	     i++) {
		bool partial = idle && now - idle >= PARTIAL_NS;
		int work = move_all(pairs, n, partial, &f);

		if (work < 0)
			return work;
		/* The clock costs as much as a frame. */
		if ((work ? idle : !idle) || !(i & 15))
			now = bench_now_ns();
		if (work && idle)
			f.idle_ns += now - idle;
		if (work)
			idle = 0;
		else if (!idle)
			idle = now;
		for (unsigned int k = 0; k < PAUSES && idle; k++)
			__builtin_ia32_pause();
	}
	if (idle)
		f.idle_ns += now - idle;
	f.ns = now - start;
	*out = f;
	return f.frames ? 0 : -ETIMEDOUT;
}

int guest_begin(const struct guest_pair *pairs, unsigned int n)
{
	int ret = 0;

	for (unsigned int i = 0; ret == 0 && i < n; i++) {
		int64_t end = vmm_now_ms() + WAIT_MS;
		uint64_t frames = 0;

		/* More than what a switch has flooded from the others. */
		while (ret == 0 && frames < BATCH && vmm_now_ms() < end) {
			struct guest_flow f = { 0 };

			ret = guest_run(&pairs[i], 1, BEGIN_NS, &f);
			frames += f.frames;
		}
		if (ret == 0 && frames < BATCH)
			ret = -ETIMEDOUT;
	}
	return ret;
}

int guest_why(struct bench *b, int err, const char *what)
{
	const char *text = strerror(-err);

	if (err == -EPROTO)
		text = "the backend does not use a ring in order";
	if (err == -EBADMSG)
		text = "a frame came with another length";
	return bench_why(b, err == BENCH_LACKS ? -EIO : err, "%s: %s", what,
			 text);
}
