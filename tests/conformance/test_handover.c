/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_handover.c tests one open file that several processes own in turn, each
 * with an address space of its own: VHOST_RESET_OWNER by the old owner,
 * VHOST_SET_OWNER by the new one, which has the descriptor by fork, by fork and
 * exec, or by SCM_RIGHTS. A VMM that replaces itself while its guest runs does
 * this.
 */
#include "rig.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "caller.h"
#include "fdmsg.h"

#define SERVE_WORD "--serve-device"
#define FRAMES 20
#define FRAME_BYTES 200
#define BUF_BYTES 2048

/* What an owner needs: three descriptors, and which memory it shall have. */
struct job {
	int dev, tap, peer;
	enum vmm_mem_kind kind;
	bool reset; /* gives the device back at the end */
};

/* ---- an owner's work, in any process: nothing here fails a test ---- */

/* Errors of a served job, as exit statuses. */
enum served {
	SERVED,
	SERVE_NEW = 10,
	SERVE_START,
	SERVE_TX,
	SERVE_RX,
	SERVE_ERR,
	SERVE_RESET,
	SERVE_BROKEN,
};

static int send_one(struct vmm *v, int peer, uint64_t gpa, uint32_t seed)
{
	static uint8_t buf[70000];
	struct vmm_seg seg = { .addr = gpa, .len = v->hdr_len + FRAME_BYTES };
	uint8_t *p = vmm_mem_ptr(&v->mem, gpa);
	struct vmm_used used;

	memset(p, 0, v->hdr_len);
	vmm_frame(p + v->hdr_len, FRAME_BYTES, seed);
	if (vmm_ring_add(&v->q[VMM_TX].ring, &seg, 1, NULL) < 0)
		return SERVE_TX;
	vmm_publish_kick(v, VMM_TX);
	if (vmm_packet_recv(peer, buf, sizeof(buf), CONF_MS) != FRAME_BYTES ||
	    !vmm_frame_is(buf, FRAME_BYTES, seed) ||
	    vmm_wait_used(v, VMM_TX, 1, CONF_MS) < 0 ||
	    vmm_ring_reap(&v->q[VMM_TX].ring, &used, 1) != 1)
		return SERVE_TX;
	return SERVED;
}

static int receive_one(struct vmm *v, int peer, uint64_t gpa, uint32_t seed)
{
	struct vmm_seg seg = { .addr = gpa, .len = BUF_BYTES, .write = true };
	uint8_t frame[FRAME_BYTES], *p = vmm_mem_ptr(&v->mem, gpa);
	struct vmm_used used;

	memset(p, 0xa5, BUF_BYTES);
	vmm_frame(frame, sizeof(frame), seed);
	if (vmm_ring_add(&v->q[VMM_RX].ring, &seg, 1, NULL) < 0)
		return SERVE_RX;
	vmm_publish_kick(v, VMM_RX);
	if (send(peer, frame, sizeof(frame), 0) < 0 ||
	    vmm_wait_used(v, VMM_RX, 1, CONF_MS) < 0 ||
	    vmm_ring_reap(&v->q[VMM_RX].ring, &used, 1) != 1 ||
	    used.len != v->hdr_len + FRAME_BYTES ||
	    !vmm_frame_is(p + v->hdr_len, FRAME_BYTES, seed))
		return SERVE_RX;
	return SERVED;
}

static int move_frames(struct vmm *v, int peer, uint64_t gpa)
{
	int ret = SERVED;

	for (uint32_t i = 0; i < FRAMES && !ret; i++) {
		ret = send_one(v, peer, gpa, i);
		if (!ret)
			ret = receive_one(v, peer, gpa, 100 + i);
	}
	if (!ret && (vmm_event_count(v->q[VMM_RX].err) ||
		     vmm_event_count(v->q[VMM_TX].err)))
		ret = SERVE_ERR;
	return ret;
}

