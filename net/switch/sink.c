/* SPDX-License-Identifier: BSD-3-Clause */
/* sink.c sends the frames of a queue through the port of a source: see
 * netsink.h. */
#include "netsink.h"

#include <errno.h>
#include <stdlib.h>

#include "bytes.h"
#include "network_priv.h"
#include "slot.h"

int netmember_open_sink(struct netmember *m, unsigned int queue,
			struct netport *port, struct sink **sink,
			struct netport **tx)
{
	struct sink *s;
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
	ret = queue_open(s->queue, s, &s->box, tx);
	if (ret < 0) {
		pthread_cond_destroy(&s->unused);
		pthread_mutex_destroy(&s->lock);
		free(s);
		return ret;
	}
	*sink = s;
	return 0;
}

void sink_put(struct sink *s)
{
	if (__atomic_sub_fetch(&s->refs, 1, __ATOMIC_RELAXED) == 0)
		pthread_cond_broadcast(&s->unused);
}

void sink_close(struct sink *s)
{
	queue_detach(s->queue);
	pthread_mutex_lock(&s->lock);
	while (__atomic_load_n(&s->refs, __ATOMIC_RELAXED))
		pthread_cond_wait(&s->unused, &s->lock);
	pthread_mutex_unlock(&s->lock);
	/* A sender may have begun to wait for this inbox. */
	waiters_wake(s->queue->member->network, NULL);
	queue_drop_rest(s->queue, s->box);
	pthread_cond_destroy(&s->unused);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

int sink_fd(const struct sink *s)
{
	return s->box->fd;
}

unsigned int sink_send(struct sink *s, const struct frame *frames,
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
		bytes += frames[i].len - SLOT_HDR;
	dropped = s->port->tx_dropped - dropped;
	queue_received(s->queue, done - dropped, bytes);
	count_add(&s->queue->member->count.drop_out[DROP_REFUSED], dropped);
	return done;
}

/* Sends up to a batch from the inbox. Return: frames that the port took; -1 if
 * the inbox is empty. */
static int send_waiting(struct sink *s, unsigned int max)
{
	struct frame frames[SINK_BATCH];
	struct iovec iov[SINK_BATCH];
	struct inbox_cursor c = inbox_begin(s->box), taken = c;
	unsigned int n = 0, done;
	const uint8_t *from;
	uint32_t len;

	max = MIN(max, SINK_BATCH);
	while (n < max && (from = inbox_next(s->box, &c, &len))) {
		iov[n] = (struct iovec){ (void *)from, len };
		frames[n] = (struct frame){ &iov[n], 1, len, false };
		n++;
	}
	if (!n)
		return -1;
	done = sink_send(s, frames, n);
	for (unsigned int i = 0; i < done; i++)
		inbox_next(s->box, &taken, &len);
	inbox_take(s->box, &taken);
	return (int)done;
}

int sink_run(struct sink *s, unsigned int max)
{
	unsigned int done = 0;
	int ret = 1;

	pthread_mutex_lock(&s->lock);
	while (done < max && ret > 0) {
		ret = send_waiting(s, max - done);
		if (ret < 0 && inbox_sleep(s->box))
			ret = send_waiting(s, max - done);
		done += (unsigned int)MAX(ret, 0);
	}
	pthread_mutex_unlock(&s->lock);
	if (inbox_roomy(s->box))
		waiters_wake(s->queue->member->network, s->box);
	if (done)
		return (int)done;
	return ret < 0 ? 0 : -EAGAIN;
}
