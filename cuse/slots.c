/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * slots.c keeps the requests of a channel that are not answered yet.
 *
 * The memory: struct slots_area, the landing place, small slots, large slots.
 * It is sparse: a slot costs memory once it is used, and those with low
 * numbers are used first. A large slot gives its pages back when it is freed.
 *
 * Order of stores: a slot is complete before its state says that it is taken,
 * and that is before the landing place is cleared. So at each moment a request
 * is in at least one of them.
 */
#include "slots.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/fuse.h>
#include <sys/mman.h>

#include "bytes.h"
#include "channel.h"
#include "fd.h"
#include "mutex.h"

#define MAGIC UINT64_C(0x3173746f6c737675) /* "uvslots1" */
#define PAGE ((size_t)4096)
#define ROUND_UP(n) (((n) + PAGE - 1) & ~(PAGE - 1))

/* An ioctl with its largest argument of a fixed size, and more. */
#define SMALL_SIZE ((size_t)512)
#define SMALL_COUNT 65536u
#define LARGE_SIZE ROUND_UP(sizeof(struct req_slot) + CHANNEL_MSG_MAX)
#define LARGE_COUNT 1024u

#define LANDING_AT PAGE
#define SMALL_AT (LANDING_AT + ROUND_UP(CHANNEL_MSG_MAX))
#define LARGE_AT (SMALL_AT + SMALL_COUNT * SMALL_SIZE)
#define AREA_SIZE (LARGE_AT + LARGE_COUNT * LARGE_SIZE)

enum {
	SLOT_FREE,
	SLOT_TAKEN,
};

/* The first page. */
struct slots_area {
	uint64_t magic;
	uint64_t last_id;
	uint32_t init_len;
	uint32_t padding;
	uint8_t init[SLOTS_INIT_MAX];
};

/* Slots of one size: those that were freed, and those that never were taken. */
struct pool {
	uint8_t *base;
	size_t size;
	uint32_t count;
	uint32_t fresh; /* the first that was never taken */
	uint32_t nfree;
	uint32_t *free; /* count entries */
	/* Of each slot, 0 if it is free: a search does not touch the slots
	 * themselves. */
	uint64_t *unique;
};

struct slots {
	int fd;
	uint8_t *mem;
	uint64_t order;
	struct mutex lock; /* of the pools */
	struct pool small, large;
};

static struct slots_area *slots_area(const struct slots *s)
{
	return (void *)s->mem;
}

static struct fuse_in_header *landing(const struct slots *s)
{
	return (void *)(s->mem + LANDING_AT);
}

static struct req_slot *pool_slot(const struct pool *p, uint32_t i)
{
	return (void *)(p->base + i * p->size);
}

static bool is_taken(const struct req_slot *slot)
{
	return __atomic_load_n(&slot->state, __ATOMIC_ACQUIRE) == SLOT_TAKEN;
}

/* ---- pools ---- */

static int pool_init(struct pool *p, uint8_t *base, size_t size, uint32_t count)
{
	*p = (struct pool){ .base = base, .size = size, .count = count };
	p->free = malloc(count * sizeof(*p->free));
	p->unique = calloc(count, sizeof(*p->unique));
	return p->free && p->unique ? 0 : -ENOMEM;
}

static void pool_end(struct pool *p)
{
	free(p->free);
	free(p->unique);
}

static uint32_t pool_index(const struct pool *p, const struct req_slot *slot)
{
	return (uint32_t)((size_t)((const uint8_t *)slot - p->base) / p->size);
}

static struct req_slot *pool_take(struct slots *s, struct pool *p)
{
	struct req_slot *slot = NULL;

	mutex_lock(&s->lock);
	if (p->nfree)
		slot = pool_slot(p, p->free[--p->nfree]);
	else if (p->fresh < p->count)
		slot = pool_slot(p, p->fresh++);
	mutex_unlock(&s->lock);
	return slot;
}

static bool pool_has(const struct pool *p, const struct req_slot *slot)
{
	const uint8_t *at = (const uint8_t *)slot;

	return at >= p->base && at < p->base + p->count * p->size;
}

static void pool_give(struct slots *s, struct pool *p, struct req_slot *slot)
{
	uint32_t i = pool_index(p, slot);

	__atomic_store_n(&p->unique[i], 0, __ATOMIC_RELAXED);
	mutex_lock(&s->lock);
	p->free[p->nfree++] = i;
	mutex_unlock(&s->lock);
}

