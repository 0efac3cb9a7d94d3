/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * persist.c keeps a session's state in memory and descriptors that outlive the
 * process.
 *
 * The memory is a memfd: a page (struct persist_area) and the two halves of the
 * record. No other process writes to it; what the device writes is in a memfd
 * of its own (devmem.h). The bag holds, in this order: these two; the owner's
 * memory file and pidfd, if there is an owner; the pidfd of the worker process
 * and our end of its socket, if there is one; those of its frame ring, if there
 * is one; the descriptors of the recorded calls.
 *
 * A change of descriptors: a message is added to the bag, the record is
 * committed with the message's number, the old message is dropped.
 */
#include "persist.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>

#include "bag.h"
#include "bytes.h"
#include "fd.h"
#include "log.h"
#include "parse.h"

#define MAGIC UINT64_C(0x32737265707675) /* "uvpers2" */
#define PAGE ((size_t)4096)
#define SIZE (PAGE + RECORD_SIZE)
/* The two memfds, the owner's two, the worker process's two, those of the frame
 * ring and of the calls. */
#define FDS_MAX (6 + FRAMERING_FDS + RECORD_CALLS_MAX)
_Static_assert(FDS_MAX <= BAG_FDS_MAX, "they fit in a bag");

/* The first page. */
struct persist_area {
	uint64_t magic;
	uint64_t poll_kh;
	uint64_t call_seq;
	uint64_t call_unique; /* stored last */
	uint32_t ready;
	uint32_t stale; /* the record in force is older than the session */
	uint32_t starting;
};

struct persist {
	struct store *store; /* NULL: none, or given up */
	char name[STORE_NAME_MAX + 1];
	struct record record;
	struct bag bag;
	int memfd;                       /* -1: there is no store */
	int mem_fd, pidfd, worker, sock; /* borrowed */
	int ring[FRAMERING_FDS];         /* borrowed; valid with RECORD_RING */
	bool fds_changed;
	int failed; /* -errno: the record lacks something */
	uint32_t starting;
	uint8_t *mem;
	struct devmem *devmem;
};

static struct persist_area *area_of(const struct persist *p)
{
	return (void *)p->mem;
}

static void *record_mem(const struct persist *p)
{
	return p->mem + PAGE;
}

struct devmem *persist_devmem(struct persist *p)
{
	return p->devmem;
}

struct record *persist_record(struct persist *p)
{
	return &p->record;
}

/* ---- start and end ---- */

static int memory_map(struct persist *p)
{
	p->mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_NORESERVE, p->memfd, 0);
	if (p->mem == MAP_FAILED) {
		p->mem = NULL;
		return -ENOMEM;
	}
	return 0;
}

static struct persist *persist_alloc(struct store *store)
{
	struct persist *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->store = store;
	p->memfd = p->mem_fd = p->pidfd = p->worker = p->sock = -1;
	p->bag = (struct bag){ .in = -1, .out = -1 };
	record_init(&p->record);
	return p;
}

static void persist_free(struct persist *p)
{
	record_clear(&p->record);
	if (p->mem)
		munmap(p->mem, SIZE);
	if (p->memfd >= 0)
		close(p->memfd);
	devmem_free(p->devmem);
	if (p->bag.in >= 0)
		bag_close(&p->bag);
	free(p);
}

/* Removes the session from the store: no process will take it over. The bag is
 * emptied first: a tap has to be free at once, not only when the store has
 * removed the bag. */
static void give_up(struct persist *p)
{
	if (!p->store)
		return;
	bag_empty(&p->bag);
	store_remove(p->store, p->name);
	p->store = NULL;
}

void persist_end(struct persist *p, bool forget)
{
	if (!p)
		return;
	if (forget)
		give_up(p);
	persist_free(p);
}

/* All descriptors, in the order that persist_adopt() expects. */
static unsigned int list_fds(const struct persist *p, int *fds)
{
	unsigned int n = 0;

	fds[n++] = p->memfd;
	fds[n++] = devmem_fd(p->devmem);
	if (p->record.owner.pid) {
		fds[n++] = p->mem_fd;
		fds[n++] = p->pidfd;
	}
	if (p->record.owner.worker) {
		fds[n++] = p->worker;
		fds[n++] = p->sock;
	}
	if (p->record.flags & RECORD_RING) {
		memcpy(fds + n, p->ring, sizeof(p->ring));
		n += FRAMERING_FDS;
	}
	return n + record_fds(&p->record, fds + n);
}

static int fill_bag(struct persist *p)
{
	int fds[FDS_MAX];
	unsigned int n = list_fds(p, fds);
	int ret = bag_fill(&p->bag, p->record.bag + 1, fds, n);

	if (ret == 0)
		p->record.bag++;
	return ret;
}

