/* SPDX-License-Identifier: BSD-3-Clause */
/* A member of a network as a source: what a device is put on. */
#include <errno.h>
#include <stdlib.h>

#include <linux/virtio_net.h>

#include "bytes.h"
#include "network.h"
#include "offload.h"
#include "offloads.h"
#include "source_priv.h"

struct net_source {
	struct netsource source;
	struct netmember *member;
};

static struct netmember *member_of(const struct netsource *s)
{
	return container_of(s, struct net_source, source)->member;
}

/* All that net/offload.h can undo for who does not take it. */
static uint64_t features(const struct netsource *s)
{
	(void)s;
	return OFFLOADS_BOTH;
}

static int open_queue(struct netsource *s, unsigned int pair,
		      struct netport **rx, struct netport **tx)
{
	return netmember_open(member_of(s), pair, rx, tx);
}

static void enable(struct netsource *s, unsigned int pair, bool on)
{
	netmember_enable(member_of(s), pair, on);
}

static void set_offload(struct netsource *s, uint64_t acked)
{
	netmember_set_takes(member_of(s), acked);
}

static void leave(struct netsource *s)
{
	netmember_free(member_of(s));
	free(container_of(s, struct net_source, source));
}

int netsource_from_network(struct network *n, const struct netmember_config *c,
			   unsigned int queues, struct netsource **out)
{
	static const struct netsource_ops ops = {
		.features = features,
		.open = open_queue,
		.enable = enable,
		.set_offload = set_offload,
		.free = leave,
	};
	struct net_source *s = calloc(1, sizeof(*s));
	int ret;

	if (!s)
		return -ENOMEM;
	ret = netmember_new(n, c, queues, &s->member);
	if (ret < 0) {
		free(s);
		return ret;
	}
	s->source.ops = &ops;
	s->source.queues = queues;
	*out = &s->source;
	return 0;
}