/* Finds out which slots an earlier process has left taken; how many. */
static uint32_t pool_scan(struct pool *p)
{
	uint32_t taken = 0;

	/* Slots are taken for the first time one after another: the first
	 * without an order ends them, and pages behind are not touched. */
	for (uint32_t i = 0; i < p->count; i++) {
		const struct req_slot *slot = pool_slot(p, i);

		if (slot->order == 0)
			break;
		p->fresh = i + 1;
		if (!is_taken(slot))
			continue;
		p->unique[i] = slots_unique(slot);
		taken++;
	}
	for (uint32_t i = p->fresh; i-- > 0;)
		if (!is_taken(pool_slot(p, i)))
			p->free[p->nfree++] = i;
	return taken;
}

/* ---- the memory ---- */

static int slots_map(int fd, struct slots **out)
{
	struct slots *s = calloc(1, sizeof(*s));
	int ret = -ENOMEM;

	if (!s)
		return -ENOMEM;
	s->fd = fd;
	s->mem = mmap(NULL, AREA_SIZE, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (s->mem == MAP_FAILED)
		goto err_free;
	if (pool_init(&s->small, s->mem + SMALL_AT, SMALL_SIZE, SMALL_COUNT) <
		    0 ||
	    pool_init(&s->large, s->mem + LARGE_AT, LARGE_SIZE, LARGE_COUNT) <
		    0)
		goto err_pools;
	/* Resident, and not swapped out if RLIMIT_MEMLOCK allows it. */
	if (madvise(s->mem + LANDING_AT, SMALL_AT - LANDING_AT,
		    MADV_POPULATE_WRITE) < 0)
		for (size_t at = LANDING_AT; at < SMALL_AT; at += PAGE)
			*(volatile uint8_t *)(s->mem + at) = s->mem[at];
	mlock(s->mem + LANDING_AT, SMALL_AT - LANDING_AT);
	mutex_init(&s->lock);
	*out = s;
	return 0;

err_pools:
	pool_end(&s->small);
	pool_end(&s->large);
	munmap(s->mem, AREA_SIZE);
err_free:
	free(s);
	return ret;
}

int slots_new(struct slots **out, int *fd)
{
	int ret;

	*fd = fd_memory("uvhost-slots", AREA_SIZE);
	if (*fd < 0)
		return *fd;
	ret = slots_map(*fd, out);
	if (ret < 0)
		close(*fd);
	else
		slots_area(*out)->magic = MAGIC;
	return ret;
}

int slots_adopt(int fd, struct slots **out)
{
	struct slots *s;
	int ret;

	if (!fd_is_memory(fd, AREA_SIZE))
		return -EBADMSG;
	ret = slots_map(fd, &s);
	if (ret < 0)
		return ret;
	if (slots_area(s)->magic != MAGIC) {
		s->fd = -1;
		slots_close(s);
		return -EBADMSG;
	}
	*out = s;
	return 0;
}

void slots_close(struct slots *s)
{
	if (!s)
		return;
	munmap(s->mem, AREA_SIZE);
	if (s->fd >= 0)
		close(s->fd);
	mutex_destroy(&s->lock);
	pool_end(&s->small);
	pool_end(&s->large);
	free(s);
}

/* ---- requests ---- */

static void landing_clear(struct slots *s)
{
	__atomic_store_n(&landing(s)->len, 0, __ATOMIC_RELEASE);
}

void *slots_landing(struct slots *s)
{
	landing_clear(s);
	return landing(s);
}

const void *slots_landing_read(const struct slots *s)
{
	return landing(s);
}

static const struct fuse_in_header *slot_head(const struct req_slot *slot)
{
	return (const void *)slot->msg;
}

uint64_t slots_unique(const struct req_slot *slot)
{
	return slot_head(slot)->unique;
}

size_t slots_len(const struct req_slot *slot)
{
	return slot_head(slot)->len;
}

static struct req_slot *find_taken(const struct pool *p, uint64_t unique)
{
	for (uint32_t i = 0; i < p->fresh; i++) {
		if (__atomic_load_n(&p->unique[i], __ATOMIC_RELAXED) == unique)
			return pool_slot(p, i);
	}
	return NULL;
}

static void note_interrupt(struct slots *s)
{
	const struct fuse_interrupt_in *in = (const void *)(landing(s) + 1);
	struct req_slot *slot = find_taken(&s->small, in->unique);

	if (!slot)
		slot = find_taken(&s->large, in->unique);
	if (slot)
		__atomic_store_n(&slot->interrupted, 1, __ATOMIC_RELEASE);
}

static struct req_slot *slot_fill(struct slots *s, size_t len)
{
	struct pool *p = len <= SMALL_SIZE - sizeof(struct req_slot)
				 ? &s->small
				 : &s->large;
	struct req_slot *slot = pool_take(s, p);

	if (!slot)
		return NULL;
	slot->interrupted = 0;
	slot->order = ++s->order;
	memcpy(slot->msg, landing(s), len);
	__atomic_store_n(&p->unique[pool_index(p, slot)], slots_unique(slot),
			 __ATOMIC_RELAXED);
	__atomic_store_n(&slot->state, SLOT_TAKEN, __ATOMIC_RELEASE);
	return slot;
}

struct req_slot *slots_take(struct slots *s, size_t len)
{
	struct fuse_in_header *in = landing(s);
	struct req_slot *slot = NULL;

	if (len < sizeof(*in) || len > CHANNEL_MSG_MAX || in->len != len)
		; /* malformed: it has no answer */
	else if (in->opcode != FUSE_INTERRUPT)
		slot = slot_fill(s, len);
	else if (len >= sizeof(*in) + sizeof(struct fuse_interrupt_in))
		note_interrupt(s);
	landing_clear(s);
	return slot;
}

void slots_free(struct slots *s, struct req_slot *slot)
{
	struct pool *p;

	if (!slot)
		return;
	p = pool_has(&s->small, slot) ? &s->small : &s->large;
	__atomic_store_n(&slot->state, SLOT_FREE, __ATOMIC_RELEASE);
	if (p == &s->large)
		madvise((uint8_t *)slot + PAGE, p->size - PAGE, MADV_REMOVE);
	pool_give(s, p, slot);
}

/* ---- what was left ---- */

static int by_order(const void *a, const void *b)
{
	const struct req_slot *const *sa = a, *const *sb = b;

	return ((*sa)->order > (*sb)->order) - ((*sa)->order < (*sb)->order);
}

static size_t slots_collect(const struct pool *p, struct req_slot **out,
			    size_t room)
{
	size_t max = p->size - sizeof(struct req_slot), n = 0;

	for (uint32_t i = 0; i < p->fresh; i++) {
		struct req_slot *slot = pool_slot(p, i);

		if (is_taken(slot) && n < room &&
		    slots_len(slot) >= sizeof(struct fuse_in_header) &&
		    slots_len(slot) <= MIN(max, CHANNEL_MSG_MAX))
			out[n++] = slot;
	}
	return n;
}

/* The last message, if it has no slot yet. */
static struct req_slot *landing_left(struct slots *s)
{
	const struct fuse_in_header *in = landing(s);

	if (in->len < sizeof(*in) || in->len > CHANNEL_MSG_MAX ||
	    find_taken(&s->small, in->unique) ||
	    find_taken(&s->large, in->unique))
		return NULL;
	return slots_take(s, in->len);
}

ssize_t slots_left(struct slots *s, struct req_slot ***out)
{
	size_t room = pool_scan(&s->small) + pool_scan(&s->large) + 1, n;
	struct req_slot **left = calloc(room, sizeof(*left)), *last;

	if (!left)
		return -ENOMEM;
	n = slots_collect(&s->small, left, room - 1);
	n += slots_collect(&s->large, left + n, room - 1 - n);
	qsort(left, n, sizeof(*left), by_order);
	for (size_t i = 0; i < n; i++)
		s->order = MAX(s->order, left[i]->order);
	last = landing_left(s);
	if (last)
		left[n++] = last;
	landing_clear(s);
	*out = left;
	return (ssize_t)n;
}

/* ---- what is kept beside ---- */

void slots_keep_init(struct slots *s, const void *msg, size_t len)
{
	struct slots_area *a = slots_area(s);

	if (len > SLOTS_INIT_MAX)
		return;
	memcpy(a->init, msg, len);
	__atomic_store_n(&a->init_len, (uint32_t)len, __ATOMIC_RELEASE);
}

size_t slots_init(const struct slots *s, void *buf)
{
	const struct slots_area *a = slots_area(s);
	size_t len = MIN(a->init_len, SLOTS_INIT_MAX);

	memcpy(buf, a->init, len);
	return len;
}

uint64_t slots_last_id(const struct slots *s)
{
	return slots_area(s)->last_id;
}

void slots_set_last_id(struct slots *s, uint64_t id)
{
	__atomic_store_n(&slots_area(s)->last_id, id, __ATOMIC_RELEASE);
}
