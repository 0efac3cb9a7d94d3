/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * confine.c gives up the daemon's privileges once all privileged files are
 * open.
 *
 * The daemon reads bytes that guests write. If a guest takes the daemon over,
 * the guest should gain as little as possible. A character device serves
 * processes of other users, which needs some capabilities:
 *
 *   CAP_SYS_PTRACE         /proc/PID/mem, pidfd_getfd, kcmp on processes of
 *                          other users; process_vm_readv/writev in takers,
 *                          which fault in pages and copy nothing (taker.c)
 *   CAP_DAC_READ_SEARCH    /proc/PID/maps, fd and auxv of other users: the
 *                          ptrace right does not open files of mode 0600
 *   CAP_DAC_OVERRIDE       /proc/PID/mem of other users, for writing. Permitted
 *                          only; in force in the calling thread during that
 *                          one open (confine_open), so that it has no effect on
 *                          other files, a capture for instance
 *   CAP_CHECKPOINT_RESTORE /proc/PID/map_files, which takers open: shared
 *                          anonymous memory, which has no descriptor (Linux
 *                          5.9; older kernels need CAP_SYS_ADMIN, which is not
 *                          kept: such memory is copied there)
 *   CAP_SETUID, CAP_SETGID a worker process runs as the user of its owner, or
 *                          as a user of ours. Permitted only; in force in the
 *                          child that becomes the worker process, until it has
 *                          changed its user
 *   CAP_KILL               signals to worker processes and takers. Permitted
 *                          only; in force in the calling thread during that one
 *                          call (confine_kill)
 *
 * With --takeover CAP_DAC_OVERRIDE is in force all the time, to put the
 * kernel's node back at the end. A daemon that runs as root does not need that:
 * root owns /dev.
 *
 * Without a character device (vhost-user sockets, networks) only the three for
 * worker processes are kept, if a socket or a network has worker processes:
 * memory and descriptors arrive in messages.
 *
 * The alternative to CAP_DAC_OVERRIDE is setfsuid() to the owner's uid. It
 * needs CAP_SETUID, drops the capabilities that concern files meanwhile, and
 * fails for processes that are not dumpable: root owns their files in /proc.
 *
 * Only capabilities that the daemon was started with are kept, so any user can
 * run it for processes of its own. All others are removed from the permitted
 * set, and with it from the ambient set, and from the bounding set if that is
 * permitted. exec grants no new privileges (PR_SET_NO_NEW_PRIVS).
 *
 * Files that were opened before keep their rights: taps, packet sockets, pcap
 * handles, the first file of a capture. Later files of a capture are opened
 * without capabilities, so the daemon's user must be able to write their
 * folder.
 *
 * Capabilities belong to a thread. Some threads exist already (writers of
 * captures, control threads of connections that were passed), so each gets a
 * signal and gives up its capabilities in the handler. If a thread does not
 * answer, the daemon ends.
 *
 * The kernel forbids other processes of the same user to attach to us (ptrace)
 * while we hold a capability that they lack. If none is left, we make ourselves
 * non-dumpable, which forbids it too and disables core dumps: otherwise a guest
 * that has taken over its VMM could reach other guests through us.
 */
#include "confine.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <linux/capability.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "bytes.h"
#include "log.h"
#include "parse.h"

/* No thread may block this signal. */
#define CONFINE_SIGNAL SIGRTMIN

#define CAPS_WORKERS (BIT(CAP_SETUID) | BIT(CAP_SETGID) | BIT(CAP_KILL))

static uint64_t caps_wanted(unsigned int needs)
{
	uint64_t caps = 0;

	if (needs & CONFINE_DEVICES)
		caps = BIT(CAP_SYS_PTRACE) | BIT(CAP_DAC_READ_SEARCH) |
		       BIT(CAP_DAC_OVERRIDE) | BIT(CAP_CHECKPOINT_RESTORE);
	if (needs & CONFINE_WORKERS)
		caps |= CAPS_WORKERS;
	return caps;
}

/* Return: those of caps_wanted() that are not in force all the time. */
static uint64_t caps_dormant(unsigned int needs)
{
	bool override = needs & CONFINE_TAKEOVER && geteuid() != 0;

	return CAPS_WORKERS | (override ? 0 : BIT(CAP_DAC_OVERRIDE));
}

/* Most threads that exist then: those of captures and ports. */
#define THREADS_MAX 1024
#define THREAD_WAIT_S 2

/* Removes all capabilities of the calling thread that are not in @wanted; those
 * in @dormant stay permitted and are not in force. @kept: what is permitted
 * then. Also called from a signal handler. */
static int caps_limit(uint64_t wanted, uint64_t dormant, uint64_t *kept)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &head, data) < 0)
		return -errno;
	for (unsigned int i = 0; i < 2; i++) {
		data[i].permitted &= (uint32_t)(wanted >> (32 * i));
		data[i].effective =
			data[i].permitted & ~(uint32_t)(dormant >> (32 * i));
		data[i].inheritable = 0;
	}
	if (syscall(SYS_capset, &head, data) < 0)
		return -errno;
	*kept = data[0].permitted | (uint64_t)data[1].permitted << 32;
	return 0;
}

/* Needs CAP_SETPCAP; without it the set stays. That is harmless: the set only
 * limits what exec grants, and exec grants nothing any more. */
