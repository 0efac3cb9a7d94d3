/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_devlink.c tests the remote link and the worker process's side of it,
 * over a socket pair within this process.
 *
 * Two threads stand for the two processes: the session's worker has the links,
 * the other one the device session that serves the remote link. What calls give
 * is compared with a local link to an equal device session. Where a side
 * misbehaves, the test's thread plays it with messages of its own.
 */
#include "check.h"

#include <fcntl.h>
#include <poll.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>

#include "abi.h"
#include "arena.h"
#include "attach.h"
#include "bytes.h"
#include "devlink_remote.h"
#include "devmem.h"
#include "fdmsg.h"
#include "random.h"
#include "sockport.h"
#include "vdev.h"
#include "worker.h"
#include "wserve.h"

#define DEADLINE_MS 60000
#define REGIONS_MAX 256

enum { LOCAL, REMOTE };

/* What the events of a link did; the session's thread writes it. */
struct events {
	atomic_uint iotlb, gone, interrupts, faults;
	unsigned int give_up_after; /* interrupts; 0: never */
	atomic_int fault_result;
	uint64_t fault_uva, fault_len;
	bool fault_write;
};

struct fixture {
	struct worker *session, *process;
	struct attach *attach;
	struct log_tag tag;
	struct log_limit limit;
	unsigned int fds;

	/* the session's */
	struct devlink *link[2];
	struct events events[2];
	bool malformed;
	struct devmem *mem[2];
	int memory[2]; /* of the owner, a file with the same bytes */

	/* the worker process's */
	struct devmem *process_mem;
	struct wserve *serve;
	struct devsession_config device;
	struct wserve_start start;
	int start_result;
	struct loop_job serve_job;
	sem_t ended;
	int ended_with;

	int end[2]; /* of the socket pair; -1: someone has it */
	int kept;   /* a copy of the broker's end, as a bag has it; -1 */
};

enum { BROKER, PROCESS };

/* ---- the log ---- */

static atomic_uint lines;

static void count_line(void *ctx, enum log_level level, const char *line)
{
	(void)ctx;
	(void)level;
	if (strstr(line, "malformed"))
		lines++;
}

/* ---- waiting ---- */

static void wait_for(sem_t *sem)
{
	struct timespec at;

	clock_gettime(CLOCK_REALTIME, &at);
	at.tv_sec += DEADLINE_MS / 1000;
	while (sem_timedwait(sem, &at) < 0)
		if (errno != EINTR)
			fail_msg("it did not happen in time");
}

static void wait_until(atomic_uint *count, unsigned int n)
{
	for (unsigned int ms = 0; atomic_load(count) < n; ms++) {
		if (ms == DEADLINE_MS)
			fail_msg("%u of %u came in time", *count, n);
		usleep(1000);
	}
}

static void nothing(void *arg)
{
	(void)arg;
}

/* All that was posted to the worker before has run. */
static void settle(struct worker *w)
{
	worker_call(w, nothing, NULL);
}

/* ---- events of a link ---- */

static void on_iotlb(void *ctx)
{
	struct events *e = ctx;

	e->iotlb++;
}

static void on_gone(void *ctx)
{
	struct events *e = ctx;

	e->gone++;
}

static bool on_interrupted(void *ctx)
{
	struct events *e = ctx;

	return ++e->interrupts == e->give_up_after;
}

static int on_fault_in(void *ctx, bool write, uint64_t uva, uint64_t len)
{
	struct events *e = ctx;

	e->fault_write = write;
	e->fault_uva = uva;
	e->fault_len = len;
	e->faults++;
	return e->fault_result;
}

/* ---- the worker process ---- */

/* The device session's callbacks are the server's: tests call them. */
static _Thread_local struct devsession_config *captured;

int __real_devsession_new(const struct devsession_config *config,
			  struct devsession **out);
int __wrap_devsession_new(const struct devsession_config *config,
			  struct devsession **out);

int __wrap_devsession_new(const struct devsession_config *config,
			  struct devsession **out)
{
	if (captured)
		*captured = *config;
	return __real_devsession_new(config, out);
}

static void on_ended(void *ctx, int error)
{
	struct fixture *f = ctx;

	f->ended_with = error;
	sem_post(&f->ended);
}

/* As if the worker process had been started with the memory. */
static int inherited(const struct fixture *f)
{
	return check_ok(fcntl(devmem_fd(f->mem[REMOTE]), F_DUPFD_CLOEXEC, 3));
}

/* On the process's thread: as the program does it. */
static void serve(void *arg)
{
	struct fixture *f = arg;
	int memory = inherited(f);
	struct devsession_config device = {
		.worker = f->process,
		.tag = f->tag,
		.limit = &f->limit,
		.attach = f->attach,
	};
	struct wserve_config config = { .sock = f->end[PROCESS],
					.device = &device,
					.ended = on_ended,
					.ctx = f };

	f->start.mem_fd = -1;
	f->start_result = wserve_await_start(config.sock, memory, &f->start);
	if (f->start.mem_fd < 0)
		close(memory);
	if (f->start_result < 0)
		return;
	if (f->start.mem_fd >= 0 &&
	    devmem_adopt(f->start.mem_fd, vdev_cursor_size(), &f->process_mem) <
		    0) {
		wserve_refuse(config.sock, &f->start, -EBADMSG);
		close(f->start.mem_fd);
		return;
	}
	device.features = f->start.start.features;
	device.max_mem_regions = f->start.start.max_mem_regions;
	device.mem = f->process_mem;
	config.seq = f->start.seq;
	captured = &f->device;
	f->start_result = wserve_new(&config, &f->serve);
	captured = NULL;
	if (f->start_result == 0)
		f->end[PROCESS] = -1;
}

static void serve_soon(struct fixture *f)
{
	f->serve_job = (struct loop_job){ .fn = serve, .arg = f };
	worker_post(f->process, &f->serve_job);
}

static void unserve(void *arg)
{
	struct fixture *f = arg;

	wserve_free(f->serve);
	f->serve = NULL;
	devmem_free(f->process_mem);
	f->process_mem = NULL;
}

/* ---- the links ---- */

static struct devlink_config link_config(struct fixture *f, int which)
{
	return (struct devlink_config){
		.worker = f->session,
		.tag = &f->tag,
		.limit = &f->limit,
		.attach = f->attach,
		.max_mem_regions = REGIONS_MAX,
		.busy_poll_us = 17,
		.stall_ms = 18,
		.mem = f->mem[which],
		.events = { .iotlb = on_iotlb,
			    .gone = on_gone,
			    .fault_in = on_fault_in,
			    .ctx = &f->events[which] },
	};
}

enum kind {
	LINK_LOCAL,
	LINK_NEW,
	LINK_ADOPT,
	IOCTL,
	READ,
	WRITE,
	READABLE,
	RESUME,
	REPLAY,
	PRINT,
	REPEAT,
	UNLINK,
};

/* One function of a link, which runs on the session's thread. */
struct op {
	struct fixture *f;
	int which;
	enum kind kind;

	struct ioctl_call call;
	struct call_facts facts;
	struct ioctl_verdict v;
	struct wmsg_hello hello;
	void *buf;
	size_t len;
	ssize_t n;
	bool on, was_reset, yes;
	uint64_t seq;
	char *text;
	int ret;

	struct loop_job job;
	sem_t done;
};

static int op_link(struct op *op)
{
	struct fixture *f = op->f;
	struct devlink_config config = link_config(f, op->which);
	struct devlink_remote_config remote = {
		.sock = f->end[BROKER],
		.interrupted = on_interrupted,
		.ctx = &f->events[op->which],
		.malformed = &f->malformed,
	};
	struct devlink **out = &f->link[op->which];
	int ret;

	if (op->kind == LINK_LOCAL)
		return devlink_local_new(&config, out);
	if (op->kind == LINK_NEW)
		ret = devlink_remote_new(&config, &remote, out);
	else
		ret = devlink_remote_adopt(&config, &remote, &op->hello, out);
	if (ret == 0)
		f->end[BROKER] = -1;
	return ret;
}

static int op_run(struct op *op)
{
	struct devlink **l = &op->f->link[op->which];

	switch (op->kind) {
	case LINK_LOCAL:
	case LINK_NEW:
	case LINK_ADOPT:
		return op_link(op);
	case IOCTL:
		return devlink_ioctl(*l, &op->call, &op->facts, &op->v);
	case READ:
		return devlink_read(*l, op->buf, op->len, &op->n);
	case WRITE:
		return devlink_write(*l, op->buf, op->len, op->facts.mem_fd,
				     &op->n);
	case READABLE:
		return devlink_readable(*l, &op->yes);
	case RESUME:
		return devlink_resume(*l, op->on, op->was_reset);
	case REPLAY:
		return devlink_replay_iotlb(*l);
	case PRINT:
		return devlink_print(*l, &op->text);
	case REPEAT:
		devlink_remote_repeat(*l, op->seq);
		return 0;
	case UNLINK:
		devlink_free(*l);
		*l = NULL;
		return 0;
	}
	return -EINVAL;
}

