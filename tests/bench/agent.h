/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The messages between the engine and an agent: one struct agent_msg a packet
 * of a SOCK_SEQPACKET socket, in the byte order of the machine.
 *
 *   agent                       engine
 *   HELLO version, pid    -->
 *                        <--    OPEN
 *   NOTE, WHY ...         -->
 *   DONE err              -->
 *                        <--    SLICE ns          (any number of times)
 *   DONE err, sample      -->
 *                        <--    CLOSE
 *   DONE                  -->
 *
 * The agent then exits; it also exits when the engine's end is closed. With
 * BASE the agent may be of another commit: AGENT_VERSION changes with every
 * change of struct agent_msg or of the order of messages.
 */
#ifndef AGENT_H
#define AGENT_H

#include <stdint.h>
#include "bench.h"

#define AGENT_VERSION 1
#define AGENT_TEXT 480

/* Environment of an agent */
#define AGENT_ENV_FD "UVBENCH_FD"
#define AGENT_ENV_DIR "UVBENCH_DIR"
#define AGENT_ENV_UVHOSTD "UVBENCH_UVHOSTD"
#define AGENT_ENV_PIDFILE "UVBENCH_PIDFILE" /* of the daemon; may be unset */
/** AGENT_HUGE_PAGES - file in the engine's folder: huge pages that agents
 * added, a line for each time */
#define AGENT_HUGE_PAGES "huge-pages"

enum agent_kind {
	AGENT_HELLO,
	AGENT_OPEN,
	AGENT_SLICE,
	AGENT_CLOSE,
	AGENT_DONE,
	AGENT_NOTE,
	AGENT_WHY,
};

/**
 * struct agent_msg
 * @kind:   enum agent_kind
 * @err:    DONE: 0 or -errno; HELLO: AGENT_VERSION
 * @pid:    HELLO
 * @ns:     SLICE
 * @sample: DONE of a slice
 * @value:  NOTE
 * @text:   NOTE: key; WHY: the line
 */
struct agent_msg {
	uint32_t kind;
	int32_t err;
	int64_t pid;
	uint64_t ns;
	struct bench_sample sample;
	double value;
	char text[AGENT_TEXT];
};

/** agent_main() - be the agent of @s; exit status */
int agent_main(const struct scenario *s, enum bench_side side);

/**
 * agent_daemon_args() - command line of a daemon of this side
 * @args: its options, NULL-terminated; "@DIR@" in them is replaced by @dir
 *
 * Return: NULL-terminated, for agent_free_args(); NULL: no memory.
 */
char **agent_daemon_args(const char *uvhostd, const char *const *args,
			 const char *dir);
/** agent_free_args() - may be NULL */
void agent_free_args(char **args);

/** agent_log_end() - the last two lines of a file, cut to @size; "" if none */
void agent_log_end(const char *path, char *line, size_t size);

#endif
