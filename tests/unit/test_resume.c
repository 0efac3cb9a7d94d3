/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A daemon that is killed at chosen moments, and the next one. The test plays
 * the kernel on a socket, the service manager, and the VMM: it is the owner.
 */
#include "check.h"

#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>
#include <linux/fuse.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <sys/eventfd.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "abi.h"
#include "bytes.h"
#include "channel.h"
#include "manager.h"
#include "procstate.h"

#define DEADLINE_MS 60000
#define FIRST_FD 3
#define KEPT_MAX 32
#define KH 4711

struct kept {
	char name[64];
	int fd;
};

/**
 * struct host - the other side of a daemon
 * @fd: the kernel's end of the channel; @theirs: the daemon's
 * @worker: pidfd of the worker process, once it was asked for; -1
 * @owner: the process that calls; 0: this one
 * @device: --device of the next daemon
 * @status: the last STATUS= of a daemon
 */
struct host {
	pid_t pid;
	int fd, theirs, manager;
	struct kept kept[KEPT_MAX];
	unsigned int nkept;
	uint64_t unique, fh;
	int worker;       /* a pidfd */
	pid_t worker_pid; /* of it */
	pid_t owner;
	const char *device;
	char status[512];
};

#define WITHOUT_WORKERS "uvhost-net,worker-process=off"
#define WITH_WORKERS "uvhost-net,worker-process=on"

static char manager_path[MANAGER_PATH_MAX];

/* ---- the service manager ---- */

static void drop(struct host *h, const char *name)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < h->nkept; i++)
		if (strcmp(h->kept[i].name, name) == 0)
			close(h->kept[i].fd);
		else
			h->kept[n++] = h->kept[i];
	h->nkept = n;
}

/* What the daemon has sent so far. */
static void manage(struct host *h)
{
	int fds[MANAGER_FDS_MAX], n;
	char text[sizeof(h->status)], *name;

	while ((n = manager_next(h->manager, text, sizeof(text), fds)) >= 0) {
		if (strncmp(text, "STATUS=", 7) == 0)
			strcpy(h->status, text);
		name = strstr(text, "FDNAME=");
		if (!name)
			continue;
		name += strlen("FDNAME=");
		name[strcspn(name, "\n")] = '\0';
		if (strncmp(text, "FDSTOREREMOVE", 13) == 0)
			drop(h, name);
		for (int i = 0; i < n; i++) {
			struct kept *k = &h->kept[h->nkept++];

			assert_true(h->nkept <= KEPT_MAX);
			snprintf(k->name, sizeof(k->name), "%s", name);
			k->fd = fds[i];
		}
	}
}

static unsigned int kept_as(struct host *h, const char *prefix)
{
	unsigned int n = 0;

	manage(h);
	for (unsigned int i = 0; i < h->nkept; i++)
		n += strncmp(h->kept[i].name, prefix, strlen(prefix)) == 0;
	return n;
}

/* ---- the daemon ---- */

static void daemon_exec(struct host *h)
{
	char names[KEPT_MAX * 64] = "", fd[32], number[16];
	int end = FIRST_FD + KEPT_MAX + 1;

	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	for (unsigned int i = 0; i < h->nkept; i++)
		h->kept[i].fd = fcntl(h->kept[i].fd, F_DUPFD_CLOEXEC, end);
	h->theirs = fcntl(h->theirs, F_DUPFD, end);
	for (unsigned int i = 0; i < h->nkept; i++) {
		dup2(h->kept[i].fd, FIRST_FD + (int)i);
		snprintf(names + strlen(names), sizeof(names) - strlen(names),
			 "%s%s", i ? ":" : "", h->kept[i].name);
	}
	setenv("NOTIFY_SOCKET", manager_path, 1);
	setenv("FDSTORE", "100", 1);
	snprintf(number, sizeof(number), "%d", getpid());
	setenv("LISTEN_PID", number, 1);
	snprintf(number, sizeof(number), "%u", h->nkept);
	setenv("LISTEN_FDS", number, 1);
	setenv("LISTEN_FDNAMES", names, 1);
	snprintf(fd, sizeof(fd), "--cuse-fd=%d", h->theirs);
	execl(DAEMON, DAEMON, "--device", h->device, fd, NULL);
	_exit(127);
}

static void daemon_start(struct host *h)
{
	h->pid = check_ok(fork());
	if (h->pid == 0)
		daemon_exec(h);
}

