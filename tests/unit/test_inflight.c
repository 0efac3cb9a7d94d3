/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_inflight.c tests a device that dies between any two of its instructions,
 * and its successor.
 *
 * A child is stepped through one run of a ring. After each step that changed
 * the ring, the in-flight record or the number of frames sent, it counts as
 * dead: a successor starts from what it left, the driver must get all its
 * buffers back once, and no frame may be sent twice. Then memory is restored,
 * and the child takes its next step.
 */
#include "check.h"

#include <endian.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/sockios.h>
#include <linux/virtio_config.h>

#include "bytes.h"
#include "drv.h"
#include "inflight.h"
#include "inline_worker.h"
#include "sockport.h"
#include "vdev.h"

enum { RXQ, TXQ };

#define NUM 8
#define FRAMES 200 /* numbers of frames; also of buffers */
#define LEN 72
#define ROOM 256    /* of a buffer */
#define RING_OFF 0u /* in the arena */
#define RING_LEN 512u
#define RECORD_LEN 1024u
#define PACKED_BASE 0x80008000u
#define ROUNDS 2000
#define NEXT_ONES (2 * NUM + 3)

/* Steps and successors are expensive under a sanitizer. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define EVERY 41
#else
#define EVERY 1
#endif
/* One thread runs: one test is enough. */
#ifdef __SANITIZE_THREAD__
#define ONE_RUN true
#else
#define ONE_RUN false
#endif

/* ---- the driver: copied for each successor ---- */

/**
 * struct driver - buffers are numbered; they come back in their order
 * @cursors: the record is the device's own (vdev_config.cursors), and rings go
 *         on with vdev_resume(); NULL: it is a vhost-user frontend's
 * @repeats: with @cursors: rings go on with vdev_repeat(), at their first base
 * @mixed: packed: every third chain has two descriptors
 * @frame: RX: the last one that was in a buffer
 */
struct driver {
	struct arena *arena;
	bool packed, mixed, in_order, rx, repeats;
	uint8_t *cursors;
	struct drv ring;
	unsigned int offered, returned, descs;
	int frame;
};

static void driver_init(struct driver *d, struct arena *arena)
{
	d->arena = arena;
	d->frame = -1;
	drv_init(&d->ring, arena, RING_OFF, NUM, d->packed);
}

static unsigned int descs_of(const struct driver *d, unsigned int number)
{
	return d->mixed && number % 3 == 2 ? 2 : 1;
}

static uint64_t buffer(unsigned int number)
{
	return GPA_A + (number % FRAMES) * ROOM;
}

static bool has_room(const struct driver *d)
{
	return d->descs + descs_of(d, d->offered) <= NUM;
}

/* TX: the frame's bytes are its number. */
static void offer(struct driver *d)
{
	unsigned int n = d->offered++, descs = descs_of(d, n);
	uint16_t flags = d->rx ? VRING_DESC_F_WRITE : 0, id = n % NUM;
	uint32_t len = d->rx ? ROOM : LEN, half = descs == 2 ? LEN / 2 : 0;

	assert_in_range(d->descs + descs, 1, NUM);
	d->descs += descs;
	memset(arena_ram(d->arena, buffer(n)), (int)n, len);
	if (half)
		drv_offer(&d->ring, id, buffer(n), half,
			  flags | VRING_DESC_F_NEXT);
	drv_offer(&d->ring, id, buffer(n) + half, len - half, flags);
}

static void fill(struct driver *d)
{
	while (has_room(d) && d->offered < FRAMES)
		offer(d);
}

/* Buffers that come back are the next ones. */
static void took_back(struct driver *d, uint16_t id, uint32_t len)
{
	const uint8_t *p = arena_ram(d->arena, buffer(d->returned));

	if (!d->in_order)
		assert_int_equal(id, d->returned % NUM);
	assert_true(d->returned < d->offered);
	d->descs -= descs_of(d, d->returned);
	d->returned++;
	if (!d->rx) {
		assert_int_equal(len, 0);
		return;
	}
	if (!len)
		return; /* that frame is lost */
	assert_int_equal(len, LEN);
	assert_true(p[LEN - 1] > d->frame);
	d->frame = p[LEN - 1];
}

