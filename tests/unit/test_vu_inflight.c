/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_vu_inflight.c tests a backend that is killed in the middle of a batch,
 * and its successor: no frame is sent twice, and the driver gets all its
 * buffers back. The backend that is killed is a process of its own.
 */
#include "check.h"

#include <endian.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/virtio_config.h>

#include "bytes.h"
#include "inflight.h"
#include "vufix.h"

#define PF(name) BIT(VHOST_USER_PROTOCOL_F_##name)
#define NUM 16
#define BATCH 8
#define FRAMES 64 /* sequence numbers */
#define LEN 72
#define RING_OFF 0x10000
#define PACKED_BASE 0x80008000u

/* ---- the one that dies ---- */

static unsigned int frames_to_live;

static int mortal_send(struct netport *port, const struct frame *frames,
		       unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		struct msghdr mh = { .msg_iov = frames[i].iov,
				     .msg_iovlen = frames[i].iovcnt };

		if (sendmsg(port->fd, &mh, 0) < 0 || !--frames_to_live)
			kill(getpid(), SIGKILL);
	}
	return (int)n;
}

static int mortal_recv(struct netport *port, struct frame *frames,
		       unsigned int n)
{
	(void)port;
	(void)frames;
	(void)n;
	return -EAGAIN;
}

static const struct netport_ops mortal_ops = {
	.name = "mortal",
	.send = mortal_send,
	.recv = mortal_recv,
};

static int open_mortal(void *ctx, unsigned int pair, struct netport **rx,
		       struct netport **tx)
{
	struct vufix *f = ctx;

	*rx = NULL;
	*tx = calloc(1, sizeof(**tx));
	if (!*tx)
		return -ENOMEM;
	(*tx)->ops = &mortal_ops;
	(*tx)->fd = f->backend[pair];
	return 0;
}

/* Serves f->fe until it has sent @frames frames. */
static pid_t serve_and_die(struct vufix *f, unsigned int frames)
{
	struct vu_session_config config = f->config;
	struct vu_session *s;
	int fds[2];
	pid_t pid;

	check_ret(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	pid = check_ok(fork());
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		alarm(20);
		close(fds[0]); /* or it would not see the other end go */
		frames_to_live = frames;
		config.open_ports = open_mortal;
		if (vu_session_new(&config, fds[1], &s) < 0)
			_exit(1);
		for (;;)
			pause();
	}
	close(fds[1]);
	f->acks = false;
	vu_endpoint_init(&f->fe, fds[0]);
	return pid;
}

/* ---- the driver, in both formats ---- */

struct driver {
	struct vufix *f;
	bool packed;
	struct drv ring;
	unsigned int offered;
	unsigned int seen[FRAMES];
};

static void driver_init(struct driver *d, struct vufix *f, bool packed)
{
	*d = (struct driver){ .f = f, .packed = packed };
	drv_init(&d->ring, &f->arena, RING_OFF, NUM, packed);
}

/* A frame whose bytes are its number. */
static void offer(struct driver *d)
{
	uint64_t gpa = GPA_A + d->offered * 256;
	uint16_t id = d->offered % NUM;

	memset(arena_ram(&d->f->arena, gpa), (int)d->offered, LEN);
	drv_offer(&d->ring, id, gpa, LEN, 0);
	d->offered++;
}

/* Offered so that the device sees all of them at once. */
static void offer_batch(struct driver *d, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		offer(d);
	vf_kick(d->f, 1);
}

static bool all_used(const struct driver *d)
{
	if (!d->packed)
		return drv_used_idx(&d->ring) == d->offered;
	return drv_used_at(&d->ring, drv_after(&d->ring, d->offered - 1));
}

static void wait_all_used(struct driver *d)
{
	for (unsigned int i = 0; i < VUFIX_MS && !all_used(d); i++) {
		vf_wait(d->f->call[1], 1); /* 1 ms, or a call before it */
		event_take(d->f->call[1]);
	}
	assert_true(all_used(d));
}

static void collect(struct driver *d)
{
	uint8_t buf[LEN + 1];

	while (recv(d->f->wire[0], buf, sizeof(buf), MSG_DONTWAIT) == LEN)
		d->seen[buf[LEN - 1] % FRAMES]++;
}

/* ---- the frontend ---- */

static struct vu_inflight get_inflight(struct vufix *f, int *fd)
{
	struct vu_inflight i = { .num_queues = 2, .queue_size = NUM };
	struct vu_msg m;

