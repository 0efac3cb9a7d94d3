/* SPDX-License-Identifier: BSD-3-Clause */
/* tx_direct.c sends the packets of a queue through the port of an interface:
 * see tx_direct.h. */
#include "tx_direct.h"

#include <errno.h>
#include <stdlib.h>

#include "bytes.h"
#include "network_priv.h"
#include "pkt.h"

int swport_open_direct(struct swport *m, unsigned int queue,
		       struct netport *port, struct tx_direct **direct,
		       struct netport **tx)
{
	struct tx_direct *s;
	int ret;

	if (queue >= m->nqueues)
		return -EINVAL;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->unused, NULL);
	s->queue = &m->queue[queue];
	s->port = port;
	ret = queue_open(s->queue, s, &s->rxq, tx);
	if (ret < 0) {
		pthread_cond_destroy(&s->unused);
		pthread_mutex_destroy(&s->lock);
		free(s);
		return ret;
	}
	*direct = s;
	return 0;
}

void tx_direct_put(struct tx_direct *s)
{
	if (__atomic_sub_fetch(&s->refs, 1, __ATOMIC_RELAXED) == 0)
		pthread_cond_broadcast(&s->unused);
}

void tx_direct_close(struct tx_direct *s)
{
	queue_detach(s->queue);
	pthread_mutex_lock(&s->lock);
	while (__atomic_load_n(&s->refs, __ATOMIC_RELAXED))
		pthread_cond_wait(&s->unused, &s->lock);
	pthread_mutex_unlock(&s->lock);
	/* A sender may have begun to wait for this rxq. */
	waiters_wake(s->queue->swport->network, NULL);
	queue_drop_rest(s->queue, s->rxq);
	pthread_cond_destroy(&s->unused);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

int tx_direct_fd(const struct tx_direct *s)
{
	return s->rxq->fd;
}

unsigned int tx_direct_send(struct tx_direct *s, const struct frame *frames,
			    unsigned int n)
{
	uint64_t dropped = s->port->tx_dropped;
	unsigned int done = 0;
	uint64_t bytes = 0;

	while (done < n) {
		int ret = s->port->ops->send(s->port, &frames[done], n - done);

		if (ret <= 0)
			break;
		done += (unsigned int)ret;
	}
	if (!done)
		return 0;
	queue_capture(s->queue, frames, done, NULL);
	for (unsigned int i = 0; i < done; i++)
		bytes += frames[i].len - PKT_HDR;
	dropped = s->port->tx_dropped - dropped;
	queue_received(s->queue, done - dropped, bytes);
	count_add(&s->queue->swport->count.drop_out[DROP_REFUSED], dropped);
	return done;
}

/* Sends up to a batch from the rxq. Return: frames that the port accepted;
 * -1 if the rxq is empty. */
static int send_waiting(struct tx_direct *s, unsigned int max)
{
	struct frame frames[TX_DIRECT_BATCH];
	struct iovec iov[TX_DIRECT_BATCH];
	struct rxq_cursor c = rxq_begin(s->rxq), taken = c;
	unsigned int n = 0, done;
	const uint8_t *from;
	uint32_t len;

	max = MIN(max, TX_DIRECT_BATCH);
	while (n < max && (from = rxq_next(s->rxq, &c, &len))) {
		iov[n] = (struct iovec){ (void *)from, len };
		frames[n] = (struct frame){ &iov[n], 1, len, false };
		n++;
	}
	if (!n)
		return -1;
	done = tx_direct_send(s, frames, n);
	for (unsigned int i = 0; i < done; i++)
		rxq_next(s->rxq, &taken, &len);
	rxq_consume(s->rxq, &taken);
	return (int)done;
}

int tx_direct_run(struct tx_direct *s, unsigned int max)
{
	unsigned int done = 0;
	int ret = 1;

	pthread_mutex_lock(&s->lock);
	while (done < max && ret > 0) {
		ret = send_waiting(s, max - done);
		if (ret < 0 && rxq_sleep(s->rxq))
			ret = send_waiting(s, max - done);
		done += (unsigned int)MAX(ret, 0);
	}
	pthread_mutex_unlock(&s->lock);
	if (rxq_wakes_producers(s->rxq))
		waiters_wake(s->queue->swport->network, s->rxq);
	if (done)
		return (int)done;
	return ret < 0 ? 0 : -EAGAIN;
}
