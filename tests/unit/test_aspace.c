/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_aspace.c tests aspace.c: access to the owner's memory through mappings
 * and through /proc/PID/mem.
 */
#include "check.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <linux/userfaultfd.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "aspace.h"
#include "bytes.h"
#include "drv.h"

struct fixture {
	struct arena arena;
	struct aspace *as;
};

static int setup_mode(void **state, enum arena_mode mode)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	arena_open(&f->arena, mode);
	f->as = arena_aspace(&f->arena);
	for (unsigned int i = 0; i < ARENA_SIZE; i++)
		f->arena.base[i] = (uint8_t)(i * 7 + i / 4096);
	*state = f;
	return 0;
}

static int setup_mapped(void **state)
{
	return setup_mode(state, MAPPED);
}

static int setup_copied(void **state)
{
	return setup_mode(state, COPIED);
}

static int setup_mixed(void **state)
{
	return setup_mode(state, RINGS_MAPPED);
}

static int setup_child(void **state)
{
	return setup_mode(state, FROM_CHILD);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	aspace_free(f->as);
	arena_close(&f->arena);
	free(f);
	return 0;
}

/* Does the address space behind the memory file have any users yet? */
static bool has_users(const struct aspace *as)
{
	char c;

	return pread(aspace_fd(as), &c, 1, 0) != 0;
}

/* ---- mappings ---- */

static struct aspace_map *map_at(uint64_t uva, uint64_t size)
{
	struct aspace_map *map;
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	map = aspace_map_new(uva, size, p);
	assert_non_null(map);
	return map;
}

static bool is_mapped(void *p)
{
	unsigned char vec;

	return mincore(p, PAGE, &vec) == 0;
}

static void a_mapping_is_found_by_any_of_its_addresses(void **state)
{
	struct aspace_map *maps[4];
	struct aspace *as;

	(void)state;
	maps[0] = map_at(0x50000, 0x2000);
	maps[1] = map_at(0x10000, 0x1000);
	maps[2] = map_at(0x11000, 0x1000); /* right behind the last */
	maps[3] = map_at(UINT64_MAX - 0x1fff, 0x1000);
	check_ret(aspace_new(-1, &as), 0);
	check_ret(aspace_set_maps(as, maps, 4), 0);
	assert_null(aspace_find_map(as, 0));
	assert_null(aspace_find_map(as, 0xffff));
	assert_ptr_equal(aspace_find_map(as, 0x10000), maps[1]);
	assert_ptr_equal(aspace_find_map(as, 0x10fff), maps[1]);
	assert_ptr_equal(aspace_find_map(as, 0x11000), maps[2]);
	assert_null(aspace_find_map(as, 0x12000));
	assert_null(aspace_find_map(as, 0x4ffff));
	assert_ptr_equal(aspace_find_map(as, 0x51fff), maps[0]);
	assert_null(aspace_find_map(as, 0x52000));
	assert_ptr_equal(aspace_find_map(as, UINT64_MAX - 0x1000), maps[3]);
	assert_null(aspace_find_map(as, UINT64_MAX - 0xfff));
	assert_null(aspace_find_map(as, UINT64_MAX));
	aspace_free(as);
}

static void a_pointer_needs_one_mapping_for_all_its_bytes(void **state)
{
	struct aspace_map *maps[2];
	struct aspace *as;

	(void)state;
	maps[0] = map_at(0x10000, 0x1000);
	maps[1] = map_at(0x11000, 0x1000);
	check_ret(aspace_new(-1, &as), 0);
	check_ret(aspace_set_maps(as, maps, 2), 0);
	assert_ptr_equal(aspace_ptr(as, 0x10000, 0x1000), maps[0]->ptr);
	assert_ptr_equal(aspace_ptr(as, 0x10fff, 1), maps[0]->ptr + 0xfff);
	assert_null(aspace_ptr(as, 0x10fff, 2));
	assert_null(aspace_ptr(as, 0x10000, 0x1001));
	assert_null(aspace_ptr(as, 0x10000, UINT64_MAX));
	assert_null(aspace_ptr(as, 0x10001, UINT64_MAX));
	assert_null(aspace_ptr(as, 0xffff, 2));
	aspace_free(as);
}

