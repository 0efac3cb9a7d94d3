/* SPDX-License-Identifier: BSD-3-Clause */
/* tx_direct.c sends the packets of a queue through the port of an interface:
 * see tx_direct.h. */
#include "tx_direct.h"

#include <errno.h>
#include <stdlib.h>

#include "bytes.h"
#include "network_priv.h"
#include "pkt.h"

int swport_open_direct(struct swport *swport, unsigned int queue,
		       struct netport *port, struct tx_direct **direct,
		       struct netport **tx)
{
	struct tx_direct *d;
	int ret;

	if (queue >= swport->nqueues)
		return -EINVAL;
	d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	mutex_init(&d->lock);
	pthread_cond_init(&d->unused, NULL);
	d->queue = &swport->queue[queue];
	d->port = port;
	ret = queue_open(d->queue, d, &d->rxq, tx);
	if (ret < 0) {
		pthread_cond_destroy(&d->unused);
		mutex_destroy(&d->lock);
		free(d);
		return ret;
	}
	*direct = d;
	return 0;
}

void tx_direct_put(struct tx_direct *direct)
{
	if (__atomic_sub_fetch(&direct->refs, 1, __ATOMIC_RELAXED) == 0)
		pthread_cond_broadcast(&direct->unused);
}

void tx_direct_close(struct tx_direct *direct)
{
	queue_detach(direct->queue);
	mutex_lock(&direct->lock);
	while (__atomic_load_n(&direct->refs, __ATOMIC_RELAXED))
		mutex_wait(&direct->unused, &direct->lock);
	mutex_unlock(&direct->lock);
	/* A sender may have begun to wait for this rxq. */
	waiters_wake(direct->queue->swport->network, NULL);
	queue_drop_rest(direct->queue, direct->rxq);
	pthread_cond_destroy(&direct->unused);
	mutex_destroy(&direct->lock);
	free(direct);
}

int tx_direct_fd(const struct tx_direct *direct)
{
	return direct->rxq->fd;
}

unsigned int tx_direct_send(struct tx_direct *direct,
			    const struct frame *frames, unsigned int n)
{
	uint64_t dropped = direct->port->tx_dropped;
	uint64_t bytes = direct->port->tx_dropped_bytes;
	unsigned int done = 0;

	while (done < n) {
		int ret = direct->port->ops->send(direct->port, &frames[done],
						  n - done);

		if (ret <= 0)
			break;
		done += (unsigned int)ret;
	}
	if (!done)
		return 0;
	queue_capture(direct->queue, frames, done, NULL);
	/* Dropped frames are not received. */
	dropped = direct->port->tx_dropped - dropped;
	bytes -= direct->port->tx_dropped_bytes;
	for (unsigned int i = 0; i < done; i++)
		bytes += frames[i].len - PKT_HDR;
	queue_received(direct->queue, done - dropped, bytes);
	count_add(&direct->queue->swport->count.drop_out[DROP_REFUSED],
		  dropped);
	return done;
}

/* Sends up to a batch from the rxq. Return: frames that the port accepted;
 * -1 if the rxq is empty. */
static int send_waiting(struct tx_direct *direct, unsigned int max)
	NEEDS(direct->lock)
{
	struct frame frames[TX_DIRECT_BATCH];
	struct iovec iov[TX_DIRECT_BATCH];
	struct rxq_cursor c = rxq_begin(direct->rxq), taken = c;
	unsigned int n = 0, done;
	const uint8_t *from;
	uint32_t len;

	max = MIN(max, TX_DIRECT_BATCH);
	while (n < max && (from = rxq_next(direct->rxq, &c, &len))) {
		iov[n] = (struct iovec){ (void *)from, len };
		frames[n] = (struct frame){ &iov[n], 1, len, false };
		n++;
	}
	if (!n)
		return -1;
	done = tx_direct_send(direct, frames, n);
	for (unsigned int i = 0; i < done; i++)
		rxq_next(direct->rxq, &taken, &len);
	rxq_release(direct->rxq, &taken);
	return (int)done;
}

int tx_direct_run(struct tx_direct *direct, unsigned int max)
{
	unsigned int done = 0;
	int ret = 1;

	mutex_lock(&direct->lock);
	while (done < max && ret > 0) {
		ret = send_waiting(direct, max - done);
		if (ret < 0 && rxq_sleep(direct->rxq))
			ret = send_waiting(direct, max - done);
		done += (unsigned int)MAX(ret, 0);
	}
	mutex_unlock(&direct->lock);
	if (rxq_wakes_producers(direct->rxq))
		waiters_wake(direct->queue->swport->network, direct->rxq);
	if (done)
		return (int)done;
	return ret < 0 ? 0 : -EAGAIN;
}