static void daemon_kill(struct host *h)
{
	int status;

	check_ok(kill(h->pid, SIGKILL));
	check_ret(waitpid(h->pid, &status, 0), h->pid);
	assert_true(WIFSIGNALED(status));
	manage(h);
}

static void next_daemon(struct host *h)
{
	daemon_kill(h);
	daemon_start(h);
}

/* ---- the kernel ---- */

static uint64_t ask(struct host *h, uint32_t opcode, const void *body,
		    size_t len)
{
	struct {
		struct fuse_in_header head;
		uint8_t body[512];
	} m = { .head = { .len = (uint32_t)(sizeof(m.head) + len),
			  .opcode = opcode,
			  .unique = h->unique += 2,
			  .uid = getuid(),
			  .gid = getgid(),
			  .pid = (uint32_t)(h->owner ? h->owner : gettid()) } };

	assert_true(len <= sizeof(m.body));
	memcpy(m.body, body, len);
	check_ret(send(h->fd, &m, m.head.len, 0), m.head.len);
	return m.head.unique;
}

/* The answer to @unique, skipping those that the kernel would refuse: what was
 * answered before. Its error, and *@len bytes of @body. */
static int answer(struct host *h, uint64_t unique, void *body, size_t *len)
{
	uint8_t msg[1024];
	struct fuse_out_header *head = (void *)msg;

	for (;;) {
		struct pollfd p = { .fd = h->fd, .events = POLLIN };
		ssize_t n;

		assert_int_equal(poll(&p, 1, DEADLINE_MS), 1);
		n = check_ok(recv(h->fd, msg, sizeof(msg), 0));
		assert_true(n >= (ssize_t)sizeof(*head));
		if (head->unique != unique)
			continue;
		if (len) {
			*len = MIN(*len, (size_t)n - sizeof(*head));
			memcpy(body, head + 1, *len);
		}
		/* A notification has its code there. */
		return unique ? -head->error : head->error;
	}
}

static bool is_answered(const struct host *h, int ms)
{
	struct pollfd p = { .fd = h->fd, .events = POLLIN };

	return poll(&p, 1, ms) > 0;
}

static void say_init(struct host *h)
{
	const struct cuse_init_in in = {
		.major = FUSE_KERNEL_VERSION,
		.minor = FUSE_KERNEL_MINOR_VERSION,
		.flags = CUSE_UNRESTRICTED_IOCTL,
	};

	assert_int_equal(
		answer(h, ask(h, CUSE_INIT, &in, sizeof(in)), NULL, NULL), 0);
}

static uint64_t open_file(struct host *h)
{
	const struct fuse_open_in in = { .flags = O_RDWR };
	struct fuse_open_out out = { 0 };
	size_t len = sizeof(out);

	assert_int_equal(
		answer(h, ask(h, FUSE_OPEN, &in, sizeof(in)), &out, &len), 0);
	assert_int_equal(len, sizeof(out));
	return out.fh;
}

/* With the argument at hand at once, as in the second pass. */
static int call(struct host *h, uint64_t fh, uint32_t cmd, const void *arg,
		uint32_t len)
{
	struct {
		struct fuse_ioctl_in in;
		uint8_t arg[64];
	} body = { .in = { .fh = fh,
			   .cmd = cmd,
			   .arg = (uintptr_t)arg,
			   .in_size = len } };

	if (len)
		memcpy(body.arg, arg, len);
	return answer(h, ask(h, FUSE_IOCTL, &body, sizeof(body.in) + len), NULL,
		      NULL);
}

static uint64_t begin_read(struct host *h)
{
	const struct fuse_read_in in = { .fh = h->fh, .size = 72 };

	return ask(h, FUSE_READ, &in, sizeof(in));
}

static int set_features(struct host *h, uint64_t features)
{
	return call(h, h->fh, VHOST_SET_FEATURES, &features, sizeof(features));
}

/* Sets what a read has to wait for. */
static void make_iotlb(struct host *h)
{
	const uint64_t v2 = BIT(VHOST_BACKEND_F_IOTLB_MSG_V2);

	assert_int_equal(call(h, h->fh, VHOST_SET_OWNER, NULL, 0), 0);
	assert_int_equal(set_features(h, BIT(VIRTIO_F_VERSION_1) |
						 BIT(VIRTIO_F_ACCESS_PLATFORM)),
			 0);
	assert_int_equal(
		call(h, h->fh, VHOST_SET_BACKEND_FEATURES, &v2, sizeof(v2)), 0);
}

/* ---- fixture ---- */

