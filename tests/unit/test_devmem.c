/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_devmem.c tests the memory that a device leaves to the next one: what is
 * found there again, whatever the process before was doing when it died, and
 * which memory is refused.
 */
#include "check.h"

#include <fcntl.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "devmem.h"

#define RING_BYTES 10000
#define PAGE 4096
#define ROW_AT 8      /* in the first page: which row counts */
#define COUNT_AT PAGE /* messages in the first row */

static struct devmem *memory_new(void)
{
	struct devmem *m;

	check_ret(devmem_new(RING_BYTES, &m), 0);
	return m;
}

static void add(struct devmem *m, uint64_t iova)
{
	const struct vhost_iotlb_msg msg = { .iova = iova };

	assert_true(devmem_iotlb_add(m, &msg));
}

/* The messages of @m: @n, whose addresses count up from @first. */
static void check_row(const struct devmem *m, uint64_t first, unsigned int n)
{
	const struct vhost_iotlb_msg *msg;

	assert_int_equal(devmem_iotlb_get(m, &msg), n);
	for (unsigned int i = 0; i < n; i++)
		assert_int_equal(msg[i].iova, first + i);
}

/* The next process. */
static struct devmem *adopt(const struct devmem *m)
{
	int fd = check_ok(fcntl(devmem_fd(m), F_DUPFD_CLOEXEC, 0));
	struct devmem *next;

	check_ret(devmem_adopt(fd, RING_BYTES, &next), 0);
	assert_int_equal(devmem_fd(next), fd);
	return next;
}

/* devmem_adopt() fails, and leaves @fd and the pointer as they were. */
static void check_refused(int fd, size_t ring_bytes)
{
	struct devmem *m = NULL;

	check_ret(devmem_adopt(fd, ring_bytes, &m), -EBADMSG);
	assert_null(m);
	check_ok(fcntl(fd, F_GETFD));
}

static void what_was_noted_is_found(void **state)
{
	struct devmem *m = memory_new(), *next;
	const char *rings = devmem_rings(m);

	(void)state;
	for (unsigned int i = 0; i < RING_BYTES; i++)
		assert_int_equal(rings[i], 0);
	check_row(m, 0, 0);
	strcpy(devmem_rings(m), "rings");
	add(m, 7);
	add(m, 8);
	next = adopt(m);
	assert_string_equal(devmem_rings(next), "rings");
	check_row(next, 7, 2);
	add(next, 9);
	check_row(next, 7, 3);
	devmem_iotlb_clear(next);
	check_row(next, 0, 0);
	devmem_free(next);
	devmem_free(m);
}

static void a_row_is_replaced_at_once_or_not_at_all(void **state)
{
	struct devmem *m = memory_new(), *next;

	(void)state;
	add(m, 1);
	devmem_iotlb_begin(m);
	add(m, 50);
	/* A process that dies here. */
	next = adopt(m);
	check_row(next, 1, 1);
	devmem_free(next);
	devmem_iotlb_abort(m);
	check_row(m, 1, 1);
	add(m, 2);
	check_row(m, 1, 2);

	for (unsigned int round = 0; round < 3; round++) {
		devmem_iotlb_begin(m);
		add(m, 60 + round);
		devmem_iotlb_end(m);
		check_row(m, 60 + round, 1);
		next = adopt(m);
		check_row(next, 60 + round, 1);
		devmem_free(next);
	}
	devmem_free(m);
}

static void a_full_row_takes_no_more(void **state)
{
	const struct vhost_iotlb_msg msg = { .iova = 1 };
	struct devmem *m = memory_new();

	(void)state;
	for (unsigned int i = 0; i < DEVMEM_IOTLB_MAX; i++)
		add(m, i);
	assert_false(devmem_iotlb_add(m, &msg));
	check_row(m, 0, DEVMEM_IOTLB_MAX);
	/* The rings are behind it. */
	assert_int_equal(*(char *)devmem_rings(m), 0);
	devmem_free(m);
}

/* Written by a process that had gone wrong. */
static void counts_that_cannot_be_are_not_believed(void **state)
{
	const uint32_t wrong[] = { DEVMEM_IOTLB_MAX + 1, 0x7fffffff,
				   UINT32_MAX };
	const struct vhost_iotlb_msg *all, msg = { .iova = 1 };
	struct devmem *m = memory_new(), *next;
	const uint32_t row = UINT32_MAX;

	(void)state;
	for (unsigned int i = 0; i < 3; i++) {
		check_ret(pwrite(devmem_fd(m), &wrong[i], 4, COUNT_AT), 4);
		next = adopt(m);
		assert_int_equal(devmem_iotlb_get(next, &all),
				 DEVMEM_IOTLB_MAX);
		assert_int_equal(all[DEVMEM_IOTLB_MAX - 1].iova, 0);
		assert_false(devmem_iotlb_add(next, &msg));
		devmem_free(next);
	}
	check_ret(pwrite(devmem_fd(m), &row, 4, ROW_AT), 4);
	next = adopt(m);
	check_row(next, 0, 0);
	add(next, 3);
	check_row(next, 3, 1);
	devmem_free(next);
	devmem_free(m);
}

static void memory_of_another_size_is_refused(void **state)
{
	struct devmem *m = memory_new();

	(void)state;
	check_refused(devmem_fd(m), RING_BYTES + PAGE);
	check_refused(devmem_fd(m), 10);
	devmem_free(m);
}

static void foreign_memory_is_refused(void **state)
{
	int fds[2], fd = check_ok(memfd_create("test", MFD_ALLOW_SEALING));
	struct devmem *m = memory_new();
	struct stat st;
	char *copy;

	(void)state;
	check_ok(fstat(devmem_fd(m), &st));
	copy = calloc(1, (size_t)st.st_size);
	assert_non_null(copy);
	check_ret(pread(devmem_fd(m), copy, PAGE, 0), PAGE);
	/* All right, but its owner could make it shorter. */
	check_ret(pwrite(fd, copy, (size_t)st.st_size, 0), st.st_size);
	check_refused(fd, RING_BYTES);
	check_ok(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW));
	check_refused(fd, RING_BYTES);
	check_ok(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_SEAL));
	devmem_free(adopt(m));
	/* Of another version. */
	check_ret(pwrite(fd, "x", 1, 0), 1);
	check_refused(fd, RING_BYTES);
	check_ok(pipe(fds));
	check_refused(fds[0], RING_BYTES);
	close(fds[0]);
	close(fds[1]);
	close(fd);
	free(copy);
	devmem_free(m);
}

/* The process that writes cannot take it away from the next one. */
static void it_cannot_be_resized(void **state)
{
	struct devmem *m = memory_new();

	(void)state;
	check_errno(ftruncate(devmem_fd(m), 0), EPERM);
	check_errno(ftruncate(devmem_fd(m), (off_t)1 << 30), EPERM);
	check_errno(fcntl(devmem_fd(m), F_ADD_SEALS, F_SEAL_WRITE), EPERM);
	devmem_free(m);
	devmem_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_noted_is_found),
		cmocka_unit_test(a_row_is_replaced_at_once_or_not_at_all),
		cmocka_unit_test(a_full_row_takes_no_more),
		cmocka_unit_test(counts_that_cannot_be_are_not_believed),
		cmocka_unit_test(memory_of_another_size_is_refused),
		cmocka_unit_test(foreign_memory_is_refused),
		cmocka_unit_test(it_cannot_be_resized),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
