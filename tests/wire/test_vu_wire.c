/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_vu_wire.c tests a hostile frontend, driven by the rows of the request
 * table: each request too short, too long, with the wrong descriptors and in
 * the wrong state, and bytes that are no request.
 *
 * A healthy session runs beside the hostile one in the same process. After each
 * exchange it must still move packets, and when both have ended no descriptor
 * and no mapping may be left.
 */
#include "check.h"

#include <poll.h>
#include <stdlib.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bytes.h"
#include "fdmsg.h"
#include "vu_priv.h"
#include "vufix.h"

#define REQUESTS (VHOST_USER_REQUESTS + 3)

/**
 * struct rig - a hostile session and a healthy one
 * @fds: what a message can have: eventfds
 */
struct rig {
	struct vufix *bad, *good;
	unsigned int open_fds, maps;
	uint8_t seed;
	int fds[VU_FDS + 1];
};

static int setup(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	r->open_fds = count_fds();
	r->maps = count_maps();
	for (unsigned int i = 0; i < ARRAY_SIZE(r->fds); i++)
		r->fds[i] = event_new();
	r->good = vufix_open(1);
	vf_start(r->good, 0, 1);
	vf_traffic(r->good, 0, 1);
	r->bad = vufix_open(2);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;

	vufix_close(r->bad);
	vufix_close(r->good);
	for (unsigned int i = 0; i < ARRAY_SIZE(r->fds); i++)
		close(r->fds[i]);
	assert_int_equal(count_fds(), r->open_fds);
	assert_int_equal(count_maps(), r->maps);
	free(r);
	return 0;
}

/* The next hostile peer, which starts as a good one. */
static struct vufix *again(struct rig *r, uint64_t protocol_features)
{
	struct vufix *f = r->bad;

	if (f->s)
		vufix_hang_up(f);
	vu_endpoint_close(&f->fe);
	vufix_connect(f);
	vf_hello(f, protocol_features);
	return f;
}

static void still_healthy(struct rig *r)
{
	vf_traffic(r->good, 0, r->seed++);
}

/* The session has ended, and told the peer so; the other one has not. */
static void assert_dropped(struct rig *r, const char *what)
{
	struct vu_msg m;

	if (!vufix_wait_closed(r->bad))
		fail_msg("%s: the connection lives", what);
	while (vu_recv_wait(&r->bad->fe, &m, VUFIX_MS) == 0)
		vu_msg_close_fds(&m);
	still_healthy(r);
}

static void assert_alive(struct rig *r)
{
	vf_sync(r->bad);
	still_healthy(r);
}

/* ---- a message by its row ---- */

static uint32_t good_size(uint32_t request)
{
	return vu_row_find(request)->min;
}

static unsigned int good_fds(uint32_t request)
{
	return vu_row_find(request)->fds_min;
}

static bool served(uint32_t request)
{
	const struct vu_row *row = vu_row_find(request);

	return row && !(row->flags & VU_REFUSED);
}

static void send_shape(struct rig *r, uint32_t request, uint32_t flags,
		       uint32_t size, unsigned int nfds)
{
	static const uint8_t zeros[sizeof(union vu_payload)];

	vf_send(r->bad, request, flags, zeros, size, r->fds, nfds);
}

static void one_byte_less_ends_the_connection(void **state)
{
	struct rig *r = *state;

	for (uint32_t i = 0; i < REQUESTS; i++) {
		if (!served(i) || !good_size(i))
			continue;
		again(r, 0);
		send_shape(r, i, VU_FLAG_NEED_REPLY, good_size(i) - 1,
			   good_fds(i));
		assert_dropped(r, vu_row_find(i)->name);
	}
}

static void one_byte_more_ends_the_connection(void **state)
{
	struct rig *r = *state;

	for (uint32_t i = 0; i < REQUESTS; i++) {
		if (!served(i))
			continue;
		again(r, 0);
		send_shape(r, i, VU_FLAG_NEED_REPLY, vu_row_find(i)->max + 1,
			   good_fds(i));
		assert_dropped(r, vu_row_find(i)->name);
	}
}

static void one_descriptor_more_ends_the_connection(void **state)
{
	struct rig *r = *state;

	for (uint32_t i = 0; i < REQUESTS; i++) {
		if (!served(i) || vu_row_find(i)->fds_max == VU_FDS)
			continue;
		again(r, 0);
		send_shape(r, i, VU_FLAG_NEED_REPLY, good_size(i),
			   vu_row_find(i)->fds_max + 1u);
		assert_dropped(r, vu_row_find(i)->name);
	}
}

