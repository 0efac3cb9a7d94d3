/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * swport.c has the ports of a network: they join and leave, open and close
 * their queues, and count what passes them. Packets for a queue wait in its
 * rxq; port_rx.c or tx_direct.c takes them out.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "network_priv.h"

#define QUEUES_MAX 256
#define VLAN_MAX 4094

static bool swport_config_good(const struct swport_config *c)
{
	uint64_t trunk = 0;

	for (size_t i = 0; i < ARRAY_SIZE(c->trunk); i++)
		trunk |= c->trunk[i];
	if (!network_name_ok(c->name) || c->vlan > VLAN_MAX ||
	    (c->mtu && !network_mtu_ok(c->mtu)))
		return false;
	/* 0 and 4095 are no VLANs: IEEE 802.1Q, table 9-2 */
	if ((c->trunk[0] & 1) || (c->trunk[VLAN_MAX / 64] >> 63))
		return false;
	return c->vlan || trunk;
}

static struct swport *find_name(const struct network *n, const char *name)
	NEEDS_SHARED(n->lock)
{
	for (unsigned int i = 0; i < n->nports; i++)
		if (strcmp(n->list[i]->config.name, name) == 0)
			return n->list[i];
	return NULL;
}

/* wait_for_rxq() reads it without the lock. */
static void set_nports(struct network *n, unsigned int nports)
{
	__atomic_store_n(&n->nports, nports, __ATOMIC_SEQ_CST);
}

static int join(struct network *n, struct swport *swport) NEEDS(n->lock)
{
	char *name = swport->config.name;
	unsigned int number = 0;

	if (*name && find_name(n, name))
		return -EEXIST;
	if (n->nports == NETWORK_PORTS_MAX)
		return -ENOSPC;
	while (!*name || find_name(n, name))
		snprintf(name, sizeof(swport->config.name), "port%" PRIu64,
			 n->serial++);
	while (n->port[number])
		number++;
	swport->number = number;
	n->port[number] = swport;
	n->list[n->nports] = swport;
	set_nports(n, n->nports + 1);
	mactable_set_limit(n->table, number, swport->config.macs);
	return 0;
}

static void swport_destroy(struct swport *swport)
{
	mutex_destroy(&swport->flood_lock);
	free(swport->active);
	free(swport->queue);
	free(swport);
}

static struct swport *swport_create(struct network *n,
				    const struct swport_config *config,
				    unsigned int queues)
{
	struct swport *swport = calloc(1, sizeof(*swport));

	if (!swport)
		return NULL;
	mutex_init(&swport->flood_lock);
	swport->network = n;
	swport->config = *config;
	swport->guest_offloads = config->guest_offloads;
	swport->mtu = config->mtu ? config->mtu : n->config.mtu;
	swport->nqueues = queues;
	swport->queue = calloc(queues, sizeof(*swport->queue));
	swport->active = calloc(queues, sizeof(*swport->active));
	if (!swport->queue || !swport->active) {
		swport_destroy(swport);
		return NULL;
	}
	for (unsigned int i = 0; i < queues; i++)
		swport->queue[i].swport = swport;
	return swport;
}

int swport_new(struct network *n, const struct swport_config *config,
	       unsigned int queues, struct swport **out)
{
	struct swport *swport;
	int ret;

	if (!swport_config_good(config) || !queues || queues > QUEUES_MAX)
		return -EINVAL;
	swport = swport_create(n, config, queues);
	if (!swport)
		return -ENOMEM;
	rwlock_wrlock(&n->lock);
	ret = join(n, swport);
	rwlock_wrunlock(&n->lock);
	if (ret < 0) {
		swport_destroy(swport);
		return ret;
	}
	/* Waiting senders check again whether the network is a wire. */
	waiters_wake(n, NULL);
	*out = swport;
	return 0;
}

void swport_free(struct swport *swport)
{
	struct network *n;

	if (!swport)
		return;
	n = swport->network;
	rwlock_wrlock(&n->lock);
	mactable_forget(n->table, swport->number);
	mactable_set_limit(n->table, swport->number, 0);
	n->port[swport->number] = NULL;
	for (unsigned int i = 0; i < n->nports; i++)
		if (n->list[i] == swport)
			n->list[i] = n->list[n->nports - 1];
	set_nports(n, n->nports - 1);
	rwlock_wrunlock(&n->lock);
	waiters_wake(n, NULL);
	swport_destroy(swport);
}

