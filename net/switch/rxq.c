/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rxq.c is a ring buffer of packets with many producers and one consumer.
 *
 * An entry is a 64-bit length and the packet. An entry does not wrap: if the
 * end of the ring is too near, an entry without a packet (SKIP) fills the rest.
 *
 * Two pairs of variables decide which side sleeps: @tail and @asleep, @head and
 * @wanted. Each side writes its own variable and then reads the other's,
 * sequentially consistent. Only rxq_release() is not ordered like that: a
 * consumer that misses @wanted there reads it again before it sleeps.
 */
#include "rxq.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bytes.h"
#include "evfd.h"

#define SKIP UINT64_MAX

int rxq_new(struct rxq **out)
{
	struct rxq *rxq = aligned_alloc(_Alignof(struct rxq), sizeof(*rxq));
	int ret = -ENOMEM;

	if (!rxq)
		return -ENOMEM;
	memset(rxq, 0, sizeof(*rxq));
	rxq->asleep = 1; /* until the consumer has checked the ring */
	rxq->buf = mmap(NULL, RXQ_BYTES, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (rxq->buf == MAP_FAILED)
		goto err_free;
	rxq->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (rxq->fd < 0) {
		ret = -errno;
		goto err_unmap;
	}
	mutex_init(&rxq->lock);
	*out = rxq;
	return 0;

err_unmap:
	munmap(rxq->buf, RXQ_BYTES);
err_free:
	free(rxq);
	return ret;
}

void rxq_free(struct rxq *rxq)
{
	if (!rxq)
		return;
	mutex_destroy(&rxq->lock);
	close(rxq->fd);
	munmap(rxq->buf, RXQ_BYTES);
	free(rxq);
}

static uint8_t *at(const struct rxq *rxq, uint64_t pos)
{
	return rxq->buf + pos % RXQ_BYTES;
}

static void put_length(const struct rxq *rxq, uint64_t pos, uint64_t len)
{
	memcpy(at(rxq, pos), &len, sizeof(len));
}

/* ---- producers ---- */

void rxq_lock(struct rxq *rxq)
{
	mutex_lock(&rxq->lock);
}

static bool rxq_has_space(struct rxq *rxq, size_t need) NEEDS(rxq->lock)
{
	if (likely(rxq->put + need - rxq->head_seen <= RXQ_BYTES))
		return true;
	rxq->head_seen = __atomic_load_n(&rxq->head, __ATOMIC_ACQUIRE);
	return rxq->put + need - rxq->head_seen <= RXQ_BYTES;
}

bool rxq_fits(struct rxq *rxq, size_t sum, size_t longest)
{
	return rxq_has_space(rxq, sum + longest);
}

bool rxq_push(struct rxq *rxq, const struct iovec *piece, unsigned int n,
	      size_t len)
{
	size_t need = rxq_entry_size(len);
	size_t left = RXQ_BYTES - rxq->put % RXQ_BYTES;
	size_t skip = left < need ? left : 0;
	uint8_t *to;

	if (unlikely(!rxq_has_space(rxq, skip + need)))
		return false;
	if (unlikely(skip)) {
		put_length(rxq, rxq->put, SKIP);
		rxq->put += skip;
	}
	put_length(rxq, rxq->put, len);
	to = at(rxq, rxq->put) + sizeof(uint64_t);
	for (unsigned int i = 0; i < n; i++) {
		memcpy(to, piece[i].iov_base, piece[i].iov_len);
		to += piece[i].iov_len;
	}
	rxq->put += need;
	return true;
}

void rxq_unlock(struct rxq *rxq)
{
	bool wake = false;

	if (rxq->put != rxq->tail) {
		__atomic_store_n(&rxq->tail, rxq->put, __ATOMIC_SEQ_CST);
		wake = __atomic_load_n(&rxq->asleep, __ATOMIC_SEQ_CST) &&
		       __atomic_exchange_n(&rxq->asleep, 0, __ATOMIC_SEQ_CST);
	}
	if (wake) {
		/* Counted before it is written: the consumer may run in
		 * between, and has to know that @fd will be readable. Under the
		 * lock, which keeps the rxq from being freed. */
		__atomic_fetch_add(&rxq->wakes, 1, __ATOMIC_SEQ_CST);
		evfd_signal(rxq->fd);
	}
	mutex_unlock(&rxq->lock);
}

static bool half_free(struct rxq *rxq)
{
	return __atomic_load_n(&rxq->tail, __ATOMIC_SEQ_CST) -
		       __atomic_load_n(&rxq->head, __ATOMIC_SEQ_CST) <=
	       RXQ_BYTES / 2;
}

bool rxq_wait_for_space(struct rxq *rxq)
{
	__atomic_store_n(&rxq->wanted, 1, __ATOMIC_SEQ_CST);
	return rxq->put - __atomic_load_n(&rxq->head, __ATOMIC_SEQ_CST) <=
		       RXQ_BYTES / 2 &&
	       __atomic_exchange_n(&rxq->wanted, 0, __ATOMIC_SEQ_CST);
}

/* ---- the consumer ---- */

struct rxq_cursor rxq_begin(const struct rxq *rxq)
{
	return (struct rxq_cursor){
		.at = rxq->head,
		.end = __atomic_load_n(&rxq->tail, __ATOMIC_ACQUIRE),
	};
}

const uint8_t *rxq_next(const struct rxq *rxq, struct rxq_cursor *c,
			uint32_t *len)
{
	uint64_t n;

	if (c->at == c->end)
		return NULL;
	memcpy(&n, at(rxq, c->at), sizeof(n));
	if (unlikely(n == SKIP)) {
		c->at += RXQ_BYTES - c->at % RXQ_BYTES;
		memcpy(&n, at(rxq, c->at), sizeof(n));
	}
	*len = (uint32_t)n;
	c->at += rxq_entry_size(n);
	return at(rxq, c->at - rxq_entry_size(n)) + sizeof(n);
}

void rxq_release(struct rxq *rxq, const struct rxq_cursor *c)
{
	__atomic_store_n(&rxq->head, c->at, __ATOMIC_RELEASE);
}

bool rxq_sleep(struct rxq *rxq)
{
	uint64_t wakes = __atomic_load_n(&rxq->wakes, __ATOMIC_SEQ_CST);

	if (wakes != rxq->wakes_seen)
		rxq->wakes_seen += evfd_drain(rxq->fd);
	__atomic_store_n(&rxq->asleep, 1, __ATOMIC_SEQ_CST);
	return __atomic_load_n(&rxq->tail, __ATOMIC_SEQ_CST) != rxq->head;
}

bool rxq_empty(const struct rxq *rxq)
{
	return __atomic_load_n(&rxq->tail, __ATOMIC_ACQUIRE) ==
	       __atomic_load_n(&rxq->head, __ATOMIC_ACQUIRE);
}

bool rxq_wakes_producers(struct rxq *rxq)
{
	return __atomic_load_n(&rxq->wanted, __ATOMIC_SEQ_CST) &&
	       half_free(rxq) &&
	       __atomic_exchange_n(&rxq->wanted, 0, __ATOMIC_SEQ_CST);
}
