/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * first-thread SECONDS COMMAND... - does a program's first thread need the rest
 * of the program?
 *
 * Runs COMMAND. From the moment at which its first thread is made nothing else
 * of it runs. The thread has to end within SECONDS; then COMMAND is killed.
 * Status 0, or 1 and what the thread waits in.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "die.h"

static void on_alarm(int number)
{
	(void)number;
}

/* Waits for SECONDS in all. */
static void limit_time(unsigned int seconds)
{
	const struct sigaction act = { .sa_handler = on_alarm };

	sigaction(SIGALRM, &act, NULL);
	alarm(seconds);
}

/* COMMAND, traced from its first moment. */
static pid_t start(char **command)
{
	int ends[2];
	char go;
	pid_t pid;

	must(pipe(ends) < 0 ? -errno : 0, "pipe");
	pid = must(fork(), "fork");
	if (pid == 0) {
		close(ends[1]);
		if (read(ends[0], &go, 1) == 1)
			execv(command[0], command);
		_exit(127);
	}
	close(ends[0]);
	if (ptrace(PTRACE_SEIZE, pid, 0,
		   PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL) < 0)
		die(-errno, "tracing %s", command[0]);
	if (write(ends[1], "", 1) != 1)
		die(-errno, "pipe");
	close(ends[1]);
	return pid;
}

/* The event with which @tid stops next, 0 if it has ended, -EINTR. */
static int next_event(pid_t tid)
{
	int status;

	for (;;) {
		if (waitpid(tid, &status, __WALL) < 0)
			return -errno;
		if (!WIFSTOPPED(status))
			return 0;
		if (status >> 16)
			return status >> 16;
		/* it gets the signal */
		ptrace(PTRACE_CONT, tid, 0, WSTOPSIG(status));
	}
}

/* The first thread, which has not begun; its maker is stopped. */
static pid_t first_thread(pid_t pid)
{
	unsigned long tid;
	int event;

	while ((event = next_event(pid)) != PTRACE_EVENT_CLONE) {
		if (event <= 0)
			die(event, "it makes no thread");
		ptrace(PTRACE_CONT, pid, 0, 0);
	}
	if (ptrace(PTRACE_GETEVENTMSG, pid, 0, &tid) < 0)
		die(-errno, "its thread");
	return (pid_t)tid;
}

static void print_wait(pid_t pid, pid_t tid)
{
	char path[64], text[128] = "?";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/wchan", pid, tid);
	f = fopen(path, "re");
	if (f && !fgets(text, sizeof(text), f))
		text[0] = '?';
	if (f)
		fclose(f);
	fprintf(stderr, "its first thread waits for it, in %s\n", text);
}

int main(int argc, char **argv)
{
	pid_t pid, tid;
	int event;

	if (argc < 3)
		die(0, "SECONDS COMMAND...");
	limit_time((unsigned int)atoi(argv[1]));
	pid = start(argv + 2);
	tid = first_thread(pid);
	while ((event = next_event(tid)) > 0)
		ptrace(PTRACE_CONT, tid, 0, 0);
	if (event < 0)
		print_wait(pid, tid);
	kill(pid, SIGKILL);
	while (event == 0 && next_event(pid) > 0)
		ptrace(PTRACE_CONT, pid, 0, 0);
	return event < 0;
}
