/* SPDX-License-Identifier: BSD-3-Clause */
/* What the kinds of source share; private to net/. */
#ifndef NETIF_PRIV_H
#define NETIF_PRIV_H

#include <net/if.h>

#include "netif.h"

/** NETIF_KEYS_MAX - keys of a kind */
#define NETIF_KEYS_MAX 12

/**
 * struct netif_spec - a specification taken apart: KIND[:ARG][,KEY=VALUE...];
 * a comma of ARG or a VALUE is written twice. It lives as long as the call
 * @arg:  NULL without a colon
 * @keys: those that the kind has, in the order of struct netif_kind.keys; NULL
 *        where one was not given; "" for one without '='
 * @queues: as given to netif_new(); 0 in a check
 */
struct netif_spec {
	const char *arg;
	const char *keys[NETIF_KEYS_MAX];
	unsigned int queues;
};

struct netif_error {
	char *text;
	size_t size;
};

/** netif_fail() - writes one line, returns @err */
int __attribute__((format(printf, 3, 4)))
netif_fail(struct netif_error *e, int err, const char *fmt, ...);

/**
 * netif_number() - a decimal number
 * @what: kind and key, for the line
 *
 * Return: 0, or -EINVAL with a line: no number, or not within @min...@max.
 */
int netif_number(struct netif_error *e, const char *what, const char *text,
		 uint64_t min, uint64_t max, uint64_t *out);

/** netif_mac() - aa:bb:cc:dd:ee:ff; 0 or -EINVAL with a line */
int netif_mac(struct netif_error *e, const char *what, const char *text,
	      uint8_t mac[6]);

/**
 * netif_ifname() - the argument of a kind that names an interface
 *
 * What the kernel's dev_valid_name() takes, and no '%', which would make the
 * kernel choose a number. Return: 0 or -EINVAL with a line.
 */
int netif_ifname(struct netif_error *e, const char *kind, const char *arg,
		 char ifname[IFNAMSIZ]);

/**
 * struct netif_kind - a row of the table that drives checks, opening, help
 * and the manual
 * @usage: "tap:NAME" and what it is, for help: lines of at most 76 bytes
 * @keys:  NULL-terminated, at most NETIF_KEYS_MAX; NULL: none. Not "port",
 *         "queues", "mtu", "mac", "client", which the command line has itself
 * @check: pure; 0 or -EINVAL with a line
 * @new:   0 or -errno with a line of cause and cure; fills in @out's ops, and
 *         nothing else of struct netif. The specification has passed @check
 */
struct netif_kind {
	const char *name, *usage;
	const char *const *keys;
	int (*check)(const struct netif_spec *spec, struct netif_error *e);
	int (*new)(const struct netif_spec *spec, struct netif **out,
		   struct netif_error *e);
};

extern const struct netif_kind netif_tap, netif_macvtap, netif_packet,
	netif_qemu, netif_gen, netif_null, netif_loop, netif_pcap,
	netif_pcap_in, netif_pcap_out;

/** struct netif_ops - NULL entries: nothing to do, no features. @open and
 * @free are never NULL; @open and @enable are given pairs below queues only */
struct netif_ops {
	uint64_t (*features)(const struct netif *s);
	int (*open)(struct netif *s, unsigned int pair, struct netport **rx,
		    struct netport **tx);
	void (*enable)(struct netif *s, unsigned int pair, bool on);
	void (*set_offload)(struct netif *s, uint64_t features);
	void (*free)(struct netif *s);
};

/** struct netif - embedded first in each kind */
struct netif {
	const struct netif_ops *ops;
	const struct netif_kind *kind;
	unsigned int queues;
};

#endif