static void bounding_limit(uint64_t wanted)
{
	for (int cap = 0; cap < 64; cap++)
		if (!(wanted >> cap & 1) &&
		    prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return;
}

/* Puts those of @caps that are permitted into force on the calling thread, or
 * out of force. Return: those that were changed. */
static uint64_t switch_caps(uint64_t caps, bool on)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2];
	uint64_t changed = 0;

	if (syscall(SYS_capget, &head, data) < 0)
		return 0;
	for (unsigned int i = 0; i < 2; i++) {
		uint32_t is = data[i].effective;
		uint32_t bits = (uint32_t)(caps >> (32 * i)) &
				data[i].permitted & (on ? ~is : is);

		data[i].effective ^= bits;
		changed |= (uint64_t)bits << (32 * i);
	}
	if (!changed || syscall(SYS_capset, &head, data) < 0)
		return 0;
	return changed;
}

bool confine_permitted(uint64_t caps)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2];
	uint64_t permitted;

	if (syscall(SYS_capget, &head, data) < 0)
		return false;
	permitted = data[0].permitted | (uint64_t)data[1].permitted << 32;
	return (caps & ~permitted) == 0;
}

void confine_raise(uint64_t caps)
{
	switch_caps(caps, true);
}

void confine_no_bounds(void)
{
	bounding_limit(0);
}

int confine_none(void)
{
	uint64_t kept;

	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	return caps_limit(0, 0, &kept);
}

int confine_keep(uint64_t caps)
{
	uint64_t kept;

	return caps_limit(caps, 0, &kept);
}

int confine_open(const char *path, int flags)
{
	uint64_t raised = switch_caps(BIT(CAP_DAC_OVERRIDE), true);
	int fd = open(path, flags), ret = fd < 0 ? -errno : fd;

	if (raised)
		switch_caps(raised, false);
	return ret;
}

int confine_kill(int pidfd, int sig)
{
	uint64_t raised = switch_caps(BIT(CAP_KILL), true);
	int ret = pidfd_send_signal(pidfd, sig, NULL, 0) < 0 ? -errno : 0;

	if (raised)
		switch_caps(raised, false);
	return ret;
}

static int confine_thread(uint64_t wanted, uint64_t dormant, uint64_t *kept)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	bounding_limit(wanted);
	return caps_limit(wanted, dormant, kept);
}

/* ---- the other threads ---- */

/* Arguments and result of the signal handler. */
static struct {
	_Atomic uint64_t wanted, dormant;
	atomic_int ret;
	sem_t done;
} other;

static void on_confine(int signal)
{
	int saved = errno;
	uint64_t kept;

	(void)signal;
	other.ret = confine_thread(other.wanted, other.dormant, &kept);
	sem_post(&other.done);
	errno = saved;
}

/* ThreadSanitizer has a thread of its own, which handles no signals. */
#ifdef __SANITIZE_THREAD__
#define DEAF_THREAD 0
#else
#define DEAF_THREAD (-ETIMEDOUT)
#endif

static int confine_other(pid_t tid)
{
	struct timespec until;
	int ret;

	if (tgkill(getpid(), tid, CONFINE_SIGNAL) < 0)
		return errno == ESRCH ? 0 : -errno; /* it has ended */
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += THREAD_WAIT_S;
	do {
		ret = sem_timedwait(&other.done, &until) < 0 ? -errno : 0;
	} while (ret == -EINTR);
	if (ret == -ETIMEDOUT)
		return DEAF_THREAD;
	return ret < 0 ? ret : other.ret;
}

/* Lists all other threads. Return: their number, or -errno. */
static int list_threads(pid_t *tid, unsigned int room)
{
	DIR *d = opendir("/proc/self/task");
	unsigned int n = 0;
	struct dirent *e;

	if (!d)
		return -errno;
	while (n < room && (e = readdir(d))) {
		uint64_t t;

		if (parse_number(e->d_name, 1, INT_MAX, &t) == 0 &&
		    (pid_t)t != gettid())
			tid[n++] = (pid_t)t;
	}
	closedir(d);
	return n < room ? (int)n : -E2BIG;
}

/* None of these threads creates threads before the daemon serves. */
static int confine_others(uint64_t wanted, uint64_t dormant)
{
	struct sigaction act = { .sa_handler = on_confine,
				 .sa_flags = SA_RESTART },
			 old;
	pid_t tid[THREADS_MAX] = { 0 };
	int n, ret = 0;

	n = list_threads(tid, THREADS_MAX);
	if (n <= 0)
		return n;
	other.wanted = wanted;
	other.dormant = dormant;
	if (sem_init(&other.done, 0, 0) < 0 ||
	    sigaction(CONFINE_SIGNAL, &act, &old) < 0)
		return -errno;
	for (int i = 0; i < n && ret == 0; i++)
		ret = confine_other(tid[i]);
	/* On failure a late handler may still use the semaphore. */
	if (ret == 0) {
		sigaction(CONFINE_SIGNAL, &old, NULL);
		sem_destroy(&other.done);
	}
	return ret;
}

int confine_process(unsigned int needs)
{
	uint64_t kept = 0, wanted = caps_wanted(needs);
	uint64_t dormant = caps_dormant(needs);
	int ret;

	ret = confine_others(wanted, dormant);
	if (ret == 0)
		ret = confine_thread(wanted, dormant, &kept);
	if (ret < 0)
		goto err;
	if (kept == 0 && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0) {
		ret = -errno;
		goto err;
	}
	return 0;
err:
	log_err(NULL, "cannot give up privileges: %s", strerror(-ret));
	return ret;
}