static int new_owner(const struct job *j, struct vmm **v)
{
	struct vmm_config config = {
		.fd = dup(j->dev),
		.mem_kind = j->kind,
		.mem_size = 4U << 20,
		.features = F_V1,
	};

	if (vmm_new(&config, v) < 0)
		return SERVE_NEW;
	return vmm_start(*v, j->tap) < 0 ? SERVE_START : SERVED;
}

/* Owns the device, moves frames, and gives the device back while it runs. */
static int serve(const struct job *j)
{
	struct vmm *v = NULL;
	int ret = new_owner(j, &v);

	if (!ret)
		ret = move_frames(v, j->peer,
				  vmm_mem_alloc(&v->mem, BUF_BYTES, 64));
	if (!ret && j->reset && uvh_reset_owner(v->fe) < 0)
		ret = SERVE_RESET;
	vmm_free(v);
	return ret;
}

/* ---- ways to another process ---- */

static int wait_status(pid_t pid)
{
	int status;

	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return SERVE_BROKEN;
	return WEXITSTATUS(status);
}

static int serve_here(const struct job *j)
{
	return serve(j);
}

static int serve_forked(const struct job *j)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(serve(j));
	return wait_status(pid);
}

/* The descriptors are inherited under new numbers, without CLOEXEC. */
static int serve_executed(const struct job *j)
{
	char words[4][16];
	char *argv[] = { (char *)"self", (char *)SERVE_WORD, words[0], words[1],
			 words[2],       words[3],           NULL };
	pid_t pid = fork();

	if (pid == 0) {
		snprintf(words[0], sizeof(words[0]), "%d", dup(j->dev));
		snprintf(words[1], sizeof(words[1]), "%d", dup(j->tap));
		snprintf(words[2], sizeof(words[2]), "%d", dup(j->peer));
		snprintf(words[3], sizeof(words[3]), "%d%d", (int)j->kind,
			 j->reset);
		execv("/proc/self/exe", argv);
		_exit(SERVE_BROKEN);
	}
	return wait_status(pid);
}

static void executed_main(int argc, char **argv)
{
	struct job j;

	if (argc != 6 || strcmp(argv[1], SERVE_WORD) != 0)
		return;
	j.dev = (int)strtol(argv[2], NULL, 10);
	j.tap = (int)strtol(argv[3], NULL, 10);
	j.peer = (int)strtol(argv[4], NULL, 10);
	j.kind = (enum vmm_mem_kind)(argv[5][0] - '0');
	j.reset = argv[5][1] == '1';
	_exit(serve(&j));
}

/* A process that was there before the device was opened. */
static struct caller_other stranger;

static void stranger_main(int sock)
{
	struct job j;
	int fd[3] = { -1, -1, -1 };

	for (unsigned int i = 0; i < 3; i++) {
		fd[i] = fdmsg_recv(sock, &j, sizeof(j), 0);
		if (fd[i] < 0)
			_exit(SERVE_BROKEN);
	}
	j.dev = fd[0];
	j.tap = fd[1];
	j.peer = fd[2];
	_exit(serve(&j));
}

static void stranger_start(void)
{
	int sv[2];

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv), 0);
	stranger.pid = fork();
	if (stranger.pid == 0) {
		close(sv[0]);
		stranger_main(sv[1]);
	}
	close(sv[1]);
	stranger.sock = sv[0];
	assert_true(stranger.pid > 0);
}

static int serve_passed(const struct job *j)
{
	const int fds[] = { j->dev, j->tap, j->peer };
	int ret;

	for (unsigned int i = 0; i < 3; i++)
		if (fdmsg_send(stranger.sock, j, sizeof(*j), &fds[i], 1, 0) < 0)
			return SERVE_BROKEN;
	ret = wait_status(stranger.pid);
	close(stranger.sock);
	stranger.pid = 0;
	return ret;
}

/* ---- the tests ---- */

static struct job open_job(enum vmm_mem_kind kind)
{
	struct job j = { .kind = kind, .reset = true };
	char ifname[IFNAMSIZ];

