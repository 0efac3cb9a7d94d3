/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_taker.c tests taker.c: descriptors are taken of a child of the test. The
 * takers make their system calls through a function of the test, so that the
 * child can put another file in place of the one that a taker has looked at.
 */
#include "check.h"

#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <unistd.h>
#include <linux/if_ether.h>
#include <linux/kcmp.h>
#include <netinet/in.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "deaf_file.h"
#include "spawner.h"
#include "taker.h"

#define DEAF_S 120 /* the file system lives no longer, whatever happens */
#define WAIT_MS 20000
#define SWAPS 4 /* an owner may have so many takers that close a file */

/* What the child has, by number; those that it could not open are -1. */
static struct shared {
	int event, closed, path, zero, pipe, packet, udp, tun, deaf;
	int memory, reading; /* the same file */
	void *mapped, *deaf_mapped;
	int spare[SWAPS]; /* as @event */
	pid_t server;
	bool ready;
	int swap; /* with @deaf, when it is taken; 0: nothing */
	int full; /* so many times are too many descriptors in flight */
	bool now;
	bool done;
} *shared;

struct fix {
	pid_t child;
};

static bool is_set(const bool *flag)
{
	return __atomic_load_n(flag, __ATOMIC_ACQUIRE);
}

static void set(bool *flag, bool value)
{
	__atomic_store_n(flag, value, __ATOMIC_RELEASE);
}

static void wait_for(const bool *flag)
{
	for (unsigned int i = 0; !is_set(flag) && i < WAIT_MS; i++)
		poll(NULL, 0, 1);
}

/* ---- in the takers ---- */

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);

/* It reads six arguments, however many there are. */
__attribute__((no_sanitize("address", "undefined"))) long
__wrap_syscall(long number, ...)
{
	long a[6];
	va_list args;

	va_start(args, number);
	for (unsigned int i = 0; i < 6; i++)
		a[i] = va_arg(args, long);
	va_end(args);
	if (number == SYS_pidfd_getfd && shared->swap) {
		set(&shared->now, true);
		wait_for(&shared->done);
	}
	if (number == SYS_sendmsg &&
	    ((const struct msghdr *)a[1])->msg_controllen &&
	    __atomic_load_n(&shared->full, __ATOMIC_ACQUIRE) > 0) {
		__atomic_sub_fetch(&shared->full, 1, __ATOMIC_ACQ_REL);
		errno = ETOOMANYREFS;
		return -1;
	}
	return __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* ---- the child ---- */

static void open_files(void)
{
	const struct deaf_file deaf = { .size = 4096,
					.life_s = DEAF_S,
					.no_flush = true };
	pid_t server = 0; /* its process has another value there */
	int ends[2];

	shared->event = eventfd(0, EFD_CLOEXEC);
	for (unsigned int i = 0; i < SWAPS; i++)
		shared->spare[i] = fcntl(shared->event, F_DUPFD_CLOEXEC, 0);
	shared->closed = fcntl(shared->event, F_DUPFD_CLOEXEC, 100);
	close(shared->closed);
	shared->path = open("/dev/zero", O_PATH | O_CLOEXEC);
	shared->zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	shared->pipe = pipe2(ends, O_CLOEXEC) < 0 ? -1 : ends[0];
	shared->packet =
		socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
	shared->udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	shared->tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	shared->deaf = deaf_file_open(&deaf, &server);
	shared->server = server;
}

/* Memory as guests have it; the address space is the child's. */
static void map_files(void)
{
	char path[32];

	shared->memory = memfd_create("ram", MFD_CLOEXEC);
	if (ftruncate(shared->memory, 4096) < 0)
		_exit(1);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", shared->memory);
	shared->reading = open(path, O_RDONLY | O_CLOEXEC);
	shared->mapped = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED,
			      shared->memory, 0);
	if (shared->deaf >= 0)
		shared->deaf_mapped = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
					   MAP_SHARED, shared->deaf, 0);
}

