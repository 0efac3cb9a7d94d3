/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * uplink.c moves frames between a network interface (tap, pcap, ...) and a port
 * of a network, on a worker thread.
 *
 * Each queue has two directions. Inward: a batch is received from the interface
 * and sent into the network. Frames that the network does not accept (a full
 * wire) stay pending, and nothing more is received until they are sent.
 * Outward: frames that tx_direct could not send at once are sent from the rxq.
 *
 * Watches are edge-triggered. A direction with work queues itself again after
 * each batch, so that the queues take turns, also where a port is always ready
 * (fd -1). A deleted tap polls EPOLLERR all the time, which costs nothing this
 * way.
 */
#include "uplink.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "bytes.h"
#include "framering.h"
#include "log.h"
#include "log_limit.h"
#include "offload.h"
#include "tx_direct.h"
#include "worker.h"

/* Frames of a turn, inward and outward. */
#define BATCH 32
#define OUTWARD_TURN 64
/* Batches at the end: more than a frame ring can have. */
#define LAST_BATCHES 1024
#define HDR sizeof(struct virtio_net_hdr_mrg_rxbuf)
#define BUFFER_BYTES (BATCH * (size_t)NETPORT_FRAME_MAX)

/** struct work_watch - a descriptor whose events queue @work */
struct work_watch {
	struct loop_watch watch;
	struct worker *worker;
	struct worker_work *work;
};

enum { RX, TX, NET_TX, NET_RX, WATCHES };

/**
 * struct uplink_queue - a queue
 * @rx, @tx: ports of the interface
 * @net_tx:  port into the network
 * @direct:  through which the network uses @tx
 * @watch:   of @rx, @tx and @net_tx, and of @direct's rxq
 * @buffer:  memory of a batch
 * @pending, @npending: frames received that the network has not accepted
 */
struct uplink_queue {
	struct uplink *uplink;
	struct netport *rx, *tx, *net_tx;
	struct tx_direct *direct;
	struct work_watch watch[WATCHES];
	struct worker_work inward, outward;
	uint8_t *buffer;
	unsigned int pending, npending;
	struct iovec iov[BATCH];
	struct frame frame[BATCH];
};

/**
 * struct uplink - an uplink of @netif, or of @ring
 * @first: queue of @swport that is @queue[0]
 * @ring_on: whether that queue is enabled; the uplink's thread
 * @failed: it was logged that @ring is broken; the uplink's thread
 * @offload: the guest's side of @ring says what @swport accepts
 */
struct uplink {
	struct log_tag tag;
	struct log_limit limit; /* lines that the host or a guest can provoke */
	struct worker *worker;
	struct netif *netif;
	struct framering *ring;
	struct swport *swport;
	unsigned int first, nqueues;
	bool ring_on;
	bool failed;
	bool offload;
	int start_error;
	struct uplink_queue queue[];
};

static void on_event(struct loop_watch *watch, uint32_t events)
{
	struct work_watch *w = container_of(watch, struct work_watch, watch);

	(void)events;
	worker_queue(w->worker, w->work);
}

/* One event, at once if the descriptor is writable already. */
static void watch_writable(struct uplink_queue *q, unsigned int which)
{
	if (q->watch[which].watch.fd >= 0)
		worker_watch_mod(q->uplink->worker, &q->watch[which].watch,
				 EPOLLOUT | EPOLLET | EPOLLONESHOT);
}

/* ---- from the interface into the network ---- */

/* Return: false if the network does not accept all. */
static bool send_pending(struct uplink_queue *q)
{
	while (q->npending) {
		int ret = q->net_tx->ops->send(q->net_tx, &q->frame[q->pending],
					       q->npending);

		if (ret < 0)
			return false;
		q->pending += (unsigned int)ret;
		q->npending -= (unsigned int)ret;
	}
	return true;
}

/* Once of a frame ring: its guest's side could have it logged at each event. */
static void log_receive_error(struct uplink *u, int error)
{
	if (!u->failed)
		log_limited(&u->limit, &u->tag, LOG_LEVEL_ERROR,
			    "nothing more is received: %s",
			    u->ring ? "the frame ring is spoiled"
				    : strerror(-error));
	u->failed = u->ring;
}

/* Return: frames received, 0 if there are none. */
static unsigned int receive_batch(struct uplink_queue *q)
{
	int n;

	for (unsigned int i = 0; i < BATCH; i++) {
		q->iov[i] =
			(struct iovec){ q->buffer +
						i * (size_t)NETPORT_FRAME_MAX,
					NETPORT_FRAME_MAX };
		q->frame[i] = (struct frame){ .iov = &q->iov[i], .iovcnt = 1 };
	}
	n = q->rx->ops->recv(q->rx, q->frame, BATCH);
	if (n < 0 && n != -EAGAIN)
		log_receive_error(q->uplink, n);
	q->pending = 0;
	q->npending = (unsigned int)MAX(n, 0);
	for (unsigned int i = 0; i < q->npending; i++) {
		/* The network counts a truncated frame as malformed. */
		if (q->frame[i].trunc)
			q->frame[i].len = 0;
		q->iov[i].iov_len = q->frame[i].len;
	}
	return q->npending;
}

