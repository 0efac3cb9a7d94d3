/* SPDX-License-Identifier: BSD-3-Clause */
/* The kinds without anything outside: null and loop. */
#include "netif_priv.h"

#include <errno.h>
#include <stdlib.h>

#include "bytes.h"
#include "port_priv.h"

struct null_netif {
	struct netif source;
	unsigned int frame_len;
	bool copy;
};

static void null_free(struct netif *s)
{
	free(container_of(s, struct null_netif, source));
}

static int null_netif_new(const struct netif_ops *ops, unsigned int frame_len,
			  bool copy, struct netif **out)
{
	struct null_netif *n = calloc(1, sizeof(*n));

	if (!n)
		return -ENOMEM;
	n->source.ops = ops;
	n->frame_len = frame_len;
	n->copy = copy;
	*out = &n->source;
	return 0;
}

/* ---- null ---- */

enum null_key { COPY };

static const char *const keys[] = { "copy", NULL };

static int parse(const struct netif_spec *spec, unsigned int *len, bool *copy,
		 struct netif_error *e)
{
	const char *text = spec->keys[COPY];
	uint64_t n = 0;
	int ret = 0;

	if (text && *text)
		return netif_fail(e, -EINVAL,
				  "null: copy: '%s': it takes no value", text);
	*copy = text;
	if (spec->arg && *spec->arg)
		ret = netif_number(e, "null", spec->arg, NETPORT_ETH_MIN,
				   NETPORT_ETH_MAX, &n);
	*len = (unsigned int)n;
	return ret;
}

static int null_check(const struct netif_spec *spec, struct netif_error *e)
{
	unsigned int len = 0;
	bool copy = false;

	return parse(spec, &len, &copy, e);
}

static int null_open(struct netif *s, unsigned int pair, struct netport **rx,
		     struct netport **tx)
{
	const struct null_netif *n = container_of(s, struct null_netif, source);
	struct netport *port = NULL;
	int ret;

	(void)pair;
	ret = netport_null_new(n->frame_len, n->copy, &port);
	if (ret < 0)
		return ret;
	ret = netport_null_new(0, n->copy, tx);
	if (ret < 0)
		netport_close(port);
	else
		*rx = port;
	return ret;
}

static int null_new(const struct netif_spec *spec, struct netif **out,
		    struct netif_error *e)
{
	static const struct netif_ops ops = {
		.open = null_open,
		.free = null_free,
	};
	unsigned int len = 0;
	bool copy = false;
	int ret = parse(spec, &len, &copy, e);

	return ret < 0 ? ret : null_netif_new(&ops, len, copy, out);
}

const struct netif_kind netif_null = {
	.name = "null",
	.usage = "null[:LEN][,copy]\n"
		 "    drops what it is sent, makes up frames of LEN bytes; "
		 "copy: "
		 "copies each",
	.keys = keys,
	.check = null_check,
	.new = null_new,
};

/* ---- loop ---- */

static int loop_check(const struct netif_spec *spec, struct netif_error *e)
{
	return spec->arg ? netif_fail(e, -EINVAL,
				      "loop: '%s': it takes no argument",
				      spec->arg)
			 : 0;
}

static int loop_open(struct netif *s, unsigned int pair, struct netport **rx,
		     struct netport **tx)
{
	(void)s;
	(void)pair;
	return loop_port_new(rx, tx);
}

static int loop_netif_new(const struct netif_spec *spec, struct netif **out,
			  struct netif_error *e)
{
	static const struct netif_ops ops = {
		.open = loop_open,
		.free = null_free,
	};

	(void)spec;
	(void)e;
	return null_netif_new(&ops, 0, false, out);
}

const struct netif_kind netif_loop = {
	.name = "loop",
	.usage = "loop\n"
		 "    what a queue pair sends comes back to it",
	.check = loop_check,
	.new = loop_netif_new,
};