static void one_descriptor_less_ends_the_connection(void **state)
{
	struct rig *r = *state;

	for (uint32_t i = 0; i < REQUESTS; i++) {
		if (!served(i) || !good_fds(i))
			continue;
		again(r, 0);
		send_shape(r, i, VU_FLAG_NEED_REPLY, good_size(i),
			   good_fds(i) - 1);
		assert_dropped(r, vu_row_find(i)->name);
	}
}

static void as_many_descriptors_as_fit_are_closed(void **state)
{
	struct rig *r = *state;

	for (uint32_t i = 0; i < REQUESTS; i++) {
		again(r, 0);
		send_shape(r, i, 0, vu_row_find(i) ? good_size(i) : 0, VU_FDS);
		vufix_hang_up(r->bad);
		still_healthy(r);
	}
}

static void a_reply_is_no_request(void **state)
{
	struct rig *r = *state;

	for (uint32_t i = 0; i < REQUESTS; i++) {
		if (!served(i))
			continue;
		again(r, 0);
		send_shape(r, i, VU_FLAG_REPLY, good_size(i), good_fds(i));
		assert_dropped(r, vu_row_find(i)->name);
	}
}

/* Every request, in its right shape, before anything else was said. */
static void any_first_request_leaves_other_sessions_alone(void **state)
{
	struct rig *r = *state;

	for (uint32_t i = 0; i < REQUESTS; i++) {
		if (!vu_row_find(i))
			continue;
		again(r, 0);
		send_shape(r, i, VU_FLAG_NEED_REPLY, good_size(i), good_fds(i));
		vufix_hang_up(r->bad);
		still_healthy(r);
	}
}

/* With all features; the payload is all ones then. */
static void any_payload_leaves_other_sessions_alone(void **state)
{
	struct rig *r = *state;
	uint64_t all = vf_get(r->bad, VHOST_USER_GET_PROTOCOL_FEATURES);
	uint8_t ones[sizeof(union vu_payload)];

	memset(ones, 0xff, sizeof(ones));
	for (uint32_t i = 0; i < REQUESTS; i++) {
		if (!vu_row_find(i))
			continue;
		again(r, all & ~BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK));
		vf_table(r->bad);
		vf_send(r->bad, i, VU_FLAG_NEED_REPLY, ones, good_size(i),
			r->fds, good_fds(i));
		vufix_hang_up(r->bad);
		still_healthy(r);
	}
}

static void what_was_not_negotiated_is_an_error(void **state)
{
	struct rig *r = *state;
	struct vu_msg m;

	for (uint32_t i = 0; i < REQUESTS; i++) {
		const struct vu_row *row = vu_row_find(i);

		if (!row || row->feature == VU_NO_FEATURE)
			continue;
		again(r, 0);
		send_shape(r, i, VU_FLAG_NEED_REPLY, good_size(i), good_fds(i));
		if (row->reply == VU_REPLY) {
			assert_dropped(r, row->name);
			continue;
		}
		vf_reply(r->bad, i, &m);
		if (row->reply == VU_REPLY_EMPTY)
			assert_int_equal(m.hdr.size, 0);
		else if (row->reply == VU_REPLY_ZERO)
			assert_int_equal(m.payload.u64, 0);
		else
			assert_int_not_equal(m.payload.u64, 0);
		assert_alive(r);
	}
}

static void a_ring_that_is_not_there_is_an_error(void **state)
{
	struct rig *r = *state;
	uint64_t all = vf_get(r->bad, VHOST_USER_GET_PROTOCOL_FEATURES);

	for (uint32_t i = 0; i < REQUESTS; i++) {
		const struct vu_row *row = vu_row_find(i);
		static const uint32_t index[] = { 4, 255, 256, 0x10000,
						  0xffffffff };

		if (!row || !(row->flags & (VU_RING_STATE | VU_RING_U64)))
			continue;
		for (unsigned int k = 0; k < ARRAY_SIZE(index); k++) {
			uint32_t payload[10] = { index[k] };
			unsigned int nfds = good_fds(i);
			struct vu_msg m;

			if (row->flags & VU_RING_U64) {
				if (index[k] > 255)
					continue;
				payload[0] &= 0xff;
			}
			again(r, all);
			vf_send(r->bad, i, VU_FLAG_NEED_REPLY, payload,
				good_size(i), r->fds, nfds);
			if (row->reply == VU_REPLY) {
				assert_dropped(r, row->name);
				continue;
			}
			vf_reply(r->bad, i, &m);
			assert_int_equal(m.payload.u64, ENOBUFS);
			assert_alive(r);
		}
	}
}