static void op_fn(void *arg)
{
	struct op *op = arg;

	op->ret = op_run(op);
}

static void op_job(void *arg)
{
	struct op *op = arg;

	op->ret = op_run(op);
	sem_post(&op->done);
}

static int do_op(struct op *op)
{
	worker_call(op->f->session, op_fn, op);
	return op->ret;
}

/* Starts it; end_op() waits for its end. */
static void start_op(struct op *op)
{
	sem_init(&op->done, 0, 0);
	op->job = (struct loop_job){ .fn = op_job, .arg = op };
	worker_post(op->f->session, &op->job);
}

static int end_op(struct op *op)
{
	wait_for(&op->done);
	sem_destroy(&op->done);
	return op->ret;
}

static struct op op_of(struct fixture *f, enum kind kind)
{
	return (struct op){
		.f = f, .which = REMOTE, .kind = kind, .facts = CALL_FACTS_NONE
	};
}

static int simply(struct fixture *f, enum kind kind)
{
	struct op op = op_of(f, kind);

	return do_op(&op);
}

/* ---- fixtures ---- */

/* Both threads, and the socket pair. */
static struct fixture *open_fixture(void)
{
	const struct attach_config attach = { .queues = 1 };
	struct fixture *f = calloc(1, sizeof(*f));
	char error[200];

	assert_non_null(f);
	f->fds = count_fds();
	f->kept = -1;
	lines = 0;
	log_set_sink(count_line, NULL);
	log_set_level(LOG_LEVEL_WARNING);
	log_tag_init(&f->tag, "dev/7");
	log_limit_init(&f->limit, LOG_LINES_ALL, NULL);
	sem_init(&f->ended, 0, 0);
	check_ret(attach_new(&attach, &f->attach, error, sizeof(error)), 0);
	check_ret(worker_new("session", 0, &f->session), 0);
	check_ret(worker_new("process", 0, &f->process), 0);
	check_ret(wmsg_pair(f->end), 0);
	for (int i = 0; i < 2; i++) {
		check_ret(devmem_new(vdev_cursor_size(), &f->mem[i]), 0);
		f->memory[i] = check_ok(memfd_create("memory", MFD_CLOEXEC));
		check_ok(ftruncate(f->memory[i], 1 << 20));
	}
	return f;
}

/* The worker process serves, both links are there. */
static int setup(void **state)
{
	struct fixture *f = open_fixture();
	struct op local = op_of(f, LINK_LOCAL);

	serve_soon(f);
	check_ret(simply(f, LINK_NEW), 0);
	local.which = LOCAL;
	check_ret(do_op(&local), 0);
	*state = f;
	return 0;
}

/* The test plays the other side. */
static int setup_raw(void **state)
{
	*state = open_fixture();
	return 0;
}

static void end_worker(struct worker *w)
{
	worker_finish(w);
	worker_join(w);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	struct op local = op_of(f, UNLINK);

	local.which = LOCAL;
	do_op(&local);
	check_ret(simply(f, UNLINK), 0);
	fd_drop(&f->end[BROKER]);
	fd_drop(&f->kept);
	worker_call(f->process, unserve, f);
	fd_drop(&f->end[PROCESS]);
	end_worker(f->session);
	end_worker(f->process);
	for (int i = 0; i < 2; i++) {
		devmem_free(f->mem[i]);
		close(f->memory[i]);
	}
	attach_free(f->attach);
	log_limit_end(&f->limit);
	log_set_sink(NULL, NULL);
	sem_destroy(&f->ended);
	assert_int_equal(count_fds(), f->fds);
	free(f);
	return 0;
}

/* ---- both links give the same ---- */

static void check_same_verdict(const struct op *a, const struct op *b)
{
	assert_int_equal(a->v.again, b->v.again);
	assert_int_equal(a->v.fetch, b->v.fetch);
	assert_int_equal(a->v.store, b->v.store);
	if (a->v.store)
		assert_int_equal(a->v.store_at, b->v.store_at);
	assert_int_equal(a->v.error, b->v.error);
	assert_int_equal(a->v.out_len, b->v.out_len);
	if (a->v.out_len)
		assert_memory_equal(a->call.out, b->call.out, a->v.out_len);
}

/* One pass on both. @facts: @mem_fd is replaced by each one's memory. */
static struct ioctl_verdict pass_both(struct fixture *f,
				      const struct ioctl_call *call,
				      const struct call_facts *facts)
{
	struct op op[2];

	for (int i = 0; i < 2; i++) {
		op[i] = op_of(f, IOCTL);
		op[i].which = i;
		op[i].call = *call;
		op[i].call.out = calloc(1, call->out_room + 1);
		assert_non_null(op[i].call.out);
		op[i].facts = *facts;
		if (facts->mem_fd >= 0)
			op[i].facts.mem_fd = f->memory[i];
		check_ret(do_op(&op[i]), 0);
	}
	check_same_verdict(&op[LOCAL], &op[REMOTE]);
	if (call->out && op[REMOTE].v.out_len)
		memcpy(call->out, op[REMOTE].call.out, op[REMOTE].v.out_len);
	free(op[LOCAL].call.out);
	free(op[REMOTE].call.out);
	return op[REMOTE].v;
}

/* A whole call on both, as CUSE makes it: result or -errno. @arg is read and
 * written. */
static int call_with(struct fixture *f, uint32_t cmd, void *arg,
		     const struct call_facts *facts)
{
	struct ioctl_call call = { .cmd = cmd, .arg = 0x1000, .out = arg };
	struct ioctl_verdict v;

	for (int i = 0; i < 4; i++) {
		v = pass_both(f, &call, facts);
		if (!v.again)
			return v.error;
		call.in = arg;
		call.in_len = v.fetch;
		call.out_room = v.store;
		call.out = (char *)arg + (v.store ? v.store_at - 0x1000 : 0);
	}
	fail_msg("ioctl 0x%08x never ends", cmd);
	return 0;
}

static int call_by_owner(struct fixture *f, uint32_t cmd, void *arg)
{
	struct call_facts facts = CALL_FACTS_NONE;

	facts.is_owner = true;
	return call_with(f, cmd, arg, &facts);
}

static int call_with_fd(struct fixture *f, uint32_t cmd, uint32_t index, int fd)
{
	struct vhost_vring_file file = { .index = index, .fd = fd };
	struct call_facts facts = CALL_FACTS_NONE;

	facts.is_owner = true;
	facts.fd = fd;
	return call_with(f, cmd, &file, &facts);
}

/* @mem_fd: 0: each one's own; -1: none */
static int set_owner_with(struct fixture *f, int mem_fd)
{
	struct call_facts facts = CALL_FACTS_NONE;

	facts.mem_fd = mem_fd;
	facts.pid = getpid();
	return call_with(f, VHOST_SET_OWNER, NULL, &facts);
}

static int set_owner(struct fixture *f)
{
	return set_owner_with(f, 0);
}

static int set_features(struct fixture *f, uint64_t features)
{
	return call_by_owner(f, VHOST_SET_FEATURES, &features);
}

static void check_same_text(struct fixture *f)
{
	struct op op[2];

	for (int i = 0; i < 2; i++) {
		op[i] = op_of(f, PRINT);
		op[i].which = i;
		check_ret(do_op(&op[i]), 0);
	}
	assert_string_equal(op[LOCAL].text, op[REMOTE].text);
	assert_non_null(strstr(op[REMOTE].text, "features"));
	free(op[LOCAL].text);
	free(op[REMOTE].text);
}

/* A split ring of 4 entries at 0x1000 * (1 + 4 * @qi) of the memory. */
static void set_ring(struct fixture *f, uint32_t qi)
{
	struct vhost_vring_state s = { .index = qi, .num = 4 };
	struct vhost_vring_addr addr = {
		.index = qi,
		.desc_user_addr = 0x1000 * (1 + 4 * qi),
		.avail_user_addr = 0x1000 * (2 + 4 * qi),
		.used_user_addr = 0x1000 * (3 + 4 * qi),
	};

	check_ret(call_by_owner(f, VHOST_SET_VRING_NUM, &s), 0);
	s.num = 0;
	check_ret(call_by_owner(f, VHOST_SET_VRING_BASE, &s), 0);
	check_ret(call_by_owner(f, VHOST_SET_VRING_ADDR, &addr), 0);
}

static void set_table(struct fixture *f)
{
	struct {
		uint32_t nregions, padding; /* struct vhost_memory */
		struct vhost_memory_region r[2];
	} table = { .nregions = 2,
		    .r = { { .memory_size = 0x80000, .userspace_addr = 0 },
			   { .guest_phys_addr = 0x80000,
			     .memory_size = 0x80000,
			     .userspace_addr = 0x80000 } } };

	check_ret(call_by_owner(f, VHOST_SET_MEM_TABLE, &table), 0);
}

