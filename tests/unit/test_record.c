/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The record of a session: what is committed is found again, and a writer that
 * dies at any store leaves the old record or the new one.
 */
#include "check.h"

#include <stdlib.h>
#include <unistd.h>
#include <sys/mman.h>
#include <linux/vhost.h>

#include "record.h"

struct fixture {
	uint64_t *mem;
	struct record r;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->mem = calloc(1, RECORD_SIZE);
	record_init(&f->r);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	record_clear(&f->r);
	free(f->mem);
	free(f);
	return 0;
}

static void set_call(struct fixture *f, uint32_t cmd, uint32_t index,
		     const char *arg, bool with_fd)
{
	int fd = with_fd ? check_ok(memfd_create("t", MFD_CLOEXEC)) : -1;

	check_ret(record_set(&f->r, cmd, index, arg, strlen(arg), fd), 0);
}

static void expect_call(const struct record *r, uint32_t cmd, uint32_t index,
			const char *arg, int fd)
{
	const struct record_call *c = record_find(r, cmd, index);

	assert_non_null(c);
	assert_int_equal(c->len, strlen(arg));
	assert_memory_equal(c->arg, arg, c->len);
	assert_int_equal(c->fd, fd);
}

/* The numbers of descriptors that were loaded are none. */
static void drop_loaded(struct record *r)
{
	for (unsigned int i = 0; i < r->ncalls; i++)
		r->call[i].fd = -1;
	record_clear(r);
}

static void what_is_committed_is_loaded(void **state)
{
	struct fixture *f = *state;
	struct record r;
	int fds[RECORD_CALLS_MAX];

	record_init(&r);
	check_ret(record_load(&r, f->mem), -ENODATA);
	f->r.owner = (struct record_owner){ 17, 18, 1000, 19, 0x7ffc00001234 };
	f->r.bag = 5;
	f->r.flags = RECORD_WAS_RESET;
	f->r.answer = (struct record_answer){ 42, -EBUSY, 3, "abc" };
	set_call(f, VHOST_SET_FEATURES, RECORD_NO_INDEX, "features", false);
	set_call(f, VHOST_SET_VRING_KICK, 0, "0 5", true);
	set_call(f, VHOST_SET_VRING_KICK, 1, "1 6.", true);
	set_call(f, VHOST_SET_VRING_NUM, 1, "", false);
	assert_int_equal(record_fds(&f->r, fds), 2);
	check_ret(record_commit(&f->r, f->mem), 0);
	check_ret(record_load(&r, f->mem), 0);
	assert_int_equal(r.serial, 1);
	assert_int_equal(r.bag, 5);
	assert_int_equal(r.flags, RECORD_WAS_RESET);
	assert_memory_equal(&r.owner, &f->r.owner, sizeof(r.owner));
	assert_memory_equal(&r.answer, &f->r.answer, sizeof(r.answer));
	assert_int_equal(r.ncalls, 4);
	expect_call(&r, VHOST_SET_FEATURES, RECORD_NO_INDEX, "features", -1);
	expect_call(&r, VHOST_SET_VRING_KICK, 0, "0 5", 0);
	expect_call(&r, VHOST_SET_VRING_KICK, 1, "1 6.", 1);
	expect_call(&r, VHOST_SET_VRING_NUM, 1, "", -1);
	fds[0] = dup(fds[0]);
	fds[1] = dup(fds[1]);
	check_ret(record_adopt_fds(&r, fds, 1), -EBADMSG);
	check_ret(record_load(&r, f->mem), 0);
	check_ret(record_adopt_fds(&r, fds, 2), 0);
	expect_call(&r, VHOST_SET_VRING_KICK, 1, "1 6.", fds[1]);
	record_clear(&r);
	check_errno(dup(fds[1]), EBADF);
}

