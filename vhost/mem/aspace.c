/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * aspace.c reads and writes the memory of the owner, the process that a device
 * works for. The memory is hostile: at any moment the owner may unmap it,
 * truncate the file behind it, exec or exit. An aspace has no lock: one thread
 * uses it at a time.
 *
 * Copies go through /proc/PID/mem, opened while the process was known to be the
 * owner. The open file is bound to that address space: after exec or exit of
 * the owner it never shows another one, and once the address space has no users
 * every read and write transfers 0 bytes (-ESRCH). No byte is copied by process
 * id, which the kernel recycles. The kernel checks rights at the open only.
 *
 * One system call transfers one range of addresses and costs about as much as
 * copying 4 KiB, so ranges are merged:
 * - Reads of ranges that follow each other, with gaps of at most GAP_MAX bytes,
 *   are one call into a scratch buffer. Such a gap lies in the pages of its
 *   neighbours, so the call fails exactly if one of the ranges would fail.
 * - Writes are one call as long as each range begins where the one before it
 *   ends. A gap is never written.
 *
 * The kernel copies an aligned field of 4 or 8 bytes by one load and one store,
 * but may copy a field of 2 bytes byte by byte. So an index that the driver may
 * read or change meanwhile is copied together with the field beside it.
 *
 * A transfer fails at once at a page that a userfaultfd has to deliver or to
 * release for writing (post-copy migration, background snapshot).
 * process_vm_readv and writev wait for such pages, so fault_in() calls them
 * with a local buffer that cannot be accessed: the kernel first brings in the
 * remote pages, then fails to copy. This call may go by process id, since it
 * moves no byte, whichever process has the id by now. But it would allocate
 * memory in a wrong process, and takes the right to trace the process. So the
 * caller of aspace_set_fault_in() does it, who can check the id, or have a
 * process with that right do it.
 *
 * The file also reaches pages that the owner itself may not read or write
 * (FOLL_FORCE), where the kernel's vhost returns EFAULT. aspace_set_bars() sets
 * the list of those.
 *
 * An access to a mapping raises SIGBUS when its file was truncated. The handler
 * looks the mapping up in the address space that this thread has entered, maps
 * zero pages over all of it (mmap is a plain system call and safe there), and
 * marks it lost. The ring code reads zeros until the end of its batch and then
 * finds the address space faulted. Other threads that share the mapping read
 * zeros too, or fault and repeat this, and see the mark.
 */
#include "aspace.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "bytes.h"

/* Largest gap that is read along with the ranges beside it: below a page. */
#define GAP_MAX 4095
/* Most bytes of one call that goes through the scratch buffer. */
#define SPAN_MAX ((size_t)64 * 1024)

struct aspace {
	int mem_fd;
	int (*fault_in)(void *ctx, bool write, uint64_t uva, uint64_t len);
	void *fault_in_ctx;
	uint8_t *scratch;         /* SPAN_MAX bytes */
	struct aspace_map **maps; /* sorted by uva */
	size_t nmaps;
	struct aspace_bar *bars; /* sorted, disjoint */
	size_t nbars;
	struct aspace_map *extra;
	volatile sig_atomic_t faulted;
	unsigned int losses_seen;
	uint64_t copied_bytes;
};

static __thread struct aspace *entered;

/* Number of mappings lost in this process. While it does not change, no aspace
 * has to check its mappings. */
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
	unsigned int had;

	if (!map)
		return;
	had = __atomic_fetch_sub(&map->refs, 1, __ATOMIC_ACQ_REL);
	assert(had > 0);
	if (had > 1)
		return;
	munmap(map->base, map->base_size);
	if (map->gone)
		map->gone(map->gone_ctx, map->base_size);
	free(map);
}

int aspace_new(int mem_fd, struct aspace **out)
{
	struct aspace *as = calloc(1, sizeof(*as));

	if (!as)
		return -ENOMEM;
	as->mem_fd = -1;
	if (mem_fd >= 0 && aspace_set_file(as, mem_fd) < 0) {
		free(as);
		return -ENOMEM;
	}
	*out = as;
	return 0;
}

int aspace_set_file(struct aspace *as, int mem_fd)
{
	if (as->mem_fd >= 0) {
		close(mem_fd);
		return 0;
	}
	as->scratch = malloc(SPAN_MAX);
	if (!as->scratch)
		return -ENOMEM;
	as->mem_fd = mem_fd;
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
	free(as->bars);
	free(as->scratch);
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

/* ---- addresses that the owner itself may not access ---- */

void aspace_set_bars(struct aspace *as, struct aspace_bar *bars, size_t n)
{
	free(as->bars);
	as->bars = bars;
	as->nbars = n;
}

/* Is any byte of the range barred? */
static bool is_barred(const struct aspace *as, uint64_t uva, uint64_t len,
		      bool write)
{
	size_t lo = 0, hi = as->nbars;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (as->bars[mid].end <= uva)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < as->nbars && as->bars[lo].start < uva + len; lo++)
		if (write ? as->bars[lo].no_write : as->bars[lo].no_read)
			return true;
	return false;
}

/* ---- copies ---- */

void aspace_set_fault_in(struct aspace *as,
			 int (*fault_in)(void *ctx, bool write, uint64_t uva,
					 uint64_t len),
			 void *ctx)
{
	as->fault_in = fault_in;
	as->fault_in_ctx = ctx;
}