static void the_calls_of_a_vmm_give_the_same(void **state)
{
	struct fixture *f = *state;
	uint64_t features = 0;
	struct vhost_vring_state s = { .index = 1, .num = 7 };
	int event = event_new(), file = check_ok(memfd_create("f", 0));
	int wire[2];

	check_ret(call_by_owner(f, VHOST_GET_FEATURES, &features), 0);
	assert_int_equal(features, vdev_features(0));
	check_ret(call_by_owner(f, VHOST_SET_VRING_NUM, &s), -EPERM);
	check_ret(set_owner(f), 0);
	check_ret(set_owner(f), -EBUSY);
	check_ret(set_features(f, features & ~BIT(VIRTIO_F_ACCESS_PLATFORM)),
		  0);
	set_table(f);
	for (uint32_t qi = 0; qi < 2; qi++) {
		set_ring(f, qi);
		check_ret(call_with_fd(f, VHOST_SET_VRING_KICK, qi, event), 0);
		check_ret(call_with_fd(f, VHOST_SET_VRING_CALL, qi, event), 0);
	}
	check_ret(call_with_fd(f, VHOST_SET_VRING_ERR, 0, -1), 0);
	check_ret(call_with_fd(f, VHOST_SET_VRING_ERR, 0, file), -EINVAL);
	check_ret(call_with_fd(f, VHOST_SET_VRING_ERR, 0, VDEV_FD_BAD), -EBADF);
	check_ret(call_with_fd(f, VHOST_SET_VRING_ERR, 2, event), -ENOBUFS);
	check_same_text(f);
	sockport_pair(wire);
	check_ret(call_with_fd(f, VHOST_NET_SET_BACKEND, 0, wire[0]), 0);
	check_ret(call_with_fd(f, VHOST_NET_SET_BACKEND, 1, wire[0]), 0);
	check_ret(call_by_owner(f, VHOST_SET_VRING_NUM, &s), -EBUSY);
	check_ret(call_by_owner(f, VHOST_GET_VRING_BASE, &s), 0);
	assert_int_equal(s.num, 0);
	check_ret(call_with_fd(f, VHOST_NET_SET_BACKEND, 1, -1), 0);
	s.num = 7;
	check_ret(call_by_owner(f, VHOST_SET_VRING_BASE, &s), 0);
	s.num = 0;
	check_ret(call_by_owner(f, VHOST_GET_VRING_BASE, &s), 0);
	assert_int_equal(s.num, 7);
	check_ret(call_by_owner(f, VHOST_RESET_OWNER, NULL), 0);
	check_same_text(f);
	close(wire[0]);
	close(wire[1]);
	close(file);
	close(event);
}

static void the_start_says_what_is_served(void **state)
{
	struct fixture *f = *state;
	const struct wmsg_start *s = &f->start.start;

	settle(f->process);
	assert_int_equal(f->start.seq, 1);
	assert_string_equal(s->tag, "dev/7");
	assert_string_equal(s->build, wmsg_build());
	assert_int_equal(s->max_mem_regions, REGIONS_MAX);
	assert_int_equal(s->busy_poll_us, 17);
	assert_int_equal(s->stall_ms, 18);
	assert_int_equal(s->log_level, LOG_LEVEL_WARNING);
	assert_non_null(f->process_mem);
}

static void calls_of_128_kib_give_the_same(void **state)
{
	struct fixture *f = *state;
	uint64_t *words = calloc(1, IOCTL_DATA_MAX);

	assert_non_null(words);
	words[0] = IOCTL_DATA_MAX / 8 - 1;
	check_ret(call_by_owner(f, VHOST_GET_FEATURES_ARRAY, words), 0);
	assert_int_equal(words[1], vdev_features(0));
	assert_int_equal(words[2], vdev_features(1));
	check_ret(call_by_owner(f, VHOST_SET_FEATURES_ARRAY, words), 0);
	words[words[0]] = 1; /* the last one: no such feature */
	check_ret(call_by_owner(f, VHOST_SET_FEATURES_ARRAY, words),
		  -EOPNOTSUPP);
	free(words);
}

static void many_files_are_mapped(void **state)
{
	struct fixture *f = *state;
	enum { N = OWNER_FILES_MAX };
	struct vhost_memory *table =
		calloc(1, sizeof(*table) + N * sizeof(table->regions[0]));
	struct owner_map map[N];
	int fd[N];
	struct call_facts facts = CALL_FACTS_NONE;

	assert_non_null(table);
	table->nregions = N;
	for (uint32_t i = 0; i < N; i++) {
		struct stat st;

		fd[i] = check_ok(memfd_create("guest", MFD_CLOEXEC));
		check_ok(ftruncate(fd[i], 0x1000));
		check_ok(fstat(fd[i], &st));
		map[i] = (struct owner_map){ .uva = 0x100000 + 0x10000 * i,
					     .size = 0x1000,
					     .dev = st.st_dev,
					     .ino = st.st_ino,
					     .file = i };
		table->regions[i].guest_phys_addr = map[i].uva;
		table->regions[i].userspace_addr = map[i].uva;
		table->regions[i].memory_size = 0x1000;
	}
	facts.is_owner = true;
	facts.maps = (struct owner_maps){
		.map = map, .nmaps = N, .fd = fd, .nfds = N
	};
	check_ret(set_owner(f), 0);
	check_ret(call_with(f, VHOST_SET_MEM_TABLE, table, &facts), 0);
	check_same_text(f);
	for (int i = 0; i < N; i++)
		close(fd[i]);
	free(table);
}

/* ---- memory that is not mapped ---- */

static int start_ring(struct fixture *f, uint32_t qi)
{
	int wire[2], ret;

	sockport_pair(wire);
	ret = call_with_fd(f, VHOST_NET_SET_BACKEND, qi, wire[0]);
	close(wire[0]);
	close(wire[1]);
	return ret;
}

static void the_memory_file_comes_with_a_call(void **state)
{
	struct vhost_vring_state s = { .index = 1, .num = 4 };
	struct call_facts facts = CALL_FACTS_NONE;
	struct fixture *f = *state;

	check_ret(set_owner_with(f, -1), 0);
	set_table(f);
	set_ring(f, 1);
	check_ret(start_ring(f, 1), -EFAULT);
	facts.is_owner = true;
	facts.mem_fd = 0;
	check_ret(call_with(f, VHOST_SET_VRING_NUM, &s, &facts), 0);
	check_ret(start_ring(f, 1), 0);
	/* once more: it stays the first one */
	check_ret(call_with(f, VHOST_SET_VRING_NUM, &s, &facts), -EBUSY);
	check_same_text(f);
}

static void without_an_owner_no_file_is_kept(void **state)
{
	struct call_facts facts = CALL_FACTS_NONE;
	struct fixture *f = *state;
	uint64_t features = 0;

	facts.mem_fd = 0;
	check_ret(call_with(f, VHOST_SET_FEATURES, &features, &facts), 0);
	check_ret(set_owner_with(f, -1), 0);
	set_table(f);
	set_ring(f, 1);
	check_ret(start_ring(f, 1), -EFAULT);
}

/* The mapping is of another file than the descriptor. */
static void what_cannot_be_mapped_takes_the_memory_file(void **state)
{
	struct {
		uint32_t nregions, padding; /* struct vhost_memory */
		struct vhost_memory_region r;
	} table = { .nregions = 1,
		    .r = { .memory_size = 0x1000, .userspace_addr = 0x1000 } };
	struct call_facts facts = CALL_FACTS_NONE;
	struct owner_map map = { .uva = 0x1000, .size = 0x1000 };
	struct fixture *f = *state;
	int fd = check_ok(memfd_create("guest", MFD_CLOEXEC));

	facts.is_owner = true;
	facts.maps = (struct owner_maps){
		.map = &map, .nmaps = 1, .fd = &fd, .nfds = 1
	};
	check_ret(set_owner_with(f, -1), 0);
	check_ret(call_with(f, VHOST_SET_MEM_TABLE, &table, &facts), -ENOMEM);
	facts.mem_fd = 0;
	check_ret(call_with(f, VHOST_SET_MEM_TABLE, &table, &facts), 0);
	close(fd);
}

static const uint32_t commands[] = {
	VHOST_GET_FEATURES,
	VHOST_SET_FEATURES,
	VHOST_SET_OWNER,
	VHOST_RESET_OWNER,
	VHOST_SET_MEM_TABLE,
	VHOST_SET_LOG_BASE,
	VHOST_SET_LOG_FD,
	VHOST_NEW_WORKER,
	VHOST_SET_VRING_NUM,
	VHOST_SET_VRING_ADDR,
	VHOST_SET_VRING_BASE,
	VHOST_GET_VRING_BASE,
	VHOST_SET_VRING_ENDIAN,
	VHOST_SET_VRING_KICK,
	VHOST_SET_VRING_CALL,
	VHOST_SET_VRING_ERR,
	VHOST_SET_VRING_BUSYLOOP_TIMEOUT,
	VHOST_GET_VRING_BUSYLOOP_TIMEOUT,
	VHOST_SET_BACKEND_FEATURES,
	VHOST_GET_BACKEND_FEATURES,
	VHOST_GET_FEATURES_ARRAY,
	VHOST_SET_FEATURES_ARRAY,
	VHOST_SET_FORK_FROM_OWNER,
	VHOST_GET_FORK_FROM_OWNER,
	0xaf55,
};