static int set_up(void **state)
{
	struct host *h = calloc(1, sizeof(*h));
	int pair[2];

	h->device = *state ? *state : WITHOUT_WORKERS;
	h->worker = -1;
	h->manager = manager_open(manager_path);
	check_ok(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
	h->fd = pair[0];
	h->theirs = pair[1];
	/* Under Yama: the daemon is no ancestor. */
	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
	daemon_start(h);
	say_init(h);
	h->fh = open_file(h);
	*state = h;
	return 0;
}

static int tear_down(void **state)
{
	struct host *h = *state;
	int status;

	kill(h->pid, SIGKILL);
	waitpid(h->pid, &status, 0);
	if (h->owner > 0) {
		kill(h->owner, SIGKILL);
		waitpid(h->owner, &status, 0);
	}
	if (h->worker >= 0)
		close(h->worker);
	manage(h);
	for (unsigned int i = 0; i < h->nkept; i++)
		close(h->kept[i].fd);
	close(h->fd);
	close(h->theirs);
	close(h->manager);
	free(h);
	return 0;
}

/* ---- tests ---- */

static void the_owner_stays_the_owner(void **state)
{
	struct host *h = *state;

	assert_int_equal(call(h, h->fh, VHOST_SET_OWNER, NULL, 0), 0);
	for (int i = 0; i < 3; i++) {
		next_daemon(h);
		assert_int_equal(call(h, h->fh, VHOST_SET_OWNER, NULL, 0),
				 EBUSY);
	}
	assert_int_equal(call(h, h->fh, VHOST_RESET_OWNER, NULL, 0), 0);
	next_daemon(h);
	assert_int_equal(call(h, h->fh, VHOST_RESET_OWNER, NULL, 0), EPERM);
	assert_int_equal(call(h, h->fh, VHOST_SET_OWNER, NULL, 0), 0);
}

static void what_was_set_is_set(void **state)
{
	struct vhost_vring_state num = { 1, 128 }, base = { 1, 77 };
	struct vhost_vring_state us = { 0, 33 };
	struct vhost_vring_file kick = { 0, check_ok(eventfd(0, EFD_CLOEXEC)) };
	struct host *h = *state;
	struct {
		struct fuse_ioctl_in in;
		uint32_t index;
	} get = { .in = { .fh = h->fh,
			  .cmd = VHOST_GET_VRING_BASE,
			  .in_size = 4,
			  .out_size = 8 },
		  .index = 1 };
	struct {
		struct fuse_ioctl_out out;
		struct vhost_vring_state s;
	} got;
	size_t len = sizeof(got);

	assert_int_equal(call(h, h->fh, VHOST_SET_OWNER, NULL, 0), 0);
	assert_int_equal(call(h, h->fh, VHOST_SET_VRING_NUM, &num, 8), 0);
	assert_int_equal(call(h, h->fh, VHOST_SET_VRING_BASE, &base, 8), 0);
	assert_int_equal(call(h, h->fh, VHOST_SET_VRING_KICK, &kick, 8), 0);
	assert_int_equal(
		call(h, h->fh, VHOST_SET_VRING_BUSYLOOP_TIMEOUT, &us, 8), 0);
	close(kick.fd);
	next_daemon(h);
	next_daemon(h);
	get.in.arg = 4096; /* not looked at: all is there */
	assert_int_equal(answer(h,
				ask(h, FUSE_IOCTL, &get,
				    offsetof(__typeof__(get), index) + 4),
				&got, &len),
			 0);
	assert_int_equal(len, sizeof(got));
	assert_int_equal(got.s.num, 77);
}

static void a_read_that_waits_is_answered_by_the_next_daemon(void **state)
{
	struct host *h = *state;
	struct fuse_interrupt_in in;
	uint64_t read;

	make_iotlb(h);
	read = begin_read(h);
	assert_false(is_answered(h, 200));
	next_daemon(h);
	next_daemon(h);
	/* The daemon is through with what was left. */
	assert_int_equal(call(h, h->fh, VHOST_SET_OWNER, NULL, 0), EBUSY);
	in.unique = read;
	ask(h, FUSE_INTERRUPT, &in, sizeof(in));
	assert_int_equal(answer(h, read, NULL, NULL), EINTR);
}

static void an_interrupt_outlives_the_daemon(void **state)
{
	struct host *h = *state;
	struct fuse_interrupt_in in;
	uint64_t read;

	make_iotlb(h);
	read = begin_read(h);
	assert_false(is_answered(h, 200));
	/* Read by the next one, after the request that it is about. */
	daemon_kill(h);
	in.unique = read;
	ask(h, FUSE_INTERRUPT, &in, sizeof(in));
	daemon_start(h);
	assert_int_equal(answer(h, read, NULL, NULL), EINTR);
}

static void who_polls_is_woken(void **state)
{
	struct host *h = *state;
	const struct fuse_poll_in in = { .fh = h->fh,
					 .kh = KH,
					 .flags = FUSE_POLL_SCHEDULE_NOTIFY };
	struct fuse_notify_poll_wakeup_out out = { 0 };
	size_t len = sizeof(out);

	make_iotlb(h);
	assert_int_equal(
		answer(h, ask(h, FUSE_POLL, &in, sizeof(in)), NULL, NULL), 0);
	next_daemon(h);
	assert_int_equal(answer(h, 0, &out, &len), FUSE_NOTIFY_POLL);
	assert_int_equal(out.kh, KH);
}

/* The daemon's end is full: it waits with its next answer. */
static void fill_socket(struct host *h)
{
	const struct fuse_out_header junk = { .len = sizeof(junk) };

	while (send(h->theirs, &junk, sizeof(junk), MSG_DONTWAIT) > 0)
		;
	assert_int_equal(errno, EAGAIN);
}

/* A request that the daemon has carried out when it is killed, without its
 * answer having been sent. */
static uint64_t ask_without_answer(struct host *h, uint32_t opcode,
				   const void *body, size_t len)
{
	uint64_t unique;

	fill_socket(h);
	unique = ask(h, opcode, body, len);
	usleep(400000);
	next_daemon(h);
	return unique;
}

static void a_call_without_answer_is_answered_and_not_repeated(void **state)
{
	struct host *h = *state;
	const struct fuse_ioctl_in in = { .fh = h->fh, .cmd = VHOST_SET_OWNER };
	const struct fuse_open_in open = { .flags = O_RDWR };
	const struct fuse_release_in release = { .fh = h->fh };

	assert_int_equal(
		answer(h, ask_without_answer(h, FUSE_IOCTL, &in, sizeof(in)),
		       NULL, NULL),
		0);
	assert_int_equal(call(h, h->fh, VHOST_SET_OWNER, NULL, 0), EBUSY);
	assert_int_equal(
		answer(h, ask_without_answer(h, FUSE_OPEN, &open, sizeof(open)),
		       NULL, NULL),
		0);
	assert_int_equal(kept_as(h, "session-"), 4);
	assert_int_equal(answer(h,
				ask_without_answer(h, FUSE_RELEASE, &release,
						   sizeof(release)),
				NULL, NULL),
			 0);
	assert_int_equal(kept_as(h, "session-"), 2);
}

static void a_file_that_was_closed_is_gone(void **state)
{
	struct host *h = *state;
	struct fuse_release_in in = { .fh = h->fh };
	uint64_t other = open_file(h);

	assert_int_not_equal(other, h->fh);
	assert_int_equal(kept_as(h, "session-"), 4);
	assert_int_equal(
		answer(h, ask(h, FUSE_RELEASE, &in, sizeof(in)), NULL, NULL),
		0);
	assert_int_equal(kept_as(h, "session-"), 2);
	next_daemon(h);
	assert_int_equal(call(h, h->fh, VHOST_SET_OWNER, NULL, 0), EBADF);
	assert_int_equal(call(h, other, VHOST_SET_OWNER, NULL, 0), 0);
	/* Numbers are not given out again. */
	in.fh = other;
	assert_int_equal(
		answer(h, ask(h, FUSE_RELEASE, &in, sizeof(in)), NULL, NULL),
		0);
	next_daemon(h);
	assert_true(open_file(h) > other);
}

static void requests_that_were_sent_meanwhile_are_answered(void **state)
{
	const struct fuse_open_in in = { .flags = O_RDWR };
	struct host *h = *state;
	uint64_t opens[3];

	daemon_kill(h);
	for (int i = 0; i < 3; i++)
		opens[i] = ask(h, FUSE_OPEN, &in, sizeof(in));
	daemon_start(h);
	/* Each by a worker of its own: in any order. */
	for (int left = 3; left > 0;) {
		struct fuse_out_header head;
		uint8_t msg[1024];

		assert_true(is_answered(h, DEADLINE_MS));
		check_ok(recv(h->fd, msg, sizeof(msg), 0));
		memcpy(&head, msg, sizeof(head));
		for (int i = 0; i < 3; i++) {
			if (head.unique != opens[i])
				continue;
			assert_int_equal(head.error, 0);
			opens[i] = 0;
			left--;
		}
	}
}

static void sigterm_leaves_the_file_to_the_next(void **state)
{
	struct host *h = *state;
	int status;

	make_iotlb(h);
	begin_read(h);
	assert_false(is_answered(h, 200));
	check_ok(kill(h->pid, SIGTERM));
	check_ret(waitpid(h->pid, &status, 0), h->pid);
	assert_int_equal(status, 0);
	assert_false(is_answered(h, 0));
	manage(h);
	assert_int_equal(kept_as(h, "session-"), 2);
	assert_int_equal(kept_as(h, "channel-"), 1);
	daemon_start(h);
	assert_int_equal(call(h, h->fh, VHOST_SET_OWNER, NULL, 0), EBUSY);
}

static void with_a_wrong_configuration_the_last_one_is_used(void **state)
{
	struct host *h = *state;

	make_iotlb(h);
	manage(h);
	assert_string_equal(h->status, "");
	daemon_kill(h);
	h->device = "uvhost-net,worker-process=maybe";
	daemon_start(h);
	assert_int_equal(call(h, h->fh, VHOST_SET_OWNER, NULL, 0), EBUSY);
	manage(h);
	assert_non_null(strstr(h->status, "last good configuration is used"));
	assert_non_null(strstr(h->status, "maybe"));
	h->status[0] = '\0'; /* as systemd does at a start */
	h->device = WITHOUT_WORKERS;
	next_daemon(h);
	assert_int_equal(call(h, h->fh, VHOST_SET_OWNER, NULL, 0), EBUSY);
	manage(h);
	assert_string_equal(h->status, "");
}

static void the_end_of_the_channel_is_the_end(void **state)
{
	struct host *h = *state;
	int status;

	close(h->fd);
	h->fd = -1;
	check_ret(waitpid(h->pid, &status, 0), h->pid);
	assert_int_equal(status, 0);
	assert_int_equal(kept_as(h, "session-"), 0);
	assert_int_equal(kept_as(h, "channel-"), 0);
	assert_int_equal(kept_as(h, "slots-"), 0);
}

/* ---- with worker processes ---- */

/* Its device is in the worker process that is looked for: of the first session
 * of this host. */
static void own(struct host *h)
{
	assert_int_equal(call(h, h->fh, VHOST_SET_OWNER, NULL, 0), 0);
}

static void own_again(struct host *h)
{
	assert_int_equal(call(h, h->fh, VHOST_SET_OWNER, NULL, 0), EBUSY);
}

/* A process of the daemon's; there is one. */
static void find_worker(struct host *h)
{
	glob_t tasks;
	char path[64];
	int pid = 0;

	snprintf(path, sizeof(path), "/proc/%d/task/*/children", h->pid);
	check_ret(glob(path, 0, NULL, &tasks), 0);
	for (size_t i = 0; i < tasks.gl_pathc && !pid; i++) {
		FILE *f = fopen(tasks.gl_pathv[i], "re");

		if (f && fscanf(f, "%d", &pid) != 1)
			pid = 0;
		if (f)
			fclose(f);
	}
	globfree(&tasks);
	assert_true(pid > 0);
	h->worker_pid = pid;
	h->worker = check_ok(pidfd_open(pid, 0));
}

static bool has_ended(int pidfd, int ms)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	return poll(&p, 1, ms) == 1;
}

