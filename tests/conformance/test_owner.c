/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device's memory is an address space, not a process id: what the owner
 * executes next, and whatever process gets its number, is neither read nor
 * written, and is not taken for the owner.
 *
 * The test process opens the device and drives the rings, which lie in a memfd.
 * A child of it is the owner: it has all that by fork, and private memory of
 * its own at HERE, and nothing behind it. A stranger is a program with a secret
 * at the same address, and a page behind it that it has never touched.
 */
#include "caller.h"
#include "rig.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
#include <linux/sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define PAGE 4096
/* An address that every program has free, sanitizers included. */
#ifdef __SANITIZE_THREAD__
#define HERE UINT64_C(0x4000000000)
#else
#define HERE UINT64_C(0x200000000000)
#endif
#define HERE_BYTES (4 * PAGE)
#define BEHIND (HERE + HERE_BYTES)
#define HERE_GPA (UINT64_C(1) << 32)
#define LEN 100 /* of a frame */
#define SEED_OWNER 1
#define SEED_STRANGER 2
#define STRANGER_WORD "--be-a-stranger"

/* ---- the stranger ---- */

/* A frame in the first page, another pattern in the others. */
static void fill(uint8_t *at, unsigned int seed)
{
	memset(at, (int)(0x50 + seed), HERE_BYTES);
	memset(at, 0, 12);
	vmm_frame(at + 12, LEN, seed);
}

