/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_fe_inproc.c drives a device of this process through the frontend
 * library: frames from and to a socket of the test, with rings in memory that
 * is mapped or copied.
 */
#include "check.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "bytes.h"
#include "ring.h"
#include "sockport.h"
#include "uvhost/frontend.h"

#define DEADLINE_MS 60000
#define QUIET_MS 20
#define MEM_BYTES (1u << 20)
#define GPA 0x40000000u
#define NUM 64
#define HDR 12
#define FRAME 100
#define V1 BIT(VIRTIO_F_VERSION_1)

enum { RX, TX };

struct fixture {
	struct uvh *fe;
	unsigned int pairs;
	uint8_t *mem;
	uint64_t used; /* bytes of it */
	struct vmm_ring ring[4];
	uint64_t ring_uva[4];
	int kick[4], call[4], err[4];
	int wire[2][2]; /* of each pair: the device's, the test's */
};

static uint64_t alloc(struct fixture *f, size_t len)
{
	uint64_t at = (f->used + 63) & ~UINT64_C(63);

	assert_true(at + len <= MEM_BYTES);
	f->used = at + len;
	return at;
}

static struct fixture *fixture_open(const struct uvh_inproc_config *c)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	check_ret(uvh_inproc_new(c, &f->fe), 0);
	f->pairs = uvh_queue_count(f->fe) / 2;
	f->mem = mmap(NULL, MEM_BYTES, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(f->mem, MAP_FAILED);
	for (unsigned int i = 0; i < f->pairs; i++)
		sockport_pair(f->wire[i]);
	for (unsigned int qi = 0; qi < 2 * f->pairs; qi++) {
		uint8_t *at = f->mem + alloc(f, vmm_ring_bytes(NUM));

		check_ret(vmm_ring_init(&f->ring[qi], at, NUM, V1), 0);
		f->kick[qi] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		f->call[qi] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		f->err[qi] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	}
	return f;
}

static void fixture_close(struct fixture *f)
{
	uvh_close(f->fe);
	for (unsigned int qi = 0; qi < 2 * f->pairs; qi++) {
		vmm_ring_free(&f->ring[qi]);
		close(f->kick[qi]);
		close(f->call[qi]);
		close(f->err[qi]);
	}
	for (unsigned int i = 0; i < f->pairs; i++) {
		close(f->wire[i][0]);
		close(f->wire[i][1]);
	}
	munmap(f->mem, MEM_BYTES);
	free(f);
}

static int setup_pointers(void **state)
{
	*state = fixture_open(NULL);
	return 0;
}

static int setup_copied(void **state)
{
	*state = fixture_open(&(struct uvh_inproc_config){ .copied = true });
	return 0;
}

static int setup_pairs(void **state)
{
	*state = fixture_open(&(struct uvh_inproc_config){
		.name = "two", .queue_pairs = 2, .busy_poll_us = 10 });
	return 0;
}

static int setup_null(void **state)
{
	*state = fixture_open(&(struct uvh_inproc_config){
		.null_port = true, .null_frame_len = FRAME });
	return 0;
}

static int teardown(void **state)
{
	fixture_close(*state);
	return 0;
}

static struct uvh_region whole(const struct fixture *f)
{
	return (struct uvh_region){ .gpa = GPA,
				    .size = MEM_BYTES,
				    .uva = (uintptr_t)f->mem,
				    .fd = -1 };
}

static struct vhost_vring_addr ring_addr(const struct fixture *f,
					 unsigned int qi)
{
	return (struct vhost_vring_addr){
		.index = qi,
		.desc_user_addr = (uintptr_t)f->ring[qi].desc,
		.avail_user_addr = (uintptr_t)f->ring[qi].avail,
		.used_user_addr = (uintptr_t)f->ring[qi].used,
	};
}

static void set_ring(struct fixture *f, unsigned int qi)
{
	struct vhost_vring_addr addr = ring_addr(f, qi);

	check_ret(uvh_set_vring_num(f->fe, qi, NUM), 0);
	check_ret(uvh_set_vring_base(f->fe, qi, 0), 0);
	check_ret(uvh_set_vring_addr(f->fe, &addr), 0);
	check_ret(uvh_set_vring_call(f->fe, qi, f->call[qi]), 0);
	check_ret(uvh_set_vring_err(f->fe, qi, f->err[qi]), 0);
	check_ret(uvh_set_vring_kick(f->fe, qi, f->kick[qi]), 0);
}

