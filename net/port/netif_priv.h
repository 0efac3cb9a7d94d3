/* SPDX-License-Identifier: BSD-3-Clause */
/* What a kind of interface supplies: a row with its options, and operations. */
#ifndef NETIF_PRIV_H
#define NETIF_PRIV_H

#include <net/if.h>

#include "error_line.h"
#include "netif.h"

/** NETIF_CONFIG_MAX - bytes of the configuration of a kind */
#define NETIF_CONFIG_MAX 768

/**
 * struct netif_value - a value to be read
 * @label: begins the line that says what is wrong
 * @text:  NULL for an argument that is not given
 * @field: where it goes
 */
struct netif_value {
	const struct netif_key *key;
	const char *label, *text;
	void *field;
	struct error_line *e;
};

/**
 * struct netif_key - a row: the argument of a kind, or one of its keys
 * @name:  not "port", "queues", "mtu", "mac", "client", which the command line
 *         has itself; NULL: the argument, or the end of the keys
 * @read:  0 or -EINVAL with a line
 * @field: offset in the kind's configuration
 * @min, @max: of a number
 * @choices: "hash|lb|cpu"
 */
struct netif_key {
	const char *name;
	int (*read)(const struct netif_value *v);
	size_t field;
	uint64_t min, max;
	const char *choices;
};

/** NETIF_KEY(), NETIF_ARG() - a row for @member of @config, read by
 * netif_read_@type() */
#define NETIF_KEY(key, type, config, member, ...) \
	{ .name = (key),                          \
	  .read = netif_read_##type,              \
	  .field = offsetof(config, member),      \
	  __VA_ARGS__ }
#define NETIF_ARG(...) NETIF_KEY(NULL, __VA_ARGS__)

/* ---- values of struct netif_key.read ---- */

/** Values: uint64_t; uint8_t[6]; bool, of a key without a value; unsigned int,
 * the index in @choices; const char *, which lives as long as the call */
int netif_read_number(const struct netif_value *v);
int netif_read_mac(const struct netif_value *v);
int netif_read_flag(const struct netif_value *v);
int netif_read_choice(const struct netif_value *v);
int netif_read_text(const struct netif_value *v);

/** Arguments that must be given: char[IFNAMSIZ], the name of an interface as
 * dev_valid_name() of the kernel accepts it, but without '%', for which the
 * kernel would choose a number; const char *, the path of a file */
int netif_read_ifname(const struct netif_value *v);
int netif_read_path(const struct netif_value *v);

/**
 * struct netif_kind - a row of the table that drives checks, opening, help
 * and the manual
 * @usage: "tap:NAME" and what it is, for help: lines of at most 76 bytes
 * @arg:   NULL: the kind has no argument
 * @keys:  at most 32; NULL: none
 * @defaults: configuration of @config_size bytes, before any option is read;
 *         NULL: there is none
 * @check: whether the options go together; 0 or -EINVAL with a line. Pure.
 *         NULL: they always do
 * @new:   for @queues queue pairs; 0, or -errno with a line of cause and cure;
 *         sets @out's ops, and nothing else of struct netif
 * @adopt: the same with the @n descriptors that netif_ops.fds gave in another
 *         process; 0, -ENOMEM, -EINVAL (@n), -ENODEV. NULL: the kind stays in
 * the process that made it
 */
struct netif_kind {
	const char *name, *usage;
	const struct netif_key *arg, *keys;
	const void *defaults;
	size_t config_size;
	int (*check)(const void *config, struct error_line *e);
	int (*new)(const void *config, unsigned int queues, struct netif **out,
		   struct error_line *e);
	int (*adopt)(const void *config, unsigned int queues, const int *fds,
		     unsigned int n, struct netif **out);
};

/** netif_kinds - the kinds that this program knows, @netif_nkinds of them */
extern const struct netif_kind *const netif_kinds[];
extern const size_t netif_nkinds;

extern const struct netif_kind netif_tap, netif_macvtap, netif_packet,
	netif_qemu, netif_gen, netif_null, netif_loop, netif_pcap,
	netif_pcap_in, netif_pcap_out;

enum netif_dir { NETIF_RX, NETIF_TX };

/**
 * struct netif_ops - operations; they are given pairs below queues only
 * @features: VIRTIO_NET_F_* of offloads in both directions
 * @open:     the port of one direction
 * @open_both: for a kind whose two ports know one another; then @open is NULL
 * @enable, @set_offload: NULL: nothing to do
 * @fds:      as netif_fds(); NULL: there are none
 */
struct netif_ops {
	uint64_t features;
	int (*open)(struct netif *s, unsigned int pair, enum netif_dir dir,
		    struct netport **out);
	int (*open_both)(struct netif *s, unsigned int pair,
			 struct netport **rx, struct netport **tx);
	void (*enable)(struct netif *s, unsigned int pair, bool on);
	void (*set_offload)(struct netif *s, uint64_t features);
	int (*fds)(const struct netif *s, int *fds);
	void (*free)(struct netif *s);
};

/** struct netif - embedded first in each kind; @moves: as netif_moves() */
struct netif {
	const struct netif_ops *ops;
	unsigned int queues;
	bool moves;
};

#endif
