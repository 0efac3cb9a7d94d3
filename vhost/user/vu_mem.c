/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vu_mem.c maps the frontend's memory and its dirty log, and passes them to the
 * devices. It runs on the control thread. Each region is mapped once, and the
 * address spaces of all queue pairs share the mapping; the last one unmaps it.
 * A device changes its table between two batches.
 *
 * The dirty log is one more mapping. dirtylog.c marks pages by an address of
 * the frontend. The frontend does not send the log's address, so the log gets
 * an address that no region has.
 *
 * All sessions, and the guests of character devices, share the address space of
 * this process, and a sparse file costs its owner nothing. So the bytes that a
 * session maps are limited (cfg.map_bytes).
 *
 * Only regular files are mapped, as a fault in other files could block without
 * limit. aspace.c handles a file that is truncated later.
 */
#include "vu_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <linux/magic.h>

#include "vhost/virtq/dirtylog.h"

/* ---- mappings ---- */

/* Files of huge pages are mapped in whole huge pages. */
static int page_size(int fd, uint64_t *page)
{
	struct statfs fs;

	*page = (uint64_t)sysconf(_SC_PAGESIZE);
	if (fstatfs(fd, &fs) < 0)
		return -errno;
	if (fs.f_type == HUGETLBFS_MAGIC && fs.f_bsize > 0)
		*page = (uint64_t)fs.f_bsize;
	return 0;
}

static int check_file(int fd, uint64_t offset, uint64_t size, struct stat *st)
{
	uint64_t end;

	if (fstat(fd, st) < 0)
		return -errno;
	if (!S_ISREG(st->st_mode) || !size)
		return -EINVAL;
	if (add_overflows(offset, size, &end) || end > (uint64_t)st->st_size)
		return -ENXIO;
	return 0;
}

/* Runs on the thread of the last device that had the mapping. */
static void uncharge_bytes(void *ctx, uint64_t bytes)
{
	struct vu_session *s = ctx;

	__atomic_fetch_sub(&s->mapped, bytes, __ATOMIC_RELAXED);
}

static int charge_bytes(struct vu_session *s, uint64_t bytes)
{
	uint64_t had = __atomic_fetch_add(&s->mapped, bytes, __ATOMIC_RELAXED);

	if (!s->cfg.map_bytes ||
	    (had <= s->cfg.map_bytes && bytes <= s->cfg.map_bytes - had))
		return 0;
	uncharge_bytes(s, bytes);
	return -ENOMEM;
}

static int map_pages(struct vu_session *s, int fd, uint64_t start, uint64_t len,
		     uint8_t **base)
{
	int ret = charge_bytes(s, len);

	if (ret < 0)
		return ret;
	*base = mmap(NULL, len, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_NORESERVE, fd, (off_t)start);
	if (*base == MAP_FAILED) {
		ret = -errno;
		uncharge_bytes(s, len);
		return ret;
	}
	madvise(*base, len, MADV_DONTDUMP);
	/* A child that lives on would keep the memory of a guest that is gone.
	 */
	madvise(*base, len, MADV_DONTFORK);
	return 0;
}

/* Makes a mapping of @size bytes at @ptr, in the pages [base, base + len) of
 * the session; on failure unmaps those. */
static int wrap_pages(struct vu_session *s, uint8_t *base, uint64_t len,
		      uint64_t uva, uint64_t size, uint8_t *ptr,
		      struct aspace_map **out)
{
	struct aspace_map *map = aspace_map_new(uva, size, ptr);

	if (!map) {
		munmap(base, len);
		uncharge_bytes(s, len);
		return -ENOMEM;
	}
	map->base = base;
	map->base_size = len;
	map->gone = uncharge_bytes;
	map->gone_ctx = s;
	*out = map;
	return 0;
}

int vu_map_file(struct vu_session *s, int fd, uint64_t offset, uint64_t size,
		uint64_t uva, struct aspace_map **out)
{
	uint64_t page = 0, start, len;
	struct stat st;
	uint8_t *base;
	int ret = check_file(fd, offset, size, &st);

	if (ret == 0)
		ret = page_size(fd, &page);
	if (ret < 0)
		return ret;
	start = offset & ~(page - 1);
	len = (offset - start + size + page - 1) & ~(page - 1);
	ret = map_pages(s, fd, start, len, &base);
	if (ret < 0)
		return ret;
	ret = wrap_pages(s, base, len, uva, size, base + (offset - start), out);
	if (ret < 0)
		return ret;
	(*out)->off = offset;
	(*out)->dev = st.st_dev;
	(*out)->ino = st.st_ino;
	return 0;
}

/* ---- an address for the dirty log ---- */