	j.tap = conf_tap(&(struct vmm_tap_config){ 0 }, ifname);
	j.peer = check_ok(vmm_packet_open(ifname, VMM_ETHERTYPE, false));
	j.dev = conf_open();
	return j;
}

static void close_job(const struct job *j)
{
	close(j->dev);
	close(j->tap);
	close(j->peer);
}

/* Each brings memory of its own; rings run when the device is given back. */
static void owners_take_turns(enum vmm_mem_kind kind)
{
	static int (*const turns[])(const struct job *) = {
		serve_here,   serve_forked,   serve_here,
		serve_passed, serve_executed, serve_here,
	};
	struct job j;

	conf_net();
	stranger_start();
	j = open_job(kind);
	for (unsigned int i = 0; i < sizeof(turns) / sizeof(turns[0]); i++) {
		int ret = turns[i](&j);

		if (ret != SERVED)
			fail_msg("turn %u: %d", i, ret);
	}
	close_job(&j);
}

static void owners_with_private_memory_take_turns(void **state)
{
	(void)state;
	owners_take_turns(VMM_MEM_PRIVATE);
}

static void owners_with_memfds_take_turns(void **state)
{
	(void)state;
	owners_take_turns(VMM_MEM_MEMFD);
}

static void owners_with_memory_of_two_kinds_take_turns(void **state)
{
	struct job j;

	(void)state;
	j = open_job(VMM_MEM_PRIVATE);
	check_ret(serve_here(&j), SERVED);
	j.kind = VMM_MEM_MEMFD;
	check_ret(serve_forked(&j), SERVED);
	j.kind = VMM_MEM_PRIVATE;
	check_ret(serve_executed(&j), SERVED);
	j.kind = VMM_MEM_MEMFD;
	check_ret(serve_here(&j), SERVED);
	close_job(&j);
}

static void the_old_owner_may_call_nothing_but_what_anyone_may(void **state)
{
	struct job j = open_job(VMM_MEM_MEMFD);
	struct vhost_vring_state s = { .index = 0, .num = 256 };
	struct caller_other other;
	uint64_t features;

	(void)state;
	check_ret(caller_other_start(&other), 0);
	check_ret(serve_here(&j), SERVED);
	check_ret(caller_other_call(&other, j.dev, 1, VHOST_SET_VRING_NUM, &s,
				    sizeof(s)),
		  0);
	check_ret(vmm_set_vring_num(j.dev, 0, 256), -EPERM);
	check_ret(vmm_set_backend(j.dev, 0, j.tap), -EPERM);
	check_ret(vmm_reset_owner(j.dev), -EPERM);
	check_ret(vmm_set_owner(j.dev), -EBUSY);
	check_ret(vmm_get_features(j.dev, &features), 0);
	/* It dies as the owner: the device stays its. */
	caller_other_kill(&other);
	check_ret(vmm_set_owner(j.dev), -EBUSY);
	check_ret(vmm_reset_owner(j.dev), -EPERM);
	close_job(&j);
}

/* A process that has owned the device and given it back waits for its end. */
static pid_t start_former_owner(const struct job *j, int done)
{
	const char byte = 0;
	pid_t pid = fork();

	if (pid == 0) {
		int ret = serve(j);

		if (ret || write(done, &byte, 1) != 1)
			_exit(SERVE_BROKEN);
		for (;;)
			pause();
	}
	return pid;
}

static void the_end_of_the_old_owner_disturbs_nothing(void **state)
{
	static const enum vmm_mem_kind kinds[] = { VMM_MEM_PRIVATE,
						   VMM_MEM_MEMFD };

	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		struct job j = open_job(kinds[i]);
		struct vmm *v = NULL;
		int done[2];
		uint64_t gpa;
		char byte;
		pid_t pid;

		assert_int_equal(pipe2(done, O_CLOEXEC), 0);
		pid = start_former_owner(&j, done[1]);
		assert_true(pid > 0);
		close(done[1]);
		check_ret(read(done[0], &byte, 1), 1);
		check_ret(new_owner(&j, &v), SERVED);
		gpa = vmm_mem_alloc(&v->mem, BUF_BYTES, 64);
		check_ret(move_frames(v, j.peer, gpa), SERVED);
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		check_ret(move_frames(v, j.peer, gpa), SERVED);
		conf_settle(v);
		check_ret(move_frames(v, j.peer, gpa), SERVED);
		close(done[0]);
		vmm_free(v);
		close_job(&j);
	}
}

