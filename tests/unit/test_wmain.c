/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_wmain.c tests the program uvhost-worker: how it starts, what it may do,
 * and how it ends. This program is its broker.
 */
#include "check.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>
#include <linux/capability.h>
#include <linux/vhost.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

#include "bytes.h"
#include "confine.h"
#include "devlink_remote.h"
#include "devmem.h"
#include "fd.h"
#include "log.h"
#include "vdev.h"
#include "wmsg.h"
#include "worker.h"
#include "wfix.h"
#include "wproc.h"

#define REGIONS_MAX 64
#define MEMORY ((size_t)65536)

/* ---- a worker process ---- */

struct fixture {
	struct wproc p;
	int sock; /* ours; -1: the link's */
	struct worker *session;
	struct devmem *mem;
	struct devlink *link;
	struct log_tag tag;
	struct log_limit limit;
	unsigned int stall_ms;
	int ret;
};

static int setup(void **state)
{
	static struct fixture f;
	struct wproc_user user = wfix_user();
	int ends[2], fds[2];

	f = (struct fixture){ .sock = -1 };
	log_tag_init(&f.tag, "uvhost-net/3");
	log_limit_init(&f.limit, 1000, NULL);
	check_ret(devmem_new(vdev_cursor_size(), &f.mem), 0);
	check_ret(wproc_prepare(WORKER), 0);
	check_ret(wmsg_pair(ends), 0);
	fds[0] = ends[1];
	fds[1] = devmem_fd(f.mem);
	check_ret(wproc_start(&user, f.tag.name, fds, 2, &f.p), 0);
	close(ends[1]);
	f.sock = ends[0];
	*state = &f;
	return 0;
}

static void free_link(void *arg)
{
	struct fixture *f = arg;

	devlink_free(f->link);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	struct wproc_end end;

	if (f->session) {
		worker_call(f->session, free_link, f);
		worker_finish(f->session);
		worker_join(f->session);
	}
	fd_drop(&f->sock);
	wproc_fence(&f->p, -1, &end);
	wproc_finish();
	devmem_free(f->mem);
	log_limit_end(&f->limit);
	return 0;
}

static void make_link(void *arg)
{
	struct fixture *f = arg;
	const struct devlink_config config = {
		.worker = f->session,
		.tag = &f->tag,
		.limit = &f->limit,
		.max_mem_regions = REGIONS_MAX,
		.stall_ms = f->stall_ms,
		.mem = f->mem,
	};
	const struct devlink_remote_config remote = { .sock = f->sock };

	f->ret = devlink_remote_new(&config, &remote, &f->link);
	if (f->ret == 0)
		f->sock = -1;
}

static void serve(struct fixture *f)
{
	check_ret(worker_new("session", 0, &f->session), 0);
	worker_call(f->session, make_link, f);
	check_ret(f->ret, 0);
}

/* ---- by hand ---- */

