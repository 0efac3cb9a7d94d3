/* SPDX-License-Identifier: BSD-3-Clause */
/* What the kinds of source share; private to net/. */
#ifndef SOURCE_PRIV_H
#define SOURCE_PRIV_H

#include <net/if.h>

#include "netsource.h"

/** SOURCE_KEYS_MAX - keys of a kind */
#define SOURCE_KEYS_MAX 12

/**
 * struct source_spec - a specification taken apart: KIND[:ARG][,KEY=VALUE...];
 * a comma of ARG or a VALUE is written twice. It lives as long as the call
 * @arg:  NULL without a colon
 * @keys: those that the kind has, in the order of struct source_kind.keys; NULL
 *        where one was not given; "" for one without '='
 * @queues: as given to netsource_new(); 0 in a check
 */
struct source_spec {
	const char *arg;
	const char *keys[SOURCE_KEYS_MAX];
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
 * source_number() - a decimal number
 * @what: kind and key, for the line
 *
 * Return: 0, or -EINVAL with a line: no number, or not within @min...@max.
 */
int source_number(struct source_error *e, const char *what, const char *text,
		  uint64_t min, uint64_t max, uint64_t *out);

/** source_mac() - aa:bb:cc:dd:ee:ff; 0 or -EINVAL with a line */
int source_mac(struct source_error *e, const char *what, const char *text,
	       uint8_t mac[6]);

/**
 * source_ifname() - the argument of a kind that names an interface
 *
 * What the kernel's dev_valid_name() takes, and no '%', which would make the
 * kernel choose a number. Return: 0 or -EINVAL with a line.
 */
int source_ifname(struct source_error *e, const char *kind, const char *arg,
		  char ifname[IFNAMSIZ]);

/**
 * struct source_kind - a row of the table that drives checks, opening, help
 * and the manual
 * @usage: "tap:NAME" and what it is, for help: lines of at most 76 bytes
 * @keys:  NULL-terminated, at most SOURCE_KEYS_MAX; NULL: none. Not "port",
 *         "queues", "mtu", "mac", "client", which the command line has itself
 * @check: pure; 0 or -EINVAL with a line
 * @new:   0 or -errno with a line of cause and cure; fills in @out's ops, and
 *         nothing else of struct netsource. The specification has passed @check
 */
struct source_kind {
	const char *name, *usage;
	const char *const *keys;
	int (*check)(const struct source_spec *spec, struct source_error *e);
	int (*new)(const struct source_spec *spec, struct netsource **out,
		   struct source_error *e);
};

extern const struct source_kind source_tap, source_macvtap, source_packet,
	source_qemu, source_gen, source_null, source_loop, source_pcap,
	source_pcap_in, source_pcap_out;

/** struct netsource_ops - NULL entries: nothing to do, no features. @open and
 * @free are never NULL; @open and @enable are given pairs below queues only */
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