/* Bytes that mean something to many calls: small numbers, mostly. */
static void random_argument(uint8_t *arg, size_t len)
{
	memset(arg, 0, len);
	for (size_t at = 0; at < len && at < 256; at += 4)
		arg[at] = (uint8_t)random_below(one_in(4) ? 256 : 4);
	if (one_in(8))
		memset(arg, 0xff, MIN(len, (size_t)8));
}

static struct call_facts random_facts(int event, int file)
{
	const int fds[] = { event, file, VDEV_FD_NONE, VDEV_FD_BAD };
	struct call_facts facts = CALL_FACTS_NONE;

	facts.is_owner = !one_in(8);
	facts.fd = fds[random_below(ARRAY_SIZE(fds))];
	facts.mem_fd = one_in(8) ? -1 : 0;
	facts.owner_error = one_in(8) ? -EPERM : 0;
	facts.fd_error = one_in(8) ? -ENOMEM : 0;
	facts.maps_error = one_in(8) ? -ENOMEM : 0;
	return facts;
}

static void any_calls_give_the_same(void **state)
{
	struct fixture *f = *state;
	int event = event_new(), file = check_ok(memfd_create("f", 0));
	uint8_t arg[4096];

	random_state = 12345;
	for (int i = 0; i < 4000; i++) {
		struct call_facts facts = random_facts(event, file);
		struct ioctl_call call = {
			.cmd = commands[random_below(ARRAY_SIZE(commands))],
			.arg = random_below(8192),
			.in = arg,
		};
		struct ioctl_verdict v;

		for (int pass = 0; pass < 4; pass++) {
			random_argument(arg, sizeof(arg));
			v = pass_both(f, &call, &facts);
			if (!v.again || v.fetch > sizeof(arg))
				break;
			call.in_len = v.fetch;
			call.out_room = v.store;
			if (one_in(8) && v.fetch)
				call.in_len = random_below((uint32_t)v.fetch);
		}
	}
	check_same_text(f);
	close(file);
	close(event);
}

/* ---- the IOTLB ---- */

static ssize_t write_both_with(struct fixture *f, const void *buf, size_t len,
			       bool memory)
{
	struct op op[2];

	for (int i = 0; i < 2; i++) {
		op[i] = op_of(f, WRITE);
		op[i].which = i;
		if (memory)
			op[i].facts.mem_fd = f->memory[i];
		op[i].buf = (void *)(uintptr_t)buf;
		op[i].len = len;
		check_ret(do_op(&op[i]), 0);
	}
	check_ret(op[REMOTE].n, op[LOCAL].n);
	return op[REMOTE].n;
}

static ssize_t write_both(struct fixture *f, const void *buf, size_t len)
{
	return write_both_with(f, buf, len, false);
}

static ssize_t read_both(struct fixture *f, void *buf, size_t len)
{
	char bytes[2][128] = { { 0 }, { 0 } };
	struct op op[2];

	for (int i = 0; i < 2; i++) {
		op[i] = op_of(f, READABLE);
		op[i].which = i;
		check_ret(do_op(&op[i]), 0);
	}
	assert_int_equal(op[REMOTE].yes, op[LOCAL].yes);
	for (int i = 0; i < 2; i++) {
		op[i].kind = READ;
		op[i].buf = bytes[i];
		op[i].len = len;
		check_ret(do_op(&op[i]), 0);
	}
	check_ret(op[REMOTE].n, op[LOCAL].n);
	assert_memory_equal(bytes[REMOTE], bytes[LOCAL], sizeof(bytes[0]));
	memcpy(buf, bytes[REMOTE], len);
	return op[REMOTE].n;
}

static struct vhost_msg update(uint64_t iova)
{
	return (struct vhost_msg){ .type = VHOST_IOTLB_MSG,
				   .iotlb = { .iova = iova,
					      .size = 0x1000,
					      .uaddr = iova,
					      .perm = VHOST_ACCESS_RW,
					      .type = VHOST_IOTLB_UPDATE } };
}

static void the_iotlb_gives_the_same(void **state)
{
	struct fixture *f = *state;
	struct vhost_msg m = update(0x5000);
	char buf[128];

	check_ret(read_both(f, buf, sizeof(buf)), -EBADFD);
	check_ret(set_owner(f), 0);
	check_ret(set_features(f, BIT(VIRTIO_F_ACCESS_PLATFORM)), 0);
	check_ret(read_both(f, buf, sizeof(buf)), -EAGAIN);
	check_ret(read_both(f, buf, 8), 0);
	check_ret(write_both(f, &m, sizeof(m)), 72);
	check_ret(write_both(f, &m, 3), -EINVAL);
	m.iotlb.size = 0;
	check_ret(write_both(f, &m, sizeof(m)), -EINVAL);
	m = update(0x7000);
	check_ret(write_both(f, &m, sizeof(m)), 72);
	check_ret(simply(f, REPLAY), 0);
	check_same_text(f);
}

static void the_memory_file_comes_with_an_update(void **state)
{
	struct fixture *f = *state;
	struct vhost_msg m = update(0x7000); /* the used ring */

	check_ret(set_owner_with(f, -1), 0);
	check_ret(set_features(f, BIT(VIRTIO_F_ACCESS_PLATFORM)), 0);
	set_table(f);
	set_ring(f, 1);
	check_ret(write_both(f, &m, sizeof(m)), 72);
	check_ret(start_ring(f, 1), -EFAULT);
	check_ret(write_both_with(f, &m, sizeof(m), true), 72);
	check_ret(start_ring(f, 1), 0);
	check_same_text(f);
}

static void set_up_miss(struct fixture *f, int event, int wire[2])
{
	check_ret(set_owner(f), 0);
	check_ret(set_features(f, BIT(VIRTIO_F_ACCESS_PLATFORM)), 0);
	set_table(f);
	set_ring(f, 1);
	check_ret(call_with_fd(f, VHOST_SET_VRING_KICK, 1, event), 0);
	sockport_pair(wire);
	check_ret(call_with_fd(f, VHOST_NET_SET_BACKEND, 1, wire[0]), -EFAULT);
	wait_until(&f->events[LOCAL].iotlb, 1);
	wait_until(&f->events[REMOTE].iotlb, 1);
}

/* The message of a miss, and the event that tells of it. */
static void a_miss_is_told_and_read(void **state)
{
	struct fixture *f = *state;
	int event = event_new(), wire[2];
	struct vhost_msg msg;

	set_up_miss(f, event, wire);
	check_ret(read_both(f, &msg, sizeof(msg)), 72);
	assert_int_equal(msg.iotlb.type, VHOST_IOTLB_MISS);
	close(wire[0]);
	close(wire[1]);
	close(event);
}

static void tell_iotlb_often(void *arg)
{
	struct fixture *f = arg;

	for (int i = 0; i < 1000; i++)
		f->device.iotlb_event(f->device.ctx);
}

static void events_are_told_once_between_calls(void **state)
{
	struct fixture *f = *state;
	struct events *e = &f->events[REMOTE];

	worker_call(f->process, tell_iotlb_often, f);
	wait_until(&e->iotlb, 1);
	worker_call(f->process, tell_iotlb_often, f);
	settle(f->session);
	assert_int_equal(e->iotlb, 1);
	check_ret(simply(f, READABLE), 0);
	worker_call(f->process, tell_iotlb_often, f);
	wait_until(&e->iotlb, 2);
	check_ret(simply(f, READABLE), 0);
	assert_int_equal(e->iotlb, 2);
}

/* ---- repeated calls ---- */

static void a_repeated_call_is_answered_not_executed(void **state)
{
	struct fixture *f = *state;
	struct op own = op_of(f, IOCTL), repeat = op_of(f, REPEAT);

	own.call.cmd = VHOST_SET_OWNER;
	own.facts.mem_fd = f->memory[REMOTE];
	check_ret(do_op(&own), 0);
	assert_int_equal(own.v.error, 0);
	repeat.seq = devlink_remote_last(f->link[REMOTE]);
	check_ret(do_op(&repeat), 0);
	check_ret(do_op(&own), 0);
	assert_int_equal(own.v.error, 0); /* not EBUSY */
	check_ret(do_op(&own), 0);
	assert_int_equal(own.v.error, -EBUSY);
	assert_int_equal(devlink_remote_last(f->link[REMOTE]), repeat.seq + 1);
}

