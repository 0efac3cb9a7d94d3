/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * socket-rights - what a client of a vhost-user socket can get from the daemon
 * behind it.
 *
 *   socket-rights SOCKET PID [postcopy]
 *   socket-rights --fd DAEMON
 *
 * Connects, so that the daemon has threads for a session and a queue pair, and
 * fails if any thread of process PID has a capability in any set, or if a
 * userfaultfd is handed out without postcopy, or none with it. With --fd it
 * starts DAEMON itself and hands it a connected socket.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "die.h"
#include "uvhost/frontend.h"
#include "vmm.h"

#define THREADS_MIN 3 /* loop, control, queue pair */

/* Of one thread: lines that name a capability. */
static unsigned int count_caps(const char *pid, const char *tid)
{
	unsigned int bad = 0, seen = 0;
	char path[320], line[256];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%s/task/%s/status", pid, tid);
	f = fopen(path, "re");
	if (!f)
		return 0; /* it has ended */
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, "Cap", 3) != 0)
			continue;
		seen++;
		if (strtoull(strchr(line, ':') + 1, NULL, 16) == 0)
			continue;
		fprintf(stderr, "thread %s: %s", tid, line);
		bad++;
	}
	fclose(f);
	return seen == 5 ? bad : bad + 1;
}

/* ThreadSanitizer's own thread takes no signals, and keeps its rights. */
static bool is_under_tsan(const char *pid)
{
	char path[64], line[512];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%s/maps", pid);
	f = fopen(path, "re");
	while (f && !found && fgets(line, sizeof(line), f))
		found = strstr(line, "libtsan");
	if (f)
		fclose(f);
	return found;
}

static void check_threads(const char *pid)
{
	unsigned int bad = 0, n = 0;
	char path[64];
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%s/task", pid);
	d = opendir(path);
	if (!d)
		die(0, "no process %s", pid);
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		n++;
		bad += count_caps(pid, e->d_name);
	}
	closedir(d);
	if (bad && !is_under_tsan(pid))
		die(0, "%u sets of capabilities are not empty", bad);
	if (n < THREADS_MIN)
		die(0, "only %u threads", n);
	printf("%u threads without capabilities\n", n);
}

static void check_postcopy(struct uvh *fe, bool expected)
{
	uint64_t offered = 0, wanted = VMM_BIT(UVH_PROTOCOL_F_REPLY_ACK) |
				       VMM_BIT(UVH_PROTOCOL_F_PAGEFAULT);
	int uffd = -1, ret = uvh_get_protocol_features(fe, &offered);

	if (ret < 0)
		die(ret, "protocol features");
	if (!!(offered & VMM_BIT(UVH_PROTOCOL_F_PAGEFAULT)) != expected)
		die(0, "PAGEFAULT is %soffered", expected ? "not " : "");
	ret = uvh_set_protocol_features(fe, offered & wanted);
	if (ret < 0)
		die(ret, "set protocol features");
	ret = uvh_postcopy_advise(fe, &uffd);
	if ((ret == 0) != expected)
		die(ret, "POSTCOPY_ADVISE");
	if (uffd >= 0)
		close(uffd);
}

static pid_t start_with(const char *daemon, int sock, int other)
{
	char arg[40];
	pid_t pid = fork();

	if (pid)
		return pid;
	close(other);
	snprintf(arg, sizeof(arg), "%d,port=loop", sock);
	execl(daemon, daemon, "--fd", arg, NULL);
	die(-errno, "%s", daemon);
}

/* A daemon whose only connection was made before it started. */
static int handed_over(const char *daemon)
{
	int pair[2], status;
	struct uvh *fe;
	char text[16];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		die(-errno, "socketpair");
	fcntl(pair[0], F_SETFD, FD_CLOEXEC);
	pid = start_with(daemon, pair[1], pair[0]);
	close(pair[1]);
	must(uvh_user_from_socket(pair[0], 0, &fe), "the daemon");
	must(uvh_set_owner(fe), "owner");
	check_postcopy(fe, false);
	must(uvh_set_vring_num(fe, 0, 256), "ring");
	snprintf(text, sizeof(text), "%d", pid);
	check_threads(text);
	uvh_close(fe);
	if (waitpid(pid, &status, 0) < 0 || status)
		die(0, "the daemon: status 0x%x", status);
	return 0;
}

int main(int argc, char **argv)
{
	struct uvh *fe;
	int ret;

	if (argc == 3 && strcmp(argv[1], "--fd") == 0)
		return handed_over(argv[2]);
	if (argc < 3)
		die(0, "socket-rights SOCKET PID [postcopy]");
	ret = uvh_user_connect(argv[1], 0, &fe);
	if (ret < 0)
		die(ret, "%s", argv[1]);
	must(uvh_set_owner(fe), "owner");
	check_postcopy(fe, argc > 3);
	must(uvh_set_vring_num(fe, 0, 256), "ring");
	check_threads(argv[2]);
	uvh_close(fe);
	return 0;
}
