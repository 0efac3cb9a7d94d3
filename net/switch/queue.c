/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * queue.c opens and closes the queues of a member, and keeps the list of those
 * that take frames. Frames for a queue wait in its rxq; a receiver
 * (port_rx.c) or a direct (tx_direct.c) takes them out.
 */
#include <errno.h>

#include "network_priv.h"

/* Holding network.lock for writing. */
static void choose_active(struct swport *m)
{
	m->nactive = 0;
	for (unsigned int i = 0; i < m->nqueues; i++)
		if (m->queue[i].rxq && m->queue[i].enabled)
			m->active[m->nactive++] = (uint16_t)i;
}

void swport_enable(struct swport *m, unsigned int queue, bool on)
{
	if (queue >= m->nqueues)
		return;
	pthread_rwlock_wrlock(&m->network->lock);
	m->queue[queue].enabled = on;
	choose_active(m);
	pthread_rwlock_unlock(&m->network->lock);
	waiters_wake(m->network, NULL);
}

/* Return: 0 or -EBUSY. */
static int connect_queue(struct queue *q, struct rxq *rxq,
			 struct tx_direct *direct)
{
	struct network *n = q->swport->network;
	int ret = -EBUSY;

	pthread_rwlock_wrlock(&n->lock);
	if (!q->rxq && !q->tx_open) {
		q->rxq = rxq;
		q->direct = direct;
		q->tx_open = true;
		choose_active(q->swport);
		ret = 0;
	}
	pthread_rwlock_unlock(&n->lock);
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
		goto err_box;
	ret = connect_queue(q, *rxq, direct);
	if (ret < 0)
		goto err_sender;
	return 0;

err_sender:
	port_tx_discard(*tx);
err_box:
	rxq_free(*rxq);
	return ret;
}

void queue_detach(struct queue *q)
{
	struct network *n = q->swport->network;

	pthread_rwlock_wrlock(&n->lock);
	q->rxq = NULL;
	q->direct = NULL;
	choose_active(q->swport);
	pthread_rwlock_unlock(&n->lock);
	waiters_wake(n, NULL);
}

void queue_tx_closed(struct queue *q)
{
	struct network *n = q->swport->network;

	pthread_rwlock_wrlock(&n->lock);
	q->tx_open = false;
	pthread_rwlock_unlock(&n->lock);
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
