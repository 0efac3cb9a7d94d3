/* SPDX-License-Identifier: BSD-3-Clause */
/* A network: who is in it, what was counted, and what it tells about itself. */
#include "network.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "bytes.h"
#include "evfd.h"
#include "network_priv.h"

#define MTU_MIN 68
#define MTU_MAX 65535
#define MACS_MIN 16
#define AGE_MAX_S 1000000
#define QUEUES_MAX 256
#define VLAN_MAX 4094
/* Buckets of the table of addresses at a time. */
#define AGE_STEP 1024

/* ---- the network ---- */

static bool mtu_good(unsigned int mtu)
{
	return mtu >= MTU_MIN && mtu <= MTU_MAX;
}

static bool name_good(const char *name)
{
	return memchr(name, '\0', NETWORK_NAME_MAX + 1) != NULL;
}

static bool config_good(const struct network_config *c)
{
	return name_good(c->name) && c->macs >= MACS_MIN &&
	       c->macs <= NETWORK_MACS_MAX && c->age_s &&
	       c->age_s <= AGE_MAX_S && mtu_good(c->mtu);
}

/* A writer does not wait for a moment without readers: with two busy senders
 * there is none. */
static void init_lock(pthread_rwlock_t *lock)
{
	pthread_rwlockattr_t attr;

	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(
		&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(lock, &attr);
	pthread_rwlockattr_destroy(&attr);
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
	init_lock(&n->lock);
	pthread_mutex_init(&n->wait_lock, NULL);
	*out = n;
	return 0;
}

void network_free(struct network *n)
{
	if (!n)
		return;
	pthread_mutex_destroy(&n->wait_lock);
	pthread_rwlock_destroy(&n->lock);
	mactable_free(n->table);
	free(n);
}

const char *network_name(const struct network *n)
{
	return n->config.name;
}

void waiters_wake(struct network *n, const struct inbox *box)
{
	struct waiter **p;

	pthread_mutex_lock(&n->wait_lock);
	p = &n->waiters;
	while (*p) {
		struct waiter *w = *p;

		if (box && w->box != box) {
			p = &w->next;
			continue;
		}
		*p = w->next;
		w->box = NULL;
		evfd_drain(w->fd);
	}
	pthread_mutex_unlock(&n->wait_lock);
}

/* ---- members ---- */

static bool member_config_good(const struct netmember_config *c)
{
	uint64_t trunk = 0;

	for (size_t i = 0; i < ARRAY_SIZE(c->trunk); i++)
		trunk |= c->trunk[i];
	if (!name_good(c->name) || c->vlan > VLAN_MAX ||
	    (c->mtu && !mtu_good(c->mtu)))
		return false;
	/* 0 and 4095 are no VLANs: IEEE 802.1Q, table 9-2 */
	if ((c->trunk[0] & 1) || (c->trunk[VLAN_MAX / 64] >> 63))
		return false;
	return c->vlan || trunk;
}

static struct netmember *find_name(const struct network *n, const char *name)
{
	for (unsigned int i = 0; i < n->nmembers; i++)
		if (strcmp(n->list[i]->config.name, name) == 0)
			return n->list[i];
	return NULL;
}

/* Senders to sinks look without the lock: wait_for_room(). */
static void set_nmembers(struct network *n, unsigned int nmembers)
{
	__atomic_store_n(&n->nmembers, nmembers, __ATOMIC_SEQ_CST);
}

/* Holding the lock for writing. */
static int join(struct network *n, struct netmember *m)
{
	char *name = m->config.name;
	unsigned int number = 0;

	if (*name && find_name(n, name))
		return -EEXIST;
	if (n->nmembers == NETWORK_PORTS_MAX)
		return -ENOSPC;
	while (!*name || find_name(n, name))
		snprintf(name, sizeof(m->config.name), "port%" PRIu64,
			 n->serial++);
	while (n->member[number])
		number++;
	m->number = number;
	n->member[number] = m;
	n->list[n->nmembers] = m;
	set_nmembers(n, n->nmembers + 1);
	mactable_set_limit(n->table, number, m->config.macs);
	return 0;
}

static void member_destroy(struct netmember *m)
{
	pthread_mutex_destroy(&m->flood_lock);
	free(m->active);
	free(m->queue);
	free(m);
}

static struct netmember *member_create(struct network *n,
				       const struct netmember_config *config,
				       unsigned int queues)
{
	struct netmember *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	pthread_mutex_init(&m->flood_lock, NULL);
	m->network = n;
	m->config = *config;
	m->takes = config->takes;
	m->mtu = config->mtu ? config->mtu : n->config.mtu;
	m->nqueues = queues;
	m->queue = calloc(queues, sizeof(*m->queue));
	m->active = calloc(queues, sizeof(*m->active));
	if (!m->queue || !m->active) {
		member_destroy(m);
		return NULL;
	}
	for (unsigned int i = 0; i < queues; i++)
		m->queue[i].member = m;
	return m;
}

int netmember_new(struct network *n, const struct netmember_config *config,
		  unsigned int queues, struct netmember **out)
{
	struct netmember *m;
	int ret;

	if (!member_config_good(config) || !queues || queues > QUEUES_MAX)
		return -EINVAL;
	m = member_create(n, config, queues);
	if (!m)
		return -ENOMEM;
	pthread_rwlock_wrlock(&n->lock);
	ret = join(n, m);
	pthread_rwlock_unlock(&n->lock);
	if (ret < 0) {
		member_destroy(m);
		return ret;
	}
	/* What was a wire is none any more, or has become one. */
	waiters_wake(n, NULL);
	*out = m;
	return 0;
}

void netmember_free(struct netmember *m)
{
	struct network *n;

	if (!m)
		return;
	n = m->network;
	pthread_rwlock_wrlock(&n->lock);
	mactable_forget(n->table, m->number);
	mactable_set_limit(n->table, m->number, 0);
	n->member[m->number] = NULL;
	for (unsigned int i = 0; i < n->nmembers; i++)
		if (n->list[i] == m)
			n->list[i] = n->list[n->nmembers - 1];
	set_nmembers(n, n->nmembers - 1);
	pthread_rwlock_unlock(&n->lock);
	waiters_wake(n, NULL);
	member_destroy(m);
}

const char *netmember_name(const struct netmember *m)
{
	return m->config.name;
}

void netmember_set_takes(struct netmember *m, uint64_t features)
{
	__atomic_store_n(&m->takes, features, __ATOMIC_RELAXED);
}

/* ---- what was counted ---- */

const char *network_drop_name(enum network_drop why)
{
	static const char *const names[NETWORK_DROPS] = {
		[DROP_MALFORMED] = "malformed", [DROP_TOO_LONG] = "too-long",
		[DROP_VLAN] = "vlan",           [DROP_STACKED] = "stacked-tags",
		[DROP_FLOOD] = "flood-limit",   [DROP_SOURCE] = "source",
		[DROP_RESERVED] = "reserved",   [DROP_SAME_PORT] = "same-port",
		[DROP_FULL] = "full",           [DROP_REFUSED] = "refused",
		[DROP_NO_QUEUE] = "no-queue",
	};

	return names[why];
}

void netmember_read_counters(const struct netmember *m,
			     struct netmember_counters *out)
{
	const struct member_counters *c = &m->count;

	*out = (struct netmember_counters){
		.sent = count_read(&c->sent),
		.sent_bytes = count_read(&c->sent_bytes),
		.flooded = count_read(&c->flooded),
		.segmented = count_read(&c->segmented),
		.checksummed = count_read(&c->checksummed),
		.moved = count_read(&c->moved),
	};
	for (unsigned int i = 0; i < NETWORK_DROPS; i++) {
		out->drop_in[i] = count_read(&c->drop_in[i]);
		out->drop_out[i] = count_read(&c->drop_out[i]);
	}
	for (unsigned int i = 0; i < m->nqueues; i++) {
		out->received += count_read(&m->queue[i].received);
		out->received_bytes += count_read(&m->queue[i].received_bytes);
	}
}

static void print_drops(FILE *out, const char *what, const uint64_t *drop)
{
	for (unsigned int i = 0; i < NETWORK_DROPS; i++)
		if (drop[i])
			fprintf(out, " %s-%s %" PRIu64, what,
				network_drop_name((enum network_drop)i),
				drop[i]);
}

static void print_member(const struct netmember *m, unsigned int macs,
			 FILE *out)
{
	struct netmember_counters c;

	netmember_read_counters(m, &c);
	fprintf(out,
		"%s.%s: addresses %u sent %" PRIu64 " (%" PRIu64
		" bytes) received %" PRIu64 " (%" PRIu64 " bytes)",
		m->network->config.name, m->config.name, macs, c.sent,
		c.sent_bytes, c.received, c.received_bytes);
	if (c.flooded)
		fprintf(out, " flooded %" PRIu64, c.flooded);
	if (c.segmented)
		fprintf(out, " segmented %" PRIu64, c.segmented);
	if (c.checksummed)
		fprintf(out, " checksummed %" PRIu64, c.checksummed);
	if (c.moved)
		fprintf(out, " moved %" PRIu64, c.moved);
	print_drops(out, "in", c.drop_in);
	print_drops(out, "out", c.drop_out);
	fputc('\n', out);
}

/* In small steps: others want the lock. */
static void forget_aged(struct network *n)
{
	uint32_t now_s = (uint32_t)(coarse_ns() / NS_PER_S);
	unsigned int left = mactable_buckets(n->table);

	while (left) {
		unsigned int step = MIN(left, AGE_STEP);

		pthread_rwlock_wrlock(&n->lock);
		mactable_age(n->table, now_s, step);
		pthread_rwlock_unlock(&n->lock);
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
	/* Who reads it may be slow: nobody else waits for him. */
	forget_aged(n);
	pthread_rwlock_rdlock(&n->lock);
	fprintf(f, "%s: ports %u addresses %u of %u\n", n->config.name,
		n->nmembers, mactable_total(n->table), n->config.macs);
	for (unsigned int i = 0; i < n->nmembers; i++)
		print_member(n->list[i],
			     mactable_count(n->table, n->list[i]->number), f);
	pthread_rwlock_unlock(&n->lock);
	if (fclose(f) == 0)
		fwrite(text, 1, size, out);
	free(text);
}