static _Noreturn void run_child(pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(0);
	/* Where Yama lets only ancestors in, a taker is none. */
	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
	open_files();
	map_files();
	set(&shared->ready, true);
	for (;;) {
		poll(NULL, 0, 1);
		if (!is_set(&shared->now) || is_set(&shared->done))
			continue;
		if (dup2(shared->deaf, shared->swap) < 0)
			_exit(1);
		set(&shared->done, true);
	}
}

/* ---- the test's side ---- */

static int setup(void **state)
{
	static struct fix f;
	pid_t self = getpid();

	memset(shared, 0, sizeof(*shared));
	f.child = check_ok(fork());
	if (f.child == 0)
		run_child(self);
	wait_for(&shared->ready);
	assert_true(is_set(&shared->ready));
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	const struct fix *f = *state;

	if (shared->deaf >= 0)
		kill(shared->server, SIGKILL);
	kill(f->child, SIGKILL);
	taker_finish();
	spawner_stop();
	/* The takers too, which have got SIGKILL. */
	while (waitpid(-1, NULL, 0) > 0)
		continue;
	return 0;
}

static int take_for(const struct fix *f, int number, enum taker_kind kind,
		    pid_t owner, bool (*given_up)(void *ctx), int *fd)
{
	const struct taker_order o = { .tid = f->child,
				       .table = f->child,
				       .number = number,
				       .kind = kind,
				       .uid = 1,
				       .owner = owner,
				       .given_up = given_up };

	return taker_take(&o, fd);
}

/* As it was asked for: the file of the child. */
static void expect_taken(const struct fix *f, int number, enum taker_kind kind)
{
	int fd;

	check_ret(take_for(f, number, kind, 1, NULL, &fd), 0);
	check_ret(__real_syscall(SYS_kcmp, getpid(), f->child, KCMP_FILE, fd,
				 number),
		  0);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
}

static void expect_null(int fd)
{
	char path[32], link[32];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, link, sizeof(link) - 1);
	link[n < 0 ? 0 : n] = '\0';
	assert_string_equal(link, "/dev/null");
	close(fd);
}

static void expect_other_kind(const struct fix *f, int number,
			      enum taker_kind kind)
{
	int fd;

	check_ret(take_for(f, number, kind, 1, NULL, &fd), 0);
	expect_null(fd);
}

static unsigned int count_takers(void)
{
	char path[64], name[32];
	unsigned int n = 0;
	glob_t lists;
	FILE *f, *comm;
	int pid;

	if (glob("/proc/self/task/*/children", 0, NULL, &lists) != 0)
		return 0;
	for (size_t i = 0; i < lists.gl_pathc; i++) {
		f = fopen(lists.gl_pathv[i], "re");
		while (f && fscanf(f, "%d", &pid) == 1) {
			snprintf(path, sizeof(path), "/proc/%d/comm", pid);
			comm = fopen(path, "re");
			if (!comm)
				continue;
			n += fgets(name, sizeof(name), comm) &&
			     strcmp(name, "uvhost-taker\n") == 0;
			fclose(comm);
		}
		if (f)
			fclose(f);
	}
	globfree(&lists);
	return n;
}

static void an_eventfd_is_taken(void **state)
{
	expect_taken(*state, shared->event, TAKER_EVENTFD);
	expect_other_kind(*state, shared->event, TAKER_NETPORT);
	assert_int_equal(count_takers(), 1);
}

static void what_may_be_a_port_is_taken(void **state)
{
	if (shared->packet < 0 || shared->tun < 0)
		skip();
	expect_taken(*state, shared->packet, TAKER_NETPORT);
	expect_taken(*state, shared->tun, TAKER_NETPORT);
	expect_other_kind(*state, shared->packet, TAKER_EVENTFD);
	expect_other_kind(*state, shared->tun, TAKER_EVENTFD);
	expect_other_kind(*state, shared->udp, TAKER_NETPORT);
	expect_other_kind(*state, shared->zero, TAKER_NETPORT);
}

