/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_nullport.c tests the null port, which checks the frames that are sent
 * and makes those that are received.
 */
#include "check.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "netport.h"

static uint8_t room[4][NETPORT_FRAME_MAX];

static struct netport *new_port(unsigned int frame_len, bool copy,
				unsigned int hdr_len)
{
	struct netport *port;

	check_ret(netport_null_new(frame_len, copy, &port), 0);
	assert_string_equal(port->ops->name, "null");
	assert_int_equal(port->fd, -1);
	port->hdr_len = hdr_len;
	return port;
}

static struct netport *null_new(unsigned int frame_len, unsigned int hdr_len)
{
	return new_port(frame_len, false, hdr_len);
}

static struct frame recv_into(struct netport *port, size_t bytes)
{
	struct iovec iov = { room[0], bytes };
	struct frame fr = { &iov, 1, 12345, false };

	memset(room[0], 0xee, sizeof(room[0]));
	check_ret(port->ops->recv(port, &fr, 1), 1);
	return fr;
}

static void frames_have_the_length_asked_for(void **state)
{
	static const unsigned int lens[] = { 14, 60, 1514, 65550 };
	static const unsigned int hdrs[] = { 0, 10, 12, 24 };

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		for (size_t j = 0; j < 4; j++) {
			struct netport *port = null_new(lens[i], hdrs[j]);
			struct frame fr = recv_into(port, NETPORT_FRAME_MAX);

			assert_int_equal(fr.len, lens[i] + hdrs[j]);
			assert_false(fr.trunc);
			assert_int_equal(room[0][fr.len], 0xee);
			netport_close(port);
		}
	}
}

static void a_frame_is_a_zero_header_and_an_ethernet_broadcast(void **state)
{
	static const uint8_t eth[14] = { 0xff, 0xff, 0xff, 0xff, 0xff,
					 0xff, 2,    0,    0,    0,
					 0,    1,    0x88, 0xb5 };
	static const uint8_t zero[12];
	struct netport *port = null_new(60, 12);

	(void)state;
	recv_into(port, 72);
	assert_memory_equal(room[0], zero, 12);
	assert_memory_equal(room[0] + 12, eth, 14);
	netport_close(port);
}

static void the_header_follows_the_device(void **state)
{
	struct netport *port = null_new(60, 0);

	(void)state;
	assert_int_equal(recv_into(port, 2000).len, 60);
	port->hdr_len = 12;
	assert_int_equal(recv_into(port, 2000).len, 72);
	netport_close(port);
}

static void a_whole_batch_is_filled(void **state)
{
	struct netport *port = null_new(100, 10);
	struct iovec iov[4];
	struct frame fr[4];

	(void)state;
	memset(room, 0xee, sizeof(room));
	for (unsigned int i = 0; i < 4; i++) {
		iov[i] = (struct iovec){ room[i], 2000 };
		fr[i] = (struct frame){ &iov[i], 1, 0, true };
	}
	check_ret(port->ops->recv(port, fr, 4), 4);
	for (unsigned int i = 0; i < 4; i++) {
		assert_int_equal(fr[i].len, 110);
		assert_false(fr[i].trunc);
		assert_memory_equal(room[i], room[0], 10 + 64);
		assert_int_not_equal(room[i][10 + 63], 0xee);
		/* What is not a header is as it was. */
		assert_int_equal(room[i][10 + 64], 0xee);
	}
	netport_close(port);
}

static void a_frame_longer_than_its_room_is_cut_and_marked(void **state)
{
	struct netport *port = null_new(100, 12);
	struct frame fr;

	(void)state;
	fr = recv_into(port, 111);
	assert_int_equal(fr.len, 111);
	assert_true(fr.trunc);
	assert_int_equal(room[0][111], 0xee);
	fr = recv_into(port, 112);
	assert_int_equal(fr.len, 112);
	assert_false(fr.trunc);
	fr = recv_into(port, 0);
	assert_int_equal(fr.len, 0);
	assert_true(fr.trunc);
	netport_close(port);
}

static void a_frame_is_received_in_pieces(void **state)
{
	struct netport *port = null_new(100, 12);
	struct iovec iov[] = { { room[1], 1 },
			       { room[1] + 1, 50 },
			       { NULL, 0 },
			       { room[1] + 51, 1000 } };
	struct frame fr = { iov, 4, 0, true };

	(void)state;
	recv_into(port, 112);
	memset(room[1], 0xee, sizeof(room[1]));
	check_ret(port->ops->recv(port, &fr, 1), 1);
	assert_int_equal(fr.len, 112);
	assert_false(fr.trunc);
	assert_memory_equal(room[1], room[0], 112);
	netport_close(port);
}

static void without_a_length_there_is_never_a_frame(void **state)
{
	struct netport *port = null_new(0, 12);
	struct iovec iov = { room[0], 2000 };
	struct frame fr = { &iov, 1, 0, false };

	(void)state;
	check_ret(port->ops->recv(port, &fr, 1), -EAGAIN);
	netport_close(port);
}

static void a_length_out_of_range_is_refused(void **state)
{
	struct netport *port;

	(void)state;
	check_ret(netport_null_new(13, false, &port), -EINVAL);
	check_ret(netport_null_new(65551, false, &port), -EINVAL);
	check_ret(netport_null_new(~0u, false, &port), -EINVAL);
	check_ret(netport_null_new(13, true, &port), -EINVAL);
	check_ret(netport_null_new(65551, true, &port), -EINVAL);
}