/* Everything but the backends. */
static void prepare(struct fixture *f, uint64_t features)
{
	struct uvh_region r = whole(f);

	check_ret(uvh_set_owner(f->fe), 0);
	check_ret(uvh_set_features(f->fe, features), 0);
	check_ret(uvh_set_mem_table(f->fe, &r, 1), 0);
	for (unsigned int qi = 0; qi < 2 * f->pairs; qi++)
		set_ring(f, qi);
}

static void start(struct fixture *f)
{
	prepare(f, V1);
	for (unsigned int qi = 0; qi < 2 * f->pairs; qi++)
		check_ret(uvh_vring_start(f->fe, qi, f->wire[qi / 2][0]), 0);
}

static void wait_up(int fd, const char *what)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	if (poll(&p, 1, DEADLINE_MS) != 1)
		fail_msg("%s: nothing came", what);
}

static bool comes(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, QUIET_MS) == 1;
}

static void kick(struct fixture *f, unsigned int qi)
{
	uint64_t one = 1;

	vmm_ring_publish(&f->ring[qi]);
	check_ret(write(f->kick[qi], &one, sizeof(one)), sizeof(one));
}

static void reap(struct fixture *f, unsigned int qi, struct vmm_used *used)
{
	uint64_t count;

	while (!vmm_ring_pending(&f->ring[qi])) {
		wait_up(f->call[qi], "call");
		check_ok(read(f->call[qi], &count, sizeof(count)));
	}
	check_ret(vmm_ring_reap(&f->ring[qi], used, 1), 1);
}

/* A frame of the guest, at @gpa, arrives at the wire as it is. */
static void send_frame_at(struct fixture *f, unsigned int qi, uint64_t gpa)
{
	struct vmm_seg seg = { .addr = gpa, .len = HDR + FRAME };
	uint8_t *p = f->mem + (gpa - GPA), got[HDR + FRAME + 1];
	struct vmm_used used;

	memset(p, 0, HDR);
	for (unsigned int i = 0; i < FRAME; i++)
		p[HDR + i] = (uint8_t)(qi + i);
	check_ok(vmm_ring_add(&f->ring[qi], &seg, 1, p));
	kick(f, qi);
	wait_up(f->wire[qi / 2][1], "wire");
	check_ret(recv(f->wire[qi / 2][1], got, sizeof(got), 0), HDR + FRAME);
	assert_memory_equal(got, p, HDR + FRAME);
	reap(f, qi, &used);
	assert_ptr_equal(used.token, p);
	assert_int_equal(used.len, 0);
}

static void send_frame(struct fixture *f, unsigned int qi)
{
	send_frame_at(f, qi, GPA + alloc(f, HDR + FRAME));
}

static void add_buffer(struct fixture *f, unsigned int qi)
{
	uint64_t at = alloc(f, 2048);
	struct vmm_seg seg = { .addr = GPA + at, .len = 2048, .write = true };

	check_ok(vmm_ring_add(&f->ring[qi], &seg, 1, f->mem + at));
}

static void recv_frame(struct fixture *f, unsigned int qi)
{
	uint8_t frame[HDR + FRAME] = { 0 };
	struct vmm_used used;

	for (unsigned int i = 0; i < FRAME; i++)
		frame[HDR + i] = (uint8_t)(0x80 + qi + i);
	add_buffer(f, qi);
	kick(f, qi);
	check_ret(send(f->wire[qi / 2][1], frame, sizeof(frame), 0),
		  sizeof(frame));
	reap(f, qi, &used);
	assert_int_equal(used.len, sizeof(frame));
	assert_memory_equal((uint8_t *)used.token + HDR, frame + HDR, FRAME);
}

/* ---- tests ---- */

static void frames_go_both_ways(void **state)
{
	struct fixture *f = *state;

	start(f);
	for (unsigned int i = 0; i < 10; i++) {
		send_frame(f, TX);
		recv_frame(f, RX);
	}
}

