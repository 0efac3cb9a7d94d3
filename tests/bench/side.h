/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The engine's view of the processes of one side: the agent, and the daemon if
 * the scenario has a character device. One thread.
 */
#ifndef SIDE_H
#define SIDE_H

#include <limits.h>
#include "agent.h"

/** side_answer_ms - longest time for an answer of the agent; open() has three
 * times as long */
extern int side_answer_ms;
#define SIDE_NOTES 16
#define SIDE_KEY 48

struct note {
	char key[SIDE_KEY];
	double value;
};

/**
 * struct side_config - constant
 * @role:    what the agent is told to be
 * @agent:   path of the program that has the agent
 * @uvhostd: path of the daemon
 * @host:    path of cusehost; NULL: devices appear in /dev
 * @device:  as in struct scenario; NULL: no device
 * @dir:     for this side's files; made and removed here
 */
struct side_config {
	const struct scenario *scenario;
	enum bench_side role;
	const char *agent, *uvhostd, *host, *dir;
	const char *const *device;
};

/**
 * struct side
 * @fd:      to the agent; -1: none
 * @child:   what this program has started itself; 0: none
 * @exited:  pidfds of those and of the agent; -1: none
 * @group:   process groups, in the order of their start: the CUSE host, the
 *           daemon, the agent with everything that it starts
 * @daemon:  command line of the daemon, NULL-terminated; freed by side_end()
 * @running: not stopped
 * @lost:    the agent has ended, or an answer is overdue: no more messages
 * @why:     the agent's last reason, or why it failed
 */
struct side {
	struct side_config config;
	char path[PATH_MAX], log[PATH_MAX], pidfile[PATH_MAX];
	int fd;
	pid_t child[2];
	int exited[3];
	pid_t group[3];
	unsigned int groups;
	char **daemon;
	bool running, lost;
	struct note note[SIDE_NOTES];
	unsigned int notes;
	char why[AGENT_TEXT];
};

/** side_stopping - set by a signal handler: every wait here ends (-EINTR) */
extern volatile int side_stopping;

/**
 * side_start() - start the processes, and open() of the scenario
 *
 * The side runs afterwards. Return: 0, or BENCH_LACKS or -errno with @s->why
 * set; call side_end() in any case.
 */
int side_start(struct side *s, const struct side_config *config);

/** side_pause(), side_resume() - stop and continue everything that it is */
void side_pause(struct side *s);
void side_resume(struct side *s);

/** side_slice() - one slice; 0, or -errno with @s->why set */
int side_slice(struct side *s, uint64_t ns, struct bench_sample *out);

/** side_end() - close(), and the end of all its processes and files */
void side_end(struct side *s);

/** side_end_orphans() - kill children that no side accounts for: processes that
 * have left their group */
void side_end_orphans(void);

#endif