static void a_running_ring_is_not_resized(void **state)
{
	struct rig *r = *state;

	for (uint32_t i = 0; i < REQUESTS; i++) {
		const struct vu_row *row = vu_row_find(i);
		struct vu_msg m;

		if (!row || !(row->flags & VU_RING_STOPPED))
			continue;
		again(r, 0);
		vf_features(r->bad, 0);
		vf_table(r->bad);
		vf_ring(r->bad, 0, 16);
		send_shape(r, i, VU_FLAG_NEED_REPLY, good_size(i), 0);
		vf_reply(r->bad, i, &m);
		assert_int_equal(m.payload.u64, EBUSY);
		assert_alive(r);
	}
}

static void unknown_requests_are_refused(void **state)
{
	static const uint32_t unknown[] = { 0, VHOST_USER_REQUESTS, 1000,
					    0x80000000, 0xffffffff };
	struct rig *r = *state;
	struct vu_msg m;

	again(r, 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(unknown); i++) {
		send_shape(r, unknown[i], VU_FLAG_NEED_REPLY, 8, 3);
		vf_reply(r->bad, unknown[i], &m);
		assert_int_equal(m.payload.u64, EOPNOTSUPP);
		send_shape(r, unknown[i], 0, 0, 0);
		assert_alive(r);
	}
}

static void refused_requests_are_refused_whatever_they_carry(void **state)
{
	struct rig *r = *state;
	struct vu_msg m;

	for (uint32_t i = 0; i < REQUESTS; i++) {
		const struct vu_row *row = vu_row_find(i);

		if (!row || !(row->flags & VU_REFUSED))
			continue;
		again(r, 0);
		send_shape(r, i, VU_FLAG_NEED_REPLY, row->max, row->fds_max);
		vf_reply(r->bad, i, &m);
		assert_int_equal(m.payload.u64, EOPNOTSUPP);
		assert_alive(r);
	}
}

/* ---- what is no message ---- */

/* Bytes and descriptors as they are. */
static void send_raw(struct rig *r, const void *bytes, size_t len,
		     unsigned int nfds)
{
	int fds[64];

	for (unsigned int i = 0; i < nfds; i++)
		fds[i] = r->fds[i % ARRAY_SIZE(r->fds)];
	check_ret(fdmsg_send(r->bad->fe.sock, bytes, len, fds, nfds, 0), len);
}

static void a_header_that_is_none_ends_the_connection(void **state)
{
	static const struct vu_hdr hdr[] = {
		{ VHOST_USER_GET_FEATURES, 0, 0 },
		{ VHOST_USER_GET_FEATURES, 2, 0 },
		{ VHOST_USER_GET_FEATURES, 3, 0 },
		{ VHOST_USER_GET_FEATURES, 0xfffffff8, 0 },
		{ VHOST_USER_GET_FEATURES, VU_VERSION, 0xffffffff },
		{ VHOST_USER_GET_FEATURES, VU_VERSION, 0x80000000 },
		{ VHOST_USER_SET_FEATURES, VU_VERSION,
		  sizeof(union vu_payload) + 1 },
		{ 0xffffffff, 0xffffffff, 0xffffffff },
	};
	struct rig *r = *state;

	for (unsigned int i = 0; i < ARRAY_SIZE(hdr); i++) {
		again(r, 0);
		send_raw(r, &hdr[i], sizeof(hdr[i]), i % 3);
		assert_dropped(r, "header");
	}
}

/* A message cut after each of its bytes, with descriptors in hand. */
static void half_a_message_leaves_other_sessions_alone(void **state)
{
	struct {
		struct vu_hdr hdr;
		uint64_t payload;
	} __attribute__((packed)) m = {
		{ VHOST_USER_SET_VRING_KICK, VU_VERSION, 8 }, 0
	};
	struct rig *r = *state;

	for (size_t len = 1; len < 20; len++) {
		again(r, 0);
		send_raw(r, &m, len, 1 + len % 4);
		still_healthy(r);
		vufix_hang_up(r->bad);
	}
}

static void a_message_may_come_byte_by_byte(void **state)
{
	struct {
		struct vu_hdr hdr;
		uint64_t payload;
	} __attribute__((packed)) m = { { VHOST_USER_SET_FEATURES,
					  VU_VERSION | VU_FLAG_NEED_REPLY, 8 },
					0 };
	struct rig *r = *state;
	struct vu_msg reply;

	again(r, 0);
	for (size_t i = 0; i < 20; i++)
		send_raw(r, (const char *)&m + i, 1, 0);
	vf_reply(r->bad, VHOST_USER_SET_FEATURES, &reply);
	assert_int_equal(reply.payload.u64, 0);
}