static void pairs_have_wires_of_their_own(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(uvh_queue_count(f->fe), 4);
	start(f);
	for (unsigned int i = 0; i < 4; i++) {
		send_frame(f, 2 + TX);
		send_frame(f, TX);
		recv_frame(f, RX);
		recv_frame(f, 2 + RX);
	}
	assert_false(comes(f->wire[0][1]));
	assert_false(comes(f->wire[1][1]));
	check_ret(uvh_set_vring_num(f->fe, 4, NUM), -EINVAL);
}

static void null_port_makes_frames_up(void **state)
{
	struct fixture *f = *state;
	struct vmm_used used;

	start(f);
	add_buffer(f, RX);
	kick(f, RX);
	reap(f, RX, &used);
	assert_int_equal(used.len, HDR + FRAME);
}

static void a_stopped_ring_says_how_far_it_came(void **state)
{
	struct fixture *f = *state;
	uint32_t base = 99;

	start(f);
	send_frame(f, TX);
	send_frame(f, TX);
	check_ret(uvh_set_vring_num(f->fe, TX, NUM), -EBUSY);
	check_ret(uvh_set_vring_base(f->fe, TX, 0), -EBUSY);
	check_ret(uvh_vring_stop(f->fe, TX, &base), 0);
	assert_int_equal(base, 2);
	/* and goes on from there */
	check_ret(uvh_set_vring_base(f->fe, TX, base), 0);
	check_ret(uvh_vring_start(f->fe, TX, f->wire[0][0]), 0);
	send_frame(f, TX);
	check_ret(uvh_get_vring_base(f->fe, TX, &base), 0);
	assert_int_equal(base, 3);
}

static void errors_are_the_kernels(void **state)
{
	struct fixture *f = *state;
	struct uvh_region r = whole(f);
	uint64_t features = 0;
	int ev = check_ok(eventfd(0, EFD_CLOEXEC));

	check_ret(uvh_get_features(f->fe, &features), 0);
	check_ret(uvh_set_features(f->fe, BIT(1)), -EOPNOTSUPP);
	check_ret(uvh_set_backend_features(f->fe, 1), -EOPNOTSUPP);
	check_ret(uvh_set_backend_features(f->fe, 2), 0);
	check_ret(uvh_set_vring_num(f->fe, 0, NUM), -EPERM);
	check_ret(uvh_set_owner(f->fe), 0);
	check_ret(uvh_set_owner(f->fe), -EBUSY);
	check_ret(uvh_net_set_backend(f->fe, RX, -1), -EFAULT); /* no table */
	check_ret(uvh_set_mem_table(f->fe, &r, 1), 0);
	set_ring(f, RX);
	check_ret(uvh_net_set_backend(f->fe, RX, ev), -ENOTSOCK);
	check_ret(uvh_net_set_backend(f->fe, RX, 9999), -ENOTSOCK);
	check_ret(uvh_net_set_backend(f->fe, RX, -1), 0);
	check_ret(uvh_set_vring_kick(f->fe, RX, f->wire[0][0]), -EINVAL);
	check_ret(uvh_set_log_fd(f->fe, f->wire[0][0]), -EINVAL);
	check_ret(uvh_set_log_fd(f->fe, ev), 0);
	check_ret(uvh_set_vring_busyloop(f->fe, RX, 5), 0);
	check_ret(uvh_set_vring_enable(f->fe, RX, true), -EOPNOTSUPP);
	r.uva = UINT64_C(0xffff800000000000);
	check_ret(uvh_set_mem_table(f->fe, &r, 1), 0); /* checked when used */
	check_ret(uvh_net_set_backend(f->fe, RX, f->wire[0][0]), -EFAULT);
	check_ret(uvh_reset_owner(f->fe), 0);
	check_ret(uvh_reset_owner(f->fe), -EPERM);
	close(ev);
}

static void the_callers_descriptors_stay_the_callers(void **state)
{
	struct fixture *f = *state;

	start(f);
	for (unsigned int qi = 0; qi < 2; qi++) {
		assert_true(fcntl(f->kick[qi], F_GETFD) >= 0);
		assert_true(fcntl(f->call[qi], F_GETFD) >= 0);
	}
	/* nor does the device need them any longer */
	close(f->wire[0][0]);
	f->wire[0][0] = dup(0);
	send_frame(f, TX);
}

