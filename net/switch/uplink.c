/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * uplink.c moves frames between a source and a port of a network, on a worker.
 *
 * Each queue is a uplink_queue with two directions. Inward, a batch is received
 * from the source and sent into the network; frames that the network does not
 * take (on a wire) are pending, and nothing more is received. Outward, the
 * uplink_queue's direct sends the frames that it could not send at once.
 *
 * Watches are edge-triggered. A direction with work queues itself again after
 * each batch, so that queues take turns, also where a port is always ready (fd
 * -1). A deleted tap polls EPOLLERR all the time, which costs nothing this way.
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
#include "log_limit.h"
#include "log.h"
#include "tx_direct.h"
#include "offload.h"
#include "offloads.h"
#include "worker.h"

/* Frames of a turn, inward and outward. */
#define BATCH 32
#define DIRECT_TURN 64
#define HDR sizeof(struct virtio_net_hdr_mrg_rxbuf)
#define BUFFER (BATCH * (size_t)NETPORT_FRAME_MAX)

/**
 * struct uplink_queue - a queue
 * @rx, @tx: ports of the source
 * @in:      port into the network
 * @direct:    through which the network uses @tx
 * @buffer:    buffers of a batch
 * @pending, @npending: frames received that the network has not taken
 */
struct uplink_queue {
	struct uplink *uplink;
	struct netport *rx, *tx, *in;
	struct tx_direct *direct;
	struct loop_watch rx_watch, tx_watch, in_watch, direct_watch;
	struct worker_work inward, outward;
	uint8_t *buffer;
	unsigned int pending, npending;
	struct iovec iov[BATCH];
	struct frame frame[BATCH];
};

struct uplink {
	struct log_tag tag;
	struct log_limit limit; /* lines that the host can provoke */
	struct worker *worker;
	struct netif *netif;
	struct swport *swport;
	unsigned int nqueues;
	int start_error;
	struct uplink_queue queue[];
};

/* ---- from the source into the network ---- */

/* One event, at once if the descriptor is writable already. */
static void watch_writable(struct uplink_queue *l, struct loop_watch *watch)
{
	if (watch->fd >= 0)
		worker_watch_mod(l->uplink->worker, watch,
				 EPOLLOUT | EPOLLET | EPOLLONESHOT);
}

/* Return: false if the network does not take all. */
static bool send_pending(struct uplink_queue *l)
{
	while (l->npending) {
		int ret = l->in->ops->send(l->in, &l->frame[l->pending],
					   l->npending);

		if (ret < 0)
			return false;
		l->pending += (unsigned int)ret;
		l->npending -= (unsigned int)ret;
	}
	return true;
}

/* Return: frames received, 0 if there are none. */
static unsigned int receive_batch(struct uplink_queue *l)
{
	int n;

	for (unsigned int i = 0; i < BATCH; i++) {
		l->iov[i] =
			(struct iovec){ l->buffer +
						i * (size_t)NETPORT_FRAME_MAX,
					NETPORT_FRAME_MAX };
		l->frame[i] = (struct frame){ .iov = &l->iov[i], .iovcnt = 1 };
	}
	n = l->rx->ops->recv(l->rx, l->frame, BATCH);
	if (n < 0 && n != -EAGAIN)
		log_limited(&l->uplink->limit, &l->uplink->tag, LOG_LEVEL_ERROR,
			    "nothing more is received: %s", strerror(-n));
	l->pending = 0;
	l->npending = (unsigned int)MAX(n, 0);
	for (unsigned int i = 0; i < l->npending; i++) {
		/* The network counts a truncated frame as malformed. */
		if (l->frame[i].trunc)
			l->frame[i].len = 0;
		l->iov[i].iov_len = l->frame[i].len;
	}
	return l->npending;
}

static void run_inward(struct worker_work *work)
{
	struct uplink_queue *l =
		container_of(work, struct uplink_queue, inward);

	if (!l->npending && !receive_batch(l))
		return;
	if (send_pending(l))
		worker_queue(l->uplink->worker, &l->inward);
	else
		watch_writable(l, &l->in_watch);
}

static void on_rx(struct loop_watch *watch, uint32_t events)
{
	struct uplink_queue *l =
		container_of(watch, struct uplink_queue, rx_watch);

	(void)events;
	worker_queue(l->uplink->worker, &l->inward);
}

static void on_in(struct loop_watch *watch, uint32_t events)
{
	struct uplink_queue *l =
		container_of(watch, struct uplink_queue, in_watch);

	(void)events;
	worker_queue(l->uplink->worker, &l->inward);
}

/* ---- from the network to the source ---- */

static void run_outward(struct worker_work *work)
{
	struct uplink_queue *l =
		container_of(work, struct uplink_queue, outward);
	int ret = tx_direct_run(l->direct, DIRECT_TURN);

	if (ret > 0)
		worker_queue(l->uplink->worker, &l->outward);
	else if (ret == -EAGAIN)
		watch_writable(l, &l->tx_watch);
}

static void on_direct(struct loop_watch *watch, uint32_t events)
{
	struct uplink_queue *l =
		container_of(watch, struct uplink_queue, direct_watch);

	(void)events;
	worker_queue(l->uplink->worker, &l->outward);
}

static void on_tx(struct loop_watch *watch, uint32_t events)
{
	struct uplink_queue *l =
		container_of(watch, struct uplink_queue, tx_watch);

	(void)events;
	worker_queue(l->uplink->worker, &l->outward);
}

/* ---- opening and closing ---- */

/* Ports without events (fd -1, files) are always ready. */
static int add_watch(struct uplink *p, struct loop_watch *w, int fd,
		     uint32_t events)
{
	int ret = fd < 0 ? 0 : worker_watch_add(p->worker, w, fd, events);

	return ret == -EPERM ? 0 : ret;
}