static void stop_worker(const struct host *h)
{
	int ms = 0;

	check_ok(pidfd_send_signal(h->worker, SIGSTOP, NULL, 0));
	for (; !procstate_stopped(h->worker_pid) && ms < DEADLINE_MS; ms++)
		usleep(1000);
	assert_in_range(ms, 0, DEADLINE_MS - 1);
}

static void a_worker_process_outlives_the_daemon(void **state)
{
	struct host *h = *state;

	own(h);
	find_worker(h);
	for (int i = 0; i < 3; i++) {
		next_daemon(h);
		own_again(h);
	}
	assert_false(has_ended(h->worker, 0));
}

static void a_stopped_worker_process_holds_up_its_session_alone(void **state)
{
	struct host *h = *state;
	const struct fuse_ioctl_in in = { .fh = h->fh,
					  .cmd = VHOST_RESET_OWNER };
	uint64_t other, reset;

	own(h);
	find_worker(h);
	stop_worker(h);
	reset = ask(h, FUSE_IOCTL, &in, sizeof(in));
	other = open_file(h);
	assert_int_equal(call(h, other, VHOST_SET_OWNER, NULL, 0), 0);
	assert_false(is_answered(h, 100));
	/* The next daemon waits for it as well. */
	next_daemon(h);
	assert_int_equal(call(h, other, VHOST_RESET_OWNER, NULL, 0), 0);
	assert_false(is_answered(h, 100));
	check_ok(pidfd_send_signal(h->worker, SIGCONT, NULL, 0));
	assert_int_equal(answer(h, reset, NULL, NULL), 0);
	assert_true(has_ended(h->worker, DEADLINE_MS));
}