static void raw_send(int sock, unsigned int type, uint64_t seq,
		     const void *body, size_t len)
{
	struct wmsg_out out = { .type = type,
				.seq = seq,
				.part = { { (void *)(uintptr_t)body, len } },
				.nparts = len ? 1 : 0 };

	check_ret(wmsg_send(sock, &out, 0), 0);
}

static void raw_ioctl(int sock, uint64_t seq, const struct ioctl_call *call,
		      const struct call_facts *facts)
{
	struct wmsg_out out;
	struct wmsg_call c;

	check_ret(wmsg_put_ioctl(&c, call, facts, &out), 0);
	out.seq = seq;
	check_ret(wmsg_send(sock, &out, 0), 0);
	wmsg_call_release(&c);
}

/* A link whose end of the socket is kept, and which has made two calls. */
static int setup_kept(void **state)
{
	struct fixture *f = open_fixture();

	f->kept = check_ok(fcntl(f->end[BROKER], F_DUPFD_CLOEXEC, 0));
	serve_soon(f);
	check_ret(simply(f, LINK_NEW), 0);
	check_ret(simply(f, READABLE), 0);
	*state = f;
	return 0;
}

/* The broker has died: its end is another one's. */
static void end_broker(struct fixture *f)
{
	check_ret(simply(f, UNLINK), 0);
	f->end[BROKER] = f->kept;
	f->kept = -1;
}

static void another_broker_goes_on(void **state)
{
	struct fixture *f = *state;
	struct op adopt = op_of(f, LINK_ADOPT), op = op_of(f, IOCTL);

	end_broker(f);
	/* with a call on its way */
	op.call.cmd = VHOST_SET_OWNER;
	op.facts.mem_fd = f->memory[REMOTE];
	raw_ioctl(f->end[BROKER], 3, &op.call, &op.facts);
	check_ret(do_op(&adopt), 0);
	assert_int_equal(adopt.hello.last, 3);
	assert_string_equal(adopt.hello.build, wmsg_build());
	assert_int_equal(devlink_remote_last(f->link[REMOTE]), 3);
	/* It is repeated. */
	adopt.kind = REPEAT;
	adopt.seq = 3;
	do_op(&adopt);
	check_ret(do_op(&op), 0);
	assert_int_equal(op.v.error, 0);
	check_ret(do_op(&op), 0);
	assert_int_equal(op.v.error, -EBUSY);
}

static void a_call_that_never_left_has_no_number(void **state)
{
	struct fixture *f = *state;
	struct op adopt = op_of(f, LINK_ADOPT);

	end_broker(f);
	check_ret(do_op(&adopt), 0);
	assert_int_equal(adopt.hello.last, 2);
	check_ret(simply(f, READABLE), 0);
	assert_int_equal(devlink_remote_last(f->link[REMOTE]), 3);
}

/* They have not read the replies. */
static void brokers_that_died_early_do_no_harm(void **state)
{
	struct fixture *f = *state;
	struct op adopt = op_of(f, LINK_ADOPT);
	struct wmsg_hello hello = { .last = 0 };

	end_broker(f);
	snprintf(hello.build, sizeof(hello.build), "%s", wmsg_build());
	for (unsigned int i = 0; i < 20; i++)
		raw_send(f->end[BROKER], WMSG_HELLO, 0, &hello, sizeof(hello));
	check_ret(do_op(&adopt), 0);
	assert_int_equal(adopt.hello.last, 2);
	for (unsigned int i = 0; i < 3; i++)
		check_ret(simply(f, READABLE), 0);
	assert_false(f->malformed);
}

/* The VMM may not have got it: a read(2) that waits is not the only request. */
static void another_broker_gets_the_misses_again(void **state)
{
	struct fixture *f = *state;
	struct op op = op_of(f, LINK_ADOPT), local = op_of(f, LINK_LOCAL);
	int event = event_new(), wire[2];
	struct vhost_msg msg;

	local.which = LOCAL;
	check_ret(do_op(&local), 0);
	set_up_miss(f, event, wire);
	check_ret(read_both(f, &msg, sizeof(msg)), 72);
	check_ret(read_both(f, &msg, sizeof(msg)), -EAGAIN);
	end_broker(f);
	check_ret(do_op(&op), 0);
	wait_until(&f->events[REMOTE].iotlb, 2);
	op.kind = READ;
	op.buf = &msg;
	op.len = sizeof(msg);
	check_ret(do_op(&op), 0);
	check_ret(op.n, 72);
	assert_int_equal(msg.iotlb.type, VHOST_IOTLB_MISS);
	close(wire[0]);
	close(wire[1]);
	close(event);
}

/* ---- the broker misbehaves: the test plays it ---- */

struct peer_in {
	struct wmsg_in in;
	int sock;
};

static void peer_open(struct peer_in *p, int sock, bool takes_fds)
{
	p->sock = sock;
	check_ret(wmsg_in_init(&p->in, WMSG_PACKET_MAX, takes_fds), 0);
}

static void next_message(struct peer_in *p)
{
	struct pollfd wait = { .fd = p->sock, .events = POLLIN };

	assert_int_equal(poll(&wait, 1, DEADLINE_MS), 1);
	check_ret(wmsg_recv(p->sock, &p->in, MSG_DONTWAIT), 0);
}

/* The next message, which has this type. */
static void expect(struct peer_in *p, unsigned int type, uint64_t seq)
{
	next_message(p);
	assert_int_equal(p->in.hdr.type, type);
	assert_int_equal(p->in.hdr.seq, seq);
}

static void expect_nothing(struct peer_in *p)
{
	check_ret(wmsg_recv(p->sock, &p->in, MSG_DONTWAIT), -EAGAIN);
}

static void raw_start(struct fixture *f, struct peer_in *p)
{
	struct wmsg_start start = { .max_mem_regions = 64 };

	peer_open(p, f->end[BROKER], false);
	serve_soon(f);
	raw_send(p->sock, WMSG_START, 1, &start, sizeof(start));
	expect(p, WMSG_START | WMSG_REPLY, 1);
}

static void check_ended(struct fixture *f, int error)
{
	wait_for(&f->ended);
	check_ret(f->ended_with, error);
	/* once */
	settle(f->process);
	check_ret(sem_trywait(&f->ended), -1);
}

static void a_number_out_of_turn_ends_the_process(void **state)
{
	struct fixture *f = *state;
	struct peer_in p;

	raw_start(f, &p);
	raw_send(p.sock, WMSG_READABLE, 2, NULL, 0);
	expect(&p, WMSG_READABLE | WMSG_REPLY, 2);
	raw_send(p.sock, WMSG_READABLE, 4, NULL, 0);
	check_ended(f, -EPROTO);
	wmsg_in_free(&p.in);
}

static void a_malformed_call_ends_the_process(void **state)
{
	const struct wmsg_number number = { .n = 5 };
	const struct {
		unsigned int type;
		const void *body;
		size_t len;
	} bad[] = {
		{ WMSG_START, NULL, 0 },
		{ WMSG_IOCTL, &number, sizeof(number) },
		{ WMSG_READ, NULL, 0 },
		{ WMSG_READ, &(struct wmsg_number){ .n = -1 }, 8 },
		{ WMSG_READ, &(struct wmsg_number){ IOCTL_DATA_MAX + 1 }, 8 },
		{ WMSG_RESUME, &number, sizeof(number) },
		{ WMSG_RESUME, NULL, 0 },
		{ WMSG_HELLO, &number, sizeof(number) },
		{ WMSG_READABLE, &number, sizeof(number) },
		{ WMSG_REPLAY_IOTLB, &number, sizeof(number) },
		{ WMSG_PRINT, &number, sizeof(number) },
		{ WMSG_EVENT_IOTLB, NULL, 0 },
		{ WMSG_FAULT_IN | WMSG_REPLY, &number, sizeof(number) },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct fixture *f = open_fixture();
		struct peer_in p;

		raw_start(f, &p);
		raw_send(p.sock, bad[i].type, 2, bad[i].body, bad[i].len);
		check_ended(f, -EPROTO);
		wmsg_in_free(&p.in);
		*state = f;
		teardown(state);
	}
}

static void descriptors_come_with_some_calls_only(void **state)
{
	struct fixture *f = *state;
	struct {
		struct wmsg_hdr hdr;
		struct wmsg_number n;
	} packet = { .hdr = { .magic = WMSG_MAGIC,
			      .type = WMSG_READ,
			      .seq = 2,
			      .len = sizeof(packet.n),
			      .nfds = 1 } };
	int fd = check_ok(memfd_create("test", MFD_CLOEXEC));
	struct peer_in p;

	raw_start(f, &p);
	check_ret(fdmsg_send(p.sock, &packet, sizeof(packet), &fd, 1, 0),
		  sizeof(packet));
	close(fd);
	check_ended(f, -EPROTO);
	wmsg_in_free(&p.in);
}

static void the_first_message_is_a_start(void **state)
{
	struct fixture *f = *state;

	raw_send(f->end[BROKER], WMSG_READABLE, 1, NULL, 0);
	serve_soon(f);
	settle(f->process);
	check_ret(f->start_result, -EPROTO);
	assert_null(f->serve);
}