static int run_by_hand(const char *arg, char *text, size_t size)
{
	int out[2], status;
	size_t len = 0;
	ssize_t n;
	pid_t pid;

	check_ok(pipe(out));
	pid = fork();
	if (pid == 0) {
		dup2(out[1], 1);
		dup2(out[1], 2);
		for (int fd = 3; fd < 64; fd++)
			close(fd);
		execl(WORKER, "uvhost-worker", arg, NULL);
		_exit(99);
	}
	close(out[1]);
	while ((n = read(out[0], text + len, size - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	close(out[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void by_hand_it_says_what_it_is(void **state)
{
	char text[1024];

	(void)state;
	assert_int_equal(run_by_hand(NULL, text, sizeof(text)), 2);
	assert_non_null(strstr(text, "uvhostd"));
	assert_int_equal(run_by_hand("--help", text, sizeof(text)), 2);
	assert_int_equal(run_by_hand("--version", text, sizeof(text)), 0);
	assert_int_equal(strncmp(text, "uvhost-worker ", 14), 0);
}

/* ---- start and end ---- */

static void send_start(const struct fixture *f, const char *build)
{
	struct wmsg_start start = { .max_mem_regions = REGIONS_MAX,
				    .log_level = LOG_LEVEL_INFO };
	struct wmsg_out out = { .type = WMSG_START,
				.seq = 1,
				.part = { { &start, sizeof(start) } },
				.nparts = 1 };

	strncpy(start.build, build, sizeof(start.build) - 1);
	strncpy(start.tag, "uvhost-net/3", sizeof(start.tag) - 1);
	check_ret(wmsg_send(f->sock, &out, 0), 0);
}

static void check_start_reply(const struct fixture *f, int64_t want)
{
	struct wmsg_in in;
	const void *bytes;
	size_t len;
	int64_t n;

	check_ret(wmsg_in_init(&in, WMSG_PACKET_MAX, false), 0);
	check_ret(wmsg_recv(f->sock, &in, 0), 0);
	assert_int_equal(in.hdr.type, WMSG_START | WMSG_REPLY);
	assert_int_equal(in.hdr.seq, 1);
	check_ret(wmsg_get_reply(&in, -WMSG_ERRNO_MAX, 0, &n, &bytes, &len), 0);
	check_ret(n, want);
	wmsg_in_free(&in);
}

static void a_broker_of_another_build_is_refused(void **state)
{
	struct fixture *f = *state;

	send_start(f, "another");
	check_start_reply(f, -ESTALE);
	wfix_check_exit(&f->p, 0);
}

static void without_memory_of_its_own_it_starts_too(void **state)
{
	struct fixture *f = *state;

	send_start(f, wmsg_build());
	check_start_reply(f, 0);
	fd_drop(&f->sock);
	wfix_check_exit(&f->p, 0);
}

static void it_ends_with_the_broker(void **state)
{
	struct fixture *f = *state;

	fd_drop(&f->sock);
	wfix_check_exit(&f->p, 0);
}

static void it_ends_if_it_does_not_understand(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(send(f->sock, "hello", 5, 0), 5);
	wfix_check_exit(&f->p, 1);
}

static void it_ends_if_it_does_not_understand_later(void **state)
{
	struct fixture *f = *state;

	send_start(f, wmsg_build());
	check_start_reply(f, 0);
	assert_int_equal(send(f->sock, "hello", 5, 0), 5);
	wfix_check_exit(&f->p, 1);
}

/* ---- what it may do ---- */

static void it_has_no_rights_and_a_filter(void **state)
{
	struct fixture *f = *state;
	pid_t pid = f->p.pid;

	serve(f);
	assert_int_equal(wfix_status(pid, "Uid", 10), wfix_user().uid);
	assert_int_equal(wfix_status(pid, "Gid", 10), wfix_user().gid);
	assert_int_equal(wfix_status(pid, "CapPrm", 16), 0);
	assert_int_equal(wfix_status(pid, "CapEff", 16), 0);
	assert_int_equal(wfix_status(pid, "CapAmb", 16), 0);
	assert_int_equal(wfix_status(pid, "NoNewPrivs", 10), 1);
	assert_int_equal(wfix_status(pid, "Seccomp", 10), 2);
#ifndef __SANITIZE_THREAD__
	assert_int_equal(wfix_status(pid, "Threads", 10), 2);
#endif
}

#ifndef UVHOST_SANITIZED
/* What a process of the same user gets at; 0: nothing. */
static int try_to_attach(pid_t pid)
{
	char path[40], byte;
	struct iovec l = { &byte, 1 }, r = { (void *)0x1000, 1 };
	int pidfd;

	if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) == 0 || errno != EPERM)
		return 1;
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	if (open(path, O_RDWR) >= 0 || open(path, O_RDONLY) >= 0 ||
	    errno != EACCES)
		return 2;
	if (process_vm_readv(pid, &l, 1, &r, 1, 0) >= 0 || errno != EPERM)
		return 3;
	pidfd = pidfd_open(pid, 0);
	if (pidfd < 0 || pidfd_getfd(pidfd, WPROC_SOCK, 0) >= 0 ||
	    errno != EPERM)
		return 4;
	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	return open(path, O_RDONLY | O_DIRECTORY) >= 0 ? 5 : 0;
}

/* A process of the workers' user; it attaches to what it is told. */
static pid_t start_stranger(int *sock)
{
	int ends[2];
	pid_t pid, target;

	check_ok(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends));
	pid = fork();
	if (pid == 0) {
		close(ends[0]);
		if (wfix_is_root() &&
		    (setresgid(WFIX_NOBODY, WFIX_NOBODY, WFIX_NOBODY) < 0 ||
		     setresuid(WFIX_NOBODY, WFIX_NOBODY, WFIX_NOBODY) < 0))
			_exit(1);
		while (recv(ends[1], &target, sizeof(target), 0) > 0) {
			int got = try_to_attach(target);

			if (send(ends[1], &got, sizeof(got), 0) < 0)
				break;
		}
		_exit(0);
	}
	close(ends[1]);
	*sock = ends[0];
	return pid;
}

static int ask_stranger(int sock, pid_t target)
{
	int got = -1;

	if (send(sock, &target, sizeof(target), 0) < 0 ||
	    recv(sock, &got, sizeof(got), 0) < 0)
		return -1;
	return got;
}

static void no_process_of_its_user_attaches(void **state)
{
	struct fixture *f = *state;
	int stranger;
	pid_t pid = start_stranger(&stranger);

	serve(f);
	assert_int_equal(ask_stranger(stranger, f->p.pid), 0);
	close(stranger);
	waitpid(pid, NULL, 0);
}

/* The installed program is out of reach from its first instruction on: there is
 * no time between exec and main(). */
static void not_even_at_its_start(void **state)
{
	struct wproc_user user = wfix_user();
	char copy[] = "/tmp/uvhost-worker-XXXXXX", command[256];
	int stranger, ends[2], got = 0;
	struct wproc_end end;
	struct wproc p;
	pid_t pid;

	(void)state;
	if (!wfix_is_root())
		skip_because("needs a program of another user");
	close(check_ok(mkstemp(copy)));
	snprintf(command, sizeof(command), "cp %s %s && chmod 711 %s", WORKER,
		 copy, copy);
	assert_int_equal(system(command), 0);
	check_ret(wproc_prepare(copy), 0);
	unlink(copy);
	pid = start_stranger(&stranger);
	for (unsigned int i = 0; i < 50 && !got; i++) {
		check_ret(wmsg_pair(ends), 0);
		check_ret(wproc_start(&user, "x", &ends[1], 1, &p), 0);
		got = ask_stranger(stranger, p.pid);
		close(ends[0]);
		close(ends[1]);
		check_ret(wproc_fence(&p, -1, &end), 0);
	}
	close(stranger);
	waitpid(pid, NULL, 0);
	assert_int_equal(got, 0);
}
#endif

/* ---- calls, below the filter ---- */

/* A call with its facts, and its result. */
struct request {
	struct fixture *f;
	struct ioctl_call call;
	struct call_facts facts;
	struct ioctl_verdict v;
	int ret;
};

static void run_request(void *arg)
{
	struct request *r = arg;

	r->ret = devlink_ioctl(r->f->link, &r->call, &r->facts, &r->v);
}

static void check_call(struct fixture *f, unsigned long cmd, const void *in,
		       size_t in_len, struct call_facts facts, void *out,
		       size_t out_len, int want)
{
	struct request r = {
		.f = f,
		.call = { .cmd = (uint32_t)cmd,
			  .in = in,
			  .in_len = in_len,
			  .out = out,
			  .out_room = out_len },
		.facts = facts,
	};

	r.facts.is_owner = true;
	worker_call(f->session, run_request, &r);
	check_ret(r.ret, 0);
	assert_false(r.v.again);
	check_ret(r.v.error, want);
	assert_int_equal(r.v.out_len, out_len);
}

static void become_owner(struct fixture *f)
{
	struct call_facts facts = CALL_FACTS_NONE;

	facts.mem_fd = check_ok(open("/proc/self/mem", O_RDWR | O_CLOEXEC));
	facts.pid = getpid();
	check_call(f, VHOST_SET_OWNER, NULL, 0, facts, NULL, 0, 0);
	close(facts.mem_fd);
}

/* One region, in a file that is mapped here and there. */
static void set_memory(struct fixture *f, uint8_t *p, int fd)
{
	struct call_facts facts = CALL_FACTS_NONE;
	struct {
		uint32_t nregions, padding; /* struct vhost_memory */
		struct vhost_memory_region region;
	} table = { .nregions = 1 };
	struct owner_map map = { .uva = (uintptr_t)p, .size = MEMORY };
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	map.dev = st.st_dev;
	map.ino = st.st_ino;
	table.region.memory_size = MEMORY;
	table.region.userspace_addr = (uintptr_t)p;
	facts.maps = (struct owner_maps){
		.map = &map, .nmaps = 1, .fd = &fd, .nfds = 1
	};
	check_call(f, VHOST_SET_MEM_TABLE, &table, sizeof(table), facts, NULL,
		   0, 0);
}

static void set_descriptor(struct fixture *f, unsigned long cmd, int fd,
			   int want)
{
	const struct vhost_vring_file file = { .index = 0, .fd = fd };
	struct call_facts facts = CALL_FACTS_NONE;

	facts.fd = fd;
	check_call(f, cmd, &file, sizeof(file), facts, NULL, 0, want);
}

static void set_ring(struct fixture *f, uint8_t *p)
{
	const struct vhost_vring_state num = { .index = 0, .num = 256 };
	const struct vhost_vring_addr addr = {
		.desc_user_addr = (uintptr_t)p,
		.avail_user_addr = (uintptr_t)p + 8192,
		.used_user_addr = (uintptr_t)p + 16384,
	};

	check_call(f, VHOST_SET_VRING_NUM, &num, sizeof(num), CALL_FACTS_NONE,
		   NULL, 0, 0);
	check_call(f, VHOST_SET_VRING_ADDR, &addr, sizeof(addr),
		   CALL_FACTS_NONE, NULL, 0, 0);
}

static void print_state(void *arg)
{
	struct fixture *f = arg;
	char *text = NULL;

	f->ret = devlink_print(f->link, &text);
	if (f->ret == 0 && !strlen(text))
		f->ret = -ENOMSG;
	free(text);
}

static void a_device_is_set_up_below_the_filter(void **state)
{
	struct fixture *f = *state;
	int fd = check_ok(memfd_create("memory", MFD_CLOEXEC));
	int kick = check_ok(eventfd(0, EFD_CLOEXEC));
	uint64_t features = 0, none = 0;
	uint8_t *p;

	serve(f);
	check_ok(ftruncate(fd, MEMORY));
	p = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	check_call(f, VHOST_GET_FEATURES, NULL, 0, CALL_FACTS_NONE, &features,
		   sizeof(features), 0);
	assert_int_equal(features, vdev_features(0));
	become_owner(f);
	check_call(f, VHOST_SET_FEATURES, &none, sizeof(none), CALL_FACTS_NONE,
		   NULL, 0, 0);
	set_memory(f, p, fd);
	set_ring(f, p);
	set_descriptor(f, VHOST_SET_VRING_KICK, kick, 0);
	set_descriptor(f, VHOST_SET_VRING_CALL, kick, 0);
	set_descriptor(f, VHOST_SET_VRING_ERR, fd, -EINVAL);
	set_descriptor(f, VHOST_NET_SET_BACKEND, fd, -ENOTSOCK);
	worker_call(f->session, print_state, f);
	check_ret(f->ret, 0);
	munmap(p, MEMORY);
	close(kick);
	close(fd);
}

/* ---- one that does not get on ---- */

#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
#define STALL_MS 100
#define JUMP_TO_ITSELF 0xfeebL

static pid_t device_thread(pid_t pid)
{
	char path[40];
	struct dirent *d;
	pid_t tid = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	assert_non_null(dir);
	while ((d = readdir(dir)))
		if (atoi(d->d_name) > 0 && atoi(d->d_name) != pid)
			tid = atoi(d->d_name);
	closedir(dir);
	return tid;
}

/* The thread goes on with an instruction that jumps to itself. False: it may
 * not be traced. */
static bool make_it_loop(pid_t tid)
{
	struct user_regs_struct regs;
	int status;
	long word;

	if (ptrace(PTRACE_ATTACH, tid, NULL, NULL) < 0)
		return false;
	assert_int_equal(waitpid(tid, &status, __WALL), tid);
	assert_true(WIFSTOPPED(status));
	check_ok((int)ptrace(PTRACE_GETREGS, tid, NULL, &regs));
	regs.orig_rax = (unsigned long long)-1; /* it is in no call */
	check_ok((int)ptrace(PTRACE_SETREGS, tid, NULL, &regs));
	errno = 0;
	word = ptrace(PTRACE_PEEKTEXT, tid, (void *)regs.rip, NULL);
	assert_int_equal(errno, 0);
	word = (word & ~0xffffL) | JUMP_TO_ITSELF;
	check_ok((int)ptrace(PTRACE_POKETEXT, tid, (void *)regs.rip,
			     (void *)word));
	check_ok((int)ptrace(PTRACE_DETACH, tid, NULL, NULL));
	return true;
}

static void a_loop_without_end_ends_it(void **state)
{
	struct fixture *f = *state;
	struct pollfd p = { .fd = f->p.pidfd, .events = POLLIN };
	struct wproc_end end;

	f->stall_ms = STALL_MS;
	serve(f);
	if (!make_it_loop(device_thread(f->p.pid)))
		skip_because("no process may be traced here");
	assert_int_equal(poll(&p, 1, WFIX_DEADLINE_MS), 1);
	check_ret(wproc_fence(&f->p, -1, &end), 0);
	assert_int_equal(end.signal, SIGXCPU);
}
#endif

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(by_hand_it_says_what_it_is),
		TEST(a_broker_of_another_build_is_refused),
		TEST(without_memory_of_its_own_it_starts_too),
		TEST(it_ends_with_the_broker),
		TEST(it_ends_if_it_does_not_understand),
		TEST(it_ends_if_it_does_not_understand_later),
		TEST(it_has_no_rights_and_a_filter),
#ifndef UVHOST_SANITIZED
		TEST(no_process_of_its_user_attaches),
		TEST(not_even_at_its_start),
#endif
		TEST(a_device_is_set_up_below_the_filter),
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
		TEST(a_loop_without_end_ends_it),
#endif
	};

	return cmocka_run_group_tests_name("wmain", tests, NULL, NULL);
}
