/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reaching the owner's memory. This file touches hostile memory: the owner may
 * unmap, truncate, exec or exit at any moment.
 *
 * Copies go by process id, which the kernel recycles, so the identity of the
 * address space is pinned by an open /proc/PID/mem: once the mm it was opened
 * on has no users, reading it gives 0 bytes. A ring starts each of its turns
 * with such a read (aspace_peek), so that an owner that has exec'ed or gone is
 * noticed before anything is copied to or from whoever has its pid now.
 *
 * Mapped memory can raise SIGBUS when its file is truncated. The handler finds
 * the mapping through the address space that this thread has entered, lays
 * zero pages over all of it (mmap is a plain system call and safe there), and
 * marks it lost; the ring code goes on with zeros to the end of its batch and
 * then finds the address space faulted. Threads that share the mapping meet
 * zeros from then on, or fault and do the same again, and find out as well.
 */
#include "aspace.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "bytes.h"

/* Pieces given to one process_vm_readv/writev. The cost of a call is that of
 * three pieces, so more would not show; 16 KiB of stack. */
#define IOV_BATCH 512

struct aspace {
	pid_t pid;
	int mem_fd;
	struct aspace_map **maps; /* sorted by uva */
	size_t nmaps;
	struct aspace_map *extra;
	volatile sig_atomic_t faulted;
	unsigned int losses_seen;
	uint64_t copied_bytes;
};

static __thread struct aspace *entered;

/* Mappings lost in this process: while it stands still nobody need look at the
 * mappings themselves. */
static unsigned int losses;

struct aspace_map *aspace_map_new(uint64_t uva, uint64_t size, void *ptr)
{
	struct aspace_map *map = calloc(1, sizeof(*map));

	if (!map)
		return NULL;
	map->uva = uva;
	map->size = size;
	map->ptr = map->base = ptr;
	map->base_size = size;
	map->refs = 1;
	return map;
}

struct aspace_map *aspace_map_get(struct aspace_map *map)
{
	__atomic_fetch_add(&map->refs, 1, __ATOMIC_RELAXED);
	return map;
}

void aspace_map_put(struct aspace_map *map)
{
	if (!map || __atomic_sub_fetch(&map->refs, 1, __ATOMIC_ACQ_REL))
		return;
	munmap(map->base, map->base_size);
	free(map);
}

int aspace_new(pid_t pid, int mem_fd, struct aspace **out)
{
	struct aspace *as = calloc(1, sizeof(*as));

	if (!as)
		return -ENOMEM;
	as->pid = pid;
	as->mem_fd = mem_fd;
	*out = as;
	return 0;
}

static void put_maps(struct aspace_map **maps, size_t n)
{
	for (size_t i = 0; i < n; i++)
		aspace_map_put(maps[i]);
}

void aspace_free(struct aspace *as)
{
	if (!as)
		return;
	if (entered == as)
		entered = NULL;
	put_maps(as->maps, as->nmaps);
	aspace_map_put(as->extra);
	free(as->maps);
	if (as->mem_fd >= 0)
		close(as->mem_fd);
	free(as);
}

static int by_uva(const void *a, const void *b)
{
	const struct aspace_map *ma = *(struct aspace_map *const *)a;
	const struct aspace_map *mb = *(struct aspace_map *const *)b;

	return (ma->uva > mb->uva) - (ma->uva < mb->uva);
}

int aspace_set_maps(struct aspace *as, struct aspace_map **maps, size_t n)
{
	struct aspace_map **sorted = NULL, **old = as->maps;
	size_t nold = as->nmaps;

	if (n) {
		sorted = malloc(n * sizeof(*sorted));
		if (!sorted)
			return -ENOMEM;
		memcpy(sorted, maps, n * sizeof(*sorted));
		qsort(sorted, n, sizeof(*sorted), by_uva);
	}
	as->maps = sorted;
	as->nmaps = n;
	as->faulted = 0;
	as->losses_seen = __atomic_load_n(&losses, __ATOMIC_ACQUIRE);
	put_maps(old, nold);
	free(old);
	return 0;
}

void aspace_set_extra(struct aspace *as, struct aspace_map *map)
{
	struct aspace_map *old = as->extra;

	as->extra = map;
	aspace_map_put(old);
}

static bool is_lost(const struct aspace_map *map)
{
	return __atomic_load_n(&map->lost, __ATOMIC_RELAXED);
}

