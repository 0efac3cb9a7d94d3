/* SPDX-License-Identifier: BSD-3-Clause */
/* The generator by name. */
#include "netif_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "gen.h"
#include "parse.h"

enum { RATE, COUNT, FLOWS, SRC, DST, TAG, PAYLOAD };

static const char *const keys[] = { "rate", "count", "flows",   "src",
				    "dst",  "tag",   "payload", NULL };

struct gen_netif {
	struct netif source;
	struct gen *gen;
};

static struct gen *to_gen(struct netif *s)
{
	return container_of(s, struct gen_netif, source)->gen;
}

static int parse_numbers(const struct netif_spec *spec, struct gen_config *c,
			 struct netif_error *e)
{
	uint64_t len = c->len, flows = c->flows, tag = c->tag;
	const struct {
		const char *what, *text;
		uint64_t min, max, *to;
	} numbers[] = {
		{ "gen", spec->arg, GEN_LEN_MIN, GEN_LEN_MAX, &len },
		{ "gen: rate", spec->keys[RATE], 1, GEN_RATE_MAX, &c->rate },
		{ "gen: count", spec->keys[COUNT], 1, UINT64_MAX, &c->count },
		{ "gen: flows", spec->keys[FLOWS], 1, GEN_FLOWS_MAX, &flows },
		{ "gen: tag", spec->keys[TAG], 1, 4094, &tag },
	};
	int ret = 0;

	for (size_t i = 0; ret == 0 && i < ARRAY_SIZE(numbers); i++)
		if (numbers[i].text)
			ret = netif_number(e, numbers[i].what, numbers[i].text,
					   numbers[i].min, numbers[i].max,
					   numbers[i].to);
	c->len = (unsigned int)len;
	c->flows = (unsigned int)flows;
	c->tag = (unsigned int)tag;
	return ret;
}

static int parse_payload(const char *text, struct gen_config *c,
			 struct netif_error *e)
{
	static const char *const names[] = {
		[GEN_COUNT] = "count",
		[GEN_RANDOM] = "random",
		[GEN_ZERO] = "zero",
	};

	int i = text ? parse_choice(text, names, ARRAY_SIZE(names))
		     : (int)c->payload;

	if (i < 0)
		return netif_fail(e, -EINVAL,
				  "gen: payload: '%s': expected count, random "
				  "or zero",
				  text);
	c->payload = (enum gen_payload)i;
	return 0;
}

static int gen_parse(const struct netif_spec *spec, struct gen_config *c,
		     struct netif_error *e)
{
	int ret;

	*c = (struct gen_config){
		.len = GEN_LEN_MIN,
		.flows = 1,
		.src = { 2, 0, 0, 0, 0, 1 },
		.dst = { 2, 0, 0, 0, 0, 2 },
	};
	ret = parse_numbers(spec, c, e);
	if (ret == 0 && spec->keys[SRC])
		ret = netif_mac(e, "gen: src", spec->keys[SRC], c->src);
	if (ret == 0 && spec->keys[DST])
		ret = netif_mac(e, "gen: dst", spec->keys[DST], c->dst);
	if (ret == 0)
		ret = parse_payload(spec->keys[PAYLOAD], c, e);
	return ret;
}

static int gen_check(const struct netif_spec *spec, struct netif_error *e)
{
	struct gen_config c;

	return gen_parse(spec, &c, e);
}

static int gen_open_pair(struct netif *s, unsigned int pair,
			 struct netport **rx, struct netport **tx)
{
	return gen_open(to_gen(s), pair, rx, tx);
}

static void gen_netif_free(struct netif *s)
{
	gen_free(to_gen(s));
	free(container_of(s, struct gen_netif, source));
}

static int gen_netif_new(const struct netif_spec *spec, struct netif **out,
			 struct netif_error *e)
{
	static const struct netif_ops ops = {
		.open = gen_open_pair,
		.free = gen_netif_free,
	};
	struct gen_netif *g;
	struct gen_config c;
	int ret = gen_parse(spec, &c, e);

	if (ret < 0)
		return ret;
	g = calloc(1, sizeof(*g));
	if (!g)
		return -ENOMEM;
	g->source.ops = &ops;
	ret = gen_new(&c, spec->queues, &g->gen);
	if (ret < 0) {
		free(g);
		return ret;
	}
	*out = &g->source;
	return 0;
}

const struct netif_kind netif_gen = {
	.name = "gen",
	.usage = "gen[:LEN][,rate=FPS][,count=N][,flows=N][,src=MAC][,dst=MAC]"
		 "[,tag=VLAN]\n"
		 "    [,payload=count|random|zero]\n"
		 "    makes UDP frames with sequence numbers, and checks those "
		 "that come back;\n"
		 "    rate and count are of a queue pair",
	.keys = keys,
	.check = gen_check,
	.new = gen_netif_new,
};
