/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_peer.c tests peer.c: what is known and held of the process that owns a
 * device. The owner is a child of the test.
 */
#include "check.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "arena.h"
#include "deaf_file.h"
#include "inline_worker.h"
#include "peer.h"

struct fix {
	struct worker *w;
	pid_t child;
	struct peer peer;
	unsigned int died;
};

static const struct log_tag tag = { "test" };
static uint64_t secret = 0x1122334455667788;

static void count_death(void *ctx)
{
	struct fix *f = ctx;

	f->died++;
}

static void start_child(struct fix *f)
{
	pid_t parent = getpid();

	f->child = check_ok(fork());
	if (f->child)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(0);
	for (;;)
		pause();
}

static void end_child(struct fix *f)
{
	if (!f->child)
		return;
	kill(f->child, SIGKILL);
	waitpid(f->child, NULL, 0);
	f->child = 0;
}

static int setup(void **state)
{
	static struct fix f;

	f = (struct fix){ .died = 0 };
	check_ret(worker_new("test", 0, &f.w), 0);
	start_child(&f);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fix *f = *state;

	peer_detach(&f->peer);
	end_child(f);
	worker_finish(f->w);
	worker_join(f->w);
	return 0;
}

static void attach(struct fix *f)
{
	check_ret(peer_attach(&f->peer, f->child, f->w, count_death, f, NULL,
			      &tag),
		  0);
}

/* The test has the same program, and the same auxiliary vector. */
static void only_the_owner_is_taken_for_it(void **state)
{
	struct fix *f = *state;

	assert_false(peer_is_owner(&f->peer, f->child));
	assert_false(peer_is_there(&f->peer));
	attach(f);
	assert_int_equal(f->peer.pid, f->child);
	assert_true(peer_is_owner(&f->peer, f->child));
	assert_true(peer_is_there(&f->peer));
	assert_false(peer_is_owner(&f->peer, getpid()));
	assert_false(peer_is_owner(&f->peer, 0));
	peer_detach(&f->peer);
	assert_false(peer_is_owner(&f->peer, f->child));
	assert_false(peer_is_there(&f->peer));
}

static void its_memory_is_read_and_written(void **state)
{
	struct fix *f = *state;
	uint64_t word = 0, mine = 5;
	off_t at = (off_t)(uintptr_t)&secret;

	attach(f);
	secret = 7; /* the test's own */
	check_ret(pread(f->peer.mem_fd, &word, sizeof(word), at), 8);
	assert_int_equal(word, 0x1122334455667788);
	check_ret(pwrite(f->peer.mem_fd, &mine, sizeof(mine), at), 8);
	check_ret(pread(f->peer.mem_fd, &word, sizeof(word), at), 8);
	assert_int_equal(word, 5);
	assert_int_equal(secret, 7);
	secret = 0x1122334455667788;
}

static void what_is_open_of_it_is_closed(void **state)
{
	struct fix *f = *state;
	unsigned int before = count_fds();

	attach(f);
	assert_true(count_fds() > before);
	peer_detach(&f->peer);
	assert_int_equal(count_fds(), before);
	peer_detach(&f->peer);
	assert_int_equal(count_fds(), before);
}

static void one_of_an_earlier_daemon_is_restored(void **state)
{
	struct fix *f = *state;
	unsigned int before = count_fds();
	struct peer known;
	int mem_fd;

	attach(f);
	known = (struct peer){
		.pid = f->peer.pid,
		.pidfd = check_ok(fcntl(f->peer.pidfd, F_DUPFD_CLOEXEC, 0)),
		.waiter = f->peer.waiter,
		.program = f->peer.program,
	};
	mem_fd = check_ok(fcntl(f->peer.mem_fd, F_DUPFD_CLOEXEC, 0));
	peer_detach(&f->peer);
	check_ret(peer_restore(&f->peer, &known, mem_fd, f->w, count_death, f),
		  0);
	assert_true(peer_is_owner(&f->peer, f->child));
	assert_true(peer_is_there(&f->peer));
	peer_detach(&f->peer);
	assert_int_equal(count_fds(), before);
}

static void its_death_is_told_once(void **state)
{
	struct fix *f = *state;
	pid_t pid = f->child;

	attach(f);
	worker_look(f->w);
	assert_int_equal(f->died, 0);
	end_child(f);
	worker_look(f->w);
	worker_look(f->w);
	assert_int_equal(f->died, 1);
	assert_false(peer_is_owner(&f->peer, pid));
	assert_false(peer_is_there(&f->peer));
}