/* A queue of a guest gets frames while the guest's RX ring runs. */
static void follow_guest(struct uplink *u)
{
	bool on = framering_enabled(u->ring) && !framering_is_broken(u->ring);

	if (u->offload)
		swport_set_guest_offloads(
			u->swport, framering_offload(u->ring) & OFFLOADS_GUEST);
	if (on == u->ring_on)
		return;
	u->ring_on = on;
	swport_enable(u->swport, u->first, on);
	framering_followed(u->ring, on);
}

static void run_inward(struct worker_work *work)
{
	struct uplink_queue *q =
		container_of(work, struct uplink_queue, inward);

	/* Also while frames wait: they may wait for a guest that waits for
	 * this one. */
	if (q->uplink->ring)
		follow_guest(q->uplink);
	if (!q->npending && !receive_batch(q)) {
		/* What the guest's side said meanwhile may have been an event
		 * that the port took away when it went to sleep. */
		if (q->uplink->ring)
			follow_guest(q->uplink);
		return;
	}
	if (send_pending(q))
		worker_queue(q->uplink->worker, &q->inward);
	else
		watch_writable(q, NET_TX);
}

/* ---- from the network to the interface ---- */

static void run_outward(struct worker_work *work)
{
	struct uplink_queue *q =
		container_of(work, struct uplink_queue, outward);
	int ret = tx_direct_run(q->direct, OUTWARD_TURN);

	if (ret > 0)
		worker_queue(q->uplink->worker, &q->outward);
	else if (ret == -EAGAIN)
		watch_writable(q, TX);
}

/* ---- opening and closing ---- */

static int start_queue(struct uplink_queue *q)
{
	const struct {
		int fd;
		uint32_t events;
		struct worker_work *work;
	} watches[WATCHES] = {
		[RX] = { q->rx->fd, EPOLLIN | EPOLLET, &q->inward },
		[TX] = { q->tx->fd, EPOLLET, &q->outward },
		[NET_TX] = { q->net_tx->fd, EPOLLET, &q->inward },
		[NET_RX] = { tx_direct_fd(q->direct), EPOLLIN | EPOLLET,
			     &q->outward },
	};
	struct worker *worker = q->uplink->worker;
	int ret = 0;

	for (unsigned int i = 0; i < WATCHES && ret == 0; i++) {
		q->watch[i].worker = worker;
		q->watch[i].work = watches[i].work;
		/* Ports without events (fd -1, files) are always ready. */
		if (watches[i].fd >= 0)
			ret = worker_watch_add(worker, &q->watch[i].watch,
					       watches[i].fd,
					       watches[i].events);
		if (ret == -EPERM)
			ret = 0;
	}
	worker_queue(worker, &q->inward);
	worker_queue(worker, &q->outward);
	return ret;
}

/* On the uplink's thread. */
static void start_queues(void *arg)
{
	struct uplink *u = arg;

	for (unsigned int i = 0; i < u->nqueues && u->start_error == 0; i++)
		u->start_error = start_queue(&u->queue[i]);
}

/* What a guest had sent goes into the network still, as far as that takes it;
 * the guest may go on sending. */
static void send_the_rest(struct uplink_queue *q)
{
	unsigned int n = 0;

	while (send_pending(q) && n++ < LAST_BATCHES && receive_batch(q))
		;
}

static void stop_queues(void *arg)
{
	struct uplink *u = arg;

	for (unsigned int i = 0; i < u->nqueues; i++) {
		struct uplink_queue *q = &u->queue[i];

		/* Not if it was never started. */
		if (u->ring && q->net_tx)
			send_the_rest(q);
		worker_cancel(u->worker, &q->inward);
		worker_cancel(u->worker, &q->outward);
		for (unsigned int k = 0; k < WATCHES; k++)
			worker_watch_del(u->worker, &q->watch[k].watch);
	}
}

static void close_queue(struct uplink_queue *q)
{
	if (q->direct)
		tx_direct_close(q->direct);
	netport_close(q->net_tx);
	netport_close(q->rx);
	netport_close(q->tx);
	if (q->buffer)
		munmap(q->buffer, BUFFER_BYTES);
}

static int open_queue_ports(const struct uplink *u, unsigned int i,
			    struct netport **rx, struct netport **tx)
{
	return u->ring ? framering_open(u->ring, FRAMERING_NET, rx, tx)
		       : netif_open(u->netif, i, rx, tx);
}