static void without_mappings_nothing_is_found(void **state)
{
	struct aspace *as;

	(void)state;
	check_ret(aspace_new(-1, &as), 0);
	assert_null(aspace_find_map(as, 0));
	assert_null(aspace_ptr(as, 0x10000, 1));
	aspace_free(as);
}

static void the_last_reference_unmaps(void **state)
{
	struct aspace_map *a = map_at(0x10000, PAGE),
			  *b = map_at(0x20000, PAGE), *maps[2];
	void *pa = a->ptr, *pb = b->ptr;
	struct aspace *as;

	(void)state;
	check_ret(aspace_new(-1, &as), 0);
	maps[0] = a;
	maps[1] = b;
	check_ret(aspace_set_maps(as, maps, 2), 0);
	maps[0] = aspace_map_get(a); /* kept for the next table */
	check_ret(aspace_set_maps(as, maps, 1), 0);
	assert_true(is_mapped(pa));
	assert_false(is_mapped(pb));
	check_ret(aspace_set_maps(as, NULL, 0), 0);
	assert_false(is_mapped(pa));
	aspace_free(as);
	aspace_map_put(NULL);
}

/* ---- copies ---- */

static void check_read(struct fixture *f, uint64_t off, size_t len)
{
	static uint8_t buf[ARENA_SIZE];
	struct aspace_range r = { arena_uva(&f->arena, off), buf, len };

	memset(buf, 0, len);
	check_ret(aspace_read(f->as, &r, 1), 0);
	assert_memory_equal(buf, f->arena.base + off, len);
}

static void any_bytes_can_be_read(void **state)
{
	struct fixture *f = *state;

	check_read(f, 0, 1);
	check_read(f, 4095, 2);
	check_read(f, ARENA_SIZE - 1, 1);
	check_read(f, RINGS_SIZE, MIB);
	check_read(f, 12345, 100000);
}

static void any_bytes_can_be_written(void **state)
{
	struct fixture *f = *state;
	static uint8_t buf[100000];
	struct aspace_range r[] = {
		{ arena_uva(&f->arena, 1), buf, 1 },
		{ arena_uva(&f->arena, 100), buf, sizeof(buf) },
		{ arena_uva(&f->arena, ARENA_SIZE - 3), buf, 3 },
	};

	memset(buf, 0xa5, sizeof(buf));
	f->arena.base[0] = f->arena.base[2] = 0x11;
	check_ret(aspace_write(f->as, r, 3), 0);
	assert_int_equal(f->arena.base[0], 0x11);
	assert_int_equal(f->arena.base[1], 0xa5);
	assert_int_equal(f->arena.base[2], 0x11);
	assert_memory_equal(f->arena.base + 100, buf, sizeof(buf));
	assert_memory_equal(f->arena.base + ARENA_SIZE - 3, buf, 3);
}

/* More pieces than one system call takes, near and far, in both directions. */
static void thousands_of_pieces_are_copied(void **state)
{
	enum { N = 3000 };
	static struct aspace_range r[N];
	static uint8_t buf[N * 16], want[N * 16];
	struct fixture *f = *state;

	for (unsigned int step = 1; step < 40; step += 13) {
		size_t at = 0;

		for (unsigned int i = 0; i < N; i++) {
			size_t len = 1 + (i * step) % 16;
			uint64_t off = (i * step * 977ul) % (ARENA_SIZE - 16);

			r[i] = (struct aspace_range){ arena_uva(&f->arena, off),
						      buf + at, len };
			memcpy(want + at, f->arena.base + off, len);
			at += len + i % 2; /* some touch, some do not */
		}
		check_ret(aspace_read(f->as, r, N), 0);
		for (unsigned int i = 0; i < N; i++)
			assert_memory_equal(r[i].ptr,
					    want + ((uint8_t *)r[i].ptr - buf),
					    r[i].len);
	}
}

