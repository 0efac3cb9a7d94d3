/* SPDX-License-Identifier: BSD-3-Clause */
/* netif_gen.c has the kind gen: the traffic generator of gen.c. */
#include "netif_priv.h"

#include <errno.h>
#include <stdlib.h>

#include "bytes.h"
#include "gen.h"

struct gen_netif {
	struct netif netif;
	struct gen *gen;
};

static struct gen_netif *to_gen_netif(struct netif *s)
{
	return container_of(s, struct gen_netif, netif);
}

static const struct gen_config defaults = {
	.len = GEN_LEN_MIN,
	.flows = 1,
	.src = { 2, 0, 0, 0, 0, 1 },
	.dst = { 2, 0, 0, 0, 0, 2 },
};

#define NUMBER(key, low, high)                                        \
	NETIF_KEY(#key, number, struct gen_config, key, .min = (low), \
		  .max = (high))

static const struct netif_key gen_arg = NETIF_ARG(
	number, struct gen_config, len, .min = GEN_LEN_MIN, .max = GEN_LEN_MAX);

static const struct netif_key gen_keys[] = {
	NUMBER(rate, 1, GEN_RATE_MAX),
	NUMBER(count, 1, UINT64_MAX),
	NUMBER(flows, 1, GEN_FLOWS_MAX),
	NETIF_KEY("src", mac, struct gen_config, src),
	NETIF_KEY("dst", mac, struct gen_config, dst),
	NUMBER(tag, 1, 4094),
	NETIF_KEY("payload", choice, struct gen_config, payload,
		  .choices = GEN_PAYLOADS),
	{ 0 },
};

static int gen_netif_open(struct netif *s, unsigned int pair,
			  struct netport **rx, struct netport **tx)
{
	return gen_open(to_gen_netif(s)->gen, pair, rx, tx);
}

static void gen_netif_free(struct netif *s)
{
	gen_free(to_gen_netif(s)->gen);
	free(to_gen_netif(s));
}

static int gen_netif_new(const void *config, unsigned int queues,
			 struct netif **out, struct error_line *e)
{
	static const struct netif_ops ops = {
		.open_both = gen_netif_open,
		.free = gen_netif_free,
	};
	struct gen_netif *g = calloc(1, sizeof(*g));
	int ret;

	(void)e;
	if (!g)
		return -ENOMEM;
	g->netif.ops = &ops;
	ret = gen_new(config, queues, &g->gen);
	if (ret < 0)
		free(g);
	else
		*out = &g->netif;
	return ret;
}

const struct netif_kind netif_gen = {
	.name = "gen",
	.usage = "gen[:LEN][,rate=FPS][,count=N][,flows=N][,src=MAC][,dst=MAC]"
		 "[,tag=VLAN]\n"
		 "    [,payload=" GEN_PAYLOADS "]\n"
		 "    makes UDP frames with sequence numbers, and checks those "
		 "that come back;\n"
		 "    rate and count are of a queue pair",
	.arg = &gen_arg,
	.keys = gen_keys,
	.defaults = &defaults,
	.config_size = sizeof(defaults),
	.new = gen_netif_new,
};
