/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * inbox.c is a ring buffer of frames with many producers and one consumer.
 *
 * A record is a 64-bit length and the frame. A record does not wrap: if the end
 * of the ring is too near, a record without a frame (SKIP) fills the rest.
 *
 * Two pairs of variables decide who sleeps: @tail and @asleep, @head and
 * @wanted. Each side writes its own variable and then reads the other's,
 * sequentially consistent. Only inbox_take() is not ordered like that: a
 * consumer that misses @wanted there reads it again before it sleeps.
 */
#include "inbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bytes.h"
#include "evfd.h"

#define SKIP UINT64_MAX

int inbox_new(struct inbox **out)
{
	struct inbox *b = aligned_alloc(_Alignof(struct inbox), sizeof(*b));
	int ret = -ENOMEM;

	if (!b)
		return -ENOMEM;
	memset(b, 0, sizeof(*b));
	b->asleep = 1; /* until the consumer has looked */
	b->buf = mmap(NULL, INBOX_BYTES, PROT_READ | PROT_WRITE,
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
	munmap(b->buf, INBOX_BYTES);
err_free:
	free(b);
	return ret;
}

void inbox_free(struct inbox *b)
{
	if (!b)
		return;
	pthread_mutex_destroy(&b->lock);
	close(b->fd);
	munmap(b->buf, INBOX_BYTES);
	free(b);
}

static uint8_t *at(const struct inbox *b, uint64_t pos)
{
	return b->buf + pos % INBOX_BYTES;
}

static void put_length(const struct inbox *b, uint64_t pos, uint64_t len)
{
	memcpy(at(b, pos), &len, sizeof(len));
}

/* ---- producers ---- */

void inbox_lock(struct inbox *b)
{
	pthread_mutex_lock(&b->lock);
}

static bool inbox_has_space(struct inbox *b, size_t need)
{
	if (likely(b->put + need - b->head_seen <= INBOX_BYTES))
		return true;
	b->head_seen = __atomic_load_n(&b->head, __ATOMIC_ACQUIRE);
	return b->put + need - b->head_seen <= INBOX_BYTES;
}

bool inbox_fits(struct inbox *b, size_t sum, size_t longest)
{
	return inbox_has_space(b, sum + longest);
}

bool inbox_put(struct inbox *b, const struct iovec *piece, unsigned int n,
	       size_t len)
{
	size_t need = inbox_record(len);
	size_t left = INBOX_BYTES - b->put % INBOX_BYTES;
	size_t skip = left < need ? left : 0;
	uint8_t *to;

	if (unlikely(!inbox_has_space(b, skip + need)))
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

void inbox_unlock(struct inbox *b)
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
		 * lock, which keeps the inbox from being freed. */
		__atomic_fetch_add(&b->wakes, 1, __ATOMIC_SEQ_CST);
		evfd_signal(b->fd);
	}
	pthread_mutex_unlock(&b->lock);
}

static bool half_free(struct inbox *b)
{
	return __atomic_load_n(&b->tail, __ATOMIC_SEQ_CST) -
		       __atomic_load_n(&b->head, __ATOMIC_SEQ_CST) <=
	       INBOX_BYTES / 2;
}

bool inbox_want(struct inbox *b)
{
	__atomic_store_n(&b->wanted, 1, __ATOMIC_SEQ_CST);
	return b->put - __atomic_load_n(&b->head, __ATOMIC_SEQ_CST) <=
		       INBOX_BYTES / 2 &&
	       __atomic_exchange_n(&b->wanted, 0, __ATOMIC_SEQ_CST);
}

/* ---- the consumer ---- */

struct inbox_cursor inbox_begin(const struct inbox *b)
{
	return (struct inbox_cursor){
		.at = b->head,
		.end = __atomic_load_n(&b->tail, __ATOMIC_ACQUIRE),
	};
}

const uint8_t *inbox_next(const struct inbox *b, struct inbox_cursor *c,
			  uint32_t *len)
{
	uint64_t n;

	if (c->at == c->end)
		return NULL;
	memcpy(&n, at(b, c->at), sizeof(n));
	if (unlikely(n == SKIP)) {
		c->at += INBOX_BYTES - c->at % INBOX_BYTES;
		memcpy(&n, at(b, c->at), sizeof(n));
	}
	*len = (uint32_t)n;
	c->at += inbox_record(n);
	return at(b, c->at - inbox_record(n)) + sizeof(n);
}

void inbox_take(struct inbox *b, const struct inbox_cursor *c)
{
	__atomic_store_n(&b->head, c->at, __ATOMIC_RELEASE);
}

bool inbox_sleep(struct inbox *b)
{
	uint64_t wakes = __atomic_load_n(&b->wakes, __ATOMIC_SEQ_CST);

	if (wakes != b->wakes_seen)
		b->wakes_seen += evfd_drain(b->fd);
	__atomic_store_n(&b->asleep, 1, __ATOMIC_SEQ_CST);
	return __atomic_load_n(&b->tail, __ATOMIC_SEQ_CST) != b->head;
}

bool inbox_empty(const struct inbox *b)
{
	return __atomic_load_n(&b->tail, __ATOMIC_ACQUIRE) ==
	       __atomic_load_n(&b->head, __ATOMIC_ACQUIRE);
}

bool inbox_roomy(struct inbox *b)
{
	return __atomic_load_n(&b->wanted, __ATOMIC_SEQ_CST) && half_free(b) &&
	       __atomic_exchange_n(&b->wanted, 0, __ATOMIC_SEQ_CST);
}