static void reap_packed(struct driver *d)
{
	while (drv_pending(&d->ring)) {
		uint16_t slot = d->ring.reaped & (DRV_WRAP - 1);
		uint16_t id = le16toh(d->ring.pdesc[slot].id);
		unsigned int descs = descs_of(d, d->returned);
		uint32_t len;

		/* in order, one stands for all before it */
		for (unsigned int n = d->returned; d->in_order && n % NUM != id;
		     n++)
			descs += descs_of(d, n + 1);
		len = drv_reap_chain(&d->ring, descs).len;
		do
			took_back(d, id, len);
		while (d->in_order && (d->returned - 1) % NUM != id);
	}
}

static void reap(struct driver *d)
{
	if (d->packed) {
		reap_packed(d);
		return;
	}
	while (drv_used_idx(&d->ring) != (uint16_t)d->returned) {
		struct vring_used_elem e = drv_reap(&d->ring);

		took_back(d, (uint16_t)e.id, e.len);
	}
}

/* ---- the device ---- */

struct backend {
	struct worker *worker;
	struct vdev *v;
	struct netport *port;
	int device, wire, kick, call;
};

static void open_vdev(struct backend *b, const struct driver *d)
{
	struct vdev_config config = { .worker = b->worker,
				      .any_layout = true,
				      .cursors = d->cursors,
				      .features = VDEV_OPTIONAL_FEATURES };
	struct vhost_memory_region table[3];
	struct aspace_map *maps[2], *record;
	void *p;

	log_tag_init(&config.tag, "dev");
	check_ret(vdev_new(&config, &b->v), 0);
	check_ret(vdev_set_owner(b->v, arena_aspace(d->arena)), 0);
	arena_table(d->arena, table);
	check_ret(vdev_set_mem_table(b->v, table, 3, maps,
				     arena_maps(d->arena, maps)),
		  0);
	check_ret(vdev_set_features(
			  b->v,
			  BIT(VIRTIO_F_VERSION_1) |
				  (d->packed ? BIT(VIRTIO_F_RING_PACKED) : 0) |
				  (d->in_order ? BIT(VIRTIO_F_IN_ORDER) : 0)),
		  0);
	if (d->cursors)
		return;
	p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
		 d->arena->memfd, SPARE_OFF);
	assert_ptr_not_equal(p, MAP_FAILED);
	record = aspace_map_new(0, PAGE, p);
	assert_non_null(record);
	vdev_set_inflight(b->v, record, 0, 2, NUM);
}

static void backend_open(struct backend *b, const struct driver *d)
{
	int fds[2];

	check_ret(worker_new("test", 0, &b->worker), 0);
	open_vdev(b, d);
	sockport_pair(fds);
	b->device = fds[0];
	b->wire = fds[1];
	b->kick = event_new();
	b->call = event_new();
	check_ret(netport_from_fd(dup(b->device), &b->port), 0);
}

/* @resume: after a death. @base: what the frontend knows of where the ring is.
 */
static void backend_start(struct backend *b, const struct driver *d,
			  bool resume)
{
	unsigned int qi = d->rx ? RXQ : TXQ;
	uint32_t base = d->packed    ? PACKED_BASE
			: d->repeats ? 0
				     : drv_used_idx(&d->ring);
	struct vhost_vring_addr addr = drv_addr(&d->ring, qi);

	check_ret(vdev_set_vring_num(b->v, qi, NUM), 0);
	check_ret(vdev_set_vring_base(b->v, qi, base), 0);
	check_ret(vdev_set_vring_addr(b->v, &addr), 0);
	check_ret(vdev_set_vring_kick(b->v, qi, dup(b->kick)), 0);
	check_ret(vdev_set_vring_call(b->v, qi, dup(b->call)), 0);
	if (!d->cursors) {
		check_ret(vdev_start(b->v, qi, b->port, true), 0);
		return;
	}
	/* The first one too: it has not run. */
	if (d->repeats)
		vdev_repeat(b->v, true);
	else
		vdev_resume(b->v, resume);
	check_ret(vdev_net_set_backend(b->v, qi, dup(b->device)), 0);
}