	vf_send(f, VHOST_USER_GET_INFLIGHT_FD, 0, &i, sizeof(i), NULL, 0);
	vf_reply(f, VHOST_USER_GET_INFLIGHT_FD, &m);
	assert_int_equal(m.nfds, 1);
	assert_int_equal(m.payload.inflight.num_queues, 2);
	assert_int_equal(m.payload.inflight.queue_size, NUM);
	*fd = vu_msg_take_fd(&m, 0);
	return m.payload.inflight;
}

static uint64_t features(const struct driver *d)
{
	return BIT(VIRTIO_F_VERSION_1) |
	       (d->packed ? BIT(VIRTIO_F_RING_PACKED) : 0);
}

static uint64_t start_ring(struct driver *d, uint32_t base)
{
	struct vufix *f = d->f;
	struct vhost_vring_addr addr = drv_addr(&d->ring, 1);

	check_ret(vf_call_state(f, VHOST_USER_SET_VRING_NUM, 1, NUM), 0);
	check_ret(vf_call_state(f, VHOST_USER_SET_VRING_BASE, 1, base), 0);
	check_ret(vf_call(f, VHOST_USER_SET_VRING_ADDR, &addr, sizeof(addr),
			  NULL, 0),
		  0);
	check_ret(vf_call_fd(f, VHOST_USER_SET_VRING_CALL, 1, f->call[1]), 0);
	check_ret(vf_call_state(f, VHOST_USER_SET_VRING_ENABLE, 1, 1), 0);
	return vf_call_fd(f, VHOST_USER_SET_VRING_KICK, 1, f->kick[1]);
}

static void begin(struct driver *d)
{
	vf_hello(d->f, PF(INFLIGHT_SHMFD));
	vf_features(d->f, features(d));
	check_ret(vf_table(d->f), 0);
}

static uint64_t set_inflight(struct vufix *f, struct vu_inflight i, int fd)
{
	return vf_call(f, VHOST_USER_SET_INFLIGHT_FD, &i, sizeof(i), &fd, 1);
}

/* What a frontend knows when the backend has died: the used index, if there is
 * one. */
static uint32_t lost_base(const struct driver *d)
{
	return d->packed ? PACKED_BASE : drv_used_idx(&d->ring);
}

