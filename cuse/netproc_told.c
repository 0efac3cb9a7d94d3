/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * netproc_told.c keeps the list of what the process of a network should have,
 * and tells it what it does not know.
 */
#include "netproc_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bytes.h"
#include "fd.h"
#include "log.h"
#include "wdog.h"

/* ---- requests of guests (remotenet.h) ---- */

static void post_flush(struct netproc *n) NEEDS(n->lock)
{
	if (n->posted)
		return;
	n->posted = true;
	loop_post(n->config.loop, &n->flush_job);
}

static bool is_name_taken(const struct netproc *n, const char *name)
	NEEDS(n->lock)
{
	const struct remotenet_port *p;

	SLIST_FOREACH(p, &n->ports, link)
	if (!p->gone && strcmp(p->msg.name, name) == 0)
		return true;
	return false;
}

/* Chooses the same name as swport_new() in the process. */
static int choose_name(struct netproc *n, struct netmsg_port *m, bool fixed)
	NEEDS(n->lock)
{
	if (n->nports == NETWORK_PORTS_MAX)
		return -ENOSPC;
	if (m->name[0] && !is_name_taken(n, m->name))
		return 0;
	if (fixed)
		return -EEXIST;
	do
		snprintf(m->name, sizeof(m->name), "port%" PRIu64, n->serial++);
	while (is_name_taken(n, m->name));
	return 0;
}

static int enlist_port(struct netproc *n, struct remotenet_port *p, bool fixed)
{
	int ret;

	mutex_lock(&n->lock);
	ret = choose_name(n, &p->msg, fixed);
	if (ret == 0) {
		p->msg.id = n->next_id++;
		SLIST_INSERT_HEAD(&n->ports, p, link);
		n->nports++;
		post_flush(n);
	}
	mutex_unlock(&n->lock);
	return ret;
}

static struct remotenet_port *alloc_port(struct netproc *n,
					 const struct swport_config *config,
					 unsigned int queues, int capture)
{
	struct remotenet_port *p =
		calloc(1, sizeof(*p) + queues * sizeof(p->queue[0]));

	if (!p)
		return NULL;
	p->net = n;
	p->nqueues = queues;
	netmsg_put_swport(&p->msg, config);
	p->msg.queues = queues;
	p->msg.capture = capture;
	return p;
}

static int remote_join(struct remotenet *remote,
		       const struct swport_config *config, bool fixed_name,
		       unsigned int queues, int capture,
		       struct remotenet_port **out)
{
	struct netproc *n = container_of(remote, struct netproc, remote);
	struct remotenet_port *p = alloc_port(n, config, queues, capture);
	int ret;

	if (!p)
		return -ENOMEM;
	ret = enlist_port(n, p, fixed_name);
	if (ret < 0)
		free(p);
	else
		*out = p;
	return ret;
}

static const char *remote_name(const struct remotenet_port *p)
{
	return p->msg.name;
}

static void remote_set_ring(struct remotenet_port *p, unsigned int queue,
			    struct framering *ring, bool offload)
	NEEDS(p->net->lock)
{
	struct remote_queue *q = &p->queue[queue];

	q->stale |= q->told && q->ring;
	q->ring = ring;
	q->serial++;
	q->offload = offload;
	p->changed = true;
	post_flush(p->net);
}

static void remote_connect(struct remotenet_port *p, unsigned int queue,
			   struct framering *ring, bool offload)
{
	mutex_lock(&p->net->lock);
	remote_set_ring(p, queue, ring, offload);
	mutex_unlock(&p->net->lock);
}

static void remote_disconnect(struct remotenet_port *p, unsigned int queue)
{
	mutex_lock(&p->net->lock);
	if (p->queue[queue].ring)
		remote_set_ring(p, queue, NULL, false);
	mutex_unlock(&p->net->lock);
}

void netproc_remove_port(struct netproc *n, struct remotenet_port *p)
{
	SLIST_REMOVE(&n->ports, p, remotenet_port, link);
	free(p);
}

static void remote_leave(struct remotenet_port *p)
{
	struct netproc *n = p->net;

	mutex_lock(&n->lock);
	n->nports--;
	p->gone = true;
	if (p->told)
		post_flush(n);
	else
		netproc_remove_port(n, p);
	mutex_unlock(&n->lock);
}

