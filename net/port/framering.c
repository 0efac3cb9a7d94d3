/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * framering.c makes the memory and the eventfds of a frame ring, and takes over
 * those that another process has made: see framering.h.
 */
#include "framering_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "bytes.h"
#include "evfd.h"
#include "fd.h"

#define MAGIC UINT64_C(0x31676e697266) /* "fring1" */
#define MAP_BYTES (FRAMERING_PAGE + 4 * FRAMERING_BYTES)

_Static_assert(sizeof(struct framering_page) <= FRAMERING_PAGE,
	       "the states fit a page");

/* ---- memory ---- */

static int map_at(uint8_t *to, size_t len, int fd, size_t off)
{
	void *p = mmap(to, len, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd, (off_t)off);

	return p == MAP_FAILED ? -ENOMEM : 0;
}

static int map_memory(struct framering *r)
{
	const size_t one = FRAMERING_BYTES;
	int ret;

	r->map = mmap(NULL, MAP_BYTES, PROT_NONE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (r->map == MAP_FAILED) {
		r->map = NULL;
		return -ENOMEM;
	}
	ret = map_at(r->map, FRAMERING_PAGE, r->memfd, 0);
	for (unsigned int i = 0; i < 4 && ret == 0; i++)
		ret = map_at(r->map + FRAMERING_PAGE + i * one, one, r->memfd,
			     FRAMERING_PAGE + i / 2 * one);
	if (ret == 0)
		madvise(r->map, MAP_BYTES, MADV_DONTDUMP);
	return ret;
}

static int make_memory(struct framering *r)
{
	r->memfd = fd_memory("uvhost-frames", FRAMERING_SIZE);
	return r->memfd < 0 ? r->memfd : map_memory(r);
}

/* ---- eventfds ---- */

void framering_break(struct framering *r)
{
	if (!__atomic_exchange_n(&r->broken, 1, __ATOMIC_SEQ_CST) &&
	    r->alarm >= 0)
		evfd_signal(r->alarm);
}

int framering_alarm(struct framering *r)
{
	if (r->alarm < 0)
		r->alarm = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return r->alarm < 0 ? -errno : r->alarm;
}

static bool does_not_wait(struct framering *r, int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (likely(flags >= 0 && flags & O_NONBLOCK))
		return true;
	framering_break(r);
	return false;
}

void framering_ring(struct framering *r, int fd)
{
	if (does_not_wait(r, fd))
		evfd_signal(fd);
}

void framering_fill(struct framering *r, int fd)
{
	if (!does_not_wait(r, fd))
		return;
	evfd_drain(fd);
	evfd_fill(fd);
}

void framering_drain(struct framering *r, int fd)
{
	if (does_not_wait(r, fd))
		evfd_drain(fd);
}

static int make_eventfds(struct framering *r)
{
	int *const all[] = { &r->data[0], &r->data[1], &r->space[0],
			     &r->space[1] };

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		*all[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (*all[i] < 0)
			return -errno;
	}
	return 0;
}

/* ---- life ---- */

static void forget_fds(struct framering *r)
{
	r->memfd = r->alarm = -1;
	for (unsigned int i = 0; i < 2; i++)
		r->data[i] = r->space[i] = -1;
}

static struct framering *alloc_ring(void)
{
	struct framering *r = calloc(1, sizeof(*r));

	if (r)
		forget_fds(r);
	return r;
}

int framering_new(struct framering **out)
{
	struct framering *r = alloc_ring();
	int ret;

	if (!r)
		return -ENOMEM;
	ret = make_memory(r);
	if (ret == 0)
		ret = make_eventfds(r);
	if (ret < 0) {
		framering_free(r);
		return ret;
	}
	framering_page(r)->magic = MAGIC;
	*out = r;
	return 0;
}

int framering_adopt(const int fds[FRAMERING_FDS], struct framering **out)
{
	struct framering *r;
	int ret;

	if (!fd_is_memory(fds[0], FRAMERING_SIZE))
		return -EBADMSG;
	r = alloc_ring();
	if (!r)
		return -ENOMEM;
	r->memfd = fds[0];
	for (unsigned int i = 0; i < 2; i++) {
		r->data[i] = fds[1 + i];
		r->space[i] = fds[3 + i];
	}
	ret = map_memory(r);
	if (ret == 0 && framering_page(r)->magic != MAGIC)
		ret = -EBADMSG;
	for (unsigned int i = 1; i < FRAMERING_FDS && ret == 0; i++)
		if (!does_not_wait(r, fds[i]))
			ret = -EBADMSG;
	if (ret == 0) {
		*out = r;
		return 0;
	}
	fd_drop(&r->alarm);
	forget_fds(r); /* the caller's */
	framering_free(r);
	return ret;
}

void framering_fds(const struct framering *r, int fds[FRAMERING_FDS])
{
	fds[0] = r->memfd;
	for (unsigned int i = 0; i < 2; i++) {
		fds[1 + i] = r->data[i];
		fds[3 + i] = r->space[i];
	}
}

void framering_free(struct framering *r)
{
	if (!r)
		return;
	if (r->map)
		munmap(r->map, MAP_BYTES);
	fd_drop(&r->memfd);
	fd_drop(&r->alarm);
	for (unsigned int i = 0; i < 2; i++) {
		fd_drop(&r->data[i]);
		fd_drop(&r->space[i]);
	}
	free(r);
}

/* ---- what both sides know ---- */

void framering_enable(struct framering *r, bool on)
{
	struct framering_page *page = framering_page(r);

	if (__atomic_exchange_n(&page->enabled, on, __ATOMIC_SEQ_CST) != on)
		framering_ring(r, r->data[FRAMERING_FROM_GUEST]);
}

bool framering_enabled(const struct framering *r)
{
	return __atomic_load_n(&framering_page(r)->enabled, __ATOMIC_SEQ_CST);
}

void framering_followed(struct framering *r, bool on)
{
	__atomic_store_n(&framering_page(r)->followed, on, __ATOMIC_SEQ_CST);
}

bool framering_await(const struct framering *r, int ms)
{
	const struct framering_page *page = framering_page(r);

	while (__atomic_load_n(&page->followed, __ATOMIC_SEQ_CST) !=
	       __atomic_load_n(&page->enabled, __ATOMIC_SEQ_CST)) {
		if (ms-- <= 0)
			return false;
		poll(NULL, 0, 1);
	}
	return true;
}

void framering_set_offload(struct framering *r, uint64_t features)
{
	struct framering_page *page = framering_page(r);

	if (__atomic_exchange_n(&page->offload, features, __ATOMIC_SEQ_CST) !=
	    features)
		framering_ring(r, r->data[FRAMERING_FROM_GUEST]);
}

uint64_t framering_offload(const struct framering *r)
{
	return __atomic_load_n(&framering_page(r)->offload, __ATOMIC_SEQ_CST);
}

void framering_reset(struct framering *r)
{
	struct framering_page *page = framering_page(r);

	memset(page, 0, sizeof(*page));
	page->magic = MAGIC;
	r->broken = 0;
	if (r->alarm >= 0)
		evfd_drain(r->alarm);
}

bool framering_is_broken(const struct framering *r)
{
	return __atomic_load_n(&r->broken, __ATOMIC_RELAXED);
}
