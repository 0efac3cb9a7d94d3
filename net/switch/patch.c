/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * patch.c moves frames between a source and a port of a network, on a worker.
 *
 * Each queue is a lane with two directions. Inward, a batch is received from
 * the source and sent into the network; frames that the network does not take
 * (on a wire) are held, and nothing more is received. Outward, the lane's sink
 * sends the frames that it could not send at once.
 *
 * Watches are edge-triggered. A direction with work queues itself again after
 * each batch, so that lanes take turns, also where a port is always ready (fd
 * -1). A deleted tap polls EPOLLERR all the time, which costs nothing this way.
 */
#include "netpatch.h"

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
#include "netsink.h"
#include "offload.h"
#include "offloads.h"
#include "worker.h"

/* Frames of a turn, inward and outward. */
#define BATCH 32
#define SINK_TURN 64
#define HDR sizeof(struct virtio_net_hdr_mrg_rxbuf)
#define ROOM (BATCH * (size_t)NETPORT_FRAME_MAX)

/**
 * struct lane - a queue
 * @rx, @tx: ports of the source
 * @in:      port into the network
 * @sink:    through which the network uses @tx
 * @room:    buffers of a batch
 * @held, @nheld: frames received that the network has not taken
 */
struct lane {
	struct netpatch *patch;
	struct netport *rx, *tx, *in;
	struct sink *sink;
	struct loop_watch rx_watch, tx_watch, in_watch, sink_watch;
	struct worker_work inward, outward;
	uint8_t *room;
	unsigned int held, nheld;
	struct iovec iov[BATCH];
	struct frame frame[BATCH];
};

struct netpatch {
	struct log_tag tag;
	struct log_limit limit; /* lines that the host can provoke */
	struct worker *worker;
	struct netsource *source;
	struct netmember *member;
	unsigned int nlanes;
	int start_error;
	struct lane lane[];
};

/* ---- from the source into the network ---- */

/* One event, at once if the descriptor is writable already. */
static void watch_writable(struct lane *l, struct loop_watch *watch)
{
	if (watch->fd >= 0)
		worker_watch_mod(l->patch->worker, watch,
				 EPOLLOUT | EPOLLET | EPOLLONESHOT);
}

/* Return: false if the network does not take all. */
static bool send_held(struct lane *l)
{
	while (l->nheld) {
		int ret = l->in->ops->send(l->in, &l->frame[l->held], l->nheld);

		if (ret < 0)
			return false;
		l->held += (unsigned int)ret;
		l->nheld -= (unsigned int)ret;
	}
	return true;
}

/* Return: frames received, 0 if there are none. */
static unsigned int receive_batch(struct lane *l)
{
	int n;

	for (unsigned int i = 0; i < BATCH; i++) {
		l->iov[i] =
			(struct iovec){ l->room + i * (size_t)NETPORT_FRAME_MAX,
					NETPORT_FRAME_MAX };
		l->frame[i] = (struct frame){ .iov = &l->iov[i], .iovcnt = 1 };
	}
	n = l->rx->ops->recv(l->rx, l->frame, BATCH);
	if (n < 0 && n != -EAGAIN)
		log_limited(&l->patch->limit, &l->patch->tag, LOG_LEVEL_ERROR,
			    "nothing more is received: %s", strerror(-n));
	l->held = 0;
	l->nheld = (unsigned int)MAX(n, 0);
	for (unsigned int i = 0; i < l->nheld; i++) {
		/* The network counts a truncated frame as malformed. */
		if (l->frame[i].trunc)
			l->frame[i].len = 0;
		l->iov[i].iov_len = l->frame[i].len;
	}
	return l->nheld;
}

static void run_inward(struct worker_work *work)
{
	struct lane *l = container_of(work, struct lane, inward);

	if (!l->nheld && !receive_batch(l))
		return;
	if (send_held(l))
		worker_queue(l->patch->worker, &l->inward);
	else
		watch_writable(l, &l->in_watch);
}

static void on_rx(struct loop_watch *watch, uint32_t events)
{
	struct lane *l = container_of(watch, struct lane, rx_watch);

	(void)events;
	worker_queue(l->patch->worker, &l->inward);
}

static void on_in(struct loop_watch *watch, uint32_t events)
{
	struct lane *l = container_of(watch, struct lane, in_watch);

	(void)events;
	worker_queue(l->patch->worker, &l->inward);
}

/* ---- from the network to the source ---- */

static void run_outward(struct worker_work *work)
{
	struct lane *l = container_of(work, struct lane, outward);
	int ret = sink_run(l->sink, SINK_TURN);

	if (ret > 0)
		worker_queue(l->patch->worker, &l->outward);
	else if (ret == -EAGAIN)
		watch_writable(l, &l->tx_watch);
}

static void on_sink(struct loop_watch *watch, uint32_t events)
{
	struct lane *l = container_of(watch, struct lane, sink_watch);

	(void)events;
	worker_queue(l->patch->worker, &l->outward);
}

static void on_tx(struct loop_watch *watch, uint32_t events)
{
	struct lane *l = container_of(watch, struct lane, tx_watch);

	(void)events;
	worker_queue(l->patch->worker, &l->outward);
}

/* ---- opening and closing ---- */

/* Ports without events (fd -1, files) are always ready. */
static int add_watch(struct netpatch *p, struct loop_watch *w, int fd,
		     uint32_t events)
{
	int ret = fd < 0 ? 0 : worker_watch_add(p->worker, w, fd, events);

	return ret == -EPERM ? 0 : ret;
}