static void settle(struct backend *b)
{
	assert_true(worker_settle(b->worker, ROUNDS));
}

static void kick(struct backend *b)
{
	uint64_t one = 1;

	check_ret(write(b->kick, &one, sizeof(one)), sizeof(one));
	settle(b);
}

static void backend_close(struct backend *b)
{
	vdev_free(b->v);
	netport_close(b->port);
	worker_finish(b->worker);
	worker_join(b->worker);
	close(b->device);
	close(b->wire);
	close(b->kick);
	close(b->call);
}

static void to_wire(struct backend *b, unsigned int number)
{
	uint8_t buf[LEN];

	memset(buf, (int)number, sizeof(buf));
	check_ret(send(b->wire, buf, sizeof(buf), 0), sizeof(buf));
	settle(b);
}

/* ---- one that dies ---- */

/**
 * struct death - a child on its way, and what it has done
 * @ballast: bytes on the wire that are no frames
 * @first:   number of the first frame that it may send
 * @deep:    its successor is stepped through as well
 * @changes: places to die at so far
 * @runs:    successors so far
 */
struct death {
	struct driver *d;
	struct backend *b;
	bool deep;
	unsigned int ballast, first, sent, changes, runs;
	uint8_t ring[RING_LEN], record[RECORD_LEN], buffers[FRAMES * ROOM];
};

/* The memory that the successor finds. */
static uint8_t *record_of(const struct driver *d)
{
	unsigned int qi = d->rx ? RXQ : TXQ;

	return d->cursors ? d->cursors + qi * (vdev_cursor_size() / VDEV_VQS)
			  : d->arena->base + SPARE_OFF;
}

static void keep(struct death *x)
{
	const uint8_t *base = x->d->arena->base;

	memcpy(x->ring, base + RING_OFF, RING_LEN);
	memcpy(x->record, record_of(x->d), RECORD_LEN);
	memcpy(x->buffers, arena_ram(x->d->arena, buffer(0)), FRAMES * ROOM);
}

static void put_back(const struct death *x)
{
	uint8_t *base = x->d->arena->base;

	memcpy(base + RING_OFF, x->ring, RING_LEN);
	memcpy(record_of(x->d), x->record, RECORD_LEN);
	memcpy(arena_ram(x->d->arena, buffer(0)), x->buffers, FRAMES * ROOM);
}

static bool changed(const struct death *x)
{
	const uint8_t *base = x->d->arena->base;

	return memcmp(x->ring, base + RING_OFF, RING_LEN) != 0 ||
	       memcmp(x->record, record_of(x->d), RECORD_LEN) != 0;
}

/* Takes what is on the wire. */
static void count_frames(const struct backend *b, unsigned int seen[FRAMES])
{
	uint8_t buf[LEN + 1];
	ssize_t n;

	while ((n = recv(b->wire, buf, sizeof(buf), MSG_DONTWAIT)) > 0) {
		assert_int_equal(n, LEN);
		assert_in_range(buf[LEN - 1], 0, FRAMES - 1);
		seen[buf[LEN - 1]]++;
	}
}

/* The ring goes on as if nothing had been. */
static void goes_on(struct driver *d, struct backend *b,
		    unsigned int seen[FRAMES])
{
	for (unsigned int i = 0; i < NEXT_ONES; i++) {
		unsigned int number = d->offered;

		if (d->rx) {
			fill(d);
			kick(b);
			to_wire(b, number = FRAMES - NEXT_ONES + i);
			reap(d);
			assert_int_equal(d->frame, number);
			continue;
		}
		offer(d);
		kick(b);
		reap(d);
		count_frames(b, seen);
		assert_int_equal(d->returned, d->offered);
		assert_int_equal(seen[number], 1);
	}
}