static void everything_sent_is_taken(void **state)
{
	struct netport *port = null_new(0, 12);
	struct iovec iov[] = { { room[0], NETPORT_FRAME_MAX },
			       { room[1], 1 },
			       { NULL, 0 },
			       { room[2], 60 } };
	struct frame fr[] = { { &iov[0], 1, NETPORT_FRAME_MAX, false },
			      { &iov[1], 3, 61, false } };

	(void)state;
	for (int i = 0; i < 1000; i++)
		check_ret(port->ops->send(port, fr, 2), 2);
	assert_int_equal(port->tx_dropped, 0);
	netport_close(port);
}

/* Sends @len bytes of which the last @over are in a page that cannot be read:
 * is the sender killed by it? */
static bool send_reads_over(uint8_t *page_end, size_t len, size_t over,
			    bool copy)
{
	pid_t pid = check_ok(fork());
	int status;

	if (pid == 0) {
		struct netport *port = NULL;
		struct iovec iov = { page_end + over - len, len };
		struct frame fr = { &iov, 1, (uint32_t)len, false };

		signal(SIGSEGV, SIG_DFL);
		if (netport_null_new(0, copy, &port) == 0)
			port->ops->send(port, &fr, 1);
		_exit(0);
	}
	check_ret(waitpid(pid, &status, 0), pid);
	return !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static uint8_t *guarded_page(size_t page)
{
	uint8_t *p = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	check_ret(mprotect(p + page, page, PROT_NONE), 0);
	return p;
}

static void every_cache_line_sent_is_read(void **state)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uint8_t *p = guarded_page(page);

	(void)state;
	assert_false(send_reads_over(p + page, 64, 0, false));
	assert_true(send_reads_over(p + page, 65, 1, false));
	/* The first byte of the second line is there. */
	assert_false(send_reads_over(p + page, 66, 1, false));
	munmap(p, 2 * page);
}

static void a_port_that_copies_reads_every_byte_sent(void **state)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uint8_t *p = guarded_page(page);

	(void)state;
	assert_false(send_reads_over(p + page, 66, 0, true));
	assert_true(send_reads_over(p + page, 66, 1, true));
	munmap(p, 2 * page);
}

static void a_port_that_copies_writes_whole_frames(void **state)
{
	struct netport *few = null_new(1500, 12);
	struct netport *all = new_port(1500, true, 12);
	uint8_t head[12 + 64];

	(void)state;
	recv_into(few, 2000);
	memcpy(head, room[0], sizeof(head));
	assert_int_equal(room[0][12 + 64], 0xee);
	assert_int_equal(recv_into(all, 2000).len, 1512);
	assert_memory_equal(room[0], head, sizeof(head));
	for (unsigned int i = 14; i < 1500; i++)
		assert_int_equal(room[0][12 + i], i & 0xff);
	assert_int_equal(room[0][1512], 0xee);
	netport_close(few);
	netport_close(all);
}

static void a_port_that_copies_takes_the_longest_frames(void **state)
{
	struct netport *port = new_port(NETPORT_ETH_MAX, true, 24);
	struct iovec iov = { room[0], NETPORT_FRAME_MAX };
	struct frame fr[64];

	(void)state;
	assert_int_equal(recv_into(port, NETPORT_FRAME_MAX).len,
			 24 + NETPORT_ETH_MAX);
	for (unsigned int i = 0; i < 64; i++)
		fr[i] = (struct frame){ &iov, 1, NETPORT_FRAME_MAX, false };
	check_ret(port->ops->send(port, fr, 64), 64);
	netport_close(port);
}

static int closes;

static void count_close(struct netport *port)
{
	(void)port;
	closes++;
}

static void the_last_reference_closes_a_port(void **state)
{
	const struct netport_ops ops = { .close = count_close };
	struct netport port = { .ops = &ops };

	(void)state;
	for (int i = 0; i < 2; i++) {
		assert_ptr_equal(netport_get(&port), &port);
		netport_get(&port);
		netport_close(&port);
		netport_close(&port);
		assert_int_equal(closes, i);
		netport_close(&port);
		assert_int_equal(closes, i + 1);
	}
	netport_close(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_have_the_length_asked_for),
		cmocka_unit_test(
			a_frame_is_a_zero_header_and_an_ethernet_broadcast),
		cmocka_unit_test(the_header_follows_the_device),
		cmocka_unit_test(a_whole_batch_is_filled),
		cmocka_unit_test(
			a_frame_longer_than_its_room_is_cut_and_marked),
		cmocka_unit_test(a_frame_is_received_in_pieces),
		cmocka_unit_test(without_a_length_there_is_never_a_frame),
		cmocka_unit_test(a_length_out_of_range_is_refused),
		cmocka_unit_test(everything_sent_is_taken),
		cmocka_unit_test(every_cache_line_sent_is_read),
		cmocka_unit_test(the_last_reference_closes_a_port),
		cmocka_unit_test(a_port_that_copies_reads_every_byte_sent),
		cmocka_unit_test(a_port_that_copies_writes_whole_frames),
		cmocka_unit_test(a_port_that_copies_takes_the_longest_frames),
	};

	alarm(60);
	return cmocka_run_group_tests_name("null port", tests, NULL, NULL);
}