static void neighbouring_pieces_land_in_order(void **state)
{
	enum { N = 1500 };
	static struct aspace_range r[N];
	static uint8_t buf[N];
	struct fixture *f = *state;

	for (unsigned int i = 0; i < N; i++) {
		buf[i] = (uint8_t)(i ^ i >> 8);
		/* backwards on one side */
		r[i] = (struct aspace_range){
			arena_uva(&f->arena, 1000 + N - i), &buf[i], 1
		};
	}
	check_ret(aspace_write(f->as, r, N), 0);
	for (unsigned int i = 0; i < N; i++)
		assert_int_equal(f->arena.base[1000 + N - i], buf[i]);
}

/* Small gaps, large ones and none, upwards and downwards, overlaps: what lies
 * between the pieces goes nowhere. */
static void gaps_are_of_no_consequence(void **state)
{
	static const int steps[] = { 1,    64,    100,   4095,   4096,  4097,
				     8000, -64,   -100,  -4195,  -4196, -4197,
				     -100, 70000, 65536, -60000, 65436, 100 };
	enum { N = ARRAY_SIZE(steps) + 1, LEN = 100, ROOM = 2 * LEN };
	struct fixture *f = *state;
	static uint8_t buf[N * ROOM], want[N * ROOM];
	struct aspace_range r[N];
	uint64_t off = RINGS_SIZE + 100000;

	memset(buf, 0xee, sizeof(buf));
	memset(want, 0xee, sizeof(want));
	for (size_t i = 0; i < N; i++) {
		r[i] = (struct aspace_range){ arena_uva(&f->arena, off),
					      buf + i * ROOM, LEN };
		memcpy(want + i * ROOM, f->arena.base + off, LEN);
		if (i < ARRAY_SIZE(steps))
			off += (uint64_t)(int64_t)steps[i];
	}
	check_ret(aspace_read(f->as, r, N), 0);
	assert_memory_equal(buf, want, sizeof(buf));
}

static void a_gap_is_never_written(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[3] = { 0xa1, 0xa2, 0xa3 }, want[8];
	struct aspace_range r[] = {
		{ arena_uva(&f->arena, SPARE_OFF), buf, 1 },
		{ arena_uva(&f->arena, SPARE_OFF + 2), buf + 1, 1 },
		{ arena_uva(&f->arena, SPARE_OFF + 3), buf + 2, 1 },
	};

	memcpy(want, f->arena.base + SPARE_OFF, sizeof(want));
	want[0] = 0xa1;
	want[2] = 0xa2;
	want[3] = 0xa3;
	check_ret(aspace_write(f->as, r, 3), 0);
	assert_memory_equal(f->arena.base + SPARE_OFF, want, sizeof(want));
}

/* Two pages that can be read, with one between them that cannot. */
static void a_hole_between_pieces_is_not_touched(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[2] = { 0 };
	struct aspace_range r[] = {
		{ arena_uva(&f->arena, SPARE_OFF + PAGE - 1), buf, 1 },
		{ arena_uva(&f->arena, SPARE_OFF + 2 * PAGE), buf + 1, 1 },
	}, back[] = { r[1], r[0] }, bad = { r[1].uva - 1, buf, 2 };

	check_ret(munmap(f->arena.base + SPARE_OFF + PAGE, PAGE), 0);
	check_ret(aspace_read(f->as, r, 2), 0);
	assert_int_equal(buf[0], f->arena.base[SPARE_OFF + PAGE - 1]);
	assert_int_equal(buf[1], f->arena.base[SPARE_OFF + 2 * PAGE]);
	check_ret(aspace_read(f->as, back, 2), 0);
	check_ret(aspace_read(f->as, &bad, 1), -EFAULT);
}