static bool overlaps(uint64_t a, uint64_t asize, uint64_t b, uint64_t bsize)
{
	return a <= b + (bsize - 1) && b <= a + (asize - 1);
}

/* Does a region overlap the range? @at: address of that region */
static bool occupied(const struct vu_session *s, uint64_t uva, uint64_t size,
		     uint64_t *at)
{
	for (size_t i = 0; i < s->mem.n; i++) {
		const struct vu_mem_region *r = &s->mem.region[i];

		*at = r->userspace_addr;
		if (overlaps(uva, size, *at, r->memory_size))
			return true;
	}
	return false;
}

/* The highest free address in user space; 0 if there is none. */
static uint64_t find_free_range(const struct vu_session *s, uint64_t size)
{
	const uint64_t page = 4096;
	uint64_t end = aspace_limit(), at, taken;

	for (;;) {
		if (size > end - MIN(end, page))
			return 0;
		at = (end - size) & ~(page - 1);
		if (!occupied(s, at, size, &taken))
			return at;
		end = MIN(at + size - 1, taken);
	}
}

/* Maps the same pages at another @uva: devices still use the old mapping. */
static int clone_map(struct vu_session *s, struct aspace_map **map,
		     uint64_t uva)
{
	const struct aspace_map *old = *map;
	struct aspace_map *new;
	uint8_t *base;
	int ret;

	ret = charge_bytes(s, old->base_size);
	if (ret < 0)
		return ret;
	base = mremap(old->base, 0, old->base_size, MREMAP_MAYMOVE);
	if (base == MAP_FAILED) {
		ret = -errno;
		uncharge_bytes(s, old->base_size);
		return ret;
	}
	ret = wrap_pages(s, base, old->base_size, uva, old->size,
			 base + (old->ptr - old->base), &new);
	if (ret < 0)
		return ret;
	aspace_map_put(*map);
	*map = new;
	return 0;
}

/* Gives the log an address; another one if a region overlaps it now. */
static int set_log_address(struct vu_session *s)
{
	struct aspace_map *log = s->mem.log;
	uint64_t uva;

	if (!log || (log->uva && !occupied(s, log->uva, log->size, &uva)))
		return 0;
	uva = find_free_range(s, log->size);
	if (!uva)
		return -ENOSPC;
	if (log->uva)
		return clone_map(s, &s->mem.log, uva);
	log->uva = uva;
	return 0;
}

/* ---- to the devices ---- */

static size_t list_maps(const struct vu_session *s, struct aspace_map **maps)
{
	const struct vu_mem *mem = &s->mem;
	size_t n = 0;

	for (size_t i = 0; i < mem->n; i++)
		maps[n++] = aspace_map_get(mem->map[i]);
	if (mem->log)
		maps[n++] = aspace_map_get(mem->log);
	return n;
}

int vu_pair_set_mem(struct vu_pair *p, void *unused)
{
	const struct vu_session *s = p->s;
	const struct vu_mem *mem = &s->mem;
	struct vhost_memory_region table[VU_MEM_SLOTS];
	struct aspace_map *maps[VU_MEM_SLOTS + 1];
	int ret;

	(void)unused;
	if (!mem->have_table || mem->fresh)
		return 0;
	for (size_t i = 0; i < mem->n; i++)
		table[i] = (struct vhost_memory_region){
			.guest_phys_addr = mem->region[i].guest_phys_addr,
			.memory_size = mem->region[i].memory_size,
			.userspace_addr = mem->region[i].userspace_addr,
		};
	/* vdev checks log and table against each other, and both may change. */
	vdev_set_log_base(p->vdev, 0);
	ret = vdev_set_mem_table(p->vdev, table, mem->n, maps,
				 list_maps(s, maps));
	if (mem->log)
		vdev_set_log_base(p->vdev, mem->log->uva);
	return ret;
}

/* Postcopy: the frontend has the addresses of the mappings: use them now. */
static int register_fresh(struct vu_session *s)
{
	struct vu_mem *mem = &s->mem;

	for (size_t i = 0; i < mem->n; i++) {
		int ret = vu_postcopy_register(s, mem->map[i]);

		if (ret < 0)
			return ret;
	}
	mem->fresh = false;
	return 0;
}

/* Postcopy: does the message acknowledge the addresses of the mappings? */
static bool is_table_ack(const struct vu_op *op)
{
	return op->s->listening && op->s->mem.fresh && op->m->nfds == 0 &&
	       op->m->hdr.size == sizeof(uint64_t) && op->m->payload.u64 == 0;
}

/* Passes a changed s->mem to all devices. */
static int publish(struct vu_session *s)
{
	int ret = set_log_address(s);

	return ret < 0 ? ret : vu_each_pair(s, vu_pair_set_mem, NULL);
}

/* ---- the table ---- */