/* @busy: the driver takes what was used, and fills the ring again. */
static void succeed(struct death *x, bool busy)
{
	unsigned int seen[FRAMES] = { 0 }, before = x->d->offered;
	struct driver d = *x->d;
	bool called;
	struct backend b;

	if (busy) {
		reap(&d);
		fill(&d);
	}
	backend_open(&b, &d);
	backend_start(&b, &d, true);
	settle(&b);
	called = event_take(b.call) > 0;
	count_frames(&b, seen);
	reap(&d);
	if (!d.rx) {
		assert_int_equal(d.returned, d.offered);
		assert_true(called);
	}
	for (unsigned int i = 0; i < x->sent; i++)
		seen[x->first + i]++;
	for (unsigned int i = 0; i < d.offered && !d.rx; i++)
		assert_in_range(seen[i], i >= before, 1);
	goes_on(&d, &b, seen);
	backend_close(&b);
	x->runs++;
}

static void step_through(struct death *x, void (*op)(struct death *));

static void start_only(struct death *x)
{
	backend_start(x->b, x->d, true);
}

/* The child is dead, for now. */
static void dead(struct death *x)
{
	for (unsigned int busy = 0; busy < 2; busy++) {
		if (x->deep && busy == 0) {
			struct backend b;
			struct death next = *x;

			backend_open(&b, x->d);
			next.b = &b;
			next.deep = false;
			next.ballast = UINT32_MAX;
			step_through(&next, start_only);
			x->runs = next.runs;
			backend_close(&b);
			put_back(x);
		}
		succeed(x, busy);
		put_back(x);
	}
}

/* Returns true if something is different. */
static bool look(struct death *x)
{
	unsigned int sent = x->sent;
	int bytes;

	if (x->ballast != UINT32_MAX) {
		check_ret(ioctl(x->b->wire, SIOCINQ, &bytes), 0);
		sent = ((unsigned int)bytes - x->ballast) / LEN;
	}
	if (sent == x->sent && !changed(x))
		return false;
	x->sent = sent;
	keep(x);
	return true;
}

/* Child and parent take turns, at each instruction: on one processor neither
 * has to wake the other one's. */
static void share_one_processor(void)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET((unsigned int)sched_getcpu(), &one);
	sched_setaffinity(0, sizeof(one), &one);
}