static int put_into_store(struct persist *p)
{
	int ret;

	p->memfd = fd_memory("uvhost-session", SIZE);
	ret = p->memfd < 0 ? p->memfd : memory_map(p);
	if (ret == 0)
		ret = bag_open(&p->bag);
	if (ret == 0)
		ret = fill_bag(p);
	if (ret == 0)
		ret = record_commit(&p->record, record_mem(p));
	if (ret < 0)
		return ret;
	area_of(p)->magic = MAGIC;
	return store_put(p->store, p->name, (int[]){ p->bag.in, p->bag.out }, 2,
			 false);
}

int persist_new(struct store *store, const char *dev_name, uint64_t id,
		size_t ring_bytes, struct persist **out)
{
	struct persist *p = persist_alloc(store);
	int ret;

	if (!p)
		return -ENOMEM;
	snprintf(p->name, sizeof(p->name), PERSIST_PREFIX "%" PRIu64 "-%s", id,
		 dev_name);
	ret = devmem_new(ring_bytes, &p->devmem);
	if (ret == 0 && store)
		ret = put_into_store(p);
	if (ret < 0)
		persist_free(p);
	else
		*out = p;
	return ret;
}

/* ---- what an earlier process left ---- */

uint64_t persist_parse_name(const char *name, const char *dev_name)
{
	uint64_t id;

	if (strncmp(name, PERSIST_PREFIX, strlen(PERSIST_PREFIX)) != 0)
		return 0;
	name += strlen(PERSIST_PREFIX);
	if (parse_digits(&name, 10, &id) < 0 || *name != '-' ||
	    strcmp(name + 1, dev_name) != 0)
		return 0;
	return id;
}

/* Adopts both memories, from any message of the bag: they are in all. */
static int adopt_memory(struct persist *p, size_t ring_bytes)
{
	int fds[BAG_FDS_MAX];
	int n = bag_peek(&p->bag, BAG_ANY, fds);
	int ret;

	if (n < 0)
		return n;
	p->memfd = fds[0];
	while (n > 2)
		close(fds[--n]);
	ret = n == 2 ? devmem_adopt(fds[1], ring_bytes, &p->devmem) : -EBADMSG;
	if (ret < 0 && n == 2)
		close(fds[1]);
	if (ret < 0)
		return ret;
	if (!fd_is_memory(p->memfd, SIZE))
		return -EBADMSG;
	return memory_map(p);
}

void persist_fds_close(struct persist_fds *fds)
{
	int *const all[] = { &fds->mem_fd, &fds->pidfd, &fds->worker,
			     &fds->sock };

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		fd_drop(all[i]);
	for (unsigned int i = 0; i < FRAMERING_FDS; i++)
		fd_drop(&fds->ring[i]);
}

/* Takes the descriptors that the record in force lists. */
static int adopt_fds(struct persist *p, struct persist_fds *left)
{
	const struct record_owner *owner = &p->record.owner;
	int fds[BAG_FDS_MAX], *next = fds + 2;
	int n = bag_peek(&p->bag, p->record.bag, fds);
	bool ring = p->record.flags & RECORD_RING;
	int first = 2 + (owner->pid ? 2 : 0) + (owner->worker ? 2 : 0) +
		    (ring ? FRAMERING_FDS : 0);
	int ret = n < 0 && n != -ENOENT ? n : -EBADMSG;

	if (n >= first)
		ret = record_adopt_fds(&p->record, fds + first,
				       (unsigned int)(n - first));
	if (ret < 0) {
		while (n > 0)
			close(fds[--n]);
		return ret;
	}
	close(fds[0]); /* the memories */
	close(fds[1]);
	if (owner->pid) {
		p->mem_fd = left->mem_fd = *next++;
		p->pidfd = left->pidfd = *next++;
	}
	if (owner->worker) {
		p->worker = left->worker = *next++;
		p->sock = left->sock = *next++;
	}
	if (ring) {
		memcpy(p->ring, next, sizeof(p->ring));
		memcpy(left->ring, next, sizeof(left->ring));
	}
	return 0;
}

static int adopt_record(struct persist *p, struct persist_fds *left)
{
	int ret;

	if (area_of(p)->magic != MAGIC)
		return -EBADMSG;
	if (area_of(p)->stale)
		return -ENODATA;
	p->starting = area_of(p)->starting;
	ret = record_load(&p->record, record_mem(p));
	if (ret == 0)
		ret = adopt_fds(p, left);
	if (ret < 0)
		for (unsigned int i = 0; i < p->record.ncalls; i++)
			p->record.call[i].fd = -1;
	return ret;
}

/* Refills the bag: one message, with a number higher than all before. */
static int renew_bag(struct persist *p)
{
	int ret;

	/* A message that was added but never committed may have the number
	 * after the record's. */
	p->record.bag++;
	ret = fill_bag(p);
	/* What is in force stays in force until something changes. */
	if (ret < 0) {
		p->fds_changed = true;
		return 0;
	}
	ret = record_commit(&p->record, record_mem(p));
	if (ret == 0)
		bag_trim(&p->bag);
	return ret;
}