/* ---- the same rings and memory in another process ---- */

/* In the child: the rings go on where they were. */
static int go_on(struct rig *r, uint64_t gpa)
{
	int ret;

	if (vmm_start(r->v, r->backend) < 0)
		return SERVE_START;
	ret = move_frames(r->v, r->peer, gpa);
	if (!ret && uvh_reset_owner(r->v->fe) < 0)
		ret = SERVE_RESET;
	return ret;
}

/*
 * The child has the parent's guest memory: the same, or a copy where it is
 * private; what the device writes for the child must not get into the parent's.
 */
static void rings_go_on_in_another_process(enum vmm_mem_kind kind, bool stop)
{
	struct rig *r = rig_open(&(struct rig_config){ .vmm.mem_kind = kind });
	uint64_t gpa = rig_alloc(r, BUF_BYTES, 64);
	unsigned int qi;
	uint8_t *p;
	pid_t pid;

	check_ret(move_frames(r->v, r->peer, gpa), SERVED);
	if (stop) {
		check_ret(vmm_stop(r->v), 0);
		for (qi = 0; qi < VMM_QUEUES; qi++)
			assert_int_equal(r->v->q[qi].base, FRAMES);
	}
	for (qi = 0; qi < VMM_QUEUES; qi++)
		r->v->q[qi].base = FRAMES;
	check_ret(uvh_reset_owner(r->v->fe), 0);
	p = rig_ptr(r, gpa);
	memset(p, 0x5a, BUF_BYTES);

	pid = fork();
	if (pid == 0)
		_exit(go_on(r, gpa));
	check_ret(wait_status(pid), SERVED);
	for (unsigned int i = 0; kind == VMM_MEM_PRIVATE && i < BUF_BYTES; i++)
		assert_int_equal(p[i], 0x5a);

	/* Back: of shared rings the child has moved the indexes on. */
	if (kind != VMM_MEM_PRIVATE)
		for (qi = 0; qi < VMM_QUEUES; qi++) {
			vmm_ring_reset(rig_ring(r, qi), 0);
			r->v->q[qi].base = 0;
		}
	check_ret(vmm_start(r->v, r->backend), 0);
	check_ret(move_frames(r->v, r->peer, gpa), SERVED);
	rig_close(r);
}

static void private_rings_go_on_in_another_process(void **state)
{
	(void)state;
	rings_go_on_in_another_process(VMM_MEM_PRIVATE, true);
	rings_go_on_in_another_process(VMM_MEM_PRIVATE, false);
}

static void shared_rings_go_on_in_another_process(void **state)
{
	(void)state;
	rings_go_on_in_another_process(VMM_MEM_MEMFD, true);
	rings_go_on_in_another_process(VMM_MEM_MEMFD, false);
	rings_go_on_in_another_process(VMM_MEM_SHARED, true);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(owners_with_private_memory_take_turns),
	cmocka_unit_test(owners_with_memfds_take_turns),
	cmocka_unit_test(owners_with_memory_of_two_kinds_take_turns),
	cmocka_unit_test(the_old_owner_may_call_nothing_but_what_anyone_may),
	cmocka_unit_test(the_end_of_the_old_owner_disturbs_nothing),
	cmocka_unit_test(private_rings_go_on_in_another_process),
	cmocka_unit_test(shared_rings_go_on_in_another_process),
};

int main(int argc, char **argv)
{
	executed_main(argc, argv);
	return conf_main("handover", tests, sizeof(tests) / sizeof(tests[0]),
			 argc, argv);
}