static void drop_regions(struct vu_mem *mem)
{
	for (size_t i = 0; i < mem->n; i++)
		aspace_map_put(mem->map[i]);
	mem->n = 0;
}

void vu_mem_free(struct vu_session *s)
{
	drop_regions(&s->mem);
	aspace_map_put(s->mem.log);
	s->mem.log = NULL;
}

/* 0; -EINVAL (empty or wraps, or with GPA_ADDRESSES the user address is
 * another); -EEXIST (overlaps another region). With GPA_ADDRESSES all user
 * addresses are guest addresses; the backend needs no other change for the
 * feature. */
static int check_mem_region(const struct vu_session *s,
			    const struct vu_mem_region *r)
{
	const struct vu_mem *mem = &s->mem;
	uint64_t last;

	if (vu_has(s, VHOST_USER_PROTOCOL_F_GPA_ADDRESSES) &&
	    r->userspace_addr != r->guest_phys_addr)
		return -EINVAL;

	if (!r->memory_size ||
	    !range_last(r->guest_phys_addr, r->memory_size, &last) ||
	    !range_last(r->userspace_addr, r->memory_size, &last))
		return -EINVAL;
	for (size_t i = 0; i < mem->n; i++) {
		const struct vu_mem_region *o = &mem->region[i];

		if (overlaps(r->guest_phys_addr, r->memory_size,
			     o->guest_phys_addr, o->memory_size) ||
		    overlaps(r->userspace_addr, r->memory_size,
			     o->userspace_addr, o->memory_size))
			return -EEXIST;
	}
	return 0;
}

static int add_region(struct vu_session *s, const struct vu_mem_region *r,
		      int fd)
{
	struct vu_mem *mem = &s->mem;
	int ret = mem->n == VU_MEM_SLOTS ? -ENOSPC : check_mem_region(s, r);

	if (ret == 0)
		ret = vu_map_file(s, fd, r->mmap_offset, r->memory_size,
				  r->userspace_addr, &mem->map[mem->n]);
	if (ret < 0) {
		vu_warn(s, "memory region of 0x%llx bytes at 0x%llx: %s%s",
			(unsigned long long)r->memory_size,
			(unsigned long long)r->guest_phys_addr, strerror(-ret),
			ret == -EINVAL ? " (guest memory must be shared: "
					 "memfd or file, share=on)"
				       : "");
		return ret;
	}
	mem->adds[mem->n] = 1;
	mem->region[mem->n++] = *r;
	return 0;
}

static int use_new_table(struct vu_session *s)
{
	int ret = register_fresh(s);

	return ret < 0 ? ret : publish(s);
}

int vu_measure_mem_table(const struct vu_op *op)
{
	uint32_t n = op->m->payload.memory.nregions;

	if (n > VU_MEM_REGIONS || n != op->m->nfds ||
	    op->m->hdr.size < offsetof(struct vu_memory, regions[n]))
		return -EPROTO;
	return 0;
}

/* Postcopy: sends the addresses of the mappings to the frontend, which serves
 * the faults. */
static void reply_table(struct vu_op *op)
{
	struct vu_memory *out = &op->reply.payload.memory;

	*out = op->m->payload.memory;
	for (size_t i = 0; i < op->s->mem.n; i++)
		out->regions[i].userspace_addr =
			(uintptr_t)op->s->mem.map[i]->ptr;
	op->reply.hdr.size = op->m->hdr.size;
}

int vu_set_mem_table(struct vu_op *op)
{
	struct vu_session *s = op->s;
	const struct vu_memory *new = &op->m->payload.memory;
	struct vu_mem *old = malloc(sizeof(*old));
	struct aspace_map *log;
	int ret = 0;

	if (!old)
		return -ENOMEM;
	if (is_table_ack(op)) {
		free(old);
		return use_new_table(s);
	}
	*old = s->mem;
	s->mem_before = old;
	s->mem.n = 0;
	s->mem.have_table = true;
	s->mem.fresh = s->listening;
	for (uint32_t i = 0; i < new->nregions &&ret == 0; i++)
		ret = add_region(s, &new->regions[i], op->m->fds[i]);
	if (ret == 0)
		ret = publish(s);
	if (ret < 0) {
		drop_regions(&s->mem);
		log = s->mem.log; /* its address may have changed */
		s->mem = *old;
		s->mem.log = log;
		publish(s);
	} else {
		drop_regions(old);
	}
	s->mem_before = NULL;
	free(old);
	if (ret == 0 && s->listening)
		reply_table(op);
	return ret;
}