static void other_files_are_not_taken(void **state)
{
	expect_other_kind(*state, shared->zero, TAKER_EVENTFD);
	expect_other_kind(*state, shared->pipe, TAKER_EVENTFD);
	expect_other_kind(*state, shared->pipe, TAKER_NETPORT);
	if (shared->deaf >= 0) {
		expect_other_kind(*state, shared->deaf, TAKER_EVENTFD);
		expect_other_kind(*state, shared->deaf, TAKER_NETPORT);
	}
	assert_int_equal(count_takers(), 1);
}

static void what_is_not_open_is_told(void **state)
{
	int fd;

	check_ret(take_for(*state, shared->closed, TAKER_EVENTFD, 1, NULL, &fd),
		  -EBADF);
	check_ret(take_for(*state, shared->path, TAKER_EVENTFD, 1, NULL, &fd),
		  -EBADF);
	check_ret(take_for(*state, shared->path, TAKER_NETPORT, 1, NULL, &fd),
		  -EBADF);
	expect_taken(*state, shared->event, TAKER_EVENTFD);
}

static void without_an_owner_there_is_none(void **state)
{
	taker_hold();
	taker_hold();
	expect_taken(*state, shared->event, TAKER_EVENTFD);
	taker_release();
	assert_int_equal(count_takers(), 1);
	taker_release();
	assert_int_equal(count_takers(), 0);
	taker_hold();
	expect_taken(*state, shared->event, TAKER_EVENTFD);
	taker_release();
	assert_int_equal(count_takers(), 0);
}

static bool always(void *ctx)
{
	(void)ctx;
	return true;
}

/* The taker gets the file that does not close. */
static void take_swapped(const struct fix *f, int number)
{
	int fd;

	set(&shared->done, false);
	set(&shared->now, false);
	shared->swap = number;
	check_ret(take_for(f, number, TAKER_EVENTFD, 1, NULL, &fd), 0);
	shared->swap = 0;
	expect_null(fd);
}

static void one_that_was_put_there_is_not_passed_on(void **state)
{
	const struct fix *f = *state;
	int fd;

	if (shared->deaf < 0)
		skip();
	for (unsigned int i = 0; i < SWAPS; i++)
		take_swapped(f, shared->spare[i]);
	/* For its owner that is enough; others are served, by one more. */
	check_ret(take_for(f, shared->event, TAKER_EVENTFD, 1, always, &fd),
		  -ECANCELED);
	for (unsigned int i = 0; i < 3; i++) {
		check_ret(
			take_for(f, shared->event, TAKER_EVENTFD, 2, NULL, &fd),
			0);
		close(fd);
	}
	assert_int_equal(count_takers(), SWAPS + 1);
	kill(shared->server, SIGKILL); /* all files are closed then */
	expect_taken(f, shared->event, TAKER_EVENTFD);
}

static void it_waits_while_too_many_are_in_flight(void **state)
{
	__atomic_store_n(&shared->full, 3, __ATOMIC_RELEASE);
	expect_taken(*state, shared->event, TAKER_EVENTFD);
	assert_int_equal(shared->full, 0);
}

/* Another one than that of the order before, which could not be sent. */
static void an_order_gets_its_own_descriptor(void **state)
{
	const struct fix *f = *state;
	int deaf = shared->deaf, fd;

	shared->deaf = shared->zero; /* it can be closed */
	set(&shared->done, false);
	set(&shared->now, false);
	shared->swap = shared->spare[0];
	__atomic_store_n(&shared->full, 1000000, __ATOMIC_RELEASE);
	check_ret(take_for(f, shared->swap, TAKER_EVENTFD, 1, NULL, &fd),
		  -ENOMEM);
	__atomic_store_n(&shared->full, 0, __ATOMIC_RELEASE);
	shared->swap = 0;
	shared->deaf = deaf;
	for (unsigned int i = 1; i < SWAPS; i++)
		expect_taken(f, shared->spare[i], TAKER_EVENTFD);
	expect_other_kind(f, shared->zero, TAKER_EVENTFD);
}

/* ---- files ---- */

