/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rxq.c is a ring buffer of packets with many producers and one consumer.
 *
 * An entry is a 64-bit length and the packet. An entry does not wrap: if the
 * end of the ring is too near, an entry without a packet (SKIP) fills the rest.
 *
 * Two pairs of variables decide which side sleeps: @tail and @asleep, @head and
 * @wanted. Each side writes its own variable and then reads the other's,
 * sequentially consistent. Only rxq_consume() is not ordered like that: a
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
	struct rxq *b = aligned_alloc(_Alignof(struct rxq), sizeof(*b));
	int ret = -ENOMEM;

	if (!b)
		return -ENOMEM;
	memset(b, 0, sizeof(*b));
	b->asleep = 1; /* until the consumer has checked the ring */
	b->buf = mmap(NULL, RXQ_BYTES, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (b->buf == MAP_FAILED)
		goto err_free;
	b->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (b->fd < 0) {
		ret = -errno;
		goto err_unmap;
	}
	pthread_mutex_init(&b->lock, NULL);
	*out = b;
	return 0;

err_unmap:
	munmap(b->buf, RXQ_BYTES);
err_free:
	free(b);
	return ret;
}

void rxq_free(struct rxq *b)
{
	if (!b)
		return;
	pthread_mutex_destroy(&b->lock);
	close(b->fd);
	munmap(b->buf, RXQ_BYTES);
	free(b);
}

static uint8_t *at(const struct rxq *b, uint64_t pos)
{
	return b->buf + pos % RXQ_BYTES;
}

static void put_length(const struct rxq *b, uint64_t pos, uint64_t len)
{
	memcpy(at(b, pos), &len, sizeof(len));
}

/* ---- producers ---- */

void rxq_lock(struct rxq *b)
{
	pthread_mutex_lock(&b->lock);
}

static bool rxq_has_space(struct rxq *b, size_t need)
{
	if (likely(b->put + need - b->head_seen <= RXQ_BYTES))
		return true;
	b->head_seen = __atomic_load_n(&b->head, __ATOMIC_ACQUIRE);
	return b->put + need - b->head_seen <= RXQ_BYTES;
}

bool rxq_fits(struct rxq *b, size_t sum, size_t longest)
{
	return rxq_has_space(b, sum + longest);
}

bool rxq_push(struct rxq *b, const struct iovec *piece, unsigned int n,
	      size_t len)
{
	size_t need = rxq_entry_size(len);
	size_t left = RXQ_BYTES - b->put % RXQ_BYTES;
	size_t skip = left < need ? left : 0;
	uint8_t *to;

	if (unlikely(!rxq_has_space(b, skip + need)))
		return false;
	if (unlikely(skip)) {
		put_length(b, b->put, SKIP);
		b->put += skip;
	}
	put_length(b, b->put, len);
	to = at(b, b->put) + sizeof(uint64_t);
	for (unsigned int i = 0; i < n; i++) {
		memcpy(to, piece[i].iov_base, piece[i].iov_len);
		to += piece[i].iov_len;
	}
	b->put += need;
	return true;
}

void rxq_unlock(struct rxq *b)
{
	bool wake = false;

	if (b->put != b->tail) {
		__atomic_store_n(&b->tail, b->put, __ATOMIC_SEQ_CST);
		wake = __atomic_load_n(&b->asleep, __ATOMIC_SEQ_CST) &&
		       __atomic_exchange_n(&b->asleep, 0, __ATOMIC_SEQ_CST);
	}
	if (wake) {
		/* Counted before it is written: the consumer may run in
		 * between, and has to know that @fd will be readable. Under the
		 * lock, which keeps the rxq from being freed. */
		__atomic_fetch_add(&b->wakes, 1, __ATOMIC_SEQ_CST);
		evfd_signal(b->fd);
	}
	pthread_mutex_unlock(&b->lock);
}

static bool half_free(struct rxq *b)
{
	return __atomic_load_n(&b->tail, __ATOMIC_SEQ_CST) -
		       __atomic_load_n(&b->head, __ATOMIC_SEQ_CST) <=
	       RXQ_BYTES / 2;
}

bool rxq_wait_for_space(struct rxq *b)
{
	__atomic_store_n(&b->wanted, 1, __ATOMIC_SEQ_CST);
	return b->put - __atomic_load_n(&b->head, __ATOMIC_SEQ_CST) <=
		       RXQ_BYTES / 2 &&
	       __atomic_exchange_n(&b->wanted, 0, __ATOMIC_SEQ_CST);
}

/* ---- the consumer ---- */

struct rxq_cursor rxq_begin(const struct rxq *b)
{
	return (struct rxq_cursor){
		.at = b->head,
		.end = __atomic_load_n(&b->tail, __ATOMIC_ACQUIRE),
	};
}

const uint8_t *rxq_next(const struct rxq *b, struct rxq_cursor *c,
			uint32_t *len)
{
	uint64_t n;

	if (c->at == c->end)
		return NULL;
	memcpy(&n, at(b, c->at), sizeof(n));
	if (unlikely(n == SKIP)) {
		c->at += RXQ_BYTES - c->at % RXQ_BYTES;
		memcpy(&n, at(b, c->at), sizeof(n));
	}
	*len = (uint32_t)n;
	c->at += rxq_entry_size(n);
	return at(b, c->at - rxq_entry_size(n)) + sizeof(n);
}

void rxq_consume(struct rxq *b, const struct rxq_cursor *c)
{
	__atomic_store_n(&b->head, c->at, __ATOMIC_RELEASE);
}

bool rxq_sleep(struct rxq *b)
{
	uint64_t wakes = __atomic_load_n(&b->wakes, __ATOMIC_SEQ_CST);

	if (wakes != b->wakes_seen)
		b->wakes_seen += evfd_drain(b->fd);
	__atomic_store_n(&b->asleep, 1, __ATOMIC_SEQ_CST);
	return __atomic_load_n(&b->tail, __ATOMIC_SEQ_CST) != b->head;
}

bool rxq_empty(const struct rxq *b)
{
	return __atomic_load_n(&b->tail, __ATOMIC_ACQUIRE) ==
	       __atomic_load_n(&b->head, __ATOMIC_ACQUIRE);
}

bool rxq_wakes_producers(struct rxq *b)
{
	return __atomic_load_n(&b->wanted, __ATOMIC_SEQ_CST) && half_free(b) &&
	       __atomic_exchange_n(&b->wanted, 0, __ATOMIC_SEQ_CST);
}