static int start_queue(struct uplink *p, struct uplink_queue *l)
{
	int ret = add_watch(p, &l->rx_watch, l->rx->fd, EPOLLIN | EPOLLET);

	if (ret == 0)
		ret = add_watch(p, &l->tx_watch, l->tx->fd, EPOLLET);
	if (ret == 0)
		ret = add_watch(p, &l->in_watch, l->in->fd, EPOLLET);
	if (ret == 0)
		ret = add_watch(p, &l->direct_watch, tx_direct_fd(l->direct),
				EPOLLIN | EPOLLET);
	worker_queue(p->worker, &l->inward);
	worker_queue(p->worker, &l->outward);
	return ret;
}

/* On the patch's thread. */
static void start_queues(void *arg)
{
	struct uplink *p = arg;

	for (unsigned int i = 0; i < p->nqueues && p->start_error == 0; i++)
		p->start_error = start_queue(p, &p->queue[i]);
}

static void stop_queues(void *arg)
{
	struct uplink *p = arg;

	for (unsigned int i = 0; i < p->nqueues; i++) {
		struct uplink_queue *l = &p->queue[i];

		worker_cancel(p->worker, &l->inward);
		worker_cancel(p->worker, &l->outward);
		worker_watch_del(p->worker, &l->rx_watch);
		worker_watch_del(p->worker, &l->tx_watch);
		worker_watch_del(p->worker, &l->in_watch);
		worker_watch_del(p->worker, &l->direct_watch);
	}
}

static void close_queue(struct uplink_queue *l)
{
	if (l->direct)
		tx_direct_close(l->direct);
	netport_close(l->in);
	netport_close(l->rx);
	netport_close(l->tx);
	if (l->buffer)
		munmap(l->buffer, BUFFER);
}

static int open_queue(struct uplink *p, unsigned int i)
{
	struct uplink_queue *l = &p->queue[i];
	uint8_t *buffer;
	int ret;

	l->uplink = p;
	l->rx_watch = (struct loop_watch){ .fn = on_rx, .fd = -1 };
	l->tx_watch = (struct loop_watch){ .fn = on_tx, .fd = -1 };
	l->in_watch = (struct loop_watch){ .fn = on_in, .fd = -1 };
	l->direct_watch = (struct loop_watch){ .fn = on_direct, .fd = -1 };
	l->inward.fn = run_inward;
	l->outward.fn = run_outward;
	buffer = mmap(NULL, BUFFER, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (buffer == MAP_FAILED)
		return -ENOMEM;
	l->buffer = buffer;
	ret = netif_open(p->netif, i, &l->rx, &l->tx);
	if (ret < 0)
		return ret;
	if (strcmp(l->rx->ops->name, "loop") == 0)
		return -EOPNOTSUPP;
	l->rx->hdr_len = l->tx->hdr_len = HDR;
	ret = swport_open_direct(p->swport, i, l->tx, &l->direct, &l->in);
	if (ret == 0)
		l->in->tx_own = true; /* frames are in @buffer */
	return ret;
}

/* Offloads that a source takes from a guest it takes from a network too. */
static uint64_t guest_offloads_of(uint64_t features)
{
	static const struct {
		unsigned int host;
		uint64_t guest;
	} pair[] = {
#define PAIR(name, host, guest) \
	{ VIRTIO_NET_F_##host, BIT(VIRTIO_NET_F_##guest) },
		OFFLOADS_OF_NETWORK(PAIR)
#undef PAIR
	};
	uint64_t guest_offloads = 0;

	for (size_t i = 0; i < ARRAY_SIZE(pair); i++)
		if (features & BIT(pair[i].host))
			guest_offloads |= pair[i].guest;
	return guest_offloads;
}

static int open_queues(struct uplink *p, unsigned int queues)
{
	uint64_t features = netif_features(p->netif);
	int ret = 0;

	/* The network completes what receivers do not take. */
	netif_set_offload(p->netif, BIT(VIRTIO_F_VERSION_1) |
					    (features & OFFLOADS_GUEST));
	swport_set_guest_offloads(p->swport, guest_offloads_of(features));
	while (p->nqueues < queues && ret == 0)
		ret = open_queue(p, p->nqueues++);
	if (ret < 0)
		return ret;
	worker_call(p->worker, start_queues, p);
	return p->start_error;
}

static void enable_queues(struct uplink *p, bool on)
{
	for (unsigned int i = 0; i < p->nqueues; i++) {
		netif_enable(p->netif, i, on);
		swport_enable(p->swport, i, on);
	}
}

int uplink_new(struct netif *s, struct swport *m, unsigned int queues,
	       struct uplink **out)
{
	struct uplink *p;
	int ret;

	if (!queues)
		return -EINVAL;
	p = calloc(1, sizeof(*p) + queues * sizeof(p->queue[0]));
	if (!p)
		return -ENOMEM;
	p->netif = s;
	p->swport = m;
	log_tag_init(&p->tag, "%s", swport_name(m));
	log_limit_init(&p->limit, LOG_LINES_SESSION, &log_limit_all);
	ret = worker_new(swport_name(m), 0, &p->worker);
	if (ret < 0) {
		free(p);
		return ret;
	}
	ret = open_queues(p, queues);
	if (ret < 0) {
		uplink_free(p);
		return ret;
	}
	enable_queues(p, true);
	*out = p;
	return 0;
}

void uplink_free(struct uplink *p)
{
	if (!p)
		return;
	enable_queues(p, false);
	worker_call(p->worker, stop_queues, p);
	worker_finish(p->worker);
	worker_join(p->worker);
	for (unsigned int i = 0; i < p->nqueues; i++)
		close_queue(&p->queue[i]);
	free(p);
}
