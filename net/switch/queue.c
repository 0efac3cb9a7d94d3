/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * queue.c opens and closes the queues of a member, and keeps the list of those
 * that take frames. Frames for a queue wait in its inbox; a receiver
 * (receiver.c) or a sink (sink.c) takes them out.
 */
#include <errno.h>

#include "network_priv.h"

/* Holding network.lock for writing. */
static void choose_active(struct netmember *m)
{
	m->nactive = 0;
	for (unsigned int i = 0; i < m->nqueues; i++)
		if (m->queue[i].box && m->queue[i].enabled)
			m->active[m->nactive++] = (uint16_t)i;
}

void netmember_enable(struct netmember *m, unsigned int queue, bool on)
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
static int connect_queue(struct queue *q, struct inbox *box, struct sink *sink)
{
	struct network *n = q->member->network;
	int ret = -EBUSY;

	pthread_rwlock_wrlock(&n->lock);
	if (!q->box && !q->tx_open) {
		q->box = box;
		q->sink = sink;
		q->tx_open = true;
		choose_active(q->member);
		ret = 0;
	}
	pthread_rwlock_unlock(&n->lock);
	return ret;
}

int queue_open(struct queue *q, struct sink *sink, struct inbox **box,
	       struct netport **tx)
{
	int ret = inbox_new(box);

	if (ret < 0)
		return ret;
	ret = sender_new(q, tx);
	if (ret < 0)
		goto err_box;
	ret = connect_queue(q, *box, sink);
	if (ret < 0)
		goto err_sender;
	return 0;

err_sender:
	sender_discard(*tx);
err_box:
	inbox_free(*box);
	return ret;
}

void queue_detach(struct queue *q)
{
	struct network *n = q->member->network;

	pthread_rwlock_wrlock(&n->lock);
	q->box = NULL;
	q->sink = NULL;
	choose_active(q->member);
	pthread_rwlock_unlock(&n->lock);
	waiters_wake(n, NULL);
}

void queue_tx_closed(struct queue *q)
{
	struct network *n = q->member->network;

	pthread_rwlock_wrlock(&n->lock);
	q->tx_open = false;
	pthread_rwlock_unlock(&n->lock);
}

void queue_drop_rest(struct queue *q, struct inbox *box)
{
	struct inbox_cursor c = inbox_begin(box);
	uint64_t rest = 0;
	uint32_t len;

	while (inbox_next(box, &c, &len))
		rest++;
	count_add(&q->member->count.drop_out[DROP_NO_QUEUE], rest);
	inbox_free(box);
}