/* Until the session has read what was sent: the rest comes with another call
 * of recvmsg(2). */
static void await_read(struct rig *r)
{
	int unread = 1;

	for (unsigned int i = 0; unread && i < VUFIX_MS; i++) {
		poll(NULL, 0, 1);
		check_ret(ioctl(r->bad->fe.sock, SIOCOUTQ, &unread), 0);
	}
	assert_int_equal(unread, 0);
}

static void descriptors_behind_the_first_byte_end_the_connection(void **state)
{
	struct {
		struct vu_hdr hdr;
		uint64_t payload;
	} __attribute__((packed)) m = {
		{ VHOST_USER_SET_VRING_KICK, VU_VERSION, 8 }, 0
	};
	struct rig *r = *state;

	for (size_t cut = 1; cut < 20; cut++) {
		again(r, 0);
		send_raw(r, &m, cut, 0);
		await_read(r);
		send_raw(r, (const char *)&m + cut, 20 - cut, 1);
		assert_dropped(r, "descriptor");
	}
}

static void more_descriptors_than_a_message_has_end_the_connection(void **state)
{
	static const unsigned int n[] = { VU_FDS + 1, 32, 33, 64 };
	struct vu_hdr hdr = { VHOST_USER_GET_FEATURES, VU_VERSION, 0 };
	struct rig *r = *state;

	for (unsigned int i = 0; i < ARRAY_SIZE(n); i++) {
		again(r, 0);
		send_raw(r, &hdr, sizeof(hdr), n[i]);
		assert_dropped(r, "descriptors");
	}
}

/* A peer that asks and never listens: the replies have nowhere to go. */
static void a_peer_that_does_not_listen_is_dropped(void **state)
{
	struct vu_hdr hdr = { VHOST_USER_GET_FEATURES, VU_VERSION, 0 };
	struct rig *r = *state;
	ssize_t n;

	again(r, 0);
	do {
		n = send(r->bad->fe.sock, &hdr, sizeof(hdr), MSG_NOSIGNAL);
		still_healthy(r);
	} while (n == sizeof(hdr));
	assert_dropped(r, "flood");
}

static void a_flood_of_descriptors_is_closed(void **state)
{
	struct rig *r = *state;
	unsigned int before;

	again(r, 0);
	vf_sync(r->bad);
	check_ret(vf_call_fd(r->bad, VHOST_USER_SET_VRING_CALL, 0, r->fds[0]),
		  0);
	before = count_fds();
	for (unsigned int i = 0; i < 3000; i++)
		check_ret(vf_call_fd(r->bad, VHOST_USER_SET_VRING_CALL, 0,
				     r->fds[i % VU_FDS]),
			  0);
	assert_int_equal(count_fds(), before);
	still_healthy(r);
}

/* ---- wrong descriptors, wrong memory ---- */

static void only_eventfds_are_events(void **state)
{
	static const uint32_t request[] = { VHOST_USER_SET_VRING_KICK,
					    VHOST_USER_SET_VRING_CALL,
					    VHOST_USER_SET_VRING_ERR };
	struct rig *r = *state;
	int fd = check_ok(memfd_create("wrong", MFD_CLOEXEC));

	again(r, 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(request); i++) {
		assert_int_equal(vf_call_fd(r->bad, request[i], 0, fd), EINVAL);
		assert_alive(r);
	}
	close(fd);
}

static uint64_t set_one_region(struct vufix *f, struct vu_mem_region region,
			       int fd)
{
	struct vu_memory m = { .nregions = 1, .regions = { region } };

	return vf_call(f, VHOST_USER_SET_MEM_TABLE, &m,
		       offsetof(struct vu_memory, regions[1]), &fd, 1);
}

static void only_files_are_memory(void **state)
{
	struct rig *r = *state;
	struct vufix *f = again(r, 0);
	struct vu_mem_region region = vf_region(f, 0);
	int fds[2];

	assert_int_equal(set_one_region(f, region, r->fds[0]), EINVAL);
	assert_int_equal(set_one_region(f, region, f->fe.sock), EINVAL);
	check_ret(pipe(fds), 0);
	assert_int_equal(set_one_region(f, region, fds[0]), EINVAL);
	close(fds[0]);
	close(fds[1]);
	assert_alive(r);
}