/* A page that the owner may not write, then one that it may not read either. */
static void barred_addresses_are_efault(void **state)
{
	struct fixture *f = *state;
	uint64_t at = arena_uva(&f->arena, SPARE_OFF + PAGE);
	struct aspace_bar *bars = calloc(2, sizeof(*bars));
	uint8_t buf[2] = { 0 };
	const struct {
		uint64_t uva;
		int read, write;
	} rows[] = {
		{ at - 2, 0, 0 },
		{ at - 1, 0, -EFAULT },
		{ at, 0, -EFAULT },
		{ at + PAGE - 1, -EFAULT, -EFAULT },
		{ at + 2 * PAGE - 1, -EFAULT, -EFAULT },
		{ at + 2 * PAGE, 0, 0 },
	};

	assert_non_null(bars);
	bars[0] = (struct aspace_bar){ at, at + PAGE, false, true };
	bars[1] = (struct aspace_bar){ at + PAGE, at + 2 * PAGE, true, true };
	aspace_set_bars(f->as, bars, 2);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct aspace_range r = { rows[i].uva, buf, 2 };

		check_ret(aspace_read(f->as, &r, 1), rows[i].read);
		check_ret(aspace_write(f->as, &r, 1), rows[i].write);
	}
	aspace_set_bars(f->as, NULL, 0);
	check_read(f, SPARE_OFF, 4 * PAGE);
}

/* ---- pages that a userfaultfd delivers ---- */

#define LATE_PAGES 6 /* the first half missing, the others write-protected */

struct late {
	int uffd, stop;
	uint8_t *base;
	pthread_t thread;
	unsigned int delivered, freed;
};

static void deliver_one(struct late *l, const struct uffd_msg *msg)
{
	static uint8_t page[PAGE];
	uint64_t at = msg->arg.pagefault.address & ~(uint64_t)(PAGE - 1);
	struct uffdio_copy copy = { .dst = at,
				    .src = (uintptr_t)page,
				    .len = PAGE };
	struct uffdio_writeprotect release = { .range = { at, PAGE } };

	memset(page, 0x77, sizeof(page));
	if (msg->arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP) {
		__atomic_fetch_add(&l->freed, 1, __ATOMIC_RELEASE);
		check_ret(ioctl(l->uffd, UFFDIO_WRITEPROTECT, &release), 0);
	} else {
		__atomic_fetch_add(&l->delivered, 1, __ATOMIC_RELEASE);
		check_ret(ioctl(l->uffd, UFFDIO_COPY, &copy), 0);
	}
}

static void *deliver(void *opaque)
{
	struct late *l = opaque;
	struct pollfd p[2] = { { .fd = l->uffd, .events = POLLIN },
			       { .fd = l->stop, .events = POLLIN } };
	struct uffd_msg msg;

	while (poll(p, 2, -1) > 0 && !p[1].revents)
		if (read(l->uffd, &msg, sizeof(msg)) == sizeof(msg))
			deliver_one(l, &msg);
	return NULL;
}