static void memory_stays_mapped_after_its_region(void **state)
{
	struct fixture *f = *state;
	struct uvh_region r = whole(f);

	start(f);
	send_frame(f, TX);
	check_ret(uvh_remove_region(f->fe, &r), 0);
	f->mem[0] = f->mem[0]; /* ours */
	check_ret(uvh_add_region(f->fe, &r), 0);
	send_frame(f, TX);
}

static void regions_may_share_memory(void **state)
{
	struct fixture *f = *state;
	struct uvh_region r[3] = { whole(f), whole(f), whole(f) };

	start(f);
	r[1].gpa = GPA + 0x10000000; /* an alias of all */
	r[2].gpa = GPA + 0x20000000; /* and of the middle */
	r[2].uva += 4096;
	r[2].size = 8192;
	check_ret(uvh_set_mem_table(f->fe, r, 3), 0);
	send_frame(f, TX);
	recv_frame(f, RX);
}

static void rings_may_be_outside_the_table(void **state)
{
	struct fixture *f = *state;
	struct uvh_region r = whole(f);

	start(f);
	/* all memory but the rings' page(s) at the start */
	r.gpa += 16384;
	r.uva += 16384;
	r.size -= 16384;
	assert_true(f->used <= 16384);
	f->used = 16384;
	check_ret(uvh_set_mem_table(f->fe, &r, 1), 0);
	send_frame(f, TX);
	recv_frame(f, RX);
}

static void unmapped_memory_breaks_a_ring_that_copies(void **state)
{
	struct fixture *f = *state;
	struct vmm_seg seg = { .addr = GPA + MEM_BYTES / 2, .len = 200 };

	start(f);
	check_ret(munmap(f->mem + MEM_BYTES / 2, MEM_BYTES / 2), 0);
	check_ok(vmm_ring_add(&f->ring[TX], &seg, 1, NULL));
	kick(f, TX);
	assert_false(comes(f->wire[0][1]));
	recv_frame(f, RX); /* and no other */
}

static void dirty_pages_are_logged(void **state)
{
	struct fixture *f = *state;
	uint64_t log_bytes = (GPA + MEM_BYTES) / 4096 / 8, page;
	uint8_t *log = calloc(1, log_bytes);
	unsigned int marked = 0;

	assert_non_null(log);
	start(f);
	check_ret(uvh_set_log_base(f->fe, (uintptr_t)log, log_bytes, -1, 0), 0);
	check_ret(uvh_set_features(f->fe, V1 | BIT(VHOST_F_LOG_ALL)), 0);
	page = (GPA + f->used + 63) / 4096;
	recv_frame(f, RX);
	assert_true(log[page / 8] & (1u << page % 8));
	for (uint64_t i = 0; i < log_bytes; i++)
		marked += (unsigned int)__builtin_popcount(log[i]);
	/* by pointer it is exact: the frame may touch a second page */
	assert_in_range(marked, 1, 2);
	check_ret(uvh_set_features(f->fe, V1), 0);
	check_ret(uvh_set_log_base(f->fe, 0, 0, -1, 0), 0);
	free(log);
	recv_frame(f, RX);
}

/* ---- IOTLB ---- */

struct vmm_side {
	struct fixture *f;
	unsigned int misses;
};

static int answer_miss(void *ctx, const struct vhost_iotlb_msg *msg)
{
	struct vmm_side *s = ctx;
	struct vhost_iotlb_msg update = {
		.type = VHOST_IOTLB_UPDATE,
		.iova = msg->iova & ~UINT64_C(4095),
		.size = 4096,
		.perm = VHOST_ACCESS_RW,
	};

	assert_int_equal(msg->type, VHOST_IOTLB_MISS);
	s->misses++;
	/* iova is gpa here */
	update.uaddr = (uintptr_t)s->f->mem + (update.iova - GPA);
	return uvh_iotlb_send(s->f->fe, &update, 0);
}

static void start_ring_iotlb(struct fixture *f, unsigned int qi)
{
	struct vhost_vring_addr addr = ring_addr(f, qi);

	addr.desc_user_addr += GPA - (uintptr_t)f->mem;
	addr.avail_user_addr += GPA - (uintptr_t)f->mem;
	addr.used_user_addr += GPA - (uintptr_t)f->mem;
	check_ret(uvh_set_vring_addr(f->fe, &addr), 0);
	check_ret(uvh_vring_start(f->fe, qi, f->wire[0][0]), 0);
}