/* The region with these addresses and this size, or mem->n. */
static size_t find_region(const struct vu_mem *mem,
			  const struct vu_mem_region *r)
{
	size_t i;

	for (i = 0; i < mem->n; i++)
		if (mem->region[i].guest_phys_addr == r->guest_phys_addr &&
		    mem->region[i].userspace_addr == r->userspace_addr &&
		    mem->region[i].memory_size == r->memory_size)
			break;
	return i;
}

/* Is region @i the same memory as @r of @fd? */
static bool is_same(const struct vu_mem *mem, size_t i,
		    const struct vu_mem_region *r, int fd)
{
	const struct aspace_map *map = mem->map[i];
	struct stat st;

	return fstat(fd, &st) == 0 && st.st_dev == map->dev &&
	       st.st_ino == map->ino && r->mmap_offset == map->off;
}

int vu_get_max_mem_slots(struct vu_op *op)
{
	return vu_op_reply_u64(op, VU_MEM_SLOTS);
}

int vu_add_mem_reg(struct vu_op *op)
{
	const struct vu_mem_region *r = &op->m->payload.region.region;
	struct vu_session *s = op->s;
	struct vu_mem *mem = &s->mem;
	size_t at;
	int ret;

	at = find_region(mem, r);
	if (at < mem->n && is_same(mem, at, r, op->m->fds[0])) {
		mem->adds[at]++;
		return 0;
	}
	ret = add_region(s, r, op->m->fds[0]);
	if (ret < 0)
		return ret;
	mem->have_table = true;
	ret = publish(s);
	if (ret < 0) {
		aspace_map_put(mem->map[--mem->n]);
		publish(s);
	}
	return ret;
}

int vu_rem_mem_reg(struct vu_op *op)
{
	const struct vu_mem_region *r = &op->m->payload.region.region;
	struct vu_session *s = op->s;
	struct vu_mem *mem = &s->mem;
	struct aspace_map *map;
	size_t i = find_region(mem, r);
	int ret;

	if (i == mem->n)
		return -ENOENT;
	if (--mem->adds[i])
		return 0;
	map = mem->map[i];
	mem->n--;
	mem->region[i] = mem->region[mem->n];
	mem->map[i] = mem->map[mem->n];
	mem->adds[i] = mem->adds[mem->n];
	ret = publish(s);
	/* A device that kept the old table has references of its own. */
	aspace_map_put(map);
	return ret;
}

/* ---- the dirty log ---- */

/* Has the log a bit for every page of every region? */
static bool log_covers(const struct vu_mem *mem, uint64_t size)
{
	for (size_t i = 0; i < mem->n; i++) {
		const struct vu_mem_region *r = &mem->region[i];
		uint64_t last = r->guest_phys_addr + (r->memory_size - 1);

		if (last / DIRTYLOG_PAGE / 8 >= size)
			return false;
	}
	return true;
}

/*
 * Without LOG_SHMFD a frontend sends its own address of the log, which is of no
 * use here: 8 bytes, or from QEMU 16 without a descriptor.
 */
int vu_measure_log_base(const struct vu_op *op)
{
	if (op->m->hdr.size == sizeof(struct vu_log))
		return 0;
	return op->m->hdr.size == sizeof(uint64_t) && !op->m->nfds ? 0
								   : -EPROTO;
}

int vu_set_log_base(struct vu_op *op)
{
	const struct vu_log *l = &op->m->payload.log;
	struct vu_session *s = op->s;
	struct aspace_map *old = s->mem.log, *map = NULL;
	int ret;

	if (!op->m->nfds)
		return -EOPNOTSUPP;
	if (!log_covers(&s->mem, l->mmap_size))
		return -ERANGE;
	ret = vu_map_file(s, op->m->fds[0], l->mmap_offset, l->mmap_size, 0,
			  &map);
	if (ret < 0)
		return ret;
	s->mem.log = map;
	ret = publish(s);
	if (ret < 0) {
		s->mem.log = old;
		publish(s);
		old = map;
	}
	aspace_map_put(old);
	/* rust-vmm waits for 16 bytes with a size that is not 0. QEMU ignores
	 * the contents. */
	op->reply.payload.log = *l;
	op->reply.hdr.size = sizeof(*l);
	return ret;
}

int vu_pair_set_log_fd(struct vu_pair *p, void *unused)
{
	int copy;

	(void)unused;
	if (p->s->log_fd < 0)
		return 0;
	copy = dup(p->s->log_fd);
	return copy < 0 ? -errno : vdev_set_log_fd(p->vdev, copy);
}

int vu_set_log_fd(struct vu_op *op)
{
	struct vu_session *s = op->s;

	fd_drop(&s->log_fd);
	s->log_fd = vu_msg_take_fd(op->m, 0);
	/* If there is no pair yet the first one checks the descriptor. */
	return vu_each_pair(s, vu_pair_set_log_fd, NULL);
}
