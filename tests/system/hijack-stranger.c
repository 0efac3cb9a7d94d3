/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hijack-stranger STARTS - a process of the user of a guest tries to get at the
 * worker processes of that user, in the moment when they start: two of them
 * attach to what has the newest process id, open its memory, copy from it and
 * take its descriptors, without a pause, while STARTS worker processes are
 * started one after the other. None of it may ever succeed. With an ordinary
 * process of that user it does succeed, or this would prove nothing.
 *
 * $UVHOST_DEV: the device.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "die.h"
#include "vmm.h"

#define ALICE 12349 /* of no other test, which may run beside this one */
#define STRANGERS 2
/* How many process ids before and after the newest one are tried. */
#define AROUND 2

/* The ways in. */
enum { SEIZE, MEMORY, COPY, DESCRIPTOR, WAYS };

static const char *const way_names[WAYS] = {
	"PTRACE_SEIZE",
	"open of /proc/PID/mem",
	"process_vm_readv",
	"pidfd_getfd",
};

/** struct found - @refused: of a process that lives */
static struct found {
	uint64_t refused[WAYS];
	uint64_t open[WAYS];
	pid_t victim; /* the first one */
	bool stop;
} *found;

static const char *device = "/dev/uvhost-net";

static void become_alice(void)
{
	if (setgid(ALICE) < 0 || setuid(ALICE) < 0 ||
	    prctl(PR_SET_DUMPABLE, 1) < 0)
		die(-errno, "setuid");
}

/* ---- the stranger ---- */

static bool opens_memory(pid_t pid)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* EFAULT: it may, but there is nothing at that address. */
static bool copies(pid_t pid)
{
	char buf[8];
	struct iovec local = { buf, sizeof(buf) };
	struct iovec remote = { (void *)8, sizeof(buf) };

	return process_vm_readv(pid, &local, 1, &remote, 1, 0) >= 0 ||
	       errno == EFAULT;
}

static bool takes_descriptor(pid_t pid)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0), fd;

	if (pidfd < 0)
		return false;
	fd = (int)syscall(SYS_pidfd_getfd, pidfd, 0, 0);
	if (fd >= 0)
		close(fd);
	close(pidfd);
	return fd >= 0;
}

static void note(unsigned int way, pid_t pid, bool open)
{
	int error = errno;

	if (open) {
		found->victim = pid;
		__atomic_fetch_add(&found->open[way], 1, __ATOMIC_RELAXED);
	} else if (error == EPERM || error == EACCES) {
		__atomic_fetch_add(&found->refused[way], 1, __ATOMIC_RELAXED);
	}
}

static void try_process(pid_t pid)
{
	note(SEIZE, pid, ptrace(PTRACE_SEIZE, pid, NULL, NULL) == 0);
	note(MEMORY, pid, opens_memory(pid));
	note(COPY, pid, copies(pid));
	note(DESCRIPTOR, pid, takes_descriptor(pid));
}

/* The last field: the newest process id of all. */
static pid_t newest(int loadavg)
{
	char text[128];
	ssize_t n = pread(loadavg, text, sizeof(text) - 1, 0);
	const char *last;

	if (n <= 0)
		die(-errno, "/proc/loadavg");
	text[n] = '\0';
	last = strrchr(text, ' ');
	return last ? (pid_t)strtol(last, NULL, 10) : 0;
}

/* Processes that are older are none of ours. */
static _Noreturn void run_stranger(pid_t oldest)
{
	int loadavg = open("/proc/loadavg", O_RDONLY | O_CLOEXEC);

	become_alice();
	while (!__atomic_load_n(&found->stop, __ATOMIC_ACQUIRE)) {
		pid_t pid = newest(loadavg);

		for (int i = -AROUND; i <= AROUND; i++)
			if (pid + i > oldest)
				try_process(pid + i);
	}
	exit(0);
}

/* ---- the run ---- */

/* It has to be possible with a process that does nothing against it. */
static void try_ordinary_process(void)
{
	pid_t victim = fork(), stranger;
	int status;

	if (victim == 0) {
		become_alice();
		for (;;)
			pause();
	}
	stranger = fork();
	if (stranger == 0) {
		become_alice();
		/* until it is a process of that user */
		for (unsigned int i = 0; i < 10000; i++) {
			try_process(victim);
			if (found->open[SEIZE] && found->open[MEMORY] &&
			    found->open[COPY] && found->open[DESCRIPTOR])
				exit(0);
			usleep(1000);
		}
		exit(1);
	}
	waitpid(stranger, &status, 0);
	kill(victim, SIGKILL);
	waitpid(victim, NULL, 0);
	if (status) {
		printf("SKIP: no process may attach to another one here\n");
		exit(77);
	}
	memset(found, 0, sizeof(*found));
}

static void start_workers(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		int fd = must(open(device, O_RDWR | O_CLOEXEC), device);

		must(vmm_set_owner(fd), "SET_OWNER");
		close(fd);
	}
}

static int judge(unsigned int starts)
{
	int ret = 0;

	for (unsigned int i = 0; i < WAYS; i++) {
		printf("%s: refused %llu times in %u starts\n", way_names[i],
		       (unsigned long long)found->refused[i], starts);
		if (found->open[i]) {
			printf("%s: SUCCEEDED %llu times, process %d\n",
			       way_names[i], (unsigned long long)found->open[i],
			       found->victim);
			ret = 1;
		}
	}
	return ret;
}

int main(int argc, char **argv)
{
	unsigned int starts = argc > 1 ? (unsigned int)atoi(argv[1]) : 200;
	pid_t stranger[STRANGERS], starter;
	int status;

	if (getenv("UVHOST_DEV"))
		device = getenv("UVHOST_DEV");
	found = mmap(NULL, sizeof(*found), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (found == MAP_FAILED)
		die(-errno, "mmap");
	try_ordinary_process();
	starter = fork();
	if (starter == 0) {
		become_alice();
		raise(SIGSTOP);
		start_workers(starts);
		exit(0);
	}
	waitpid(starter, &status, WUNTRACED);
	for (unsigned int i = 0; i < STRANGERS; i++) {
		stranger[i] = fork();
		if (stranger[i] == 0)
			run_stranger(getpid() + STRANGERS);
	}
	kill(starter, SIGCONT);
	if (waitpid(starter, &status, 0) < 0 || status)
		die(0, "the starts: status %#x", status);
	__atomic_store_n(&found->stop, true, __ATOMIC_RELEASE);
	for (unsigned int i = 0; i < STRANGERS; i++) {
		if (waitpid(stranger[i], &status, 0) < 0 || status)
			die(0, "a stranger: status %#x", status);
	}
	return judge(starts);
}