static void the_broker_can_end_at_any_point(void **state)
{
	/* before the start; after it; with a call on its way */
	for (int when = 0; when < 3; when++) {
		struct fixture *f = open_fixture();
		struct peer_in p = { .sock = f->end[BROKER] };

		if (when == 0) {
			fd_drop(&f->end[BROKER]);
			serve_soon(f);
			settle(f->process);
			check_ret(f->start_result, -ECONNRESET);
		} else {
			raw_start(f, &p);
			if (when == 2)
				raw_send(p.sock, WMSG_READABLE, 2, NULL, 0);
			fd_drop(&f->end[BROKER]);
			check_ended(f, -ECONNRESET);
		}
		wmsg_in_free(&p.in);
		*state = f;
		teardown(state);
	}
}

static void a_broker_that_does_not_read_delays_nothing(void **state)
{
	struct fixture *f = *state;
	uint64_t words[2] = { IOCTL_DATA_MAX / 8 - 1 };
	struct ioctl_call call = { .cmd = VHOST_GET_FEATURES_ARRAY,
				   .in = words,
				   .in_len = 8,
				   .out_room = words[0] * 8 };
	struct call_facts facts = CALL_FACTS_NONE;
	unsigned int replies = 0, events = 0;
	enum { N = 8 };
	struct peer_in p;

	raw_start(f, &p);
	for (int i = 0; i < N; i++)
		raw_ioctl(p.sock, 2, &call, &facts);
	/* The loop turns, though the socket does not take so many. */
	for (int i = 0; i < 2 * N; i++)
		settle(f->process);
	worker_call(f->process, tell_iotlb_often, f);
	while (replies < N || !events) {
		next_message(&p);
		if (p.in.hdr.type == WMSG_EVENT_IOTLB) {
			events++;
			continue;
		}
		replies++;
		assert_int_equal(p.in.hdr.seq, 2);
		assert_int_equal(p.in.hdr.len,
				 sizeof(struct wmsg_reply) + call.out_room);
	}
	assert_int_equal(events, 1);
	wmsg_in_free(&p.in);
}

static void a_reply_too_long_for_the_socket_is_enomem(void **state)
{
	struct fixture *f = *state;
	uint64_t words[2] = { IOCTL_DATA_MAX / 8 - 1 };
	struct ioctl_call call = { .cmd = VHOST_GET_FEATURES_ARRAY,
				   .in = words,
				   .in_len = 8,
				   .out_room = words[0] * 8 };
	struct call_facts facts = CALL_FACTS_NONE;
	const int small = 1;
	struct wmsg_reply reply;
	struct peer_in p;

	check_ok(setsockopt(f->end[PROCESS], SOL_SOCKET, SO_SNDBUF, &small,
			    sizeof(small)));
	raw_start(f, &p);
	raw_ioctl(p.sock, 2, &call, &facts);
	expect(&p, WMSG_IOCTL | WMSG_REPLY, 2);
	assert_int_equal(p.in.hdr.len, sizeof(reply));
	memcpy(&reply, p.in.body, sizeof(reply));
	check_ret(reply.n, -ENOMEM);
	raw_send(p.sock, WMSG_READABLE, 3, NULL, 0);
	expect(&p, WMSG_READABLE | WMSG_REPLY, 3);
	wmsg_in_free(&p.in);
}

/* ---- questions ---- */

struct fault_op {
	struct fixture *f;
	struct loop_job job;
	unsigned int times;
	sem_t done;
	int ret;
};

static void fault_job(void *arg)
{
	struct fault_op *op = arg;

	for (unsigned int i = 0; i < op->times; i++) {
		op->ret = wserve_fault_in(op->f->serve, true, 0x7000 + i, 64);
		if (op->ret < 0)
			break;
	}
	sem_post(&op->done);
}

static void start_faults(struct fault_op *op, struct fixture *f,
			 unsigned int times)
{
	*op = (struct fault_op){ .f = f, .times = times };
	op->job = (struct loop_job){ .fn = fault_job, .arg = op };
	sem_init(&op->done, 0, 0);
	worker_post(f->process, &op->job);
}

static int end_faults(struct fault_op *op)
{
	wait_for(&op->done);
	sem_destroy(&op->done);
	return op->ret;
}

static void questions_are_answered_while_idle(void **state)
{
	struct fixture *f = *state;
	struct events *e = &f->events[REMOTE];
	struct fault_op faults;

	start_faults(&faults, f, 1);
	check_ret(end_faults(&faults), 0);
	assert_int_equal(e->faults, 1);
	assert_int_equal(e->fault_uva, 0x7000);
	assert_int_equal(e->fault_len, 64);
	assert_true(e->fault_write);
	e->fault_result = -EFAULT;
	start_faults(&faults, f, 5);
	check_ret(end_faults(&faults), -EFAULT);
	assert_int_equal(e->faults, 2);
}

static void questions_and_calls_cross(void **state)
{
	struct fixture *f = *state;
	struct fault_op faults;

	start_faults(&faults, f, 3000);
	for (int i = 0; i < 1000; i++) {
		struct op op = op_of(f, IOCTL);

		op.call.cmd = VHOST_GET_VRING_BASE;
		check_ret(do_op(&op), 0);
		assert_int_equal(op.v.error, -EPERM);
	}
	check_ret(end_faults(&faults), 0);
	assert_int_equal(f->events[REMOTE].faults, 3000);
	check_ret(simply(f, READABLE), 0);
	assert_int_equal(lines, 0);
}

static void answer(struct peer_in *p, uint64_t seq, int64_t n)
{
	const struct wmsg_number number = { .n = n };

	raw_send(p->sock, WMSG_FAULT_IN | WMSG_REPLY, seq, &number,
		 sizeof(number));
}

static void a_call_waits_for_an_answer(void **state)
{
	struct fixture *f = *state;
	struct fault_op faults;
	struct peer_in p;

	raw_start(f, &p);
	start_faults(&faults, f, 1);
	expect(&p, WMSG_FAULT_IN, 1);
	raw_send(p.sock, WMSG_READABLE, 2, NULL, 0);
	answer(&p, 1, -EFAULT);
	check_ret(end_faults(&faults), -EFAULT);
	expect(&p, WMSG_READABLE | WMSG_REPLY, 2);
	settle(f->process);
	expect_nothing(&p);
	wmsg_in_free(&p.in);
}

static void another_broker_is_asked_again(void **state)
{
	struct fixture *f = *state;
	const struct wmsg_hello hello = { .build = "2" };
	const struct wmsg_hello *got;
	struct fault_op faults;
	struct peer_in p;

	raw_start(f, &p);
	start_faults(&faults, f, 1);
	expect(&p, WMSG_FAULT_IN, 1);
	raw_send(p.sock, WMSG_READABLE, 2, NULL, 0);
	raw_send(p.sock, WMSG_HELLO, 0, &hello, sizeof(hello));
	expect(&p, WMSG_HELLO | WMSG_REPLY, 0);
	got = wmsg_body(&p.in, sizeof(*got));
	assert_non_null(got);
	assert_int_equal(got->last, 2);
	expect(&p, WMSG_FAULT_IN, 1);
	raw_send(p.sock, WMSG_READABLE, 2, NULL, 0); /* repeated */
	/* Both questions are answered, but one was asked. */
	answer(&p, 1, 0);
	answer(&p, 1, 0);
	check_ret(end_faults(&faults), 0);
	expect(&p, WMSG_READABLE | WMSG_REPLY, 2);
	raw_send(p.sock, WMSG_READABLE, 3, NULL, 0);
	expect(&p, WMSG_READABLE | WMSG_REPLY, 3);
	wmsg_in_free(&p.in);
}

static void nobody_answers_when_the_broker_has_ended(void **state)
{
	struct fixture *f = *state;
	struct fault_op faults;
	struct peer_in p;

	raw_start(f, &p);
	start_faults(&faults, f, 1);
	expect(&p, WMSG_FAULT_IN, 1);
	fd_drop(&f->end[BROKER]);
	check_ret(end_faults(&faults), -ESRCH);
	check_ended(f, -ECONNRESET);
	start_faults(&faults, f, 1);
	check_ret(end_faults(&faults), -ESRCH);
	wmsg_in_free(&p.in);
}

static void two_calls_at_once_end_the_process(void **state)
{
	struct fixture *f = *state;
	struct fault_op faults;
	struct peer_in p;

	raw_start(f, &p);
	start_faults(&faults, f, 1);
	expect(&p, WMSG_FAULT_IN, 1);
	raw_send(p.sock, WMSG_READABLE, 2, NULL, 0);
	raw_send(p.sock, WMSG_READABLE, 3, NULL, 0);
	check_ret(end_faults(&faults), -ESRCH);
	check_ended(f, -EPROTO);
	wmsg_in_free(&p.in);
}

/* ---- the worker process misbehaves: the test plays it ---- */