static void a_later_call_replaces_an_earlier_one(void **state)
{
	struct fixture *f = *state;
	struct record r;
	int fd;

	record_init(&r);
	set_call(f, VHOST_SET_VRING_CALL, 0, "first", true);
	set_call(f, VHOST_SET_VRING_NUM, 0, "256", false);
	fd = f->r.call[0].fd;
	set_call(f, VHOST_SET_VRING_CALL, 0, "second one", false);
	check_errno(dup(fd), EBADF);
	assert_int_equal(f->r.ncalls, 2);
	record_drop(&f->r, VHOST_SET_VRING_NUM, 0);
	record_drop(&f->r, VHOST_SET_VRING_NUM, 0);
	check_ret(record_commit(&f->r, f->mem), 0);
	check_ret(record_load(&r, f->mem), 0);
	assert_int_equal(r.ncalls, 1);
	expect_call(&r, VHOST_SET_VRING_CALL, 0, "second one", -1);
	drop_loaded(&r);
}

static void too_much_is_refused_and_the_old_one_stays(void **state)
{
	struct fixture *f = *state;
	char *big = calloc(1, RECORD_ARG_MAX + 1);
	struct record r;

	record_init(&r);
	set_call(f, 1, 1, "one", false);
	check_ret(record_commit(&f->r, f->mem), 0);
	check_ret(record_set(&f->r, 2, 0, big, RECORD_ARG_MAX + 1, -1), -E2BIG);
	check_ret(record_set(&f->r, 2, 0, big, RECORD_ARG_MAX, -1), 0);
	check_ret(record_commit(&f->r, f->mem), 0);
	check_ret(record_set(&f->r, 3, 0, big, RECORD_ARG_MAX, -1), 0);
	check_ret(record_commit(&f->r, f->mem), -E2BIG);
	check_ret(record_load(&r, f->mem), 0);
	assert_int_equal(r.ncalls, 2);
	drop_loaded(&r);
	record_drop(&f->r, 3, 0);
	for (uint32_t i = 2; i < RECORD_CALLS_MAX; i++)
		set_call(f, 4, i, "small", false);
	check_ret(record_set(&f->r, 5, 0, "x", 1, -1), -E2BIG);
	check_ret(record_commit(&f->r, f->mem), 0);
	free(big);
}

/* The half that is being written is cut at each word in turn, with the old
 * bytes behind. */
static void a_torn_record_is_the_old_one(void **state)
{
	struct fixture *f = *state;
	const size_t words = 100;
	uint64_t *old = malloc(RECORD_SIZE), *torn = malloc(RECORD_SIZE);
	struct record r;

	set_call(f, 1, 1, "zero", false);
	check_ret(record_commit(&f->r, f->mem), 0);
	set_call(f, 1, 1, "first", false);
	check_ret(record_commit(&f->r, f->mem), 0);
	memcpy(old, f->mem, RECORD_SIZE);
	set_call(f, 1, 1, "second", false);
	check_ret(record_commit(&f->r, f->mem), 0);
	assert_int_equal(f->r.serial, 3);
	for (size_t i = 0; i <= words; i++) {
		uint64_t *half = torn + RECORD_HALF / 8;

		memcpy(torn, old, RECORD_SIZE);
		memcpy(half, f->mem + RECORD_HALF / 8, i * 8);
		record_init(&r);
		check_ret(record_load(&r, torn), 0);
		if (r.serial == 3)
			expect_call(&r, 1, 1, "second", -1);
		else
			expect_call(&r, 1, 1, "first", -1);
		drop_loaded(&r);
	}
	free(old);
	free(torn);
}

/* Whatever bytes are changed: refused, or one of the two records. */
static void changed_bytes_are_found(void **state)
{
	struct fixture *f = *state;
	uint8_t *mem = (uint8_t *)f->mem;
	struct record r;

	set_call(f, 1, 1, "first", false);
	check_ret(record_commit(&f->r, f->mem), 0);
	for (size_t i = 0; i < 400; i++) {
		size_t at = RECORD_HALF + i;
		uint8_t was = mem[at];

		mem[at] ^= (uint8_t)(1 << (i % 8));
		record_init(&r);
		if (record_load(&r, f->mem) == 0) {
			expect_call(&r, 1, 1, "first", -1);
			drop_loaded(&r);
		}
		mem[at] = was;
	}
	record_init(&r);
	check_ret(record_load(&r, f->mem), 0);
	drop_loaded(&r);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(what_is_committed_is_loaded),
		TEST(a_later_call_replaces_an_earlier_one),
		TEST(too_much_is_refused_and_the_old_one_stays),
		TEST(a_torn_record_is_the_old_one),
		TEST(changed_bytes_are_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