/* The number and the process are the owner's yet, the memory is not. */
static void what_the_owner_executes_is_not_the_owner(void **state)
{
	struct fix *f = *state;
	int done[2], go[2];
	char c = 'x';

	end_child(f);
	check_ret(pipe2(done, O_CLOEXEC), 0);
	check_ret(pipe2(go, O_CLOEXEC), 0);
	f->child = check_ok(fork());
	if (f->child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(done[0]);
		close(go[1]);
		if (read(go[0], &c, 1) == 1)
			execlp("sleep", "sleep", "600", (char *)NULL);
		_exit(127);
	}
	close(done[1]);
	close(go[0]);
	attach(f);
	assert_true(peer_is_owner(&f->peer, f->child));
	check_ret(write(go[1], &c, 1), 1);
	check_ret(read(done[0], &c, 1), 0); /* closed by exec */
	assert_false(peer_is_owner(&f->peer, f->child));
	assert_false(peer_is_there(&f->peer));
	check_ret(pread(f->peer.mem_fd, &c, 1, (off_t)(uintptr_t)&secret), 0);
	close(done[0]);
	close(go[1]);
}

/* ---- an owner whose memory never answers ---- */

/* So long the file system lives. What waits for it goes on then, and fails. */
#define DEAF_S 60

static struct deaf {
	pid_t server;
	void *page;
	bool ready;
} *deaf;

/* The page with the bytes at AT_RANDOM becomes one of a file that is not read.
 * It has frames of main(), to which the child does not return. */
static __attribute__((noinline)) void be_deaf(void)
{
	const struct deaf_file file = { .size = 4096, .life_s = DEAF_S };
	volatile char away[65536] __attribute__((unused));
	void *page = (void *)(getauxval(AT_RANDOM) & ~UINT64_C(4095));
	pid_t server;
	int fd;

	away[0] = 0;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
	fd = deaf_file_open(&file, &server);
	if (fd >= 0 && mmap(page, 4096, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_FIXED, fd, 0) == page) {
		deaf->server = server;
		deaf->page = page;
	}
	__atomic_store_n(&deaf->ready, true, __ATOMIC_RELEASE);
	for (;;)
		syscall(SYS_pause);
}

static bool is_given_up(void *ctx)
{
	(void)ctx;
	return true;
}

static void on_alarm(int sig)
{
	(void)sig;
}

/* A signal again and again, as the watchdog sends one. */
static void interrupt_me(bool on)
{
	const struct sigaction act = { .sa_handler = on ? on_alarm : SIG_DFL };
	const suseconds_t us = on ? 20000 : 0;
	const struct itimerval often = { { 0, us }, { 0, us } };

	sigaction(SIGALRM, &act, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
}

static void memory_that_does_not_answer_keeps_nobody_waiting(void **state)
{
	const struct taker_order who = { .given_up = is_given_up };
	struct fix *f = *state;
	int ret;

	deaf = mmap(NULL, sizeof(*deaf), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(deaf, MAP_FAILED);
	end_child(f);
	f->child = check_ok(fork());
	if (!f->child)
		be_deaf();
	while (!__atomic_load_n(&deaf->ready, __ATOMIC_ACQUIRE))
		poll(NULL, 0, 1);
	if (!deaf->page)
		skip();
	attach(f);
	assert_true(peer_is_owner(&f->peer, f->child));
	assert_true(peer_is_there(&f->peer));
	interrupt_me(true);
	ret = peer_fault_in(&f->peer, &who, false, (uintptr_t)deaf->page, 8);
	interrupt_me(false);
	check_ret(ret, -ECANCELED);
	kill(deaf->server, SIGKILL);
	munmap(deaf, sizeof(*deaf));
}

#define PEER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		PEER(only_the_owner_is_taken_for_it),
		PEER(its_memory_is_read_and_written),
		PEER(what_is_open_of_it_is_closed),
		PEER(one_of_an_earlier_daemon_is_restored),
		PEER(its_death_is_told_once),
		PEER(what_the_owner_executes_is_not_the_owner),
		PEER(memory_that_does_not_answer_keeps_nobody_waiting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