static void dies_after(struct vufix *f, bool packed, unsigned int before,
		       unsigned int frames)
{
	struct vu_inflight i;
	struct driver d;
	int fd, status;
	pid_t pid;

	pid = serve_and_die(f, before + frames);
	driver_init(&d, f, packed);
	begin(&d);
	i = get_inflight(f, &fd);
	check_ret(set_inflight(f, i, fd), 0);
	check_ret(start_ring(&d, packed ? PACKED_BASE : 0), 0);
	for (unsigned int k = 0; k < before; k++) {
		offer_batch(&d, 1);
		wait_all_used(&d);
	}
	/* The ring is stopped while the batch is prepared. */
	check_ret(vf_get_base(f, 1),
		  packed ? (before % NUM | (before / NUM % 2 ? 0 : 0x8000)) *
				   0x10001u
			 : before);
	offer_batch(&d, BATCH);
	vf_call_state(
		f, VHOST_USER_SET_VRING_BASE, 1,
		packed ? (before % NUM | (before / NUM % 2 ? 0 : 0x8000)) *
				 0x10001u
		       : before);
	vf_send(f, VHOST_USER_SET_VRING_KICK, 0, &(uint64_t){ 1 }, 8,
		&f->kick[1], 1);
	check_ret(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	vu_endpoint_close(&f->fe);
	collect(&d);
	for (unsigned int k = 0; k < before + frames; k++)
		assert_int_equal(d.seen[k], 1);

	vufix_connect(f);
	begin(&d);
	check_ret(set_inflight(f, i, fd), 0);
	check_ret(start_ring(&d, lost_base(&d)), 0);
	wait_all_used(&d);
	collect(&d);
	/* nothing twice; what had not gone yet is lost, as packets may be */
	for (unsigned int k = 0; k < d.offered; k++)
		assert_in_range(d.seen[k], k < before + frames, 1);
	for (unsigned int k = 0; k < 20; k++) {
		unsigned int number = d.offered;

		offer_batch(&d, 1);
		wait_all_used(&d);
		collect(&d);
		assert_int_equal(d.seen[number], 1);
	}
	vufix_hang_up(f);
	close(fd);
}

static void nothing_is_sent_twice(void **state)
{
	struct vufix *f = *state;

	vufix_hang_up(f);
	for (unsigned int frames = 1; frames <= BATCH; frames++) {
		dies_after(f, false, 0, frames);
		dies_after(f, false, 13, frames);
	}
}

static void nothing_is_sent_twice_packed(void **state)
{
	struct vufix *f = *state;

	vufix_hang_up(f);
	for (unsigned int frames = 1; frames <= BATCH; frames++) {
		dies_after(f, true, 0, frames);
		dies_after(f, true, 13, frames); /* across the wrap */
	}
}

/* ---- states that cannot be hit from outside ---- */

/**
 * struct stopped - a ring that has moved BATCH frames and was stopped cleanly
 * @tx: its part of the record
 */
struct stopped {
	struct driver d;
	struct vu_inflight i;
	int fd;
	uint8_t *all, *tx;
};

static void stop_cleanly(struct vufix *f, bool packed, struct stopped *s)
{
	driver_init(&s->d, f, packed);
	begin(&s->d);
	s->i = get_inflight(f, &s->fd);
	check_ret(set_inflight(f, s->i, s->fd), 0);
	check_ret(start_ring(&s->d, packed ? PACKED_BASE : 0), 0);
	offer_batch(&s->d, BATCH);
	wait_all_used(&s->d);
	collect(&s->d);
	check_ret(vf_get_base(f, 1),
		  packed ? BATCH * 0x10001u + PACKED_BASE : BATCH);
	s->all = mmap(NULL, s->i.mmap_size, PROT_READ | PROT_WRITE, MAP_SHARED,
		      s->fd, 0);
	assert_ptr_not_equal(s->all, MAP_FAILED);
	s->tx = s->all + inflight_stride(NUM, packed);
}

static void free_stopped(struct stopped *s)
{
	munmap(s->all, s->i.mmap_size);
	close(s->fd);
}

/* Dead after the used index was stored, before the marks were taken away. */
static void used_chains_are_not_returned_again(void **state)
{
	struct vufix *f = *state;
	struct stopped s;
	uint16_t used;

	stop_cleanly(f, false, &s);
	memcpy(&used, s.tx + 14, 2);
	assert_int_equal(used, BATCH);
	used -= 3; /* as if they were one batch: the list has them in front */
	memcpy(s.tx + 14, &used, 2);
	for (unsigned int i = BATCH - 3; i < BATCH; i++)
		s.tx[16 + 16 * i] = 1;
	check_ret(start_ring(&s.d, BATCH), 0);
	offer_batch(&s.d, 1);
	wait_all_used(&s.d);
	assert_int_equal(drv_used_idx(&s.d.ring), BATCH + 1);
	free_stopped(&s);
}

/* And with a mark besides, of a chain that never came back. */
static void a_chain_that_is_marked_comes_back(void **state)
{
	struct vufix *f = *state;
	struct vring_used_elem e = { 0 };
	struct stopped s;

	stop_cleanly(f, false, &s);
	offer(&s.d); /* taken, not used */
	s.tx[16 + 16 * BATCH] = 1;
	check_ret(start_ring(&s.d, BATCH), 0);
	wait_all_used(&s.d);
	for (unsigned int i = 0; i <= BATCH; i++)
		e = drv_reap(&s.d.ring);
	assert_int_equal(e.id, BATCH);
	assert_int_equal(e.len, 0);
	assert_false(vf_wait(f->wire[0], 50));
	assert_int_equal(s.tx[16 + 16 * BATCH], 0);
	free_stopped(&s);
}

static void an_invalid_record_does_no_harm(void **state)
{
	struct vufix *f = *state;

	srand(1);
	for (unsigned int i = 0; i < 200; i++) {
		struct stopped s;
		size_t size;

		stop_cleanly(f, i % 2, &s);
		size = 2 * inflight_stride(NUM, i % 2);
		for (size_t k = 0; k < size; k++)
			if (rand() % 4 == 0)
				s.all[k] = (uint8_t)rand();
		s.tx[8] = 1; /* the version */
		s.tx[9] = 0;
		start_ring(&s.d, i % 2 ? PACKED_BASE : BATCH);
		offer_batch(&s.d, 4);
		vf_sync(f);
		vf_get_base(f, 1);
		free_stopped(&s);
		vufix_hang_up(f);
		vufix_connect(f);
		collect(&s.d);
	}
}

/* The record is a file of the frontend's, and can shrink like any other. */
static void a_record_that_shrinks_costs_that_ring_only(void **state)
{
	struct vufix *f = *state;
	struct vu_inflight i;
	struct driver d;
	int fd = check_ok(memfd_create("record", MFD_CLOEXEC));

	aspace_guard_install(); /* cmocka has a handler of its own */
	driver_init(&d, f, false);
	begin(&d);
	i = (struct vu_inflight){ .mmap_size = 64 * PAGE,
				  .num_queues = 2,
				  .queue_size = NUM };
	check_ret(ftruncate(fd, 64 * PAGE), 0);
	check_ret(set_inflight(f, i, fd), 0);
	check_ret(start_ring(&d, 0), 0);
	check_ret(vf_call_fd(f, VHOST_USER_SET_VRING_ERR, 1, f->err[1]), 0);
	check_ret(ftruncate(fd, 0), 0);
	offer_batch(&d, 1);
	wait_all_used(&d); /* the batch is finished */
	offer_batch(&d, 1);
	assert_true(vf_wait(f->err[1], VUFIX_MS));
	vf_sync(f);
	close(fd);
}

static void the_size_of_the_record_is_checked(void **state)
{
	struct vufix *f = *state;
	struct vu_inflight i, bad;
	struct driver d;
	struct vu_msg m;
	int fd;

	driver_init(&d, f, false);
	begin(&d);
	i = get_inflight(f, &fd);
	bad = i;
	bad.num_queues = 3;
	assert_int_equal(set_inflight(f, bad, fd), EINVAL);
	bad.num_queues = 0;
	vf_send(f, VHOST_USER_GET_INFLIGHT_FD, 0, &bad, sizeof(bad), NULL, 0);
	vf_reply(f, VHOST_USER_GET_INFLIGHT_FD, &m);
	assert_int_equal(m.payload.inflight.mmap_size, 0);
	assert_int_equal(m.nfds, 0);
	bad = i;
	bad.mmap_offset = 4;
	bad.mmap_size -= 4;
	assert_int_equal(set_inflight(f, bad, fd), EINVAL);
	bad = i;
	bad.mmap_size++;
	assert_int_equal(set_inflight(f, bad, fd), ENXIO);
	/* too small for the ring: that is seen when it starts */
	bad = i;
	bad.queue_size = NUM / 2;
	check_ret(set_inflight(f, bad, fd), 0);
	assert_int_equal(start_ring(&d, 0), EINVAL);
	vf_get_base(f, 1);
	bad = i;
	bad.mmap_size = 100;
	check_ret(set_inflight(f, bad, fd), 0);
	assert_int_equal(start_ring(&d, 0), EINVAL);
	vf_get_base(f, 1);
	check_ret(set_inflight(f, i, fd), 0);
	check_ret(start_ring(&d, 0), 0);
	close(fd);
}

/* The structure as QEMU, DPDK and rust-vmm have it, and as the text lists it.
 */
static void the_padding_may_be_left_out(void **state)
{
	static const uint32_t size[] = { 20, 24 };
	struct vu_inflight i = { .num_queues = 2, .queue_size = NUM };
	struct vufix *f = *state;
	struct vu_msg m;

	vf_hello(f, PF(INFLIGHT_SHMFD));
	for (unsigned int k = 0; k < ARRAY_SIZE(size); k++) {
		vf_send(f, VHOST_USER_GET_INFLIGHT_FD, 0, &i, size[k], NULL, 0);
		vf_reply(f, VHOST_USER_GET_INFLIGHT_FD, &m);
		assert_int_equal(m.hdr.size, size[k]);
		assert_int_equal(m.nfds, 1);
		check_ret(vf_call(f, VHOST_USER_SET_INFLIGHT_FD,
				  &m.payload.inflight, size[k], m.fds, 1),
			  0);
		vu_msg_close_fds(&m);
	}
	vf_send(f, VHOST_USER_GET_INFLIGHT_FD, 0, &i, 22, NULL, 0);
	assert_true(vufix_wait_closed(f));
}

#define ONE_PAIR(test) \
	cmocka_unit_test_setup_teardown(test, vufix_setup, vufix_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ONE_PAIR(nothing_is_sent_twice),
		ONE_PAIR(nothing_is_sent_twice_packed),
		ONE_PAIR(used_chains_are_not_returned_again),
		ONE_PAIR(a_chain_that_is_marked_comes_back),
		ONE_PAIR(an_invalid_record_does_no_harm),
		ONE_PAIR(a_record_that_shrinks_costs_that_ring_only),
		ONE_PAIR(the_size_of_the_record_is_checked),
		ONE_PAIR(the_padding_may_be_left_out),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
