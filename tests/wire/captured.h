/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * captured.h reads the files of captured/: messages that other programs
 * exchanged, one a line, as vu-record.c prints them. record.sh takes them.
 */
#ifndef CAPTURED_H
#define CAPTURED_H

#include "vu_msg.h"

/**
 * struct captured - one message of a file
 * @way:  'F' frontend, 'B' backend; 'b' and 'f' the same on the channel of
 *        SET_BACKEND_REQ_FD
 * @nfds: descriptors that it had
 * @m:    header and payload as they were; no descriptors
 */
struct captured {
	char way;
	unsigned int nfds;
	struct vu_msg m;
};

/** struct captured_file - its messages in their order; @name without ".txt" */
struct captured_file {
	char name[32];
	unsigned int n;
	struct captured *msg;
};

/** captured_files - all there are; the last has no name */
extern const char *const captured_files[];

/** captured_load() - fails the test if the file is not as it should be */
struct captured_file captured_load(const char *name);
void captured_free(struct captured_file *f);

/** captured_fds() - such descriptors as message @c needs: memfds that are large
 * enough, eventfds, a socket; @fds[VU_FDS], the caller's. Their number. */
unsigned int captured_fds(const struct captured *c, int *fds);

/** captured_reply() - the reply to message @i, or NULL if there is none */
const struct captured *captured_reply(const struct captured_file *f,
				      unsigned int i);

#endif
