/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table of addresses: (VLAN, MAC) -> port. Memory is allocated once, and a
 * look-up reads two cache lines at most, however many addresses are known.
 *
 * The table limits what a hostile sender can do: the hash is keyed, so that a
 * sender cannot choose addresses that collide; an address that is not aged is
 * never replaced; and a port may learn only while it has less than
 * MACTABLE_SHARE times the free entries, so that other ports can learn.
 *
 * The caller locks. mactable_find() and mactable_seen() may run at the
 * same time on many threads, everything else alone. Time is passed in, seconds
 * of any clock that does not go back; it may be late by a second.
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
 * @seed:  random, and not known to senders
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

/** mactable_prefetch() - before a look-up of @a; needs no lock */
void mactable_prefetch(const struct mactable *t, struct macaddr a);

/** mactable_find() - the port, or -ENOENT */
int mactable_find(const struct mactable *t, struct macaddr a, uint32_t now_s);

/** mactable_seen() - if @a is at @port, set the time at which it was last seen;
 * whether it is */
bool mactable_seen(struct mactable *t, struct macaddr a, unsigned int port,
		   uint32_t now_s);

/** mactable_has_space() - whether @port may learn one more address, as an
 * estimate */
bool mactable_has_space(const struct mactable *t, unsigned int port);

enum mactable_learnt {
	MAC_KNOWN, /* it is there already */
	MAC_NEW,
	MAC_MOVED, /* it was at another port */
	MAC_LIMIT, /* the port has as many as it may have; nothing changed */
	MAC_FULL,  /* no space in the table, or in its buckets */
};

/** mactable_learn() - note that @a is at @port; removes a few aged addresses */
enum mactable_learnt mactable_learn(struct mactable *t, struct macaddr a,
				    unsigned int port, uint32_t now_s);

/**
 * mactable_age() - remove aged addresses from the next @buckets of the table,
 * in turn
 *
 * An aged address is not found in any case; this frees its entry.
 */
void mactable_age(struct mactable *t, uint32_t now_s, unsigned int buckets);

/** mactable_forget() - remove all addresses of @port */
void mactable_forget(struct mactable *t, unsigned int port);

/** mactable_count() - addresses of @port, aged ones included that are still
 * there */
unsigned int mactable_count(const struct mactable *t, unsigned int port);
/** mactable_total() - of all ports */
unsigned int mactable_total(const struct mactable *t);
/** mactable_buckets() - for mactable_age(): once round */
unsigned int mactable_buckets(const struct mactable *t);

#endif
