/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vu_pair.c makes and frees the queue pairs of a session, and runs functions on
 * their workers. A pair is a vdev, its two ports and the worker that owns them.
 * It is made when a message first names one of its rings, and lives until the
 * session ends.
 *
 * The control thread accesses a vdev only through vu_pair_call(). While it
 * waits there it checks whether the frontend is gone, since the worker may wait
 * for a page, or in a system call, that only the frontend can complete.
 */
#include "vu_priv.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

/* Milliseconds between two checks of the frontend's socket. */
#define PEER_CHECK_MS 100

struct pair_call {
	struct vu_pair *p;
	int (*fn)(struct vu_pair *p, void *arg);
	void *arg;
	int ret;
};

static void run_pair_call(void *arg)
{
	struct pair_call *c = arg;

	c->ret = c->fn(c->p, c->arg);
}

static bool peer_gone(const struct vu_session *s)
{
	struct pollfd p = { .fd = s->ep.sock, .events = POLLRDHUP };

	return poll(&p, 1, 0) > 0;
}

/* Releases a worker whose frontend has closed the connection. */
static void check_peer(void *arg)
{
	const struct pair_call *c = arg;

	if (!peer_gone(c->p->s))
		return;
	vu_postcopy_stop(c->p->s);
	worker_interrupt(c->p->worker);
}

int vu_pair_call(struct vu_pair *p, int (*fn)(struct vu_pair *p, void *arg),
		 void *arg)
{
	struct pair_call c = { .p = p, .fn = fn, .arg = arg };

	assert(worker_is_self(p->s->control));
	worker_call_looking(p->worker, run_pair_call, check_peer, &c,
			    PEER_CHECK_MS);
	return c.ret;
}

int vu_each_pair(struct vu_session *s, int (*fn)(struct vu_pair *p, void *arg),
		 void *arg)
{
	int ret = 0;

	for (unsigned int i = 0; i < s->cfg.queue_pairs; i++) {
		int one = s->pair[i] ? vu_pair_call(s->pair[i], fn, arg) : 0;

		if (one < 0 && ret == 0)
			ret = one;
	}
	return ret;
}

/* ---- ports ---- */

int vu_pair_open_ports(struct vu_pair *p)
{
	const struct vu_session_config *cfg = &p->s->cfg;
	struct netport *port[VDEV_VQS] = { NULL };
	int ret = cfg->open_ports(cfg->ctx, p->n, &port[VHOST_NET_VQ_RX],
				  &port[VHOST_NET_VQ_TX]);

	for (unsigned int i = 0; i < VDEV_VQS && ret == 0; i++)
		if (!port[i])
			ret = netport_null_new(0, false, &port[i]);
	for (unsigned int i = 0; i < VDEV_VQS; i++) {
		if (ret == 0)
			p->port[i] = port[i];
		else
			netport_close(port[i]);
	}
	return ret;
}

void vu_pair_update_ports(struct vu_pair *p)
{
	const struct vu_session_config *cfg = &p->s->cfg;
	bool changed = false;

	for (unsigned int i = 0; i < VDEV_VQS; i++) {
		const struct vu_ring *r = &p->ring[i];
		bool on = r->state == VRING_RUNNING && r->enabled;

		changed |= on != p->ports_on[i];
		p->ports_on[i] = on;
	}
	if (changed && cfg->enable_ports)
		cfg->enable_ports(cfg->ctx, p->n, p->ports_on[VHOST_NET_VQ_RX],
				  p->ports_on[VHOST_NET_VQ_TX]);
}

void vu_update_ports(struct vu_session *s)
{
	for (unsigned int i = 0; i < s->cfg.queue_pairs; i++)
		if (s->pair[i])
			vu_pair_update_ports(s->pair[i]);
}

/* ---- life ---- */

/* Makes the device, with the state that the session has so far. */
static int create_vdev(struct vu_pair *p, void *unused)
{
	struct vu_session *s = p->s;
	struct vdev_config config = {
		.worker = p->worker,
		.limit = s->cfg.limit,
		.iotlb_event = vu_iotlb_event,
		.ctx = p,
		.any_layout = true,
		.features = vu_device_features(s) &
			    ~BIT(VHOST_USER_F_PROTOCOL_FEATURES),
	};
	struct aspace *as;
	int ret;

	(void)unused;
	if (s->cfg.queue_pairs > 1)
		log_tag_init(&config.tag, "%s.%u", s->cfg.tag.name, p->n);
	else
		config.tag = s->cfg.tag;
	ret = vdev_new(&config, &p->vdev);
	if (ret < 0)
		return ret;
	ret = aspace_new(-1, &as);
	if (ret < 0)
		goto err_free;
	vdev_set_owner(p->vdev, as);
	ret = vu_pair_set_features(p, NULL);
	if (ret == 0)
		ret = vu_pair_set_mem(p, NULL);
	if (ret < 0)
		goto err_free;
	vu_pair_set_inflight(p, NULL);
	if (vu_pair_set_log_fd(p, NULL) < 0)
		vu_warn(s, "the log's descriptor is no eventfd");
	return 0;

err_free:
	vdev_free(p->vdev);
	p->vdev = NULL;
	return ret;
}

static int destroy_vdev(struct vu_pair *p, void *unused)
{
	(void)unused;
	vdev_free(p->vdev);
	p->vdev = NULL;
	for (unsigned int i = 0; i < VDEV_VQS; i++) {
		netport_close(p->port[i]);
		p->port[i] = NULL;
	}
	return 0;
}

static void init_ring(struct vu_pair *p, unsigned int qi)
{
	struct vu_ring *r = &p->ring[qi];

	r->kick = -1;
	r->base = -1;
	r->enabled = p->s->enabled;
	r->call = (struct vu_notice){
		.watch.fd = -1,
		.pair = p,
		.qi = qi,
		.request = VHOST_USER_BACKEND_VRING_CALL,
	};
	r->err = r->call;
	r->err.request = VHOST_USER_BACKEND_VRING_ERR;
}

int vu_pair_new(struct vu_session *s, unsigned int n)
{
	struct vu_pair *p = calloc(1, sizeof(*p));
	char name[24];
	int ret;

	if (!p)
		return -ENOMEM;
	p->s = s;
	p->n = n;
	for (unsigned int i = 0; i < VDEV_VQS; i++)
		init_ring(p, i);
	snprintf(name, sizeof(name), "vu-queue%u", n);
	ret = worker_new(name, s->cfg.busy_poll_us, &p->worker);
	if (ret < 0) {
		free(p);
		return ret;
	}
	ret = vu_pair_call(p, create_vdev, NULL);
	if (ret < 0) {
		vu_pair_free(p);
		return ret;
	}
	s->pair[n] = p;
	return 0;
}

void vu_pair_close(struct vu_pair *p)
{
	struct vu_session *s = p->s;

	vu_pair_call(p, vu_pair_stop, NULL);
	vu_pair_update_ports(p);
	vu_pair_call(p, destroy_vdev, NULL);
	for (unsigned int i = 0; i < VDEV_VQS; i++) {
		vu_notice_close(s, &p->ring[i].call);
		vu_notice_close(s, &p->ring[i].err);
		fd_drop(&p->ring[i].kick);
	}
}

void vu_pair_free(struct vu_pair *p)
{
	worker_finish(p->worker);
	worker_join(p->worker);
	free(p);
}