static void memory_past_the_end_of_its_file_is_refused(void **state)
{
	struct rig *r = *state;
	struct vufix *f = again(r, 0);
	struct vu_mem_region region = vf_region(f, 0);

	region.mmap_offset = ARENA_SIZE - RAM_SIZE + 1;
	assert_int_equal(set_one_region(f, region, f->arena.memfd), ENXIO);
	region.mmap_offset = 0xfffffffffffff000;
	assert_int_equal(set_one_region(f, region, f->arena.memfd), ENXIO);
	region.mmap_offset = 0;
	region.memory_size = ARENA_SIZE + 1;
	assert_int_equal(set_one_region(f, region, f->arena.memfd), ENXIO);
	region.memory_size = 0;
	assert_int_equal(set_one_region(f, region, f->arena.memfd), EINVAL);
	region.memory_size = RAM_SIZE;
	region.guest_phys_addr = -(uint64_t)RAM_SIZE + 1;
	assert_int_equal(set_one_region(f, region, f->arena.memfd), EINVAL);
	region.guest_phys_addr = 0;
	region.userspace_addr = -(uint64_t)RAM_SIZE + 1;
	assert_int_equal(set_one_region(f, region, f->arena.memfd), EINVAL);
	assert_alive(r);
}

static void overlapping_memory_is_refused(void **state)
{
	struct rig *r = *state;
	struct vufix *f = again(r, 0);
	struct vu_memory m = { .nregions = 2 };
	int fds[2] = { f->arena.memfd, f->arena.memfd };
	const uint32_t size = offsetof(struct vu_memory, regions[2]);

	m.regions[0] = vf_region(f, 0);
	m.regions[1] = vf_region(f, 1);
	m.regions[1].guest_phys_addr--;
	assert_int_equal(vf_call(f, VHOST_USER_SET_MEM_TABLE, &m, size, fds, 2),
			 EEXIST);
	m.regions[1] = vf_region(f, 1);
	m.regions[1].userspace_addr = m.regions[0].userspace_addr;
	assert_int_equal(vf_call(f, VHOST_USER_SET_MEM_TABLE, &m, size, fds, 2),
			 EEXIST);
	m.regions[1] = vf_region(f, 1);
	check_ret(vf_call(f, VHOST_USER_SET_MEM_TABLE, &m, size, fds, 2), 0);
	assert_alive(r);
}

/* The file shrinks under running rings: that guest loses its queues. */
static void a_truncated_file_does_not_affect_other_sessions(void **state)
{
	struct rig *r = *state;
	struct vufix *f = again(r, BIT(VHOST_USER_PROTOCOL_F_MQ));

	aspace_guard_install(); /* cmocka has a handler of its own */
	vf_features(f, 0);
	check_ret(vf_table(f), 0);
	for (unsigned int i = 0; i < 4; i++)
		vf_ring(f, i, 16);
	vf_enable(f, 0, true);
	vf_enable(f, 1, true);
	check_ret(ftruncate(f->arena.memfd, 0), 0);
	for (unsigned int i = 0; i < 4; i++)
		vf_kick(f, i);
	for (unsigned int i = 0; i < 4; i++)
		assert_true(vf_wait(f->err[i], VUFIX_MS));
	assert_alive(r);
	assert_int_equal(vf_get_base(f, 1), 0);
	vufix_hang_up(f);
	still_healthy(r);
	check_ret(ftruncate(f->arena.memfd, ARENA_SIZE), 0);
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(one_byte_less_ends_the_connection),
		T(one_byte_more_ends_the_connection),
		T(one_descriptor_more_ends_the_connection),
		T(one_descriptor_less_ends_the_connection),
		T(as_many_descriptors_as_fit_are_closed),
		T(a_reply_is_no_request),
		T(any_first_request_leaves_other_sessions_alone),
		T(any_payload_leaves_other_sessions_alone),
		T(what_was_not_negotiated_is_an_error),
		T(a_ring_that_is_not_there_is_an_error),
		T(a_running_ring_is_not_resized),
		T(unknown_requests_are_refused),
		T(refused_requests_are_refused_whatever_they_carry),
		T(a_header_that_is_none_ends_the_connection),
		T(half_a_message_leaves_other_sessions_alone),
		T(a_message_may_come_byte_by_byte),
		T(descriptors_behind_the_first_byte_end_the_connection),
		T(more_descriptors_than_a_message_has_end_the_connection),
		T(a_peer_that_does_not_listen_is_dropped),
		T(a_flood_of_descriptors_is_closed),
		T(only_eventfds_are_events),
		T(only_files_are_memory),
		T(memory_past_the_end_of_its_file_is_refused),
		T(overlapping_memory_is_refused),
		T(a_truncated_file_does_not_affect_other_sessions),
	};

	/* Complaints about hostile peers are what they are for. */
	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
