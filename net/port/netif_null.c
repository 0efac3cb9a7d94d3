/* SPDX-License-Identifier: BSD-3-Clause */
/* netif_null.c has the kinds that are connected to nothing: null and loop. */
#include "netif_priv.h"

#include <errno.h>
#include <stdlib.h>

#include "bytes.h"
#include "port_priv.h"

/**
 * struct null_config - configuration of a null interface
 * @frame_len: bytes of each frame received; 0: there is none
 */
struct null_config {
	uint64_t frame_len;
	bool copy;
};

struct null_netif {
	struct netif netif;
	struct null_config config;
};

static void null_free(struct netif *s)
{
	free(container_of(s, struct null_netif, netif));
}

static int null_netif_new(const struct netif_ops *ops,
			  const struct null_config *config, struct netif **out)
{
	struct null_netif *n = calloc(1, sizeof(*n));

	if (!n)
		return -ENOMEM;
	n->netif.ops = ops;
	if (config)
		n->config = *config;
	*out = &n->netif;
	return 0;
}

/* ---- null ---- */

/* "null:" is "null". */
static int read_len(const struct netif_value *v)
{
	return v->text && *v->text ? netif_read_number(v) : 0;
}

static const struct netif_key null_arg = {
	.read = read_len,
	.field = offsetof(struct null_config, frame_len),
	.min = NETPORT_ETH_MIN,
	.max = NETPORT_ETH_MAX,
};

static const struct netif_key null_keys[] = {
	NETIF_KEY("copy", flag, struct null_config, copy),
	{ 0 },
};

static int null_open(struct netif *s, unsigned int pair, enum netif_dir dir,
		     struct netport **out)
{
	const struct null_config *c =
		&container_of(s, struct null_netif, netif)->config;

	(void)pair;
	return netport_null_new(
		dir == NETIF_RX ? (unsigned int)c->frame_len : 0, c->copy, out);
}

static int null_new(const void *config, unsigned int queues, struct netif **out,
		    struct error_line *e)
{
	static const struct netif_ops ops = {
		.open = null_open,
		.free = null_free,
	};

	(void)queues;
	(void)e;
	return null_netif_new(&ops, config, out);
}

static int null_adopt(const void *config, unsigned int queues, const int *fds,
		      unsigned int n, struct netif **out)
{
	(void)fds;
	return n ? -EINVAL : null_new(config, queues, out, NULL);
}

const struct netif_kind netif_null = {
	.name = "null",
	.usage = "null[:LEN][,copy]\n"
		 "    drops what it is sent, makes up frames of LEN bytes; "
		 "copy: "
		 "copies each",
	.arg = &null_arg,
	.keys = null_keys,
	.defaults = &(const struct null_config){ 0 },
	.config_size = sizeof(struct null_config),
	.new = null_new,
	.adopt = null_adopt,
};

/* ---- loop ---- */

static int loop_open(struct netif *s, unsigned int pair, struct netport **rx,
		     struct netport **tx)
{
	(void)s;
	(void)pair;
	return loop_port_new(rx, tx);
}

static int loop_netif_new(const void *config, unsigned int queues,
			  struct netif **out, struct error_line *e)
{
	static const struct netif_ops ops = {
		.open_both = loop_open,
		.free = null_free,
	};

	(void)config;
	(void)queues;
	(void)e;
	return null_netif_new(&ops, NULL, out);
}

static int loop_adopt(const void *config, unsigned int queues, const int *fds,
		      unsigned int n, struct netif **out)
{
	(void)fds;
	return n ? -EINVAL : loop_netif_new(config, queues, out, NULL);
}

const struct netif_kind netif_loop = {
	.name = "loop",
	.usage = "loop\n"
		 "    what a queue pair sends comes back to it",
	.new = loop_netif_new,
	.adopt = loop_adopt,
};