const struct remotenet_ops netproc_remote_ops = {
	.join = remote_join,
	.name = remote_name,
	.connect = remote_connect,
	.disconnect = remote_disconnect,
	.leave = remote_leave,
};

/* ---- messages to the process ---- */

int netproc_send(struct netproc *n, unsigned int type, const void *body,
		 size_t len, const int *fds, unsigned int nfds)
{
	const struct wmsg_out out = {
		.type = type,
		.part = { { (void *)(uintptr_t)body, len } },
		.nparts = len ? 1 : 0,
		.fd = fds,
		.nfds = nfds,
		.no_wait = true,
	};
	int ret;

	if (n->sock.fd < 0)
		return -ECONNRESET;
	do
		ret = wmsg_send(n->sock.fd, &out, MSG_DONTWAIT);
	while (ret == -EINTR);
	return ret;
}

static int tell_start(struct netproc *n)
{
	const struct network_config *c = &n->config.network;
	struct netmsg_start m = { .macs = c->macs,
				  .age_s = c->age_s,
				  .mtu = c->mtu,
				  .stall_ms = WDOG_MS,
				  .log_level = log_level_now() };
	int ret;

	if (n->begun)
		return 0;
	snprintf(m.build, sizeof(m.build), "%s", wmsg_build());
	snprintf(m.tag, sizeof(m.tag), "%s", n->tag.name);
	memcpy(m.name, c->name, sizeof(m.name));
	ret = netproc_send(n, WMSG_NET_START, &m, sizeof(m), NULL, 0);
	n->begun = ret == 0;
	return ret;
}

static int tell_captures(struct netproc *n)
{
	int ret = 0;

	for (unsigned int i = 0; i < n->ncaptures && ret == 0; i++) {
		struct net_capture *c = &n->capture[i];
		const int fds[] = { c->fd, c->mark };

		if (c->told)
			continue;
		ret = netproc_send(n, WMSG_NET_CAPTURE, &c->msg, sizeof(c->msg),
				   fds, ARRAY_SIZE(fds));
		c->told = ret == 0;
	}
	return ret;
}

static int tell_leave(struct netproc *n, struct remotenet_port *p,
		      uint32_t queue) NEEDS(n->lock)
{
	const struct netmsg_leave m = { .id = p->msg.id, .queue = queue };

	return netproc_send(n, WMSG_NET_LEAVE, &m, sizeof(m), NULL, 0);
}

static int tell_queue(struct netproc *n, struct remotenet_port *p,
		      unsigned int queue) NEEDS(n->lock)
{
	struct remote_queue *q = &p->queue[queue];
	const struct netmsg_ring m = { .id = p->msg.id,
				       .queue = queue,
				       .offload = q->offload,
				       .serial = q->serial };
	int fds[FRAMERING_FDS], ret = 0;

	if (q->told && (q->stale || !q->ring)) {
		ret = tell_leave(n, p, queue);
		if (ret == 0)
			q->told = q->stale = false;
	}
	if (ret < 0 || q->told || !q->ring)
		return ret;
	framering_fds(q->ring, fds);
	ret = netproc_send(n, WMSG_NET_RING, &m, sizeof(m), fds, FRAMERING_FDS);
	q->told = ret == 0;
	n->rings += q->told;
	return ret;
}

static int tell_port(struct netproc *n, struct remotenet_port *p) NEEDS(n->lock)
{
	int ret = 0;

	if (!p->told)
		ret = netproc_send(n, WMSG_NET_PORT, &p->msg, sizeof(p->msg),
				   p->fd, p->nfds);
	if (ret < 0)
		return ret;
	p->told = true;
	for (unsigned int i = 0; p->changed && i < p->nqueues && ret == 0; i++)
		ret = tell_queue(n, p, i);
	if (ret == 0)
		p->changed = false;
	return ret;
}