static int start_lane(struct netpatch *p, struct lane *l)
{
	int ret = add_watch(p, &l->rx_watch, l->rx->fd, EPOLLIN | EPOLLET);

	if (ret == 0)
		ret = add_watch(p, &l->tx_watch, l->tx->fd, EPOLLET);
	if (ret == 0)
		ret = add_watch(p, &l->in_watch, l->in->fd, EPOLLET);
	if (ret == 0)
		ret = add_watch(p, &l->sink_watch, sink_fd(l->sink),
				EPOLLIN | EPOLLET);
	worker_queue(p->worker, &l->inward);
	worker_queue(p->worker, &l->outward);
	return ret;
}

/* On the patch's thread. */
static void start_lanes(void *arg)
{
	struct netpatch *p = arg;

	for (unsigned int i = 0; i < p->nlanes && p->start_error == 0; i++)
		p->start_error = start_lane(p, &p->lane[i]);
}

static void stop_lanes(void *arg)
{
	struct netpatch *p = arg;

	for (unsigned int i = 0; i < p->nlanes; i++) {
		struct lane *l = &p->lane[i];

		worker_cancel(p->worker, &l->inward);
		worker_cancel(p->worker, &l->outward);
		worker_watch_del(p->worker, &l->rx_watch);
		worker_watch_del(p->worker, &l->tx_watch);
		worker_watch_del(p->worker, &l->in_watch);
		worker_watch_del(p->worker, &l->sink_watch);
	}
}

static void close_lane(struct lane *l)
{
	if (l->sink)
		sink_close(l->sink);
	netport_close(l->in);
	netport_close(l->rx);
	netport_close(l->tx);
	if (l->room)
		munmap(l->room, ROOM);
}

static int open_lane(struct netpatch *p, unsigned int i)
{
	struct lane *l = &p->lane[i];
	uint8_t *room;
	int ret;

	l->patch = p;
	l->rx_watch = (struct loop_watch){ .fn = on_rx, .fd = -1 };
	l->tx_watch = (struct loop_watch){ .fn = on_tx, .fd = -1 };
	l->in_watch = (struct loop_watch){ .fn = on_in, .fd = -1 };
	l->sink_watch = (struct loop_watch){ .fn = on_sink, .fd = -1 };
	l->inward.fn = run_inward;
	l->outward.fn = run_outward;
	room = mmap(NULL, ROOM, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (room == MAP_FAILED)
		return -ENOMEM;
	l->room = room;
	ret = netsource_open(p->source, i, &l->rx, &l->tx);
	if (ret < 0)
		return ret;
	if (strcmp(l->rx->ops->name, "loop") == 0)
		return -EOPNOTSUPP;
	l->rx->hdr_len = l->tx->hdr_len = HDR;
	ret = netmember_open_sink(p->member, i, l->tx, &l->sink, &l->in);
	if (ret == 0)
		l->in->tx_own = true; /* frames are in @room */
	return ret;
}

/* Offloads that a source takes from a guest it takes from a network too. */
static uint64_t taken_by(uint64_t features)
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
	uint64_t takes = 0;

	for (size_t i = 0; i < ARRAY_SIZE(pair); i++)
		if (features & BIT(pair[i].host))
			takes |= pair[i].guest;
	return takes;
}

static int open_lanes(struct netpatch *p, unsigned int queues)
{
	uint64_t features = netsource_features(p->source);
	int ret = 0;

	/* The network completes what receivers do not take. */
	netsource_set_offload(p->source, BIT(VIRTIO_F_VERSION_1) |
						 (features & OFFLOADS_GUEST));
	netmember_set_takes(p->member, taken_by(features));
	while (p->nlanes < queues && ret == 0)
		ret = open_lane(p, p->nlanes++);
	if (ret < 0)
		return ret;
	worker_call(p->worker, start_lanes, p);
	return p->start_error;
}

static void enable_lanes(struct netpatch *p, bool on)
{
	for (unsigned int i = 0; i < p->nlanes; i++) {
		netsource_enable(p->source, i, on);
		netmember_enable(p->member, i, on);
	}
}

int netpatch_new(struct netsource *s, struct netmember *m, unsigned int queues,
		 struct netpatch **out)
{
	struct netpatch *p;
	int ret;

	if (!queues)
		return -EINVAL;
	p = calloc(1, sizeof(*p) + queues * sizeof(p->lane[0]));
	if (!p)
		return -ENOMEM;
	p->source = s;
	p->member = m;
	log_tag_init(&p->tag, "%s", netmember_name(m));
	log_limit_init(&p->limit, LOG_LINES_SESSION, &log_limit_all);
	ret = worker_new(netmember_name(m), 0, &p->worker);
	if (ret < 0) {
		free(p);
		return ret;
	}
	ret = open_lanes(p, queues);
	if (ret < 0) {
		netpatch_free(p);
		return ret;
	}
	enable_lanes(p, true);
	*out = p;
	return 0;
}

void netpatch_free(struct netpatch *p)
{
	if (!p)
		return;
	enable_lanes(p, false);
	worker_call(p->worker, stop_lanes, p);
	worker_finish(p->worker);
	worker_join(p->worker);
	for (unsigned int i = 0; i < p->nlanes; i++)
		close_lane(&p->lane[i]);
	free(p);
}
