/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where addresses are: (VLAN, MAC) -> port. Memory is allocated once, and every
 * look-up costs two cache lines at most, however many addresses are known.
 *
 * What a hostile sender can do with it is little: the hash is keyed, so that it
 * cannot choose addresses that collide; a fresh address is never put out for
 * another; and a port may learn only while it holds less than
 * MACTABLE_SHARE times what is free, so that others find room.
 *
 * Locks are the caller's. mactable_find() and mactable_seen() may run at the
 * same time on many threads, everything else alone. Time is passed in, seconds
 * of any clock that does not go back; a caller may be late by a little.
 */
#ifndef MACTABLE_H
#define MACTABLE_H

#include <stdbool.h>
#include <stdint.h>
#include "network.h"

#define MACTABLE_PORTS NETWORK_PORTS_MAX
#define MACTABLE_SHARE 8
#define MACTABLE_MAX NETWORK_MACS_MAX

struct mactable;

/**
 * mactable_new() - an empty table
 * @macs:  addresses it can hold, 1...MACTABLE_MAX
 * @age_s: an address not seen for longer is forgotten, 1...2^30
 * @seed:  random; not to be known to who sends
 *
 * Return: 0, -EINVAL, -ENOMEM.
 */
int mactable_new(unsigned int macs, uint32_t age_s, const uint64_t seed[2],
		 struct mactable **out);
void mactable_free(struct mactable *t);

/** mactable_set_limit() - addresses that @port may hold; 0: as the table can */
void mactable_set_limit(struct mactable *t, unsigned int port,
			unsigned int limit);

/**
 * struct macaddr - an address with its VLAN, as it is looked up
 * @key: never 0
 */
struct macaddr {
	uint64_t key, hash;
};

/** mactable_addr() - @mac: 6 bytes; @vlan: 0...4095; needs no lock */
struct macaddr mactable_addr(const struct mactable *t, const uint8_t *mac,
			     unsigned int vlan);

/** mactable_prefetch() - @a is looked up soon; needs no lock */
void mactable_prefetch(const struct mactable *t, struct macaddr a);

/** mactable_find() - the port, or -ENOENT */
int mactable_find(const struct mactable *t, struct macaddr a, uint32_t now_s);

/** mactable_seen() - if @a is known at @port: it was seen, true */
bool mactable_seen(struct mactable *t, struct macaddr a, unsigned int port,
		   uint32_t now_s);

/** mactable_has_space() - would @port, at a glance, be let learn one more? */
bool mactable_has_space(const struct mactable *t, unsigned int port);

enum mactable_learnt {
	MAC_KNOWN, /* there already */
	MAC_NEW,
	MAC_MOVED, /* was at another port */
	MAC_LIMIT, /* the port has as many as it may; nothing changed */
	MAC_FULL,  /* no room in the table, or where it would belong */
};

/** mactable_learn() - @a is at @port; ages a few others */
enum mactable_learnt mactable_learn(struct mactable *t, struct macaddr a,
				    unsigned int port, uint32_t now_s);

/**
 * mactable_age() - forget what is too old, in the next @buckets of the table
 *
 * Goes round. An aged address is not found in any case; this makes room.
 */
void mactable_age(struct mactable *t, uint32_t now_s, unsigned int buckets);

/** mactable_forget() - all addresses of @port, at once */
void mactable_forget(struct mactable *t, unsigned int port);

/** mactable_count() - addresses of @port, aged ones included that are still
 * there */
unsigned int mactable_count(const struct mactable *t, unsigned int port);
/** mactable_total() - of all ports */
unsigned int mactable_total(const struct mactable *t);
/** mactable_buckets() - for mactable_age(): once round */
unsigned int mactable_buckets(const struct mactable *t);

#endif