/* Ports that have left come first, since a new port may have the same name. */
static int tell_gone(struct netproc *n) NEEDS(n->lock)
{
	struct remotenet_port *p = SLIST_FIRST(&n->ports), *next;
	int ret = 0;

	for (; p && ret == 0; p = next) {
		next = SLIST_NEXT(p, link);
		if (!p->gone)
			continue;
		ret = tell_leave(n, p, NETMSG_ALL);
		if (ret == 0)
			netproc_remove_port(n, p);
	}
	return ret;
}

/* Tells of the ports of interfaces, or of those of guests. */
static int tell_ports(struct netproc *n, bool interfaces) NEEDS(n->lock)
{
	struct remotenet_port *p;
	int ret = 0;

	SLIST_FOREACH(p, &n->ports, link)
	{
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
		if (!p->gone && !p->msg.spec[0] != interfaces)
			ret = tell_port(n, p);
		if (ret < 0)
			break;
	}
	return ret;
}

static int tell_run(struct netproc *n)
{
	int ret = 0;

	if (!n->run)
		ret = netproc_send(n, WMSG_NET_RUN, NULL, 0, NULL, 0);
	n->run |= ret == 0;
	return ret;
}

int netproc_tell_all(struct netproc *n)
{
	int ret = tell_start(n);

	if (ret == 0)
		ret = tell_captures(n);
	if (ret == 0)
		ret = tell_ports(n, true);
	if (ret == 0)
		ret = tell_run(n);
	if (ret == 0)
		ret = tell_gone(n);
	return ret < 0 ? ret : tell_ports(n, false);
}

void netproc_forget_told(struct netproc *n)
{
	struct remotenet_port *p = SLIST_FIRST(&n->ports), *next;

	n->begun = n->run = false;
	for (unsigned int i = 0; i < n->ncaptures; i++)
		n->capture[i].told = false;
	for (; p; p = next) {
		next = SLIST_NEXT(p, link);
		p->told = false;
		p->changed = true;
		for (unsigned int i = 0; i < p->nqueues; i++)
			p->queue[i].told = p->queue[i].stale = false;
		if (p->gone)
			netproc_remove_port(n, p);
	}
}

struct remotenet_port *netproc_find_spoiled(struct netproc *n,
					    const struct netmsg_spoiled *m)
{
	struct remotenet_port *p;

	SLIST_FOREACH(p, &n->ports, link)
	if (p->msg.id == m->id)
		break;
	if (!p || p->gone || m->queue >= p->nqueues)
		return NULL;
	return p->queue[m->queue].ring && p->queue[m->queue].told &&
			       p->queue[m->queue].serial == m->serial
		       ? p
		       : NULL;
}

/* ---- interfaces and captures ---- */

int netproc_add_capture(struct netproc *n, const struct capture_config *config)
{
	struct net_capture *c =
		reallocarray(n->capture, n->ncaptures + 1, sizeof(*c));
	int fd, mark;

	if (!c)
		return -ENOMEM;
	n->capture = c;
	fd = capture_open(config);
	if (fd < 0)
		return fd;
	mark = fd_memory("uvhost-capture", NETMSG_MARK_BYTES);
	if (mark < 0) {
		close(fd);
		return mark;
	}
	c += n->ncaptures;
	*c = (struct net_capture){ .fd = fd, .mark = mark };
	snprintf(c->msg.path, sizeof(c->msg.path), "%s", config->path);
	c->msg.snaplen = config->snaplen;
	c->msg.vnet_hdr = config->vnet_hdr;
	return (int)n->ncaptures++;
}

int netproc_add_interface(struct netproc *n, const char *spec,
			  const struct netif *netif,
			  const struct swport_config *config, bool fixed_name,
			  bool offloads, int capture)
{
	struct remotenet_port *p = alloc_port(n, config, 1, capture);
	int ret;

	if (!p)
		return -ENOMEM;
	snprintf(p->msg.spec, sizeof(p->msg.spec), "%s", spec);
	p->msg.flags = offloads ? NETMSG_OFFLOADS : 0;
	ret = netif_fds(netif, p->fd);
	if (ret >= 0) {
		p->nfds = (unsigned int)ret;
		ret = enlist_port(n, p, fixed_name);
	}
	if (ret < 0)
		free(p);
	return MIN(ret, 0);
}