/* An order for the file that the child has as @number. */
static struct taker_order file_order(const struct fix *f, int number,
				     enum taker_kind kind, const void *mapped)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", f->child, number);
	check_ret(stat(path, &st), 0);
	return (struct taker_order){ .tid = f->child,
				     .table = f->child,
				     .number = number,
				     .kind = kind,
				     .dev = st.st_dev,
				     .ino = st.st_ino,
				     .start = (uintptr_t)mapped,
				     .end = (uintptr_t)mapped + 4096,
				     .uid = 1,
				     .owner = 1 };
}

static void a_memory_file_is_taken(void **state)
{
	const struct fix *f = *state;
	struct taker_order o = file_order(f, shared->memory, TAKER_FILE, NULL);
	int fd;

	check_ret(taker_take(&o, &fd), 0);
	check_ret(__real_syscall(SYS_kcmp, getpid(), f->child, KCMP_FILE, fd,
				 o.number),
		  0);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
	o.number = shared->reading;
	check_ret(taker_take(&o, &fd), -EINVAL);
	o.number = shared->event;
	check_ret(taker_take(&o, &fd), -EINVAL);
	o.number = shared->closed;
	check_ret(taker_take(&o, &fd), -EINVAL);
	o.number = shared->memory;
	o.ino++;
	check_ret(taker_take(&o, &fd), -EINVAL);
}

static void a_mapped_file_is_pinned(void **state)
{
	const struct fix *f = *state;
	struct taker_order o =
		file_order(f, shared->memory, TAKER_MAPPED, shared->mapped);
	struct stat st;
	int fd, ret;

	ret = taker_take(&o, &fd);
	if (ret == -EPERM)
		skip(); /* no right to map_files */
	check_ret(ret, 0);
	assert_true(fcntl(fd, F_GETFL) & O_PATH);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	check_ret(fstat(fd, &st), 0);
	assert_int_equal(st.st_ino, o.ino);
	close(fd);
	o.ino++;
	check_ret(taker_take(&o, &fd), -EINVAL);
	o.end += 4096;
	check_ret(taker_take(&o, &fd), -ENOENT);
}

/* More often than an owner may have takers that wait. */
static void a_file_whose_server_may_not_answer_is_not_taken(void **state)
{
	const struct fix *f = *state;
	struct taker_order o;
	int fd, ret;

	if (shared->deaf < 0)
		skip();
	o = file_order(f, shared->deaf, TAKER_FILE, NULL);
	for (unsigned int i = 0; i <= SWAPS; i++)
		check_ret(taker_take(&o, &fd), -EOPNOTSUPP);
	o = file_order(f, shared->deaf, TAKER_MAPPED, shared->deaf_mapped);
	for (unsigned int i = 0; i <= SWAPS; i++) {
		ret = taker_take(&o, &fd);
		assert_true(ret == -EOPNOTSUPP || ret == -EPERM);
	}
	assert_int_equal(count_takers(), 1);
}

/* It is put there when the taker has looked at the memory file. */
static void such_a_file_is_not_passed_on(void **state)
{
	const struct fix *f = *state;
	struct taker_order o = file_order(f, shared->memory, TAKER_FILE, NULL);
	int fd;

	if (shared->deaf < 0)
		skip();
	set(&shared->done, false);
	set(&shared->now, false);
	shared->swap = o.number;
	check_ret(taker_take(&o, &fd), -EINVAL);
	assert_true(is_set(&shared->done));
	shared->swap = 0;
	expect_taken(f, shared->event, TAKER_EVENTFD);
	assert_int_equal(count_takers(), 2); /* one of them closes it */
	kill(shared->server, SIGKILL);
}

#define TAKER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TAKER(an_eventfd_is_taken),
		TAKER(what_may_be_a_port_is_taken),
		TAKER(other_files_are_not_taken),
		TAKER(what_is_not_open_is_told),
		TAKER(without_an_owner_there_is_none),
		TAKER(one_that_was_put_there_is_not_passed_on),
		TAKER(it_waits_while_too_many_are_in_flight),
		TAKER(an_order_gets_its_own_descriptor),
		TAKER(a_memory_file_is_taken),
		TAKER(a_mapped_file_is_pinned),
		TAKER(a_file_whose_server_may_not_answer_is_not_taken),
		TAKER(such_a_file_is_not_passed_on),
	};

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