/* Index of the first mapping that ends above @uva. */
static size_t first_above(const struct aspace *as, uint64_t uva)
{
	size_t lo = 0, hi = as->nmaps;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (as->maps[mid]->uva + as->maps[mid]->size <= uva)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct aspace_map *aspace_find_map(const struct aspace *as, uint64_t uva)
{
	size_t i = first_above(as, uva);

	if (i == as->nmaps || as->maps[i]->uva > uva || is_lost(as->maps[i]))
		return NULL;
	return as->maps[i];
}

bool aspace_maps_any(const struct aspace *as, uint64_t uva, uint64_t len)
{
	size_t i = first_above(as, uva);

	return i < as->nmaps &&
	       (as->maps[i]->uva <= uva || as->maps[i]->uva - uva < len);
}

void *aspace_ptr(const struct aspace *as, uint64_t uva, uint64_t len)
{
	const struct aspace_map *map = aspace_find_map(as, uva);

	if (!map || len > map->size - (uva - map->uva))
		return NULL;
	return map->ptr + (uva - map->uva);
}

bool aspace_alive(const struct aspace *as)
{
	char c;

	return as->pid < 0 || pread(as->mem_fd, &c, 1, 0) != 0;
}

int aspace_peek(struct aspace *as, uint64_t uva, void *ptr, size_t len)
{
	void *ours = aspace_ptr(as, uva, len);
	ssize_t n;

	if (ours) {
		memcpy(ptr, ours, len);
		return 0;
	}
	if (as->pid < 0 || uva > INT64_MAX)
		return -EFAULT;
	n = pread(as->mem_fd, ptr, len, (off_t)uva);
	if (n == 0)
		return -ESRCH;
	return n == (ssize_t)len ? 0 : -EFAULT;
}

/* One call's worth of pieces. Adjacent ones share an entry on either side. */
struct copy {
	struct aspace *as;
	bool write;
	size_t nlocal, nremote, bytes;
	struct iovec local[IOV_BATCH], remote[IOV_BATCH];
};

static int copy_flush(struct copy *c)
{
	ssize_t n;

	if (!c->nremote)
		return 0;
	if (c->write)
		n = process_vm_writev(c->as->pid, c->local, c->nlocal,
				      c->remote, c->nremote, 0);
	else
		n = process_vm_readv(c->as->pid, c->local, c->nlocal, c->remote,
				     c->nremote, 0);
	if (n < 0)
		return errno == ENOMEM ? -EFAULT : -errno;
	if ((size_t)n != c->bytes)
		return -EFAULT;
	c->as->copied_bytes += c->bytes;
	c->nlocal = c->nremote = c->bytes = 0;
	return 0;
}

static void iov_add(struct iovec *iov, size_t *n, uint8_t *base, size_t len)
{
	if (*n && (uint8_t *)iov[*n - 1].iov_base + iov[*n - 1].iov_len == base)
		iov[*n - 1].iov_len += len;
	else
		iov[(*n)++] = (struct iovec){ base, len };
}

static int copy_add(struct copy *c, const struct aspace_range *r)
{
	uint8_t *ours = c->as->nmaps ? aspace_ptr(c->as, r->uva, r->len) : NULL;
	int ret;

	if (ours) {
		if (c->write)
			memcpy(ours, r->ptr, r->len);
		else
			memcpy(r->ptr, ours, r->len);
		return 0;
	}
	if (c->as->pid < 0)
		return -EFAULT;
	if (c->nlocal == IOV_BATCH || c->nremote == IOV_BATCH) {
		ret = copy_flush(c);
		if (ret < 0)
			return ret;
	}
	iov_add(c->local, &c->nlocal, r->ptr, r->len);
	iov_add(c->remote, &c->nremote, (uint8_t *)(uintptr_t)r->uva, r->len);
	c->bytes += r->len;
	return 0;
}

static int copy_ranges(struct aspace *as, const struct aspace_range *r,
		       size_t n, bool write)
{
	struct copy c;
	int ret;

	c.as = as;
	c.write = write;
	c.nlocal = c.nremote = c.bytes = 0;
	for (size_t i = 0; i < n; i++) {
		if (!r[i].len)
			continue;
		ret = copy_add(&c, &r[i]);
		if (ret < 0)
			return ret;
	}
	return copy_flush(&c);
}

int aspace_read(struct aspace *as, const struct aspace_range *r, size_t n)
{
	return copy_ranges(as, r, n, false);
}

int aspace_write(struct aspace *as, const struct aspace_range *r, size_t n)
{
	return copy_ranges(as, r, n, true);
}

uint64_t aspace_copied_bytes(const struct aspace *as)
{
	return as->copied_bytes;
}

uint64_t aspace_limit(void)
{
	static uint64_t limit;
	uint64_t found = __atomic_load_n(&limit, __ATOMIC_RELAXED);
	void *high;

	if (found)
		return found;
	/* A hint above 47 bits is honoured only with 5-level paging. */
	high = mmap((void *)(uintptr_t)BIT(50), 4096, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	found = BIT(47) - 4096;
	if (high != MAP_FAILED) {
		if ((uintptr_t)high >= BIT(47))
			found = BIT(56) - 4096;
		munmap(high, 4096);
	}
	__atomic_store_n(&limit, found, __ATOMIC_RELAXED);
	return found;
}

static void on_sigbus(int sig, siginfo_t *info, void *ctx)
{
	struct aspace *as = entered;
	int saved = errno;

	(void)ctx;
	for (size_t i = 0; as && i <= as->nmaps; i++) {
		struct aspace_map *map =
			i < as->nmaps ? as->maps[i] : as->extra;
		uint8_t *addr = info->si_addr;

		if (!map || addr < map->base ||
		    addr - map->base >= (ptrdiff_t)map->base_size)
			continue;
		if (mmap(map->base, map->base_size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED |
				 MAP_NORESERVE,
			 -1, 0) == MAP_FAILED)
			break;
		__atomic_store_n(&map->lost, true, __ATOMIC_RELAXED);
		__atomic_fetch_add(&losses, 1, __ATOMIC_RELEASE);
		as->faulted = 1;
		errno = saved;
		return;
	}
	/* Not guest memory: our own bug. The access is repeated and kills. */
	signal(sig, SIG_DFL);
}

void aspace_guard_install(void)
{
	struct sigaction sa = { .sa_sigaction = on_sigbus,
				.sa_flags = SA_SIGINFO };

	sigemptyset(&sa.sa_mask);
	sigaction(SIGBUS, &sa, NULL);
}

void aspace_enter(struct aspace *as)
{
	entered = as;
}

bool aspace_faulted(struct aspace *as)
{
	unsigned int now = __atomic_load_n(&losses, __ATOMIC_ACQUIRE);

	if (likely(now == as->losses_seen))
		return as->faulted;
	as->losses_seen = now;
	for (size_t i = 0; i < as->nmaps; i++)
		if (is_lost(as->maps[i]))
			as->faulted = 1;
	if (as->extra && is_lost(as->extra))
		as->faulted = 1;
	return as->faulted;
}
