/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * agent.c is the agent: it runs the functions of one scenario for one side as
 * the engine commands (agent.h). agent_proc.c has what scenarios call.
 */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int engine_fd = -1;

static void send_message(const struct agent_msg *m)
{
	if (send(engine_fd, m, sizeof(*m), MSG_NOSIGNAL) < 0)
		exit(1); /* the engine has ended */
}

int bench_why(struct bench *b, int err, const char *format, ...)
{
	struct agent_msg m = { .kind = AGENT_WHY };
	va_list ap;

	(void)b;
	va_start(ap, format);
	vsnprintf(m.text, sizeof(m.text), format, ap);
	va_end(ap);
	send_message(&m);
	return err;
}

void bench_note(struct bench *b, const char *key, double value)
{
	struct agent_msg m = { .kind = AGENT_NOTE, .value = value };

	(void)b;
	snprintf(m.text, sizeof(m.text), "%s", key);
	send_message(&m);
}

/* Return: false after CLOSE. */
static bool handle_command(struct bench *b, const struct agent_msg *command)
{
	struct agent_msg reply = { .kind = AGENT_DONE };
	const struct scenario *s = b->scenario;

	switch (command->kind) {
	case AGENT_OPEN:
		reply.err = s->open(b);
		break;
	case AGENT_SLICE:
		reply.err = s->slice(b, command->ns, &reply.sample);
		break;
	case AGENT_CLOSE:
		if (s->close)
			s->close(b);
		break;
	default:
		reply.err = -ENOSYS;
	}
	send_message(&reply);
	return command->kind != AGENT_CLOSE;
}

static pid_t read_pidfile(const char *path)
{
	FILE *f = path ? fopen(path, "re") : NULL;
	int pid = 0;

	if (!f)
		return 0;
	if (fscanf(f, "%d", &pid) != 1)
		pid = 0;
	fclose(f);
	return pid;
}

int agent_main(const struct scenario *s, enum bench_side side)
{
	struct agent_msg m = {
		.kind = AGENT_HELLO,
		.err = AGENT_VERSION,
		.pid = getpid(),
	};
	struct bench b = {
		.scenario = s,
		.side = side,
		.uvhostd = getenv(AGENT_ENV_UVHOSTD),
		.dir = getenv(AGENT_ENV_DIR),
		.daemon = read_pidfile(getenv(AGENT_ENV_PIDFILE)),
	};
	const char *fd = getenv(AGENT_ENV_FD);

	if (!fd || !b.dir || !b.uvhostd) {
		fprintf(stderr, "uvbench: --agent is for the engine's use\n");
		return 2;
	}
	engine_fd = atoi(fd);
	fcntl(engine_fd, F_SETFD, FD_CLOEXEC);
	send_message(&m);
	while (recv(engine_fd, &m, sizeof(m), 0) == (ssize_t)sizeof(m))
		if (!handle_command(&b, &m))
			return 0;
	return 1;
}