/* Runs @op in a child; it dies at all its steps. */
static void step_through(struct death *x, void (*op)(struct death *))
{
	pid_t pid = check_ok(fork());
	int status;

	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
			_exit(2);
		raise(SIGSTOP);
		op(x);
		_exit(0);
	}
	keep(x);
	for (;;) {
		check_ret(waitpid(pid, &status, 0), pid);
		if (!WIFSTOPPED(status))
			break;
		if (look(x) && x->changes++ % EVERY == 0)
			dead(x);
		check_ret(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 2)
		skip_because("processes may not be traced");
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* ---- runs ---- */

/**
 * struct run - what the child does when it is stepped through
 * @before: chains that went by already
 * @batch:  those that it finds
 * @room:   frames that the port takes then; 0: all
 * @cursor: with memory of the device's own
 * @copied: guest memory is copied
 * @repeats: as in struct driver
 */
struct run {
	bool packed, mixed, in_order, rx, deep, cursor, copied, repeats;
	unsigned int before, batch, room;
};

static void settle_only(struct death *x)
{
	settle(x->b);
}

static void go_by(struct driver *d, struct backend *b, unsigned int n)
{
	unsigned int seen[FRAMES] = { 0 };

	while (d->offered < n) {
		offer(d);
		kick(b);
		if (d->rx)
			to_wire(b, d->offered);
		reap(d);
		count_frames(b, seen);
		assert_int_equal(d->returned, d->offered);
	}
	event_take(b->call);
}

static uint8_t *new_cursors(void)
{
	void *p = mmap(NULL, vdev_cursor_size(), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

static void dies_anywhere(const struct run *r)
{
	struct driver d = { .packed = r->packed,
			    .mixed = r->mixed,
			    .in_order = r->in_order,
			    .rx = r->rx,
			    .repeats = r->repeats };
	struct death x = { .d = &d, .deep = r->deep && EVERY == 1 };
	struct arena arena;
	struct backend b;
	uint64_t one = 1;

	if (ONE_RUN && (!r->mixed || r->room))
		skip_because("a step takes too long");
	sockport = (struct sockport_script){ 0 };
	if (r->cursor)
		d.cursors = new_cursors();
	arena_open(&arena, r->copied ? COPIED : MAPPED);
	driver_init(&d, &arena);
	backend_open(&b, &d);
	backend_start(&b, &d, false);
	settle(&b);
	go_by(&d, &b, r->before);
	x.b = &b;
	x.first = d.offered;
	if (r->room) {
		x.ballast = sockport_stuff(b.device);
		sockport_unstuff(b.wire, r->room);
		x.ballast -= r->room;
	}
	for (unsigned int i = 0; i < r->batch; i++)
		offer(&d);
	for (unsigned int i = 0; i < r->batch && r->rx; i++) {
		uint8_t buf[LEN];

		memset(buf, (int)(r->before + 1 + i), sizeof(buf));
		check_ret(send(b.wire, buf, LEN, 0), LEN);
	}
	check_ret(write(b.kick, &one, sizeof(one)), sizeof(one));
	step_through(&x, settle_only);
	assert_int_equal(x.sent, r->rx ? 0 : r->room ? r->room : r->batch);
	print_message("# %u successors\n", x.runs);
	assert_true(x.runs > (r->copied ? 4 : 10) / EVERY);
	backend_close(&b);
	arena_close(&arena);
	if (d.cursors)
		munmap(d.cursors, vdev_cursor_size());
}

/* ---- tests ---- */

static void split_backend_dies_at_any_point(void **state)
{
	(void)state;
	dies_anywhere(&(struct run){ .batch = 5 });
	dies_anywhere(&(struct run){ .before = 6, .batch = NUM });
}

static void split_backend_dies_with_a_full_port(void **state)
{
	(void)state;
	dies_anywhere(&(struct run){ .before = 3, .batch = 7, .room = 3 });
}

static void split_backend_dies_twice(void **state)
{
	(void)state;
	dies_anywhere(&(struct run){
		.before = 6, .batch = 5, .room = 2, .deep = true });
}

static void packed_backend_dies_at_any_point(void **state)
{
	(void)state;
	dies_anywhere(&(struct run){ .packed = true, .batch = 5 });
	/* across the wrap, and exactly one lap */
	dies_anywhere(&(struct run){ .packed = true, .before = 5, .batch = 6 });
	dies_anywhere(
		&(struct run){ .packed = true, .before = 3, .batch = NUM });
	dies_anywhere(
		&(struct run){ .packed = true, .before = NUM, .batch = NUM });
}

static void packed_backend_dies_with_long_chains(void **state)
{
	(void)state;
	dies_anywhere(&(struct run){
		.packed = true, .mixed = true, .before = 4, .batch = 6 });
}

static void packed_backend_dies_in_order(void **state)
{
	(void)state;
	dies_anywhere(&(struct run){
		.packed = true, .in_order = true, .before = 5, .batch = 6 });
}

static void packed_backend_dies_with_a_full_port(void **state)
{
	(void)state;
	dies_anywhere(&(struct run){
		.packed = true, .before = 3, .batch = 7, .room = 3 });
	dies_anywhere(&(struct run){ .packed = true,
				     .mixed = true,
				     .before = 3,
				     .batch = 6,
				     .room = 2 });
}

static void packed_backend_dies_twice(void **state)
{
	(void)state;
	dies_anywhere(&(struct run){ .packed = true,
				     .mixed = true,
				     .before = 4,
				     .batch = 4,
				     .room = 2,
				     .deep = true });
}

static void receiving_backend_dies_at_any_point(void **state)
{
	(void)state;
	dies_anywhere(&(struct run){ .rx = true, .before = 5, .batch = 6 });
	dies_anywhere(&(struct run){
		.packed = true, .rx = true, .before = 5, .batch = 6 });
	dies_anywhere(&(struct run){
		.packed = true, .rx = true, .before = 3, .batch = NUM });
}

/* The next device is told that the ring has no backend any more. */
static void stays(bool packed, uint32_t want)
{
	struct driver d = { .packed = packed, .cursors = new_cursors() };
	uint32_t base = packed ? PACKED_BASE : 0;
	struct arena arena;
	struct backend b;

	sockport = (struct sockport_script){ 0 };
	arena_open(&arena, MAPPED);
	driver_init(&d, &arena);
	backend_open(&b, &d);
	backend_start(&b, &d, false);
	settle(&b);
	go_by(&d, &b, 6);
	backend_close(&b);

	backend_open(&b, &d);
	check_ret(vdev_set_vring_num(b.v, TXQ, NUM), 0);
	check_ret(vdev_set_vring_base(b.v, TXQ, base), 0);
	vdev_resume(b.v, true);
	check_ret(vdev_net_set_backend(b.v, TXQ, VDEV_FD_NONE), 0);
	check_ret(vdev_get_vring_base(b.v, TXQ, &base), 0);
	assert_int_equal(base, want);
	backend_close(&b);
	arena_close(&arena);
	munmap(d.cursors, vdev_cursor_size());
}

static void a_ring_that_does_not_go_on_says_how_far_it_came(void **state)
{
	(void)state;
	stays(false, 6);
	stays(true, 0x80068006);
}

/* All that a character device may be killed in. */
static void cursors_of(bool copied, bool repeats)
{
	static const struct run runs[] = {
		{ .before = 6, .batch = 7 },
		{ .before = 3, .batch = 7, .room = 3 },
		{ .rx = true, .before = 5, .batch = 6 },
		{ .packed = true, .mixed = true, .before = 4, .batch = 6 },
		{ .packed = true, .before = 3, .batch = NUM, .room = 3 },
		{ .packed = true, .in_order = true, .before = 5, .batch = 6 },
		{ .packed = true, .rx = true, .before = 5, .batch = 6 },
		{ .packed = true, .rx = true, .before = 3, .batch = NUM },
	};

	for (size_t i = 0; i < ARRAY_SIZE(runs); i++) {
		struct run r = runs[i];

		r.cursor = true;
		r.copied = copied;
		r.repeats = repeats;
		dies_anywhere(&r);
	}
}

static void a_device_dies_with_its_cursor(void **state)
{
	(void)state;
	cursors_of(false, false);
}

/* The call that started the ring is made again, with the base of then. */
static void a_device_dies_before_its_start_is_known(void **state)
{
	(void)state;
	cursors_of(false, true);
}

static void a_device_dies_with_copied_memory(void **state)
{
	(void)state;
	cursors_of(true, false);
}

static void a_device_dies_twice_with_its_cursor(void **state)
{
	struct run r = {
		.cursor = true, .before = 6, .batch = 3, .room = 2, .deep = true
	};

	(void)state;
	dies_anywhere(&r);
	r.packed = r.mixed = true;
	dies_anywhere(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(split_backend_dies_at_any_point),
		cmocka_unit_test(split_backend_dies_with_a_full_port),
		cmocka_unit_test(split_backend_dies_twice),
		cmocka_unit_test(packed_backend_dies_at_any_point),
		cmocka_unit_test(packed_backend_dies_with_long_chains),
		cmocka_unit_test(packed_backend_dies_in_order),
		cmocka_unit_test(packed_backend_dies_with_a_full_port),
		cmocka_unit_test(packed_backend_dies_twice),
		cmocka_unit_test(receiving_backend_dies_at_any_point),
		cmocka_unit_test(
			a_ring_that_does_not_go_on_says_how_far_it_came),
		cmocka_unit_test(a_device_dies_with_its_cursor),
		cmocka_unit_test(a_device_dies_before_its_start_is_known),
		cmocka_unit_test(a_device_dies_with_copied_memory),
		cmocka_unit_test(a_device_dies_twice_with_its_cursor),
	};

	log_set_level(LOG_LEVEL_ERROR);
	share_one_processor();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