static uint8_t *map_here(void)
{
	void *p = mmap((void *)(uintptr_t)HERE, HERE_BYTES,
		       PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static bool is_untouched(uint64_t page)
{
	unsigned char there = 0;

	return mincore((void *)(uintptr_t)page, PAGE, &there) == 0 &&
	       !(there & 1);
}

/* Answers each byte with whether the secret is unharmed, and the page behind it
 * as it was, until it is not asked for any more. */
static void stranger_main(int sock)
{
	static uint8_t want[HERE_BYTES];
	uint8_t *secret = map_here();
	char byte = 'x';

	if (!secret ||
	    mmap((void *)(uintptr_t)BEHIND, PAGE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1,
		 0) == MAP_FAILED)
		_exit(1);
	fill(secret, SEED_STRANGER);
	fill(want, SEED_STRANGER);
	do {
		byte = (char)(memcmp(secret, want, sizeof(want)) == 0 &&
			      is_untouched(BEHIND));
		if (write(sock, &byte, 1) != 1)
			break;
	} while (read(sock, &byte, 1) == 1);
	_exit(0);
}

static void become_stranger(const char *program, int sock)
{
	char word[16];
	char *argv[] = { (char *)"stranger", (char *)STRANGER_WORD, word,
			 NULL };

	snprintf(word, sizeof(word), "%d", dup(sock)); /* without CLOEXEC */
	execv(program, argv);
	_exit(1);
}

/* ---- the owner ---- */

struct scene {
	struct rig *r;
	int sock; /* to the owner, later to the stranger */
	int theirs;
	pid_t owner;
};

static char hear(const struct scene *s)
{
	struct pollfd p = { .fd = s->sock, .events = POLLIN };
	char byte = 0;

	assert_int_equal(poll(&p, 1, CONF_MS), 1);
	assert_int_equal(read(s->sock, &byte, 1), 1);
	return byte;
}

static void tell(const struct scene *s)
{
	assert_int_equal(write(s->sock, "g", 1), 1);
}

/* Runs @life in a child, with the other end of the socket. */
static struct scene scene_open(void (*life)(struct scene *s))
{
	struct vmm_mem mem = conf_mem();
	struct scene s;
	int sv[2];

	check_ret(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	check_ret(vmm_mem_add(&mem, VMM_MEM_MEMFD, 0, 4U << 20), 0);
	mem.region[mem.n] = (struct vmm_region){
		.gpa = HERE_GPA,
		.size = HERE_BYTES + PAGE,
		.hva = map_here(),
		.map = (uint8_t *)(uintptr_t)HERE,
		.map_size = HERE_BYTES,
		.fd = -1,
	};
	assert_non_null(mem.region[mem.n++].hva);
	s.r = rig_open(&(struct rig_config){
		.idle = true, .tap.sndbuf = 1 << 20, .vmm.own_mem = &mem });
	fill((uint8_t *)(uintptr_t)HERE, SEED_OWNER);
	s.sock = sv[0];
	s.theirs = sv[1];
	s.owner = check_ok(fork());
	if (s.owner == 0) {
		close(sv[0]);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		life(&s);
		_exit(1);
	}
	close(sv[1]);
	return s;
}

static void scene_close(struct scene *s)
{
	close(s->sock);
	kill(s->owner, SIGKILL);
	waitpid(s->owner, NULL, 0);
	rig_close(s->r);
}

/* In the owner: the rings run from here on. */
static void own(const struct scene *s)
{
	char byte = (char)-vmm_start(s->r->v, s->r->backend);

	if (write(s->theirs, &byte, 1) != 1)
		_exit(1);
}

static void wait_for_word(const struct scene *s)
{
	char byte;

	if (read(s->theirs, &byte, 1) != 1)
		_exit(0);
}

/* ---- the driver ---- */

/* What can come of a chain: an error, a used buffer, nothing at all. */
enum outcome { STOPPED = 0, SERVED = 1, SILENT = 2 };

/* What comes of the chain that is on the ring. */
static enum outcome turn(struct rig *r, unsigned int qi, enum outcome want)
{
	struct vmm_queue *q = &r->v->q[qi];
	struct vmm_used used;
	int64_t end =
		vmm_now_ms() + (want == SILENT ? 5 * CONF_QUIET_MS : CONF_MS);
	struct pollfd p[2] = { { .fd = q->call, .events = POLLIN },
			       { .fd = q->err, .events = POLLIN } };

	for (;;) {
		if (vmm_ring_pending(&q->ring)) {
			check_ret(vmm_ring_reap(&q->ring, &used, 1), 1);
			return SERVED;
		}
		if (vmm_event_count(q->err))
			return STOPPED;
		if (vmm_now_ms() > end)
			return SILENT;
		poll(p, 2, 10);
		vmm_event_count(q->call);
	}
}

/* Has the device send what lies at HERE, which can only be what the owner has
 * there. */
static void send_from_here(struct rig *r, enum outcome want)
{
	struct vmm_seg seg = { .addr = HERE_GPA, .len = 12 + LEN };
	enum outcome got;
	uint8_t buf[2048];
	ssize_t n;

	check_ok(vmm_ring_add(rig_ring(r, VMM_TX), &seg, 1, NULL));
	vmm_ring_publish(rig_ring(r, VMM_TX));
	vmm_kick(r->v, VMM_TX);
	got = turn(r, VMM_TX, want);
	n = vmm_packet_recv(r->peer, buf, sizeof(buf), CONF_QUIET_MS);
	if (n == LEN && vmm_frame_is(buf, LEN, SEED_STRANGER))
		fail_msg("the stranger's memory was sent");
	assert_int_equal(got, want);
	if (want == SERVED)
		assert_true(n == LEN && vmm_frame_is(buf, LEN, SEED_OWNER));
	else
		check_ret(n, -ETIMEDOUT);
}

/* Has the device receive into what lies there. */
static enum outcome receive_to(struct rig *r, uint64_t gpa, enum outcome want)
{
	struct vmm_seg seg = { .addr = gpa, .len = 2048, .write = true };

	check_ok(vmm_ring_add(rig_ring(r, VMM_RX), &seg, 1, NULL));
	vmm_ring_publish(rig_ring(r, VMM_RX));
	vmm_kick(r->v, VMM_RX);
	rig_inject(r, LEN, 3);
	return turn(r, VMM_RX, want);
}

static enum outcome receive_to_here(struct rig *r, enum outcome want)
{
	return receive_to(r, HERE_GPA + PAGE, want);
}

/* A stranger lives already: it is not written. */
static void attack_by_writing(struct scene *s, enum outcome want)
{
	enum outcome got = receive_to_here(s->r, want);

	tell(s);
	if (hear(s) != 1)
		fail_msg("the stranger's memory was written");
	assert_int_equal(got, want);
}

/* Neither is it read. */
static void attack(struct scene *s, enum outcome want)
{
	assert_int_equal(hear(s), 1);
	send_from_here(s->r, want);
	attack_by_writing(s, want);
}

static void check_works(struct scene *s)
{
	check_ret(-hear(s), 0);
	send_from_here(s->r, SERVED);
	assert_int_equal(receive_to_here(s->r, SERVED), SERVED);
}

/* The kernel's vhost keeps its owner's memory. */
static enum outcome after_exec(void)
{
	return (enum outcome)conf_expect("rings after exec of the owner",
					 SERVED);
}

/* ---- exec ---- */

static void live_and_exec(struct scene *s)
{
	own(s);
	wait_for_word(s);
	become_stranger("/proc/self/exe", s->theirs);
}

static void what_the_owner_executes_is_left_alone(void **state)
{
	struct scene s = scene_open(live_and_exec);

	(void)state;
	check_works(&s);
	tell(&s);
	attack(&s, after_exec());
	scene_close(&s);
}

static void what_the_owner_executes_is_not_written(void **state)
{
	struct scene s = scene_open(live_and_exec);

	(void)state;
	check_works(&s);
	tell(&s);
	assert_int_equal(hear(&s), 1);
	attack_by_writing(&s, after_exec());
	scene_close(&s);
}

static char set_uid_program[64];

static void copy_file(int from, int to)
{
	char buf[65536];
	ssize_t n;

	while ((n = read(from, buf, sizeof(buf))) > 0)
		assert_int_equal(write(to, buf, (size_t)n), n);
	assert_int_equal(n, 0);
}

static void make_set_uid_program(void)
{
	int from = check_ok(open("/proc/self/exe", O_RDONLY | O_CLOEXEC)), to;

	snprintf(set_uid_program, sizeof(set_uid_program),
		 "/tmp/uvhost-stranger-%d", getpid());
	to = check_ok(open(set_uid_program, O_WRONLY | O_CREAT | O_EXCL, 0755));
	copy_file(from, to);
	check_ret(fchmod(to, 04755), 0);
	close(from);
	close(to);
}

/* An ordinary user's process, as far as the kernel is concerned. */
static void become_user(bool dumpable)
{
	if (setresgid(65534, 65534, 65534) < 0 ||
	    setresuid(65534, 65534, 65534) < 0 ||
	    prctl(PR_SET_DUMPABLE, dumpable) < 0)
		_exit(1);
}

static void live_as_user_and_exec_set_uid(struct scene *s)
{
	become_user(true);
	own(s);
	wait_for_word(s);
	become_stranger(set_uid_program, s->theirs);
}

static void a_set_uid_program_is_left_alone(void **state)
{
	struct scene s;

	(void)state;
	if (getuid() != 0)
		skip_because("needs root for a set-uid program");
	make_set_uid_program();
	s = scene_open(live_as_user_and_exec_set_uid);
	check_works(&s);
	tell(&s);
	attack(&s, after_exec());
	unlink(set_uid_program);
	scene_close(&s);
}

/* ---- other users ---- */

static void live_as_user(struct scene *s)
{
	become_user(true);
	own(s);
	wait_for_word(s);
}

/* Its files in /proc are root's. */
static void live_undumpable(struct scene *s)
{
	become_user(false);
	own(s);
	wait_for_word(s);
}

static void check_served(void (*life)(struct scene *s))
{
	struct scene s;

	if (getuid() != 0)
		skip_because("needs root to be another user");
	s = scene_open(life);
	check_works(&s);
	scene_close(&s);
}

static void a_process_of_another_user_is_served(void **state)
{
	(void)state;
	check_served(live_as_user);
}

static void a_process_that_is_not_dumpable_is_served(void **state)
{
	(void)state;
	check_served(live_undumpable);
}

/* ---- a process that shares the owner's memory ---- */

static struct {
	int fd, answer; /* of a call that it is to make */
} sharer;

/* Runs until the other end of its pipe is closed everywhere. */
static int sharer_main(void *opaque)
{
	const int *pipe_fds = opaque;
	char byte;

	close(pipe_fds[1]);
	while (read(pipe_fds[0], &byte, 1) == 1) {
		struct vhost_vring_state base = { .index = VMM_TX };

		byte = (char)-caller_self(sharer.fd, VHOST_GET_VRING_BASE,
					  &base);
		if (write(sharer.answer, &byte, 1) != 1)
			break;
	}
	_exit(0);
}

static int sharer_pipe[2];

/* In the owner. */
static void start_sharer(const struct scene *s)
{
	static uint8_t stack[65536] __attribute__((aligned(16)));

	sharer.fd = s->r->v->fd;
	sharer.answer = s->theirs;
	if (clone(sharer_main, stack + sizeof(stack), CLONE_VM | SIGCHLD,
		  sharer_pipe) < 0)
		_exit(1);
}

static struct scene shared_scene(void (*life)(struct scene *s))
{
	struct scene s;

#ifdef __SANITIZE_THREAD__
	skip_because("ThreadSanitizer does not know CLONE_VM");
#endif
	check_ret(pipe2(sharer_pipe, O_CLOEXEC), 0);
	s = scene_open(life);
	close(sharer_pipe[0]);
	check_ret(-hear(&s), 0);
	return s;
}

static void shared_scene_close(struct scene *s)
{
	close(sharer_pipe[1]);
	scene_close(s);
}

static void live_shared_and_exec(struct scene *s)
{
	start_sharer(s);
	own(s);
	wait_for_word(s);
	become_stranger("/proc/self/exe", s->theirs);
}

static void memory_stays_with_a_process_that_shares_it(void **state)
{
	struct scene s = shared_scene(live_shared_and_exec);

	(void)state;
	tell(&s);
	attack(&s, (enum outcome)conf_expect("rings after exec beside a sharer",
					     SERVED));
	shared_scene_close(&s);
}

/* An address that the owner lacks is not faulted in in another process. */
static void no_page_is_faulted_in_elsewhere(void **state)
{
	struct scene s = shared_scene(live_shared_and_exec);

	(void)state;
	tell(&s);
	assert_int_equal(hear(&s), 1);
	receive_to(s.r, HERE_GPA + HERE_BYTES, SILENT);
	tell(&s);
	if (hear(&s) != 1)
		fail_msg("a page of the stranger was faulted in");
	shared_scene_close(&s);
}

static int ask_sharer(const struct scene *s)
{
	assert_int_equal(write(sharer_pipe[1], "?", 1), 1);
	return -hear(s);
}

static void a_process_that_shares_memory_is_the_owner(void **state)
{
	struct scene s = shared_scene(live_shared_and_exec);

	(void)state;
	check_ret(ask_sharer(&s), 0);
	tell(&s);
	assert_int_equal(hear(&s), 1);
	check_ret(ask_sharer(&s), conf_expect("shares what its owner left", 0));
	shared_scene_close(&s);
}

static void live_shared_and_call_after_exec(struct scene *s)
{
	struct vhost_vring_state base = { .index = VMM_TX };

	start_sharer(s);
	own(s);
	wait_for_word(s);
	caller_exec(s->r->v->fd, VHOST_GET_VRING_BASE, &base, sizeof(base));
}

static void after_exec_the_owner_is_none_though_its_memory_lives(void **state)
{
	struct scene s = shared_scene(live_shared_and_call_after_exec);
	int status;

	(void)state;
	tell(&s);
	check_ret(waitpid(s.owner, &status, 0), s.owner);
	assert_true(WIFEXITED(status));
	check_ret(-WEXITSTATUS(status), -EPERM);
	close(sharer_pipe[1]);
	close(s.sock);
	rig_close(s.r);
}

/* ---- threads ---- */

static struct scene *living;

static void *stay(void *opaque)
{
	char byte;

	(void)opaque;
	/* until the test ends: the word is for the other thread */
	while (recv(living->theirs, &byte, 1, MSG_PEEK) != 0)
		poll(NULL, 0, 10);
	_exit(0);
}

static bool is_zombie(pid_t tid)
{
	char path[64], text[256] = "";
	const char *state;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	f = fopen(path, "re");
	if (!f)
		return true;
	state = fgets(text, sizeof(text), f) ? strrchr(text, ')') : NULL;
	fclose(f);
	return state && state[2] == 'Z';
}

static void send_number(int number)
{
	if (write(living->theirs, &number, sizeof(number)) != sizeof(number))
		_exit(1);
}

/* The owner's thread, once the first one has ended; it ends too. */
static void *own_in_thread(void *opaque)
{
	struct vhost_vring_state base = { .index = VMM_TX };
	int fd = living->r->v->fd;

	(void)opaque;
	while (!is_zombie(getpid()))
		poll(NULL, 0, 1);
	own(living);
	send_number(gettid());
	send_number(caller_self(fd, VHOST_GET_VRING_BASE, &base));
	send_number(caller_vfork(fd, VHOST_GET_VRING_BASE, &base));
	send_number(caller_child(fd, VHOST_GET_VRING_BASE, &base));
	wait_for_word(living);
	return NULL;
}

static void live_in_threads(struct scene *s)
{
	pthread_t t;

	living = s;
	if (pthread_create(&t, NULL, stay, NULL) ||
	    pthread_create(&t, NULL, own_in_thread, NULL))
		_exit(1);
	syscall(SYS_exit, 0); /* this thread alone */
}

static int hear_number(const struct scene *s)
{
	int number;

	for (size_t i = 0; i < sizeof(number); i++)
		((char *)&number)[i] = hear(s);
	return number;
}

static void the_first_thread_may_end(void **state)
{
	struct scene s = scene_open(live_in_threads);

	(void)state;
	check_works(&s);
	assert_true(hear_number(&s) > s.owner);
	check_ret(hear_number(&s), 0);
	check_ret(hear_number(&s), 0);
	check_ret(hear_number(&s), -EPERM);
	scene_close(&s);
}

/* A fork that has this number, which was a thread's before. */
static pid_t fork_as(pid_t number)
{
	struct clone_args args = {
		.exit_signal = SIGCHLD,
		.set_tid = (uintptr_t)&number,
		.set_tid_size = 1,
	};

	int64_t end = vmm_now_ms() + CONF_MS;
	pid_t pid;

	/* The number of a thread that has ended is free a moment later. */
	do {
		pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	} while (pid < 0 && errno == EEXIST && vmm_now_ms() < end);
	return pid;
}

/* The owner's thread ends, and its number is a child's of ours. */
static pid_t reuse_thread(const struct scene *s)
{
	char path[64];
	int64_t end = vmm_now_ms() + CONF_MS;
	pid_t number, pid;

	check_ret(-hear(s), 0);
	number = hear_number(s);
	for (int i = 0; i < 3; i++)
		hear_number(s);
	tell(s);
	snprintf(path, sizeof(path), "/proc/%d/task/%d", s->owner, number);
	while (access(path, F_OK) == 0) {
		assert_true(vmm_now_ms() < end);
		poll(NULL, 0, 1);
	}
	pid = fork_as(number);
	if (pid < 0)
		skip_because("no process with a chosen number: %s",
			     strerror(errno));
	return pid;
}

static void a_process_with_the_number_of_a_thread_is_left_alone(void **state)
{
	struct scene s = scene_open(live_in_threads), new;
	int sv[2];
	pid_t pid;

	(void)state;
	check_ret(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	pid = reuse_thread(&s);
	if (pid == 0)
		become_stranger("/proc/self/exe", sv[1]);
	close(sv[1]);
	new = (struct scene){ .r = s.r, .sock = sv[0] };
	attack(&new, SERVED);
	close(sv[0]);
	check_ret(waitpid(pid, NULL, 0), pid);
	scene_close(&s);
}

static void a_process_with_the_number_of_a_thread_is_not_the_owner(void **state)
{
	struct scene s = scene_open(live_in_threads);
	int status;
	pid_t pid;

	(void)state;
	pid = reuse_thread(&s);
	if (pid == 0) {
		struct vhost_vring_state base = { .index = VMM_TX };

		_exit(-caller_self(s.r->v->fd, VHOST_GET_VRING_BASE, &base));
	}
	check_ret(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	check_ret(-WEXITSTATUS(status), -EPERM);
	scene_close(&s);
}

/* ---- exit ---- */

static void live(struct scene *s)
{
	own(s);
	for (;;)
		pause();
}

/* The owner is killed while its memory is sent, and its number is a stranger's
 * at once. */
static void exit_during_copies(void)
{
	struct vmm_seg seg = { .addr = HERE_GPA, .len = 12 + LEN };
	struct scene s = scene_open(live), new;
	uint8_t buf[2048];
	int sv[2];
	pid_t pid;

	check_ret(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	check_ret(-hear(&s), 0);
	for (int i = 0; i < 128; i++)
		check_ok(vmm_ring_add(rig_ring(s.r, VMM_TX), &seg, 1, NULL));
	vmm_ring_publish(rig_ring(s.r, VMM_TX));
	vmm_kick(s.r->v, VMM_TX);
	kill(s.owner, SIGKILL);
	vmm_kick(s.r->v, VMM_TX);
	waitpid(s.owner, NULL, 0);
	pid = fork_as(s.owner);
	if (pid < 0)
		skip_because("no process with a chosen number: %s",
			     strerror(errno));
	if (pid == 0)
		become_stranger("/proc/self/exe", sv[1]);
	close(sv[1]);
	new = (struct scene){ .sock = sv[0] };
	assert_int_equal(hear(&new), 1);
	vmm_kick(s.r->v, VMM_TX);
	while (vmm_packet_recv(s.r->peer, buf, sizeof(buf), CONF_QUIET_MS) > 0)
		assert_true(vmm_frame_is(buf, LEN, SEED_OWNER));
	tell(&new);
	assert_int_equal(hear(&new), 1);
	close(sv[0]);
	check_ret(waitpid(pid, NULL, 0), pid);
	close(s.sock);
	rig_close(s.r);
}

static void an_owner_may_exit_during_copies(void **state)
{
	(void)state;
	for (int i = 0; i < 10; i++)
		exit_during_copies();
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(what_the_owner_executes_is_left_alone),
	cmocka_unit_test(what_the_owner_executes_is_not_written),
	cmocka_unit_test(a_set_uid_program_is_left_alone),
	cmocka_unit_test(a_process_of_another_user_is_served),
	cmocka_unit_test(a_process_that_is_not_dumpable_is_served),
	cmocka_unit_test(memory_stays_with_a_process_that_shares_it),
	cmocka_unit_test(no_page_is_faulted_in_elsewhere),
	cmocka_unit_test(a_process_that_shares_memory_is_the_owner),
	cmocka_unit_test(after_exec_the_owner_is_none_though_its_memory_lives),
	cmocka_unit_test(the_first_thread_may_end),
	cmocka_unit_test(a_process_with_the_number_of_a_thread_is_left_alone),
	cmocka_unit_test(
		a_process_with_the_number_of_a_thread_is_not_the_owner),
	cmocka_unit_test(an_owner_may_exit_during_copies),
};

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], STRANGER_WORD) == 0)
		stranger_main((int)strtol(argv[2], NULL, 10));
	caller_exec_main(argc, argv);
	return conf_main("owner", tests, sizeof(tests) / sizeof(tests[0]), argc,
			 argv);
}
