/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * agent_proc.c has the functions of bench.h for scenarios: processes of this
 * side, their sockets, processors, huge pages and processor time.
 */
#include "agent.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bytes.h"
#include "clock.h"

#define END_MS 2000
#define DAEMON_MS 60000
#define STEP_US 2000
#define HUGE_PAGES "/proc/sys/vm/nr_hugepages"
/* __SO_ACCEPTCON of <linux/net.h>, which does not go with <sys/socket.h> */
#define ACCEPTCON 0x10000u

uint64_t bench_now_ns(void)
{
	return now_ns();
}

/* ---- text ---- */

/* @text with each "@DIR@" replaced by @dir; NULL: no memory */
static char *place(const char *text, const char *dir)
{
	static const char word[] = "@DIR@";
	size_t size = strlen(text) + 1, len = 0;
	const char *at = text;
	char *out;

	for (; (at = strstr(at, word)); at += strlen(word))
		size += strlen(dir);
	out = malloc(size);
	if (!out)
		return NULL;
	while ((at = strstr(text, word))) {
		memcpy(out + len, text, (size_t)(at - text));
		len += (size_t)(at - text);
		len += (size_t)sprintf(out + len, "%s", dir);
		text = at + strlen(word);
	}
	strcpy(out + len, text);
	return out;
}

void agent_free_args(char **args)
{
	for (size_t i = 0; args && args[i]; i++)
		free(args[i]);
	free(args);
}

/* Is @word in its --help? */
static bool knows(const char *uvhostd, const char *word)
{
	char command[PATH_MAX + 16], line[256];
	bool found = false;
	FILE *f;

	snprintf(command, sizeof(command), "'%s' --help", uvhostd);
	f = popen(command, "re");
	while (f && fgets(line, sizeof(line), f))
		found = found || strstr(line, word);
	if (f)
		pclose(f);
	return found;
}

static void cut_unknown(char **args)
{
	for (size_t i = 0; args[i]; i++) {
		char *key = strstr(args[i], BENCH_NO_WORKERS);

		if (key && !knows(args[0], "worker-process"))
			*key = '\0';
	}
}

char **agent_daemon_args(const char *uvhostd, const char *const *args,
			 const char *dir)
{
	const char *const first[] = { uvhostd, "--log-level", "warning" };
	size_t n = 0, more = 0;
	char **out;

	while (args[more])
		more++;
	out = calloc(ARRAY_SIZE(first) + more + 1, sizeof(*out));
	if (!out)
		return NULL;
	for (; n < ARRAY_SIZE(first) + more; n++) {
		out[n] = n < ARRAY_SIZE(first)
				 ? strdup(first[n])
				 : place(args[n - ARRAY_SIZE(first)], dir);
		if (!out[n]) {
			agent_free_args(out);
			return NULL;
		}
	}
	cut_unknown(out);
	return out;
}

void agent_log_end(const char *path, char *line, size_t size)
{
	char text[512], last[2][512] = { "", "" };
	FILE *f = fopen(path, "re");

	while (f && fgets(text, sizeof(text), f)) {
		text[strcspn(text, "\n")] = '\0';
		if (!text[0])
			continue;
		memcpy(last[0], last[1], sizeof(last[0]));
		memcpy(last[1], text, sizeof(text));
	}
	if (f)
		fclose(f);
	snprintf(line, size, "%s%s%s", last[0], last[0][0] ? " / " : "",
		 last[1]);
}

/* ---- processes ---- */

static _Noreturn void exec_program(int cpu, int log, int in,
				   const char *const *argv, pid_t parent)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(127);
	if (cpu >= 0)
		bench_pin(0, cpu);
	dup2(in, STDIN_FILENO);
	dup2(log, STDOUT_FILENO);
	dup2(log, STDERR_FILENO);
	execvp(argv[0], (char *const *)argv);
	dprintf(STDERR_FILENO, "%s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

pid_t bench_spawn(struct bench *b, int cpu, const char *log, int *in,
		  const char *const *argv)
{
	int fd = -1, ends[2] = { -1, -1 };
	pid_t pid, parent = getpid();
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", b->dir, log);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (!in)
		ends[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || (in ? pipe2(ends, O_CLOEXEC) : ends[0]) < 0)
		goto fail;
	pid = fork();
	if (pid < 0)
		goto fail;
	if (pid == 0)
		exec_program(cpu, fd, ends[0], argv, parent);
	close(fd);
	close(ends[0]);
	if (in)
		*in = ends[1];
	return pid;

fail:
	pid = -errno;
	if (fd >= 0)
		close(fd);
	for (unsigned int i = 0; i < 2; i++)
		if (ends[i] >= 0)
			close(ends[i]);
	return pid;
}

void bench_end(pid_t pid)
{
	int64_t until = now_ms() + END_MS;

	if (pid <= 0)
		return;
	kill(pid, SIGTERM);
	while (waitpid(pid, NULL, WNOHANG) == 0) {
		if (now_ms() > until)
			kill(pid, SIGKILL);
		usleep(STEP_US);
	}
}

/* Is a stream socket bound to @path? connect() of a datagram socket fails with
 * EPROTOTYPE then. It makes no connection, which the backend would take for a
 * frontend. */
static bool is_bound(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool bound;

	if (fd < 0 || strlen(path) >= sizeof(addr.sun_path))
		return false;
	strcpy(addr.sun_path, path);
	bound = connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 &&
		errno == EPROTOTYPE;
	close(fd);
	return bound;
}

/*
 * Is a socket bound to @path, and does it listen? /proc/net/unix has the name
 * that bind() was called with, and the flags of each socket: DPDK calls
 * listen() after bind(). uvhostd is not there under @path: it gives its socket
 * that name when it listens already.
 */
static bool is_listening(const char *path)
{
	bool listed = false, listens = false;
	char line[PATH_MAX + 100], name[PATH_MAX];
	unsigned int flags;
	FILE *f;

	if (!is_bound(path))
		return false;
	f = fopen("/proc/net/unix", "re");
	if (!f)
		return false;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%*s %*s %*s %x %*s %*s %*s %4095s", &flags,
			   name) != 2 ||
		    strcmp(name, path))
			continue;
		listed = true;
		listens |= (flags & ACCEPTCON) != 0;
	}
	fclose(f);
	return !listed || listens;
}