/* Of the memory the rings are known, at the beginning. */
static void start_iotlb(struct fixture *f)
{
	struct vhost_iotlb_msg rings = { .type = VHOST_IOTLB_UPDATE,
					 .iova = GPA,
					 .size = 16384,
					 .uaddr = (uintptr_t)f->mem,
					 .perm = VHOST_ACCESS_RW };

	assert_true(f->used <= rings.size);
	prepare(f, V1 | BIT(VIRTIO_F_ACCESS_PLATFORM));
	check_ret(uvh_iotlb_send(f->fe, &rings, 0), 0);
	start_ring_iotlb(f, TX);
}

static void misses_come_to_the_handler(void **state)
{
	struct fixture *f = *state;
	static const struct uvh_backend_ops ops = { .iotlb = answer_miss };
	struct vmm_side side = { .f = f };
	struct vmm_seg seg = { .addr = GPA + MEM_BYTES - 4096,
			       .len = HDR + FRAME };
	struct pollfd p[2] = { { .fd = uvh_event_fd(f->fe), .events = POLLIN },
			       { .fd = f->wire[0][1], .events = POLLIN } };

	uvh_set_backend_ops(f->fe, &ops, &side);
	start_iotlb(f);
	memset(f->mem + MEM_BYTES - 4096, 0, HDR + FRAME);
	check_ok(vmm_ring_add(&f->ring[TX], &seg, 1, NULL));
	kick(f, TX);
	while (!(p[1].revents & POLLIN)) {
		if (poll(p, 2, DEADLINE_MS) <= 0)
			fail_msg("neither a miss nor a frame");
		if (p[0].revents & POLLIN)
			check_ok(uvh_handle_events(f->fe));
	}
	assert_in_range(side.misses, 1, 5);
}

static void misses_can_be_fetched(void **state)
{
	struct fixture *f = *state;
	struct vmm_seg seg = { .addr = GPA + MEM_BYTES - 4096, .len = 64 };
	struct vhost_iotlb_msg msg, answer = {
		.type = VHOST_IOTLB_UPDATE,
		.iova = seg.addr,
		.size = 4096,
		.uaddr = (uintptr_t)f->mem + MEM_BYTES - 4096,
		.perm = VHOST_ACCESS_RW,
	};
	uint8_t frame[HDR + 50] = { 0 };

	check_ret(uvh_iotlb_recv(f->fe, &msg), -EAGAIN);
	start_iotlb(f);
	check_ok(vmm_ring_add(&f->ring[TX], &seg, 1, NULL));
	kick(f, TX);
	wait_up(uvh_event_fd(f->fe), "miss");
	check_ret(uvh_handle_events(f->fe), 0); /* no event */
	check_ret(uvh_iotlb_recv(f->fe, &msg), 0);
	assert_int_equal(msg.type, VHOST_IOTLB_MISS);
	assert_int_equal(msg.iova, seg.addr);
	check_ret(uvh_iotlb_recv(f->fe, &msg), -EAGAIN);
	assert_false(comes(uvh_event_fd(f->fe)));
	check_ret(uvh_iotlb_send(f->fe, &answer, 0), 0);
	wait_up(f->wire[0][1], "wire");

	/* two at once: the descriptor says that there is another */
	start_ring_iotlb(f, RX);
	seg.addr -= 4096;
	check_ok(vmm_ring_add(&f->ring[TX], &seg, 1, NULL));
	seg.write = true;
	seg.addr -= 4096;
	check_ok(vmm_ring_add(&f->ring[RX], &seg, 1, NULL));
	kick(f, RX);
	check_ret(send(f->wire[0][1], frame, sizeof(frame), 0), sizeof(frame));
	wait_up(uvh_event_fd(f->fe), "miss of RX");
	kick(f, TX);
	/* both are there once the device has answered twice */
	check_ret(uvh_set_vring_busyloop(f->fe, RX, 0), 0);
	poll(NULL, 0, QUIET_MS);
	check_ret(uvh_iotlb_recv(f->fe, &msg), 0);
	wait_up(uvh_event_fd(f->fe), "the other miss");
	check_ret(uvh_iotlb_recv(f->fe, &msg), 0);
}