static void a_stopped_worker_process_does_not_keep_a_file_open(void **state)
{
	struct host *h = *state;
	const struct fuse_release_in in = { .fh = h->fh };

	own(h);
	find_worker(h);
	stop_worker(h);
	assert_int_equal(
		answer(h, ask(h, FUSE_RELEASE, &in, sizeof(in)), NULL, NULL),
		0);
	assert_true(has_ended(h->worker, DEADLINE_MS));
	assert_int_equal(kept_as(h, "session-"), 0);
}

static void a_file_is_closed_while_there_is_no_daemon(void **state)
{
	struct host *h = *state;
	const struct fuse_release_in in = { .fh = h->fh };
	uint64_t release;

	own(h);
	find_worker(h);
	daemon_kill(h);
	release = ask(h, FUSE_RELEASE, &in, sizeof(in));
	assert_false(has_ended(h->worker, 100));
	daemon_start(h);
	assert_int_equal(answer(h, release, NULL, NULL), 0);
	assert_true(has_ended(h->worker, DEADLINE_MS));
	assert_int_equal(kept_as(h, "session-"), 0);
}

/* The kernel's RELEASE may come later: another process has the file. */
static void the_owner_dies_while_there_is_no_daemon(void **state)
{
	struct host *h = *state;
	const struct fuse_release_in in = { .fh = h->fh };
	int status;

	h->owner = check_ok(fork());
	if (h->owner == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
		for (;;)
			pause();
	}
	own(h);
	find_worker(h);
	daemon_kill(h);
	check_ok(kill(h->owner, SIGKILL));
	check_ret(waitpid(h->owner, &status, 0), h->owner);
	h->owner = 0;
	assert_false(has_ended(h->worker, 100));
	daemon_start(h);
	assert_true(has_ended(h->worker, DEADLINE_MS));
	assert_int_equal(kept_as(h, "session-"), 2);
	assert_int_equal(
		answer(h, ask(h, FUSE_RELEASE, &in, sizeof(in)), NULL, NULL),
		0);
	assert_int_equal(kept_as(h, "session-"), 0);
}