int persist_adopt(struct store *store, const char *name, size_t ring_bytes,
		  struct persist **out, struct persist_fds *left)
{
	struct persist *p = persist_alloc(store);
	int ends[2], ret = -ENOENT;
	unsigned int n;

	*left = PERSIST_FDS_NONE;
	if (!p)
		return -ENOMEM;
	snprintf(p->name, sizeof(p->name), "%s", name);
	n = store_take(store, name, ends, 2);
	if (n == 2)
		ret = bag_adopt(&p->bag, ends);
	if (ret < 0)
		while (n)
			close(ends[--n]);
	if (ret == 0)
		ret = adopt_memory(p, ring_bytes);
	if (ret == 0)
		ret = adopt_record(p, left);
	if (ret == 0)
		ret = renew_bag(p);
	if (ret == 0) {
		*out = p;
		return 0;
	}
	persist_fds_close(left);
	persist_end(p, true);
	return ret;
}

/* ---- changes ---- */

void persist_set(struct persist *p, uint32_t cmd, uint32_t index,
		 const void *arg, size_t len, int fd)
{
	const struct record_call *old = record_find(&p->record, cmd, index);
	int ret;

	if (fd >= 0 || (old && old->fd >= 0))
		p->fds_changed = true;
	ret = record_set(&p->record, cmd, index, arg, len, fd);
	if (ret == 0)
		return;
	p->failed = ret;
	if (fd >= 0)
		close(fd);
}

void persist_drop(struct persist *p, uint32_t cmd, uint32_t index)
{
	const struct record_call *old = record_find(&p->record, cmd, index);

	if (old && old->fd >= 0)
		p->fds_changed = true;
	record_drop(&p->record, cmd, index);
}

void persist_own(struct persist *p, const struct record_owner *owner,
		 int mem_fd, int pidfd)
{
	int32_t worker = p->record.owner.worker;

	p->record.owner = *owner;
	p->record.owner.worker = worker;
	p->mem_fd = mem_fd;
	p->pidfd = pidfd;
	p->fds_changed = true;
}

void persist_set_worker(struct persist *p, pid_t pid, int pidfd, int sock)
{
	p->record.owner.worker = pid;
	p->worker = pidfd;
	p->sock = sock;
	p->fds_changed = true;
}

void persist_set_ring(struct persist *p, const int *ring)
{
	p->record.flags &= ~RECORD_RING;
	if (ring) {
		p->record.flags |= RECORD_RING;
		memcpy(p->ring, ring, sizeof(p->ring));
	}
	p->fds_changed = true;
}

void persist_clear(struct persist *p)
{
	record_clear(&p->record);
	p->worker = p->sock = -1;
	p->mem_fd = p->pidfd = -1;
	p->fds_changed = true;
}

/* ---- in force ---- */

static void set_stale(const struct persist *p, bool stale)
{
	__atomic_store_n(&area_of(p)->stale, stale, __ATOMIC_RELEASE);
}

int persist_commit(struct persist *p, const struct record_answer *answer)
{
	int ret = p->failed;

	if (answer)
		p->record.answer = *answer;
	if (p->memfd < 0)
		return ret;
	if (ret == 0 && p->fds_changed) {
		ret = fill_bag(p);
		if (ret < 0) {
			set_stale(p, true);
			return ret;
		}
	}
	if (ret == 0)
		ret = record_commit(&p->record, record_mem(p));
	if (ret < 0) {
		p->failed = ret;
		give_up(p);
		return ret;
	}
	set_stale(p, false);
	p->fds_changed = false;
	bag_trim(&p->bag);
	return 0;
}

void persist_set_poll(struct persist *p, uint64_t kh)
{
	if (p->mem)
		__atomic_store_n(&area_of(p)->poll_kh, kh, __ATOMIC_RELEASE);
}

uint64_t persist_poll(const struct persist *p)
{
	return area_of(p)->poll_kh;
}

void persist_set_call(struct persist *p, uint64_t unique, uint64_t seq)
{
	struct persist_area *a = area_of(p);

	if (!a)
		return;
	__atomic_store_n(&a->call_unique, 0, __ATOMIC_RELEASE);
	a->call_seq = seq;
	__atomic_store_n(&a->call_unique, unique, __ATOMIC_RELEASE);
}

uint64_t persist_call(const struct persist *p, uint64_t unique)
{
	const struct persist_area *a = area_of(p);

	return a && unique && a->call_unique == unique ? a->call_seq : 0;
}

void persist_set_ready(struct persist *p, bool ready)
{
	if (p->mem)
		__atomic_store_n(&area_of(p)->ready, ready, __ATOMIC_RELEASE);
}

bool persist_ready(const struct persist *p)
{
	return p->mem && area_of(p)->ready;
}

void persist_set_starting(struct persist *p, uint32_t rings)
{
	p->starting = rings;
	if (p->mem)
		__atomic_store_n(&area_of(p)->starting, rings,
				 __ATOMIC_RELEASE);
}

uint32_t persist_starting(const struct persist *p)
{
	return p->starting;
}
