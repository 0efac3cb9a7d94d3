/* SPDX-License-Identifier: BSD-3-Clause */
/* What the kinds of source share; private to net/. */
#ifndef SOURCE_PRIV_H
#define SOURCE_PRIV_H

#include "netsource.h"

/**
 * struct source_spec - a specification taken apart: KIND[:ARG][,KEY=VALUE...];
 * a comma of ARG or a VALUE is written twice
 * @keys: those that the kind has, in the order of struct source_kind.keys; NULL
 *        where one was not given; "" for one without '='
 */
struct source_spec {
	const char *arg;
	const char *const *keys;
	unsigned int queues;
};

struct source_error {
	char *text;
	size_t size;
};

/** source_fail() - writes one line, returns @err */
int __attribute__((format(printf, 3, 4)))
source_fail(struct source_error *e, int err, const char *fmt, ...);

/**
 * struct source_kind - a row of the table that drives checks, opening, help
 * and the manual
 * @usage: "tap:NAME" and what it is, for help
 * @keys:  NULL-terminated
 * @check: pure; 0 or -EINVAL with a line
 * @new:   0 or -errno with a line of cause and cure
 */
struct source_kind {
	const char *name, *usage;
	const char *const *keys;
	int (*check)(const struct source_spec *spec, struct source_error *e);
	int (*new)(const struct source_spec *spec, struct netsource **out,
		   struct source_error *e);
};

/** struct netsource_ops - NULL entries: nothing to do, no features */
struct netsource_ops {
	uint64_t (*features)(const struct netsource *s);
	int (*open)(struct netsource *s, unsigned int pair, struct netport **rx,
		    struct netport **tx);
	void (*enable)(struct netsource *s, unsigned int pair, bool on);
	void (*set_offload)(struct netsource *s, uint64_t features);
	void (*free)(struct netsource *s);
};

/** struct netsource - embedded first in each kind */
struct netsource {
	const struct netsource_ops *ops;
	const struct source_kind *kind;
	unsigned int queues;
};

#endif
