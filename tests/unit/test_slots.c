/* SPDX-License-Identifier: BSD-3-Clause */
/* Requests that are not answered: what one process leaves the next one finds,
 * once, and in the order of arrival. */
#include "check.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>
#include <linux/fuse.h>
#include <sys/mman.h>

#include "channel.h"
#include "slots.h"

struct fixture {
	struct slots *s;
	int fd;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	check_ret(slots_new(&f->s, &f->fd), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	slots_close(f->s);
	free(f);
	return 0;
}

/* A message as read(2) leaves it. */
static void land(struct slots *s, uint64_t unique, uint32_t opcode, size_t len)
{
	struct fuse_in_header *in = slots_landing(s);

	*in = (struct fuse_in_header){ .unique = unique, .opcode = opcode };
	memset(in + 1, (int)unique, len - sizeof(*in));
	in->len = (uint32_t)len;
}

static struct req_slot *arrive(struct slots *s, uint64_t unique, size_t len)
{
	land(s, unique, FUSE_IOCTL, len);
	return slots_take(s, len);
}

static void interrupt(struct slots *s, uint64_t unique)
{
	struct {
		struct fuse_in_header head;
		struct fuse_interrupt_in in;
	} msg = { { .len = sizeof(msg),
		    .unique = unique | 1,
		    .opcode = FUSE_INTERRUPT },
		  { .unique = unique } };

	memcpy(slots_landing(s), &msg, sizeof(msg));
	assert_null(slots_take(s, sizeof(msg)));
}

/* Another process takes over; the memory stays mapped here. */
static ssize_t succeed(struct fixture *f, struct req_slot ***left)
{
	int fd = check_ok(fcntl(f->fd, F_DUPFD_CLOEXEC, 0));

	slots_close(f->s);
	f->fd = fd;
	check_ret(slots_adopt(fd, &f->s), 0);
	return slots_left(f->s, left);
}

static void expect(const struct req_slot *slot, uint64_t unique, size_t len)
{
	const uint8_t *body = slot->msg + sizeof(struct fuse_in_header);

	assert_int_equal(slots_unique(slot), unique);
	assert_int_equal(slots_len(slot), len);
	for (size_t i = 0; i < len - sizeof(struct fuse_in_header); i++)
		assert_int_equal(body[i], (uint8_t)unique);
}

static void what_is_not_answered_is_left(void **state)
{
	struct fixture *f = *state;
	struct req_slot *slot[5], **left;

	slot[0] = arrive(f->s, 2, 72);
	slot[1] = arrive(f->s, 4, CHANNEL_MSG_MAX);
	slot[2] = arrive(f->s, 6, 497);
	slot[3] = arrive(f->s, 8, 496);
	slot[4] = arrive(f->s, 10, 40);
	slots_free(f->s, slot[0]);
	slots_free(f->s, slot[3]);
	slots_free(f->s, NULL);
	check_ret(succeed(f, &left), 3);
	expect(left[0], 4, CHANNEL_MSG_MAX);
	expect(left[1], 6, 497);
	expect(left[2], 10, 40);
	slots_free(f->s, left[1]);
	free(left);
	check_ret(succeed(f, &left), 2);
	expect(left[0], 4, CHANNEL_MSG_MAX);
	expect(left[1], 10, 40);
	free(left);
}

static void one_that_has_only_landed_is_left_once(void **state)
{
	struct fixture *f = *state;
	struct req_slot **left;

	arrive(f->s, 2, 72);
	land(f->s, 4, FUSE_IOCTL, 80);
	check_ret(succeed(f, &left), 2);
	expect(left[0], 2, 72);
	expect(left[1], 4, 80);
	free(left);
	/* It died between filling the slot and clearing the landing place. */
	land(f->s, 4, FUSE_IOCTL, 80);
	check_ret(succeed(f, &left), 2);
	expect(left[1], 4, 80);
	slots_free(f->s, left[0]);
	slots_free(f->s, left[1]);
	free(left);
	check_ret(succeed(f, &left), 0);
	free(left);
}

static void the_order_of_arrival_stays_when_slots_are_used_again(void **state)
{
	struct fixture *f = *state;
	struct req_slot *first = arrive(f->s, 2, 72), **left;

	arrive(f->s, 4, 72);
	slots_free(f->s, first);
	arrive(f->s, 6, 72); /* where 2 was */
	check_ret(succeed(f, &left), 2);
	expect(left[0], 4, 72);
	expect(left[1], 6, 72);
	free(left);
	/* The successor's own come behind. */
	arrive(f->s, 8, 72);
	check_ret(succeed(f, &left), 3);
	expect(left[2], 8, 72);
	free(left);
}

static void interrupts_are_noted_with_their_request(void **state)
{
	struct fixture *f = *state;
	struct req_slot **left;

	arrive(f->s, 2, 80);
	arrive(f->s, 4, 5000);
	arrive(f->s, 6, 80);
	interrupt(f->s, 4);
	interrupt(f->s, 6);
	interrupt(f->s, 8); /* answered already */
	check_ret(succeed(f, &left), 3);
	assert_false(left[0]->interrupted);
	assert_true(left[1]->interrupted);
	assert_true(left[2]->interrupted);
	/* A slot that is used again is not interrupted. */
	slots_free(f->s, left[2]);
	assert_ptr_equal(arrive(f->s, 10, 80), left[2]);
	assert_false(left[2]->interrupted);
	free(left);
}

static void malformed_messages_take_no_slot(void **state)
{
	struct fixture *f = *state;
	struct req_slot **left;

	land(f->s, 2, FUSE_IOCTL, 80);
	assert_null(slots_take(f->s, 79));
	land(f->s, 2, FUSE_IOCTL, 80);
	assert_null(slots_take(f->s, 20));
	check_ret(succeed(f, &left), 0);
	free(left);
}

static void many_requests_find_slots(void **state)
{
	struct fixture *f = *state;
	struct req_slot **left;
	uint64_t n = 0;

	while (n < 70000 && arrive(f->s, 2 * (n + 1), 72))
		n++;
	assert_int_equal(n, 65536);
	check_ret(succeed(f, &left), 65536);
	for (uint64_t i = 0; i < n; i++) {
		assert_int_equal(slots_unique(left[i]), 2 * (i + 1));
		slots_free(f->s, left[i]);
	}
	free(left);
	assert_non_null(arrive(f->s, 2, 72));
}

static void init_and_the_last_id_are_kept(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[SLOTS_INIT_MAX];
	struct req_slot **left;

	assert_int_equal(slots_init(f->s, buf), 0);
	slots_keep_init(f->s, "init", 4);
	slots_set_last_id(f->s, 77);
	check_ret(succeed(f, &left), 0);
	free(left);
	assert_int_equal(slots_init(f->s, buf), 4);
	assert_memory_equal(buf, "init", 4);
	assert_int_equal(slots_last_id(f->s), 77);
}

static void other_memory_is_refused(void **state)
{
	int fd = check_ok(memfd_create("t", MFD_CLOEXEC | MFD_ALLOW_SEALING));
	struct fixture *f = *state;
	struct slots *s = NULL;
	off_t size = lseek(f->fd, 0, SEEK_END);

	check_ret(slots_adopt(fd, &s), -EBADMSG);
	check_ok(ftruncate(fd, size));
	check_ret(slots_adopt(fd, &s), -EBADMSG); /* it could shrink */
	check_ok(fcntl(fd, F_ADD_SEALS,
		       F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL));
	check_ret(slots_adopt(fd, &s), -EBADMSG); /* it says nothing */
	assert_null(s);
	close(fd);
	check_errno(ftruncate(f->fd, 0), EPERM);
}

/* It has no seals, and fcntl(2) says -1: all bits. */
static void a_file_is_refused(void **state)
{
	int fd = check_ok(open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
	struct fixture *f = *state;
	uint8_t start[4096];
	struct slots *s = NULL;

	check_ret(pread(f->fd, start, sizeof(start), 0), sizeof(start));
	check_ret(pwrite(fd, start, sizeof(start), 0), sizeof(start));
	check_ok(ftruncate(fd, lseek(f->fd, 0, SEEK_END)));
	check_ret(slots_adopt(fd, &s), -EBADMSG);
	assert_null(s);
	close(fd);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(what_is_not_answered_is_left),
		TEST(one_that_has_only_landed_is_left_once),
		TEST(the_order_of_arrival_stays_when_slots_are_used_again),
		TEST(interrupts_are_noted_with_their_request),
		TEST(malformed_messages_take_no_slot),
		TEST(many_requests_find_slots),
		TEST(init_and_the_last_id_are_kept),
		TEST(other_memory_is_refused),
		TEST(a_file_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
