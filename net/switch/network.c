/* SPDX-License-Identifier: BSD-3-Clause */
/* network.c makes networks, wakes senders that wait, and prints counters. */
#include "network.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "bytes.h"
#include "evfd.h"
#include "network_priv.h"

#define MACS_MIN 16
#define AGE_MAX_S 1000000
/* Buckets of the table of addresses that are aged under one lock. */
#define AGE_STEP 1024

static bool config_good(const struct network_config *c)
{
	return network_name_ok(c->name) && c->macs >= MACS_MIN &&
	       c->macs <= NETWORK_MACS_MAX && c->age_s &&
	       c->age_s <= AGE_MAX_S && network_mtu_ok(c->mtu);
}

int network_new(const struct network_config *config, struct network **out)
{
	uint64_t seed[2];
	struct network *n;
	int ret;

	if (!config_good(config))
		return -EINVAL;
	if (getrandom(seed, sizeof(seed), 0) != sizeof(seed))
		return -EIO;
	n = calloc(1, sizeof(*n));
	if (!n)
		return -ENOMEM;
	ret = mactable_new(config->macs, config->age_s, seed, &n->table);
	if (ret < 0) {
		free(n);
		return ret;
	}
	n->config = *config;
	rwlock_init(&n->lock);
	mutex_init(&n->wait_lock);
	*out = n;
	return 0;
}

void network_free(struct network *n)
{
	if (!n)
		return;
	mutex_destroy(&n->wait_lock);
	rwlock_destroy(&n->lock);
	mactable_free(n->table);
	free(n);
}

void waiters_wake(struct network *n, const struct rxq *rxq)
{
	struct waiter **p;

	mutex_lock(&n->wait_lock);
	p = &n->waiters;
	while (*p) {
		struct waiter *w = *p;

		if (rxq && w->rxq != rxq) {
			p = &w->next;
			continue;
		}
		*p = w->next;
		w->rxq = NULL;
		evfd_drain(w->fd);
	}
	mutex_unlock(&n->wait_lock);
}

/* ---- counters ---- */

const char *network_drop_name(enum network_drop why)
{
#define DROP_NAME(value, name) [value] = (name),
	static const char *const names[] = { NETWORK_DROP_REASONS(DROP_NAME) };
#undef DROP_NAME

	return names[why];
}

/* In small steps: others want the lock. */
static void forget_aged(struct network *n)
{
	uint32_t now_s = (uint32_t)(coarse_ns() / NS_PER_S);
	unsigned int left = mactable_buckets(n->table);

	while (left) {
		unsigned int step = MIN(left, AGE_STEP);

		rwlock_wrlock(&n->lock);
		mactable_age(n->table, now_s, step);
		rwlock_wrunlock(&n->lock);
		left -= step;
	}
}

void network_print(struct network *n, FILE *out)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return;
	/* @out may block: it is written without the lock. */
	forget_aged(n);
	rwlock_rdlock(&n->lock);
	fprintf(f, "%s: ports %u addresses %u of %u\n", n->config.name,
		n->nports, mactable_total(n->table), n->config.macs);
	for (unsigned int i = 0; i < n->nports; i++)
		swport_print(n->list[i],
			     mactable_count(n->table, n->list[i]->number), f);
	rwlock_rdunlock(&n->lock);
	if (fclose(f) == 0)
		fwrite(text, 1, size, out);
	free(text);
}