void aspace_fault_in(pid_t pid, bool write, uint64_t uva, uint64_t len)
{
	struct iovec nothing = { NULL, len };
	struct iovec range = { (void *)(uintptr_t)uva, len };

	if (write)
		process_vm_writev(pid, &nothing, 1, &range, 1, 0);
	else
		process_vm_readv(pid, &nothing, 1, &range, 1, 0);
}

int aspace_fd(const struct aspace *as)
{
	return as->mem_fd;
}

/* Transfers all of [uva, uva + len). A call stops at the first missing page;
 * the next one, which begins there, returns the reason. */
static int transfer(const struct aspace *as, bool write, uint64_t uva,
		    uint8_t *ptr, size_t len)
{
	uint64_t waited_for = UINT64_MAX;

	while (len) {
		ssize_t n = write ? pwrite(as->mem_fd, ptr, len, (off_t)uva)
				  : pread(as->mem_fd, ptr, len, (off_t)uva);

		if (n == 0)
			return -ESRCH;
		if (n < 0) { /* EIO; ENOMEM */
			if (waited_for == uva)
				return -EFAULT;
			waited_for = uva;
			if (!as->fault_in ||
			    as->fault_in(as->fault_in_ctx, write, uva, len) < 0)
				return -EFAULT;
			continue;
		}
		ptr += n;
		uva += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/*
 * Ranges r[0...n - 1] that become one call, for addresses [lo, hi). @direct:
 * they follow each other without gaps in both memories: no scratch buffer is
 * needed.
 */
struct copy {
	struct aspace *as;
	bool write;
	const struct aspace_range *r;
	size_t n;
	uint64_t lo, hi;
	bool direct;
	size_t bytes;
};

static int copy_flush(struct copy *c)
{
	size_t len = c->hi - c->lo, n = c->n;
	uint8_t *scratch = c->as->scratch;
	int ret;

	if (!n)
		return 0;
	c->n = 0;
	if (c->direct) {
		ret = transfer(c->as, c->write, c->lo, c->r[0].ptr, len);
	} else {
		for (size_t i = 0; c->write && i < n; i++)
			memcpy(scratch + (c->r[i].uva - c->lo), c->r[i].ptr,
			       c->r[i].len);
		ret = transfer(c->as, c->write, c->lo, scratch, len);
		for (size_t i = 0; !c->write && ret == 0 && i < n; i++)
			memcpy(c->r[i].ptr, scratch + (c->r[i].uva - c->lo),
			       c->r[i].len);
	}
	if (ret == 0)
		c->as->copied_bytes += c->bytes;
	return ret;
}

/* Adds @r to the call that is being collected, if it can be merged. Addresses
 * are below INT64_MAX, so no sum overflows. */
static bool copy_join(struct copy *c, const struct aspace_range *r)
{
	const struct aspace_range *last = &c->r[c->n - 1];
	uint64_t lo = MIN(c->lo, r->uva), hi = MAX(c->hi, r->uva + r->len);
	bool direct = c->direct && r->uva == c->hi &&
		      r->ptr == (uint8_t *)last->ptr + last->len;

	if (&c->r[c->n] != r)
		return false; /* an empty range lies between them */
	if (!direct) {
		if (hi - lo > SPAN_MAX)
			return false;
		if (c->write ? r->uva != c->hi
			     : r->uva > c->hi + GAP_MAX ||
				       r->uva + r->len + GAP_MAX < c->lo)
			return false;
	}
	c->lo = lo;
	c->hi = hi;
	c->direct = direct;
	c->bytes += r->len;
	c->n++;
	return true;
}

static int copy_add(struct copy *c, const struct aspace_range *r)
{
	uint8_t *ours = c->as->nmaps ? aspace_ptr(c->as, r->uva, r->len) : NULL;
	int ret;

	if (!ours && (c->as->mem_fd < 0 || r->uva > INT64_MAX ||
		      r->len > INT64_MAX - r->uva))
		return -EFAULT;
	if (!ours && unlikely(c->as->nbars) &&
	    is_barred(c->as, r->uva, r->len, c->write))
		return -EFAULT;
	if (!ours && c->n && copy_join(c, r))
		return 0;
	ret = copy_flush(c);
	if (ret < 0)
		return ret;
	if (!ours) {
		c->r = r;
		c->n = 1;
		c->lo = r->uva;
		c->hi = r->uva + r->len;
		c->direct = true;
		c->bytes = r->len;
	} else if (c->write) {
		memcpy(ours, r->ptr, r->len);
	} else {
		memcpy(r->ptr, ours, r->len);
	}
	return 0;
}

static int copy_ranges(struct aspace *as, const struct aspace_range *r,
		       size_t n, bool write)
{
	struct copy c = { .as = as, .write = write };
	int ret;

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

/* The system call itself: mmap(3) is not async-signal-safe by signal-safety(7),
 * and ThreadSanitizer takes it for a write to memory that other workers use. */
static bool replace_by_zeroes(const struct aspace_map *map)
{
	return syscall(SYS_mmap, map->base, map->base_size,
		       PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE,
		       -1, 0) != -1;
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
		if (!replace_by_zeroes(map))
			break;
		__atomic_store_n(&map->lost, true, __ATOMIC_RELAXED);
		__atomic_fetch_add(&losses, 1, __ATOMIC_RELEASE);
		as->faulted = 1;
		errno = saved;
		return;
	}
	/* Not guest memory: a bug of this program. The access is repeated and
	 * ends the process. */
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