const char *swport_name(const struct swport *swport)
{
	return swport->config.name;
}

void swport_set_guest_offloads(struct swport *swport, uint64_t features)
{
	__atomic_store_n(&swport->guest_offloads, features, __ATOMIC_RELAXED);
}

/* ---- queues ---- */

/* Which queues receive packets. */
static void choose_active(struct swport *swport) NEEDS(swport->network->lock)
{
	swport->nactive = 0;
	for (unsigned int i = 0; i < swport->nqueues; i++)
		if (swport->queue[i].rxq && swport->queue[i].enabled)
			swport->active[swport->nactive++] = (uint16_t)i;
}

void swport_enable(struct swport *swport, unsigned int queue, bool on)
{
	if (queue >= swport->nqueues)
		return;
	rwlock_wrlock(&swport->network->lock);
	swport->queue[queue].enabled = on;
	choose_active(swport);
	rwlock_wrunlock(&swport->network->lock);
	waiters_wake(swport->network, NULL);
}

/* Return: 0 or -EBUSY. */
static int connect_queue(struct queue *q, struct rxq *rxq,
			 struct tx_direct *direct)
{
	int ret = -EBUSY;

	rwlock_wrlock(&q->swport->network->lock);
	if (!q->rxq && !q->tx_open) {
		q->rxq = rxq;
		q->direct = direct;
		q->tx_open = true;
		choose_active(q->swport);
		ret = 0;
	}
	rwlock_wrunlock(&q->swport->network->lock);
	return ret;
}

int queue_open(struct queue *q, struct tx_direct *direct, struct rxq **rxq,
	       struct netport **tx)
{
	int ret = rxq_new(rxq);

	if (ret < 0)
		return ret;
	ret = port_tx_new(q, tx);
	if (ret < 0)
		goto err_rxq;
	ret = connect_queue(q, *rxq, direct);
	if (ret < 0)
		goto err_tx;
	return 0;

err_tx:
	port_tx_discard(*tx);
err_rxq:
	rxq_free(*rxq);
	return ret;
}

void queue_detach(struct queue *q)
{
	rwlock_wrlock(&q->swport->network->lock);
	q->rxq = NULL;
	q->direct = NULL;
	choose_active(q->swport);
	rwlock_wrunlock(&q->swport->network->lock);
	waiters_wake(q->swport->network, NULL);
}

void queue_tx_closed(struct queue *q)
{
	struct network *n = q->swport->network;

	rwlock_wrlock(&n->lock);
	q->tx_open = false;
	rwlock_wrunlock(&n->lock);
}

void queue_drop_rest(struct queue *q, struct rxq *rxq)
{
	struct rxq_cursor c = rxq_begin(rxq);
	uint64_t rest = 0;
	uint32_t len;

	while (rxq_next(rxq, &c, &len))
		rest++;
	count_add(&q->swport->count.drop_out[DROP_NO_QUEUE], rest);
	rxq_free(rxq);
}

/* ---- counters ---- */

void swport_read_counters(const struct swport *swport,
			  struct swport_counters *out)
{
	const uint64_t *from = (const uint64_t *)&swport->count;
	uint64_t *to = (uint64_t *)out;

	for (size_t i = 0; i < sizeof(*out) / sizeof(*to); i++)
		to[i] = count_read(&from[i]);
	for (unsigned int i = 0; i < swport->nqueues; i++) {
		out->received += count_read(&swport->queue[i].received);
		out->received_bytes +=
			count_read(&swport->queue[i].received_bytes);
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

void swport_print(const struct swport *swport, unsigned int macs, FILE *out)
{
	struct swport_counters c;

	swport_read_counters(swport, &c);
	fprintf(out,
		"%s.%s: addresses %u sent %" PRIu64 " (%" PRIu64
		" bytes) received %" PRIu64 " (%" PRIu64 " bytes)",
		swport->network->config.name, swport->config.name, macs, c.sent,
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