/* A link to the test. */
static void link_raw(struct fixture *f, struct peer_in *p)
{
	const struct wmsg_reply good = { .n = 0 };

	peer_open(p, f->end[PROCESS], true);
	p->in.inherits = inherited(f);
	raw_send(p->sock, WMSG_START | WMSG_REPLY, 1, &good, sizeof(good));
	check_ret(simply(f, LINK_NEW), 0);
	expect(p, WMSG_START, 1);
	wmsg_in_release(&p->in);
}

static void check_gone(struct fixture *f)
{
	check_ret(simply(f, READABLE), -ECONNRESET);
	check_ret(simply(f, RESUME), -ECONNRESET);
	check_ret(simply(f, IOCTL), -ECONNRESET);
}

/* Makes call 2, @reply of @len bytes is the answer; what the link returns. */
static int answered(struct peer_in *p, struct op *op, unsigned int type,
		    const void *reply, size_t len)
{
	start_op(op);
	expect(p, type, 2);
	wmsg_in_release(&p->in);
	raw_send(p->sock, type | WMSG_REPLY, 2, reply, len);
	return end_op(op);
}

struct bad_reply {
	unsigned int type;
	uint64_t seq;
	struct wmsg_reply reply;
	size_t len; /* of @reply, and more */
	unsigned int flags;
	unsigned int fds;
};

#define HEAD sizeof(struct wmsg_reply)

static void send_bad(const struct bad_reply *b, int sock)
{
	struct {
		struct wmsg_hdr hdr;
		struct wmsg_reply reply;
		uint8_t more[64];
	} packet = { .hdr = { .magic = WMSG_MAGIC,
			      .type = (uint16_t)b->type,
			      .flags = (uint16_t)b->flags,
			      .seq = b->seq,
			      .len = (uint32_t)b->len,
			      .nfds = b->fds },
		     .reply = b->reply };
	int fd = check_ok(memfd_create("test", MFD_CLOEXEC));
	size_t len = sizeof(packet.hdr) + b->len;

	check_ret(fdmsg_send(sock, &packet, len, &fd, b->fds, 0), len);
	close(fd);
}

/* Each is the reply to READABLE, which is call 2. */
static const struct bad_reply bad_replies[] = {
	{ WMSG_READ | WMSG_REPLY, 2, { 0 }, HEAD, 0, 0 },
	{ WMSG_READABLE, 2, { 0 }, HEAD, 0, 0 },
	{ WMSG_READABLE | WMSG_REPLY, 3, { 0 }, HEAD, 0, 0 },
	{ WMSG_READABLE | WMSG_REPLY, 2, { 0 }, HEAD - 1, 0, 0 },
	{ WMSG_READABLE | WMSG_REPLY, 2, { 0 }, HEAD + 1, 0, 0 },
	{ WMSG_READABLE | WMSG_REPLY, 2, { .n = 2 }, HEAD, 0, 0 },
	{ WMSG_READABLE | WMSG_REPLY, 2, { .n = -512 }, HEAD, 0, 0 },
	{ WMSG_READABLE | WMSG_REPLY, 2, { .store = 8 }, HEAD, 0, 0 },
	{ WMSG_READABLE | WMSG_REPLY, 2, { 0 }, HEAD, 2, 0 },
	{ WMSG_READABLE | WMSG_REPLY, 2, { 0 }, HEAD, WMSG_IN_MEMFD, 0 },
	{ WMSG_READABLE | WMSG_REPLY, 2, { 0 }, HEAD, 0, 1 },
	{ WMSG_TYPES, 2, { 0 }, HEAD, 0, 0 },
	{ WMSG_START, 2, { 0 }, HEAD, 0, 0 },
	{ WMSG_HELLO, 0, { 0 }, HEAD, 0, 0 },
	{ WMSG_EVENT_IOTLB, 0, { 0 }, HEAD, 0, 0 },
	{ WMSG_FAULT_IN, 1, { 0 }, HEAD, 0, 0 },
	{ WMSG_FAULT_IN, 1, { 0 }, 24, 0, 0 },                /* len 0 */
	{ WMSG_FAULT_IN, 1, { .again = 3 << 20 }, 24, 0, 0 }, /* len */
	{ WMSG_FAULT_IN, 1, { 0, 1, 2, 0, 0 }, 24, 0, 0 },    /* write */
	{ WMSG_FAULT_IN, 1, { -1, 2, 0, 0, 0 }, 24, 0, 0 },   /* wraps */
};

static void let_descriptors_pass(int sock)
{
	const int yes = 1;

	/* SO_PASSRIGHTS; older kernels let them pass anyway */
	setsockopt(sock, SOL_SOCKET, 83, &yes, sizeof(yes));
}

static void a_malformed_reply_counts_as_a_crash(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(bad_replies); i++) {
		struct fixture *f = open_fixture();
		int sock = f->end[BROKER];
		struct peer_in p;
		struct op op;

		link_raw(f, &p);
		let_descriptors_pass(sock);
		op = op_of(f, READABLE);
		start_op(&op);
		expect(&p, WMSG_READABLE, 2);
		send_bad(&bad_replies[i], p.sock);
		check_ret(end_op(&op), -ECONNRESET);
		assert_int_equal(lines, 1);
		assert_true(f->malformed);
		check_gone(f);
		assert_int_equal(lines, 1);
		assert_int_equal(f->events[REMOTE].gone, 0);
		wmsg_in_free(&p.in);
		*state = f;
		teardown(state);
	}
}

static void what_comes_while_idle_is_checked_too(void **state)
{
	struct fixture *f = *state;
	struct peer_in p;

	link_raw(f, &p);
	send_bad(&bad_replies[2], p.sock);
	wait_until(&f->events[REMOTE].gone, 1);
	assert_int_equal(lines, 1);
	assert_true(f->malformed);
	check_gone(f);
	assert_int_equal(f->events[REMOTE].gone, 1);
	wmsg_in_free(&p.in);
}

static void descriptors_are_not_taken(void **state)
{
	struct fixture *f = *state;
	int fd = check_ok(memfd_create("test", MFD_CLOEXEC));
	struct wmsg_hdr hdr = { .magic = WMSG_MAGIC };
	struct peer_in p;
	ssize_t n;

	link_raw(f, &p);
	n = fdmsg_send(p.sock, &hdr, sizeof(hdr), &fd, 1, 0);
	close(fd);
	if (n >= 0) { /* a kernel before 6.16 */
		wait_until(&f->events[REMOTE].gone, 1);
	} else {
		check_ret(n, -EPERM);
		settle(f->session);
		assert_int_equal(f->events[REMOTE].gone, 0);
	}
	wmsg_in_free(&p.in);
}

static void a_verdict_that_asks_for_too_much_counts_as_a_crash(void **state)
{
	struct fixture *f = *state;
	const struct wmsg_reply reply = {
		.again = 1, .fetch = 0, .store_at = 0x2000, .store = 8
	};
	struct op op = op_of(f, IOCTL);
	struct peer_in p;

	link_raw(f, &p);
	op.call =
		(struct ioctl_call){ .cmd = VHOST_GET_FEATURES, .arg = 0x1000 };
	check_ret(answered(&p, &op, WMSG_IOCTL, &reply, sizeof(reply)),
		  -ECONNRESET);
	assert_int_equal(lines, 1);
	wmsg_in_free(&p.in);
}

static void a_read_brings_no_more_than_was_wanted(void **state)
{
	struct fixture *f = *state;
	struct {
		struct wmsg_reply head;
		char bytes[10];
	} reply = { .head.n = 9 };
	char buf[8];
	struct op op = op_of(f, READ);
	struct peer_in p;

	link_raw(f, &p);
	op.buf = buf;
	op.len = sizeof(buf);
	check_ret(answered(&p, &op, WMSG_READ, &reply, HEAD + 9), -ECONNRESET);
	wmsg_in_free(&p.in);
}

static void a_read_brings_as_much_as_it_says(void **state)
{
	struct fixture *f = *state;
	const struct wmsg_reply reply = { .n = 8 };
	char buf[8];
	struct op op = op_of(f, READ);
	struct peer_in p;

	link_raw(f, &p);
	op.buf = buf;
	op.len = sizeof(buf);
	check_ret(answered(&p, &op, WMSG_READ, &reply, HEAD), -ECONNRESET);
	wmsg_in_free(&p.in);
}

static void a_write_takes_a_message_at_most(void **state)
{
	struct fixture *f = *state;
	const struct wmsg_reply reply = { .n = 73 };
	char buf[128] = "";
	struct op op = op_of(f, WRITE);
	struct peer_in p;

	link_raw(f, &p);
	op.buf = buf;
	op.len = sizeof(buf);
	check_ret(answered(&p, &op, WMSG_WRITE, &reply, HEAD), -ECONNRESET);
	wmsg_in_free(&p.in);
}