/* As after a crash loop: the manager gives up and lets go. */
static void a_worker_process_ends_with_what_was_kept(void **state)
{
	struct host *h = *state;

	own(h);
	find_worker(h);
	daemon_kill(h);
	assert_false(has_ended(h->worker, 100));
	while (h->nkept)
		drop(h, h->kept[0].name);
	assert_true(has_ended(h->worker, DEADLINE_MS));
}

int main(void)
{
#define WORKER(f)                                                      \
	cmocka_unit_test_prestate_setup_teardown(f, set_up, tear_down, \
						 WITH_WORKERS)
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(the_owner_stays_the_owner),
		TEST(what_was_set_is_set),
		TEST(a_read_that_waits_is_answered_by_the_next_daemon),
		TEST(an_interrupt_outlives_the_daemon),
		TEST(who_polls_is_woken),
		TEST(a_call_without_answer_is_answered_and_not_repeated),
		TEST(a_file_that_was_closed_is_gone),
		TEST(requests_that_were_sent_meanwhile_are_answered),
		TEST(sigterm_leaves_the_file_to_the_next),
		TEST(with_a_wrong_configuration_the_last_one_is_used),
		TEST(the_end_of_the_channel_is_the_end),
		WORKER(a_worker_process_outlives_the_daemon),
		WORKER(a_stopped_worker_process_holds_up_its_session_alone),
		WORKER(a_stopped_worker_process_does_not_keep_a_file_open),
		WORKER(a_file_is_closed_while_there_is_no_daemon),
		WORKER(the_owner_dies_while_there_is_no_daemon),
		WORKER(a_worker_process_ends_with_what_was_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