/* Until @name listens or @pid (0: nobody) has ended. */
static int wait_socket(struct bench *b, const char *name, int ms, pid_t pid)
{
	int64_t until = now_ms() + ms;
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", b->dir, name);
	while (!is_listening(path)) {
		if (pid && waitpid(pid, NULL, WNOHANG) == pid)
			return -ECHILD;
		if (now_ms() > until)
			return -ETIMEDOUT;
		usleep(STEP_US);
	}
	return 0;
}

int bench_wait_socket(struct bench *b, const char *name, int ms)
{
	return wait_socket(b, name, ms, 0);
}

/* -ECHILD: @pid has ended and is reaped already. */
static int no_daemon(struct bench *b, int err, pid_t pid)
{
	char path[PATH_MAX], line[300];

	if (err != -ECHILD)
		bench_end(pid);
	snprintf(path, sizeof(path), "%s/uvhostd.log", b->dir);
	agent_log_end(path, line, sizeof(line));
	return bench_why(b, err, "uvhostd %s%s%s",
			 err == -ECHILD ? "ended" : "does not listen",
			 line[0] ? ": " : "", line);
}

pid_t bench_daemon(struct bench *b, int cpu, const char *socket,
		   const char *const *args)
{
	char **argv = agent_daemon_args(b->uvhostd, args, b->dir);
	pid_t pid = -ENOMEM;
	int ret;

	if (argv)
		pid = bench_spawn(b, cpu, "uvhostd.log", NULL,
				  (const char *const *)argv);
	agent_free_args(argv);
	if (pid < 0)
		return bench_why(b, pid, "uvhostd: %s", strerror(-pid));
	ret = wait_socket(b, socket, DAEMON_MS, pid);
	return ret < 0 ? no_daemon(b, ret, pid) : pid;
}

/* ---- the machine ---- */

int bench_pin(pid_t tid, int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(tid, sizeof(set), &set) < 0 ? -errno : 0;
}

static long meminfo(const char *key)
{
	char line[128];
	long value = 0;
	FILE *f = fopen("/proc/meminfo", "re");

	while (f && fgets(line, sizeof(line), f))
		if (strncmp(line, key, strlen(key)) == 0)
			value = strtol(line + strlen(key), NULL, 10);
	if (f)
		fclose(f);
	return value;
}

static long huge_pages_free(void)
{
	return meminfo("HugePages_Free:") - meminfo("HugePages_Rsvd:");
}

/* Tells the engine how many it has to give back: a line in its folder. */
static void add_huge_pages(const struct bench *b, long pages)
{
	long had = meminfo("HugePages_Total:");
	char path[PATH_MAX];
	FILE *f = fopen(HUGE_PAGES, "we");

	if (!f)
		return;
	fprintf(f, "%ld", had + pages);
	fclose(f);
	snprintf(path, sizeof(path), "%s/../" AGENT_HUGE_PAGES, b->dir);
	f = fopen(path, "ae");
	if (!f)
		return;
	fprintf(f, "%ld\n", meminfo("HugePages_Total:") - had);
	fclose(f);
}

int bench_huge_pages(struct bench *b, unsigned int pages)
{
	long have = huge_pages_free();

	if (meminfo("Hugepagesize:") != 2048)
		return bench_why(b, BENCH_LACKS, "no huge pages of 2 MiB");
	if (have >= (long)pages)
		return 0;
	add_huge_pages(b, (long)pages - have);
	have = huge_pages_free();
	if (have >= (long)pages)
		return 0;
	return bench_why(b, BENCH_LACKS, "%ld of %u huge pages to be had", have,
			 pages);
}

/* ---- processor time ---- */

uint64_t bench_cpu_ns(pid_t pid)
{
	struct timespec ts;
	clockid_t id;

	if (clock_getcpuclockid(pid, &id) || clock_gettime(id, &ts) < 0)
		return 0;
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

uint64_t bench_thread_ns(pid_t pid, pid_t tid)
{
	unsigned long long ns = 0;
	char path[96];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/schedstat", pid, tid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	if (fscanf(f, "%llu", &ns) != 1)
		ns = 0;
	fclose(f);
	return ns;
}

static bool is_named(pid_t pid, const char *tid, const char *prefix)
{
	char path[320], comm[32] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%s/comm", pid, tid);
	f = fopen(path, "re");
	if (!f)
		return false;
	if (!fgets(comm, sizeof(comm), f))
		comm[0] = '\0';
	fclose(f);
	return strncmp(comm, prefix, strlen(prefix)) == 0;
}

pid_t bench_worker(pid_t pid, const char *prefix)
{
	char path[64];
	struct dirent *e;
	pid_t found = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	d = opendir(path);
	while (d && !found && (e = readdir(d)))
		if (e->d_name[0] != '.' && is_named(pid, e->d_name, prefix))
			found = (pid_t)strtol(e->d_name, NULL, 10);
	if (d)
		closedir(d);
	return found;
}