static void asids_and_batches_are_for_vdpa(void **state)
{
	struct fixture *f = *state;
	struct vhost_iotlb_msg msg = { .type = VHOST_IOTLB_UPDATE,
				       .size = 4096 };

	start_iotlb(f);
	check_ret(uvh_iotlb_send(f->fe, &msg, 1), -EINVAL);
	msg.type = VHOST_IOTLB_BATCH_BEGIN;
	check_ret(uvh_iotlb_send(f->fe, &msg, 0), -EOPNOTSUPP);
	msg.type = VHOST_IOTLB_UPDATE;
	msg.uaddr = UINT64_C(0xffff800000000000);
	msg.perm = VHOST_ACCESS_RW;
	check_ret(uvh_iotlb_send(f->fe, &msg, 0), -EFAULT);
}

/* ---- log lines ---- */

struct lines {
	unsigned int n;
	char last[256];
};

static void on_line(void *ctx, enum uvh_log_level level, const char *line)
{
	struct lines *l = ctx;

	assert_in_range(level, UVH_LOG_ERROR, UVH_LOG_DEBUG);
	snprintf(l->last, sizeof(l->last), "%s", line);
	__atomic_fetch_add(&l->n, 1, __ATOMIC_RELEASE);
}

static void log_lines_go_where_they_are_wanted(void **state)
{
	struct uvh_inproc_config config = { .name = "spoken" };
	struct vmm_seg seg = { .addr = 1, .len = 64 }; /* in no region */
	struct lines lines = { 0 };
	struct fixture *f;

	(void)state;
	uvh_set_log(UVH_LOG_DEBUG, on_line, &lines);
	f = fixture_open(&config);
	start(f);
	check_ok(vmm_ring_add(&f->ring[TX], &seg, 1, NULL));
	kick(f, TX);
	wait_up(f->err[TX], "err");
	fixture_close(f); /* the line is complete now */
	uvh_set_log(UVH_LOG_DEBUG, NULL, NULL);
	assert_true(__atomic_load_n(&lines.n, __ATOMIC_ACQUIRE) > 0);
	assert_non_null(strstr(lines.last, "spoken"));
	assert_null(strchr(lines.last, '\n'));
}

static void bad_configurations(void **state)
{
	struct uvh_inproc_config c = { .queue_pairs = 65 };
	struct uvh *fe = NULL;

	(void)state;
	check_ret(uvh_inproc_new(&c, &fe), -EINVAL);
	c = (struct uvh_inproc_config){ .null_port = true,
					.null_frame_len = 13 };
	check_ret(uvh_inproc_new(&c, &fe), -EINVAL);
	c.null_frame_len = 65551;
	check_ret(uvh_inproc_new(&c, &fe), -EINVAL);
	check_ret(uvh_inproc_new(NULL, NULL), -EINVAL);
	assert_null(fe);
}

/* TSan does not see rings that the kernel copies, and so nothing that orders
 * buffers that are used by pointer. */
#ifdef __SANITIZE_THREAD__
#define COPIED_RINGS(name) T(name, copied)
#else
#define COPIED_RINGS(name) BOTH(name)
#endif

#define T(name, how) \
	cmocka_unit_test_setup_teardown(name, setup_##how, teardown)
#define BOTH(name)                                                   \
	{ #name "/pointers", name, setup_pointers, teardown, NULL }, \
	{                                                            \
		#name "/copied", name, setup_copied, teardown, NULL  \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(frames_go_both_ways),
		T(pairs_have_wires_of_their_own, pairs),
		T(null_port_makes_frames_up, null),
		BOTH(a_stopped_ring_says_how_far_it_came),
		T(errors_are_the_kernels, pointers),
		T(the_callers_descriptors_stay_the_callers, pointers),
		BOTH(memory_stays_mapped_after_its_region),
		BOTH(regions_may_share_memory),
		COPIED_RINGS(rings_may_be_outside_the_table),
		T(unmapped_memory_breaks_a_ring_that_copies, copied),
		T(dirty_pages_are_logged, pointers),
		BOTH(misses_come_to_the_handler),
		BOTH(misses_can_be_fetched),
		T(asids_and_batches_are_for_vdpa, pointers),
		cmocka_unit_test(log_lines_go_where_they_are_wanted),
		cmocka_unit_test(bad_configurations),
	};

	uvh_set_log(UVH_LOG_ERROR, NULL, NULL);
	return cmocka_run_group_tests_name("fe_inproc", tests, NULL, NULL);
}