static void late_open(struct late *l)
{
	struct uffdio_api api = { .api = UFFD_API,
				  .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP };
	struct uffdio_register
		missing = { .mode = UFFDIO_REGISTER_MODE_MISSING },
		wp = { .mode = UFFDIO_REGISTER_MODE_WP };
	struct uffdio_writeprotect protect = {
		.mode = UFFDIO_WRITEPROTECT_MODE_WP
	};
	const uint64_t half = LATE_PAGES / 2 * PAGE;

	*l = (struct late){ .uffd = (int)syscall(SYS_userfaultfd,
						 O_CLOEXEC | O_NONBLOCK),
			    .stop = (int)check_ok(eventfd(0, EFD_CLOEXEC)) };
	if (l->uffd < 0)
		skip_because("no userfaultfd: %s", strerror(errno));
	l->base = mmap(NULL, 2 * half, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(l->base, MAP_FAILED);
	memset(l->base + half, 0x66, half);
	missing.range = (struct uffdio_range){ (uintptr_t)l->base, half };
	wp.range = (struct uffdio_range){ (uintptr_t)l->base + half, half };
	protect.range = wp.range;
	if (ioctl(l->uffd, UFFDIO_API, &api) < 0)
		skip_because("userfaultfd without write-protection");
	check_ret(ioctl(l->uffd, UFFDIO_REGISTER, &missing), 0);
	check_ret(ioctl(l->uffd, UFFDIO_REGISTER, &wp), 0);
	check_ret(ioctl(l->uffd, UFFDIO_WRITEPROTECT, &protect), 0);
	check_ret(pthread_create(&l->thread, NULL, deliver, l), 0);
}

static void late_close(struct late *l)
{
	eventfd_write(l->stop, 1);
	pthread_join(l->thread, NULL);
	close(l->stop);
	close(l->uffd);
	munmap(l->base, (size_t)LATE_PAGES * PAGE);
}

static void copies_wait_for_a_userfaultfd(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[PAGE + 2] = { 0 };
	struct late l;
	struct aspace_range r = { .ptr = buf, .len = sizeof(buf) };

	late_open(&l);
	/* of three pages, in the middle: all are waited for */
	r.uva = (uintptr_t)l.base + PAGE - 1;
	check_ret(aspace_read(f->as, &r, 1), 0);
	assert_int_equal(__atomic_load_n(&l.delivered, __ATOMIC_ACQUIRE), 3);
	for (size_t i = 0; i < sizeof(buf); i++)
		assert_int_equal(buf[i], 0x77);

	r.uva += LATE_PAGES / 2 * PAGE;
	check_ret(aspace_read(f->as, &r, 1), 0);
	assert_int_equal(__atomic_load_n(&l.freed, __ATOMIC_ACQUIRE), 0);
	memset(buf, 0x55, sizeof(buf));
	check_ret(aspace_write(f->as, &r, 1), 0);
	assert_int_equal(__atomic_load_n(&l.freed, __ATOMIC_ACQUIRE), 3);
	assert_int_equal(*(uint8_t *)(uintptr_t)r.uva, 0x55);
	assert_int_equal(*(uint8_t *)(uintptr_t)(r.uva + PAGE + 1), 0x55);
	assert_int_equal(*(uint8_t *)(uintptr_t)(r.uva - 1), 0x66);
	late_close(&l);
}

static void empty_pieces_are_skipped_wherever_they_point(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[2];
	struct aspace_range r[] = {
		{ 0, NULL, 0 },
		{ arena_uva(&f->arena, 5), buf, 1 },
		{ UINT64_MAX, NULL, 0 },
		{ arena_uva(&f->arena, 6), buf + 1, 1 },
	};

	check_ret(aspace_read(f->as, r, 4), 0);
	assert_memory_equal(buf, f->arena.base + 5, 2);
	check_ret(aspace_read(f->as, NULL, 0), 0);
}

static void a_byte_that_is_not_there_is_efault(void **state)
{
	struct fixture *f = *state;
	const uint64_t bad[] = {
		0,
		arena_uva(&f->arena, 0) - 1,
		arena_uva(&f->arena, ARENA_SIZE) - 1,
		arena_uva(&f->arena, ARENA_SIZE),
		BIT(47) - 1,
		BIT(47),
		BIT(63) - 1,
		BIT(63),
		UINT64_MAX - 1,
	};
	uint8_t buf[2] = { 0 };

	aspace_set_bars(f->as, NULL, 0);
	/* /proc/PID/mem ignores PROT_NONE: the pages must not be there, in the
	 * process that the memory file is of either */
	if (f->arena.child < 0) {
		check_ret(munmap(f->arena.base - PAGE, PAGE), 0);
		check_ret(munmap(f->arena.base + ARENA_SIZE, PAGE), 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct aspace_range r[] = {
			{ arena_uva(&f->arena, 0), buf, 1 },
			{ bad[i], buf, 2 },
		};

		if (f->arena.child >= 0 && i >= 1 && i <= 3)
			continue;
		check_ret(aspace_read(f->as, r, 2), -EFAULT);
		check_ret(aspace_write(f->as, r, 2), -EFAULT);
	}
	check_read(f, 0, 100); /* nothing was left behind */
}

static void a_read_only_page_cannot_be_written(void **state)
{
	struct fixture *f = *state;
	uint8_t buf = 1;
	struct aspace_range r = { arena_uva(&f->arena, SPARE_OFF), &buf, 1 };

	check_ret(mprotect(f->arena.base + SPARE_OFF, PAGE, PROT_READ), 0);
	check_ret(aspace_read(f->as, &r, 1), 0);
	check_ret(aspace_write(f->as, &r, 1), -EFAULT);
}

static void only_what_is_not_mapped_counts_as_copied(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[100] = { 0 };
	struct aspace_range r[] = {
		{ arena_uva(&f->arena, 0), buf, 10 },
		{ arena_uva(&f->arena, RINGS_SIZE), buf, 20 },
	};

	check_ret(aspace_read(f->as, r, 2), 0);
	assert_int_equal(aspace_copied_bytes(f->as), 20);
	check_ret(aspace_write(f->as, r, 2), 0);
	assert_int_equal(aspace_copied_bytes(f->as), 40);
}

static void a_range_half_in_a_mapping_is_copied(void **state)
{
	struct fixture *f = *state;

	check_read(f, RINGS_SIZE - 100, 200);
}

/* ---- the file comes later ---- */

static void without_a_file_only_mappings_are_reached(void **state)
{
	struct aspace_map *map = map_at(0x10000, 0x1000);
	uint8_t bytes[2] = { 1, 2 };
	struct aspace_range r[] = { { 0x10ffe, bytes, 2 },
				    { 0x10fff, bytes, 2 } };
	struct aspace *as;

	(void)state;
	check_ret(aspace_new(-1, &as), 0);
	check_ret(aspace_set_maps(as, &map, 1), 0);
	assert_int_equal(aspace_fd(as), -1);
	check_ret(aspace_write(as, &r[0], 1), 0);
	check_ret(aspace_read(as, &r[0], 1), 0);
	check_ret(aspace_write(as, &r[1], 1), -EFAULT);
	check_ret(aspace_read(as, &r[1], 1), -EFAULT);
	aspace_free(as);
}

static void a_file_can_come_later(void **state)
{
	struct fixture *f = *state;
	uint8_t byte = 0;
	struct aspace_range r = { arena_uva(&f->arena, 7), &byte, 1 };
	int first = check_ok(fcntl(aspace_fd(f->as), F_DUPFD_CLOEXEC, 0));
	int second = check_ok(fcntl(first, F_DUPFD_CLOEXEC, 0));
	struct aspace *as;

	f->arena.base[7] = 0x77;
	check_ret(aspace_new(-1, &as), 0);
	check_ret(aspace_read(as, &r, 1), -EFAULT);
	check_ret(aspace_set_file(as, first), 0);
	assert_int_equal(aspace_fd(as), first);
	check_ret(aspace_read(as, &r, 1), 0);
	assert_int_equal(byte, 0x77);
	check_ret(aspace_set_file(as, second), 0); /* it has one */
	assert_int_equal(aspace_fd(as), first);
	check_errno(fcntl(second, F_GETFD), EBADF);
	aspace_free(as);
	check_errno(fcntl(first, F_GETFD), EBADF);
}

/* ---- the owner goes ---- */

static void check_gone(struct fixture *f)
{
	uint8_t byte = 0;
	struct aspace_range r = { arena_uva(&f->arena, 0), &byte, 1 };

	assert_false(has_users(f->as));
	check_ret(aspace_read(f->as, &r, 1), -ESRCH);
	check_ret(aspace_write(f->as, &r, 1), -ESRCH);
}

static void a_living_owner_is_alive(void **state)
{
	struct fixture *f = *state;

	assert_true(has_users(f->as));
	check_read(f, 0, 100);
}

static void an_owner_that_exited_is_gone(void **state)
{
	struct fixture *f = *state;

	arena_end_child(&f->arena);
	check_gone(f);
}

/* The pid lives on, and by itself would give another program's memory. */
static void an_owner_that_executed_another_program_is_gone(void **state)
{
	struct fixture *f = *state;
	char path[32];
	int gone[2], stay[2];
	pid_t pid;

	check_ret(pipe2(gone, O_CLOEXEC), 0);
	check_ret(pipe(stay), 0);
	pid = check_ok(fork());
	if (pid == 0) {
		char byte;

		/* until the test has opened our memory */
		if (read(stay[0], &byte, 1) != 1)
			_exit(1);
		dup2(stay[0], 0);
		close(stay[1]);
		execl("/bin/cat", "cat", (char *)NULL);
		_exit(1);
	}
	close(gone[1]); /* the child's copy closes when it executes */
	aspace_free(f->as);
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
	check_ret(aspace_new((int)check_ok(open(path, O_RDWR | O_CLOEXEC)),
			     &f->as),
		  0);
	assert_true(has_users(f->as));
	check_read(f, 0, 100);
	check_ret(write(stay[1], "x", 1), 1);
	check_ret(read(gone[0], path, 1), 0);
	check_gone(f);
	close(stay[1]);
	close(stay[0]);
	close(gone[0]);
	check_ret(waitpid(pid, NULL, 0), pid);
}

/* As uvhostd gives up its own; the kernel asked for them at the open. */
static void copies_need_no_rights(void **state)
{
	struct fixture *f = *state;
	int status;
	pid_t pid;

	if (getuid() != 0)
		skip_because("needs root to become another user");
	pid = check_ok(fork());
	if (pid == 0) {
		uint8_t byte = 0;
		struct aspace_range r = { arena_uva(&f->arena, 0), &byte, 1 };

		/* f->as is about our parent, which is root's */
		if (setresuid(65534, 65534, 65534) < 0)
			_exit(2);
		_exit(aspace_read(f->as, &r, 1) || aspace_write(f->as, &r, 1));
	}
	check_ret(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* ---- limits ---- */

static void the_limit_is_the_kernels(void **state)
{
	uint64_t limit = aspace_limit();

	(void)state;
	assert_true(limit == BIT(47) - 4096 || limit == BIT(56) - 4096);
	assert_int_equal(aspace_limit(), limit);
	assert_true(aspace_ok(0, 0));
	assert_true(aspace_ok(0, limit));
	assert_false(aspace_ok(0, limit + 1));
	assert_true(aspace_ok(limit, 0));
	assert_true(aspace_ok(limit - 1, 1));
	assert_false(aspace_ok(limit - 1, 2));
	assert_false(aspace_ok(limit + 1, 0));
	assert_false(aspace_ok(UINT64_MAX, 1));
	assert_false(aspace_ok(1, UINT64_MAX));
	assert_false(aspace_ok(UINT64_MAX, UINT64_MAX));
}

/* ---- truncated files ---- */

static void a_truncated_file_reads_as_zeros_and_is_lost(void **state)
{
	struct fixture *f = *state;
	struct aspace_map *maps[2], *map;
	uint8_t buf[16] = { 1 };
	uint8_t *p;

	aspace_guard_install(); /* cmocka has handlers of its own */
	aspace_enter(f->as);
	map = aspace_find_map(f->as, arena_uva(&f->arena, SPARE_OFF));
	p = aspace_ptr(f->as, arena_uva(&f->arena, SPARE_OFF), sizeof(buf));
	assert_non_null(p);
	check_ret(ftruncate(f->arena.memfd, SPARE_OFF), 0);
	assert_false(aspace_faulted(f->as));
	memcpy(buf, p, sizeof(buf)); /* faults */
	assert_int_equal(buf[0], 0);
	assert_true(aspace_faulted(f->as));
	assert_true(map->lost);
	memset(p, 1, sizeof(buf));
	assert_null(aspace_find_map(f->as, arena_uva(&f->arena, SPARE_OFF)));
	/* the other mapping is still there */
	assert_false(aspace_find_map(f->as, arena_uva(&f->arena, 0))->lost);
	assert_non_null(aspace_ptr(f->as, arena_uva(&f->arena, 0), 1));

	check_ret(ftruncate(f->arena.memfd, ARENA_SIZE), 0);
	check_ret(aspace_set_maps(f->as, maps, arena_maps(&f->arena, maps)), 0);
	assert_false(aspace_faulted(f->as));
	assert_non_null(aspace_ptr(f->as, arena_uva(&f->arena, SPARE_OFF), 1));
	aspace_enter(NULL);
}

/* The signal that a child dies of which touches a truncated mapping. */
static int death_by_touch(struct fixture *f, struct aspace *enter,
			  volatile uint8_t *p)
{
	int status;
	pid_t pid = check_ok(fork());

	if (pid == 0) {
		aspace_guard_install();
		aspace_enter(enter);
		check_ret(ftruncate(f->arena.memfd, 0), 0);
		_exit(*p);
	}
	check_ret(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void a_fault_elsewhere_still_kills(void **state)
{
	struct fixture *f = *state;
	struct aspace *other;
	uint8_t *p = aspace_ptr(f->as, arena_uva(&f->arena, 0), 1);

	check_ret(aspace_new(-1, &other), 0);
	assert_int_equal(death_by_touch(f, f->as, p), 0);
	assert_int_equal(death_by_touch(f, NULL, p), SIGBUS);
	assert_int_equal(death_by_touch(f, other, p), SIGBUS);
	assert_int_equal(death_by_touch(f, f->as, f->arena.base), SIGBUS);
	aspace_free(other);
}

#define ONE_WAY(mode, name) \
	{ #name " [" #mode "]", name, setup_##mode, teardown, NULL }
#define EVERY_WAY(name)                                                     \
	ONE_WAY(mapped, name), ONE_WAY(copied, name), ONE_WAY(mixed, name), \
		ONE_WAY(child, name)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_mapping_is_found_by_any_of_its_addresses),
		cmocka_unit_test(a_pointer_needs_one_mapping_for_all_its_bytes),
		cmocka_unit_test(without_mappings_nothing_is_found),
		cmocka_unit_test(the_last_reference_unmaps),
		EVERY_WAY(any_bytes_can_be_read),
		EVERY_WAY(any_bytes_can_be_written),
		EVERY_WAY(thousands_of_pieces_are_copied),
		EVERY_WAY(neighbouring_pieces_land_in_order),
		EVERY_WAY(gaps_are_of_no_consequence),
		EVERY_WAY(a_gap_is_never_written),
		ONE_WAY(copied, a_hole_between_pieces_is_not_touched),
		ONE_WAY(copied, barred_addresses_are_efault),
		ONE_WAY(child, barred_addresses_are_efault),
		ONE_WAY(copied, copies_wait_for_a_userfaultfd),
		EVERY_WAY(empty_pieces_are_skipped_wherever_they_point),
		EVERY_WAY(a_byte_that_is_not_there_is_efault),
		ONE_WAY(copied, a_read_only_page_cannot_be_written),
		ONE_WAY(mixed, only_what_is_not_mapped_counts_as_copied),
		ONE_WAY(mixed, a_range_half_in_a_mapping_is_copied),
		cmocka_unit_test(without_a_file_only_mappings_are_reached),
		ONE_WAY(copied, a_file_can_come_later),
		EVERY_WAY(a_living_owner_is_alive),
		ONE_WAY(child, an_owner_that_exited_is_gone),
		ONE_WAY(copied, an_owner_that_executed_another_program_is_gone),
		ONE_WAY(copied, copies_need_no_rights),
		cmocka_unit_test(the_limit_is_the_kernels),
		ONE_WAY(mapped, a_truncated_file_reads_as_zeros_and_is_lost),
		ONE_WAY(mapped, a_fault_elsewhere_still_kills),
	};

	return cmocka_run_group_tests_name("aspace", tests, NULL, NULL);
}