static int open_queue(struct uplink *u, unsigned int i)
{
	struct uplink_queue *q = &u->queue[i];
	uint8_t *buffer;
	int ret;

	q->uplink = u;
	for (unsigned int k = 0; k < WATCHES; k++)
		q->watch[k].watch =
			(struct loop_watch){ .fn = on_event, .fd = -1 };
	q->inward.fn = run_inward;
	q->outward.fn = run_outward;
	buffer = mmap(NULL, BUFFER_BYTES, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (buffer == MAP_FAILED)
		return -ENOMEM;
	q->buffer = buffer;
	ret = open_queue_ports(u, i, &q->rx, &q->tx);
	if (ret < 0)
		return ret;
	if (strcmp(q->rx->ops->name, "loop") == 0)
		return -EOPNOTSUPP;
	q->rx->hdr_len = q->tx->hdr_len = HDR;
	ret = swport_open_direct(u->swport, u->first + i, q->tx, &q->direct,
				 &q->net_tx);
	if (ret == 0)
		q->net_tx->tx_own = true; /* frames are in @buffer */
	return ret;
}

/* The GUEST bits of the HOST bits in @features: what an interface accepts from
 * a guest it accepts from a network too. */
static uint64_t guest_bits(uint64_t features)
{
#define PAIR(name, host, guest) \
	| (features & BIT(VIRTIO_NET_F_##host) ? BIT(VIRTIO_NET_F_##guest) : 0)
	return UINT64_C(0) OFFLOADS_OF_NETWORK(PAIR);
#undef PAIR
}

static void set_offloads(struct uplink *u)
{
	uint64_t features = netif_features(u->netif);

	/* The network completes what receivers do not accept. */
	netif_set_offload(u->netif, BIT(VIRTIO_F_VERSION_1) |
					    (features & OFFLOADS_GUEST));
	swport_set_guest_offloads(u->swport, guest_bits(features));
}

static int open_queues(struct uplink *u, unsigned int queues)
{
	int ret = 0;

	/* A guest says itself what it accepts. */
	if (u->netif)
		set_offloads(u);
	while (u->nqueues < queues && ret == 0)
		ret = open_queue(u, u->nqueues++);
	if (ret < 0)
		return ret;
	worker_call(u->worker, start_queues, u);
	return u->start_error;
}

static void enable_queues(struct uplink *u, bool on)
{
	for (unsigned int i = 0; i < u->nqueues; i++) {
		if (u->netif)
			netif_enable(u->netif, i, on);
		swport_enable(u->swport, u->first + i, on);
	}
}

static struct uplink *alloc_uplink(struct swport *swport, unsigned int queues)
{
	struct uplink *u = calloc(1, sizeof(*u) + queues * sizeof(u->queue[0]));

	if (!u)
		return NULL;
	u->swport = swport;
	log_tag_init(&u->tag, "%s", swport_name(swport));
	log_limit_init(&u->limit, LOG_LINES_SESSION, &log_limit_all);
	return u;
}

/* Frees @u on failure. */
static int start_uplink(struct uplink *u, unsigned int queues)
{
	int ret = worker_new(swport_name(u->swport), 0, &u->worker);

	if (ret < 0) {
		free(u);
		return ret;
	}
	ret = open_queues(u, queues);
	if (ret < 0)
		uplink_free(u);
	return ret;
}

int uplink_new(struct netif *netif, struct swport *swport, unsigned int queues,
	       struct uplink **out)
{
	struct uplink *u;
	int ret;

	if (!queues)
		return -EINVAL;
	u = alloc_uplink(swport, queues);
	if (!u)
		return -ENOMEM;
	u->netif = netif;
	ret = start_uplink(u, queues);
	if (ret < 0)
		return ret;
	enable_queues(u, true);
	*out = u;
	return 0;
}

int uplink_ring_new(struct framering *ring, struct swport *swport,
		    unsigned int queue, bool offload, struct uplink **out)
{
	struct uplink *u = alloc_uplink(swport, 1);
	int ret;

	if (!u)
		return -ENOMEM;
	u->ring = ring;
	u->first = queue;
	u->offload = offload;
	/* Another uplink may have followed before. */
	framering_followed(ring, false);
	ret = start_uplink(u, 1);
	if (ret == 0)
		*out = u;
	return ret;
}

static void run_follow(void *arg)
{
	follow_guest(arg);
}

void uplink_follow(struct uplink *u)
{
	worker_call(u->worker, run_follow, u);
}

void uplink_free(struct uplink *u)
{
	if (!u)
		return;
	enable_queues(u, false);
	worker_call(u->worker, stop_queues, u);
	worker_finish(u->worker);
	worker_join(u->worker);
	for (unsigned int i = 0; i < u->nqueues; i++)
		close_queue(&u->queue[i]);
	free(u);
}