static void printed_text_is_text(void **state)
{
	struct fixture *f = *state;
	struct {
		struct wmsg_reply head;
		char bytes[8];
	} reply = { .bytes = "a\33[2J\n\tb" };
	struct op op = op_of(f, PRINT);
	struct peer_in p;

	link_raw(f, &p);
	check_ret(answered(&p, &op, WMSG_PRINT, &reply, HEAD + 8), 0);
	assert_string_equal(op.text, "a?[2J\n\tb");
	free(op.text);
	wmsg_in_free(&p.in);
}

static void the_process_can_end_at_any_point(void **state)
{
	/* before the start, during it, while idle, before a call, during it */
	for (int when = 0; when < 5; when++) {
		struct fixture *f = open_fixture();
		struct op op = op_of(f, when < 2 ? LINK_NEW : READABLE);
		struct peer_in p = { .sock = f->end[PROCESS] };

		if (when == 0) {
			fd_drop(&f->end[PROCESS]);
			check_ret(do_op(&op), -ECONNRESET);
		} else if (when == 1) {
			peer_open(&p, f->end[PROCESS], true);
			p.in.inherits = inherited(f);
			start_op(&op);
			expect(&p, WMSG_START, 1);
			wmsg_in_release(&p.in);
			fd_drop(&f->end[PROCESS]);
			check_ret(end_op(&op), -ECONNRESET);
		} else {
			link_raw(f, &p);
		}
		if (when == 2) {
			fd_drop(&f->end[PROCESS]);
			wait_until(&f->events[REMOTE].gone, 1);
			check_gone(f);
			assert_int_equal(f->events[REMOTE].gone, 1);
		} else if (when > 2) {
			start_op(&op);
			if (when == 4)
				expect(&p, WMSG_READABLE, 2);
			fd_drop(&f->end[PROCESS]);
			check_ret(end_op(&op), -ECONNRESET);
			check_gone(f);
		}
		assert_int_equal(lines, 0);
		wmsg_in_free(&p.in);
		*state = f;
		teardown(state);
	}
}

static void a_process_that_refuses_the_start_says_why(void **state)
{
	struct fixture *f = *state;
	const struct wmsg_reply reply = { .n = -EBADMSG };

	raw_send(f->end[PROCESS], WMSG_START | WMSG_REPLY, 1, &reply,
		 sizeof(reply));
	check_ret(simply(f, LINK_NEW), -EBADMSG);
	assert_null(f->link[REMOTE]);
	assert_int_equal(lines, 0);
}

/* ---- floods ---- */

static void a_flood_of_events_counts_as_a_crash(void **state)
{
	struct fixture *f = *state;
	struct events *e = &f->events[REMOTE];
	struct wmsg_out event = { .type = WMSG_EVENT_IOTLB };
	struct peer_in p;
	int ret = 0;

	link_raw(f, &p);
	for (int i = 0; i < 100 && ret == 0; i++)
		ret = wmsg_send(p.sock, &event, 0);
	wait_until(&e->gone, 1);
	assert_in_range(e->iotlb, 2, 8);
	assert_int_equal(lines, 1);
	wmsg_in_free(&p.in);
}

static void a_flood_of_replies_counts_as_a_crash(void **state)
{
	struct fixture *f = *state;
	const struct wmsg_reply reply = { .n = 0 };
	struct peer_in p;

	link_raw(f, &p);
	for (int i = 0; i < 100; i++)
		raw_send(p.sock, WMSG_START | WMSG_REPLY, 1, &reply,
			 sizeof(reply));
	wait_until(&f->events[REMOTE].gone, 1);
	wmsg_in_free(&p.in);
}

/* Asks @n questions, and takes the answers. */
static void ask_often(struct peer_in *p, unsigned int n)
{
	const struct wmsg_range range = { .uva = 0x7000, .len = 64 };

	for (unsigned int i = 1; i <= n; i++) {
		raw_send(p->sock, WMSG_FAULT_IN, i, &range, sizeof(range));
		expect(p, WMSG_FAULT_IN | WMSG_REPLY, i);
	}
}

/* The thread does its other work between questions. */
static void questions_do_not_stop_the_loop(void **state)
{
	struct fixture *f = *state;
	struct peer_in p;

	link_raw(f, &p);
	for (int round = 0; round < 20; round++) {
		ask_often(&p, 20);
		settle(f->session);
	}
	assert_int_equal(f->events[REMOTE].faults, 400);
	wmsg_in_free(&p.in);
}

/* Without a signal: a process that asks and asks, but does not reply. */
static void a_call_can_be_given_up_amid_questions(void **state)
{
	struct fixture *f = *state;
	struct events *e = &f->events[REMOTE];
	struct op op = op_of(f, READABLE);
	struct wmsg_range range = { .uva = 0x7000, .len = 64 };
	struct wmsg_out question = { .type = WMSG_FAULT_IN,
				     .part = { { &range, sizeof(range) } },
				     .nparts = 1 };
	struct peer_in p;
	int ret = 0;

	link_raw(f, &p);
	e->give_up_after = 3;
	start_op(&op);
	expect(&p, WMSG_READABLE, 2);
	while (ret == 0 && e->interrupts < 3) {
		ret = wmsg_send(p.sock, &question, 0);
		if (ret == 0 && e->interrupts < 3 &&
		    poll(&(struct pollfd){ p.sock, POLLIN, 0 }, 1, 1000) == 1)
			wmsg_recv(p.sock, &p.in, MSG_DONTWAIT);
	}
	check_ret(end_op(&op), -ECONNRESET);
	check_gone(f);
	assert_int_equal(e->interrupts, 3);
	wmsg_in_free(&p.in);
}

static void interrupt(void *arg)
{
	struct op *op = arg;

	worker_interrupt(op->f->session);
}

static void a_call_can_be_given_up(void **state)
{
	struct fixture *f = *state;
	struct op op = op_of(f, READABLE);
	struct peer_in p;

	link_raw(f, &p);
	f->events[REMOTE].give_up_after = 3;
	worker_call_looking(f->session, op_fn, interrupt, &op, 1);
	check_ret(op.ret, -ECONNRESET);
	assert_int_equal(f->events[REMOTE].interrupts, 3);
	check_gone(f);
	assert_int_equal(lines, 0);
	assert_false(f->malformed);
	wmsg_in_free(&p.in);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define RAW(name) cmocka_unit_test_setup_teardown(name, setup_raw, teardown)
#define KEPT(name) cmocka_unit_test_setup_teardown(name, setup_kept, teardown)
#define EACH(name) cmocka_unit_test(name)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_calls_of_a_vmm_give_the_same),
		TEST(the_start_says_what_is_served),
		TEST(calls_of_128_kib_give_the_same),
		TEST(many_files_are_mapped),
		TEST(the_memory_file_comes_with_a_call),
		TEST(without_an_owner_no_file_is_kept),
		TEST(what_cannot_be_mapped_takes_the_memory_file),
		TEST(any_calls_give_the_same),
		TEST(the_iotlb_gives_the_same),
		TEST(the_memory_file_comes_with_an_update),
		TEST(a_miss_is_told_and_read),
		TEST(events_are_told_once_between_calls),
		TEST(a_repeated_call_is_answered_not_executed),
		KEPT(another_broker_goes_on),
		KEPT(a_call_that_never_left_has_no_number),
		KEPT(brokers_that_died_early_do_no_harm),
		KEPT(another_broker_gets_the_misses_again),
		RAW(a_number_out_of_turn_ends_the_process),
		EACH(a_malformed_call_ends_the_process),
		RAW(descriptors_come_with_some_calls_only),
		RAW(the_first_message_is_a_start),
		EACH(the_broker_can_end_at_any_point),
		RAW(a_broker_that_does_not_read_delays_nothing),
		RAW(a_reply_too_long_for_the_socket_is_enomem),
		TEST(questions_are_answered_while_idle),
		TEST(questions_and_calls_cross),
		RAW(a_call_waits_for_an_answer),
		RAW(another_broker_is_asked_again),
		RAW(nobody_answers_when_the_broker_has_ended),
		RAW(two_calls_at_once_end_the_process),
		EACH(a_malformed_reply_counts_as_a_crash),
		RAW(what_comes_while_idle_is_checked_too),
		RAW(descriptors_are_not_taken),
		RAW(a_verdict_that_asks_for_too_much_counts_as_a_crash),
		RAW(a_read_brings_no_more_than_was_wanted),
		RAW(a_read_brings_as_much_as_it_says),
		RAW(a_write_takes_a_message_at_most),
		RAW(printed_text_is_text),
		EACH(the_process_can_end_at_any_point),
		RAW(a_process_that_refuses_the_start_says_why),
		RAW(a_flood_of_events_counts_as_a_crash),
		RAW(a_flood_of_replies_counts_as_a_crash),
		RAW(questions_do_not_stop_the_loop),
		RAW(a_call_can_be_given_up_amid_questions),
		RAW(a_call_can_be_given_up),
	};

	alarm(300);
	fd_raise_limit();
	check_ret(worker_interrupts_enable(), 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
